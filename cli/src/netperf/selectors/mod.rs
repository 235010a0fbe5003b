//! netperf's output by selectors: `-k`, `-o`, `-O` and what the OMNI test prints.
//!
//! [`Selection`] is what the word behind such an option chooses, [`Values`] what a finished test came to, and
//! [`mod@render`] puts one in the form of the other. Nothing is measured here; one selector file is read.

mod render;
mod selection;
mod table;
mod values;

#[cfg(test)]
mod golden;

pub(crate) use render::{Style, render};
pub(crate) use selection::Selection;
pub(crate) use values::{BufferSizes, Confidence, Cpu, Direction, End, Values};
