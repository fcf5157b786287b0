// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers as people read them.

/// A whole number with a separator every three digits.
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with as many decimals as give it three digits; zero needs none.
pub fn short(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    // What is rounded up to the next digit needs a decimal less.
    let decimals = if magnitude < 9.995 {
        2
    } else if magnitude < 99.95 {
        1
    } else {
        0
    };
    let text = format!("{number:.decimals$}");
    if decimals > 0 {
        return text;
    }
    match text.parse::<u64>() {
        Ok(number) => whole(number),
        // Below zero, or too large for a separator to help.
        Err(_) => text,
    }
}

/// A time that was measured in microseconds.
pub fn time(microseconds: f64) -> String {
    scaled(microseconds, &["µs", "ms", "s"], 1000.0)
}

/// A size that was counted in KiB.
pub fn kibibytes(number: f64) -> String {
    scaled(number, &["KiB", "MiB", "GiB"], 1024.0)
}

/// A size that was counted in bytes: in a larger unit only where that says the same.
pub fn bytes(number: u64) -> String {
    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;
    if number > 0 && number.is_multiple_of(MIB) {
        format!("{} MiB", whole(number / MIB))
    } else if number > 0 && number.is_multiple_of(KIB) {
        format!("{} KiB", whole(number / KIB))
    } else {
        format!("{} B", whole(number))
    }
}

/// How many times something is something else.
pub fn times(ratio: f64) -> String {
    format!("{}×", short(ratio))
}

/// A number in the first unit in which it has no more than three digits before the point.
fn scaled(mut number: f64, units: &[&str], step: f64) -> String {
    let mut unit = units.first().copied().unwrap_or_default();
    for next in units.iter().skip(1) {
        if number.abs() < 999.5 {
            break;
        }
        number /= step;
        unit = next;
    }
    format!("{} {unit}", short(number))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn whole_numbers_have_separators() {
        assert_eq!(
            [0, 999, 1000, 14_802, u64::MAX].map(whole),
            ["0", "999", "1,000", "14,802", "18,446,744,073,709,551,615"]
        );
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.5, 9.994, 9.996, 99.94, 99.96, 1_242.9].map(short),
            ["0.50", "9.99", "10.0", "99.9", "100", "1,243"]
        );
    }

    #[test]
    fn times_and_sizes_have_the_unit_that_suits_them() {
        assert_eq!(
            [0.0, 812.4, 7_739.0, 999_700.0, 2_651_095.0, 9e10].map(time),
            ["0 µs", "812 µs", "7.74 ms", "1.00 s", "2.65 s", "90,000 s"]
        );
        assert_eq!(
            [640.0, 12_400.0, 2_097_152.0].map(kibibytes),
            ["640 KiB", "12.1 MiB", "2.00 GiB"]
        );
        assert_eq!(
            [0, 1_000, 65_536, 67_108_864].map(bytes),
            ["0 B", "1,000 B", "64 KiB", "64 MiB"]
        );
    }

    #[test]
    fn what_is_no_number_is_said_and_does_not_panic() {
        assert_eq!(short(f64::NAN), "NaN");
        assert_eq!(time(f64::INFINITY), "inf s");
        assert_eq!(short(-1234.5), "-1234");
    }
}
