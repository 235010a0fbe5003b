//! The plots of a family, as SVG: its curves, and the same over the base's.
//!
//! Draws every point that has a number as a circle, and says how many there are to be. Curves differ in
//! colour, dashes and whether their circles are filled, so that they are told apart in black and white and by
//! those who see few colours. No name of a target is drawn: the page's legend has them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::scale::{Scale, titled};
use crate::compare::comparison::{Curve, Family};
use crate::error::{Class, Failure};
use crate::figure::Figure;
use crate::render::text::{RATE_UNITS, unit_for};
use crate::sweep::grid::Parameter;

/// Drawn larger than it is shown, because coordinates are whole numbers.
const SIZE: (u32, u32) = (1800, 840);
/// Pixels of that size.
const LABEL: u32 = 34;
const LINE: u32 = 4;

/// Radius of the circles, and half the width of the bars' ends, for curves of up to so many points. What lies
/// closer has to be smaller to be seen.
const SIZES: [(usize, u32, i32); 3] = [(40, 8, 8), (100, 6, 5), (usize::MAX, 4, 2)];

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

/// Those of Okabe and Ito ("Color Universal Design", 2008) that are seen on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
];

/// Lengths of dashes and the gaps between them; none is a whole line.
const DASHES: [Option<(u32, u32)>; 4] = [None, Some((30, 12)), Some((6, 10)), Some((14, 18))];

/// How a curve is told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    colour: RGBColor,
    dashes: Option<(u32, u32)>,
    filled: bool,
}

impl Mark {
    /// Of the target at this place, the base being the first.
    pub(super) fn of(index: usize) -> Self {
        Self {
            colour: COLOURS[index % COLOURS.len()],
            dashes: DASHES[index % DASHES.len()],
            filled: index.is_multiple_of(2),
        }
    }

    /// As CSS and SVG have it.
    pub(super) fn colour(self) -> String {
        let RGBColor(red, green, blue) = self.colour;
        format!("#{red:02X}{green:02X}{blue:02X}")
    }

    /// The inside of its circles.
    pub(super) fn fill(self) -> String {
        if self.filled { self.colour() } else { "#FFFFFF".to_owned() }
    }

    /// `stroke-dasharray` of a sample of its line, at the size of the page.
    pub(super) fn dash_array(self) -> String {
        self.dashes.map_or_else(|| "none".to_owned(), |(dash, gap)| format!("{} {}", dash / 2, gap / 2))
    }
}

/// A plot, and how many circles are in it.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// The element.
    pub(super) svg: String,
    /// Points that it shows.
    pub(super) points: usize,
}

/// What is drawn of a point.
#[derive(Clone, Copy, Debug)]
struct Dot {
    x: f64,
    y: f64,
    bar: Option<(f64, f64)>,
}

struct Series {
    mark: Mark,
    dots: Vec<Dot>,
}

/// Name of a figure in a heading.
pub(super) fn figure_name(figure: Figure) -> &'static str {
    match figure {
        Figure::Cpu => "CPU time of both ends",
        Figure::Goodput => "goodput",
        Figure::Latency => "median time of a transaction",
        Figure::Loss => "loss",
        Figure::OkayRate => "okay rate",
        Figure::ReceiverCpu => "CPU time of the receiver",
        Figure::SenderCpu => "CPU time of the sender",
        Figure::TailLatency => "99th percentile of the time of a transaction",
        Figure::Transactions => "transactions",
    }
}

/// By how much to divide a figure's values, and the unit that they then have.
pub(super) fn figure_unit(family: &Family) -> (f64, &'static str) {
    let highest = family.curves.iter().flat_map(|curve| &curve.points).map(|point| point.value.highest);
    match family.figure.unit() {
        Some("bit/s") => unit_for(highest.filter(|value| value.is_finite()).fold(0.0, f64::max), RATE_UNITS),
        Some(unit) => (1.0, unit),
        None => (0.01, "%"),
    }
}

/// The curves of a family. `names` are those of all targets, the base first. `None` where there is no axis to
/// draw them over, or nothing to draw.
///
/// # Errors
/// BUG.
pub(super) fn curves(family: &Family, names: &[&str]) -> Result<Option<Plot>, Failure> {
    let Some(parameter) = family.x else { return Ok(None) };
    let (divisor, unit) = figure_unit(family);
    let series: Vec<Series> = series(family, names, |curve| {
        let points = curve.points.iter().filter(|point| point.value.median.is_finite());
        let dots = points.map(|point| {
            let (low, high) = (point.value.lowest / divisor, point.value.highest / divisor);
            let repeated = point.results > 1 && low.is_finite() && high.is_finite();
            let bar = repeated.then_some((low, high));
            Dot { x: point.x, y: point.value.median / divisor, bar }
        });
        dots.collect()
    });
    // A share of more than all does not exist.
    let most = if family.figure.unit().is_none() { 1.0 / divisor } else { f64::INFINITY };
    let title = titled(figure_name(family.figure), Some(unit));
    draw(parameter, &series, None, |low, high| Scale::of_figures(title, low, high, most))
}

