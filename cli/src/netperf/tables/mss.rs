//! The table of TCP_MSS: one figure, under a header or not.

use super::Layout;

/// The figure of TCP_MSS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MssTable {
    /// TCP_MAXSEG of the data connection, in bytes; `None` where it is not known.
    pub(crate) segment_bytes: Option<u32>,
}

impl MssTable {
    /// The text, line ends included: nothing at a verbosity above 2.
    pub(crate) fn render(&self, layout: &Layout<'_>) -> String {
        let segment = self.segment_bytes.map_or(-1, i64::from);
        let figure = format!("{segment} {}\n", layout.shown_brand());
        match layout.verbosity {
            0 => figure,
            1 | 2 if layout.headers => format!("Maximum\nSegment\nSize (bytes)\n\n{figure}"),
            1 | 2 => figure,
            _ => String::new(),
        }
    }
}
