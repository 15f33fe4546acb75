//! Random choices, all from one seed.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// The source of a unit's choices.
#[derive(Debug, Clone)]
pub(crate) struct Random(Pcg64);

impl Random {
    /// Of one unit of a run, the same whatever the other units do.
    pub(crate) fn of_unit(seed: u64, unit: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(unit)))
    }

    /// From 0 up to, not with, `end`; 0 where `end` is.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// From one number to another, both included.
    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..=to)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Any bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// One of them.
    ///
    /// # Panics
    /// There is none.
    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len());
        &all[at]
    }

    /// Some of them, in their order.
    pub(crate) fn some<T: Clone>(&mut self, all: &[T], percent: u32) -> Vec<T> {
        all.iter().filter(|_| self.percent(percent)).cloned().collect()
    }
}
