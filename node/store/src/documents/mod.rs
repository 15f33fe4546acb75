//! The embedded document store: alerts, objects and cutouts of one node, in one directory, with no server.
//!
//! A batch is stored ([`Store::ingest`], [`Store::complete`]) in memory and becomes durable, whole and atomically, when it is committed
//! together with the progress that passes it ([`Store::commit`]). So after any crash the store is exactly what the committed batches made.
//! No stage, survey or filter is known here.

mod birth;
mod model;
mod object;
mod pending;
mod read;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use boom_sky::alert::{Alert, Origin};
use boom_sky::crossmatch::{cover, healpix, separation_arcsec};
use boom_sky::survey::{SURVEYS, Survey};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

pub use model::{AliasObject, Aliases, Claim, Complete, Ingested, Matches};
pub use object::ObjectState;
pub use pending::Sequence;
use pending::{Pending, Space, Value};

/// Format of what is kept; a store of another is refused.
const FORMAT: &str = "boom-store 1";

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {0} is in use by another process: wait for it to end, or take another directory")]
    InUse(PathBuf),
    /// There is none.
    #[error("there is no store at {0}: it is the directory `store` in the --out of a run")]
    NotThere(PathBuf),
    /// It was written by another version.
    #[error(
        "the store {path} has the format `{found}`, this program reads `{FORMAT}`: use the version that wrote it, or another directory"
    )]
    Format {
        /// Where it is.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// What is stored can not be read back.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The disk, or the engine on it.
    #[error("the store {path} failed while {doing}: {source}")]
    Engine {
        /// Where it is.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: fjall::Error,
    },
}

/// The store.
pub struct Store {
    path: PathBuf,
    database: Database,
    alerts: Keyspace,
    cutouts: Keyspace,
    objects: Keyspace,
    matches: Keyspace,
    aliases: Keyspace,
    sky: Keyspace,
    meta: Keyspace,
    pending: Mutex<Pending>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

const MIB: u64 = 1 << 20;

impl Store {
    /// Opens the store in that directory, making it when `create` says so.
    ///
    /// # Errors
    /// It is in use, of another format, not there, or the disk fails.
    pub fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        match (path.is_dir(), create) {
            (true, _) => Self::open_there(path, create),
            (false, true) => birth::create(path),
            (false, false) => Err(StoreError::NotThere(path.to_owned())),
        }
    }

    /// Opens or makes the store in exactly that directory.
    fn open_there(path: &Path, create: bool) -> Result<Self, StoreError> {
        // The engine would make its files in any directory that it is told to open.
        if !create && !path.join("keyspaces").is_dir() {
            return Err(StoreError::NotThere(path.to_owned()));
        }
        let failed = |doing| {
            move |source| match source {
                fjall::Error::Locked => StoreError::InUse(path.to_owned()),
                source => StoreError::Engine { path: path.to_owned(), doing, source },
            }
        };
        let database = Database::builder(path)
            .cache_size(32 * MIB)
            .max_journaling_size(128 * MIB)
            .worker_threads(1)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(failed("opening it"))?;
        let space = |name: &str, options: fn() -> KeyspaceCreateOptions| {
            database.keyspace(name, options).map_err(failed("opening a keyspace"))
        };
        let small = || KeyspaceCreateOptions::default().manual_journal_persist(true).max_memtable_size(8 * MIB);
        let blobs = || {
            // Stamps are compressed as they come.
            let separation = KvSeparationOptions::default().compression(CompressionType::None);
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(16 * MIB)
                .with_kv_separation(Some(separation))
        };
        let store = Self {
            path: path.to_owned(),
            alerts: space("alerts", small)?,
            cutouts: space("cutouts", blobs)?,
            objects: space("objects", small)?,
            matches: space("matches", small)?,
            aliases: space("aliases", small)?,
            sky: space("sky", small)?,
            meta: space("meta", small)?,
            pending: Mutex::default(),
            database,
        };
        store.check_format(create)?;
        Ok(store)
    }

