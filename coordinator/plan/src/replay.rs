//! A window of a stream that goes through once more, apart from it: what it is, and who erases what belongs to it when it is removed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::facts::{Disposition, Facts};
use crate::id::{Partition, PlanVersion, ProducerName, StreamId};
use crate::orders::{Bounds, Start, Stream};
use crate::plan::{Assignment, Plan};

/// The weight of a replay beside other streams, the least that there is: it may wait.
const WEIGHT: u32 = 1;

/// The longest name: a database is named after it, and MongoDB allows such a name 63 characters.
pub const LONGEST_NAME: usize = 24;

/// What makes a stream a replay. It begins with the first alert of its stream's `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The stream whose alerts go through once more.
    pub of: StreamId,
    /// The first time that is behind the window, Unix milliseconds.
    pub to: u64,
    /// Whether it is on its way out: nothing of it is read any more, and what belongs to it is erased.
    #[serde(default)]
    pub removing: bool,
}

/// Who erases what belongs to a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The incarnation that does it.
    pub by: ProducerName,
    /// The version of the plan that first said so.
    pub since: PlanVersion,
    /// Producers that may still have an open transaction over its topics and its progress: they are fenced first.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fence: BTreeSet<ProducerName>,
}

impl fmt::Display for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "erased by {}", self.by)?;
        let names: Vec<String> = self.fence.iter().map(ToString::to_string).collect();
        if names.is_empty() { Ok(()) } else { write!(f, "; fences {}", names.join(", ")) }
    }
}

/// Whether a window can go through as a replay of that name: it has an end, which is not in the future.
///
/// # Errors
/// What speaks against it.
pub fn check(name: &StreamId, from: u64, to: u64, now: u64) -> Result<(), Error> {
    let wrong = |why| Err(Error::Replay { name: name.to_string(), why });
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.as_str().len() > LONGEST_NAME || !name.as_str().bytes().all(is_plain) {
        return wrong(format!(
            "its name is made of at most {LONGEST_NAME} small letters, digits, `_` and `-`: a database is named after it"
        ));
    }
    if from >= to {
        return wrong("its window ends before it begins".to_owned());
    }
    if to > now {
        return wrong("its window ends in the future: replay what has come, or wait".to_owned());
    }
    Ok(())
}

/// The stream that goes once more through what `of` has read in a window.
pub(crate) fn stream((of, live): (&StreamId, &Stream), from: u64, to: u64) -> Stream {
    Stream {
        start: Start::At(from),
        paused: false,
        bounds: Bounds { weight: Some(WEIGHT), ..Bounds::default() },
        replay: Some(Replay { of: of.clone(), to, removing: false }),
        ..live.clone()
    }
}

/// Who erases which replay: one that takes partitions, from when on nobody has a partition of it. Who has begun goes on as long as he
/// may live.
pub(crate) fn erasures(
    facts: &Facts<'_>,
    current: &Plan,
    owners: &BTreeMap<Partition, Assignment>,
) -> BTreeMap<StreamId, Erasure> {
    let is_held =
        |id: &StreamId| owners.iter().any(|(part, entry)| part.stream == *id && entry.state.owner().is_some());
    let removing = facts.orders.streams.iter().filter(|(id, stream)| stream.is_removed() && !is_held(id));
    removing.filter_map(|(id, _)| Some((id.clone(), erasure(id, facts, current)?))).collect()
}

fn erasure(id: &StreamId, facts: &Facts<'_>, current: &Plan) -> Option<Erasure> {
    let before = current.erasures.get(id);
    let may_live = |by: &ProducerName| facts.nodes.get(by).is_none_or(|node| node.disposition != Disposition::Gone);
    if let Some(before) = before.filter(|before| may_live(&before.by)) {
        return Some(before.clone());
    }
    let mut takers = facts.nodes.iter().filter(|(_, node)| node.disposition == Disposition::Takes);
    let by = (*takers.next()?.0).clone();
    let entries = current.owners.iter().filter(|(partition, _)| partition.stream == *id);
    let mut fence: BTreeSet<ProducerName> = entries.flat_map(|(_, entry)| entry.fence.iter().cloned()).collect();
    fence.extend(before.into_iter().flat_map(|before| before.fence.iter().chain([&before.by]).cloned()));
    Some(Erasure { by, since: current.version.next(), fence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_without_an_end_that_is_past_and_a_name_that_names_no_database_are_refused() {
        let why = |name: &str, from, to| {
            let checked = check(&name.parse().unwrap(), from, to, 100);
            checked.map_or_else(|error| error.to_string(), |()| "good".to_owned())
        };
        assert_eq!(why("again-1_b", 1, 100), "good");
        assert!(why("again", 5, 5).contains("replay `again` can not be: its window ends before it begins"));
        assert!(why("again", 5, 101).contains("in the future"));
        for name in ["Again", "a.b", &"a".repeat(LONGEST_NAME + 1)] {
            assert!(why(name, 1, 2).contains("small letters"), "{name}");
        }
    }
}
