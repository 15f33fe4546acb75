//! What happened, for people to look up: the newest events in memory, bounded in number and length. Nothing is decided here, and nothing is
//! stored: the plan in etcd says what holds, and the log of each coordinator what it did.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use boom_proto::v1;
use tokio::sync::watch;

/// So many events are kept.
const KEPT: usize = 10_000;

/// So many bytes of them are kept: a plan for thousands of partitions has a line for each.
const KEPT_BYTES: usize = 64 << 20;

/// An event says at most so much.
const LONGEST: usize = 32 << 10;

/// The newest events, numbered from 0 in the order in which they happened.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<Kept>,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<v1::Event>,
    bytes: usize,
    /// The number of the oldest that is kept.
    first: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { kept: Mutex::default(), next: watch::Sender::new(0) }
    }
}

impl EventLog {
    /// Keeps an event, and forgets the oldest if there are too many.
    pub fn push(&self, mut event: v1::Event) {
        shorten(&mut event.text);
        let next = {
            let mut kept = self.lock();
            kept.bytes += event.text.len();
            kept.events.push_back(event);
            while kept.events.len() > KEPT || kept.bytes > KEPT_BYTES {
                kept.bytes -= kept.events.pop_front().map_or(0, |oldest| oldest.text.len());
                kept.first += 1;
            }
            kept.first + kept.events.len() as u64
        };
        self.next.send_replace(next);
    }

    /// At most `most` of the events from that number on that are still kept, and the number to ask with next.
    pub fn read(&self, from: u64, most: usize) -> (Vec<v1::Event>, u64) {
        let kept = self.lock();
        let from = from.max(kept.first);
        let skip = usize::try_from(from - kept.first).unwrap_or(usize::MAX);
        let events: Vec<_> = kept.events.iter().skip(skip).take(most).cloned().collect();
        let next = from + events.len() as u64;
        (events, next)
    }

    /// Tells the number of the next event each time one is kept.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is in it is whole after each statement that could panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of the wall clock, Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Cuts a text that is too long, and says so.
fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        let (whole, cut) = (text.len(), text.floor_char_boundary(LONGEST));
        text.truncate(cut);
        text.push_str(&format!("… ({} bytes more)", whole - cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> v1::Event {
        v1::Event { text: number.to_string(), ..v1::Event::default() }
    }

    #[test]
    fn the_newest_are_kept_and_a_slow_reader_goes_on_with_the_oldest_that_is_left() {
        let log = EventLog::default();
        (0..KEPT + 5).for_each(|number| log.push(event(number)));
        let (events, next) = log.read(0, 2);
        let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!((texts, next), (vec!["5", "6"], 7));
        let (events, next) = log.read(next, usize::MAX);
        assert_eq!((events.len(), next), (KEPT - 2, KEPT as u64 + 5));
        assert_eq!(log.read(next, 10), (Vec::new(), next));
        assert_eq!(*log.subscribe().borrow(), next);
    }

    #[test]
    fn neither_one_long_event_nor_many_of_them_take_much_memory() {
        let log = EventLog::default();
        log.push(v1::Event { text: "ö".repeat(LONGEST), ..v1::Event::default() });
        let (events, _) = log.read(0, 1);
        assert!(events[0].text.len() < LONGEST + 50 && events[0].text.ends_with("bytes more)"));
        for _ in 0..3_000 {
            log.push(events[0].clone());
        }
        assert!(log.lock().bytes <= KEPT_BYTES && log.lock().events.len() > 1_000);
    }
}
