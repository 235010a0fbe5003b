//! The three forms of selector output, byte for byte as netperf 2.7.0 prints them.
//!
//! From a choice and values to text; what they mean is not known here. A selector may have no value, which
//! is not the same as an empty one: each form has its own way to leave it out.

use super::selection::{Entry, Selection};
use super::values::Values;

/// Lines of a header in columns, used or not.
const HEADER_LINES: usize = 4;

/// How selected values are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Test option `-o`: one line of headers, one of values.
    Csv,
    /// Test option `-k`: a line `NAME=value` for each.
    KeyValue,
    /// Test option `-O`: columns under their headers.
    Human,
}

/// What `selection` shows of a test, whole lines; `headers` is global option `-P`.
pub(crate) fn render(selection: &Selection, style: Style, values: &Values, headers: bool) -> String {
    match style {
        Style::Csv => csv(selection, values, headers),
        Style::KeyValue => key_value(selection, values),
        Style::Human => human(selection, values, headers),
    }
}

/// A selector without a value has no line.
fn key_value(selection: &Selection, values: &Values) -> String {
    let mut lines = String::new();
    for selector in selection.blocks.iter().flatten().flatten() {
        if let Some(text) = (selector.text)(values) {
            lines.extend([selector.name, "=", &text, "\n"]);
        }
    }
    lines
}

/// All blocks in a line. A selector without a value has an empty cell and puts a blank in front of the next
/// one; a name that is no selector has such a cell, too, and no header above it. A first block that is empty
/// ends it.
fn csv(selection: &Selection, values: &Values, headers: bool) -> String {
    if selection.blocks.first().is_none_or(Vec::is_empty) {
        return String::new();
    }
    let entries = || selection.blocks.iter().flatten();
    let cell = |entry: &Entry| match text(entry, values) {
        Some(text) => text + ",",
        None => ", ".to_owned(),
    };
    let mut cells: String = entries().map(cell).collect();
    cells.pop();
    let titles = entries().flatten().map(|selector| selector.header().collect::<Vec<_>>().join(" "));
    let titles = titles.collect::<Vec<_>>().join(",");
    if headers { format!("{titles}\n{cells}\n") } else { format!("{cells}\n") }
}

/// A block below the other, an empty line above each but the first. One that is empty is left out, with its
/// line.
fn human(selection: &Selection, values: &Values, headers: bool) -> String {
    let mut lines = String::new();
    for (number, block) in selection.blocks.iter().enumerate().filter(|(_, block)| !block.is_empty()) {
        if number > 0 {
            lines.push('\n');
        }
        let columns: Vec<Column> = block.iter().map(|entry| Column::new(entry, values)).collect();
        for line in 0..=HEADER_LINES {
            if line == HEADER_LINES || headers {
                lines.extend(columns.iter().map(|column| column.line(line)));
                lines.push('\n');
            }
        }
    }
    lines
}

/// A column of a block.
struct Column {
    /// Its header, and its value below the last possible line of that.
    words: [String; HEADER_LINES + 1],
    /// Bytes of the longest header word, or one more than the value has; a blank follows.
    width: usize,
}

impl Column {
    fn new(entry: &Entry, values: &Values) -> Self {
        let mut words: [String; HEADER_LINES + 1] = Default::default();
        let header = entry.iter().flat_map(|selector| selector.header());
        for (place, word) in words.iter_mut().zip(header) {
            place.push_str(word);
        }
        let longest = words.iter().map(String::len).max().unwrap_or(0);
        let text = text(entry, values);
        let width = longest.max(text.as_ref().map_or(0, |text| text.len() + 1));
        words[HEADER_LINES] = text.unwrap_or_default();
        Self { words, width }
    }

    /// A line of it, padded. Bytes are counted, not characters, as netperf's C library does.
    fn line(&self, number: usize) -> String {
        let word = &self.words[number];
        let blanks = (self.width + 1).saturating_sub(word.len());
        format!("{word}{}", " ".repeat(blanks))
    }
}

