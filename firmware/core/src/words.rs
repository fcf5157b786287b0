// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sentences in few bytes of ROM.
//!
//! `core::fmt` pads, aligns, counts characters and knows every width of number: 5 KiB of an image
//! of 48. What this firmware says are texts with numbers in them, decimal (`%`) or hexadecimal
//! (`#`).

use core::fmt;
use zerocopy::little_endian::{U16, U32, U64};

/// Where words go.
pub trait Sink {
    /// Takes the next words, in UTF-8.
    fn bytes(&mut self, bytes: &[u8]);

    /// Takes the next words.
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// What can be said.
pub trait Words {
    /// Says it.
    fn say(&self, to: &mut dyn Sink);
}

impl Words for &str {
    fn say(&self, to: &mut dyn Sink) {
        to.text(self);
    }
}

/// A number without a sign.
pub trait Number {
    /// Its value.
    fn value(&self) -> u64;
}

/// Says a text with numbers: `say!(sink, "expected % bytes at #", size, addr)`.
#[macro_export]
macro_rules! say {
    ($to:expr, $text:literal $(, $number:expr)+ $(,)?) => {{
        const NUMBERS: usize = [$(stringify!($number)),+].len();
        const { assert!($crate::words::places($text) == NUMBERS) };
        $crate::words::sentence($to, $text, &[$($crate::words::Number::value(&$number)),+])
    }};
}
pub use say;

/// How many numbers belong into a text.
#[must_use]
pub const fn places(text: &str) -> usize {
    let mut count: usize = 0;
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        if matches!(first, b'%' | b'#') {
            count = count.saturating_add(1);
        }
        rest = others;
    }
    count
}

/// Says `text` with `numbers` in their places.
#[inline(never)]
pub fn sentence(to: &mut dyn Sink, text: &str, numbers: &[u64]) {
    let mut rest = text.as_bytes();
    for number in numbers {
        let place = rest.iter().position(|byte| matches!(byte, b'%' | b'#'));
        let (words, others) = rest
            .split_at_checked(place.unwrap_or_default())
            .unwrap_or_default();
        to.bytes(words);
        let [kind, others @ ..] = others else { return };
        digits(*number, *kind == b'#', to);
        rest = others;
    }
    to.bytes(rest);
}

/// Without leading zeros; hexadecimal with `0x` before it.
fn digits(mut value: u64, hexadecimal: bool, to: &mut dyn Sink) {
    let base = if hexadecimal { 16 } else { 10 };
    let mut digits = [0; 22]; // of u64::MAX
    let mut unused = digits.as_mut_slice();
    let mut put = |digit: u8| {
        if let Some((last, others)) = core::mem::take(&mut unused).split_last_mut() {
            *last = digit;
            unused = others;
        }
    };
    loop {
        let [low, ..] = value.checked_rem(base).unwrap_or_default().to_le_bytes();
        put(low.wrapping_add(if low < 10 { b'0' } else { b'a' - 10 }));
        value = value.checked_div(base).unwrap_or_default();
        if value == 0 {
            break;
        }
    }
    if hexadecimal {
        put(b'x');
        put(b'0');
    }
    let length = unused.len();
    to.bytes(digits.get(length..).unwrap_or_default());
}

impl<N: Number + ?Sized> Number for &N {
    fn value(&self) -> u64 {
        (**self).value()
    }
}

macro_rules! number {
    ($($number:ty, $value:expr;)*) => {$(
        impl Number for $number {
            #[inline]
            fn value(&self) -> u64 {
                let value: fn(&Self) -> u64 = $value;
                value(self)
            }
        }
    )*};
}

number! {
    u8, |n| (*n).into();
    u16, |n| (*n).into();
    u32, |n| (*n).into();
    u64, |n| *n;
    usize, |n| *n as u64;
    U16, |n| n.get().into();
    U32, |n| n.get().into();
    U64, |n| n.get();
}

/// For programs that have `core::fmt`.
struct Formatter<'a, 'b>(&'a mut fmt::Formatter<'b>, fmt::Result);

impl Sink for Formatter<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let text = core::str::from_utf8(bytes).map_err(|_| fmt::Error);
        self.1 = self.1.and_then(|()| self.0.write_str(text?));
    }
}

/// Says `words` through `core::fmt`.
///
/// # Errors
/// Those of `formatter`.
pub fn format(words: &dyn Words, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut to = Formatter(formatter, Ok(()));
    words.say(&mut to);
    to.1
}

/// Gives types whose words are all there is to show a `Display`.
macro_rules! display {
    ($($words:ty),+ $(,)?) => {$(
        impl core::fmt::Display for $words {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::words::format(self, formatter)
            }
        }
    )+};
}
pub(crate) use display;

#[cfg(test)]
mod test {
    use super::*;

    #[derive(Default)]
    struct Text(String);

    impl Sink for Text {
        fn bytes(&mut self, bytes: &[u8]) {
            self.0.push_str(core::str::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn numbers_read_as_core_writes_them() {
        for value in [0, 9, 10, 15, 16, 0xabcd_ef01, u64::MAX] {
            let mut text = Text::default();
            say!(&mut text, "% and #.", value, &value);
            assert_eq!(text.0, format!("{value} and {value:#x}."));
        }
    }

    #[test]
    fn every_width_is_a_number() {
        let mut text = Text::default();

        say!(
            &mut text,
            "%#%#",
            1u8,
            U16::new(0x208),
            3usize,
            U64::new(0x1_0000_0000)
        );

        assert_eq!(text.0, "10x20830x100000000");
    }

    #[test]
    fn a_text_may_end_or_start_with_a_number() {
        assert_eq!(places("% of #"), 2);
        assert_eq!(places("none"), 0);
    }
}
