//! Errors as gRPC statuses, and how a coordinator that does not lead says who does.

use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::{Error, v1};

/// The metadata in which a `NotLeading` stands.
pub const LEADER: &str = "boom-leader-bin";

/// The status of a coordinator that does not lead.
pub fn not_leading(leader: Option<v1::Leader>) -> Status {
    let message = match &leader {
        Some(leader) => format!("this coordinator does not lead, {} at {} does", leader.name, leader.address),
        None => "this coordinator does not lead, and does not know who does".to_owned(),
    };
    let mut metadata = MetadataMap::new();
    let told = v1::NotLeading { leader }.encode_to_vec();
    metadata.insert_bin(LEADER, MetadataValue::from_bytes(&told));
    Status::with_metadata(Code::Unavailable, message, metadata)
}

/// Whether a call failed because another coordinator leads, and which one, if that is known.
pub fn leader_of(status: &Status) -> Option<v1::NotLeading> {
    let told = status.metadata().get_bin(LEADER)?.to_bytes().ok()?;
    v1::NotLeading::decode(told).ok()
}

/// The status of an order that can not be carried out. Who leads is said if the coordinator does not.
pub fn refused(error: &boom_plan::Error, leader: Option<v1::Leader>) -> Status {
    use boom_plan::Error as Refused;
    let code = match error {
        Refused::NotLeading => return not_leading(leader),
        Refused::UnknownNode { .. } | Refused::UnknownStream { .. } => Code::NotFound,
        Refused::StreamExists(_) => Code::AlreadyExists,
        Refused::Name { .. }
        | Refused::Pattern { .. }
        | Refused::Replay { .. }
        | Refused::Timing(_)
        | Refused::Bounds(_) => Code::InvalidArgument,
        Refused::Format { .. } | Refused::Json(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_learns_from_the_status_who_leads() {
        let leader = v1::Leader { name: "b".into(), address: "http://10.0.0.2:7700".into(), term: 7 };
        let status = refused(&boom_plan::Error::NotLeading, Some(leader.clone()));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "this coordinator does not lead, b at http://10.0.0.2:7700 does");
        assert_eq!(leader_of(&status), Some(v1::NotLeading { leader: Some(leader) }));
        assert_eq!(leader_of(&not_leading(None)), Some(v1::NotLeading { leader: None }));
    }

    #[test]
    fn other_statuses_say_nothing_about_who_leads() {
        let unknown = boom_plan::Error::UnknownStream { stream: "zft".into(), known: "ztf".into() };
        let status = refused(&unknown, None);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no stream is called `zft` (there are: ztf)"));
        assert_eq!(leader_of(&status), None);
        assert_eq!(leader_of(&Status::unavailable("no connection")), None);
        assert_eq!(Status::from(Error::Missing("Plan.orders")).code(), Code::InvalidArgument);
    }
}
