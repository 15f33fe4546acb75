//! `boomctl deadletters`: what gave no alert, why, and giving it back to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use boom_client::deadletters::{DeadLetter, Id, Mark, Retrier, find, marks, read};
use boom_client::kafka::Connection;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use crate::output::{self, table};
use crate::settings::{Kafka, KafkaArgs};
use crate::{Usage, when};

/// Letters that are sent in one transaction, at most, and their bytes.
const TOGETHER: (usize, usize) = (100, 8 << 20);

/// Letters that one command holds, at most, and their bytes.
const HELD: (usize, usize) = (10_000, 512 << 20);

/// What gave no alert.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List the dead letters: how many by reason, and the newest
    List(ListArgs),
    /// Show one: why, where from, and its bytes
    Show(ShowArgs),
    /// Send dead letters to a topic that a stream reads, each once
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of that reason
    #[arg(long)]
    reason: Option<String>,
    /// Show so many of the newest; 0 for none
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print them as JSON, a line each
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which, as `list` shows it: PARTITION:OFFSET
    id: Id,
    /// Write its bytes to that file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true))]
pub(crate) struct RetryArgs {
    /// Which, as `list` shows them: PARTITION:OFFSET
    #[arg(group = "which")]
    ids: Vec<Id>,
    /// All of that reason
    #[arg(long, group = "which", conflicts_with = "ids")]
    reason: Option<String>,
    /// The topic to send them to; a stream must read it
    #[arg(long, value_name = "TOPIC")]
    to: String,
    /// Send also what was sent before
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print what became of each as JSON, a line each
    #[arg(long)]
    json: bool,
}

impl DeadLettersCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// Kafka does not answer, or there is no such letter.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Retry(args) => args.run(),
        }
    }
}

impl ListArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Kafka { connection, topics } = self.kafka.kafka()?;
        let retried = marks(&connection, &topics.dead_letters, &topics.retried)?;
        let (mut reasons, mut newest) = (BTreeMap::<String, u64>::new(), Newest::new(self.limit));
        read(&connection, &topics.dead_letters, |letter| {
            if self.reason.as_ref().is_none_or(|reason| *reason == letter.reason) {
                *reasons.entry(letter.reason.clone()).or_default() += 1;
                newest.push(letter);
            }
        })?;
        let newest = newest.into_sorted();
        if self.json {
            newest.iter().try_for_each(|letter| output::line(&as_json(letter, mark(&retried, letter))))?;
        } else if reasons.is_empty() {
            writeln!(io::stderr(), "no dead letters in {}", topics.dead_letters)?;
        } else {
            output::text(&tables(reasons, &newest, &retried))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tables(reasons: BTreeMap<String, u64>, newest: &[DeadLetter], retried: &BTreeMap<String, Mark>) -> String {
    let reasons = reasons.into_iter().map(|(reason, count)| [reason, count.to_string()]);
    let text = table(["reason", "count"], reasons, &[1]);
    if newest.is_empty() {
        return text;
    }
    let row = |letter: &DeadLetter| {
        [
            letter.id.to_string(),
            when::stamp(letter.time_ms),
            letter.reason.clone(),
            letter.stage.clone(),
            letter.origin(),
            letter.length.to_string(),
            mark(retried, letter).map_or_else(String::new, |mark| format!("to {}", mark.to)),
        ]
    };
    let header = ["id", "when", "reason", "stage", "origin", "bytes", "retried"];
    format!("{text}\n\n{}", table(header, newest.iter().map(row), &[5]))
}

/// The newest so many.
struct Newest {
    limit: usize,
    letters: BTreeMap<(i64, Id), DeadLetter>,
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self { limit, letters: BTreeMap::new() }
    }

    fn push(&mut self, mut letter: DeadLetter) {
        // They are not shown, and there may be many.
        letter.bytes = Vec::new();
        self.letters.insert((letter.time_ms.unwrap_or_default(), letter.id), letter);
        if self.letters.len() > self.limit {
            self.letters.pop_first();
        }
    }

    fn into_sorted(self) -> Vec<DeadLetter> {
        self.letters.into_values().rev().collect()
    }
}

