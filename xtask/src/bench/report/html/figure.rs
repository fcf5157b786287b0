// SPDX-License-Identifier: MIT OR Apache-2.0
//! A number in the page: what is read, and next to it exactly what it is and where it is from.
//!
//! `data-path` is the place in the JSON as RFC 6901 has it; `data-sum`, `data-difference` and
//! `data-quotient` have two such places.

use maud::{Markup, html};

use crate::bench::model::Spread;
use crate::bench::report::numbers;

/// A number, as it is read and as it is.
#[derive(Clone, Debug)]
pub struct Figure {
    /// For a chart.
    pub number: f64,
    /// As it is read.
    pub shown: String,
    exact: String,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    Path(String),
    Sum(String),
    Difference(String),
    Quotient(String),
}

impl Figure {
    /// A whole number.
    pub fn count(path: String, number: u64) -> Self {
        Self::whole(path, number, numbers::whole(number))
    }

    /// How long an array is.
    pub fn length(path: &str, length: usize) -> Self {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        Self::count(format!("{path}/length"), length)
    }

    /// A number of bytes.
    pub fn bytes(path: String, number: u64) -> Self {
        Self::whole(path, number, numbers::bytes(number))
    }

    /// A number of KiB.
    pub fn kibibytes(path: String, number: u64) -> Self {
        Self::whole(path, number, numbers::kibibytes(float(number)))
    }

    /// A port, an address or what is in a register of so many bytes.
    pub fn hexadecimal(path: String, number: u64, bytes: u8) -> Self {
        let width = 2 + 2 * usize::from(bytes.min(8));
        Self::whole(path, number, format!("{number:#0width$x}"))
    }

    /// A number that was measured, and how it is read.
    pub fn measured(path: String, number: f64, shown: String) -> Self {
        Self {
            number,
            shown,
            exact: number.to_string(),
            origin: Origin::Path(path),
        }
    }

    /// The median of runs.
    pub fn median(path: &str, spread: Spread, show: fn(f64) -> String) -> Self {
        Self::measured(format!("{path}/median"), spread.median, show(spread.median))
    }

    fn whole(path: String, number: u64, shown: String) -> Self {
        Self {
            number: float(number),
            shown,
            exact: number.to_string(),
            origin: Origin::Path(path),
        }
    }

    /// Two counts together; none where that is more than can be counted.
    pub fn sum(paths: &[String; 2], numbers: [u64; 2]) -> Option<Self> {
        let [a, b] = numbers;
        let sum = a.checked_add(b)?;
        Some(Self {
            number: float(sum),
            shown: numbers::whole(sum),
            exact: sum.to_string(),
            origin: Origin::Sum(paths.join(" ")),
        })
    }

    /// This above another one of the same kind.
    pub fn above(&self, other: &Self, show: impl Fn(f64) -> String) -> Option<Self> {
        let difference = self.number - other.number;
        Some(Self {
            number: difference,
            shown: show(difference),
            exact: difference.to_string(),
            origin: Origin::Difference(self.with(other)?),
        })
    }

    /// How many times another one this is.
    pub fn over(&self, other: &Self) -> Option<Self> {
        self.ratio_to(other, numbers::times)
    }

    /// The same, read in another way.
    pub fn ratio_to(&self, other: &Self, show: fn(f64) -> String) -> Option<Self> {
        let ratio = self.number / other.number;
        ratio.is_finite().then_some(())?;
        Some(Self {
            number: ratio,
            shown: show(ratio),
            exact: ratio.to_string(),
            origin: Origin::Quotient(self.with(other)?),
        })
    }

    /// The places of two numbers; of a sum there are two, joined by `+`.
    fn with(&self, other: &Self) -> Option<String> {
        let place = |origin: &Origin| match origin {
            Origin::Path(path) => Some(path.clone()),
            Origin::Sum(paths) => Some(paths.replace(' ', "+")),
            Origin::Difference(_) | Origin::Quotient(_) => None,
        };
        Some(format!(
            "{} {}",
            place(&self.origin)?,
            place(&other.origin)?
        ))
    }

    /// In running text or a table.
    pub fn html(&self) -> Markup {
        let (path, sum, difference, quotient) = self.origin.attributes();
        html! {
            data value=(self.exact) data-path=[path] data-sum=[sum] data-difference=[difference]
                data-quotient=[quotient] { (self.shown) }
        }
    }

    /// In the text of a chart.
    pub fn svg(&self) -> Markup {
        let (path, sum, difference, quotient) = self.origin.attributes();
        html! {
            tspan data-value=(self.exact) data-path=[path] data-sum=[sum]
                data-difference=[difference] data-quotient=[quotient] { (self.shown) }
        }
    }
}

type Attribute<'a> = Option<&'a str>;

impl Origin {
    fn attributes(&self) -> (Attribute<'_>, Attribute<'_>, Attribute<'_>, Attribute<'_>) {
        match self {
            Self::Path(path) => (Some(path), None, None, None),
            Self::Sum(paths) => (None, Some(paths), None, None),
            Self::Difference(paths) => (None, None, Some(paths), None),
            Self::Quotient(paths) => (None, None, None, Some(paths)),
        }
    }
}

/// The number as a chart takes it; what is read and compared is exact.
#[expect(clippy::cast_precision_loss, reason = "no chart is that fine")]
fn float(number: u64) -> f64 {
    number as f64
}