fn text(entry: &Entry, values: &Values) -> Option<String> {
    entry.and_then(|selector| (selector.text)(values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netperf::selectors::Direction;
    use crate::netperf::selectors::table::SELECTORS;

    fn choose(word: &str) -> Selection {
        Selection::choose(Some(word), Style::Human, Direction::Send, false).expect("it is a list")
    }

    fn rendered(word: &str, style: Style) -> String {
        render(&choose(word), style, &Values::default(), true)
    }

    /// What a stock netperf 2.7.0 printed of a stream, blank for blank.
    #[test]
    fn what_has_no_value_is_left_out_as_netperf_leaves_it_out() {
        let csv = |word: &str| rendered(word, Style::Csv);
        let twice = "RESULT_BRAND,RESULT_BRAND";
        assert_eq!(csv(&format!("{twice},PROTOCOL")), "Result Tag,Result Tag,Protocol\n, , TCP\n");
        assert_eq!(csv(&format!("PROTOCOL,{twice}")), "Protocol,Result Tag,Result Tag\nTCP,, ,\n");
        assert_eq!(csv("RESULT_BRAND"), "Result Tag\n,\n");
        assert_eq!(csv("PROTOCOL;NO1;DIRECTION"), "Protocol,Direction\nTCP,, Send\n");
        assert_eq!(csv("PROTOCOL,OUTPUT_NONE,DIRECTION"), "Protocol, ,Direction\nTCP, ,Send\n");
        assert_eq!(
            rendered("OUTPUT_NONE,PROTOCOL,NO1,RESULT_BRAND", Style::Human),
            "   Protocol  Result \n             Tag    \n                    \n                    \n   \
             TCP              \n"
        );
        assert_eq!(rendered("PROTOCOL,RESULT_BRAND,NO1", Style::KeyValue), "PROTOCOL=TCP\n");
        let no_headers = render(&choose("NO1,DIRECTION,NO2"), Style::Csv, &Values::default(), false);
        assert_eq!(no_headers, ", Send,,\n");
    }

    /// Likewise.
    #[test]
    fn empty_blocks_count_and_are_not_shown() {
        for list in [",", ";", "OUTPUT_END,PROTOCOL"] {
            for style in [Style::Csv, Style::KeyValue, Style::Human] {
                assert_eq!(rendered(list, style), "", "{list}");
            }
        }
        assert_eq!(rendered(";PROTOCOL", Style::Csv), "");
        assert_eq!(rendered("PROTOCOL;;DIRECTION", Style::Csv), "Protocol,Direction\nTCP,Send\n");
        let human = |list| render(&choose(list), Style::Human, &Values::default(), false);
        assert_eq!(human(";;PROTOCOL;DIRECTION"), "\nTCP      \n\nSend      \n");
        assert_eq!(human("PROTOCOL;;;DIRECTION;UUID"), "TCP      \n\nSend      \n");
    }

    /// What netperf's padding counts.
    #[test]
    fn columns_are_padded_by_the_byte() {
        let values = Values { brand: Some("é".to_owned()), ..Values::default() };
        let lines = render(&choose("RESULT_BRAND,PROTOCOL"), Style::Human, &values, false);
        assert_eq!(lines, "\"é\"   TCP      \n");
    }

    proptest! {
        #[test]
        fn columns_align(
            places in proptest::collection::vec(proptest::option::of(0..SELECTORS.len()), 1..40),
            (brand, uuid) in (proptest::option::of("[ -~]{0,60}"), "[ -~]{0,40}"),
            (throughput, bytes, calls) in (any::<f64>(), any::<u64>(), any::<u64>()),
            size in any::<u32>(),
        ) {
            let mut values = Values { brand, uuid, throughput, ..Values::default() };
            (values.local.bytes_sent, values.local.sends, values.remote.bytes_sent) = (bytes, calls, bytes);
            (values.local.send_buffer.requested, values.remote.receive_bytes) = (Some(size), Some(size));
            let name = |place: Option<usize>| place.map_or("NO_SELECTOR", |place| SELECTORS[place].name);
            let list: Vec<&str> = places.iter().map(|place| name(*place)).collect();
            let selection = choose(&(list.join(",") + ","));
            let text = render(&selection, Style::Human, &values, true);
            let lines: Vec<&str> = text.lines().collect();
            let shown = selection.blocks.iter().flatten().count();
            prop_assert_eq!(lines.len(), if shown == 0 { 0 } else { HEADER_LINES + 1 });
            prop_assert!(lines.windows(2).all(|two| two[0].len() == two[1].len()), "{}", text);
            // Each column ends in a blank, and each header word stands where its column begins.
            let mut at = 0;
            for entry in selection.blocks.iter().flatten() {
                let column = Column::new(entry, &values);
                for (word, line) in column.words.iter().zip(&lines) {
                    prop_assert!(line[at..].starts_with(word.as_str()));
                }
                at += column.width + 1;
                prop_assert!(lines.iter().all(|line| line[..at].ends_with(' ')));
            }
        }
    }
}
