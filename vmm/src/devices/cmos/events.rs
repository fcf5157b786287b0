// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a clock has something to say: at each period, each second, and at its alarm.
//!
//! Spec: Motorola MC146818A data sheet, "Periodic interrupt selection" and "Alarm bytes". Pure.

use std::time::Duration;

const DAY: u32 = 86_400;

/// The periods that a rate stands for, by a time base of 32,768 Hz; rate 0 is none. Gives ticks of
/// the time base.
pub(super) fn period(rate: u8) -> Option<u64> {
    match rate & 0xf {
        0 => None,
        // 256 Hz and 128 Hz, which rates 8 and 9 mean, too.
        low @ 1..=2 => Some(1 << (low + 6)),
        rate => Some(1 << (rate - 1)),
    }
}

/// Ticks of the time base at `time`.
fn ticks(time: Duration) -> u128 {
    (time.as_nanos() << 15) / 1_000_000_000
}

/// How many of these periods have ended at `time`.
pub(super) fn periods(period: u64, time: Duration) -> u128 {
    ticks(time) / u128::from(period)
}

/// How long after `time` the next of these periods ends.
pub(super) fn until_period(period: u64, time: Duration) -> Duration {
    let next = (periods(period, time) + 1) * u128::from(period);
    let nanoseconds = (next * 1_000_000_000).div_ceil(1 << 15) - time.as_nanos();
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Which seconds of which minutes of which hours an alarm means, a bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Alarm {
    pub(super) hours: u64,
    pub(super) minutes: u64,
    pub(super) seconds: u64,
}

impl Alarm {
    /// Seconds from second `now` of a day to the next that is meant, 1 to a whole day, if any is.
    pub(super) fn after(&self, now: u32) -> Option<u32> {
        if self.hours == 0 || self.minutes == 0 || self.seconds == 0 {
            return None;
        }
        let has = |set: u64, number: u32| set >> number & 1 != 0;
        let this_hour = now / 3600;
        let hours = (0..=24).filter(|ahead| has(self.hours, (this_hour + ahead) % 24));
        hours
            .flat_map(|ahead| (0..60).map(move |minute| (ahead, minute)))
            .filter(|(_, minute)| has(self.minutes, *minute))
            .flat_map(|(ahead, minute)| (0..60).map(move |second| (ahead, minute, second)))
            .filter(|(.., second)| has(self.seconds, *second))
            .map(|(ahead, minute, second)| ahead * 3600 + minute * 60 + second)
            .find_map(|from_hour| from_hour.checked_sub(now % 3600).filter(|it| *it > 0))
            .filter(|seconds| *seconds <= DAY)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rates_are_those_of_the_data_sheet() {
        let hertz = |rate| period(rate).map(|period| 32_768 / period);
        assert_eq!(hertz(0), None);
        assert_eq!(
            (hertz(1), hertz(2), hertz(3)),
            (Some(256), Some(128), Some(8192))
        );
        assert_eq!((hertz(6), hertz(15)), (Some(1024), Some(2)));
    }

    #[test]
    fn a_period_ends_when_it_is_said_to() {
        for rate in 1..16 {
            let period = period(rate).unwrap();
            for start in [0, 1, 999_999_999, 1_795_204_091_123_456_789] {
                let start = Duration::from_nanos(start);
                let after = until_period(period, start);
                let count = |time| periods(period, time);
                assert!(after > Duration::ZERO);
                assert_eq!(count(start + after), count(start) + 1);
                assert_eq!(count(start + after - Duration::from_nanos(1)), count(start));
            }
        }
    }

    #[test]
    fn an_alarm_is_found_however_far_it_is() {
        let all = u64::MAX;
        let at = |hours, minutes, seconds| Alarm {
            hours,
            minutes,
            seconds,
        };
        let noon = 12 * 3600;
        let once = at(1 << 12, 1 << 30, 1 << 15);
        assert_eq!(once.after(noon), Some(1815));
        assert_eq!(once.after(noon + 1815), Some(DAY));
        assert_eq!(once.after(noon + 1816), Some(DAY - 1));
        assert_eq!(at(all, all, all).after(DAY - 1), Some(1));
        assert_eq!(at(all, all, 1 << 5).after(noon + 5), Some(60));
        assert_eq!(at(all, 1, 1).after(noon + 1), Some(3599));
        assert_eq!(at(1, all, all).after(noon), Some(noon));
        assert_eq!(at(0, all, all).after(noon), None);
        assert_eq!(at(all, 0, all).after(noon), None);
        assert_eq!(at(all, all, 0).after(noon), None);
    }
}
