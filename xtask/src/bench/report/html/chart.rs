// SPDX-License-Identifier: MIT OR Apache-2.0
//! Charts, drawn by `plotters` as SVG that scales with the page and changes its colours with it.
//!
//! The library places and scales; it writes no words. Every text goes in as one character of a
//! private range, which is replaced by markup when the drawing is done: so one place escapes, and
//! numbers keep saying what they are exactly. Colours are names: the style sheet gives those of the
//! day and of the night.

use std::cell::RefCell;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figure::Figure;
use crate::bench::report::numbers;

/// Units of the drawing for one pixel of the page, so that bars end where they should.
const FINE: i32 = 10;
/// Pixels: about the width of a phone, and of a third of a desk.
const WIDTH: i32 = 320;
/// Pixels for one bar with the words above it.
const ROW: i32 = 38;
/// Pixels from the top of a row to its bar.
const BAR: i32 = 18;
const THICKNESS: i32 = 11;
/// Pixels for the axis.
const AXIS: i32 = 20;
/// Pixels. A bar that is too short to be seen is this long; zero is no bar at all.
const SHORTEST: i32 = 2;
const FONT: i32 = 12;
/// Pixels of one character of the widest of the fonts that the page may be shown in.
const CHARACTER: i32 = 7;

/// What a part of a chart is; the style sheet knows them by these values.
pub const INK: RGBColor = RGBColor(0x10, 0x10, 0x01);
pub const MUTED: RGBColor = RGBColor(0x10, 0x10, 0x02);
const GRID: RGBColor = RGBColor(0x10, 0x10, 0x03);
const TRACK: RGBColor = RGBColor(0x10, 0x10, 0x04);
pub const OURS: RGBColor = RGBColor(0x10, 0x10, 0x05);
pub const OTHER: RGBColor = RGBColor(0x10, 0x10, 0x06);
/// The phases, in the order in which they first appear.
pub const PHASES: [RGBColor; 6] = [
    RGBColor(0x10, 0x20, 0x01),
    RGBColor(0x10, 0x20, 0x02),
    RGBColor(0x10, 0x20, 0x03),
    RGBColor(0x10, 0x20, 0x04),
    RGBColor(0x10, 0x20, 0x05),
    RGBColor(0x10, 0x20, 0x06),
];

/// A drawing that failed; the library writes to memory, so that none does.
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One bar, and the words above it.
#[derive(Clone, Debug)]
pub struct Bar {
    pub label: String,
    pub value: Figure,
    /// What else there is to say of it, after the value.
    pub aside: Option<Figure>,
    pub colour: RGBColor,
}

/// A chart and what it is called.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// A name that no other chart of the page has.
    pub id: String,
    /// Whether a line of the axis may be ten times the one before.
    pub may_be_logarithmic: bool,
    pub title: &'a str,
    pub bars: Vec<Bar>,
    /// How a number on the axis is written.
    pub tick: fn(f64) -> String,
}