/// The curves of a family over the base's, which is a line at 1. `None` as with [`curves`].
///
/// # Errors
/// BUG.
pub(super) fn normalised(family: &Family, names: &[&str]) -> Result<Option<Plot>, Failure> {
    let Some(parameter) = family.x else { return Ok(None) };
    let base = names.first().copied();
    let series: Vec<Series> = series(family, names, |curve| {
        let points = curve.points.iter().filter(|_| Some(curve.name.as_str()) != base);
        let dots = points.filter_map(|point| {
            let ratio = point.ratio.filter(|ratio| ratio.is_finite())?;
            Some(Dot { x: point.x, y: ratio, bar: None })
        });
        dots.collect()
    });
    let title = format!("{}, base = 1", figure_name(family.figure));
    draw(parameter, &series, Some(1.0), |low, high| Scale::of_figures(title, low, high, f64::INFINITY))
}

fn series(family: &Family, names: &[&str], dots: impl Fn(&Curve) -> Vec<Dot>) -> Vec<Series> {
    let of = |curve: &Curve| {
        let index = names.iter().position(|name| *name == curve.name).unwrap_or(names.len());
        let mut dots = dots(curve);
        dots.retain(|dot| dot.x.is_finite());
        Series { mark: Mark::of(index), dots }
    };
    family.curves.iter().map(of).collect()
}

fn draw(
    parameter: Parameter,
    series: &[Series],
    line_at: Option<f64>,
    scale: impl FnOnce(f64, f64) -> Scale,
) -> Result<Option<Plot>, Failure> {
    let points = series.iter().map(|series| series.dots.len()).sum();
    if points == 0 {
        return Ok(None);
    }
    let dots = || series.iter().flat_map(|series| &series.dots);
    let x = Scale::of_parameter(parameter, &dots().map(|dot| dot.x).collect::<Vec<_>>());
    let ys = || {
        let ends = dots().flat_map(|dot| [Some(dot.y), dot.bar.map(|bar| bar.0), dot.bar.map(|bar| bar.1)]);
        ends.flatten().chain(line_at)
    };
    let y = scale(ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max));
    let mut svg = String::new();
    let drawn = paint(SVGBackend::with_string(&mut svg, SIZE), &x, &y, series, line_at);
    drawn.map_err(|error| {
        Failure::new(Class::Bug, "draw a plot", error.to_string()).next("report it, with the store")
    })?;
    Ok(Some(Plot { svg: finished(&svg, &format!("{} over {}", y.title, x.title)), points }))
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.share(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

fn paint<'a>(
    backend: SVGBackend<'a>,
    x: &Scale,
    y: &Scale,
    series: &[Series],
    line_at: Option<f64>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let area = backend.into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin_top(20)
        .margin_right(60)
        .margin_left(10)
        .margin_bottom(10)
        .set_label_area_size(LabelAreaPosition::Left, 170)
        .set_label_area_size(LabelAreaPosition::Bottom, 100)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let label = ("sans-serif", LABEL).into_font().color(&INK);
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(INK.stroke_width(2))
        .set_all_tick_mark_size(10)
        .label_style(label.clone())
        .axis_desc_style(label)
        .x_desc(x.title.as_str())
        .y_desc(y.title.as_str())
        .draw()?;
    if let Some(at) = line_at {
        let ends = [(x.low, at), (x.high, at)];
        chart.draw_series(LineSeries::new(ends, Mark::of(0).colour.stroke_width(LINE)))?;
    }
    let longest = series.iter().map(|series| series.dots.len()).max().unwrap_or_default();
    let (_, radius, cap) = SIZES.into_iter().find(|(most, ..)| longest <= *most).unwrap_or(SIZES[0]);
    for Series { mark, dots } in series {
        let at = |dot: &Dot| (dot.x, dot.y);
        let line = mark.colour.stroke_width(LINE);
        let path: Vec<(f64, f64)> = dots.iter().map(at).collect();
        match mark.dashes {
            None => chart.draw_series(LineSeries::new(path, line))?,
            Some((dash, gap)) => chart.draw_series(DashedLineSeries::new(path, dash, gap, line))?,
        };
        for dot in dots {
            let Some((low, high)) = dot.bar else { continue };
            let x = dot.x;
            let thin = mark.colour.stroke_width(2);
            chart.draw_series([PathElement::new([(x, low), (x, high)], thin)])?;
            let end = |y| EmptyElement::at((x, y)) + PathElement::new([(-cap, 0), (cap, 0)], thin);
            chart.draw_series([end(low), end(high)])?;
        }
        let style = ShapeStyle { filled: mark.filled, ..mark.colour.stroke_width(3) };
        chart.draw_series(dots.iter().map(|dot| Circle::new(at(dot), radius, style)))?;
    }
    area.present()
}

/// What plotters has no words for: what it shows, for those who have it read to them; that every circle is a
/// point of data; that a hollow one hides the line behind it; and that the size is the page's to choose.
fn finished(svg: &str, label: &str) -> String {
    let mut out = String::with_capacity(svg.len() + svg.len() / 8);
    for line in svg.lines() {
        if line.starts_with("<svg ") {
            let (width, height) = SIZE;
            let size = format!("width=\"{width}\" height=\"{height}\" ");
            out.push_str(&line.replace(&size, &format!("role=\"img\" aria-label=\"{label}\" ")));
        } else if line.starts_with("<circle ") {
            let line = line.replace("<circle ", "<circle class=\"point\" ");
            out.push_str(&line.replace("fill=\"none\"", "fill=\"#FFFFFF\""));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
