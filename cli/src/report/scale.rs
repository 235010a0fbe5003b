//! Numbers as a reader wants them: ranges with round ticks, units that suit, signs that are seen.
//!
//! Arithmetic and text. What a number means is the business of whoever has it.

use crate::render::text::{RATE_UNITS, unit_for};
use crate::sweep::grid::Parameter;

/// About so many ticks are on an axis.
const TICKS: f64 = 7.0;

/// Numbers that span less than this factor are plain on a linear axis, however they lie.
const LOG_FACTOR: f64 = 16.0;

/// The part of a curve's range that is left free above and below it.
const MARGIN: f64 = 0.06;

/// The least that an axis of figures spans, as a share of the figures.
const NARROWEST: f64 = 0.05;

/// What an axis shows, and where its labels stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Lowest value.
    pub(super) low: f64,
    /// Highest value.
    pub(super) high: f64,
    /// Values with a label.
    pub(super) ticks: Vec<(f64, String)>,
    /// What the axis is called, with the unit of its labels.
    pub(super) title: String,
    logarithmic: bool,
}

impl Scale {
    /// Where a value lies: 0 at the low end, 1 at the high end. Of a logarithmic scale values are above zero.
    pub(super) fn share(&self, value: f64) -> f64 {
        let place = |value: f64| if self.logarithmic { value.log2() } else { value };
        (place(value) - place(self.low)) / (place(self.high) - place(self.low))
    }

    /// The label at a value, empty where there is none.
    pub(super) fn label(&self, value: f64) -> String {
        let found = self.ticks.iter().find(|(tick, _)| tick.total_cmp(&value).is_eq());
        found.map_or_else(String::new, |(_, label)| label.clone())
    }

    /// Of a parameter, over these values, which are finite. Logarithmic where the values crowd at its low
    /// end, as those of a geometric sweep do.
    pub(super) fn of_parameter(parameter: Parameter, values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        let (low, high) =
            (sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default());
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        if low > 0.0 && high / low >= LOG_FACTOR && middle < f64::midpoint(low, high) / 2.0 {
            return logarithmic(parameter, low, high);
        }
        let (divisor, unit) = parameter_unit(parameter, high);
        let pad = if high > low { (high - low) * 0.02 } else { low.abs().max(1.0) * 0.5 };
        let title = titled(parameter.name(), unit.as_deref());
        Self {
            // A parameter does not go below zero, and an axis that does would ask what that means.
            low: if low >= 0.0 && low <= (high - low) * 0.1 { 0.0 } else { low - pad },
            high: high + pad,
            ticks: Vec::new(),
            title,
            logarithmic: false,
        }
        .with_linear_ticks(divisor)
    }

    /// Of figures between these, which are finite. From zero, unless that would flatten what is to be seen;
    /// and not so narrow that what is nothing looks like something. No label is above `most`.
    pub(super) fn of_figures(title: String, low: f64, high: f64, most: f64) -> Self {
        let narrowest = high.abs().max(low.abs()) * NARROWEST;
        let (low, high) = match (low, high) {
            (0.0, 0.0) => (0.0, 1.0),
            (low, high) if low >= 0.0 && low <= high * 0.7 => (0.0, high),
            (low, high) => {
                let more = ((narrowest - (high - low)) / 2.0).max((high - low) * MARGIN);
                (low - more, high + more)
            }
        };
        let high = high + (high - low) * MARGIN;
        let mut scale =
            Self { low, high, ticks: Vec::new(), title, logarithmic: false }.with_linear_ticks(1.0);
        scale.ticks.retain(|(tick, _)| *tick <= most * (1.0 + 1e-9));
        scale
    }

    fn with_linear_ticks(mut self, divisor: f64) -> Self {
        let step = round_step((self.high - self.low) / divisor / TICKS);
        let decimals = decimals_of(step);
        let first = (self.low / divisor / step).ceil();
        self.ticks = (0..100)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|tick| *tick <= self.high / divisor)
            .map(|tick| (tick * divisor, grouped(tick, decimals)))
            .collect();
        self
    }
}

/// The doublings within a range, or the tenfolds of a rate, thinned to those that have room.
fn logarithmic(parameter: Parameter, low: f64, high: f64) -> Scale {
    let base = if parameter == Parameter::Rate { 10.0_f64.log2() } else { 1.0 };
    let (from, to) = (low.log2(), high.log2());
    let pad = (to - from) * 0.03;
    let each = ((to - from) / base / (TICKS + 2.0)).ceil().max(1.0);
    let first = (from / base / each - 1e-9).ceil();
    let ticks = (0..100)
        .map(|index| (first + f64::from(index)) * each * base)
        .take_while(|tick| *tick <= to + 1e-9)
        .map(|tick| (tick.exp2(), power_label(parameter, tick.exp2())))
        .collect();
    let title = match parameter.unit() {
        // Each label has its own.
        Some("bit/s") => format!("{parameter} (log scale)"),
        unit => format!("{} (log scale)", titled(parameter.name(), unit)),
    };
    Scale { low: (from - pad).exp2(), high: (to + pad).exp2(), ticks, title, logarithmic: true }
}

fn power_label(parameter: Parameter, value: f64) -> String {
    match parameter {
        Parameter::Rate => {
            let (divisor, unit) = unit_for(value, RATE_UNITS);
            format!("{} {unit}", grouped(value / divisor, 0))
        }
        Parameter::Message | Parameter::SocketBuffer => {
            let (shift, prefix) = match value {
                value if value >= f64::from(1 << 20) => (20, " Mi"),
                value if value >= f64::from(1 << 10) => (10, " Ki"),
                _ => (0, ""),
            };
            format!("{}{prefix}", grouped(value / f64::from(1 << shift), 0))
        }
        Parameter::Engine | Parameter::Flows | Parameter::Send => grouped(value, 0),
    }
}

