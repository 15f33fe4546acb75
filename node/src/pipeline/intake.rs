//! The entrance of a pipeline: each stream has a channel of its own, and batches are made of what is in them, each of one stream.
//!
//! Whose packets are the next batch is decided here, right before it begins, by the streams' weights: nothing waits behind that decision but what
//! is under way. Little waits before it either, a batch or so of each stream; a stream that is not taken from waits at its source.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::item::Item;
use super::room::{Place, Room};
use super::{Begin, End};
use crate::fair::Fair;
use crate::shares::Shares;
use crate::source::Packet;

/// Packets wait for company at most so many times as long as those of one stream alone: many streams shall not make each of them late.
const WAITS: usize = 4;

/// Where streams come in. The pipeline ends when this is gone and all that it has opened.
#[derive(Debug, Clone)]
pub struct Entrance {
    inlets: mpsc::UnboundedSender<(Arc<str>, mpsc::Receiver<Item>)>,
    capacity: usize,
}

/// The other side of an entrance, for the pipeline.
#[derive(Debug)]
pub struct Intake {
    /// As many as there are streams.
    opened: mpsc::UnboundedReceiver<(Arc<str>, mpsc::Receiver<Item>)>,
    inlets: Vec<Inlet>,
    fair: Fair,
    is_closed: bool,
}

/// An entrance; so many items of each stream may wait in it.
pub fn entrance(capacity: usize) -> (Entrance, Intake) {
    let (inlets, opened) = mpsc::unbounded_channel();
    (Entrance { inlets, capacity }, Intake { opened, inlets: Vec::new(), fair: Fair::default(), is_closed: false })
}

impl Entrance {
    /// Another stream. Packets of one input come in at one place, and orders about it too.
    pub fn open(&self, stream: &str) -> mpsc::Sender<Item> {
        let (sender, items) = mpsc::channel(self.capacity);
        // A pipeline that has ended takes nothing.
        let _ = self.inlets.send((Arc::from(stream), items));
        sender
    }
}

/// How batches are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) batch: usize,
    pub(super) wait: Duration,
    pub(super) shares: &'a Shares,
}

/// What is next.
pub(super) enum Next {
    Batch(Arc<str>, Vec<Packet>, Place),
    Begin(Arc<str>, Begin),
    End(Arc<str>, End),
}

/// A stream at the entrance.
#[derive(Debug)]
struct Inlet {
    stream: Arc<str>,
    items: mpsc::Receiver<Item>,
    is_open: bool,
    inputs: Inputs,
    /// What came and is not taken.
    parts: VecDeque<Part>,
    /// Packets in it.
    packets: usize,
}

/// What stands between two orders, with the time at which the first came; or an order.
#[derive(Debug)]
enum Part {
    Packets(Vec<Packet>, Instant),
    Begin(Begin),
    End(End),
}

/// Which assignment of each input counts. An input that nobody has begun counts in any case.
#[derive(Debug, Default)]
struct Inputs(HashMap<Arc<str>, Option<u64>>);