    fn check_format(&self, create: bool) -> Result<(), StoreError> {
        match self.meta("format")? {
            Some(format) if format == FORMAT.as_bytes() => Ok(()),
            Some(other) => {
                let found = String::from_utf8_lossy(&other).into_owned();
                Err(StoreError::Format { path: self.path.clone(), found })
            }
            None if create => self.meta.insert("format", FORMAT).map_err(self.failed("writing its format")),
            None => Err(StoreError::NotThere(self.path.clone())),
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(fjall::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Engine { path, doing, source }
    }

    fn get(&self, space: &Keyspace, key: &[u8]) -> Result<Option<fjall::UserValue>, StoreError> {
        space.get(key).map_err(self.failed("reading"))
    }

    /// A value of the run itself (progress, books, identity) as it was committed.
    ///
    /// # Errors
    /// The disk fails.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(&self.meta, key.as_bytes())?.map(|value| value.to_vec()))
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nobody panics with the pending writes")
    }

    /// Stores a batch of alerts: claims their candids and merges their light curves, one after the other in the order given. Batches come
    /// in the order of `sequence`.
    ///
    /// # Errors
    /// The disk fails, or what is stored is damaged.
    pub fn ingest(&self, sequence: Sequence, alerts: &[(&Alert, &Origin)]) -> Result<Vec<Ingested>, StoreError> {
        let mut pending = self.pending();
        alerts.iter().map(|(alert, origin)| self.ingest_one(&mut pending, sequence, alert, origin)).collect()
    }

    fn ingest_one(
        &self,
        pending: &mut Pending,
        sequence: Sequence,
        alert: &Alert,
        origin: &Origin,
    ) -> Result<Ingested, StoreError> {
        let candid = alert_key(alert.survey, alert.candid);
        let claim = self.claim(pending, &candid, origin)?;
        let key = object_key(alert.survey, &alert.object_id);
        let stored = self.object_state(pending, &key)?;
        if let Claim::Repeat(_) = claim {
            let object = stored.unwrap_or_default();
            return Ok(Ingested { claim, object, matches: None, aliases: Arc::default(), alias_objects: Vec::new() });
        }
        pending.claim(sequence, candid, origin);
        let known = stored.is_some();
        let before = stored.unwrap_or_else(|| {
            let series = vec![boom_sky::lightcurve::Series::default(); alert.survey.series.len()];
            Arc::new(ObjectState { ra: alert.head.ra, dec: alert.head.dec, series })
        });
        let object = before.union(&alert.series);
        if !Arc::ptr_eq(&before, &object) || !known {
            pending.set_object(sequence, &key, &object);
        }
        if !known {
            let place = sky_key(alert.survey, object.ra, object.dec, &alert.object_id);
            pending.set_sky(sequence, place, [object.ra.to_le_bytes(), object.dec.to_le_bytes()].concat());
        }
        let aliases = self.learn_aliases(pending, sequence, alert, &object)?;
        let alias_objects = self.alias_objects(pending, &aliases)?;
        let matches = match pending.matches(&key) {
            Some(matches) => Some(Arc::clone(matches)),
            None => self.stored_matches(&key)?.map(Arc::new),
        };
        Ok(Ingested { claim, object, matches, aliases, alias_objects })
    }

    fn claim(&self, pending: &Pending, key: &[u8], origin: &Origin) -> Result<Claim, StoreError> {
        let first = match pending.claimed(key) {
            Some(first) => Some(first.clone()),
            None => self.get(&self.alerts, key)?.map(|alert| read::origin(&alert)).transpose()?,
        };
        Ok(match first {
            None => Claim::New,
            Some(first) if first == *origin => Claim::Redelivery,
            Some(first) => Claim::Repeat(first),
        })
    }

    fn object_state(&self, pending: &Pending, key: &[u8]) -> Result<Option<Arc<ObjectState>>, StoreError> {
        if let Some(object) = pending.object(key) {
            return Ok(Some(Arc::clone(object)));
        }
        let stored = self.get(&self.objects, key)?;
        let damaged = || StoreError::Damaged(format!("the object {}", String::from_utf8_lossy(key)));
        stored.map(|bytes| ObjectState::decode(&bytes).map(Arc::new).ok_or_else(damaged)).transpose()
    }

    fn aliases_of(&self, pending: &Pending, key: &[u8]) -> Result<Arc<Aliases>, StoreError> {
        if let Some(aliases) = pending.aliases(key) {
            return Ok(Arc::clone(aliases));
        }
        let stored = self.get(&self.aliases, key)?;
        let damaged = || StoreError::Damaged(format!("the aliases of {}", String::from_utf8_lossy(key)));
        let decoded = stored.map(|bytes| Aliases::decode(&bytes).ok_or_else(damaged)).transpose()?;
        Ok(Arc::new(decoded.unwrap_or_default()))
    }

    fn stored_matches(&self, key: &[u8]) -> Result<Option<Matches>, StoreError> {
        let damaged = || StoreError::Damaged(format!("the matches of {}", String::from_utf8_lossy(key)));
        self.get(&self.matches, key)?.map(|bytes| Matches::decode(&bytes).ok_or_else(damaged)).transpose()
    }

    /// Looks for the object in the surveys in which it has no alias yet; what is found, both sides learn.
    fn learn_aliases(
        &self,
        pending: &mut Pending,
        sequence: Sequence,
        alert: &Alert,
        object: &ObjectState,
    ) -> Result<Arc<Aliases>, StoreError> {
        let key = object_key(alert.survey, &alert.object_id);
        let mut aliases = self.aliases_of(pending, &key)?;
        for other in SURVEYS.iter().filter(|other| other.name != alert.survey.name) {
            if aliases.0.contains_key(other.name) {
                continue;
            }
            let radius = alert.survey.position_error.max(other.position_error);
            let Some(id) = self.nearest(pending, other, (object.ra, object.dec), radius)? else {
                continue;
            };
            if let Some(more) = aliases.with(other.name, &id) {
                aliases = Arc::new(more);
                pending.set_aliases(sequence, &key, Arc::clone(&aliases));
            }
            let theirs = object_key(other, &id);
            if let Some(more) = self.aliases_of(pending, &theirs)?.with(alert.survey.name, &alert.object_id) {
                pending.set_aliases(sequence, &theirs, Arc::new(more));
            }
        }
        Ok(aliases)
    }

    fn alias_objects(&self, pending: &Pending, aliases: &Aliases) -> Result<Vec<AliasObject>, StoreError> {
        let mut objects = Vec::new();
        for (name, ids) in &aliases.0 {
            let Some(survey) = Survey::by_name(name) else { continue };
            for id in ids {
                let state = self.object_state(pending, &object_key(survey, id))?;
                objects.extend(state.map(|state| AliasObject { survey, object_id: id.clone(), state }));
            }
        }
        Ok(objects)
    }

    /// The survey's object nearest to a position, within `radius` arcsec; of two as near, the one with the smaller id.
    fn nearest(
        &self,
        pending: &Pending,
        survey: &Survey,
        position: (f64, f64),
        radius: f64,
    ) -> Result<Option<String>, StoreError> {
        let mut best: Option<(f64, String)> = None;
        let mut consider = |key: &[u8], value: &[u8]| {
            let Some((id, ra, dec)) = read_sky(key, value) else { return };
            let distance = separation_arcsec(position.0, position.1, ra, dec);
            let nearer = best.as_ref().is_none_or(|(least, first)| (distance, &*id) < (*least, first));
            if distance <= radius && nearer {
                best = Some((distance, id));
            }
        };
        for cells in cover(position.0, position.1, radius) {
            let (low, high) = (sky_bound(survey, cells.start), sky_bound(survey, cells.end));
            for (key, value) in pending.sky(low.clone()..=high.clone()) {
                consider(key, value);
            }
            for entry in self.sky.range(low..high) {
                let (key, value) = entry.into_inner().map_err(self.failed("looking for neighbours"))?;
                consider(&key, &value);
            }
        }
        Ok(best.map(|(_, id)| id))
    }

    /// Adds documents of a batch that is stored.
    pub fn complete(&self, sequence: Sequence, survey: &Survey, documents: Vec<Complete>) {
        let mut pending = self.pending();
        for document in documents {
            match document {
                Complete::Alert(candid, bytes) => {
                    pending.write(sequence, Space::Alerts, alert_key(survey, candid), Value::Bytes(bytes));
                }
                Complete::Cutouts(candid, bytes) => {
                    pending.write(sequence, Space::Cutouts, alert_key(survey, candid), Value::Bytes(bytes));
                }
                Complete::Matches(object_id, matches) => {
                    pending.set_matches(sequence, object_key(survey, &object_id), matches);
                }
            }
        }
    }

    /// Makes all batches up to `last` durable together with `meta`, in one atomic and synced write.
    ///
    /// # Errors
    /// The disk fails; nothing of it is committed then.
    pub fn commit(&self, last: Sequence, meta: &[(&str, Vec<u8>)]) -> Result<(), StoreError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        {
            let pending = self.pending();
            for (space, key, value) in pending.up_to(last) {
                let space = match space {
                    Space::Alerts => &self.alerts,
                    Space::Cutouts => &self.cutouts,
                    Space::Objects => &self.objects,
                    Space::Matches => &self.matches,
                    Space::Aliases => &self.aliases,
                    Space::Sky => &self.sky,
                };
                match value {
                    Value::Bytes(bytes) => batch.insert(space, key, bytes.as_slice()),
                    Value::Object(object) => batch.insert(space, key, object.encode()),
                }
            }
        }
        for (key, value) in meta {
            batch.insert(&self.meta, *key, value.as_slice());
        }
        batch.commit().map_err(self.failed("committing"))?;
        self.pending().forget(last);
        Ok(())
    }
}

