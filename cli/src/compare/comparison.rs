//! What a comparison is made of: curves, how they differ from the base's, and who comes first. Plain data,
//! for every renderer.

use serde::Serialize;

use crate::figure::Figure;
use crate::record::Tool;
use crate::statistics::Spread;
use crate::store::RunRow;
use crate::sweep::grid::{Parameter, Setting};

/// A whole comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// [`crate::record::RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// The store that it is from.
    pub(crate) store: String,
    /// What is compared, the base first.
    pub(crate) targets: Vec<Target>,
    /// Curves that belong together.
    pub(crate) families: Vec<Family>,
    /// What the reader has to know about all of it.
    pub(crate) cautions: Vec<String>,
}

/// One of those that are compared.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// As it was asked for: a tag, or the number of a run.
    pub(crate) name: String,
    /// The runs that its points are from.
    pub(crate) runs: Vec<RunRow>,
}

/// The curves of one test and one figure over one parameter, one for each target, with everything else
/// alike.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Family {
    /// Name of the test.
    pub(crate) test: String,
    /// What is compared.
    pub(crate) figure: Figure,
    /// What it is compared over; `None` where nothing that counts varies.
    pub(crate) x: Option<Parameter>,
    /// Values of the other parameters that vary.
    pub(crate) fixed: Setting,
    /// In the order of the targets; of a target without points it has none.
    pub(crate) curves: Vec<Curve>,
    /// The whole range first, then those that were asked for.
    pub(crate) stretches: Vec<Stretch>,
}

/// The points of a target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    /// Name of the target.
    pub(crate) name: String,
    /// By ascending x.
    pub(crate) points: Vec<CurvePoint>,
    /// Points without a result.
    pub(crate) failed: usize,
}

/// A point, over its repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CurvePoint {
    /// The value of the parameter; 0 where none varies.
    pub(crate) x: f64,
    /// The figure.
    pub(crate) value: Spread,
    /// How many results it is from.
    pub(crate) results: usize,
    /// The median over the base's at the same x; `None` where the base has no point there, or it is zero.
    pub(crate) ratio: Option<f64>,
}

/// A part of the range of x, and who comes first there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stretch {
    /// From here, inclusive, to there, exclusive; `None` is the whole range.
    pub(crate) range: Option<(f64, f64)>,
    /// All targets, the base among them, the best first; those that cannot be ranked come last.
    pub(crate) ranking: Vec<Rank>,
}

/// How a target stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rank {
    /// Name of the target.
    pub(crate) name: String,
    /// From 1; those that tie share one. `None` where it cannot be ranked.
    pub(crate) place: Option<usize>,
    /// Values of x that both it and the base have there.
    pub(crate) points: usize,
    /// Signed area between its normalised curve and the base's, which is 1 everywhere: what lies above counts
    /// as positive. In units of x.
    pub(crate) area: Option<f64>,
    /// The area over the width of the range: by how much it lies above the base on average. Of a single point
    /// its ratio less 1.
    pub(crate) difference: Option<Difference>,
    /// In short.
    pub(crate) verdict: Verdict,
    /// In words, with its reason.
    pub(crate) text: String,
}

/// A relative difference from the base: 0.1 is 10 % above it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Of the medians.
    pub(crate) mean: f64,
    /// Bootstrap interval, where there are repetitions to draw from.
    pub(crate) interval: Option<(f64, f64)>,
}

/// What a difference amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It is what the others are set against.
    Base,
    /// Better than the base.
    Better,
    /// No point in common with the base.
    NothingInCommon,
    /// Measured in another way than the base, so that the difference is not the target's.
    NotAlike,
    /// No difference from the base worth the name.
    Tie,
    /// The repetitions differ more than the targets.
    TooNoisy,
    /// Worse than the base.
    Worse,
}
