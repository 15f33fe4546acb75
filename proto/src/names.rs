//! Names and enumerations.

use boom_plan::fleet::Standing;
use boom_plan::handover::{Hindrance, Why};
use boom_plan::id::{Incarnation, Partition, ProducerName};
use boom_plan::message::{HandOver, HoldState, Refusal};
use boom_plan::orders::Mode;
use boom_plan::quota::Stage;

use crate::{Error, v1};

/// Both directions between two enumerations of the same variants; the wire has one more, for what is not said.
macro_rules! enumeration {
    ($name:ident, $read:ident: $($variant:ident),+) => {
        impl From<$name> for v1::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }

        #[doc = concat!("The `", stringify!($name), "` of a field.")]
        pub(crate) fn $read(value: i32, field: &'static str) -> Result<$name, Error> {
            match v1::$name::try_from(value) {
                $(Ok(v1::$name::$variant) => Ok($name::$variant),)+
                Ok(v1::$name::Unspecified) | Err(_) => Err(Error::Unknown { field, value }),
            }
        }
    };
}

enumeration!(Stage, stage: Ingest, Enrich, Filter);
enumeration!(Mode, mode: Cordoned, Drained);
enumeration!(HoldState, hold_state: Starting, Running, Releasing);
enumeration!(Refusal, refusal: NotLeading, NotRegistered, Over, Superseded);
enumeration!(Standing, standing: Awaited, Live, Suspect, Superseded, Ended, Dead);

impl From<HandOver> for v1::HandOver {
    fn from(of: HandOver) -> Self {
        let why = of.why.map_or(v1::HandOverReason::Unspecified, |why| match why {
            Why::NoWorkers => v1::HandOverReason::NoWorkers,
            Why::Busy => v1::HandOverReason::Busy,
        });
        let hindrance = of.hindrance.map_or(v1::HandOverHindrance::Unspecified, |hindrance| match hindrance {
            Hindrance::Away => v1::HandOverHindrance::Away,
            Hindrance::Nobody => v1::HandOverHindrance::Nobody,
        });
        Self { given: of.given, taken: of.taken, why: why.into(), hindrance: hindrance.into() }
    }
}

impl TryFrom<v1::HandOver> for HandOver {
    type Error = Error;
    fn try_from(of: v1::HandOver) -> Result<Self, Error> {
        let unknown = |field, value| move |_| Error::Unknown { field, value };
        let why = match v1::HandOverReason::try_from(of.why).map_err(unknown("HandOver.why", of.why))? {
            v1::HandOverReason::Unspecified => None,
            v1::HandOverReason::NoWorkers => Some(Why::NoWorkers),
            v1::HandOverReason::Busy => Some(Why::Busy),
        };
        let hindrance = v1::HandOverHindrance::try_from(of.hindrance);
        let hindrance = match hindrance.map_err(unknown("HandOver.hindrance", of.hindrance))? {
            v1::HandOverHindrance::Unspecified => None,
            v1::HandOverHindrance::Away => Some(Hindrance::Away),
            v1::HandOverHindrance::Nobody => Some(Hindrance::Nobody),
        };
        Ok(Self { given: of.given, taken: of.taken, why, hindrance })
    }
}

impl TryFrom<v1::Standing> for Standing {
    type Error = Error;
    fn try_from(value: v1::Standing) -> Result<Self, Error> {
        standing(value.into(), "NodeStatus.standing")
    }
}

impl From<&ProducerName> for v1::Producer {
    fn from(name: &ProducerName) -> Self {
        Self { node: name.node.to_string(), incarnation: name.incarnation.0 }
    }
}

impl TryFrom<v1::Producer> for ProducerName {
    type Error = Error;
    fn try_from(name: v1::Producer) -> Result<Self, Error> {
        Ok(Self { node: name.node.parse()?, incarnation: Incarnation(name.incarnation) })
    }
}

impl From<&Partition> for v1::Partition {
    fn from(partition: &Partition) -> Self {
        let (stream, topic) = (partition.stream.to_string(), partition.topic.to_string());
        Self { stream, topic, number: partition.number }
    }
}

impl TryFrom<v1::Partition> for Partition {
    type Error = Error;
    fn try_from(partition: v1::Partition) -> Result<Self, Error> {
        let (stream, topic) = (partition.stream.parse()?, partition.topic.parse()?);
        Ok(Self { stream, topic, number: partition.number })
    }
}
