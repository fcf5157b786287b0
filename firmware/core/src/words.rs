// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sentences in few bytes of ROM.
//!
//! `core::fmt` pads, aligns, counts characters and knows every width of number: 5 KiB of an image
//! of 48. What this firmware says are texts with numbers in them, decimal (`%`) or hexadecimal
//! (`#`). The compiler packs each text: what many have in common (`PHRASES`) is one byte in it.

use core::fmt;
use zerocopy::little_endian::{U16, U32, U64};

/// Where words go.
pub trait Sink {
    /// Takes the next words, in UTF-8.
    fn bytes(&mut self, bytes: &[u8]);
}

/// Who says them there. One pointer, so that a sentence and three numbers fit the registers that a
/// call passes: there are a hundred such calls.
#[allow(missing_debug_implementations)] // a reference to any sink
pub struct Speaker<'a> {
    sink: &'a mut dyn Sink,
    /// Of no use but that it changes: what is only read, the compiler passes in parts, two of them
    /// for a reference like the one above.
    said: usize,
}

impl<'a> Speaker<'a> {
    /// Says everything to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, said: 0 }
    }

    /// Says a text as it stands.
    #[inline(never)]
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Says bytes of ASCII.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.said = self.said.wrapping_add(bytes.len());
        self.sink.bytes(bytes);
    }

    /// Says what somebody else calls something: up to the NUL or newline that ends it, and nothing
    /// that a terminal obeys.
    #[inline(never)]
    pub fn foreign(&mut self, name: &[u8]) {
        for byte in name {
            match byte {
                0 | b'\n' => break,
                b' '..=b'~' => self.bytes(core::slice::from_ref(byte)),
                _ => self.bytes(b"?"),
            }
        }
    }
}

/// What can be said.
pub trait Words {
    /// Says it.
    fn say(&self, to: &mut Speaker<'_>);
}

impl Words for &str {
    fn say(&self, to: &mut Speaker<'_>) {
        to.text(self);
    }
}

/// A number without a sign.
pub trait Number {
    /// Its value.
    fn value(&self) -> u64;
}

/// What texts have in common, longest gain first. In a packed text the byte 0x80 stands for the
/// first phrase, and so on.
const PHRASES: &str = "at most |: expected |, found |expected | bytes|kernel| entry | setup |file|command|\
    multiboot|memory|fw_cfg|exception|header| at | a | of | that |boot|none";

/// The packed byte of the first phrase.
const FIRST_PHRASE: u8 = 0x80;

/// Says a text with up to three numbers: `say!(to, "expected % bytes at #", size, addr)`.
#[macro_export]
macro_rules! say {
    ($to:expr, $text:literal $(, $number:expr)* $(,)?) => {{
        const NUMBERS: usize = { let numbers: &[&str] = &[$(stringify!($number)),*]; numbers.len() };
        const { assert!($crate::words::places($text) == NUMBERS) };
        const PACKED: [u8; $crate::words::packed_size($text)] = $crate::words::pack($text);
        $crate::say_packed!($to, PACKED $(, $crate::words::Number::value(&$number))*)
    }};
}
pub use say;

/// [`say!`] for each count of numbers.
#[doc(hidden)]
#[macro_export]
macro_rules! say_packed {
    ($to:expr, $text:expr) => {
        $to.packed(&$text)
    };
    ($to:expr, $text:expr, $a:expr) => {
        $to.one(&$text, $a)
    };
    ($to:expr, $text:expr, $a:expr, $b:expr) => {
        $to.two(&$text, $a, $b)
    };
    ($to:expr, $text:expr, $a:expr, $b:expr, $c:expr) => {
        $to.three(&$text, $a, $b, $c)
    };
}

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

/// Size in bytes of a text when it is packed.
#[must_use]
pub const fn packed_size(text: &str) -> usize {
    let mut size: usize = 0;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        rest = pack_first(rest).1;
        size = size.saturating_add(1);
    }
    size
}

/// Packs a text of ASCII; `SIZE` is its [`packed_size`].
#[must_use]
pub const fn pack<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    assert!(text.is_ascii());
    let mut packed = [0; SIZE];
    let mut left = packed.as_mut_slice();
    let mut rest = text.as_bytes();
    while let [slot, others @ ..] = left {
        (*slot, rest) = pack_first(rest);
        left = others;
    }
    packed
}

/// The next packed byte of a text, and what is left of the text.
const fn pack_first(text: &[u8]) -> (u8, &[u8]) {
    let mut phrases = PHRASES.as_bytes();
    let mut byte = FIRST_PHRASE;
    while !phrases.is_empty() {
        let (mut phrase, mut rest) = (phrases, text);
        while let ([a, phrase_left @ ..], [b, text_left @ ..]) = (phrase, rest)
            && *a == *b
        {
            (phrase, rest) = (phrase_left, text_left);
        }
        if let [] | [b'|', ..] = phrase {
            return (byte, rest);
        }
        while let [first, others @ ..] = phrases {
            phrases = others;
            if *first == b'|' {
                break;
            }
        }
        byte = byte.saturating_add(1);
    }
    match text {
        [first, rest @ ..] => (*first, rest),
        [] => (0, text),
    }
}

