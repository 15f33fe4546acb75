//! The places of batches that are under way, which streams share.
//!
//! A batch has its place until it is committed. A stream that floods takes what is free, but for a place for each other stream that has none: who comes
//! with a few alerts need not wait until one of the flood's batches is through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// The places.
#[derive(Debug)]
pub(super) struct Room {
    places: usize,
    taken: Mutex<BTreeMap<Arc<str>, usize>>,
    freed: Notify,
}

/// The place of a batch; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    stream: Arc<str>,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default(), freed: Notify::new() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        self.taken.lock().expect("nobody panics with the places")
    }

    /// How many batches of each stream are under way, where there are any.
    pub(super) fn under_way(&self) -> BTreeMap<Arc<str>, usize> {
        self.taken().clone()
    }

    /// Takes a place, if the stream may have one beside the `streams`, itself included, that have inputs.
    pub(super) fn take<'a>(
        self: &Arc<Self>,
        stream: &Arc<str>,
        streams: impl Iterator<Item = (&'a Arc<str>, u32)>,
    ) -> Option<Place> {
        let mut taken = self.taken();
        if !may_take(self.places, &taken, stream, streams) {
            return None;
        }
        *taken.entry(Arc::clone(stream)).or_default() += 1;
        Some(Place { room: Arc::clone(self), stream: Arc::clone(stream) })
    }

    /// Waits until a place is free that was not.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.entry(Arc::clone(&self.stream)).and_modify(|places| *places -= 1);
        taken.retain(|_, places| *places > 0);
        drop(taken);
        self.room.freed.notify_one();
    }
}

/// Whether a stream may take one of so many places: always within its share by weight, and beyond it as long as there is one left for each
/// stream that has none, of which a quarter of all is enough. Pure.
fn may_take<'a>(
    places: usize,
    taken: &BTreeMap<Arc<str>, usize>,
    stream: &Arc<str>,
    streams: impl Iterator<Item = (&'a Arc<str>, u32)>,
) -> bool {
    let free = places.saturating_sub(taken.values().sum());
    let (mut all, mut own, mut without) = (0, 1, 0);
    for (other, weight) in streams {
        let weight = u64::from(weight);
        all += weight;
        if other == stream {
            own = weight;
        } else if !taken.contains_key(other) {
            without += 1;
        }
    }
    let share = places as u64 * own / all.max(own);
    let is_within = (taken.get(stream).copied().unwrap_or_default() as u64) < share.max(1);
    free > if is_within { 0 } else { without.min(places / 4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of 12 places a stream `a` gets beside these, of which each has so many and that weight.
    fn gets(others: &[(&str, usize, u32)]) -> usize {
        let (room, a) = (Arc::new(Room::new(12)), Arc::<str>::from("a"));
        let streams: Vec<(Arc<str>, u32)> =
            others.iter().map(|(name, _, weight)| (Arc::from(*name), *weight)).collect();
        let all = || streams.iter().map(|(name, weight)| (name, *weight)).chain([(&a, 1)]);
        let mut places = Vec::new();
        for (at, (_, has, _)) in others.iter().enumerate() {
            let took = (0..*has).map(|_| room.take(&streams[at].0, all()).expect("there is room"));
            places.extend(took);
        }
        let before = places.len();
        while let Some(place) = room.take(&a, all()) {
            places.push(place);
        }
        places.len() - before
    }

    #[test]
    fn a_stream_that_floods_takes_all_places_but_one_for_each_stream_that_has_none() {
        assert_eq!(gets(&[]), 12);
        assert_eq!(gets(&[("b", 0, 1)]), 11);
        assert_eq!(gets(&[("b", 1, 1)]), 11);
        assert_eq!(gets(&[("b", 3, 1), ("c", 0, 1)]), 8);
        assert_eq!(
            gets(&[("b", 0, 1), ("c", 0, 1), ("d", 0, 1), ("e", 0, 1), ("f", 0, 1)]),
            9,
            "a quarter is kept free"
        );
        assert_eq!(gets(&[("b", 8, 9), ("c", 0, 1), ("d", 0, 1)]), 2);
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_it_is_dropped() {
        let (room, a) = (Arc::new(Room::new(1)), Arc::<str>::from("a"));
        let take = || room.take(&a, [(&a, 1)].into_iter());
        let place = take().unwrap();
        assert!(take().is_none());
        assert_eq!(room.under_way(), [(Arc::clone(&a), 1)].into());
        drop(place);
        room.freed().await;
        assert!(room.under_way().is_empty());
        assert!(take().is_some());
    }
}
