//! Randomness without state: every number of the simulated sky is a hash of the seed and of what it is about, so that any light-curve
//! point can be computed again, in any packet, with the same value. No generator that has to be advanced, no clock, no platform maths
//! (`libm` gives the same bits on every machine).

/// Mixes `tag` into `seed`: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
pub(super) fn mix(seed: u64, tag: u64) -> u64 {
    let mut z = seed ^ tag.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The uniform number in [0, 1) that a hash stands for.
pub(super) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A short sequence of draws about one thing.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    seed: u64,
    count: u64,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.count += 1;
        mix(self.seed, self.count)
    }

    pub(super) fn uniform(&mut self) -> f64 {
        unit(self.bits())
    }

    pub(super) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in the logarithm.
    pub(super) fn log_range(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.range(libm::log(low), libm::log(high)))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub(super) fn below(&mut self, count: u64) -> u64 {
        self.bits() % count
    }

    /// A standard normal deviate (Box and Muller 1958).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }
}

/// Length of the noise table; a power of two.
const TABLE: usize = 1 << 17;

/// Standard normal deviates, drawn once: single ones for the photometry, long runs of them for the pixels of a stamp.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    deviates: Box<[f32]>,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        let mut draws = Draws::new(mix(seed, 0x6e6f_6973_6531));
        Self { deviates: (0..TABLE).map(|_| draws.normal() as f32).collect() }
    }

    /// The deviate that belongs to a hash.
    pub(super) fn normal(&self, hash: u64) -> f64 {
        f64::from(self.deviates[(hash >> 40) as usize % TABLE])
    }

    /// `length` consecutive deviates starting where the hash says.
    pub(super) fn run(&self, hash: u64, length: usize) -> &[f32] {
        let start = (hash >> 20) as usize % (TABLE - length);
        &self.deviates[start..start + length]
    }
}
