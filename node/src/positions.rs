//! How far inputs are: where they end, what of them was read, what is decided and committed. The reader and the pipeline tell it; metrics,
//! reports to the leader and the group's offsets are made of it. Numbers only: nothing is decided by them, and the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The inputs of one pipeline. What is told of an input that has not begun is not kept.
#[derive(Debug, Default)]
pub struct Positions(Mutex<BTreeMap<String, Position>>);

#[derive(Debug, Default)]
struct Position {
    /// The committed progress: the offset of the next packet.
    next: Option<u64>,
    /// The first offset that is not decided. Where nothing is committed yet, or records are gone, it is not the progress.
    from: Option<u64>,
    /// The first offset that was not read.
    read: Option<u64>,
    /// Between these two are no packets: marks of the ends of transactions, say.
    empty: Option<(u64, u64)>,
    /// The first offset that is not written yet.
    end: Option<u64>,
    /// Of a window its end, behind which nothing is read.
    until: Option<u64>,
    /// Offsets and times of the packets that were read and are not decided: as many as there is room for in the queues.
    undecided: VecDeque<(u64, i64)>,
    /// Whether the progress has changed since it was asked for last.
    is_news: bool,
    /// Whether nothing more comes of it.
    is_over: bool,
}

/// How far behind an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Alerts that are written and not decided.
    pub alerts: u64,
    /// How long ago the broker took the first of them; nothing while that one was not read. 0 where there is none.
    pub behind: Option<Duration>,
}

/// How far an input is of which a window is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first offset that is not decided.
    pub from: u64,
    /// The end of the window.
    pub until: u64,
}

/// The progress of an input, for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The offset of the next packet, if it has changed.
    pub next: Option<u64>,
    /// Whether it was the last time that something was said.
    pub is_last: bool,
}

impl Positions {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Position>> {
        self.0.lock().expect("nobody panics with the positions")
    }

    /// An input begins for the pipeline, with what was committed of it elsewhere.
    pub fn begin(&self, source: &str, next: Option<u64>) {
        let mut inputs = self.held();
        let position = inputs.entry(source.to_owned()).or_default();
        position.renew();
        (position.next, position.is_news) = (next, next.is_some());
    }

    /// Reading begins at an offset, of an input that ends there.
    pub fn begun(&self, source: &str, at: u64, end: u64) {
        let mut inputs = self.held();
        let position = inputs.entry(source.to_owned()).or_default();
        position.renew();
        // A reader that only begins again has packets under way.
        if position.from.is_none_or(|from| at < from) {
            position.from = Some(at);
            position.undecided.clear();
        }
        (position.read, position.end, position.empty) = (Some(at), Some(end), None);
    }

    /// Reading begins at an offset, of a window of an input that ends there, and does not grow.
    pub fn begun_window(&self, source: &str, at: u64, until: u64) {
        self.begun(source, at, until);
        self.held().entry(source.to_owned()).or_default().until = Some(until);
    }

    /// Nothing more of a window comes, although it may end further on: what is left there are no packets.
    pub fn through(&self, source: &str) {
        if let Some(position) = self.held().get_mut(source) {
            (position.until, position.end) = (position.read, position.read);
        }
    }

    /// How far each input is of which a window is read.
    pub fn windows(&self) -> BTreeMap<String, Window> {
        let inputs = self.held();
        let open = inputs.iter().filter(|(_, position)| !position.is_over);
        let window = |position: &Position| Some(Window { from: position.waits()?, until: position.until? });
        open.filter_map(|(source, position)| Some((source.clone(), window(position)?))).collect()
    }

    /// A packet was read.
    pub fn came(&self, source: &str, offset: u64, timestamp: Option<i64>) {
        if let Some(position) = self.held().get_mut(source) {
            (position.read, position.end) = (Some(offset + 1), position.end.max(Some(offset + 1)));
            // It may be decided by now.
            let is_open = position.from.is_some_and(|from| from <= offset);
            position.undecided.extend(timestamp.filter(|_| is_open).map(|time| (offset, time)));
        }
    }

    /// Reading has come to an offset, and between `since`, behind the last packet, and there are none.
    pub fn passed(&self, source: &str, since: u64, at: u64) {
        let mut inputs = self.held();
        let Some(position) = inputs.get_mut(source) else { return };
        // Whoever begins it anew may be somewhere else.
        let is_there = |read| read == since || position.empty == Some((since, read));
        if position.read.is_some_and(|read| read < at && is_there(read)) {
            (position.empty, position.read) = (Some((since, at)), Some(at));
            (position.end, position.is_news) = (position.end.max(Some(at)), position.next.is_some());
        }
    }

