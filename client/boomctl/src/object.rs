//! `boomctl object`: an object's document with its light curve, or a summary of it.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::output::{self, BOLD};
use crate::store::StoreArgs;
use crate::summary;

/// Show an object: its document, or on a terminal a summary with its light curve.
///
/// With --json, or when standard output is not a terminal, this is the document of the collection SURVEY_alerts_aux as relaxed Extended
/// JSON, one line for each survey that has an object of that id.
#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// Id of the object
    object_id: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the document as JSON on a terminal too
    #[arg(long)]
    json: bool,
}

impl ObjectArgs {
    /// Shows it.
    ///
    /// # Errors
    /// No such store or object, or the store can not be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = self.store.open()?;
        let mut found = false;
        for survey in self.store.surveys() {
            let Some(object) = store.object(survey, &self.object_id)? else { continue };
            found = true;
            if output::wants_json(self.json) {
                let document = store.aux(survey, &self.object_id)?;
                document.as_deref().map_or(Ok(()), output::document_line)?;
                continue;
            }
            let mut out = anstream::stdout().lock();
            writeln!(out, "{BOLD}{} object {}{BOLD:#}", survey.name, self.object_id)?;
            summary::position(&mut out, object.ra, object.dec)?;
            summary::object(&mut out, &store, survey, &self.object_id)?;
        }
        if found { Ok(ExitCode::SUCCESS) } else { Err(self.store.no_object(&self.object_id)) }
    }
}
