//! Times as people write them: a date and time in UTC, or how long ago; and how they are shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boom_plan::orders::Start;

/// Unix milliseconds, now.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A time: `2026-11-25`, `2026-11-25T03:00:00Z`, or how long ago: `90s`, `15m`, `2h`, `3d`. In Unix milliseconds.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    at(text, now())
}

/// Where to begin: `earliest`, `latest`, or a time.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        time => parse(time).map(Start::At).map_err(|error| format!("{error}, `earliest` or `latest`")),
    }
}

fn at(text: &str, now: u64) -> Result<u64, String> {
    let long = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    if let Ok(time) = bson::DateTime::parse_rfc3339_str(&long) {
        return u64::try_from(time.timestamp_millis()).map_err(|_| "that is before 1970".to_owned());
    }
    let unit = |letter| match letter {
        's' => Some(1_000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(86_400_000u64),
        _ => None,
    };
    let ago = text.chars().last().and_then(unit).and_then(|unit| {
        let number: u64 = text[..text.len() - 1].parse().ok()?;
        number.checked_mul(unit)
    });
    let ago = ago.ok_or("write a time as 2026-11-25 or 2026-11-25T03:00:00Z, or how long ago as 90s, 15m, 2h, 3d")?;
    Ok(now.saturating_sub(ago))
}

/// A time, UTC, to the second.
pub(crate) fn civil(unix_ms: u64) -> String {
    let time = bson::DateTime::from_millis(i64::try_from(unix_ms / 1000 * 1000).unwrap_or(i64::MAX));
    time.try_to_rfc3339_string().map_or_else(|_| unix_ms.to_string(), |text| text.replace('T', " ").replace('Z', ""))
}

/// A time of Kafka, which may be none.
pub(crate) fn stamp(unix_ms: Option<i64>) -> String {
    unix_ms.and_then(|time| u64::try_from(time).ok()).map_or_else(|| "-".to_owned(), civil)
}

/// A duration in one or two units.
pub(crate) fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        assert_eq!(at("1970-01-02", 0), Ok(86_400_000));
        assert_eq!(at("1970-01-01T00:00:01.5Z", 0), Ok(1_500));
        assert_eq!(
            ["10s", "1m", "1h", "0d"].map(|text| at(text, 3_600_000).unwrap()),
            [3_590_000, 3_540_000, 0, 3_600_000]
        );
        for wrong in ["", "yesterday", "s", "5", "5y", "1é", "1969-12-31"] {
            assert!(at(wrong, 0).is_err(), "{wrong}");
        }
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert!(start("late").unwrap_err().ends_with("`earliest` or `latest`"));
    }

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(civil(86_400_999), "1970-01-02 00:00:00");
        let long = [1, 59, 600, 9_000, 200_000].map(|seconds| long(Duration::from_secs(seconds)));
        assert_eq!(long, ["1.0 s", "59 s", "10 min", "2 h 30 min", "2 d 7 h"]);
    }
}
