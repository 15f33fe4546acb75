//! Where and when the simulated telescope looks: fields, nights, visits with their depth and seeing. A visit is a pure function of the
//! seed and of its place in the schedule. Nothing here knows of sources or packets.

use super::SimulatedSurvey;
use super::draw::{Draws, Noise, mix};

/// Nights before the first simulated one that light curves reach back to.
pub(super) const HISTORY_NIGHTS: i64 = 30;

/// Bands are numbered u g r i z y, for both surveys.
pub(super) const BANDS: [&str; 6] = ["u", "g", "r", "i", "z", "y"];

/// What distinguishes the two surveys as instruments.
#[derive(Debug, Clone)]
pub(super) struct Instrument {
    /// Arcsec per pixel.
    pub(super) pixel: f64,
    /// Magnitude of one flux unit of the stamps and of the photometry (ZTF: DN, varies by visit; LSST: nanojansky).
    pub(super) zero_point: f64,
    /// Electrons per flux unit.
    pub(super) gain: f64,
    /// Five-sigma limit of a visit for each band.
    pub(super) limits: [f64; 6],
    /// Median seeing, FWHM in arcsec.
    pub(super) seeing: f64,
    /// Mean sky level in flux units; LSST's images are sky-subtracted.
    pub(super) sky: f64,
    /// How much fainter its sources are than ZTF's, magnitudes.
    pub(super) deeper: f64,
    /// Declination range in which fields lie, degrees.
    pub(super) declinations: (f64, f64),
    /// Half the size of a field, degrees.
    pub(super) field_radius: f64,
    /// Start of night 0, UTC Julian date.
    pub(super) first_night: f64,
    /// Days from one visit to the next.
    pub(super) slot: f64,
    /// Fields between the first and the second visit of a pair.
    pub(super) block: u64,
    /// Least time between the two visits of a pair, days.
    pub(super) pair_gap: f64,
    /// A field is visited every so many nights.
    pub(super) revisit: i64,
    /// Band pairs that the nights go through.
    pub(super) pairs: &'static [(usize, usize)],
    /// Scatter of the number of sources of a visit, relative.
    pub(super) crowding_scatter: f64,
}

impl Instrument {
    pub(super) fn of(survey: SimulatedSurvey) -> Self {
        match survey {
            SimulatedSurvey::Ztf => Self {
                pixel: 1.012,
                zero_point: 26.2,
                gain: 6.2,
                limits: [19.5, 20.7, 20.5, 20.0, 19.5, 19.0],
                seeing: 2.1,
                sky: 140.0,
                deeper: 0.0,
                declinations: (-28.0, 78.0),
                field_radius: 3.3,
                first_night: 2_461_101.63,
                slot: 40.0 / 86_400.0,
                block: 60,
                pair_gap: 0.025,
                revisit: 2,
                pairs: &[(1, 2), (2, 1), (1, 2), (2, 3), (2, 1)],
                crowding_scatter: 0.2,
            },
            SimulatedSurvey::Lsst => Self {
                pixel: 0.2,
                zero_point: 31.4,
                gain: 1.5,
                limits: [23.7, 24.5, 24.1, 23.5, 22.8, 22.0],
                seeing: 0.8,
                sky: 0.0,
                deeper: 3.6,
                declinations: (-75.0, 10.0),
                field_radius: 1.7,
                first_night: 2_461_101.53,
                slot: 39.0 / 86_400.0,
                block: 50,
                pair_gap: 0.0,
                revisit: 3,
                pairs: &[(1, 2), (2, 3), (3, 4), (0, 1), (2, 4), (4, 5)],
                crowding_scatter: 0.12,
            },
        }
    }
}

/// 10^(-0.4 (magnitude - zero_point)).
pub(super) fn flux_of(magnitude: f64, zero_point: f64) -> f64 {
    libm::exp(-0.4 * std::f64::consts::LN_10 * (magnitude - zero_point))
}

/// zero_point - 2.5 log10 |flux|.
pub(super) fn magnitude_of(flux: f64, zero_point: f64) -> f64 {
    zero_point - 2.5 * libm::log10(flux.abs())
}

/// One exposure of one field.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    /// Unique, rising with time within the simulated nights; negative before them.
    pub(super) serial: i64,
    pub(super) night: i64,
    /// Place in its night.
    pub(super) slot: u64,
    pub(super) field: u64,
    pub(super) band: usize,
    /// UTC Julian date.
    pub(super) jd: f64,
    pub(super) zero_point: f64,
    /// Five-sigma limiting magnitude.
    pub(super) limit: f64,
    /// Error of the flux of a faint source.
    pub(super) faint_error: f64,
    /// Seeing: sigma of the PSF in pixels.
    pub(super) psf: f64,
    pub(super) sky: f64,
    /// Noise of a pixel of empty sky.
    pub(super) sky_noise: f64,
    /// How many source slots of the field it looks at.
    pub(super) sources: u64,
    /// Number that the draws about this visit start from.
    pub(super) seed: u64,
}

