//! Whether a node hands a batch over to another node: from what its own stage can do, and what waits for work elsewhere. Pure; why is part of
//! the answer.
//!
//! Handing over costs the batch a way to another node and back, so that a batch waits for a worker of its own node first, as long as that has
//! any. It is never the only way: where nobody takes it, the owner does it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// How long what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A batch waits so long for a worker of its own node, if the stage has any, before it is offered to others.
    pub patience: Span,
    /// It waits so long for others, if the stage has no workers, before its own node does it after all.
    pub alone: Span,
    /// An offer that nobody has taken is taken back after so long.
    pub notice: Span,
    /// The answer to what was taken is waited for so long; then the owner does it itself.
    pub deadline: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self { patience: Span(100), alone: Span(1_000), notice: Span(200), deadline: Span(10_000) }
    }
}

/// What is known when a batch waits for a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The workers of the stage on this node.
    pub workers: u32,
    /// How long the batch has waited.
    pub waited: Span,
    /// Whether the others can be reached.
    pub reachable: bool,
    /// How many other nodes wait for work of this kind, for which nothing was offered yet.
    pub free: u32,
}

/// Why a batch is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The stage has no workers on its node.
    NoWorkers,
    /// They are busy.
    Busy,
}

/// Why a batch is not handed over that would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hindrance {
    /// The others can not be reached.
    Away,
    /// Nobody else waits for work of this kind.
    Nobody,
}

/// What becomes of the batch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It waits, and is looked at again after this time at the latest.
    Wait(Span),
    /// It is offered to others.
    HandOver(Why),
    /// It would be offered to others, and waits.
    Kept(Hindrance),
    /// Its own node does it at once, although it gives the stage no workers.
    DoIt(Hindrance),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWorkers => "it has no workers for it",
            Self::Busy => "its own workers are busy",
        })
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "Valkey does not answer",
            Self::Nobody => "no other node waits for work with the same versions",
        })
    }
}

/// Decides about one batch.
pub fn decide(facts: &Facts, policy: &Policy) -> Decision {
    let hindrance = match facts {
        Facts { reachable: false, .. } => Some(Hindrance::Away),
        Facts { free: 0, .. } => Some(Hindrance::Nobody),
        _ => None,
    };
    match (facts.workers, hindrance) {
        (0, None) => Decision::HandOver(Why::NoWorkers),
        (0, Some(Hindrance::Away)) => Decision::DoIt(Hindrance::Away),
        (0, Some(hindrance)) if facts.waited >= policy.alone => Decision::DoIt(hindrance),
        (0, Some(hindrance)) => Decision::Kept(hindrance),
        _ if facts.waited < policy.patience => Decision::Wait(policy.patience - facts.waited),
        (_, None) => Decision::HandOver(Why::Busy),
        (_, Some(hindrance)) => Decision::Kept(hindrance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Facts = Facts { workers: 2, waited: Span(500), reachable: true, free: 1 };

    fn said(facts: Facts) -> Decision {
        decide(&facts, &Policy::default())
    }

    #[test]
    fn a_batch_waits_for_its_own_node_first() {
        assert_eq!(said(Facts { waited: Span(30), ..WAITS }), Decision::Wait(Span(70)));
        assert_eq!(said(WAITS), Decision::HandOver(Why::Busy));
        assert_eq!(said(Facts { free: 0, ..WAITS }), Decision::Kept(Hindrance::Nobody));
        assert_eq!(said(Facts { reachable: false, ..WAITS }), Decision::Kept(Hindrance::Away));
    }

    #[test]
    fn without_workers_it_is_handed_over_at_once_and_done_after_all_where_nobody_takes_it() {
        let without = Facts { workers: 0, waited: Span(0), ..WAITS };
        assert_eq!(said(without), Decision::HandOver(Why::NoWorkers));
        assert_eq!(said(Facts { free: 0, ..without }), Decision::Kept(Hindrance::Nobody));
        let late = Facts { free: 0, waited: Span(1_000), ..without };
        assert_eq!(said(late), Decision::DoIt(Hindrance::Nobody));
        assert_eq!(said(Facts { reachable: false, ..without }), Decision::DoIt(Hindrance::Away));
    }
}
