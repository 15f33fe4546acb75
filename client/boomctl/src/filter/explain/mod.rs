//! `boomctl filter explain`: what a filter does, reads and costs; and why it passes, rejects or fails an alert.
//!
//! All of it is asked of the engine through beginnings of the pipeline and single clauses, so that it can not disagree with it.

mod clauses;
mod cost;
mod evaluate;
mod run;
mod words;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use boom_filter::{Budget, FilterFile, Rules};
use boom_sky::units::Jd;
use bson::RawDocumentBuf;
use clap::Args;
use serde_json::{Value, json};

use super::dialect::DialectArgs;
use super::fields::{self, Warning};
use super::file::{programs, read, report, stage_name, stages, unseen};
use super::packets::{self, PacketArgs};
use super::view::view;
use super::{INVALID, extjson};
use crate::output::{self, BOLD, DIM, WARN};
use evaluate::On;
use run::{Fate, Run};

/// Explain a filter: what it reads, what it costs, its stages in words; and with an alert, stage by stage, what becomes of it and why.
///
/// The alert is an Avro packet of any survey (its light curve is the packet's; see filter test), or a document in Extended JSON, canonical for
/// exact types. Where a $match rejects it, each clause that says no is told with the values that it saw. The cost is an estimate from the text:
/// evaluated expressions and visited elements when every stage is reached and every series has 60 points; these are the steps that the budget of
/// an evaluation counts. With an alert the steps and the time (on this computer, alone) are measured. Exit code 2 when the filter is invalid.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A pipeline, or a document {survey, permissions, pipeline}
    #[arg(value_name = "FILE")]
    filter: PathBuf,
    /// An Avro packet, or a document in Extended JSON
    alert: Option<PathBuf>,
    #[command(flatten)]
    packets: PacketArgs,
    #[command(flatten)]
    dialect: DialectArgs,
    /// Leave out the rules of a filter ($match, last $project, objectId)
    #[arg(long)]
    no_rules: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// An alert to run a filter on.
struct Tried {
    name: String,
    document: RawDocumentBuf,
    now: i64,
    /// Why the filter would never see it.
    unseen: Option<String>,
}

/// All that is said.
struct Explained {
    filter: FilterFile,
    pipeline: Vec<Value>,
    warnings: Vec<Warning>,
    tried: Option<(Tried, Run)>,
}

impl ExplainArgs {
    /// Explains it.
    ///
    /// # Errors
    /// A file can not be read, or the answer not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let rules = if self.no_rules { Rules::None } else { Rules::Filter };
        let dialect = self.dialect.dialect()?;
        let filter = match read(&self.filter, rules, &dialect)? {
            Ok(filter) => filter,
            Err(problems) => {
                report(&self.filter, &problems)?;
                return Ok(ExitCode::from(INVALID));
            }
        };
        let pipeline = stages(&self.filter)?;
        let warnings = fields::unknown(&filter, &fields::surveys(&filter, self.packets.survey));
        let tried = self.alert.as_ref().map(|path| self.alert(path, &filter)).transpose()?;
        let tried = tried.map(|tried| {
            let run = Run::new(
                On { document: &tried.document, now: tried.now, dialect: &dialect },
                &pipeline,
                &filter.program,
            );
            (tried, run)
        });
        let explained = Explained { filter, pipeline, warnings, tried };
        let name = self.filter.display().to_string();
        if self.json {
            output::line(&explained.json(&name))?;
        } else {
            explained.print(&name).context("writing to standard output")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn alert(&self, path: &Path, filter: &FilterFile) -> anyhow::Result<Tried> {
        let bytes = fs::read(path).with_context(|| format!("reading the alert {}", path.display()))?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let document = extjson::read(&bytes).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            let now = extjson::time(&document).unwrap_or_default();
            return Ok(Tried { name: path.display().to_string(), document, now, unseen: None });
        }
        let mut alerts = packets::read(&self.packets.decoder()?, path);
        if alerts.len() > 1 {
            writeln!(io::stderr(), "{}: it holds {} alerts; this is the first", path.display(), alerts.len())?;
        }
        let alert = alerts.remove(0).map_err(anyhow::Error::msg)?;
        Ok(Tried {
            name: format!("{} alert {} of the object {}", alert.survey.name, alert.candid, alert.object_id),
            document: view(&alert, path, programs(filter, alert.survey)),
            now: Jd(alert.head.jd).unix_millis(),
            unseen: unseen(filter, &alert),
        })
    }
}

impl Explained {
    /// What is read: top-level fields, and how many fields of a document.
    fn reads(&self) -> String {
        let reads = self.filter.program.reads();
        if reads.whole() {
            return "the whole document".to_owned();
        }
        let mut counted: Vec<(&str, usize)> = Vec::new();
        for path in reads.paths() {
            let (first, inner) = path.split_once('.').map_or((path, 0), |(first, _)| (first, 1));
            match counted.last_mut().filter(|last| last.0 == first) {
                Some(last) => last.1 += inner,
                None => counted.push((first, inner)),
            }
        }
        let worded = counted.into_iter().map(|(name, fields)| match fields {
            0 => name.to_owned(),
            1 => format!("{name} (1 field)"),
            fields => format!("{name} ({fields} fields)"),
        });
        worded.collect::<Vec<_>>().join(", ")
    }

