//! The points of a sweep: which options vary, over which values, and in which order.
//!
//! Pure: text to axes, axes to points, a point to the options of a measurement. It measures nothing, and
//! whether the kernel takes a value comes out when it is measured.

use std::collections::HashSet;
use std::fmt;

use clap::ValueEnum;
use ringperf_engine::plan::FLOWS_MAX;
use serde::{Deserialize, Serialize};

use crate::trial::values::{parse_message, parse_rate, parse_size, parse_socket_buffer};
use crate::trial::{Args, EngineArg, SendArg};

/// Most points of a sweep, repetitions included: at a second each more than eleven days.
pub(crate) const POINTS_MAX: usize = 1_000_000;

/// An option that a sweep may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Parameter {
    /// `--engine`.
    Engine,
    /// `--flows`.
    Flows,
    /// `--message`.
    Message,
    /// `--rate`.
    Rate,
    /// `--send`.
    Send,
    /// `--socket-buffer`.
    SocketBuffer,
}

impl Parameter {
    /// All there are.
    pub(crate) const ALL: [Self; 6] =
        [Self::Engine, Self::Flows, Self::Message, Self::Rate, Self::Send, Self::SocketBuffer];

    /// The name of the option, without its dashes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Flows => "flows",
            Self::Message => "message",
            Self::Rate => "rate",
            Self::Send => "send",
            Self::SocketBuffer => "socket-buffer",
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// What may be varied, in a sentence.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|parameter| parameter.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|parameter| parameter.name()).collect();
            format!("'{name}' cannot be varied; what can: {}", names.join(", "))
        })
    }

    /// What its numbers count.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Message | Self::SocketBuffer => Some("bytes"),
            Self::Rate => Some("bit/s"),
            Self::Engine | Self::Flows | Self::Send => None,
        }
    }

    fn is_number(self) -> bool {
        !matches!(self, Self::Engine | Self::Send)
    }

    /// Reads a value as the option itself would.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn value(self, text: &str) -> Result<Value, String> {
        let word = |known: Result<(), String>| known.map(|()| Value::Word(text.to_owned()));
        match self {
            Self::Engine => word(EngineArg::from_str(text, false).map(drop)),
            Self::Flows => match text.parse() {
                Ok(flows) if (1..=u64::from(FLOWS_MAX)).contains(&flows) => Ok(Value::Number(flows)),
                _ => Err(format!("there may be 1 to {FLOWS_MAX} flows")),
            },
            Self::Message => parse_message(text).map(|bytes| Value::Number(bytes.into())),
            Self::Rate => parse_rate(text).map(Value::Number),
            Self::Send => word(SendArg::from_str(text, false).map(drop)),
            Self::SocketBuffer => parse_socket_buffer(text).map(|bytes| Value::Number(bytes.into())),
        }
    }

    /// Sets the option.
    fn set(self, value: &Value, args: &mut Args) -> Result<(), String> {
        let number = |value: &Value| match value {
            Value::Number(number) => Ok(*number),
            Value::Word(word) => Err(format!("{self} takes a number, not '{word}'")),
        };
        let small = |value: &Value| {
            u32::try_from(number(value)?).map_err(|_| format!("{value} is too large for {self}"))
        };
        match self {
            Self::Engine => args.engine = EngineArg::from_str(&value.to_string(), false)?,
            Self::Flows => args.flows = small(value)?,
            Self::Message => args.message = Some(small(value)?),
            Self::Rate => args.rate = Some(number(value)?),
            Self::Send => args.send = SendArg::from_str(&value.to_string(), false)?,
            Self::SocketBuffer => args.socket_buffer = Some(small(value)?),
        }
        Ok(())
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// Of one that counts.
    Number(u64),
    /// Of one that chooses.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Word(word) => out.write_str(word),
        }
    }
}

/// A parameter and the values it goes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Axis {
    /// What varies.
    pub(crate) parameter: Parameter,
    /// In this order, none twice.
    pub(crate) values: Vec<Value>,
}