    /// An input ends there by now, or further on.
    pub fn ends(&self, source: &str, end: u64) {
        if let Some(position) = self.held().get_mut(source).filter(|position| position.until.is_none()) {
            position.end = position.end.max(Some(end));
        }
    }

    /// The first offset of an input that was not read, if there is one.
    pub fn unread(&self, source: &str) -> Option<u64> {
        let inputs = self.held();
        let position = inputs.get(source)?;
        position.read.filter(|read| position.end.is_some_and(|end| *read < end))
    }

    /// What lies before `next` is decided, and that is committed.
    pub fn decided(&self, source: &str, next: u64) {
        if let Some(position) = self.held().get_mut(source) {
            (position.next, position.from, position.is_news) = (Some(next), Some(next), true);
            while position.undecided.front().is_some_and(|(offset, _)| *offset < next) {
                position.undecided.pop_front();
            }
        }
    }

    /// Nothing more of an input is committed. It is kept until its reader has asked for its progress once more.
    pub fn over(&self, source: &str) {
        let mut inputs = self.held();
        let Some(position) = inputs.get_mut(source) else { return };
        position.is_over = true;
        // One that no reader has begun nobody asks for.
        if position.from.is_none() {
            inputs.remove(source);
        }
    }

    /// The progress of an input since it was asked for last; nothing of one that is forgotten.
    pub fn news(&self, source: &str) -> Option<News> {
        let mut inputs = self.held();
        let position = inputs.get_mut(source)?;
        let next = std::mem::take(&mut position.is_news).then_some(position.next).flatten();
        let next = next.map(|next| position.behind_marks(next));
        let is_last = position.is_over;
        if is_last {
            inputs.remove(source);
        }
        Some(News { next, is_last })
    }

    /// The committed progress of each input of which there is one.
    pub fn progress(&self) -> BTreeMap<String, u64> {
        let inputs = self.held();
        let open = inputs.iter().filter(|(_, position)| !position.is_over);
        open.filter_map(|(source, position)| Some((source.clone(), position.next?))).collect()
    }

    /// The first offset of each input that is not decided, where that is known: behind the committed progress, if there is nothing between.
    pub fn undecided(&self) -> BTreeMap<String, u64> {
        let inputs = self.held();
        let open = inputs.iter().filter(|(_, position)| !position.is_over);
        open.filter_map(|(source, position)| Some((source.clone(), position.waits()?))).collect()
    }

    /// How far behind each input is of which that is known; `now` in milliseconds since 1970.
    pub fn lags(&self, now: i64) -> BTreeMap<String, Lag> {
        let inputs = self.held();
        let open = inputs.iter().filter(|(_, position)| !position.is_over);
        open.filter_map(|(source, position)| Some((source.clone(), position.lag(now)?))).collect()
    }
}

impl Position {
    /// An input that comes back has nothing to do with what it was.
    fn renew(&mut self) {
        if self.is_over {
            *self = Self::default();
        }
    }

    /// Where the next packet can be at the earliest, at this offset or behind it.
    fn behind_marks(&self, at: u64) -> u64 {
        self.empty.filter(|(since, _)| at >= *since).map_or(at, |(_, to)| at.max(to))
    }

    /// The first offset that may hold a packet that is not decided.
    fn waits(&self) -> Option<u64> {
        Some(self.behind_marks(self.from.or(self.next)?))
    }

