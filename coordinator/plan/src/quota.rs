//! How many workers a node gives each stage, and why; at first, from its cores, the configured shares and what operators order. How that
//! follows the load is in `scale`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::StreamId;
use crate::share::StreamShare;
use crate::time::Span;

/// A stage that has a pool of workers on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Packets to documents.
    Ingest,
    /// Crossmatch, features, scores.
    Enrich,
    /// The users' filters.
    Filter,
}

impl Stage {
    /// All of them, in the order of the way of an alert.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Enrich, Self::Filter];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Enrich => "enrich",
            Self::Filter => "filter",
        })
    }
}

/// How the cores of a node are split between stages that nobody has ordered otherwise: in proportion. A stage that is not named counts 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shares(pub BTreeMap<Stage, u32>);

impl Default for Shares {
    fn default() -> Self {
        Self(BTreeMap::from([(Stage::Ingest, 1), (Stage::Enrich, 8), (Stage::Filter, 1)]))
    }
}

/// Why a stage has the quota that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaReason {
    /// Its share of the cores.
    Share,
    /// Its queue was older than it should be.
    Late {
        /// How old.
        age: Span,
        /// How old it should be at most.
        target: Span,
    },
    /// It could have done with fewer workers for so long.
    Idle {
        /// How long.
        rested: Span,
    },
    /// An operator wants it.
    Override,
    /// An operator wants more than the node has.
    Clipped {
        /// What was asked for.
        asked: u32,
    },
    /// It wants more, and has as many as an operator lets it have.
    AtMost {
        /// How many.
        max: u32,
    },
    /// It needs fewer, and has as few as an operator lets it have.
    AtLeast {
        /// How many.
        min: u32,
    },
    /// The node lacks what the stage requires, and another one has it.
    Lacks {
        /// The first label that it lacks.
        label: String,
    },
    /// The node lacks what the stage prefers, and those that have it have workers enough for it.
    Elsewhere {
        /// The first label that it lacks.
        label: String,
    },
}

impl QuotaReason {
    /// Whether the load decides about it, and not an order or what the node is.
    pub fn follows_load(&self) -> bool {
        match self {
            Self::Share | Self::Late { .. } | Self::Idle { .. } | Self::AtMost { .. } | Self::AtLeast { .. } => true,
            Self::Override | Self::Clipped { .. } | Self::Lacks { .. } | Self::Elsewhere { .. } => false,
        }
    }

    /// The label that the node lacks, where that is why it has none.
    pub fn label(&self) -> Option<&String> {
        match self {
            Self::Lacks { label } | Self::Elsewhere { label } => Some(label),
            _ => None,
        }
    }
}

/// The workers of one stage on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// How many batches it works on at once; with 0 the node hands this work over.
    pub workers: u32,
    /// Why so many.
    pub reason: QuotaReason,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workers)?;
        match &self.reason {
            QuotaReason::Share => Ok(()),
            QuotaReason::Late { age, target } => write!(f, " (its queue was {age} old, over {target})"),
            QuotaReason::Idle { rested } => write!(f, " (more had too little to do for {rested})"),
            QuotaReason::Override => write!(f, " (ordered)"),
            QuotaReason::Clipped { asked } => write!(f, " ({asked} ordered, more than there is)"),
            QuotaReason::AtMost { max } => write!(f, " (wants more, at most {max} ordered)"),
            QuotaReason::AtLeast { min } => write!(f, " (needs fewer, at least {min} ordered)"),
            QuotaReason::Lacks { label } => write!(f, " (the node lacks {label})"),
            QuotaReason::Elsewhere { label } => write!(f, " (nodes with {label} have workers enough)"),
        }
    }
}

/// The quotas of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeQuotas {
    /// How many workers it may have in all: more than it has cores, on which they take turns.
    pub capacity: u32,
    /// By stage.
    pub stages: BTreeMap<Stage, Quota>,
    /// What the streams may take of it, those of which it has partitions and that are not treated as usual.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamId, StreamShare>,
}

impl NodeQuotas {
    /// Whether they give the stages the same, whatever they say of streams.
    pub fn gives_the_same(&self, other: &Self) -> bool {
        self.capacity == other.capacity && self.stages == other.stages
    }

    /// The cores of the node.
    pub fn cores(&self) -> u32 {
        self.capacity.saturating_sub(BESIDE)
    }

    /// Whether they are no more than the node can carry.
    pub fn within_capacity(&self) -> bool {
        self.stages.values().map(|quota| u64::from(quota.workers)).sum::<u64>() <= u64::from(self.capacity)
    }

    /// The workers of a stage.
    pub fn workers(&self, stage: Stage) -> u32 {
        self.stages.get(&stage).map_or(0, |quota| quota.workers)
    }
}