/// The mark of a letter; one of another that stood at the same place says nothing.
fn mark<'m>(retried: &'m BTreeMap<String, Mark>, letter: &DeadLetter) -> Option<&'m Mark> {
    retried.get(&letter.id.to_string()).filter(|mark| mark.origin == letter.origin())
}

fn as_json(letter: &DeadLetter, mark: Option<&Mark>) -> Value {
    json!({
        "id": letter.id.to_string(),
        "time_unix_ms": letter.time_ms,
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "survey": letter.survey,
        "name": letter.name,
        "source": letter.source,
        "offset": letter.offset,
        "record": letter.record,
        "bytes": letter.length,
        "retried": mark.map(|mark| json!({"to": mark.to, "time_unix_ms": mark.time_unix_ms})),
    })
}

impl ShowArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Kafka { connection, topics } = self.kafka.kafka()?;
        let letter = find(&connection, &topics.dead_letters, self.id)?;
        if self.out.as_ref().is_some_and(|path| path.as_os_str() == "-") {
            io::stdout().lock().write_all(&letter.bytes).context("writing to standard output")?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(path) = &self.out {
            std::fs::write(path, &letter.bytes).with_context(|| format!("writing {}", path.display()))?;
            writeln!(io::stderr(), "{} bytes are in {}", letter.bytes.len(), path.display())?;
        }
        let retried = marks(&connection, &topics.dead_letters, &topics.retried)?;
        let mark = mark(&retried, &letter);
        if self.json {
            output::pretty(&as_json(&letter, mark))?;
        } else {
            show(&letter, mark)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(letter: &DeadLetter, mark: Option<&Mark>) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let mut field = |name: &str, value: &str| crate::summary::field(&mut out, name, value);
    field("reason", &letter.reason)?;
    field("message", &letter.message)?;
    field("stage", &letter.stage)?;
    field("survey", letter.survey.as_deref().unwrap_or("unknown"))?;
    field("packet", &letter.name)?;
    field("origin", &letter.origin())?;
    field("when", &when::stamp(letter.time_ms))?;
    let kept = if letter.is_whole() { String::new() } else { format!(", of which {} are kept", letter.bytes.len()) };
    field("bytes", &format!("{}{kept}", letter.length))?;
    if let Some(mark) = mark {
        field("retried", &format!("to {} at {}", mark.to, when::civil(mark.time_unix_ms)))?;
    }
    Ok(())
}

impl RetryArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Kafka { connection, topics } = self.kafka.kafka()?;
        if self.to == topics.dead_letters {
            return Err(
                Usage(format!("{} is where dead letters are: name a topic that a stream reads", self.to)).into()
            );
        }
        let mut retrier = Retrier::open(&connection, &topics.dead_letters, &topics.retried)?;
        let mut tally = Tally { json: self.json, ..Tally::default() };
        let letters = self.select(&connection, &topics.dead_letters, &retrier, &mut tally)?;
        for letters in together(letters) {
            retrier.send(&connection, &letters, &self.to)?;
            tally.sent += letters.len();
            letters.iter().try_for_each(|letter| tally.say(letter, &format!("sent to {}", self.to)))?;
        }
        tally.end()
    }

    /// What is to be sent, as much of it as one command holds.
    fn select(
        &self,
        connection: &Connection,
        topic: &str,
        retrier: &Retrier,
        tally: &mut Tally,
    ) -> anyhow::Result<Vec<DeadLetter>> {
        let (mut held, mut bytes) = (Vec::new(), 0);
        let mut take = |letter: DeadLetter| {
            if let Some(mark) = retrier.mark(&letter).filter(|_| !self.again) {
                tally.passed_over += 1;
                let what = format!("not sent: it was sent to {} at {}", mark.to, when::civil(mark.time_unix_ms));
                return tally.say(&letter, &what);
            }
            if held.len() >= HELD.0 || bytes + letter.bytes.len() > HELD.1 {
                tally.left += 1;
                return Ok(());
            }
            bytes += letter.bytes.len();
            held.push(letter);
            Ok(())
        };
        let wanted: BTreeSet<Id> = self.ids.iter().copied().collect();
        let mut outcome = Ok(());
        if wanted.is_empty() {
            read(connection, topic, |letter| {
                if outcome.is_ok() && self.reason.as_ref() == Some(&letter.reason) {
                    outcome = take(letter);
                }
            })?;
        } else {
            outcome = wanted.into_iter().try_for_each(|id| take(find(connection, topic, id)?));
        }
        outcome.map(|()| held)
    }
}

