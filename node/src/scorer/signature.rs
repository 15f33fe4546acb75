//! What a network takes and gives, as its file says, and whether that is what its manifest says.

use std::fmt;

use super::manifest::{InputKind, Manifest};

/// A tensor that a network takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Its name.
    pub(crate) name: String,
    /// Whether its elements are `f32`; the only ones that are fed.
    pub(crate) is_f32: bool,
    /// Its dimensions, `None` where the network leaves one open; no list where the file does not say.
    pub(crate) shape: Option<Vec<Option<usize>>>,
}

/// The inputs and outputs of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Signature {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {} ", self.name, if self.is_f32 { "f32" } else { "not f32" })?;
        let Some(shape) = &self.shape else { return f.write_str("of unstated shape") };
        let dimensions: Vec<String> =
            shape.iter().map(|size| size.map_or_else(|| "N".to_owned(), |size| size.to_string())).collect();
        write!(f, "[{}]", dimensions.join(", "))
    }
}

impl Tensor {
    /// Whether a tensor of `wanted` can stand where the network has this one: open dimensions take any size.
    fn takes(&self, wanted: &Self) -> bool {
        let fits = |(has, wants): (&Option<usize>, &Option<usize>)| has.is_none() || has == wants;
        let shape_fits = match (&self.shape, &wanted.shape) {
            (Some(has), Some(wants)) => has.len() == wants.len() && has.iter().zip(wants).all(fits),
            _ => true,
        };
        self.name == wanted.name && self.is_f32 == wanted.is_f32 && shape_fits
    }
}

/// The tensors that a manifest expects: inputs, then outputs. A score is `[N, 1]`.
pub(crate) fn expected(manifest: &Manifest) -> Signature {
    let tensor = |name: &str, row: Vec<usize>| Tensor {
        name: name.to_owned(),
        is_f32: true,
        shape: Some(std::iter::once(None).chain(row.into_iter().map(Some)).collect()),
    };
    let shape = |kind: &InputKind| kind.shape();
    Signature {
        inputs: manifest.inputs.iter().map(|input| tensor(&input.name, shape(&input.kind))).collect(),
        outputs: manifest.outputs.iter().map(|output| tensor(&output.name, vec![1])).collect(),
    }
}

/// Every difference between what the manifest expects and what the network has; none where they go together. The inputs must be
/// the same; a network may give more than the manifest takes, and a score may also be `[N]`.
pub(crate) fn differences(manifest: &Manifest, found: &Signature) -> Vec<String> {
    let expected = expected(manifest);
    let mut differences = Vec::new();
    for wanted in &expected.inputs {
        if !found.inputs.iter().any(|has| has.takes(wanted)) {
            differences.push(format!("expected the input {wanted}, found {}", list(&found.inputs)));
        }
    }
    for has in &found.inputs {
        if !expected.inputs.iter().any(|wanted| wanted.name == has.name) {
            differences.push(format!("found the input {has}, which the manifest does not name"));
        }
    }
    for wanted in &expected.outputs {
        let flat = Tensor { shape: Some(vec![None]), ..wanted.clone() };
        if !found.outputs.iter().any(|has| has.takes(wanted) || has.takes(&flat)) {
            differences.push(format!("expected the output {wanted}, found {}", list(&found.outputs)));
        }
    }
    differences
}

fn list(tensors: &[Tensor]) -> String {
    match tensors {
        [] => "none".to_owned(),
        _ => tensors.iter().map(Tensor::to_string).collect::<Vec<_>>().join(", "),
    }
}