impl Speaker<'_> {
    /// Says a packed text.
    #[inline(never)]
    pub fn packed(&mut self, text: &[u8]) {
        self.three(text, 0, 0, 0);
    }

    /// Says a packed text with a number in its place.
    #[inline(never)]
    pub fn one(&mut self, text: &[u8], a: u64) {
        self.three(text, a, 0, 0);
    }

    /// Says a packed text with two numbers in their places.
    #[inline(never)]
    pub fn two(&mut self, text: &[u8], a: u64, b: u64) {
        self.three(text, a, b, 0);
    }

    /// Says a packed text with three numbers in their places.
    #[inline(never)]
    pub fn three(&mut self, text: &[u8], a: u64, b: u64, c: u64) {
        let mut numbers = [a, b, c].into_iter();
        for byte in text {
            match byte {
                b'%' | b'#' => {
                    digits(numbers.next().unwrap_or_default(), *byte == b'#', self);
                }
                FIRST_PHRASE.. => {
                    let index = byte.wrapping_sub(FIRST_PHRASE).into();
                    let mut phrases = PHRASES.as_bytes().split(|byte| *byte == b'|');
                    self.bytes(phrases.nth(index).unwrap_or_default());
                }
                _ => self.bytes(core::slice::from_ref(byte)),
            }
        }
    }
}

/// Without leading zeros; hexadecimal with `0x` before it.
fn digits(mut value: u64, hexadecimal: bool, to: &mut Speaker<'_>) {
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
    words.say(&mut Speaker::new(&mut to));
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
pub(crate) mod test {
    use super::*;
    use proptest::prelude::*;

    /// What is said.
    #[derive(Default)]
    pub(crate) struct Text(pub String);

    impl Sink for Text {
        fn bytes(&mut self, bytes: &[u8]) {
            self.0.push_str(core::str::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn numbers_read_as_core_writes_them() {
        for value in [0, 9, 10, 15, 16, 0xabcd_ef01, u64::MAX] {
            let mut text = Text::default();
            say!(Speaker::new(&mut text), "% and #.", value, &value);
            assert_eq!(text.0, format!("{value} and {value:#x}."));
        }
    }

    #[test]
    fn every_width_is_a_number() {
        let mut text = Text::default();

        say!(Speaker::new(&mut text), "%#%", 1u8, U16::new(0x208), 3usize);
        say!(Speaker::new(&mut text), "#", U64::new(0x1_0000_0000));

        assert_eq!(text.0, "10x20830x100000000");
    }

    #[test]
    fn every_phrase_is_one_byte() {
        for phrase in PHRASES.split('|') {
            assert_eq!(packed_size(phrase), 1, "{phrase:?} hides behind another");
        }
        assert_eq!(&pack::<5>("fw_cfg: expected #!"), b"\x8c\x81#!\0");
    }

    #[test]
    fn a_foreign_name_ends_where_it_says_and_moves_no_cursor() {
        let mut text = Text::default();

        for name in [&b"etc/e820\0\0"[..], b"a\nb", b"\x1b[2J\xff", b""] {
            Speaker::new(&mut text).foreign(name);
            say!(Speaker::new(&mut text), ";");
        }

        assert_eq!(text.0, "etc/e820;a;?[2J?;;");
    }

    #[test]
    fn a_text_may_end_or_start_with_a_number() {
        assert_eq!(places("% of #"), 2);
        assert_eq!(places("none"), 0);
    }

    /// Plain characters, places of numbers, and phrases, which may run into each other.
    fn text_strategy() -> impl Strategy<Value = String> {
        let phrases: Vec<_> = PHRASES.split('|').map(str::to_owned).collect();
        let piece = prop_oneof![
            proptest::sample::select(phrases),
            "[ a-z:,.]{0,6}",
            Just("%".to_owned()),
            Just("#".to_owned()),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_packed_text_is_said_as_it_was_written(
            text in text_strategy(), numbers in any::<[u64; 3]>(),
        ) {
            let mut expected = String::new();
            let mut left = numbers.into_iter();
            for character in text.chars() {
                match character {
                    '%' => expected += &left.next().unwrap_or_default().to_string(),
                    '#' => expected += &format!("{:#x}", left.next().unwrap_or_default()),
                    other => expected.push(other),
                }
            }
            let packed = pack::<256>(&text);
            let mut said = Text::default();
            let [a, b, c] = numbers;
            Speaker::new(&mut said).three(&packed[..packed_size(&text)], a, b, c);
            prop_assert_eq!(said.0, expected);
            prop_assert!(packed_size(&text) <= text.len());
        }
    }
}