impl fmt::Display for NodeQuotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages: Vec<_> = self.stages.iter().map(|(stage, quota)| format!("{stage} {quota}")).collect();
        write!(f, "{} of {} workers", stages.join(", "), self.capacity)?;
        self.streams.iter().try_for_each(|(stream, share)| write!(f, "; {stream}: {share}"))
    }
}

/// How many workers a node has beside those that its cores can run at once, so that a core waits for no stage that has nothing to do.
const BESIDE: u32 = Stage::ALL.len() as u32 - 1;

/// Splits a node's cores between the stages. Each stage that nobody has set gets at least one worker, and on top of these there is one for
/// each further core: all workers take turns on the cores.
pub fn share_out(cores: u32, shares: &Shares, overrides: &BTreeMap<Stage, u32>) -> NodeQuotas {
    let capacity = cores.max(1).saturating_add(BESIDE);
    let free: Vec<Stage> = Stage::ALL.into_iter().filter(|stage| !overrides.contains_key(stage)).collect();
    let mut left = capacity - free.len() as u32;
    let mut stages = BTreeMap::new();
    for (&stage, &asked) in overrides {
        let workers = asked.min(left);
        left -= workers;
        let reason = if workers < asked { QuotaReason::Clipped { asked } } else { QuotaReason::Override };
        stages.insert(stage, Quota { workers, reason });
    }
    for (stage, more) in split(left, &free, shares) {
        stages.insert(stage, Quota { workers: 1 + more, reason: QuotaReason::Share });
    }
    NodeQuotas { capacity, stages, streams: BTreeMap::new() }
}

/// Splits `left` in proportion to the shares; what does not come out even goes to the greatest remainders, and between equals to the
/// earlier stage.
fn split(left: u32, stages: &[Stage], shares: &Shares) -> Vec<(Stage, u32)> {
    let share = |stage: &Stage| u64::from(shares.0.get(stage).copied().unwrap_or(1));
    let total: u64 = stages.iter().map(share).sum();
    if total == 0 {
        return stages.iter().map(|&stage| (stage, 0)).collect();
    }
    let exact = |stage: &Stage| u64::from(left) * share(stage);
    let mut parts: Vec<(Stage, u32)> = stages.iter().map(|s| (*s, (exact(s) / total) as u32)).collect();
    let over = left - parts.iter().map(|(_, part)| part).sum::<u32>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&i| (u64::MAX - exact(&stages[i]) % total, i));
    for &i in order.iter().take(over as usize) {
        parts[i].1 += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared(cores: u32, overrides: &[(Stage, u32)]) -> String {
        share_out(cores, &Shares::default(), &overrides.iter().copied().collect()).to_string()
    }

    #[test]
    fn cores_are_split_by_the_shares_and_every_stage_gets_one() {
        assert_eq!(shared(8, &[]), "ingest 2, enrich 6, filter 2 of 10 workers");
        assert_eq!(shared(5, &[]), "ingest 2, enrich 4, filter 1 of 7 workers");
        assert_eq!(shared(2, &[]), "ingest 1, enrich 2, filter 1 of 4 workers");
        assert_eq!(shared(1, &[]), "ingest 1, enrich 1, filter 1 of 3 workers");
    }

    #[test]
    fn an_order_is_followed_as_far_as_the_node_has_cores() {
        assert_eq!(shared(8, &[(Stage::Enrich, 0)]), "ingest 5, enrich 0 (ordered), filter 5 of 10 workers");
        assert_eq!(shared(8, &[(Stage::Enrich, 5)]), "ingest 3, enrich 5 (ordered), filter 2 of 10 workers");
        let clipped = "ingest 1, enrich 8 (19 ordered, more than there is), filter 1 of 10 workers";
        assert_eq!(shared(8, &[(Stage::Enrich, 19)]), clipped);
    }

    proptest! {
        #[test]
        fn quotas_stay_within_capacity_and_leave_no_stage_out(
            cores in 0u32..200,
            shares in prop::collection::btree_map(prop::sample::select(&Stage::ALL[..]), 0u32..9, 0..4),
            overrides in prop::collection::btree_map(prop::sample::select(&Stage::ALL[..]), 0u32..99, 0..4),
        ) {
            let quotas = share_out(cores, &Shares(shares), &overrides);
            prop_assert!(quotas.within_capacity(), "{}", quotas);
            for stage in Stage::ALL {
                prop_assert!(quotas.stages.contains_key(&stage));
                prop_assert!(quotas.workers(stage) > 0 || overrides.contains_key(&stage), "{}", quotas);
            }
        }
    }
}