impl Chart<'_> {
    /// Bars that begin where the one before has ended.
    pub fn waterfall(&self) -> Markup {
        let mut start = 0.0;
        let spans: Vec<_> = self
            .bars
            .iter()
            .map(|bar| {
                let from = start;
                start += drawable(bar.value.number);
                (from, start)
            })
            .collect();
        self.draw(&spans, &RangedCoordf64::from(0.0..start.max(1.0)), false)
    }

    /// Bars from zero; on a logarithmic scale where a short one could not be seen otherwise.
    pub fn side_by_side(&self) -> Markup {
        let numbers = || self.bars.iter().map(|bar| drawable(bar.value.number));
        let largest = numbers().fold(1.0, f64::max);
        if self.is_logarithmic() {
            let spans: Vec<_> = numbers().map(|number| (1.0, number)).collect();
            self.draw(&spans, &LogCoord::from((1.0..largest).log_scale()), true)
        } else {
            let spans: Vec<_> = numbers().map(|number| (0.0, number)).collect();
            self.draw(&spans, &RangedCoordf64::from(0.0..largest), false)
        }
    }

    /// Whether the longest bar is so much longer than the shortest.
    pub fn is_logarithmic(&self) -> bool {
        const FACTOR: f64 = 50.0;
        let numbers = self.bars.iter().map(|bar| drawable(bar.value.number));
        let numbers = numbers.filter(|number| *number >= 1.0);
        let (least, most) = numbers.fold((f64::MAX, 0.0), |(least, most), number| {
            (number.min(least), number.max(most))
        });
        self.may_be_logarithmic && most > FACTOR * least
    }

    /// The whole chart in words, for those who do not see it.
    fn words(&self) -> String {
        let bars = self.bars.iter().map(|bar| match &bar.aside {
            Some(aside) => format!("{}: {} ({})", bar.label, bar.value.shown, aside.shown),
            None => format!("{}: {}", bar.label, bar.value.shown),
        });
        bars.collect::<Vec<_>>().join("; ")
    }

    fn draw(
        &self,
        spans: &[(f64, f64)],
        axis: &impl Ranged<ValueType = f64>,
        logarithmic: bool,
    ) -> Markup {
        let rows = i32::try_from(self.bars.len()).unwrap_or(0);
        let size = (WIDTH * FINE, (rows * ROW + AXIS) * FINE);
        let words = Words::default();
        let mut svg = String::new();
        let drawn = {
            let [width, height] = [size.0, size.1].map(i32::cast_unsigned);
            let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
            self.paint(&area, &words, spans, axis, logarithmic)
        };
        // What is drawn goes to memory, which does not fail; a chart less is better than no page.
        if drawn.is_err() {
            return html! {};
        }
        let title = format!("{}-title", self.id);
        let described = format!("{}-words", self.id);
        let inside = svg
            .split_once('>')
            .and_then(|(_, rest)| rest.rsplit_once("</svg>"))
            .map_or("", |(inside, _)| inside);
        html! {
            svg viewBox={ "0 0 " (size.0) " " (size.1) } role="img"
                aria-labelledby={ (title) " " (described) } {
                title id=(title) { (self.title) }
                desc id=(described) { (self.words()) }
                (words.put_into(inside))
            }
        }
    }

    fn paint(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        words: &Words,
        spans: &[(f64, f64)],
        axis: &impl Ranged<ValueType = f64>,
        logarithmic: bool,
    ) -> Drawn {
        let width = WIDTH * FINE;
        let bottom = area.dim_in_pixel().1.cast_signed() - AXIS * FINE;
        let place = |number: f64| axis.map(&number, (0, width)).clamp(0, width);
        let ticks: Vec<_> = ticks(axis, logarithmic);

        for &tick in &ticks {
            let x = place(tick);
            line(area, GRID, (x, bottom), (x, bottom + 4 * FINE))?;
            // At the edges the words stay inside.
            let align = if x < 20 * FINE {
                HPos::Left
            } else if x > width - 20 * FINE {
                HPos::Right
            } else {
                HPos::Center
            };
            let word = words.keep(html! { tspan data-tick=(tick) { ((self.tick)(tick)) } });
            text(area, &word, (x, bottom + 6 * FINE), MUTED, align, FONT - 1)?;
        }
        let mut top = 0;
        for (bar, &(from, to)) in self.bars.iter().zip(spans) {
            let (upper, lower) = ((top + BAR) * FINE, (top + BAR + THICKNESS) * FINE);
            rectangle(area, TRACK, (0, upper), (width, lower))?;
            for x in ticks.iter().map(|&tick| place(tick)) {
                line(area, GRID, (x, upper), (x, lower))?;
            }
            if bar.value.number > 0.0 {
                // At the right edge a short bar grows to the left.
                let from = place(from).min(width - SHORTEST * FINE);
                let to = place(to).max(from + SHORTEST * FINE);
                rectangle(area, bar.colour, (from, upper), (to, lower))?;
            }
            let (label, value) = bar.words(words);
            let baseline = (top + 2) * FINE;
            text(area, &label, (0, baseline), INK, HPos::Left, FONT)?;
            text(area, &value, (width, baseline), INK, HPos::Right, FONT)?;
            top += ROW;
        }
        area.present()
    }
}

