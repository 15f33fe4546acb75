//! What one stream may take of the cluster, and of a node beside the other streams: a node's part follows from how many partitions of the
//! stream it has. Pure. That nodes obey is not decided here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::id::{NodeId, Partition, StreamId};
use crate::orders::Orders;
use crate::plan::Assignment;
use crate::quota::Stage;

/// The weight of a stream of which nobody says another: some may count less, such as a replay.
pub const WEIGHT: u32 = 10;

/// What one stream may take of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamShare {
    /// When streams want more than there is, each gets in proportion to this; at least 1.
    pub weight: u32,
    /// Of the stages that are bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<Stage, Limits>,
}

/// How many batches a stage works on at once: all of them on a node, or those of one stream on a node or in the whole cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// At least, if that many wait.
    #[serde(default)]
    pub min: u32,
    /// At most; none: as many as there are workers.
    #[serde(default)]
    pub max: Option<u32>,
}

/// How much of the whole cluster a stream may take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Its weight beside other streams, at least 1; none counts [`WEIGHT`].
    #[serde(default)]
    pub weight: Option<u32>,
    /// Of the stages that are bounded. A node that has partitions of the stream may always work on one batch of it: `max` is exceeded only
    /// when more nodes have partitions than it has workers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<Stage, Limits>,
}

impl Default for StreamShare {
    fn default() -> Self {
        Self { weight: WEIGHT, stages: BTreeMap::new() }
    }
}

impl Limits {
    /// Whether they can be kept.
    ///
    /// # Errors
    /// Nothing could ever be worked on, or the least is more than the most.
    pub fn check(self) -> Result<(), Error> {
        match self.max {
            Some(0) => {
                Err(Error::Bounds("a maximum of 0 workers lets nothing through: 1 or more is possible".to_owned()))
            }
            Some(max) if max < self.min => {
                Err(Error::Bounds(format!("the minimum {} is above the maximum {max}", self.min)))
            }
            _ => Ok(()),
        }
    }
}

impl Bounds {
    /// Whether they can be kept.
    ///
    /// # Errors
    /// The weight is 0, or a stage's limits can not be kept.
    pub fn check(&self) -> Result<(), Error> {
        if self.weight == Some(0) {
            return Err(Error::Bounds("a weight of 0 gives nothing: 1 or more is possible".to_owned()));
        }
        self.stages.values().try_for_each(|limits| limits.check())
    }

    /// These, where the others say nothing.
    #[must_use]
    pub fn under(&self, others: Option<&Self>) -> Self {
        let Some(others) = others else { return self.clone() };
        let stages = self.stages.iter().chain(&others.stages).map(|(&stage, &limits)| (stage, limits)).collect();
        Self { weight: others.weight.or(self.weight), stages }
    }

    /// A node with all partitions of the stream has all of it.
    pub fn whole(&self) -> StreamShare {
        let bounded = self.stages.iter().filter(|(_, limits)| **limits != Limits::default());
        let stages = bounded.map(|(&stage, &limits)| (stage, limits)).collect();
        StreamShare { weight: self.weight.unwrap_or(WEIGHT).max(1), stages }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (0, None) => write!(f, "unbounded"),
            (min, None) => write!(f, "at least {min}"),
            (0, Some(max)) => write!(f, "at most {max}"),
            (min, Some(max)) => write!(f, "{min} to {max}"),
        }
    }
}

impl fmt::Display for StreamShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = (self.weight != WEIGHT).then(|| format!("weight {}", self.weight));
        let stages = self.stages.iter().map(|(stage, limits)| format!("{stage} {limits}"));
        let said: Vec<String> = weight.into_iter().chain(stages).collect();
        f.write_str(&said.join(", "))
    }
}