impl Axis {
    /// Reads `NAME=VALUES`. VALUES are, with commas between, single values, ranges `START..END:STEP` and
    /// geometric ranges `START..END:*FACTOR`. The end of a range is not part of it.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, list) = text
            .split_once('=')
            .ok_or_else(|| "write NAME=VALUES: socket-buffer=100..131072:1000".to_owned())?;
        let parameter = Parameter::named(name.trim())?;
        let mut values = Vec::new();
        let mut known = HashSet::new();
        for part in list.split(',') {
            let more = match part.trim().split_once("..") {
                Some((start, rest)) => range(parameter, start, rest)?,
                None => vec![parameter.value(part.trim())?],
            };
            values.extend(more.into_iter().filter(|value| known.insert(value.clone())));
        }
        Ok(Self { parameter, values })
    }
}

impl Axis {
    /// Leaves so many values, spread evenly, the first and the last among them.
    pub(crate) fn thin(&mut self, values: usize) {
        let last = self.values.len().saturating_sub(1);
        if values <= last {
            let step = |index: usize| if values == 1 { 0 } else { index * last / (values - 1) };
            self.values = (0..values).map(|index| self.values[step(index)].clone()).collect();
        }
    }
}

/// What a range steps by.
enum Step {
    Add(u64),
    Multiply(f64),
}

fn range(parameter: Parameter, start: &str, rest: &str) -> Result<Vec<Value>, String> {
    if !parameter.is_number() {
        return Err(format!("{parameter} takes words, which have no range: write them with commas between"));
    }
    let (end, step) = rest
        .split_once(':')
        .ok_or_else(|| format!("'{start}..{rest}' has no step: START..END:STEP or START..END:*FACTOR"))?;
    let number = |text: &str| match parameter.value(text.trim())? {
        Value::Number(number) => Ok(number),
        Value::Word(word) => Err(format!("'{word}' is no number")),
    };
    let (start, end, step) = (number(start)?, number(end)?, step_of(step.trim())?);
    if start >= end {
        return Err(format!("the range {start}..{end} is empty: its end is not part of it"));
    }
    let mut values = Vec::new();
    let mut next = start;
    while next < end {
        values.push(Value::Number(next));
        if values.len() > POINTS_MAX {
            return Err(format!("the range {start}..{end} has more than {POINTS_MAX} values"));
        }
        next = match step {
            Step::Add(bytes) => next.saturating_add(bytes),
            // At least one more, so that a factor near 1 comes to an end too.
            Step::Multiply(factor) => ((next as f64 * factor).round() as u64).max(next.saturating_add(1)),
        };
    }
    Ok(values)
}

fn step_of(text: &str) -> Result<Step, String> {
    match text.strip_prefix('*') {
        Some(factor) => match factor.parse::<f64>() {
            Ok(factor) if factor > 1.0 && factor.is_finite() => Ok(Step::Multiply(factor)),
            _ => Err("a factor is a number above 1: *2".to_owned()),
        },
        None => parse_size(text).map(Step::Add).map_err(|error| format!("step '{text}': {error}")),
    }
}

/// The values of a point, in the order of the axes.
pub(crate) type Setting = Vec<(Parameter, Value)>;

/// One measurement of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// What it is measured at.
    pub(crate) setting: Setting,
    /// Number of the repetition, from 1.
    pub(crate) repetition: u32,
}

impl Point {
    /// The options of its measurement.
    ///
    /// # Errors
    /// What is wrong with a value, in a sentence.
    pub(crate) fn args(&self, base: &Args) -> Result<Args, String> {
        let mut args = base.clone();
        for (parameter, value) in &self.setting {
            parameter.set(value, &mut args)?;
        }
        Ok(args)
    }
}

/// Every combination of the axes, the last of which varies fastest, `repeat` times over. A repetition is a
/// whole pass, so that what drifts during a sweep is spread over all points.
///
/// # Errors
/// Where a parameter has two axes, or there are too many points.
pub(crate) fn points(axes: &[Axis], repeat: u32) -> Result<Vec<Point>, String> {
    for (index, axis) in axes.iter().enumerate() {
        if axes[..index].iter().any(|other| other.parameter == axis.parameter) {
            return Err(format!("{} varies twice: put its values into one list", axis.parameter));
        }
    }
    let count = axes.iter().map(|axis| axis.values.len()).try_fold(repeat as usize, usize::checked_mul);
    if count.is_none_or(|count| count > POINTS_MAX) {
        return Err(format!("there would be more than {POINTS_MAX} points"));
    }
    let mut settings: Vec<Setting> = vec![Vec::new()];
    for axis in axes {
        settings = settings
            .iter()
            .flat_map(|setting| {
                axis.values.iter().map(|value| {
                    let mut setting = setting.clone();
                    setting.push((axis.parameter, value.clone()));
                    setting
                })
            })
            .collect();
    }
    let passes = 1..=repeat;
    Ok(passes
        .flat_map(|repetition| {
            settings.iter().map(move |setting| Point { setting: setting.clone(), repetition })
        })
        .collect())
}

