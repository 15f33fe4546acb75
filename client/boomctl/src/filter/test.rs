//! `boomctl filter test`: a filter on alert packets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boom_filter::{FilterFile, Outcome, Rules};
use boom_sky::alert::Alert;
use boom_sky::units::Jd;
use bson::Document;
use clap::Args;
use serde_json::{Value, json};

use super::INVALID;
use super::dialect::DialectArgs;
use super::file::{programs, read, report, unseen};
use super::packets::{self, PacketArgs};
use super::view::view;
use crate::output;

/// Try a filter on alert packets (Avro files of any survey); nothing has to run.
///
/// For each alert it prints one line: {"candid": …, "objectId": …, "passed": true|false, "annotations": {…}}, or {"candid": …, "error": "…"}.
/// The filter sees what a node makes of the packet alone: the light curve is the packet's, and properties come of it by the node's own rules;
/// cross_matches and aliases are empty for want of catalogs and other alerts, classifications for want of models (and with them the star
/// catalog of LSST's properties). A bare pipeline sees all access programmes, one with permissions those that it names. Exit code 2 when the
/// filter is invalid, else 0.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A pipeline, or a document {survey, permissions, pipeline}
    filter: PathBuf,
    /// Avro files, with their schema inside or framed for --schemas
    #[arg(required = true, value_name = "ALERT")]
    alerts: Vec<PathBuf>,
    #[command(flatten)]
    packets: PacketArgs,
    #[command(flatten)]
    dialect: DialectArgs,
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
        let filter = match read(&self.filter, Rules::Filter, &self.dialect.dialect()?)? {
            Ok(filter) => filter,
            Err(problems) => {
                report(&self.filter, &problems)?;
                return Ok(ExitCode::from(INVALID));
            }
        };
        let decoder = self.packets.decoder()?;
        for path in &self.alerts {
            for alert in packets::read(&decoder, path) {
                let answer = match alert {
                    Ok(alert) => answer(&filter, &alert, path),
                    Err(error) => json!({"candid": null, "error": error}),
                };
                output::line(&answer)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the filter says of an alert.
fn answer(filter: &FilterFile, alert: &Alert, path: &Path) -> Value {
    let failed = |error: String| json!({"candid": alert.candid, "error": error});
    if let Some(reason) = unseen(filter, alert) {
        return failed(reason);
    }
    let document = view(alert, path, programs(filter, alert.survey));
    let (passed, annotations) = match filter.program.evaluate(&document, Jd(alert.head.jd).unix_millis()) {
        Outcome::Failed(error) => return failed(error.to_string()),
        Outcome::Rejected => (false, Document::new()),
        Outcome::Passed(document) => {
            let annotations = document.get_document("annotations").ok();
            (true, annotations.and_then(|annotations| Document::try_from(annotations).ok()).unwrap_or_default())
        }
    };
    json!({"candid": alert.candid, "objectId": alert.object_id, "passed": passed, "annotations": output::relaxed(annotations)})
}