    fn lag(&self, now: i64) -> Option<Lag> {
        let alerts = self.end?.saturating_sub(self.from.and(self.waits())?);
        let waits = |(_, time): &(u64, i64)| Duration::from_millis(u64::try_from(now - time).unwrap_or_default());
        let behind = if self.until.is_some() {
            // A window may be as old as it likes.
            None
        } else if alerts == 0 {
            Some(Duration::ZERO)
        } else {
            self.undecided.front().map(waits)
        };
        Some(Lag { alerts, behind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(positions: &Positions, now: i64) -> Option<(u64, Option<u64>)> {
        let lag = positions.lags(now).get("a").copied()?;
        Some((lag.alerts, lag.behind.map(|behind| u64::try_from(behind.as_millis()).unwrap())))
    }

    #[test]
    fn the_lag_is_that_of_the_first_alert_that_is_not_decided() {
        let positions = Positions::default();
        positions.begin("a", Some(10));
        assert_eq!(lag(&positions, 0), None, "where it ends is not known");
        positions.begun("a", 10, 13);
        assert_eq!(lag(&positions, 0), Some((3, None)), "the first one was not read yet");
        for (offset, time) in [(10, 1000), (11, 1500), (12, 1600), (13, 1700)] {
            positions.came("a", offset, Some(time));
        }
        assert_eq!(lag(&positions, 3000), Some((4, Some(2000))), "the end is behind what was read");
        positions.decided("a", 12);
        assert_eq!(lag(&positions, 3000), Some((2, Some(1400))));
        positions.ends("a", 20);
        assert_eq!(lag(&positions, 1000), Some((8, Some(0))), "a broker's clock may be ahead");
        positions.decided("a", 20);
        assert_eq!(
            lag(&positions, i64::MAX),
            Some((0, Some(0))),
            "who has decided everything is not behind, however old it is"
        );
    }

    #[test]
    fn a_window_ends_where_it_ends_and_is_never_late() {
        let positions = Positions::default();
        positions.begin("a", None);
        positions.begun_window("a", 10, 13);
        assert_eq!(positions.windows(), [("a".to_owned(), Window { from: 10, until: 13 })].into());
        (10..12).for_each(|offset| positions.came("a", offset, Some(5)));
        positions.ends("a", 99);
        assert_eq!(lag(&positions, 3000), Some((3, None)));
        positions.decided("a", 12);
        assert_eq!(positions.windows()["a"], Window { from: 12, until: 13 }, "one is left");
        positions.through("a");
        assert_eq!(positions.windows()["a"], Window { from: 12, until: 12 }, "that was no packet");
        assert_eq!(positions.unread("a"), None, "nothing is waited for");
    }

    #[test]
    fn marks_behind_the_last_packet_are_not_waited_for_once_they_are_read() {
        let positions = Positions::default();
        positions.begin("a", Some(10));
        positions.begun("a", 10, 15);
        (10..13).for_each(|offset| positions.came("a", offset, Some(1000)));
        positions.decided("a", 13);
        assert_eq!((lag(&positions, 1000), positions.unread("a")), (Some((2, None)), Some(13)), "they may be packets");
        positions.passed("a", 14, 15);
        assert_eq!(positions.unread("a"), Some(13), "that is said of another place");
        positions.passed("a", 13, 14);
        positions.passed("a", 13, 15);
        assert_eq!((lag(&positions, 1000), positions.unread("a")), (Some((0, Some(0))), None));
        assert_eq!(positions.undecided(), [("a".to_owned(), 15)].into());
        assert_eq!(positions.progress(), [("a".to_owned(), 13)].into(), "nothing is committed of them");
        assert_eq!(positions.news("a"), Some(News { next: Some(15), is_last: false }), "nor would a group wait there");
        positions.came("a", 16, Some(2000));
        assert_eq!(lag(&positions, 2000), Some((2, Some(0))));
        positions.passed("a", 17, 18);
        assert_eq!(positions.undecided()["a"], 13, "there is a packet before those");
        positions.decided("a", 17);
        assert_eq!((lag(&positions, 2000), positions.undecided()["a"]), (Some((0, Some(0))), 18));
    }

    #[test]
    fn of_an_input_without_packets_is_known_that_nothing_waits() {
        let positions = Positions::default();
        positions.begin("a", None);
        assert_eq!(positions.undecided(), BTreeMap::new());
        positions.begun("a", 0, 0);
        assert_eq!((positions.undecided(), positions.progress()), ([("a".to_owned(), 0)].into(), BTreeMap::new()));
    }

    #[test]
    fn a_reader_that_begins_again_forgets_nothing_that_is_under_way() {
        let positions = Positions::default();
        positions.begun("a", 5, 8);
        (5..8).for_each(|offset| positions.came("a", offset, Some(100)));
        positions.begun("a", 8, 9);
        assert_eq!(lag(&positions, 300), Some((4, Some(200))));
        positions.begun("a", 0, 2);
        assert_eq!(lag(&positions, 300), Some((2, None)), "the topic was made anew");
        assert_eq!(positions.progress(), BTreeMap::new(), "nothing is committed");
    }

    #[test]
    fn progress_is_told_once_and_that_of_an_input_that_is_over_for_the_last_time() {
        let positions = Positions::default();
        let news = |next, is_last| Some(News { next, is_last });
        positions.decided("a", 3);
        assert_eq!(positions.news("a"), None, "it has not begun");
        positions.begin("a", Some(3));
        positions.begun("a", 3, 9);
        assert_eq!(positions.news("a"), news(Some(3), false));
        assert_eq!(positions.news("a"), news(None, false));
        positions.decided("a", 7);
        positions.decided("a", 9);
        positions.over("a");
        assert_eq!((positions.progress(), lag(&positions, 0)), (BTreeMap::new(), None), "it is shown no more");
        assert_eq!(positions.news("a"), news(Some(9), true));
        assert_eq!(positions.news("a"), None);
    }
}
