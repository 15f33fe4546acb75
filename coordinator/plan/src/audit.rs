//! What people should be able to look up later: who led, who came and went, what was ordered, what was planned and why.

use std::collections::BTreeSet;
use std::fmt;

use crate::fleet::Note;
use crate::id::{PlanVersion, Term};
use crate::orders::OperatorCommand;
use crate::plan::{Change, Violation};
use crate::quota::Stage;
use crate::scale::Saturated;

/// Why a leader stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demise {
    /// Its lease may have ended.
    LeaseEnded,
    /// The election says so.
    Lost,
    /// Somebody else has committed a plan.
    Conflict,
    /// The stored plan is of a later leader.
    LaterTerm(Term),
}

impl fmt::Display for Demise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseEnded => write!(f, "its lease may have ended"),
            Self::Lost => write!(f, "it was told so"),
            Self::Conflict => write!(f, "its plan was refused, since another one was committed"),
            Self::LaterTerm(term) => write!(f, "there is a plan of the later term {term}"),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// This coordinator leads.
    Elected(Term),
    /// This coordinator does not lead any more.
    SteppedDown(Term, Demise),
    /// Something about the fleet.
    Fleet(Note),
    /// An operator's order was taken in; it holds from the next plan on.
    Ordered(OperatorCommand),
    /// The streams of the configuration were taken in.
    Configured,
    /// A plan was committed.
    Committed(PlanVersion, Vec<Change>),
    /// The whole fleet has too little.
    Saturated(Saturated),
    /// A stage requires labels that no node has that could work on it: all nodes do.
    Homeless(Stage, BTreeSet<String>),
    /// A node has what a stage requires again.
    Housed(Stage),
    /// The fleet has enough again.
    Relieved,
    /// Whether a plan was committed is not known: it will be looked up.
    Uncertain(PlanVersion),
    /// The stored plan has what must not be in one.
    Unsound(PlanVersion, Vec<Violation>),
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elected(term) => write!(f, "elected, term {term}"),
            Self::SteppedDown(term, why) => write!(f, "stepped down from term {term}: {why}"),
            Self::Fleet(note) => write!(f, "{note}"),
            Self::Ordered(command) => write!(f, "ordered: {command}"),
            Self::Configured => write!(f, "streams of the configuration taken in"),
            Self::Committed(version, changes) => {
                write!(f, "plan {version} committed")?;
                changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
            Self::Saturated(saturated) => write!(f, "{saturated}"),
            Self::Homeless(stage, labels) => {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                write!(
                    f,
                    "{stage} requires {}, and no node that takes work has that: all nodes work on it",
                    labels.join(", ")
                )
            }
            Self::Housed(stage) => write!(f, "a node has what {stage} requires"),
            Self::Relieved => write!(f, "there are workers enough again"),
            Self::Uncertain(version) => write!(f, "whether plan {version} was committed is not known"),
            Self::Unsound(version, violations) => {
                write!(f, "plan {version} is unsound")?;
                violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
            }
        }
    }
}
