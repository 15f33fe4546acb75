//! The bounded queues between the thread that polls and those that take, one for each stream. They know which partitions are still wanted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Counters, Packet, Waiting};
use crate::shares::Shares;
use crate::source::SourceError;
use crate::tally::stream_of;

/// What a packet takes beside its bytes, about.
const OVERHEAD: usize = 256;

/// The queues. Streams whose partitions are wanted share the bytes by their weights: one that is not taken from as quickly as it comes fills what
/// is its own.
#[derive(Debug)]
pub(super) struct Queue {
    /// They are full with so many bytes in all; one poll may give one packet more.
    capacity: usize,
    shares: Arc<Shares>,
    counters: Arc<Counters>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<String, Stream>,
    bytes: usize,
    /// The partitions that are wanted, each with the number of its assignment.
    wanted: HashMap<String, u64>,
    assignments: u64,
    stopped: bool,
    failed: Option<String>,
}

/// What waits of a stream.
#[derive(Debug, Default)]
struct Stream {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Its partitions that are wanted.
    wanted: usize,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Its assignment is over.
    Unwanted,
    /// It waits, and its stream may have more.
    Taken,
    /// It waits, and its stream has as much as it may have.
    Full,
}

fn size(packet: &Packet) -> usize {
    packet.bytes.len() + OVERHEAD
}

