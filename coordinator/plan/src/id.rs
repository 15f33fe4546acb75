//! Names and numbers that must not be mixed up, their order, and how they are written. Nothing is decided here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The longest name, as Kafka has it for topics.
const LONGEST_NAME: usize = 249;

fn checked(what: &'static str, text: &str) -> Result<Arc<str>, Error> {
    let wrong = |why| Err(Error::Name { what, text: text.to_owned(), why });
    if text.is_empty() || text.len() > LONGEST_NAME {
        return wrong("a name has 1 to 249 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return wrong("a name is made of letters, digits, `.`, `_` and `-`");
    }
    Ok(Arc::from(text))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                checked($what, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a node, the same after each restart. One process at a time has it.
    NodeId,
    "node"
);
name!(
    /// The name of a stream: what an operator starts, pauses and removes.
    StreamId,
    "stream"
);
name!(
    /// The name of a topic in a survey's Kafka.
    Topic,
    "topic"
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $before:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after it.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($before, "{}"), self.0)
            }
        }
    };
}

number!(
    /// One life of a node, from its start to the end of its lease. A later life has a greater number, and no number comes twice: the
    /// shell takes the wall clock in milliseconds at the start of the process.
    Incarnation,
    ""
);
number!(
    /// One leadership: the etcd create-revision of the leader's key. A later leader has a greater one.
    Term,
    "t"
);
number!(
    /// The version of a plan: one more with each commit, across all terms.
    PlanVersion,
    "v"
);
number!(
    /// A place in a partition of Kafka.
    Offset,
    ""
);
number!(
    /// The number of a message of one incarnation of a node: a later one is greater, over all of its sessions.
    Sequence,
    ""
);
number!(
    /// The number of a request to the store or of an operator; the answer carries it.
    RequestId,
    ""
);

/// One partition of one topic, as read for one stream. Written `stream/topic/number`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition {
    /// The stream that it is read for.
    pub stream: StreamId,
    /// Its topic.
    pub topic: Topic,
    /// Its number in the topic.
    pub number: u32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.topic, self.number)
    }
}

impl FromStr for Partition {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::Name { what: "partition", text: text.to_owned(), why: "it is written stream/topic/number" };
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().ok_or_else(wrong);
        let (stream, topic, number) = (part()?.parse()?, part()?.parse()?, part()?);
        Ok(Self { stream, topic, number: number.parse().map_err(|_| wrong())? })
    }
}

/// One incarnation of a node, and so its transactional producer: the owner of partitions. Written `node#incarnation`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProducerName {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl ProducerName {
    /// The name under which Kafka knows the producer, and under which a successor fences it.
    pub fn transactional_id(&self) -> String {
        format!("boom-{}-{}", self.node, self.incarnation)
    }

    /// The next life of the same node.
    #[must_use]
    pub fn reborn(&self) -> Self {
        Self { node: self.node.clone(), incarnation: self.incarnation.next() }
    }
}

impl fmt::Display for ProducerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.node, self.incarnation)
    }
}

impl FromStr for ProducerName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Name { what: "producer", text: text.to_owned(), why: "it is written node#incarnation" };
        let (node, incarnation) = text.split_once('#').ok_or_else(wrong)?;
        Ok(Self { node: node.parse()?, incarnation: Incarnation(incarnation.parse().map_err(|_| wrong())?) })
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

as_text!(Partition);
as_text!(ProducerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_written_and_read_back() {
        let partition: Partition = "ztf/ztf_20261125_programid1/12".parse().unwrap();
        assert_eq!(serde_json::to_string(&partition).unwrap(), r#""ztf/ztf_20261125_programid1/12""#);
        assert_eq!(partition.to_string().parse::<Partition>().unwrap(), partition);
        let producer: ProducerName = "node-1#7".parse().unwrap();
        assert_eq!(producer.transactional_id(), "boom-node-1-7");
        assert_eq!(producer.reborn().to_string(), "node-1#8");
    }

    #[test]
    fn partitions_are_ordered_by_number_and_not_by_text() {
        let of = |text: &str| text.parse::<Partition>().unwrap();
        assert!(of("ztf/a/9") < of("ztf/a/10"));
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_reason() {
        for text in ["", "a b", "a/b", "a#1", "ö", &"x".repeat(250)] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
        for text in ["ztf", "ztf/a", "ztf/a/", "ztf/a/-1", "ztf/a/b", "/a/1", "ztf/a/1/2"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
        assert!("node".parse::<ProducerName>().is_err() && "node#x".parse::<ProducerName>().is_err());
        let error = "a b".parse::<Topic>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic `a b` can not be used: a name is made of letters, digits, `.`, `_` and `-`"
        );
    }
}
