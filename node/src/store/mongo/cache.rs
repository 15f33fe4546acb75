//! What this node has stored of objects lately, within so many bytes. It may be behind what other nodes wrote: what is written on its word asks
//! for its revision, and is refused when that has passed.

use std::collections::HashMap;

use super::object::Stored;

/// An object of a survey.
pub(super) type Key = (&'static str, String);

/// Two generations: what is asked for comes into the younger, and the older goes when the younger has half of the bytes.
#[derive(Debug)]
pub(super) struct Cache {
    bytes: usize,
    young: HashMap<Key, Stored>,
    old: HashMap<Key, Stored>,
    held: usize,
}

impl Cache {
    /// A cache of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, young: HashMap::new(), old: HashMap::new(), held: 0 }
    }

    /// What is known of an object.
    pub(super) fn get(&mut self, key: &Key) -> Option<Stored> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        self.put(key, found.clone());
        Some(found)
    }

    /// Remembers an object.
    pub(super) fn put(&mut self, key: Key, stored: Stored) {
        let bytes = stored.bytes();
        if self.held + bytes > self.bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        if bytes <= self.bytes / 2 {
            self.old.remove(&key);
            let before = self.young.insert(key, stored);
            self.held = self.held + bytes - before.map_or(0, |before| before.bytes().min(self.held));
        }
    }

    /// Changes what is remembered of an object, if it is.
    pub(super) fn change(&mut self, key: &Key, change: impl FnOnce(&mut Stored)) {
        if let Some(mut stored) = self.get(key) {
            change(&mut stored);
            self.put(key.clone(), stored);
        }
    }

    /// Forgets an object.
    pub(super) fn forget(&mut self, key: &Key) {
        self.old.remove(key);
        if let Some(before) = self.young.remove(key) {
            self.held = self.held.saturating_sub(before.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use boom_store::documents::ObjectState;

    use super::*;

    fn stored() -> Stored {
        let state = Arc::new(ObjectState::default());
        Stored { revision: 1, state, matches: None, aliases: Arc::default(), fits: true }
    }

    #[test]
    fn what_was_not_asked_for_goes_and_the_bytes_stay_bounded() {
        let mut cache = Cache::new(20 * stored().bytes());
        for number in 0..1000 {
            cache.put(("ZTF", number.to_string()), stored());
            assert!(cache.get(&("ZTF", "0".to_owned())).is_some(), "what is asked for stays");
            assert!(cache.young.len() + cache.old.len() <= 20);
        }
        assert!(cache.get(&("ZTF", "1".to_owned())).is_none());
        assert!(cache.get(&("ZTF", "999".to_owned())).is_some());
    }

    #[test]
    fn a_cache_of_nothing_remembers_nothing() {
        let mut cache = Cache::new(0);
        cache.put(("ZTF", "a".to_owned()), stored());
        assert!(cache.get(&("ZTF", "a".to_owned())).is_none());
    }
}
