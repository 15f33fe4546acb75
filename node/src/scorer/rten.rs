//! The scorer on rten, an ONNX runtime in pure Rust that needs no library.
//!
//! A network computes on one thread: the node's workers are the parallelism. rten runs a network on a thread pool, so each call
//! takes a pool of one thread, shared by all networks.

use std::{convert::Infallible, sync::Arc};

use rten::{Dimension, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueType};
use rten_tensor::{AsView, Layout, TensorView};

use super::{
    Scorer, ScorerError,
    checkout::Checkout,
    manifest::Manifest,
    signature::{Signature, Tensor},
};

/// The thread pools that the networks share.
#[derive(Clone)]
pub(super) struct Pools(Arc<Checkout<Arc<ThreadPool>>>);

impl Pools {
    pub(super) fn new() -> Self {
        Self(Arc::new(Checkout::new([])))
    }

    /// Opens a network; says what it takes and gives.
    pub(super) fn open(&self, network: Vec<u8>, manifest: &Manifest) -> Result<(Rten, Signature), String> {
        let model = rten::Model::load(network).map_err(|error| error.to_string())?;
        let tensors = |ids: &[NodeId]| ids.iter().map(|&id| tensor(&model, id)).collect();
        let signature = Signature { inputs: tensors(model.input_ids()), outputs: tensors(model.output_ids()) };
        let find = |name: &str| model.node_id(name).ok();
        // A name that is not there is a difference of the signatures, and the scorer is not used.
        let inputs = manifest.inputs.iter();
        let inputs = inputs.filter_map(|i| Some((find(&i.name)?, i.name.clone(), i.kind.shape()))).collect::<Vec<_>>();
        let scorer = Rten {
            ids: inputs.iter().map(|(id, _, _)| *id).collect(),
            inputs: inputs.into_iter().map(|(_, name, shape)| (name, shape)).collect(),
            outputs: manifest.outputs.iter().filter_map(|output| find(&output.name)).collect(),
            model,
            pools: self.clone(),
        };
        Ok((scorer, signature))
    }
}

fn tensor(model: &rten::Model, id: NodeId) -> Tensor {
    let info = model.node_info(id);
    let size = |dimension: Dimension| match dimension {
        Dimension::Fixed(size) => Some(size),
        Dimension::Symbolic(_) => None,
    };
    Tensor {
        name: info.as_ref().and_then(|info| info.name()).unwrap_or_default().to_owned(),
        is_f32: info.as_ref().and_then(|info| info.dtype()) == Some(ValueType::Tensor(rten::DataType::Float)),
        shape: info.and_then(|info| info.shape()).map(|shape| shape.into_iter().map(size).collect()),
    }
}

/// A network in rten; any number of threads can use it at one time.
pub(super) struct Rten {
    model: rten::Model,
    pools: Pools,
    ids: Vec<NodeId>,
    /// Name and shape of a row.
    inputs: Vec<(String, Vec<usize>)>,
    outputs: Vec<NodeId>,
}

impl Scorer for Rten {
    fn score(&self, n: usize, inputs: &[&[f32]]) -> Result<Vec<f32>, ScorerError> {
        let mut values: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for ((&id, (_, row)), &values_in) in self.ids.iter().zip(&self.inputs).zip(inputs) {
            let shape: Vec<usize> = std::iter::once(n).chain(row.iter().copied()).collect();
            let view = TensorView::try_from_data(shape.as_slice(), values_in)
                .map_err(|error| ScorerError::Run(format!("{n} rows of {row:?}: {error}")))?;
            values.push((id, view.into()));
        }
        let make = || Ok::<_, Infallible>(Arc::new(ThreadPool::with_num_threads(1)));
        let run = |pool: &mut Arc<ThreadPool>| {
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
            Ok(self.model.run(values, &self.outputs, Some(options)))
        };
        let found = match self.pools.0.with(make, run) {
            Ok(found) => found.map_err(|error| ScorerError::Run(error.to_string()))?,
        };
        scores(n, found)
    }
}

fn scores(n: usize, found: Vec<Value>) -> Result<Vec<f32>, ScorerError> {
    let mut scores = Vec::with_capacity(n * found.len());
    for value in found {
        let tensor: rten_tensor::Tensor<f32> =
            value.try_into().map_err(|_| ScorerError::Run("an output is not f32".to_owned()))?;
        if tensor.len() != n {
            return Err(ScorerError::Run(format!("an output gave {} scores for {n} alerts", tensor.len())));
        }
        scores.extend(tensor.iter());
    }
    Ok(scores)
}
