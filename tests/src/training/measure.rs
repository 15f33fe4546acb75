//! How good a net is on examples that it has not seen.

use std::collections::BTreeMap;

use super::data::Example;
use super::net::Net;

/// Hold-out numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quality {
    /// Number of real ones and of artefacts.
    pub(crate) real: usize,
    pub(crate) bogus: usize,
    /// Part of all that is on the right side of 0.5.
    pub(crate) accuracy: f64,
    /// Part of the real ones above 0.5, and of the artefacts below.
    pub(crate) completeness: f64,
    pub(crate) rejection: f64,
    /// Area under the receiver operating characteristic.
    pub(crate) roc_auc: f64,
    /// Part on the right side of 0.5, by class.
    pub(crate) by_kind: BTreeMap<&'static str, (usize, usize)>,
}

/// Scores the examples and compares with their labels.
pub(crate) fn quality(net: &Net, examples: &[Example]) -> Quality {
    let mut scored: Vec<(f32, bool)> = Vec::with_capacity(examples.len());
    let mut by_kind: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for example in examples {
        let score = net.score(&example.pixels);
        let entry = by_kind.entry(example.kind).or_default();
        entry.0 += usize::from((score > 0.5) == example.is_real);
        entry.1 += 1;
        scored.push((score, example.is_real));
    }
    let real = scored.iter().filter(|(_, is_real)| *is_real).count();
    let bogus = scored.len() - real;
    let right =
        |wanted: bool| scored.iter().filter(|(score, is_real)| *is_real == wanted && (*score > 0.5) == wanted).count();
    let (kept, rejected) = (right(true), right(false));
    Quality {
        real,
        bogus,
        accuracy: (kept + rejected) as f64 / scored.len() as f64,
        completeness: kept as f64 / real as f64,
        rejection: rejected as f64 / bogus as f64,
        roc_auc: roc_auc(scored),
        by_kind,
    }
}

/// Probability that a real one scores higher than an artefact: from the mean rank of the real ones (Mann and Whitney), ties counted half.
fn roc_auc(mut scored: Vec<(f32, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut real, mut start) = (0.0, 0.0, 0);
    while start < scored.len() {
        let end = start + scored[start..].iter().take_while(|(score, _)| *score == scored[start].0).count();
        let rank = (start + end + 1) as f64 / 2.0;
        let count = scored[start..end].iter().filter(|(_, is_real)| *is_real).count() as f64;
        ranks += rank * count;
        real += count;
        start = end;
    }
    let bogus = scored.len() as f64 - real;
    (ranks - real * (real + 1.0) / 2.0) / (real * bogus)
}
