//! Opening the store: the connection string, the driver's settings, the indexes.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boom_sky::survey::SURVEYS;
use bson::RawDocumentBuf;
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, Tls as DriverTls, TlsOptions};
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::call::{Connection, failure};
use super::command::{document, raw};
use super::cutouts::Shelf;
use super::{Config, CutoutsAt, Error, Inner, MongoDb, Tls, names};

/// An index over many documents takes its time, and to delete a collection may.
pub(super) const PATIENCE: Duration = Duration::from_secs(3600);
/// A server that is not there is noticed, and asked for again, so soon.
const SELECTION: Duration = Duration::from_secs(3);

impl From<&crate::config::MongoDb> for Config {
    fn from(settings: &crate::config::MongoDb) -> Self {
        let tls = Tls { authority: settings.authority.clone(), certificate: settings.certificate.clone() };
        let cutouts = settings.cutouts.clone().map_or(CutoutsAt::MongoDb, CutoutsAt::Directory);
        Self {
            tls: (tls.authority.is_some() || tls.certificate.is_some()).then_some(tls),
            pool: settings.pool,
            cache: settings.cache_bytes,
            cutouts,
            ..Self::new(settings.uri.clone(), &settings.database)
        }
    }
}

impl Config {
    async fn options(&self) -> Result<ClientOptions, Error> {
        // What the driver says of a wrong one may quote it.
        let uri = self.uri.read("the MongoDB connection string")?;
        let mut options = ClientOptions::parse(uri).await.map_err(|_| Error::Uri)?;
        options.app_name = Some("boom-node".to_owned());
        options.max_pool_size = Some(self.pool.max(2));
        options.server_selection_timeout = Some(SELECTION);
        options.connect_timeout.get_or_insert(self.patience);
        if let Some(Tls { authority, certificate }) = &self.tls {
            let mut files = TlsOptions::default();
            files.ca_file_path.clone_from(authority);
            files.cert_key_file_path.clone_from(certificate);
            options.tls = Some(DriverTls::Enabled(files));
        }
        Ok(options)
    }
}

impl MongoDb {
    /// Connects and makes the indexes; waits until MongoDB is there.
    ///
    /// # Errors
    /// What waiting does not cure: the connection string, the user, the directory of the cutouts; or it is to stop.
    pub async fn open(config: Config, stop: CancellationToken) -> Result<Self, Error> {
        let options = config.options().await?;
        let refused = |error: mongodb::error::Error| Error::Refused {
            doing: "the settings".to_owned(),
            reason: error.to_string(),
        };
        let client = Client::with_options(options).map_err(refused)?;
        prepared(&client, config, stop).await
    }
}

/// The store in that database, with its indexes.
pub(super) async fn prepared(client: &Client, config: Config, stop: CancellationToken) -> Result<MongoDb, Error> {
    let database = client.database(&config.database);
    let waiting = AtomicBool::new(false);
    let connection = Connection { database, stop, patience: config.patience, waiting };
    for survey in SURVEYS {
        for (collection, keys) in names::indexes(survey) {
            prepare(&connection, &collection, keys).await?;
        }
    }
    let shelf = Shelf::open(&config.cutouts).await?;
    let cache = Mutex::new(Cache::new(config.cache));
    Ok(MongoDb(Arc::new(Inner { config, connection, shelf, cache, refused: AtomicU64::new(0) })))
}

/// Makes the collection and the indexes of it that are not there.
async fn prepare(connection: &Connection, collection: &str, keys: &[(&str, &str)]) -> Result<(), Error> {
    let doing = format!("making the collection {collection}");
    let create = raw(document(|writer| {
        writer.string("create", collection);
        if collection.ends_with(names::CUTOUTS) {
            // Stamps come compressed.
            let storage = writer.open_document("storageEngine");
            let engine = writer.open_document("wiredTiger");
            writer.string("configString", "block_compressor=none");
            writer.close(engine);
            writer.close(storage);
        }
    }));
    command(connection, &doing, &create, connection.patience).await?;
    let doing = format!("making the indexes of {collection}");
    for key in keys {
        command(connection, &doing, &create_index(collection, *key), PATIENCE).await?;
    }
    Ok(())
}

fn create_index(collection: &str, (field, kind): (&str, &str)) -> RawDocumentBuf {
    raw(document(|writer| {
        writer.string("createIndexes", collection);
        let indexes = writer.open_array("indexes");
        writer.index(boom_sky::document::tag::DOCUMENT, 0);
        let index = writer.open_root();
        let key = writer.open_document("key");
        if kind.is_empty() {
            writer.int32(field, 1)
        } else {
            writer.string(field, kind)
        }
        writer.close(key);
        writer.string("name", &format!("{field}_{}", if kind.is_empty() { "1" } else { kind }));
        writer.close(index);
        writer.close(indexes);
    }))
}

/// There is a collection of that name; an index of that key, under another name or with other options; there is nothing to be dropped.
const DONE: [i32; 4] = [48, 85, 86, 26];

/// Sends a command until it is done; that it was done before is as good.
pub(super) async fn command(
    connection: &Connection,
    doing: &str,
    command: &RawDocumentBuf,
    patience: Duration,
) -> Result<(), Error> {
    let attempt = |_| async {
        match connection.database.run_raw_command(command.clone()).await {
            Err(error) => match &*error.kind {
                ErrorKind::Command(refused) if DONE.contains(&refused.code) => Ok(()),
                _ => Err(failure(doing, &error)),
            },
            Ok(_) => Ok(()),
        }
    };
    connection.persist_for(patience, doing, attempt).await
}
