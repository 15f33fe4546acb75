//! The differences from MongoDB that are meant, each with its reason. Anything else on which the two disagree is a mistake.

use super::answer::{Answer, Pair};

/// A difference that is meant.
#[derive(Debug)]
pub struct Intended {
    /// What it is.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Whether a disagreement (MongoDB's answer, then ours) is this and nothing else.
    pub applies: fn(&Pair, &Answer, &Answer) -> bool,
}

/// All of them.
pub const INTENDED: &[Intended] = &[
    Intended {
        name: "look-around and back-references",
        reason: "patterns are matched in linear time, so that none can hold up the broker",
        applies: |_, _, boom| refused_for(boom, "look-around"),
    },
    Intended {
        name: "literals of types that no alert has",
        reason: "no survey sends binary data, timestamps, code or symbols that a filter would compare with",
        applies: |_, _, boom| refused_for(boom, "literals are not supported"),
    },
    Intended {
        name: "decimal literals",
        reason: "not yet",
        applies: |_, _, boom| refused_for(boom, "decimal128 is not supported"),
    },
];

/// Whether we refuse the pipeline for this reason.
fn refused_for(boom: &Answer, reason: &str) -> bool {
    matches!(boom, Answer::Refused(why) if why.contains(reason))
}