    fn json(&self, file: &str) -> Value {
        let stages = self.pipeline.iter().enumerate().map(|(at, stage)| {
            let mut said = match &self.tried {
                Some((_, run)) => {
                    let mut said = run.fates[at].json();
                    said["documents"] = run.documents[at].into();
                    said
                }
                None => json!({}),
            };
            said["stage"] = format!("[{at}].{}", stage_name(stage)).into();
            said["words"] = words::stage(stage).into();
            said
        });
        let program = &self.filter.program;
        let mut answer = json!({
            "file": file,
            "version": program.version(),
            "survey": self.filter.survey,
            "reads": {"whole": program.reads().whole(), "paths": program.reads().paths().collect::<Vec<_>>()},
            "series": self.series(),
            "cutouts": false,
            "cost": {"steps": cost::steps(&self.pipeline), "points": cost::POINTS, "budget": Budget::default().steps},
            "stages": stages.collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(Warning::json).collect::<Vec<_>>(),
        });
        if let Some((tried, run)) = &self.tried {
            answer["alert"] = tried.name.as_str().into();
            answer["unseen"] = tried.unseen.clone().into();
            answer["passed"] = run.passed().into();
            answer["result"] = run::result(run);
            answer["measured"] = json!({"steps": run.steps, "micros": run.time.0, "evaluations": run.time.1});
        }
        answer
    }

    /// The series that are read, joined ones by their survey.
    fn series(&self) -> Vec<String> {
        let reads = self.filter.program.reads();
        let mut series = Vec::new();
        for survey in boom_sky::survey::SURVEYS {
            let is_own = self.filter.survey.as_deref().is_none_or(|own| own == survey.name);
            let own = survey.series.iter().filter(|name| is_own && reads.reads(name)).map(|name| (*name).to_owned());
            let joined = survey.series.iter().filter(|name| reads.reads_within(survey.name, name));
            series.extend(own.chain(joined.map(|name| format!("{}.{name}", survey.name))));
        }
        series.sort();
        series.dedup();
        series
    }

    fn print(&self, file: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let program = &self.filter.program;
        let survey = self.filter.survey.as_deref().unwrap_or("every survey");
        writeln!(out, "{BOLD}{file}{BOLD:#}  version {}, for {survey}", program.version())?;
        writeln!(out, "  reads    {}", self.reads())?;
        let series = self.series();
        writeln!(out, "  series   {}", if series.is_empty() { "none".to_owned() } else { series.join(", ") })?;
        writeln!(out, "  cutouts  none: a filter sees no images; what passes is sent with its own")?;
        let (steps, budget) = (cost::steps(&self.pipeline), Budget::default().steps);
        writeln!(
            out,
            "  cost     at most about {steps} steps an alert with {} points in each series; {budget} are allowed",
            cost::POINTS
        )?;
        for warning in &self.warnings {
            writeln!(out, "  {WARN}warning{WARN:#}  {warning}")?;
        }
        if let Some((tried, run)) = &self.tried {
            let verdict = match run.fates.last() {
                _ if run.passed() => "passes",
                _ if run.fates.iter().any(|fate| matches!(fate, Fate::Failed(..))) => "fails",
                _ => "is rejected",
            };
            writeln!(out, "\n{BOLD}{}{BOLD:#} {verdict}", tried.name)?;
            if let Some(reason) = &tried.unseen {
                writeln!(out, "  {WARN}but{WARN:#} {reason}")?;
            }
        }
        writeln!(out)?;
        for (at, stage) in self.pipeline.iter().enumerate() {
            let fate = self.tried.as_ref().map(|(_, run)| &run.fates[at]);
            let word = fate.map_or_else(String::new, |fate| format!("  {BOLD}{}{BOLD:#}", fate.word()));
            writeln!(
                out,
                "  {BOLD}[{at}]{BOLD:#} {:<12}{word}  {DIM}{}{DIM:#}",
                stage_name(stage),
                words::stage(stage)
            )?;
            if let Some((_, run)) = &self.tried
                && run.documents[at] > 1
            {
                writeln!(out, "        of {} documents; what follows is of the first", run.documents[at])?;
            }
            for line in fate.map(Fate::lines).unwrap_or_default() {
                writeln!(out, "        {line}")?;
            }
        }
        if let Some((_, run)) = &self.tried {
            if run.passed() {
                writeln!(out, "\n  passed on  {}", run::result(run))?;
            }
            writeln!(
                out,
                "\n  measured   {} steps, {:.1} µs (mean of {} evaluations)",
                run.steps, run.time.0, run.time.1
            )?;
        }
        Ok(())
    }
}
