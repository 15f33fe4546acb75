//! The scorer on ONNX Runtime, a shared library that is loaded when the node starts.
//!
//! ONNX Runtime itself is one a process: the first library that is loaded holds, and another one is refused. A session computes
//! on the calling thread alone.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    session::Session,
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use super::{
    Scorer, ScorerError,
    checkout::Checkout,
    manifest::Manifest,
    signature::{Signature, Tensor},
};

/// The library of this process, and where it was loaded from; ONNX Runtime allows no second one.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// A library that is loaded.
#[derive(Clone)]
pub(super) struct Library {
    environment: Environment,
}

impl Library {
    /// Loads ONNX Runtime from `path`.
    pub(super) fn load(path: &Path) -> Result<Self, ScorerError> {
        let failed = |reason: String| ScorerError::Library { path: path.to_path_buf(), reason };
        // ort would look for a relative path beside the executable.
        let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, environment)) = &*loaded {
            return match *held == path {
                true => Ok(Self { environment: environment.clone() }),
                false => Err(failed(format!("this process has loaded {} already", held.display()))),
            };
        }
        let builder = ort::init_from(&path).map_err(|error| failed(error.to_string()))?;
        let environment = builder.with_telemetry(false).build().map_err(|error| failed(error.to_string()))?;
        *loaded = Some((path, environment.clone()));
        Ok(Self { environment })
    }

    /// Opens a network; says what it takes and gives.
    pub(super) fn open(&self, network: &[u8], manifest: &Manifest) -> Result<(OnnxRuntime, Signature), String> {
        let session = session(&self.environment, network).map_err(|error| error.to_string())?;
        let signature = Signature {
            inputs: session.inputs().iter().map(tensor).collect(),
            outputs: session.outputs().iter().map(tensor).collect(),
        };
        let scorer = OnnxRuntime {
            environment: self.environment.clone(),
            network: network.to_vec(),
            sessions: Checkout::new([session]),
            inputs: manifest.inputs.iter().map(|input| (input.name.clone(), input.kind.shape())).collect(),
            outputs: manifest.outputs.iter().map(|output| output.name.clone()).collect(),
        };
        Ok((scorer, signature))
    }
}

fn session(environment: &Environment, network: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?.with_intra_threads(1)?.with_inter_threads(1)?.commit_from_memory(network)
}

fn tensor(outlet: &Outlet) -> Tensor {
    let name = outlet.name().to_owned();
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let shape = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
            Tensor { name, is_f32: *ty == TensorElementType::Float32, shape: Some(shape) }
        }
        _ => Tensor { name, is_f32: false, shape: None },
    }
}

/// A network in ONNX Runtime, with a session for each thread that uses it at one time.
pub(super) struct OnnxRuntime {
    environment: Environment,
    network: Vec<u8>,
    sessions: Checkout<Session>,
    /// Name and shape of a row.
    inputs: Vec<(String, Vec<usize>)>,
    outputs: Vec<String>,
}

impl Scorer for OnnxRuntime {
    fn score(&self, n: usize, inputs: &[&[f32]]) -> Result<Vec<f32>, ScorerError> {
        let make = || session(&self.environment, &self.network);
        self.sessions
            .with(make, |session| self.run(session, n, inputs))
            .map_err(|error| ScorerError::Run(error.to_string()))
    }
}

impl OnnxRuntime {
    fn run(&self, session: &mut Session, n: usize, inputs: &[&[f32]]) -> ort::Result<Vec<f32>> {
        let mut values = Vec::with_capacity(inputs.len());
        for ((name, row), &values_in) in self.inputs.iter().zip(inputs) {
            let shape: Vec<usize> = std::iter::once(n).chain(row.iter().copied()).collect();
            values.push((name.as_str(), TensorRef::from_array_view((shape, values_in))?));
        }
        let found = session.run(values)?;
        let mut scores = Vec::with_capacity(n * self.outputs.len());
        for name in &self.outputs {
            let (_, values) = found[name.as_str()].try_extract_tensor::<f32>()?;
            if values.len() != n {
                return Err(ort::Error::new(format!("`{name}` gave {} scores for {n} alerts", values.len())));
            }
            scores.extend_from_slice(values);
        }
        Ok(scores)
    }
}