/// A setting in words: `socket-buffer=100 flows=2`.
pub(crate) fn words(setting: &[(Parameter, Value)]) -> String {
    let words: Vec<String> =
        setting.iter().map(|(parameter, value)| format!("{parameter}={value}")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u64> {
        let axis = Axis::parse(text).expect("is an axis");
        axis.values
            .into_iter()
            .map(|value| match value {
                Value::Number(number) => number,
                Value::Word(word) => panic!("{word} is no number"),
            })
            .collect()
    }

    #[test]
    fn the_end_of_a_range_is_not_part_of_it() {
        let study = numbers("socket-buffer=100..131072:1000");
        assert_eq!((study.len(), study[0], study[130]), (131, 100, 130_100));
        assert_eq!(numbers("message=1..4:1"), [1, 2, 3]);
        assert_eq!(numbers("message=64..1K:*4"), [64, 256]);
        assert_eq!(numbers("flows=1..5:*1.01"), [1, 2, 3, 4]);
    }

    #[test]
    fn a_thin_axis_has_both_its_ends() {
        let thinned = |values| {
            let mut axis = Axis::parse("message=1..11:1").expect("is an axis");
            axis.thin(values);
            axis.values.iter().map(Value::to_string).collect::<Vec<_>>()
        };
        assert_eq!(thinned(3), ["1", "5", "10"]);
        assert_eq!(thinned(1), ["1"]);
        assert_eq!((thinned(10).len(), thinned(99).len()), (10, 10));
    }

    #[test]
    fn lists_and_ranges_mix_and_nothing_is_there_twice() {
        assert_eq!(numbers("message=1K,8, 1..10:4"), [1024, 8, 1, 5, 9]);
        assert_eq!(numbers("message=5,5,1..10:4"), [5, 1, 9]);
        let words = Axis::parse("engine=uring,epoll").expect("is an axis");
        assert_eq!(words.values, [Value::Word("uring".into()), Value::Word("epoll".into())]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "message",
            "message=",
            "message=0",
            "message=5..5:1",
            "message=9..5:1",
            "message=1..5",
            "message=1..5:0",
            "message=1..5:*1",
            "message=1..5:*0.5",
            "message=1..5:*nan",
            "message=1..17M:1",
            "flows=0",
            "flows=1..2",
            "engine=fast",
            "engine=uring..epoll:1",
            "speed=1",
            "rate=1..1000T:1",
        ] {
            assert!(Axis::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn points_are_the_cross_product_pass_by_pass() {
        let axes = [
            Axis::parse("flows=1,2").expect("is an axis"),
            Axis::parse("message=10,20").expect("is an axis"),
        ];
        let all = points(&axes, 2).expect("few");
        let text: Vec<String> =
            all.iter().map(|point| format!("{} {}", point.repetition, words(&point.setting))).collect();
        assert_eq!(
            text,
            [
                "1 flows=1 message=10",
                "1 flows=1 message=20",
                "1 flows=2 message=10",
                "1 flows=2 message=20",
                "2 flows=1 message=10",
                "2 flows=1 message=20",
                "2 flows=2 message=10",
                "2 flows=2 message=20",
            ]
        );
        assert_eq!(points(&[], 3).expect("few").len(), 3);
        assert!(points(&[axes[0].clone(), axes[0].clone()], 1).is_err());
        let many = Axis::parse("message=1..1000001:1").expect("just fits");
        assert!(points(&[many], 2).is_err());
    }

    #[test]
    fn values_survive_json() {
        let setting: Setting = vec![
            (Parameter::SocketBuffer, Value::Number(100)),
            (Parameter::Engine, Value::Word("epoll".into())),
        ];
        let json = serde_json::to_string(&setting).expect("is plain");
        assert_eq!(json, r#"[["socket-buffer",100],["engine","epoll"]]"#);
        assert_eq!(serde_json::from_str::<Setting>(&json).expect("came from there"), setting);
    }
}
