//! From a record to text: pure functions, one module for each form.
//!
//! Opens nothing; [`print()`] is the one place that writes to standard output.

use std::io::{self, Write};

pub(crate) mod json;
pub(crate) mod text;

/// Writes a rendered result to standard output. A reader that has gone away is not an error: it has what it
/// wanted.
///
/// # Errors
/// Any other failure of standard output, such as a full disk.
pub(crate) fn print(rendered: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(rendered.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
