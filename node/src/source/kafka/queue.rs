//! The bounded queue between the thread that polls and the one that takes. It knows which partitions are still wanted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Counters, Packet};

/// What a packet takes beside its bytes, about.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Queue {
    /// It is full with so many bytes; one poll may give one packet more.
    capacity: usize,
    counters: Arc<Counters>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// The partitions that are wanted, each with the number of its assignment.
    wanted: HashMap<String, u64>,
    assignments: u64,
    stopped: bool,
    failed: Option<String>,
}

fn size(packet: &Packet) -> usize {
    packet.bytes.len() + OVERHEAD
}

impl Queue {
    pub(super) fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self { capacity, counters, state: Mutex::default(), changed: Condvar::new() }
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
        generation
    }

    /// A partition is wanted no more, nor what waits of it.
    pub(super) fn remove(&self, source: &str) {
        let mut state = self.state();
        state.forget(source);
        state.wanted.remove(source);
    }

    /// The partitions that are wanted, in order.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut wanted: Vec<_> = self.state().wanted.keys().cloned().collect();
        wanted.sort_unstable();
        wanted
    }

    /// Whether an assignment is still the one that is wanted.
    pub(super) fn wants(&self, source: &str, generation: u64) -> bool {
        self.state().wanted.get(source) == Some(&generation)
    }

    /// Takes a packet of an assignment, if it is still wanted; gives whether it is.
    pub(super) fn push(&self, packet: Packet, generation: u64) -> bool {
        let mut state = self.state();
        if state.wanted.get(&*packet.source) != Some(&generation) {
            return false;
        }
        state.bytes += size(&packet);
        self.counters.count(|counts| counts.most_bytes = counts.most_bytes.max(state.bytes as u64));
        state.packets.push_back(packet);
        self.changed.notify_one();
        true
    }

    /// The next packet, which is waited for; `None` at the end.
    pub(super) fn pop(&self) -> Option<Packet> {
        let idle = |state: &mut State| state.packets.is_empty() && !state.stopped;
        let mut state = self.changed.wait_while(self.state(), idle).expect("nobody panics with the queue");
        if state.stopped {
            return None;
        }
        let packet = state.packets.pop_front()?;
        state.bytes -= size(&packet);
        Some(packet)
    }

    pub(super) fn is_full(&self) -> bool {
        self.state().bytes >= self.capacity
    }

    pub(super) fn is_half_empty(&self) -> bool {
        self.state().bytes <= self.capacity / 2
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

    pub(super) fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }
}

impl State {
    fn forget(&mut self, source: &str) {
        self.packets.retain(|packet| &*packet.source != source);
        self.bytes = self.packets.iter().map(size).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, offset: u64) -> Packet {
        let (source, name, bytes) = (source.into(), String::new(), vec![0; 744]);
        Packet { source, assignment: 0, offset, name, timestamp: None, bytes, retry_of: None, fault: None }
    }

    #[test]
    fn a_partition_that_is_removed_or_added_again_gives_nothing_of_its_former_assignment() {
        let queue = Queue::new(10_000, Arc::default());
        let (a, b) = (queue.add("a"), queue.add("b"));
        for offset in 0..3 {
            queue.push(packet("a", offset), a);
            queue.push(packet("b", offset), b);
        }
        queue.remove("a");
        queue.push(packet("a", 3), a);
        let again = queue.add("b");
        queue.push(packet("b", 3), b);
        queue.push(packet("b", 1), again);
        assert_eq!(queue.pop().map(|packet| (packet.source.to_string(), packet.offset)), Some(("b".to_owned(), 1)));
        queue.stop();
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn it_is_full_by_bytes() {
        let queue = Queue::new(2500, Arc::default());
        let a = queue.add("a");
        for (offset, full) in [(0, false), (1, false), (2, true)] {
            queue.push(packet("a", offset), a);
            assert_eq!(queue.is_full(), full);
        }
        assert!(!queue.is_half_empty());
        queue.pop();
        queue.pop();
        assert!(queue.is_half_empty());
    }
}