/// Letters in groups that are sent together.
fn together(letters: Vec<DeadLetter>) -> Vec<Vec<DeadLetter>> {
    let mut groups: Vec<Vec<DeadLetter>> = Vec::new();
    let mut bytes = 0;
    for letter in letters {
        bytes += letter.bytes.len();
        match groups.last_mut() {
            Some(group) if group.len() < TOGETHER.0 && bytes <= TOGETHER.1 => group.push(letter),
            _ => {
                bytes = letter.bytes.len();
                groups.push(vec![letter]);
            }
        }
    }
    groups
}

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    json: bool,
    sent: usize,
    passed_over: usize,
    left: usize,
}

impl Tally {
    fn say(&self, letter: &DeadLetter, what: &str) -> anyhow::Result<()> {
        if self.json {
            output::line(&json!({"id": letter.id.to_string(), "origin": letter.origin(), "what": what}))
        } else {
            output::text(&format!("{} ({}): {what}", letter.id, letter.origin()))
        }
    }

    fn end(&self) -> anyhow::Result<ExitCode> {
        let mut err = io::stderr().lock();
        let Self { sent, passed_over, left, .. } = self;
        writeln!(
            err,
            "{sent} sent, {passed_over} not, since they were sent before{}",
            if *passed_over > 0 { " (--again sends them too)" } else { "" }
        )?;
        if *left > 0 {
            writeln!(err, "{left} are left: give the same command again")?;
        }
        Ok(if sent + passed_over > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, bytes: usize) -> DeadLetter {
        DeadLetter {
            id: Id { partition: 0, offset },
            time_ms: Some(offset),
            reason: "truncated".to_owned(),
            message: String::new(),
            stage: "ingest".to_owned(),
            survey: None,
            name: String::new(),
            source: "ztf/night/0".to_owned(),
            offset: 7,
            record: 0,
            length: bytes as u64,
            bytes: vec![0; bytes],
        }
    }

    #[test]
    fn what_is_sent_together_is_bounded_in_number_and_bytes() {
        let sizes = |letters: Vec<DeadLetter>| together(letters).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..250).map(|at| letter(at, 1)).collect()), [100, 100, 50]);
        assert_eq!(sizes((0..3).map(|at| letter(at, 5 << 20)).collect()), [1, 1, 1]);
        assert!(sizes(Vec::new()).is_empty());
    }

    #[test]
    fn the_newest_are_kept_without_their_bytes() {
        let mut newest = Newest::new(2);
        (0..5).for_each(|at| newest.push(letter(at, 9)));
        let kept = newest.into_sorted();
        assert_eq!(
            kept.iter().map(|letter| (letter.id.offset, letter.bytes.len())).collect::<Vec<_>>(),
            [(4, 0), (3, 0)]
        );
    }

    #[test]
    fn a_mark_of_another_letter_at_the_same_place_says_nothing() {
        let mark = |origin: &str| Mark { to: "t".to_owned(), time_unix_ms: 0, origin: origin.to_owned() };
        let retried = |origin: &str| BTreeMap::from([("0:3".to_owned(), mark(origin))]);
        assert!(super::mark(&retried("ztf/night/0@7"), &letter(3, 1)).is_some());
        assert!(super::mark(&retried("ztf/night/0@8"), &letter(3, 1)).is_none());
    }
}