impl Bar {
    /// What stands above the bar: the label, as long as there is room for it, and the value.
    fn words(&self, words: &Words) -> (String, String) {
        let length = |figure: &Figure| figure.shown.chars().count();
        let aside = self.aside.as_ref();
        let taken = length(&self.value) + aside.map_or(0, |aside| length(aside) + 3);
        let room = usize::try_from(WIDTH / CHARACTER).unwrap_or(0);
        let label = cut(&self.label, room.saturating_sub(taken + 2));
        (
            words.keep(html! { tspan class="n" { (label) } }),
            words.keep(html! {
                tspan class="v" { (self.value.svg()) }
                @if let Some(aside) = aside { tspan class="a" { " · " (aside.svg()) } }
            }),
        )
    }
}

/// The texts of a drawing, each with a character that stands for it.
#[derive(Debug, Default)]
struct Words(RefCell<Vec<Markup>>);

impl Words {
    /// The first of a range of characters that mean nothing.
    const FIRST: u32 = 0xe000;

    fn keep(&self, word: Markup) -> String {
        let mut words = self.0.borrow_mut();
        let place = u32::try_from(words.len()).unwrap_or(u32::MAX);
        words.push(word);
        let stands_for_it = char::from_u32(Self::FIRST.saturating_add(place));
        stands_for_it.map_or_else(String::new, String::from)
    }

    /// The drawing with its texts. Nothing else in it is from outside.
    fn put_into(&self, drawing: &str) -> Markup {
        let words = self.0.borrow();
        let mut whole = String::new();
        for c in drawing.chars() {
            let place = u32::from(c).checked_sub(Self::FIRST);
            let word = place.and_then(|place| words.get(usize::try_from(place).ok()?));
            match word {
                Some(word) => whole.push_str(&word.0),
                None => whole.push(c),
            }
        }
        PreEscaped(whole)
    }
}

/// Where the axis has lines: powers of ten, or a few round numbers.
fn ticks(axis: &impl Ranged<ValueType = f64>, logarithmic: bool) -> Vec<f64> {
    const FEW: usize = 5;
    if !logarithmic {
        return axis.key_points(FEW);
    }
    let end = axis.range().end;
    let powers: Vec<f64> = std::iter::successors(Some(1.0), |power| Some(power * 10.0))
        .take_while(|power| *power <= end)
        .collect();
    let step = powers.len().div_ceil(FEW + 3);
    powers.into_iter().step_by(step.max(1)).collect()
}

/// A number that can be drawn.
fn drawable(number: f64) -> f64 {
    if number.is_finite() {
        number.clamp(0.0, 1e24)
    } else {
        0.0
    }
}

/// A text of so many characters at most, whose end says that there is more of it.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept = text.chars().take(room.saturating_sub(1).max(1));
    kept.chain(['…']).collect()
}

/// A number on an axis of counts.
pub fn count_tick(number: f64) -> String {
    let units = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ];
    match units.into_iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{}{name}", number / unit),
        None => number.to_string(),
    }
}

/// A time in microseconds on an axis.
pub fn time_tick(microseconds: f64) -> String {
    match microseconds {
        0.0 => "0".to_owned(),
        it if it >= 1e6 => format!("{} s", numbers::short(it / 1e6).trim_end_matches(".00")),
        it if it >= 1e3 => format!("{} ms", it / 1e3),
        it => format!("{it} µs"),
    }
}

