//! What one stream may take of a node beside the other streams: the node's part of what operators want for the stream in the whole cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quota::Stage;

/// What one stream may take of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamShare {
    /// When streams want more than there is, each gets in proportion to this; at least 1.
    pub weight: u32,
    /// Of the stages that are bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<Stage, Limits>,
}

/// How many batches of a stream a stage of a node works on at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Before others get any, if that many wait.
    pub min: u32,
    /// At most; none: as many as the stage has workers.
    pub max: Option<u32>,
}

impl Default for StreamShare {
    fn default() -> Self {
        Self { weight: 1, stages: BTreeMap::new() }
    }
}
