//! The proleptic Gregorian calendar over the whole range of BSON dates: days to years, months, weeks, and back.
//!
//! Whole numbers alone: no time zones (they are in `zone`) and no clock.

/// Milliseconds in a day.
pub(crate) const DAY: i64 = 86_400_000;

/// A local date and time, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) millisecond: i64,
    /// Days since 1970-01-01.
    pub(crate) days: i64,
}

impl Civil {
    /// Takes local milliseconds since 1970 apart.
    pub(crate) fn of(local: i128) -> Civil {
        let days = local.div_euclid(i128::from(DAY)) as i64;
        let rest = local.rem_euclid(i128::from(DAY)) as i64;
        let (year, month, day) = date(days);
        let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
        Civil { year, month, day, hour, minute, second, millisecond: rest % 1000, days }
    }

    /// 1 to 366.
    pub(crate) fn day_of_year(&self) -> i64 {
        self.days - days(self.year, 1, 1) + 1
    }

    /// 1 for Sunday to 7.
    pub(crate) fn day_of_week(&self) -> i64 {
        weekday(self.days) + 1
    }

    /// 1 for Monday to 7.
    pub(crate) fn iso_day_of_week(&self) -> i64 {
        (self.days + 3).rem_euclid(7) + 1
    }

    /// Weeks that begin on Sunday; 0 before the year's first Sunday.
    pub(crate) fn week(&self) -> i64 {
        (self.day_of_year() + 6 - weekday(self.days)) / 7
    }

    /// The year and the week of ISO 8601: those of the week's Thursday.
    pub(crate) fn iso_week(&self) -> (i64, i64) {
        let thursday = self.days - self.iso_day_of_week() + 4;
        let year = date(thursday).0;
        (year, (thursday - days(year, 1, 1)) / 7 + 1)
    }

    /// Milliseconds within the day.
    pub(crate) fn time(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * 1000 + self.millisecond
    }
}

/// Days since 1970 of a date. The month may lie outside 1 to 12, the day outside the month.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = (year + (month - 1).div_euclid(12), (month - 1).rem_euclid(12));
    // Howard Hinnant's days-from-civil: years that begin in March.
    let year = if month < 2 { year - 1 } else { year };
    let shifted = (month + 10) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of so many days since 1970.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The Monday of the first week of an ISO year.
pub(crate) fn iso_year(year: i64) -> i64 {
    let fourth = days(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7)
}

/// 0 for Sunday to 6.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// How many days the month has.
pub(crate) fn month_length(year: i64, month: i64) -> i64 {
    days(year, month + 1, 1) - days(year, month, 1)
}
