//! Results in files: `results.avro`, `results.jsonl`, `dead_letters/`, `ledger.json`.
//!
//! The files are appended to and synced first; then one atomic write to the store records how long they are, with the progress and the
//! books. After a crash whatever stands behind those lengths is cut off and made again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use apache_avro::{Codec, Writer, ZstandardSettings};
use boom_store::documents::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::{Emission, Progress, Sink};
use crate::books::Books;
use crate::compute::{Compute, Panicked};
use crate::stage::DeadLetter;
use crate::stage::record::{Provenance, ResultRecord, SCHEMA};

/// What went wrong with an output.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("writing {path} failed: {source}{}", hint(source))]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output belongs to something else.
    #[error(
        "the output {path} belongs to another run: its {what} was\n    {was}\n  and is now\n    {now}\n  give the same again to go on with it, or another --out"
    )]
    Foreign {
        /// The output.
        path: PathBuf,
        /// What differs.
        what: String,
        /// Before.
        was: String,
        /// Now.
        now: String,
    },
    /// What was written can not be read back.
    #[error("{path} is damaged: {problem}; take another --out")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How.
        problem: String,
    },
    /// A result does not fit its own schema.
    #[error("a result can not be encoded: {0}")]
    Encode(String),
    /// The code.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room and run the same command again: it goes on from the last commit"
        }
        _ => "",
    }
}

/// The store's error; of a disk that is full the one that says what to do.
fn full_disk(directory: &Path, error: StoreError) -> Error {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let mut kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kinds.find(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
        Some(kind) => Error::Io { path: directory.join("store"), source: kind.into() },
        None => error.into(),
    }
}

/// What a run is a run of; the same for every run that goes on with an output.
pub type Identity = Vec<(String, String)>;

/// Committed lengths of the files that grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lengths {
    avro: u64,
    jsonl: u64,
}

/// Results in files of one directory.
#[derive(Debug)]
pub struct Files {
    compute: Compute,
    provenance: Arc<Provenance>,
    marker: [u8; 16],
    output: Arc<Mutex<Output>>,
}

/// The files themselves, written on threads that may block.
#[derive(Debug)]
struct Output {
    directory: PathBuf,
    store: Arc<Store>,
    avro: Growing,
    jsonl: Growing,
}

/// A file that is only appended to.
#[derive(Debug)]
struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
}

/// Where an earlier run of the same command had come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How far the inputs were decided.
    pub progress: Progress,
    /// The books by then.
    pub books: Books,
}

impl Files {
    /// Opens the output in `directory`, or goes on with it: files are cut to what was committed.
    ///
    /// # Errors
    /// The output belongs to another run, is damaged, or the disk fails.
    pub fn open(
        directory: &Path,
        store: Arc<Store>,
        compute: Compute,
        provenance: Arc<Provenance>,
        identity: &Identity,
    ) -> Result<(Self, Recovered), Error> {
        check_identity(directory, &store, identity)?;
        let lengths: Lengths = meta(directory, &store, "lengths")?.unwrap_or_default();
        let recovered = Recovered {
            progress: meta(directory, &store, "progress")?.unwrap_or_default(),
            books: meta(directory, &store, "books")?.unwrap_or_default(),
        };
        let dead = directory.join("dead_letters");
        std::fs::create_dir_all(&dead).map_err(failed(&dead))?;
        let mut avro = Growing::open(directory.join("results.avro"), lengths.avro)?;
        let jsonl = Growing::open(directory.join("results.jsonl"), lengths.jsonl)?;
        let marker = avro.marker()?;
        let output = Arc::new(Mutex::new(Output { directory: directory.to_owned(), store, avro, jsonl }));
        Ok((Self { compute, provenance, marker, output }, recovered))
    }
}

impl Output {
    fn commit(&mut self, emission: &Emission, encoded: Option<&(Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
        if let Some((avro, jsonl)) = encoded {
            self.avro.append(avro)?;
            self.jsonl.append(jsonl)?;
        }
        for letter in &emission.dead_letters {
            self.write_dead_letter(letter)?;
        }
        let lengths = Lengths { avro: self.avro.length, jsonl: self.jsonl.length };
        let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|error| Error::Encode(error.to_string()));
        let meta = [
            ("progress", json(serde_json::to_vec(&emission.progress))?),
            ("books", json(serde_json::to_vec(&emission.books))?),
            ("lengths", json(serde_json::to_vec(&lengths))?),
        ];
        self.store.commit(emission.last, &meta).map_err(|error| full_disk(&self.directory, error))
    }

