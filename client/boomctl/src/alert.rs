//! `boomctl alert`: an alert's document, or a summary of it and of its object.

use std::io::Write;
use std::process::ExitCode;

use boom_sky::survey::Survey;
use boom_store::documents::Store;
use bson::Document;
use clap::Args;

use crate::output::{self, BOLD};
use crate::position::civil;
use crate::store::StoreArgs;
use crate::summary;

/// Show an alert: its document, or on a terminal a summary with the light curve of its object.
///
/// With --json, or when standard output is not a terminal, this is the document of the collection SURVEY_alerts as relaxed Extended JSON,
/// one line for each survey that has an alert of that id.
#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    /// Id of the alert
    #[arg(allow_negative_numbers = true)]
    candid: i64,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the document as JSON on a terminal too
    #[arg(long)]
    json: bool,
}

impl AlertArgs {
    /// Shows it.
    ///
    /// # Errors
    /// No such store or alert, or the store can not be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = self.store.open()?;
        for (survey, document) in self.store.alerts(&store, self.candid)? {
            if output::wants_json(self.json) {
                output::document_line(&document)?;
            } else {
                show(&store, survey, &output::document(&document)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(store: &Store, survey: &Survey, alert: &Document) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let candid = alert.get_i64("_id").unwrap_or_default();
    let object_id = alert.get_str("objectId").unwrap_or_default();
    writeln!(out, "{BOLD}{} alert {candid}{BOLD:#} of the object {BOLD}{object_id}{BOLD:#}", survey.name)?;
    if let Ok(candidate) = alert.get_document("candidate") {
        detection(&mut out, candidate)?;
    }
    if let Some((ra, dec)) = place(alert) {
        summary::position(&mut out, ra, dec)?;
    }
    if let Ok(made) = alert.get_f64("created_at") {
        summary::field(&mut out, "created_at", format!("{} UTC", civil(made)))?;
    }
    if let Ok(origin) = alert.get_document("origin") {
        let at = origin.get_i64("offset").unwrap_or_default();
        summary::field(&mut out, "origin", format!("{}, offset {at}", origin.get_str("source").unwrap_or_default()))?;
    }
    summary::classifications(&mut out, alert)?;
    summary::properties(&mut out, alert)?;
    summary::object(&mut out, store, survey, object_id)
}

/// Time and brightness, by the names that every survey's documents have.
fn detection(out: &mut impl Write, candidate: &Document) -> anyhow::Result<()> {
    if let Ok(jd) = candidate.get_f64("jd") {
        summary::field(out, "time", format!("{} UTC   JD {jd:.6}", civil(jd)))?;
    }
    let number = |name: &str| candidate.get(name).and_then(bson::Bson::as_f64);
    if let Some(mag) = number("magpsf") {
        let band = candidate.get_str("band").unwrap_or_default();
        let error = number("sigmapsf").map_or_else(String::new, |error| format!(" ± {error:.3}"));
        let limit = number("diffmaglim").map_or_else(String::new, |limit| format!("   limit {limit:.2}"));
        let below = if candidate.get_bool("isdiffpos").is_ok_and(|positive| !positive) {
            "   fainter than the template"
        } else {
            ""
        };
        summary::field(out, "brightness", format!("{band} {mag:.3}{error}{limit}{below}"))?;
    }
    Ok(())
}

/// The position in `coordinates`, degrees.
fn place(alert: &Document) -> Option<(f64, f64)> {
    let point = alert.get_document("coordinates").ok()?.get_document("radec_geojson").ok()?;
    let [longitude, dec] = point.get_array("coordinates").ok()?.as_slice() else { return None };
    Some((longitude.as_f64()? + 180.0, dec.as_f64()?))
}
