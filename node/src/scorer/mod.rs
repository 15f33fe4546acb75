//! Classifiers: the scorer port, its two runtimes, and the opening of the models that manifests describe.
//!
//! Rows of numbers go in and scores come out; which alert they belong to, and where its features and stamps come from, is not
//! known here. No model is named here: a model is a manifest and a file.

use std::{
    ffi::OsString,
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

mod checkout;
pub mod manifest;
mod onnxruntime;
mod rten;
mod signature;

use manifest::{Manifest, Problem};

/// What keeps a model from being opened, or a batch from being scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScorerError {
    /// The library of ONNX Runtime that was named does not load.
    #[error(
        "cannot load ONNX Runtime from {path}: {reason}; name the file libonnxruntime.so in ORT_DYLIB_PATH or the \
         configuration, or name none to use the pure-Rust runtime"
    )]
    Library {
        /// The file that was named.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A manifest, or a directory of them, is wrong.
    #[error("{0}")]
    Manifest(Problem),
    /// A model's file is there and cannot be used.
    #[error("cannot use the model file {file} of the manifest {manifest}: {reason}")]
    File {
        /// The file.
        file: PathBuf,
        /// The manifest that names it.
        manifest: String,
        /// What was expected, what was found, and what to do.
        reason: String,
    },
    /// The rows that were handed in are not those of the model.
    #[error("the model takes {expected}, and was given {found}")]
    Rows {
        /// What the manifest says.
        expected: String,
        /// What was handed in.
        found: String,
    },
    /// The runtime failed on a batch.
    #[error("the model's run failed: {0}")]
    Run(String),
}

/// The port: a network that turns rows into scores. Used from many threads at one time; each call computes on its own thread.
pub trait Scorer: Send + Sync {
    /// Scores one batch of `n` alerts. `inputs` are in the manifest's order, each row-major `[n, …]`; gives `n` scores for the
    /// manifest's first output, then `n` for its second, …, as the network gives them, finite or not.
    ///
    /// # Errors
    /// Where the inputs are not of that size, or the runtime fails.
    fn score(&self, n: usize, inputs: &[&[f32]]) -> Result<Vec<f32>, ScorerError>;
}

/// Which runtime computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// ONNX Runtime, from this library.
    OnnxRuntime(PathBuf),
    /// rten, in pure Rust.
    Rten,
}

impl Backend {
    /// ONNX Runtime where the configuration or, failing that, the variable `ORT_DYLIB_PATH` (handed in) names a library, else rten.
    pub fn choose(configured: Option<&Path>, ort_dylib_path: Option<OsString>) -> Self {
        let configured = configured.map(Path::to_path_buf);
        let named = configured.or_else(|| ort_dylib_path.map(PathBuf::from));
        match named.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Self::OnnxRuntime(path),
            None => Self::Rten,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnnxRuntime(path) => write!(f, "ONNX Runtime ({})", path.display()),
            Self::Rten => f.write_str("rten"),
        }
    }
}

/// Most input values that go into one run, unless one row has more. The layers of a network on stamps are some twenty times the
/// size of its input: measured with ONNX Runtime, the five ACAI nets took 0.48 ms an alert one by one and 0.64 ms in batches of
/// 32, braai the same either way. Networks on features alone, whose run costs more than its computing, do go in batches.
const RUN_VALUES: usize = 12_000;

/// A model that is ready to score.
pub struct Model {
    /// What it is.
    pub manifest: Manifest,
    /// The first twelve digits of its file's SHA-256: what a result carries as the version of the model that made it.
    pub version: String,
    scorer: Box<dyn Scorer>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("name", &self.manifest.name).field("version", &self.version).finish()
    }
}

impl Model {
    /// A model of this scorer, for instance one of a test.
    pub fn new(manifest: Manifest, version: String, scorer: Box<dyn Scorer>) -> Self {
        Self { manifest, version, scorer }
    }