    fn write_dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        let directory = self.directory.join("dead_letters");
        let origin = &letter.origin;
        let place = xxhash_rust::xxh3::xxh3_64(origin.source.as_bytes());
        let stem = format!("{place:016x}-{:08}-{}", origin.offset, origin.record);
        let bytes = directory.join(format!("{stem}.bin"));
        replace(&bytes, &letter.bytes)?;
        let description = serde_json::json!({
            "reason": letter.reason,
            "message": letter.message,
            "stage": letter.stage,
            "survey": letter.survey,
            "name": letter.name,
            "origin": {
                "source": &*origin.source,
                "partition": origin.partition,
                "offset": origin.offset,
                "record": origin.record,
            },
            "bytes": letter.bytes.len(),
            "file": format!("{stem}.bin"),
        });
        let text = serde_json::to_vec_pretty(&description).map_err(|error| Error::Encode(error.to_string()))?;
        replace(&directory.join(format!("{stem}.json")), &text)
    }
}

impl Sink for Files {
    type Error = Error;

    async fn commit(&mut self, mut emission: Emission) -> Result<(), Error> {
        let results = std::mem::take(&mut emission.results);
        let encoded = if results.is_empty() {
            None
        } else {
            let (provenance, marker) = (Arc::clone(&self.provenance), self.marker);
            Some(self.compute.run(move || encode(&results, &provenance, marker)).await??)
        };
        let output = Arc::clone(&self.output);
        let write = move || {
            let mut output = output.lock().expect("nobody panics with the output");
            output.commit(&emission, encoded.as_ref())
        };
        tokio::task::spawn_blocking(write).await.map_err(Panicked::from)?
    }
}

/// Writes the books for people and programs, whole or not at all.
///
/// # Errors
/// The disk fails.
pub fn write_ledger(directory: &Path, books: &Books) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(books).map_err(|error| Error::Encode(error.to_string()))?;
    replace(&directory.join("ledger.json"), &text)
}

fn encode(results: &[ResultRecord], provenance: &Provenance, marker: [u8; 16]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let failed = |error: apache_avro::Error| Error::Encode(error.to_string());
    let mut writer = Writer::append_to_with_codec(&SCHEMA, Vec::new(), codec(), marker).map_err(failed)?;
    let mut lines = Vec::new();
    for result in results {
        writer.append_value(result.avro(provenance)).map_err(failed)?;
        result.json_lines(provenance, &mut lines);
    }
    Ok((writer.into_inner().map_err(failed)?, lines))
}

fn codec() -> Codec {
    Codec::Zstandard(ZstandardSettings::default())
}

impl Growing {
    /// Opens a file and cuts it to `length`.
    fn open(path: PathBuf, length: u64) -> Result<Self, Error> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(failed(&path))?;
        let there = file.metadata().map_err(failed(&path))?.len();
        if there < length {
            let problem = format!("it has {there} bytes, where {length} were committed");
            return Err(Error::Damaged { path, problem });
        }
        file.set_len(length).map_err(failed(&path))?;
        Ok(Self { path, file, length })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(bytes)?;
            self.file.sync_data()
        };
        write().map_err(failed(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The marker between the blocks of the container; its header is written when there is none.
    fn marker(&mut self) -> Result<[u8; 16], Error> {
        if self.length == 0 {
            let encode = |error: apache_avro::Error| Error::Encode(error.to_string());
            let mut writer = Writer::with_codec(&SCHEMA, Vec::new(), codec()).map_err(encode)?;
            writer.flush().map_err(encode)?;
            let header = writer.into_inner().map_err(encode)?;
            self.append(&header)?;
        }
        let mut head = vec![0; usize::try_from(self.length.min(1 << 20)).unwrap_or(1 << 20)];
        self.file.seek(SeekFrom::Start(0)).map_err(failed(&self.path))?;
        self.file.read_exact(&mut head).map_err(failed(&self.path))?;
        let container = boom_sky::schema::Container::parse(&head);
        let container =
            container.map_err(|error| Error::Damaged { path: self.path.clone(), problem: error.to_string() })?;
        Ok(container.sync.try_into().expect("a marker has 16 bytes"))
    }
}

fn check_identity(directory: &Path, store: &Store, identity: &Identity) -> Result<(), Error> {
    let Some(before) = meta::<Identity>(directory, store, "identity")? else {
        let bytes = serde_json::to_vec(identity).map_err(|error| Error::Encode(error.to_string()))?;
        return Ok(store.commit(0, &[("identity", bytes)])?);
    };
    let differs = before.iter().zip(identity).find(|(was, now)| was != now);
    match differs {
        None => Ok(()),
        Some((was, now)) => Err(Error::Foreign {
            path: directory.to_owned(),
            what: now.0.clone(),
            was: was.1.clone(),
            now: now.1.clone(),
        }),
    }
}

fn meta<T: for<'de> Deserialize<'de>>(directory: &Path, store: &Store, key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = store.meta(key)? else { return Ok(None) };
    let damaged = |error: serde_json::Error| Error::Damaged {
        path: directory.join("store"),
        problem: format!("its {key} can not be read: {error}"),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Writes a file whole: under another name first, synced, then renamed.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}