/// A size in KiB on an axis.
pub fn kibibyte_tick(number: f64) -> String {
    if number == 0.0 {
        "0".to_owned()
    } else if number >= 1e4 {
        format!("{} MiB", numbers::short(number / 1024.0))
    } else {
        format!("{number} KiB")
    }
}

fn line(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    colour: RGBColor,
    from: (i32, i32),
    to: (i32, i32),
) -> Drawn {
    let style = ShapeStyle::from(colour).stroke_width(FINE.cast_unsigned());
    area.draw(&PathElement::new(vec![from, to], style))
}

fn rectangle(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    colour: RGBColor,
    from: (i32, i32),
    to: (i32, i32),
) -> Drawn {
    area.draw(&Rectangle::new([from, to], colour.filled()))
}

fn text(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    word: &str,
    at: (i32, i32),
    colour: RGBColor,
    align: HPos,
    pixels: i32,
) -> Drawn {
    // The library takes the height of a line, which it has at 1.24 of the font's.
    let height = f64::from(pixels * FINE) * 1.24;
    let style = TextStyle::from(("sans-serif", height).into_font())
        .color(&colour)
        .pos(Pos::new(align, VPos::Top));
    area.draw(&Text::new(word.to_owned(), at, style))
}

#[cfg(test)]
mod test {
    use super::*;

    fn chart(numbers: &[u64]) -> Chart<'static> {
        let bar = |&number: &u64| Bar {
            label: "a".into(),
            value: Figure::count("/a".into(), number),
            aside: None,
            colour: OURS,
        };
        Chart {
            id: "it".into(),
            may_be_logarithmic: true,
            title: "title",
            bars: numbers.iter().map(bar).collect(),
            tick: count_tick,
        }
    }

    /// Where the coloured bars begin and how long they are, in pixels.
    fn bars(svg: &Markup) -> Vec<(i32, i32)> {
        let attribute = |rect: &str, name: &str| {
            let value = rect
                .split_once(&format!(" {name}=\""))
                .expect("it has one")
                .1;
            let value = value.split('"').next().expect("it has an end");
            value.parse::<i32>().expect("it is a number") / FINE
        };
        let rects = svg.0.split("<rect").skip(1);
        rects
            .filter(|rect| rect.contains("#101005"))
            .map(|rect| (attribute(rect, "x"), attribute(rect, "width")))
            .collect()
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let bars = bars(&chart(&[50, 100, 25]).side_by_side());

        assert_eq!(bars, [(0, 160), (0, 320), (0, 80)]);
    }

    #[test]
    fn on_a_logarithmic_scale_a_bar_has_the_length_of_its_exponent() {
        let bars = bars(&chart(&[100, 10_000]).side_by_side());

        assert_eq!(bars, [(0, 160), (0, 320)]);
    }

    #[test]
    fn a_waterfall_begins_where_the_bar_before_has_ended() {
        let bars = bars(&chart(&[100, 50, 10]).waterfall());

        assert_eq!(bars, [(0, 200), (200, 100), (300, 20)]);
    }

    #[test]
    fn what_is_short_can_be_seen_and_what_is_nothing_cannot() {
        assert_eq!(
            bars(&chart(&[10_000, 1, 0]).waterfall()),
            [(0, 319), (318, 2)]
        );
    }

    #[test]
    fn a_label_gives_way_to_its_number() {
        assert_eq!(cut("a long label", 6), "a lon…");
        assert_eq!(cut("short", 6), "short");
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            [0.0, 20.0, 1e3, 2e6].map(count_tick),
            ["0", "20", "1k", "2M"]
        );
        assert_eq!(
            [0.0, 500.0, 2.5e3, 1e6, 1.5e6].map(time_tick),
            ["0", "500 µs", "2.5 ms", "1 s", "1.50 s"]
        );
        assert_eq!(
            [0.0, 500.0, 20_480.0].map(kibibyte_tick),
            ["0", "500 KiB", "20.0 MiB"]
        );
    }
}
