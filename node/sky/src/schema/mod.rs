//! From an Avro writer schema and a survey's descriptor to a decode plan, and from a packet to an [`crate::alert::Alert`].
//!
//! `container`: the framing around a record. `compile`: the plan. `decode`: running it. Schemas are handed in; none is fetched.

pub mod compile;
pub mod container;
pub mod decode;
pub mod decoder;
mod derive;
mod key;
mod reader;
mod sample;

pub use compile::Plan;
pub use container::{Container, Framing};
pub use decoder::{Decoder, Undecoded};

/// Why a packet gives no alert. Every one is this packet's own fault: none is worth a second try with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Neither an Avro container nor Confluent framing.
    #[error("not an avro packet: it begins with {0}")]
    NotAvro(String),
    /// The bytes end too early.
    #[error("the packet is truncated: {0}")]
    Truncated(String),
    /// The bytes contradict the schema.
    #[error("the packet is corrupt: {0}")]
    Corrupt(String),
    /// Larger than anything a survey sends.
    #[error("the packet is too large: {0}")]
    TooLarge(String),
    /// The writer schema can not be parsed.
    #[error("the writer schema can not be used: {0}")]
    Schema(String),
    /// A schema id that is not known.
    #[error("the writer schema with id {id} is not known: {hint}")]
    UnknownSchema {
        /// The id in the packet.
        id: u32,
        /// Where it was looked for, and what to do.
        hint: String,
    },
    /// The record is of no survey that the broker knows.
    #[error(
        "unknown survey: the record is `{0}`, which no survey has; known are ztf.alert, lsst.v*.alert, desirt.alert, winter.alert (--survey decides where a record has another name)"
    )]
    UnknownSurvey(String),
    /// A field that the survey's descriptor needs is not in the schema, or is null in the packet.
    #[error("the required field `{0}` is missing")]
    MissingField(String),
    /// A value that can not be.
    #[error("the field `{field}` has an impossible value: {value}")]
    Impossible {
        /// Which field.
        field: String,
        /// What it holds, and what is possible.
        value: String,
    },
}

impl DecodeError {
    /// A short, bounded name for counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAvro(_) => "not_avro",
            Self::Truncated(_) => "truncated",
            Self::Corrupt(_) => "corrupt",
            Self::TooLarge(_) => "too_large",
            Self::Schema(_) => "bad_schema",
            Self::UnknownSchema { .. } => "unknown_schema",
            Self::UnknownSurvey(_) => "unknown_survey",
            Self::MissingField(_) => "missing_field",
            Self::Impossible { .. } => "impossible_value",
        }
    }
}
