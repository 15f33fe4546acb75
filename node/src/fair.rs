//! Whose turn it is among streams that share something, by their weights: fair queueing by start times. Pure.
//!
//! Each stream is on a way of its own, on which it goes on by what it is given over its weight; the one that is least far is next. One that has
//! wanted nothing for a while begins where the others are, so that it has saved nothing up.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The way that a unit of cost is for a weight of 1: all numbers up to 16 divide it, so that streams of usual weights come to the same place when
/// they have had the same, and so much that dividing by others loses nothing to speak of.
const UNIT: u128 = 720_720 << 20;

/// How far the streams are.
#[derive(Debug, Default)]
pub struct Fair {
    /// How far the last of those was that wanted something, when something was given last.
    now: u128,
    /// Those that are further than that.
    ahead: BTreeMap<Arc<str>, u128>,
}

impl Fair {
    fn at(&self, stream: &str) -> u128 {
        self.ahead.get(stream).copied().unwrap_or_default().max(self.now)
    }

    /// Whose turn it is among these; between equals, that of the first by name.
    pub fn next<'a>(&self, wanting: impl IntoIterator<Item = &'a Arc<str>>) -> Option<&'a Arc<str>> {
        wanting.into_iter().min_by_key(|stream| (self.at(stream), *stream))
    }

    /// A stream is given so much; `wanting` are those that could have been given it, itself included.
    pub fn give<'a>(
        &mut self,
        stream: &Arc<str>,
        (cost, weight): (usize, u32),
        wanting: impl IntoIterator<Item = &'a Arc<str>>,
    ) {
        let at = self.at(stream);
        self.now = wanting.into_iter().map(|other| self.at(other)).min().unwrap_or(at);
        self.ahead.insert(Arc::clone(stream), at + cost as u128 * UNIT / u128::from(weight.max(1)));
        let now = self.now;
        self.ahead.retain(|_, at| *at > now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> [Arc<str>; 3] {
        ["a", "b", "c"].map(Arc::from)
    }

    #[test]
    fn a_stream_that_was_away_saves_nothing_up_and_need_not_wait() {
        let (mut fair, [a, b, _]) = (Fair::default(), names());
        fair.give(&b, (32, 1), [&b]);
        for _ in 0..1000 {
            fair.give(&a, (32, 1), [&a]);
        }
        let mut turns = Vec::new();
        for _ in 0..6 {
            let next = Arc::clone(fair.next([&a, &b]).unwrap());
            fair.give(&next, (32, 1), [&a, &b]);
            turns.push(next.to_string());
        }
        assert_eq!(turns, ["b", "a", "b", "a", "b", "a"]);
    }

    #[test]
    fn what_one_is_given_out_of_turn_changes_nothing_between_the_others() {
        let (mut fair, [a, b, c]) = (Fair::default(), names());
        let mut given = [0, 0];
        for _ in 0..400 {
            fair.give(&c, (32, 1), [&a, &b, &c]);
            let next = Arc::clone(fair.next([&a, &b]).unwrap());
            let weight = if next == a { 1 } else { 3 };
            given[usize::from(next == b)] += 1;
            fair.give(&next, (32, weight), [&a, &b, &c]);
        }
        assert_eq!(given, [100, 300]);
    }

    proptest! {
        #[test]
        fn streams_that_always_want_are_served_by_their_weights_within_one_batch_whatever_a_third_one_does(
            weights in prop::array::uniform3(1u32..20),
            turns in prop::collection::vec((1usize..=32, any::<bool>()), 1..400),
            before in prop::collection::vec((0usize..3, 1usize..=32), 0..40),
        ) {
            let (mut fair, names) = (Fair::default(), names());
            for (stream, cost) in before {
                fair.give(&names[stream], (cost, weights[stream]), [&names[stream]]);
            }
            let mut given = [0.0; 3];
            for (cost, is_third) in turns {
                let wanting = &names[..if is_third { 3 } else { 2 }];
                let next = fair.next(wanting).unwrap().clone();
                let stream = names.iter().position(|name| *name == next).unwrap();
                fair.give(&next, (cost, weights[stream]), wanting);
                given[stream] += cost as f64 / f64::from(weights[stream]);
                let batch = |stream: usize| 32.0 / f64::from(weights[stream]);
                prop_assert!((given[0] - given[1]).abs() <= batch(0) + batch(1) + 1e-6, "{given:?} of {weights:?}");
            }
        }
    }
}
