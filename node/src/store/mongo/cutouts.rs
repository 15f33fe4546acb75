//! Where cutouts are kept: a collection, or an object store, here a directory that the nodes share. A stamp never changes, so it is written
//! once, and again is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_sky::survey::Survey;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinSet;

use super::call::{Connection, Failure};
use super::complete::Numbered;
use super::{CutoutsAt, Error, Inner, names};

/// Files that are written at once.
const AT_ONCE: usize = 16;

/// Where cutouts are.
#[derive(Debug, Clone)]
pub(super) enum Shelf {
    Collection,
    Objects(Arc<dyn ObjectStore>),
}

impl Shelf {
    /// Opens it; a directory is tried out.
    pub(super) async fn open(at: &CutoutsAt) -> Result<Self, Error> {
        match at {
            CutoutsAt::MongoDb => Ok(Self::Collection),
            CutoutsAt::Directory(directory) => Self::directory(directory).await,
        }
    }

    async fn directory(directory: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Cutouts { directory: PathBuf::from(directory), reason };
        std::fs::create_dir_all(directory).map_err(|error| failed(error.to_string()))?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(|error| failed(error.to_string()))?;
        let files: Arc<dyn ObjectStore> = Arc::new(files.with_fsync(true));
        let probe = Place::from(format!("probe-{}", std::process::id()));
        files.put(&probe, Vec::new().into()).await.map_err(|error| failed(error.to_string()))?;
        files.delete(&probe).await.map_err(|error| failed(error.to_string()))?;
        Ok(Self::Objects(files))
    }

    /// Stores cutouts documents; they are there when this returns.
    pub(super) async fn store(&self, inner: &Inner, survey: &'static Survey, cutouts: Numbered) -> Result<(), Error> {
        let Self::Objects(objects) = self else {
            return inner.insert_once(&names::cutouts(survey), &cutouts).await;
        };
        let all: Vec<_> =
            cutouts.candids.into_iter().zip(cutouts.documents.into_iter().map(PutPayload::from)).collect();
        let attempt = |_| async {
            let mut writing = JoinSet::new();
            for (candid, document) in &all {
                if writing.len() >= AT_ONCE {
                    finished(writing.join_next().await)?;
                }
                let (objects, place, document) = (Arc::clone(objects), place(survey, *candid), document.clone());
                writing.spawn(async move { objects.put(&place, document).await });
            }
            while let Some(done) = writing.join_next().await {
                finished(Some(done))?;
            }
            Ok(())
        };
        inner.connection.persist("writing cutouts", attempt).await
    }

    /// Reads the cutouts document of an alert.
    pub(super) async fn read(
        &self,
        connection: &Connection,
        survey: &Survey,
        candid: i64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Self::Objects(objects) = self else {
            return super::read::one(connection, &names::cutouts(survey), |writer| writer.int64("_id", candid)).await;
        };
        let place = place(survey, candid);
        let attempt = |_| async {
            let passing = |error: object_store::Error| Failure::Passing(error.to_string());
            match objects.get(&place).await {
                Ok(found) => Ok(Some(found.bytes().await.map_err(passing)?.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(passing(error)),
            }
        };
        connection.persist("reading cutouts", attempt).await
    }
}

type Finished = Result<object_store::Result<object_store::PutResult>, tokio::task::JoinError>;

fn finished(done: Option<Finished>) -> Result<(), Failure> {
    match done {
        Some(Ok(Err(error))) => Err(Failure::Passing(error.to_string())),
        Some(Err(error)) => Err(Failure::Passing(error.to_string())),
        _ => Ok(()),
    }
}

/// A thousand folders a survey, so that none becomes too large to list.
fn place(survey: &Survey, candid: i64) -> Place {
    Place::from(format!("{}/{:03}/{candid}.bson", names::cutouts(survey), candid.rem_euclid(1000)))
}
