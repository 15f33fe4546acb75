//! Forgetting the progress and the books of a replay: records without a value, which compaction removes with those before them. Blocking.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio_util::sync::CancellationToken;

use super::{Config, Error};
use boom_client::kafka::{Backoff, Context, STEP};
use boom_client::progress::{keys_of, read};

/// Writes until nothing of the replay is read back.
pub(super) fn forget(config: &Config, replay: &str, stop: &CancellationToken) -> Result<(), Error> {
    let mut backoff = Backoff::new(stop);
    let settings = [("enable.idempotence", "true"), ("compression.type", "zstd")];
    loop {
        let keys = keys_of(&read(&config.connection, &config.progress, stop)?, replay);
        if keys.is_empty() {
            return Ok(());
        }
        let producer: BaseProducer<Context> = config.connection.client(&settings)?;
        let sent = keys.iter().try_for_each(|key| {
            let record = BaseRecord::<str, [u8]>::to(&config.progress).key(key.as_str());
            producer.send(record).map_err(|(error, _)| error)
        });
        if let Err(error) = sent.and_then(|()| producer.flush(STEP)) {
            backoff.pause("forgetting the progress of a replay", &error)?;
        }
    }
}
