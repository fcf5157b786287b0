// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dates of the Gregorian calendar, and seconds since 1970.
//!
//! Spec: the calendar repeats after 400 years; a year counted from March ends with its leap day.

/// A date and time of the Gregorian calendar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Civil {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    /// 1 is Sunday.
    pub(super) week_day: u8,
}

/// Days in the 400 years after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

impl Civil {
    /// The moment `seconds` after 1970-01-01 00:00 UTC.
    ///
    /// Counts years from March, so that the leap day is a year's last.
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        let shifted = days + EPOCH_DAYS;
        let era = shifted.div_euclid(DAYS_PER_ERA);
        let of_era = shifted.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: u16::try_from(year.clamp(0, 9999)).unwrap_or(0),
            month: small(month),
            day: small(of_year - (153 * march_month + 2) / 5 + 1),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
            // 1970-01-01 was a Thursday.
            week_day: small((days + 4).rem_euclid(7) + 1),
        }
    }

    /// The seconds from 1970-01-01 00:00 UTC to this moment.
    pub(super) fn to_seconds(self) -> i64 {
        let month = i64::from(self.month);
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (month + 9) % 12;
        let of_year = (153 * march_month + 2) / 5 + i64::from(self.day) - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * DAYS_PER_ERA + of_era - EPOCH_DAYS;
        let of_day =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * 86_400 + of_day
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn dates_survive_the_way_there_and_back() {
        // Every day from 1600 to 2400, at odd times of day.
        for day in -135_140..157_054i64 {
            let seconds = day * 86_400 + day.rem_euclid(86_400);
            assert_eq!(Civil::from_seconds(seconds).to_seconds(), seconds);
        }
        let leap = Civil::from_seconds(951_782_400);
        assert_eq!(
            (leap.year, leap.month, leap.day, leap.week_day),
            (2000, 2, 29, 3)
        );
    }
}
