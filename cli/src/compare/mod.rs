//! `ringperf compare`: targets of a store set against a base, over the parameters that were varied.

pub(crate) mod comparison;