impl Intake {
    /// The next batch or order, as soon as there is one that may be next; `None` at the end.
    pub(super) async fn next(&mut self, room: &Arc<Room>, making: Making<'_>) -> Option<Next> {
        loop {
            std::future::poll_fn(|cx| {
                self.take_in(cx, making.batch);
                Poll::Ready(())
            })
            .await;
            let due = match self.pick(room, making) {
                Ok(next) => return Some(next),
                Err(due) => due,
            };
            if self.is_closed && self.inlets.is_empty() {
                return None;
            }
            let came = std::future::poll_fn(|cx| match self.take_in(cx, making.batch) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            tokio::select! {
                () = came => {}
                () = room.freed() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Takes in what is there, no more than a batch of a stream; gives whether something has changed.
    fn take_in(&mut self, cx: &mut Context<'_>, batch: usize) -> bool {
        let mut is_new = false;
        while !self.is_closed {
            match self.opened.poll_recv(cx) {
                Poll::Ready(Some((stream, items))) => self.inlets.push(Inlet::new(stream, items)),
                Poll::Ready(None) => self.is_closed = true,
                Poll::Pending => break,
            }
            is_new = true;
        }
        for inlet in &mut self.inlets {
            is_new |= inlet.take_in(cx, batch);
        }
        let before = self.inlets.len();
        self.inlets.retain(|inlet| inlet.is_open || !inlet.parts.is_empty());
        is_new || self.inlets.len() < before
    }

    /// What is next; or when there is something that may be, if no more comes before.
    fn pick(&mut self, room: &Arc<Room>, making: Making<'_>) -> Result<Next, Option<Instant>> {
        if let Some(order) = self.inlets.iter_mut().find_map(Inlet::order) {
            return Ok(order);
        }
        let under_way = room.under_way();
        let is_busy = |inlet: &&Inlet| inlet.packets > 0 || under_way.contains_key(&inlet.stream);
        // All of them together begin no more batches than one alone: a batch costs the same rounds to the store, however small it is.
        let streams = self.inlets.iter().filter(is_busy).count().min(WAITS);
        let wait = if under_way.is_empty() { Duration::ZERO } else { making.wait * streams as u32 };
        let (now, mut due) = (Instant::now(), None);
        let mut wanting: Vec<usize> = Vec::new();
        for (at, inlet) in self.inlets.iter().enumerate() {
            match inlet.due(making.batch, wait) {
                Some(at_last) if at_last > now => due = Some(due.map_or(at_last, |due: Instant| due.min(at_last))),
                Some(_) => wanting.push(at),
                None => {}
            }
        }
        let weight = |inlet: &Inlet| making.shares.weight(&inlet.stream);
        while !wanting.is_empty() {
            let streams = |among: &[usize]| among.iter().map(|at| &self.inlets[*at].stream).collect::<Vec<_>>();
            let next = Arc::clone(self.fair.next(streams(&wanting)).expect("somebody wants"));
            let with_inputs = self.inlets.iter().filter(|inlet| inlet.has_inputs() || inlet.stream == next);
            let Some(place) = room.take(&next, with_inputs.map(|inlet| (&inlet.stream, weight(inlet)))) else {
                wanting.retain(|at| self.inlets[*at].stream != next);
                continue;
            };
            let at = *wanting.iter().find(|at| self.inlets[**at].stream == next).expect("it is one of them");
            let weight = weight(&self.inlets[at]);
            let wanting: Vec<Arc<str>> = streams(&wanting).into_iter().cloned().collect();
            let packets = self.inlets[at].take();
            self.fair.give(&next, (packets.len(), weight), &wanting);
            return Ok(Next::Batch(next, packets, place));
        }
        Err(due)
    }
}

impl Inlet {
    fn new(stream: Arc<str>, items: mpsc::Receiver<Item>) -> Self {
        let (inputs, parts, packets) = Default::default();
        Self { stream, items, is_open: true, inputs, parts, packets }
    }

    /// Whether packets may come at any time.
    fn has_inputs(&self) -> bool {
        self.packets > 0 || self.inputs.0.values().any(Option::is_some)
    }

    fn take_in(&mut self, cx: &mut Context<'_>, batch: usize) -> bool {
        let (mut came, mut is_new) = (Vec::new(), false);
        while self.is_open && self.packets < batch {
            match self.items.poll_recv_many(cx, &mut came, batch - self.packets) {
                Poll::Ready(0) => self.is_open = false,
                Poll::Ready(_) => came.drain(..).for_each(|item| self.put(item)),
                Poll::Pending => break,
            }
            is_new = true;
        }
        is_new
    }

    /// Puts packets together that no order divides, and leaves out those of a former assignment.
    fn put(&mut self, item: Item) {
        match item {
            Item::Packet(packet) => {
                let known = self.inputs.0.get(&packet.source);
                if known.is_some_and(|current| *current != Some(packet.assignment)) {
                    return;
                }
                self.packets += 1;
                match self.parts.back_mut() {
                    Some(Part::Packets(packets, _)) => packets.push(packet),
                    _ => self.parts.push_back(Part::Packets(vec![packet], Instant::now())),
                }
            }
            Item::Begin(begin) => {
                self.inputs.0.insert(Arc::clone(&begin.source), Some(begin.assignment));
                self.parts.push_back(Part::Begin(begin));
            }
            Item::End(end) => {
                self.inputs.0.insert(Arc::clone(&end.source), None);
                self.parts.push_back(Part::End(end));
            }
        }
    }

    /// The order that is next, if one is.
    fn order(&mut self) -> Option<Next> {
        let order = self.parts.pop_front_if(|part| !matches!(part, Part::Packets(..)))?;
        let stream = Arc::clone(&self.stream);
        match order {
            Part::Begin(begin) => Some(Next::Begin(stream, begin)),
            Part::End(end) => Some(Next::End(stream, end)),
            Part::Packets(..) => None,
        }
    }

    /// When the packets that are next should go, if some are: those that come within `wait` travel with them.
    fn due(&self, batch: usize, wait: Duration) -> Option<Instant> {
        match self.parts.front() {
            Some(Part::Packets(packets, since)) => {
                let is_whole = packets.len() >= batch || self.parts.len() > 1 || !self.is_open;
                Some(if is_whole { *since } else { *since + wait })
            }
            _ => None,
        }
    }

    /// The packets that are next.
    fn take(&mut self) -> Vec<Packet> {
        match self.parts.pop_front() {
            Some(Part::Packets(packets, _)) => {
                self.packets -= packets.len();
                packets
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use boom_client::progress::Counts;
    use boom_plan::share::{StreamShare, WEIGHT};
    use tokio::sync::oneshot;

    use super::*;

    const BATCH: usize = 4;
    const WAIT: Duration = Duration::from_millis(40);

    /// A pipeline's entrance, and the batches that are under way.
    struct Pipeline {
        entrance: Entrance,
        intake: Intake,
        room: Arc<Room>,
        shares: Shares,
    }

    impl Pipeline {
        fn new(places: usize) -> Self {
            let (entrance, intake) = entrance(100);
            Self { entrance, intake, room: Arc::new(Room::new(places)), shares: Shares::default() }
        }

        async fn next(&mut self) -> Option<Next> {
            let making = Making { batch: BATCH, wait: WAIT, shares: &self.shares };
            self.intake.next(&self.room, making).await
        }

        /// The next batch: its packets, as their stream and offsets, and its place.
        async fn batch(&mut self) -> (String, Place) {
            match self.next().await {
                Some(Next::Batch(stream, packets, place)) => {
                    let streams: Vec<&str> = packets.iter().map(|packet| &*packet.source).collect();
                    assert!(streams.iter().all(|source| **source == *stream), "of one stream: {streams:?}");
                    let offsets: Vec<String> = packets.iter().map(|packet| packet.offset.to_string()).collect();
                    (format!("{stream} {}", offsets.join(",")), place)
                }
                _ => panic!("no batch"),
            }
        }
    }

    fn packet(source: &str, offset: u64) -> Item {
        let (source, name, bytes) = (source.into(), String::new(), Vec::new());
        Packet { source, assignment: 1, offset, name, timestamp: None, bytes, retry_of: None, fault: None }.into()
    }

    fn send(to: &mpsc::Sender<Item>, source: &str, offsets: std::ops::Range<u64>) {
        offsets.for_each(|offset| to.try_send(packet(source, offset)).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_of_one_stream_and_begin_by_weight_however_much_waits_of_a_stream() {
        let mut pipeline = Pipeline::new(12);
        let [a, b] = ["a", "b"].map(|stream| pipeline.entrance.open(stream));
        pipeline
            .shares
            .set([("b".parse().unwrap(), StreamShare { weight: 2 * WEIGHT, ..StreamShare::default() })].into());
        send(&a, "a", 0..40);
        let mut begun = vec![pipeline.batch().await.0, pipeline.batch().await.0];
        send(&b, "b", 0..16);
        for _ in 0..5 {
            begun.push(pipeline.batch().await.0);
        }
        let expected =
            ["a 0,1,2,3", "a 4,5,6,7", "b 0,1,2,3", "b 4,5,6,7", "a 8,9,10,11", "b 8,9,10,11", "b 12,13,14,15"];
        assert_eq!(begun, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn packets_wait_for_company_while_batches_are_under_way_and_twice_as_long_beside_another_stream() {
        let mut pipeline = Pipeline::new(12);
        let [a, b] = ["a", "b"].map(|stream| pipeline.entrance.open(stream));
        let began = Instant::now();
        send(&a, "a", 0..1);
        let first = pipeline.batch().await;
        assert_eq!((first.0.as_str(), began.elapsed()), ("a 0", Duration::ZERO), "there is nothing to wait for");
        send(&a, "a", 1..2);
        let second = pipeline.batch().await;
        assert_eq!((second.0.as_str(), began.elapsed()), ("a 1", WAIT));
        send(&b, "b", 0..1);
        assert!(tokio::time::timeout(WAIT, pipeline.next()).await.is_err(), "others may come");
        send(&b, "b", 1..2);
        let third = pipeline.batch().await;
        assert_eq!((third.0.as_str(), began.elapsed()), ("b 0,1", WAIT * 3));
        send(&b, "b", 2..6);
        let whole = pipeline.batch().await;
        assert_eq!((whole.0.as_str(), began.elapsed()), ("b 2,3,4,5", WAIT * 3), "a whole batch waits for nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_taken_its_places_keeps_no_other_one_waiting() {
        let mut pipeline = Pipeline::new(4);
        let [a, b] = ["a", "b"].map(|stream| pipeline.entrance.open(stream));
        let begin = |source: &str| {
            Item::Begin(Begin { source: source.into(), assignment: 1, decided: None, counts: Counts::default() })
        };
        b.try_send(begin("b")).unwrap();
        assert!(matches!(pipeline.next().await, Some(Next::Begin(..))));
        send(&a, "a", 0..40);
        let places = [pipeline.batch().await.1, pipeline.batch().await.1, pipeline.batch().await.1];
        let waited = tokio::time::timeout(Duration::from_secs(60), pipeline.next()).await;
        assert!(waited.is_err(), "the last place is kept for a stream that has none");
        send(&b, "b", 0..4);
        assert_eq!(pipeline.batch().await.0, "b 0,1,2,3");
        drop(places);
        assert_eq!(pipeline.batch().await.0, "a 12,13,14,15");
    }

    #[tokio::test(start_paused = true)]
    async fn orders_keep_their_place_among_the_packets_of_their_stream_and_a_former_assignment_gives_nothing() {
        let mut pipeline = Pipeline::new(12);
        let a = pipeline.entrance.open("a");
        send(&a, "a", 0..2);
        let end = End { source: "a".into(), done: oneshot::channel().0 };
        a.try_send(Item::End(end)).unwrap();
        send(&a, "a", 2..3);
        a.try_send(Item::Begin(Begin { source: "a".into(), assignment: 1, decided: None, counts: Counts::default() }))
            .unwrap();
        send(&a, "a", 7..9);
        drop((a, std::mem::replace(&mut pipeline.entrance, entrance(1).0)));
        assert_eq!(pipeline.batch().await.0, "a 0,1");
        assert!(matches!(pipeline.next().await, Some(Next::End(..))));
        assert!(matches!(pipeline.next().await, Some(Next::Begin(..))));
        assert_eq!(pipeline.batch().await.0, "a 7,8");
        assert!(pipeline.next().await.is_none(), "the entrance is closed");
    }
}
