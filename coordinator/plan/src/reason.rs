//! Why a partition is where it is: one value a decision, as data and as a sentence.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Offset, ProducerName};

/// Why the plan says of a partition what it says. It stands from the decision on until the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody had it, and its owner carries the least of those that take partitions.
    LeastLoaded {
        /// How many take partitions.
        of: u32,
    },
    /// Its owner's lease ended without a release.
    OwnerDied {
        /// The owner.
        owner: ProducerName,
    },
    /// Its owner left, and gave it back.
    OwnerLeft {
        /// The owner.
        owner: ProducerName,
    },
    /// Its owner is on its way out.
    OwnerLeaves {
        /// The owner.
        owner: ProducerName,
    },
    /// A later incarnation of its owner's node is there.
    OwnerSuperseded {
        /// The owner.
        owner: ProducerName,
    },
    /// An operator empties its owner's node.
    OwnerDrained {
        /// The node.
        node: NodeId,
    },
    /// Another node carries less.
    Balance {
        /// The node that carries more.
        from: NodeId,
        /// The node that carries less.
        to: NodeId,
    },
    /// An operator has stopped its stream.
    StreamPaused,
    /// Its stream is no more.
    StreamRemoved,
    /// Its topic, or the partition, is no more, or does not belong to the stream any more.
    TopicGone,
    /// Its night has ended, it is drained, and a later night's topic is there.
    NightOver {
        /// Where its progress stands, which is the end.
        at: Offset,
    },
    /// Its stream is a replay, and the window is through.
    ReplayOver {
        /// Where its progress stands, which is the end of the window.
        at: Offset,
    },
    /// No node takes partitions.
    NoneTakes {
        /// How many nodes there are that are cordoned, drained, on their way out or late with their reports.
        others: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastLoaded { of: 1 } => write!(f, "nobody had it, and one node takes partitions"),
            Self::LeastLoaded { of } => write!(f, "nobody had it, and of the {of} nodes this one carries least"),
            Self::OwnerDied { owner } => write!(f, "the lease of {owner} ended without a release"),
            Self::OwnerLeft { owner } => write!(f, "{owner} has left and given it back"),
            Self::OwnerLeaves { owner } => write!(f, "{owner} is leaving"),
            Self::OwnerSuperseded { owner } => write!(f, "a later incarnation than {owner} is there"),
            Self::OwnerDrained { node } => write!(f, "{node} is being drained"),
            Self::Balance { from, to } => write!(f, "{to} carries less than {from}"),
            Self::StreamPaused => write!(f, "its stream is paused"),
            Self::StreamRemoved => write!(f, "its stream was removed"),
            Self::TopicGone => write!(f, "its topic is gone"),
            Self::NightOver { at } => write!(f, "its night is over and it is drained at {at}"),
            Self::ReplayOver { at } => write!(f, "its window is through at {at}"),
            Self::NoneTakes { others: 0 } => write!(f, "there is no node"),
            Self::NoneTakes { others } => write!(f, "none of the {others} nodes takes partitions"),
        }
    }
}