    /// Scores one batch of any size, as [`Scorer::score`] does, in runs that fit a processor's cache; a score that is not finite
    /// is no score.
    ///
    /// # Errors
    /// Where the inputs are not of the manifest's size, or the runtime fails.
    pub fn score(&self, n: usize, inputs: &[&[f32]]) -> Result<Vec<Option<f32>>, ScorerError> {
        let widths: Vec<usize> = self.manifest.inputs.iter().map(|input| input.kind.width()).collect();
        if !inputs.iter().map(|input| input.len()).eq(widths.iter().map(|width| n * width)) {
            return Err(rows_differ(n, inputs, &self.manifest));
        }
        let at_once = (RUN_VALUES / widths.iter().sum::<usize>().max(1)).max(1);
        let outputs = self.manifest.outputs.len();
        let mut scores = vec![None; n * outputs];
        for start in (0..n).step_by(at_once) {
            let rows = start..n.min(start + at_once);
            let part: Vec<&[f32]> =
                inputs.iter().zip(&widths).map(|(input, width)| &input[rows.start * width..rows.end * width]).collect();
            let found = self.scorer.score(rows.len(), &part)?;
            scatter(&found, rows, n, &mut scores)?;
        }
        Ok(scores)
    }
}

/// Puts the scores of the alerts `rows`, output by output, to those of all `n` alerts.
fn scatter(found: &[f32], rows: Range<usize>, n: usize, scores: &mut [Option<f32>]) -> Result<(), ScorerError> {
    if found.len() * n != scores.len() * rows.len() {
        let reason = format!("{} scores came back for {} alerts", found.len(), rows.len());
        return Err(ScorerError::Run(reason));
    }
    for (output, found) in found.chunks_exact(rows.len()).enumerate() {
        let place = &mut scores[output * n..][rows.clone()];
        for (score, &found) in place.iter_mut().zip(found) {
            *score = found.is_finite().then_some(found);
        }
    }
    Ok(())
}

/// What became of the manifests.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The models that are ready, in the order of the manifests.
    pub models: Vec<Model>,
    /// The models whose file is in none of the directories: name and one clear line.
    pub left_out: Vec<(String, String)>,
    /// What is wrong: the library, a manifest, or a file that is there and cannot be used.
    pub problems: Vec<ScorerError>,
}

/// Opens the models of the manifests that come with the broker and of those in `directories`, looking for their files in
/// `directories`. One that cannot be opened does not keep the others from it.
pub fn load(directories: &[PathBuf], backend: &Backend) -> Loaded {
    let (manifests, problems) = manifest::gather(directories);
    let mut loaded = open(manifests, directories, backend);
    loaded.problems.extend(problems.into_iter().map(ScorerError::Manifest));
    loaded
}

/// Opens the models of `manifests`, looking for their files in `directories` in that order.
pub fn open(manifests: Vec<Manifest>, directories: &[PathBuf], backend: &Backend) -> Loaded {
    let mut loaded = Loaded::default();
    let runtime = match Runtime::new(backend) {
        Ok(runtime) => runtime,
        Err(error) => {
            loaded.problems.push(error);
            return loaded;
        }
    };
    for manifest in manifests {
        let Some(file) = find(&manifest.file, directories) else {
            loaded.left_out.push((manifest.name.clone(), absent(&manifest, directories)));
            continue;
        };
        let twice = loaded.models.iter().flat_map(|model| clashes(&model.manifest, &manifest)).next();
        let result = match twice {
            Some(clash) => Err(clash),
            None => fs::read(&file)
                .map_err(|error: io::Error| error.to_string())
                .and_then(|network| runtime.open(&manifest, network)),
        };
        match result {
            Ok((scorer, version)) => loaded.models.push(Model::new(manifest, version, scorer)),
            Err(reason) => {
                loaded.problems.push(ScorerError::File { file, manifest: manifest.path, reason });
            }
        }
    }
    loaded
}

