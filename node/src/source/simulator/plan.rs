//! How a number of alerts and nights becomes a schedule: visits a night, alerts a visit, and the number of sources which gives them.

use super::draw::Noise;
use super::photometry::Photometry;
use super::population;
use super::sky::{Instrument, Schedule};
use super::{SimulatedSurvey, SimulatorConfig};

/// So much more than is needed fits into the nights, so that chance does not ask for another one.
const MARGIN: f64 = 1.06;

/// Visits, and alerts of a mean visit.
struct Size {
    visits_a_night: u64,
    passes: u64,
    alerts_a_visit: f64,
    /// Number of the crowded visit and how many times as many alerts it has.
    burst: Option<(i64, f64)>,
}

/// The schedule that gives `config.alerts` alerts in about `config.nights` nights.
pub(super) fn schedule(config: &SimulatorConfig) -> Schedule {
    let nights = u64::from(config.nights.max(1));
    let a_night = config.alerts.div_ceil(nights).max(1);
    let size = match config.survey {
        SimulatedSurvey::Ztf => ztf(a_night),
        SimulatedSurvey::Lsst => lsst(a_night, config.alerts),
    };
    let mut schedule = Schedule {
        seed: config.seed,
        instrument: Instrument::of(config.survey),
        nights,
        fields_a_night: size.visits_a_night.div_ceil(size.passes),
        passes: size.passes,
        sources: 4000,
        burst: None,
        noise: Noise::new(config.seed),
    };
    let share = detected_share(&schedule);
    schedule.sources = ((size.alerts_a_visit / share) as u64).max(40);
    schedule.burst = size.burst;
    if let Some((_, factor)) = &mut schedule.burst {
        // All that the crowded visit has beyond an ordinary one is of the kinds that are always seen.
        let beyond = (*factor - 1.5) * size.alerts_a_visit / 0.995;
        *factor = 1.5 + beyond / schedule.sources as f64;
    }
    schedule
}

/// ZTF: some hundreds of alerts a visit, two visits a field, at most 700 visits a night.
fn ztf(a_night: u64) -> Size {
    let visits = (a_night / 200).clamp(4, 700) & !1;
    Size { visits_a_night: visits, passes: 2, alerts_a_visit: MARGIN * a_night as f64 / visits as f64, burst: None }
}

/// LSST: 10,000 alerts a visit (fewer when there are not even two such visits in a night), one visit of 40,000 when there are ten.
fn lsst(a_night: u64, alerts: u64) -> Size {
    let alerts_a_visit = (a_night as f64 / 4.0).clamp(1.0, 10_000.0);
    let visits = ((MARGIN * a_night as f64 / alerts_a_visit).ceil() as u64).clamp(1, 2000);
    let burst = (alerts >= 100_000).then_some((2, 4.0));
    Size { visits_a_night: visits, passes: if visits >= 100 { 2 } else { 1 }, alerts_a_visit, burst }
}

/// Which part of the source slots raises an alert in a mean visit.
fn detected_share(schedule: &Schedule) -> f64 {
    let (mut seen, mut all) = (0_u32, 0_u32);
    for place in 0..16 {
        let visit = schedule.visit(0, place % schedule.visits_a_night());
        for slot in 0..400 {
            let source = population::source(schedule, &visit, slot);
            let photometry = Photometry::of(&schedule.instrument, &schedule.noise, &source, &visit);
            seen += u32::from(photometry.is_detected());
            all += 1;
        }
    }
    f64::from(seen) / f64::from(all)
}