impl Queue {
    pub(super) fn new(capacity: usize, shares: Arc<Shares>, counters: Arc<Counters>) -> Self {
        Self { capacity, shares, counters, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the queue")
    }

    /// A partition is wanted; gives the number of the assignment.
    pub(super) fn add(&self, source: &str) -> u64 {
        let mut state = self.state();
        state.forget(source);
        state.assignments += 1;
        let generation = state.assignments;
        state.wanted.insert(source.to_owned(), generation);
        state.streams.entry(stream_of(source).to_owned()).or_default().wanted += 1;
        generation
    }

    /// A partition is wanted no more, nor what waits of it.
    pub(super) fn remove(&self, source: &str) {
        self.state().forget(source);
    }

    /// The partitions of a stream that are wanted, in order.
    pub(super) fn wanted(&self, stream: &str) -> Vec<String> {
        let state = self.state();
        let mut wanted: Vec<_> = state.wanted.keys().filter(|source| stream_of(source) == stream).cloned().collect();
        wanted.sort_unstable();
        wanted
    }

    /// Whether an assignment is still the one that is wanted.
    pub(super) fn wants(&self, source: &str, generation: u64) -> bool {
        self.state().wanted.get(source) == Some(&generation)
    }

    /// Takes a packet of an assignment, if it is still wanted.
    pub(super) fn push(&self, packet: Packet, generation: u64) -> Pushed {
        let mut state = self.state();
        if state.wanted.get(&*packet.source) != Some(&generation) {
            return Pushed::Unwanted;
        }
        let (name, size) = (Arc::clone(&packet.source), size(&packet));
        state.bytes += size;
        self.counters.count(|counts| counts.most_bytes = counts.most_bytes.max(state.bytes as u64));
        let room = self.room(&state, stream_of(&name));
        let Some(stream) = state.streams.get_mut(stream_of(&name)) else { return Pushed::Unwanted };
        stream.bytes += size;
        stream.packets.push_back(packet);
        let pushed = if stream.bytes >= room { Pushed::Full } else { Pushed::Taken };
        // Who takes waits only where there is nothing; and who takes from other streams has to see that it is none of his.
        if stream.packets.len() == 1 {
            self.changed.notify_all();
        }
        pushed
    }

    /// The next packet of a stream, which is waited for; `None` at the end.
    pub(super) fn pop(&self, stream: &str) -> Option<Packet> {
        let is_empty = |state: &State| state.streams.get(stream).is_none_or(|stream| stream.packets.is_empty());
        let idle = |state: &mut State| is_empty(state) && !state.stopped;
        let mut state = self.changed.wait_while(self.state(), idle).expect("nobody panics with the queue");
        if state.stopped {
            return None;
        }
        let of = state.streams.get_mut(stream)?;
        let packet = of.packets.pop_front()?;
        of.bytes -= size(&packet);
        state.bytes -= size(&packet);
        Some(packet)
    }

    /// The bytes that a stream may have.
    fn room(&self, state: &State, stream: &str) -> usize {
        let weight = |stream: &str| u128::from(self.shares.weight(stream));
        let wanted = state.streams.iter().filter(|(_, stream)| stream.wanted > 0);
        let all = wanted.map(|(name, _)| weight(name)).sum::<u128>().max(1);
        // A stream of which nothing is wanted has no more than all of it.
        usize::try_from(self.capacity as u128 * weight(stream).min(all) / all).unwrap_or(usize::MAX)
    }

    /// Whether a stream has no more than half of what it may have.
    pub(super) fn is_half_empty(&self, stream: &str) -> bool {
        let state = self.state();
        state.streams.get(stream).is_none_or(|of| of.bytes <= self.room(&state, stream) / 2)
    }

    /// What waits, by stream.
    pub(super) fn waiting(&self) -> BTreeMap<String, Waiting> {
        let state = self.state();
        let waiting = |of: &Stream| Waiting { packets: of.packets.len() as u64, bytes: of.bytes as u64 };
        state.streams.iter().map(|(name, of)| (name.clone(), waiting(of))).collect()
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Ends with an error.
    pub(super) fn fail(&self, problem: String) {
        self.state().failed = Some(problem);
        self.stop();
    }

    /// Waits until it is stopped.
    pub(super) fn wait(&self) {
        let goes_on = |state: &mut State| !state.stopped;
        drop(self.changed.wait_while(self.state(), goes_on).expect("nobody panics with the queue"));
    }

    /// How it has ended.
    pub(super) fn ended(&self) -> Result<(), SourceError> {
        self.state().failed.clone().map_or(Ok(()), |problem| Err(SourceError::Kafka(problem)))
    }
}

impl State {
    /// Nothing more of a partition is wanted, nor what waits of it.
    fn forget(&mut self, source: &str) {
        let was_wanted = self.wanted.remove(source).is_some();
        let Some(stream) = self.streams.get_mut(stream_of(source)) else { return };
        stream.wanted -= usize::from(was_wanted);
        stream.packets.retain(|packet| &*packet.source != source);
        self.bytes -= stream.bytes;
        stream.bytes = stream.packets.iter().map(size).sum();
        self.bytes += stream.bytes;
        self.streams.retain(|_, stream| stream.wanted > 0);
    }
}

#[cfg(test)]
mod tests {
    use boom_plan::share::{StreamShare, WEIGHT};

    use super::*;

    fn packet(source: &str, offset: u64) -> Packet {
        let (source, name, bytes) = (source.into(), String::new(), vec![0; 744]);
        Packet { source, assignment: 0, offset, name, timestamp: None, bytes, retry_of: None, fault: None }
    }

    fn queue(capacity: usize) -> Queue {
        Queue::new(capacity, Arc::default(), Arc::default())
    }

    #[test]
    fn a_partition_that_is_removed_or_added_again_gives_nothing_of_its_former_assignment() {
        let queue = queue(10_000);
        let (a, b) = (queue.add("ztf/a"), queue.add("ztf/b"));
        for offset in 0..3 {
            queue.push(packet("ztf/a", offset), a);
            queue.push(packet("ztf/b", offset), b);
        }
        queue.remove("ztf/a");
        assert_eq!(queue.push(packet("ztf/a", 3), a), Pushed::Unwanted);
        let again = queue.add("ztf/b");
        assert_eq!(queue.push(packet("ztf/b", 3), b), Pushed::Unwanted);
        queue.push(packet("ztf/b", 1), again);
        assert_eq!(queue.waiting(), [("ztf".to_owned(), Waiting { packets: 1, bytes: 1000 })].into());
        let next = queue.pop("ztf").map(|packet| (packet.source.to_string(), packet.offset));
        assert_eq!(next, Some(("ztf/b".to_owned(), 1)));
        queue.stop();
        assert_eq!(queue.pop("ztf"), None);
    }

    #[test]
    fn it_is_full_by_bytes() {
        let queue = queue(2500);
        let a = queue.add("ztf/a");
        for (offset, pushed) in [(0, Pushed::Taken), (1, Pushed::Taken), (2, Pushed::Full)] {
            assert_eq!(queue.push(packet("ztf/a", offset), a), pushed);
        }
        assert!(!queue.is_half_empty("ztf"));
        queue.pop("ztf");
        queue.pop("ztf");
        assert!(queue.is_half_empty("ztf"));
    }

    #[test]
    fn a_stream_that_floods_fills_its_share_and_takes_nothing_from_another() {
        let queue = queue(8000);
        let (a, b) = (queue.add("ztf/a"), queue.add("lsst/b"));
        let shares = [("ztf".parse().unwrap(), StreamShare { weight: 3 * WEIGHT, ..StreamShare::default() })].into();
        let fill = |source, assignment| (1..).find(|n| queue.push(packet(source, *n), assignment) == Pushed::Full);
        assert_eq!(fill("lsst/b", b), Some(4), "half of it");
        assert_eq!(fill("ztf/a", a), Some(4));
        assert_eq!(queue.pop("ztf").map(|packet| packet.offset), Some(1), "it is behind nothing of the other");
        queue.shares.set(shares);
        assert!(!queue.is_half_empty("lsst"), "its share is two now");
        assert_eq!(fill("ztf/a", a), Some(3), "six of eight");
        queue.remove("lsst/b");
        assert_eq!(fill("ztf/a", a), Some(2), "alone it has all");
    }
}
