//! The documents of a replay: a database of its own, with the collections and indexes of every other. Of the live documents nothing is seen
//! there, and nothing is changed.

use std::io::ErrorKind;

use boom_sky::survey::SURVEYS;

use super::command::{document, raw};
use super::{Config, CutoutsAt, Error, Inner, MongoDb, names, open};
use crate::store::{Error as StoreError, Replaying};

/// Where a replay has its documents.
fn config(live: &Config, replay: &str) -> Config {
    let cutouts = match &live.cutouts {
        CutoutsAt::MongoDb => CutoutsAt::MongoDb,
        CutoutsAt::Directory(directory) => CutoutsAt::Directory(directory.join(format!("replay_{replay}"))),
    };
    Config { database: format!("{}_replay_{replay}", live.database), cutouts, ..live.clone() }
}

impl Replaying for MongoDb {
    async fn replay(&self, replay: &str) -> Result<Self, StoreError> {
        let Inner { connection, config: live, .. } = &*self.0;
        let client = connection.database.client().clone();
        Ok(open::prepared(&client, config(live, replay), connection.stop.clone()).await?)
    }

    async fn erase(&self, replay: &str) -> Result<(), StoreError> {
        let Inner { connection, config: live, .. } = &*self.0;
        let config = config(live, replay);
        let connection = connection.beside(&config.database);
        // A database without a collection is none, and who may write to it may not delete it.
        for (collection, _) in SURVEYS.iter().flat_map(|survey| names::indexes(survey)) {
            let doing = format!("deleting {collection} of {}", config.database);
            let drop = raw(document(|writer| writer.string("drop", &collection)));
            open::command(&connection, &doing, &drop, open::PATIENCE).await?;
        }
        if let CutoutsAt::Directory(directory) = config.cutouts {
            match tokio::fs::remove_dir_all(&directory).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let reason = error.to_string();
                    return Err(Error::Cutouts { directory, reason }.into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use boom_client::secret::Secret;

    use super::*;

    #[test]
    fn a_replay_has_a_database_and_a_directory_of_its_own() {
        let mut live = Config::new(Secret::Variable("URI".to_owned()), "boom");
        assert_eq!(config(&live, "again").database, "boom_replay_again");
        live.cutouts = CutoutsAt::Directory("/cutouts".into());
        assert_eq!(config(&live, "again").cutouts, CutoutsAt::Directory("/cutouts/replay_again".into()));
    }
}
