//! What has been stored but not yet committed: it is seen by every reader of this process, and gone if the process dies.
//!
//! Writes are kept by the batch that made them, so that a commit takes whole batches in their order and nothing of later ones.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use boom_sky::alert::Origin;

use super::object::ObjectState;
use super::{Aliases, Matches};

/// Number of a batch; batches are stored and committed in this order.
pub type Sequence = u64;

/// The keyspace that a write goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    Alerts,
    Cutouts,
    Objects,
    Matches,
    Aliases,
    Sky,
}

/// A value not yet encoded, where only the last one of a commit needs to be.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Bytes(Vec<u8>),
    Object(Arc<ObjectState>),
}

type Key = Vec<u8>;

#[derive(Debug, Default)]
pub(super) struct Pending {
    writes: BTreeMap<Sequence, Vec<(Space, Key, Value)>>,
    claims: HashMap<Key, (Sequence, Origin)>,
    objects: HashMap<Key, (Sequence, Arc<ObjectState>)>,
    matches: HashMap<Key, (Sequence, Arc<Matches>)>,
    aliases: HashMap<Key, (Sequence, Arc<Aliases>)>,
    sky: BTreeMap<Key, (Sequence, Vec<u8>)>,
}

impl Pending {
    pub(super) fn write(&mut self, sequence: Sequence, space: Space, key: Key, value: Value) {
        self.writes.entry(sequence).or_default().push((space, key, value));
    }

    pub(super) fn claim(&mut self, sequence: Sequence, key: Key, origin: &Origin) {
        self.claims.insert(key, (sequence, origin.clone()));
    }

    pub(super) fn claimed(&self, key: &[u8]) -> Option<&Origin> {
        self.claims.get(key).map(|claim| &claim.1)
    }

    pub(super) fn object(&self, key: &[u8]) -> Option<&Arc<ObjectState>> {
        self.objects.get(key).map(|object| &object.1)
    }

    pub(super) fn set_object(&mut self, sequence: Sequence, key: &[u8], object: &Arc<ObjectState>) {
        self.objects.insert(key.to_vec(), (sequence, Arc::clone(object)));
        self.write(sequence, Space::Objects, key.to_vec(), Value::Object(Arc::clone(object)));
    }

    pub(super) fn matches(&self, key: &[u8]) -> Option<&Arc<Matches>> {
        self.matches.get(key).map(|matches| &matches.1)
    }

    pub(super) fn set_matches(&mut self, sequence: Sequence, key: Key, matches: Arc<Matches>) {
        self.write(sequence, Space::Matches, key.clone(), Value::Bytes(matches.encode()));
        self.matches.insert(key, (sequence, matches));
    }

    pub(super) fn aliases(&self, key: &[u8]) -> Option<&Arc<Aliases>> {
        self.aliases.get(key).map(|aliases| &aliases.1)
    }

    pub(super) fn set_aliases(&mut self, sequence: Sequence, key: &[u8], aliases: Arc<Aliases>) {
        self.write(sequence, Space::Aliases, key.to_vec(), Value::Bytes(aliases.document()));
        self.aliases.insert(key.to_vec(), (sequence, aliases));
    }

    pub(super) fn set_sky(&mut self, sequence: Sequence, key: Key, value: Vec<u8>) {
        self.write(sequence, Space::Sky, key.clone(), Value::Bytes(value.clone()));
        self.sky.insert(key, (sequence, value));
    }

    pub(super) fn sky(&self, range: RangeInclusive<Key>) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.sky.range(range).map(|(key, (_, value))| (key.as_slice(), value.as_slice()))
    }

    /// The writes of all batches up to `last`, only the last one of each key.
    pub(super) fn up_to(&self, last: Sequence) -> impl Iterator<Item = (Space, &[u8], &Value)> {
        let mut latest: HashMap<(Space, &[u8]), &Value> = HashMap::new();
        for (space, key, value) in self.writes.range(..=last).flat_map(|batch| batch.1) {
            latest.insert((*space, key), value);
        }
        latest.into_iter().map(|((space, key), value)| (space, key, value))
    }

    /// Forgets what is committed.
    pub(super) fn forget(&mut self, last: Sequence) {
        self.writes = self.writes.split_off(&(last + 1));
        self.claims.retain(|_, claim| claim.0 > last);
        self.objects.retain(|_, object| object.0 > last);
        self.matches.retain(|_, matches| matches.0 > last);
        self.aliases.retain(|_, aliases| aliases.0 > last);
        self.sky.retain(|_, place| place.0 > last);
    }
}