/// By how much to divide a parameter's values for labels of a few digits, and what they then count.
fn parameter_unit(parameter: Parameter, highest: f64) -> (f64, Option<String>) {
    match parameter.unit() {
        Some("bit/s") => {
            let (divisor, unit) = unit_for(highest, RATE_UNITS);
            (divisor, Some(unit.to_owned()))
        }
        Some("bytes") if highest >= 4e6 => (1e6, Some("MB".to_owned())),
        unit => (1.0, unit.map(str::to_owned)),
    }
}

/// A name and its unit.
pub(super) fn titled(name: &str, unit: Option<&str>) -> String {
    unit.map_or_else(|| name.to_owned(), |unit| format!("{name}, {unit}"))
}

/// 1, 2 or 5 times a power of ten, at least this.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= least).unwrap_or(least)
}

fn decimals_of(step: f64) -> usize {
    let decimals = -step.log10().floor();
    if decimals > 0.0 { (decimals as usize).min(9) } else { 0 }
}

/// With a narrow space between groups of three digits, from five on.
pub(super) fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    // What rounds to zero has no sign.
    if number < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        out.push('\u{2212}');
    }
    for (index, digit) in whole.char_indices() {
        if index > 0 && whole.len() > 4 && (whole.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A number with four digits that count, or all of its whole ones.
pub(super) fn significant(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let before = number.abs().log10().floor();
    grouped(number, (3.0 - before).clamp(0.0, 6.0) as usize)
}

/// A relative difference in percent, with its sign.
pub(super) fn percent(difference: f64) -> String {
    let number = grouped(difference * 100.0, 1);
    if difference > 0.0 && number.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        format!("+{number}")
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn steps_in_a_row_are_linear_and_doublings_logarithmic() {
        let study: Vec<f64> = (0..131).map(|step| f64::from(100 + step * 1000)).collect();
        let scale = Scale::of_parameter(Parameter::SocketBuffer, &study);
        assert_eq!(scale.title, "socket-buffer, bytes");
        assert_eq!(scale.low, 0.0);
        assert_eq!(
            labels(&scale),
            [
                "0",
                "20\u{202f}000",
                "40\u{202f}000",
                "60\u{202f}000",
                "80\u{202f}000",
                "100\u{202f}000",
                "120\u{202f}000"
            ]
        );
        let doublings: Vec<f64> = (6..=16).map(|power| f64::from(1 << power)).collect();
        let scale = Scale::of_parameter(Parameter::Message, &doublings);
        assert_eq!(scale.title, "message, bytes (log scale)");
        assert_eq!(labels(&scale), ["64", "256", "1 Ki", "4 Ki", "16 Ki", "64 Ki"]);
        assert_eq!((scale.label(1024.0).as_str(), scale.label(1000.0).as_str()), ("1 Ki", ""));
        assert!((scale.share(2048.0) - 0.5).abs() < 1e-9);
        let rates: Vec<f64> = (5..=10).map(|power| 10.0_f64.powi(power)).collect();
        let scale = Scale::of_parameter(Parameter::Rate, &rates);
        assert_eq!(
            labels(&scale),
            ["100 kbit/s", "1 Mbit/s", "10 Mbit/s", "100 Mbit/s", "1 Gbit/s", "10 Gbit/s"]
        );
    }

    #[test]
    fn every_axis_has_room_and_labels() {
        for values in [&[][..], &[0.0], &[7.0], &[1.0, 2.0], &[5e8, 6e8], &[1.0, 1.5, 1e9]] {
            for parameter in Parameter::ALL {
                let scale = Scale::of_parameter(parameter, values);
                assert!(
                    scale.high > scale.low && !scale.ticks.is_empty(),
                    "{parameter} {values:?} {scale:?}"
                );
                let inside = |value: &f64| (0.0..=1.0).contains(&scale.share(*value));
                assert!(values.iter().all(inside), "{scale:?}");
            }
        }
        for (low, high) in [(0.0, 0.0), (1.0, 1.0), (0.98, 1.0), (1e-12, 1e12), (-1.0, 1.0), (5e9, 5.1e9)] {
            let scale = Scale::of_figures(String::new(), low, high, f64::INFINITY);
            assert!(scale.low < scale.high && scale.ticks.len() >= 2, "{low} {high} {scale:?}");
            assert!(scale.low <= low && high <= scale.high && scale.ticks.len() < 20, "{scale:?}");
        }
        let of = |low, high| Scale::of_figures(String::new(), low, high, 100.0);
        assert_eq!((of(30.0, 90.0).low, of(0.0, 0.0).low, of(0.0, 0.0).high), (0.0, 0.0, 1.06));
        assert!(of(80.0, 90.0).low > 70.0 && of(99.9, 100.0).low < 98.0);
        assert_eq!(labels(&of(99.9, 100.0)).last(), Some(&"100"));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1234.0, 0), "1234");
        assert_eq!(grouped(-1_234_567.25, 1), "\u{2212}1\u{202f}234\u{202f}567.2");
        assert_eq!(grouped(-0.01, 1), "0.0");
        assert_eq!([percent(0.1234), percent(-0.02), percent(0.0001)], ["+12.3", "\u{2212}2.0", "0.0"]);
        assert_eq!(
            [significant(0.0), significant(0.01234), significant(-99.5)],
            ["0", "0.01234", "\u{2212}99.50"]
        );
        assert_eq!(significant(123_456.7), "123\u{202f}457");
    }
}
