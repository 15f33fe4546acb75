//! `boomctl tail`: what comes in a topic. Results are shown as the alerts that they are, packets of surveys in short.

use std::process::ExitCode;

use boom_client::records::{Record, Records};
use boom_client::results::{Alert, ReaderConfig, decode, is_result};
use boom_plan::orders::Start;
use boom_sky::schema::Decoder;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::filter::packets::PacketArgs;
use crate::output;
use crate::settings::{KafkaArgs, wait};
use crate::when;

/// Show what comes in a topic, a line of JSON for each record: results as alerts without their images and photometry, packets in short.
///
/// Only what is committed is shown. It waits for more until Ctrl-C, or until --count lines are written.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// The topic
    topic: String,
    /// Where to begin: earliest, latest, a time (2026-11-25T03:00:00Z) or how long ago (2h)
    #[arg(long, default_value = "latest", value_parser = when::start)]
    from: Start,
    /// Of results, only those that pass this filter
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    packets: PacketArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print JSON, which it does in any case
    #[arg(long)]
    json: bool,
}

impl TailArgs {
    /// Shows it.
    ///
    /// # Errors
    /// Kafka does not answer, has no such topic, or a result is in a schema that is not known.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let connection = self.kafka.kafka()?.connection;
        let decoder = self.packets.decoder()?;
        let config = ReaderConfig { connection, topic: self.topic, group: None, from: self.from };
        let (filter, mut left) = (self.filter, self.count.unwrap_or(u64::MAX));
        wait(async {
            let mut records = Records::open(config).await?;
            while left > 0 {
                let record = records.next().await?;
                if let Some(line) = shown(&record, &decoder, filter.as_deref())? {
                    output::line(&line)?;
                    left -= 1;
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// What is shown of a record, if it is.
fn shown(record: &Record, decoder: &Decoder, filter: Option<&str>) -> anyhow::Result<Option<Value>> {
    let value = record.value.as_deref().unwrap_or_default();
    if is_result(value) {
        let alert = decode(record)?;
        let wanted = filter.is_none_or(|name| alert.passed.iter().any(|passed| passed.filter == name));
        return Ok(wanted.then(|| result(record, &alert)));
    }
    Ok(filter.is_none().then(|| packet(record, decoder)))
}

fn place(record: &Record) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("partition".to_owned(), record.partition.into());
    line.insert("offset".to_owned(), record.offset.into());
    line.insert("time_unix_ms".to_owned(), record.time_ms.into());
    line
}

fn result(record: &Record, alert: &Alert) -> Value {
    let mut line = place(record);
    let scores: Map<_, _> =
        alert.classifications.iter().map(|one| (one.classifier.clone(), one.score.into())).collect();
    let filters = alert.passed.iter().map(|passed| {
        json!({"filter": passed.filter, "version": passed.version, "passed_at": passed.passed_at, "annotations": passed.annotations})
    });
    let alert = json!({
        "candid": alert.candid,
        "objectId": alert.object_id,
        "survey": alert.survey,
        "jd": alert.jd,
        "ra": alert.ra,
        "dec": alert.dec,
        "filters": filters.collect::<Vec<_>>(),
        "classifications": scores,
        "properties": alert.properties,
        "photometry_points": alert.photometry.len(),
        "survey_matches": alert.survey_matches,
        "provenance": alert.provenance,
    });
    if let Value::Object(fields) = alert {
        line.extend(fields);
    }
    Value::Object(line)
}

fn packet(record: &Record, decoder: &Decoder) -> Value {
    let value = record.value.as_deref().unwrap_or_default();
    let mut line = place(record);
    line.insert("bytes".to_owned(), value.len().into());
    let decoded = decoder.decode(value);
    let alerts = decoded.iter().map(|alert| match alert {
        Ok(alert) => json!({
            "survey": alert.survey.name, "candid": alert.candid, "objectId": alert.object_id, "jd": alert.head.jd,
            "ra": alert.head.ra, "dec": alert.head.dec, "band": alert.head.band.as_str(),
        }),
        Err(undecoded) => json!({"error": undecoded.error.to_string()}),
    });
    // A packet is nearly always one alert.
    let mut alerts: Vec<Value> = alerts.collect();
    match (alerts.len(), alerts.pop()) {
        (1, Some(Value::Object(only))) => line.extend(only),
        (_, last) => drop(line.insert("alerts".to_owned(), alerts.into_iter().chain(last).collect())),
    }
    Value::Object(line)
}
