//! netperf's output by selectors: `-k`, `-o`, `-O` and what the OMNI test prints.
//!
//! [`Selection`] is what the word behind such an option chooses, [`Values`] what a finished test came to, and
//! [`render`] puts one in the form of the other. Nothing is measured here; one selector file is read.

mod render;
mod selection;
mod table;
mod values;

#[cfg(test)]
mod golden;

#[expect(unused_imports, reason = "the options that ask for it are not read yet")]
pub(crate) use render::{Style, render};
#[expect(unused_imports, reason = "the options that ask for it are not read yet")]
pub(crate) use selection::Selection;
#[expect(unused_imports, reason = "the options that ask for it are not read yet")]
pub(crate) use values::{BufferSizes, Confidence, Cpu, Direction, End, Values};
