//! The replays that are read: each has a store of its own, from the beginning of its first input to the end of its last. Nothing is decided
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::tally::stream_of;

/// The replays of one pipeline.
#[derive(Debug)]
pub struct Replays<S>(Mutex<BTreeMap<Arc<str>, Open<S>>>);

#[derive(Debug)]
struct Open<S> {
    store: Arc<S>,
    inputs: BTreeSet<String>,
}

/// The replay that something is of, with its store.
#[derive(Debug)]
pub(super) struct Replay<S> {
    pub(super) name: Arc<str>,
    pub(super) store: Arc<S>,
}

impl<S> Default for Replays<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Replays<S> {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Open<S>>> {
        self.0.lock().expect("nobody panics with the replays")
    }

    /// The store of a replay of which an input is read already.
    pub fn store(&self, replay: &str) -> Option<Arc<S>> {
        self.held().get(replay).map(|open| Arc::clone(&open.store))
    }

    /// An input of a replay is about to begin, with the replay's store.
    pub fn enter(&self, input: &str, store: Arc<S>) {
        let mut replays = self.held();
        let open =
            replays.entry(Arc::from(stream_of(input))).or_insert_with(|| Open { store, inputs: BTreeSet::new() });
        open.inputs.insert(input.to_owned());
    }

    /// Nothing more comes of an input. With the last one of a replay its store is forgotten, with all that it remembers. Gives whether it was.
    pub fn leave(&self, input: &str) -> bool {
        let mut replays = self.held();
        let Some(open) = replays.get_mut(stream_of(input)) else { return false };
        open.inputs.remove(input);
        open.inputs.is_empty() && replays.remove(stream_of(input)).is_some()
    }

    /// The replay that an input is of, if it is of one.
    pub(super) fn of(&self, input: &str) -> Option<Replay<S>> {
        let replays = self.held();
        let (name, open) = replays.get_key_value(stream_of(input))?;
        Some(Replay { name: Arc::clone(name), store: Arc::clone(&open.store) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_one_store_from_its_first_input_to_its_last() {
        let replays = Replays::default();
        replays.enter("again/night/0", Arc::new(1));
        replays.enter("again/night/1", Arc::new(2));
        let store = |input| replays.of(input).map(|replay| (replay.name.to_string(), *replay.store));
        assert_eq!(store("again/night/1"), Some(("again".to_owned(), 1)));
        assert_eq!((store("ztf/night/1"), store("again2/night/1")), (None, None));
        assert!(!replays.leave("again/night/0") && !replays.leave("ztf/night/0"));
        assert_eq!(replays.store("again").as_deref(), Some(&1));
        assert!(replays.leave("again/night/1") && replays.store("again").is_none());
    }
}
