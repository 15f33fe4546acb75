//! What became of the plan, commit by commit: from what the leader remembers of its commits.

use std::io::Write as _;

use anyhow::bail;
use boom_client::channel::Cluster;
use boom_client::control::{Event, EventKind};
use boom_plan::id::PlanVersion;

use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::output::{self, BOLD, DIM};
use crate::when;

/// One committed plan and what it changed.
#[derive(Debug)]
pub(super) struct Commit {
    time_unix_ms: u64,
    term: u64,
    version: PlanVersion,
    /// Of what, and what about it.
    changes: Vec<(String, String)>,
}

impl Commit {
    fn of(event: Event) -> Option<Self> {
        let version = event.plan_version.filter(|_| event.kind == EventKind::Committed)?;
        let change = |line: &str| line.trim().split_once(": ").map(|(of, what)| (of.to_owned(), what.to_owned()));
        let changes = event.text.lines().skip(1).filter_map(change).collect();
        Some(Self { time_unix_ms: event.time_unix_ms, term: event.term.0, version, changes })
    }

    /// Only what is about that partition or node.
    pub(super) fn about(mut self, subject: &str) -> Option<Self> {
        self.changes.retain(|(of, _)| of == subject);
        (!self.changes.is_empty()).then_some(self)
    }

    /// Prints it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn show(&self, as_json: bool) -> anyhow::Result<()> {
        let Self { time_unix_ms, term, version, changes } = self;
        if as_json {
            let changes: Vec<_> = changes.iter().map(|(of, what)| json!({"of": of, "what": what})).collect();
            return output::line(&json!({
                "plan_version": version.0, "term": term, "time_unix_ms": time_unix_ms, "changes": changes,
            }));
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{BOLD}{version}{BOLD:#} {DIM}{} t{term}{DIM:#}", when::civil(*time_unix_ms))?;
        changes.iter().try_for_each(|(of, what)| writeln!(out, "  {of}: {what}"))?;
        Ok(())
    }
}

/// The commits that the leader remembers, the oldest first.
///
/// # Errors
/// No leader answers.
pub(super) async fn history(cluster: &Cluster, since_unix_ms: u64) -> anyhow::Result<Vec<Commit>> {
    let events: Vec<Event> = cluster.events(since_unix_ms, false).try_collect().await?;
    Ok(events.into_iter().filter_map(Commit::of).collect())
}

/// What changed after one version up to another, or up to the newest.
///
/// # Errors
/// The leader does not remember so far back, or there is no such version yet.
pub(super) fn between(history: Vec<Commit>, from: u64, to: Option<u64>) -> anyhow::Result<Vec<Commit>> {
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        bail!("the leader remembers no commit: it has just begun to lead");
    };
    let (first, last) = (first.version.0, last.version.0);
    let to = to.unwrap_or(last);
    if from >= to {
        bail!("{from} to {to}: the first version must be below the second one");
    }
    if from + 1 < first || to > last {
        bail!("{from} to {to}: the leader remembers the plans v{} to v{last}", first.saturating_sub(1));
    }
    Ok(history.into_iter().filter(|commit| commit.version.0 > from && commit.version.0 <= to).collect())
}

#[cfg(test)]
mod tests {
    use boom_plan::id::Term;

    use super::*;

    fn commit(version: u64, text: &str) -> Option<Commit> {
        let (plan_version, kind) = (Some(PlanVersion(version)), EventKind::Committed);
        Commit::of(Event { time_unix_ms: 0, term: Term(1), kind, text: text.to_owned(), plan_version })
    }

    #[test]
    fn a_commit_is_taken_apart_into_what_it_is_about() {
        let text = "plan v4 committed\n  ztf/t/0: n1#1 -> n2#1, because n2 carries less than n1: so\n  n2: enrich 2";
        let of = |subject: &str| commit(4, text)?.about(subject).map(|commit| commit.changes);
        let moved = ("ztf/t/0".to_owned(), "n1#1 -> n2#1, because n2 carries less than n1: so".to_owned());
        assert_eq!(of("ztf/t/0"), Some(vec![moved]));
        assert_eq!(of("n2"), Some(vec![("n2".to_owned(), "enrich 2".to_owned())]));
        assert_eq!(of("ztf/t"), None);
    }

    #[test]
    fn what_is_asked_must_be_remembered() {
        let history = || (4..8).filter_map(|version| commit(version, "plan committed")).collect::<Vec<_>>();
        let versions = |from, to| {
            let commits = between(history(), from, to).map_err(|error| error.to_string())?;
            Ok::<_, String>(commits.iter().map(|commit| commit.version.0).collect::<Vec<_>>())
        };
        assert_eq!(versions(3, None), Ok(vec![4, 5, 6, 7]));
        assert_eq!(versions(5, Some(6)), Ok(vec![6]));
        assert_eq!(versions(2, None), Err("2 to 7: the leader remembers the plans v3 to v7".to_owned()));
        assert_eq!(versions(5, Some(8)), Err("5 to 8: the leader remembers the plans v3 to v7".to_owned()));
        assert_eq!(versions(6, Some(6)), Err("6 to 6: the first version must be below the second one".to_owned()));
        assert!(between(Vec::new(), 1, None).is_err());
    }
}