fn alert_key(survey: &Survey, candid: i64) -> Vec<u8> {
    // Flipping the sign bit makes the byte order the order of the numbers.
    let ordered = candid.cast_unsigned() ^ (1 << 63);
    [survey.name.as_bytes(), &[0], &ordered.to_be_bytes()].concat()
}

fn object_key(survey: &Survey, object_id: &str) -> Vec<u8> {
    [survey.name.as_bytes(), &[0], object_id.as_bytes()].concat()
}

fn sky_bound(survey: &Survey, cell: u64) -> Vec<u8> {
    [survey.name.as_bytes(), &[0], &cell.to_be_bytes()].concat()
}

fn sky_key(survey: &Survey, ra: f64, dec: f64, object_id: &str) -> Vec<u8> {
    [&sky_bound(survey, healpix(ra, dec)), object_id.as_bytes()].concat()
}

fn read_sky(key: &[u8], value: &[u8]) -> Option<(String, f64, f64)> {
    let name = key.iter().position(|byte| *byte == 0)?;
    let id = std::str::from_utf8(key.get(name + 9..)?).ok()?;
    let (ra, dec) = value.split_first_chunk::<8>()?;
    Some((id.to_owned(), f64::from_le_bytes(*ra), f64::from_le_bytes(*dec.first_chunk()?)))
}
