//! `ringperf compare`: targets of a store set against a base, over the parameters that were varied.

pub(crate) mod comparison;

use crate::error::{Class, Failure};
use crate::figure::Figure;
use crate::store::Store;
use comparison::Comparison;

/// What is to be compared.
pub(crate) struct Request {
    /// A tag, or the number of a run.
    pub(crate) base: String,
    /// The same.
    pub(crate) others: Vec<String>,
    /// None: those that the tests have.
    pub(crate) figures: Vec<Figure>,
    /// Parts of the range.
    pub(crate) ranges: Vec<(f64, f64)>,
    /// Rank what was measured in another way.
    pub(crate) mixed: bool,
}

/// Stands in for what another branch brings.
pub(crate) fn build(_: &Store, request: &Request, _: &[String]) -> Result<Comparison, Failure> {
    let Request { base, others, figures, ranges, mixed } = request;
    let cause = format!("not yet: {base} {others:?} {figures:?} {ranges:?} {mixed}");
    Err(Failure::new(Class::Bug, "compare", cause))
}