/// How many fields, visits and sources: chosen once so that the nights give the alerts that were asked for.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) instrument: Instrument,
    /// Nights that were asked for.
    pub(super) nights: u64,
    /// Fields that are visited in one night.
    pub(super) fields_a_night: u64,
    /// Visits to a field in a night: 1 or 2.
    pub(super) passes: u64,
    /// Mean number of source slots of a visit.
    pub(super) sources: u64,
    /// Serial and factor of the one crowded visit.
    pub(super) burst: Option<(i64, f64)>,
    /// Deviates for depth and seeing.
    pub(super) noise: Noise,
}

impl Schedule {
    pub(super) fn fields(&self) -> u64 {
        self.fields_a_night * self.instrument.revisit as u64
    }

    pub(super) fn visits_a_night(&self) -> u64 {
        self.fields_a_night * self.passes
    }

    /// Most source slots that any ordinary visit of a field looks at.
    pub(super) fn most_sources(&self) -> u64 {
        self.sources + self.sources / 2
    }

    /// Centre of a field: right ascension and declination in degrees.
    pub(super) fn centre(&self, field: u64) -> (f64, f64) {
        let mut draws = Draws::new(mix(mix(self.seed, 0x6669_656c_6431), field));
        let (low, high) = self.instrument.declinations;
        let sines = (libm::sin(low.to_radians()), libm::sin(high.to_radians()));
        (draws.range(0.0, 360.0), libm::asin(draws.range(sines.0, sines.1)).to_degrees())
    }

    /// The visit at place `slot` of `night` (negative nights are history).
    pub(super) fn visit(&self, night: i64, slot: u64) -> Visit {
        let instrument = &self.instrument;
        let block = slot / (instrument.block * self.passes);
        let in_block = slot % (instrument.block * self.passes);
        let fields = instrument.block.min(self.fields_a_night - block * instrument.block);
        let (pass, place) = (in_block / fields, in_block % fields);
        let field =
            night.rem_euclid(instrument.revisit) as u64 * self.fields_a_night + block * instrument.block + place;
        let serial = night * self.visits_a_night() as i64 + slot as i64;
        let mut draws = Draws::new(mix(mix(self.seed, 0x7669_7369_7431), serial as u64));
        let offset = (block * instrument.block * self.passes + place) as f64 * instrument.slot
            + pass as f64 * (fields as f64 * instrument.slot).max(instrument.pair_gap);
        let jitter = draws.range(-0.05, 0.05) * instrument.slot;
        let pair =
            instrument.pairs[(mix(self.seed, (night as u64) << 8 | block) % instrument.pairs.len() as u64) as usize];
        let band = if pass == 0 { pair.0 } else { pair.1 };
        let jd = instrument.first_night + night as f64 + offset + jitter;
        let conditions = self.conditions(band, draws);
        let sources = self.sources as f64 * self.crowding(serial, conditions.seed);
        Visit { serial, night, slot, field, jd, sources: (sources as u64).max(1), ..conditions }
    }

    /// How many times as many sources as the mean visit this one has.
    fn crowding(&self, serial: i64, seed: u64) -> f64 {
        match self.burst {
            Some((burst, factor)) if burst == serial => factor,
            _ => 1.0 + self.instrument.crowding_scatter * self.noise.normal(mix(seed, 1)).clamp(-2.4, 2.4),
        }
    }

    /// A visit's depth and seeing, without its place and time.
    fn conditions(&self, band: usize, mut draws: Draws) -> Visit {
        let instrument = &self.instrument;
        let seeing = instrument.seeing * libm::exp(0.12 * self.noise.normal(draws.bits()));
        let psf = seeing / 2.3548 / instrument.pixel;
        let zero_point = instrument.zero_point
            + if instrument.sky > 0.0 { 0.05 * self.noise.normal(draws.bits()).clamp(-3.0, 3.0) } else { 0.0 };
        let limit = instrument.limits[band] + 0.2 * self.noise.normal(draws.bits()).clamp(-2.5, 2.0);
        let faint_error = flux_of(limit, zero_point) / 5.0;
        Visit {
            serial: 0,
            night: 0,
            slot: 0,
            field: 0,
            band,
            jd: 0.0,
            zero_point,
            limit,
            faint_error,
            psf,
            sky: instrument.sky * draws.range(0.6, 1.6),
            sky_noise: faint_error / (psf * 3.545 * 1.35),
            sources: 0,
            seed: draws.bits(),
        }
    }

    /// Every visit to the field of `visit` before it, oldest first.
    pub(super) fn history(&self, visit: &Visit) -> Vec<Visit> {
        let place = visit.field % self.fields_a_night;
        let (block, place) = (place / self.instrument.block, place % self.instrument.block);
        let fields = self.instrument.block.min(self.fields_a_night - block * self.instrument.block);
        let first = block * self.instrument.block * self.passes + place;
        let mut visits = Vec::new();
        for night in -HISTORY_NIGHTS..=visit.night {
            if night.rem_euclid(self.instrument.revisit) != visit.night.rem_euclid(self.instrument.revisit) {
                continue;
            }
            for pass in 0..self.passes {
                let earlier = self.visit(night, first + pass * fields);
                debug_assert_eq!(earlier.field, visit.field);
                if earlier.jd < visit.jd {
                    visits.push(earlier);
                }
            }
        }
        visits
    }
}
