//! Making a topic that is missing.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::kafka::{Connection, Context, STEP};
use crate::records::{self, unreachable};

/// The largest record of a topic that is made here.
pub(crate) const MAX_BYTES: &str = "16777216";

/// Makes it; gives whether it was not there.
pub(crate) async fn make(connection: &Connection, topic: NewTopic<'_>) -> Result<bool, records::Error> {
    let name = topic.name.to_owned();
    let failed = |problem| unreachable(connection, &name, problem);
    let client: AdminClient<Context> = connection.client(&[])?;
    let options = AdminOptions::new().request_timeout(Some(2 * STEP)).operation_timeout(Some(2 * STEP));
    let topic = topic.set("max.message.bytes", MAX_BYTES);
    let answers = client.create_topics([&topic], &options).await.map_err(failed)?;
    match answers.into_iter().find_map(Result::err) {
        None => Ok(true),
        Some((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(false),
        Some((_, code)) => Err(failed(KafkaError::AdminOp(code))),
    }
}