/// The model of the simulated sky, which comes with the broker whole; it has seen no real stamp.
///
/// # Errors
/// The runtime does not load.
pub fn simulated_sky(backend: &Backend) -> Result<Model, ScorerError> {
    const MANIFEST: &str = include_str!("../../../deploy/models/boom_rb.toml");
    const NETWORK: &[u8] = include_bytes!("../../../deploy/models/boom_rb.onnx");
    let place = "boom_rb.toml";
    let broken = |reason| ScorerError::File { file: PathBuf::from("boom_rb.onnx"), manifest: place.to_owned(), reason };
    let manifest = Manifest::parse(place, MANIFEST)
        .map_err(|problems| broken(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let (scorer, version) = Runtime::new(backend)?.open(&manifest, NETWORK.to_vec()).map_err(broken)?;
    Ok(Model::new(manifest, version, scorer))
}

fn find(file: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(file)).find(|path| path.is_file())
}

fn absent(manifest: &Manifest, directories: &[PathBuf]) -> String {
    let Manifest { name, file, .. } = manifest;
    let listed: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    let searched = match listed.as_slice() {
        [] => "no directory of models is given".to_owned(),
        _ => format!("its file {file} is not in {}", listed.join(", ")),
    };
    format!("model {name} is left out: {searched}; --models DIR names where {file} is")
}

/// Scores of the same name for the same survey.
fn clashes(known: &Manifest, new: &Manifest) -> Option<String> {
    let taken = |alias: &str| known.outputs.iter().any(|output| output.alias == alias);
    let clash = new.outputs.iter().find(|output| taken(&output.alias)).filter(|_| known.survey == new.survey)?;
    Some(format!("its score `{}` is already given by the manifest {}: rename one of them", clash.alias, known.path))
}

/// The runtime that opens the networks.
enum Runtime {
    OnnxRuntime(onnxruntime::Library),
    Rten(rten::Pools),
}

impl Runtime {
    fn new(backend: &Backend) -> Result<Self, ScorerError> {
        Ok(match backend {
            Backend::OnnxRuntime(path) => Self::OnnxRuntime(onnxruntime::Library::load(path)?),
            Backend::Rten => Self::Rten(rten::Pools::new()),
        })
    }

    /// The scorer and the version of a manifest's network, or what is wrong with that network.
    fn open(&self, manifest: &Manifest, network: Vec<u8>) -> Result<(Box<dyn Scorer>, String), String> {
        let sum = hex(&Sha256::digest(&network));
        if let Some(expected) = manifest.sha256.as_ref().filter(|expected| **expected != sum) {
            return Err(format!(
                "expected SHA-256 {expected}, found {sum}: it is another version or was damaged; get the right file, or \
                 correct the manifest"
            ));
        }
        let broken = |reason| format!("expected an ONNX network, found what {self} cannot read: {reason}");
        let (scorer, found): (Box<dyn Scorer>, _) = match self {
            Self::OnnxRuntime(library) => {
                let (scorer, found) = library.open(&network, manifest).map_err(broken)?;
                (Box::new(scorer), found)
            }
            Self::Rten(pools) => {
                let (scorer, found) = pools.open(network, manifest).map_err(broken)?;
                (Box::new(scorer), found)
            }
        };
        match signature::differences(manifest, &found).as_slice() {
            [] => Ok((scorer, sum[..12].to_owned())),
            differences => Err(differences.join("; ")),
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnnxRuntime(_) => "ONNX Runtime",
            Self::Rten(_) => "rten",
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The error of inputs that are not `n` rows of each of the manifest's.
fn rows_differ(n: usize, inputs: &[&[f32]], manifest: &Manifest) -> ScorerError {
    let expected: Vec<String> =
        manifest.inputs.iter().map(|input| format!("`{}` {n} x {:?}", input.name, input.kind.shape())).collect();
    let found: Vec<String> = inputs.iter().map(|input| format!("{} values", input.len())).collect();
    ScorerError::Rows { expected: expected.join(", "), found: found.join(", ") }
}

#[cfg(test)]
mod tests;