/// The part of each node that has partitions of a stream that is not treated as usual, under the owners of a plan. Whoever has still to let go of
/// a partition counts as its owner.
pub fn shares<'a>(
    orders: &Orders,
    owners: &'a BTreeMap<Partition, Assignment>,
) -> BTreeMap<&'a NodeId, BTreeMap<StreamId, StreamShare>> {
    let usual = StreamShare::default();
    let wanted: BTreeMap<&StreamId, StreamShare> =
        orders.streams.keys().map(|id| (id, orders.bounds_of(id).whole())).collect();
    let wanted: BTreeMap<_, _> = wanted.into_iter().filter(|(_, share)| *share != usual).collect();
    let mut counts: BTreeMap<&StreamId, BTreeMap<&NodeId, u64>> = BTreeMap::new();
    if !wanted.is_empty() {
        for (partition, entry) in owners.iter().filter(|(partition, _)| wanted.contains_key(&partition.stream)) {
            let Some(owner) = entry.state.owner() else { continue };
            *counts.entry(&partition.stream).or_default().entry(&owner.node).or_default() += 1;
        }
    }
    let mut shares: BTreeMap<&NodeId, BTreeMap<StreamId, StreamShare>> = BTreeMap::new();
    for (stream, counts) in counts {
        for (node, share) in parts(&wanted[stream], &counts) {
            if share != usual {
                shares.entry(node).or_default().insert(stream.clone(), share);
            }
        }
    }
    shares
}

/// What one stream may take of each node, of which so many partitions are there.
fn parts<'a>(whole: &StreamShare, counts: &BTreeMap<&'a NodeId, u64>) -> Vec<(&'a NodeId, StreamShare)> {
    let weights: Vec<u64> = counts.values().copied().collect();
    let none = StreamShare { weight: whole.weight, stages: BTreeMap::new() };
    let mut parts: Vec<_> = counts.keys().map(|&node| (node, none.clone())).collect();
    for (&stage, limits) in &whole.stages {
        let most = limits.max.map(|max| split_max(max, &weights));
        let least = split_min(limits.min.min(limits.max.unwrap_or(u32::MAX)), &weights, most.as_deref());
        for (i, (_, share)) in parts.iter_mut().enumerate() {
            let limits = Limits { min: least[i], max: most.as_ref().map(|most| most[i]) };
            if limits != Limits::default() {
                share.stages.insert(stage, limits);
            }
        }
    }
    parts
}

/// The whole parts of a number in proportion to weights above 0, and in which order what is left over goes to them: the greatest remainders
/// first, of equals the earlier.
fn proportions(number: u32, weights: &[u64]) -> (Vec<u32>, Vec<usize>) {
    let total: u64 = weights.iter().sum::<u64>().max(1);
    let exact = |i: usize| u64::from(number) * weights[i];
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| (u64::MAX - exact(i) % total, i));
    ((0..weights.len()).map(|i| (exact(i) / total) as u32).collect(), order)
}

/// Splits a maximum: everybody gets at least 1, and all together it is the maximum, if that is enough for everybody.
fn split_max(max: u32, weights: &[u64]) -> Vec<u32> {
    let (mut left, mut total) = (max, weights.iter().sum::<u64>());
    let mut rising: Vec<usize> = (0..weights.len()).collect();
    rising.sort_by_key(|&i| (weights[i], i));
    let mut few = 0;
    while few < rising.len() && u64::from(left) * weights[rising[few]] < total {
        left = left.saturating_sub(1);
        total -= weights[rising[few]];
        few += 1;
    }
    let mut rest = rising.split_off(few);
    rest.sort_unstable();
    let (whole, order) = proportions(left, &rest.iter().map(|&i| weights[i]).collect::<Vec<_>>());
    let mut parts = vec![1; weights.len()];
    rest.iter().zip(&whole).for_each(|(&i, &part)| parts[i] = part);
    let over = if rest.is_empty() { 0 } else { left - whole.iter().sum::<u32>() };
    order.into_iter().take(over as usize).for_each(|i| parts[rest[i]] += 1);
    parts
}

/// Splits a minimum; nobody gets more than his maximum, if there are any. All maxima together are no less than the minimum.
fn split_min(min: u32, weights: &[u64], most: Option<&[u32]>) -> Vec<u32> {
    let (mut parts, order) = proportions(min, weights);
    let cap = |i: usize| most.map_or(u32::MAX, |most| most[i]);
    (0..parts.len()).for_each(|i| parts[i] = parts[i].min(cap(i)));
    let mut over = min - parts.iter().sum::<u32>();
    // One for each first; then whoever has room takes what is still left, which is little.
    for step in [1, u32::MAX] {
        for &i in &order {
            let more = over.min(step).min(cap(i) - parts[i]);
            parts[i] += more;
            over -= more;
        }
    }
    parts
}

#[cfg(test)]
mod tests;
