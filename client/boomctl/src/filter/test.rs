//! `boomctl filter test`: a filter on alert packets.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boom_filter::{Outcome, Rules};
use boom_sky::alert::Alert;
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_sky::units::Jd;
use bson::{Document, RawDocument};
use clap::Args;
use serde_json::{Value, json};

use super::INVALID;
use boom_filter::FilterFile;

use super::file::{programs, read, report};
use super::view::view;
use crate::{output, store};

/// A packet larger than this is refused.
const MAX_PACKET: usize = 64 << 20;

/// Try a filter on alert packets (Avro files with their schema inside); nothing has to run.
///
/// For each alert it prints one line: {"candid": …, "objectId": …, "passed": true|false, "annotations": {…}}, or {"candid": …, "error": "…"}.
/// The filter sees what the packet holds: the light curve is the packet's, cross_matches, aliases, classifications and properties are empty.
/// A bare pipeline sees all access programmes, one with permissions those that it names. Exit code 2 when the filter is invalid, else 0.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A pipeline, or a document {survey, permissions, pipeline}
    filter: PathBuf,
    /// Avro files
    #[arg(required = true, value_name = "ALERT")]
    alerts: Vec<PathBuf>,
    /// Take the packets as this survey's [default: recognised by their schema]
    #[arg(long, value_parser = store::survey)]
    survey: Option<&'static Survey>,
    /// The answer is JSON always
    #[arg(long = "json", hide = true)]
    _json: bool,
}

impl TestArgs {
    /// Tries it.
    ///
    /// # Errors
    /// The filter can not be read, or the answer not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let filter = match read(&self.filter, Rules::Filter)? {
            Ok(filter) => filter,
            Err(problems) => {
                report(&self.filter, &problems)?;
                return Ok(ExitCode::from(INVALID));
            }
        };
        let hint = "give a packet with its schema inside (an Avro object container)".to_owned();
        let decoder = Decoder::new(self.survey, HashMap::new(), hint, MAX_PACKET);
        for path in &self.alerts {
            for answer in packet(&filter, &decoder, path) {
                output::line(&answer)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each alert of a file.
fn packet(filter: &FilterFile, decoder: &Decoder, path: &Path) -> Vec<Value> {
    let unread = |error: String| json!({"candid": null, "error": format!("{}: {error}", path.display())});
    match fs::read(path) {
        Ok(bytes) => {
            let alerts = decoder.decode(&bytes).into_iter();
            alerts
                .map(|alert| alert.map_or_else(|wrong| unread(wrong.error.to_string()), |alert| answer(filter, &alert)))
                .collect()
        }
        Err(error) => vec![unread(error.to_string())],
    }
}

/// What the filter says of an alert.
fn answer(filter: &FilterFile, alert: &Alert) -> Value {
    let failed = |error: String| json!({"candid": alert.candid, "error": error});
    if let Some(reason) = unseen(filter, alert) {
        return failed(reason);
    }
    let bytes = view(alert, programs(filter, alert.survey));
    let document = RawDocument::from_bytes(&bytes).expect("the view's own writer ends what it begins");
    let (passed, annotations) = match filter.program.evaluate(document, Jd(alert.head.jd).unix_millis()) {
        Outcome::Failed(error) => return failed(error.to_string()),
        Outcome::Rejected => (false, Document::new()),
        Outcome::Passed(document) => {
            let annotations = document.get_document("annotations").ok();
            (true, annotations.and_then(|annotations| Document::try_from(annotations).ok()).unwrap_or_default())
        }
    };
    json!({"candid": alert.candid, "objectId": alert.object_id, "passed": passed, "annotations": output::relaxed(annotations)})
}

/// Why the filter never sees the alert.
fn unseen(filter: &FilterFile, alert: &Alert) -> Option<String> {
    let name = alert.survey.name;
    if let Some(survey) = filter.survey.as_ref().filter(|survey| *survey != name) {
        return Some(format!("the filter is one for {survey}, the alert one of {name}"));
    }
    let programs = programs(filter, alert.survey)?;
    let program = alert.head.program;
    (!programs.contains(&program))
        .then(|| format!("the filter never sees this alert: its permissions for {name} are {programs:?}, the alert is of programme {program}"))
}
