//! What may differ between two runs of netperf, taken out of its output, and nothing else.
//!
//! Elapsed time, rates, CPU figures, service demand, counts, confidence widths and the segment size of the
//! moment become marks; sizes, alignments, words, blanks and the order of lines stay. A line is known by its
//! layout only: a row that breaks its columns by one blank matches no layout, stays as it is, and so differs
//! from every row that keeps them. Runs nothing and knows no command line.

use std::fmt::Write as _;

/// The lines that hold figures. A field in braces is a mark, then its alignment, its width and its decimals
/// as in [`std::fmt`]; a field grows past its width and then pushes the rest of the line. Marks:
///
/// - `=`: compared. A size, a letter.
/// - `+`: masked, but zero and more than zero are two things. A rate, a count, a CPU figure. A negative
///   figure is compared, because netperf prints -1 for what was not measured.
/// - `?`: masked. Errors, which may or may not happen; a confidence width, which is zero where all runs
///   agree.
/// - `~`: masked as `+` is, in C's `%.4g`: with an exponent or without.
///
/// At the end of a layout, `{*}` is the rest of the line, compared: the brand.
const LAYOUTS: &[&str] = &[
    // TCP_STREAM and TCP_MAERTS, without CPU and with.
    "{=>6} {=>6} {=>6}    {?<6.2}   {+>7.2}   {*}",
    "{=>6} {=>6} {=>6}    {?<6.2}     {+>7.2}   {+<6.2}   {+<6.2}   {+<6.3}  {+<6.3} {*}",
    // The one figure of verbosity 0, without CPU and with; UDP_STREAM has no brand.
    "{+>7.2} {*}",
    "{+>6.3} {=<1} {*}",
    "{+>7.2}",
    "{+>6.2} {=<1}",
    // The detail block: alignments, offsets, bytes, calls; the segment size. The kernel changes the latter
    // in the course of a connection, and bounds it by the loopback device and by half the peer's window.
    "{=>5}   {=>5}  {=>5}   {=>5} {+>6}  {+>6.2}    {+>6}   {+>6.2} {+>6}",
    "{+>6}",
    // UDP_STREAM's two rows, without CPU and with.
    "{=>6}  {=>6}   {?<7.2}   {+>7} {?>6}    {+>7.2}",
    "{=>6}           {?<7.2}   {+>7}           {+>7.2}",
    "{=>6}  {=>6}   {?<7.2}   {+>7} {?>6}    {+>7.1}     {+<6.2}   {+<6.3}",
    "{=>6}           {?<7.2}   {+>7}           {+>7.1}     {+<6.2}   {+<6.3}",
    // Transactions: without CPU; with CPU over TCP, over UDP, and with a connection for each.
    "{=<6} {=<6} {=<6}   {=<6}  {?<6.2}   {+>7.2}   {*}",
    "{=<6} {=<6} {=<6}  {=<6} {?<6.2}  {+<6.2}  {+<6.2} {+<6.2} {+<6.3}  {+<6.3} {*}",
    "{=<6} {=<6} {=<6}  {=<6} {?<6.2}  {+<6.2}   {+<6.2} {+<6.2} {+<6.3}  {+<6.3} {*}",
    "{=<6} {=<6} {=<6}  {=<6} {?<6.2}  {+<6.2}   {+<6.2} {+<6.2} {+<6.3}  {+<6.3}",
    // Their other end's buffers, and TCP_RR's details.
    "{=<6} {=<6}",
    "{=>5}  {=>5}   {=>5}  {=>5}   {+<6.3}   {+<6.3} {+<6.3}    {+<6.3}",
    // TCP_SENDFILE's details, and the segment size of TCP_MSS.
    "{=>5}   {=>5}  {=>5}   {=>5} {~>6}  {+>6.2}    {+>6}   {+>6.2} {+>6}",
    "{+>5} ",
    // Interim results.
    "Interim result: {?>7.2} {=<1} over {?<1.3} seconds ending at {?<1.3}",
    // What DUMP_TCP_INFO has printed.
    "tcpi_rto {?<1} tcpi_ato {?<1} tcpi_pmtu {?<1} tcpi_rcv_ssthresh {?<1}",
    "tcpi_rtt {?<1} tcpi_rttvar {?<1} tcpi_snd_ssthresh {?<1} tpci_snd_cwnd {?<1}",
    "tcpi_reordering {?<1} tcpi_total_retrans {?<1}",
    // CPUs of a calibration.
    "There are {?<1} local cpus",
    "There are {?<1} remote cpus",
    // The widths in the warning about confidence.
    "!!! Confidence intervals: Throughput      : {?>4.3}%",
    "!!!                       Local CPU util  : {?>4.3}%",
    "!!!                       Remote CPU util : {?>4.3}%",
];

/// `text` with a mark for every figure that two runs need not share.
pub(super) fn masked(text: &str) -> String {
    text.split('\n').map(masked_line).collect::<Vec<_>>().join("\n")
}

/// How many lines of `text` hold figures.
pub(super) fn rows(text: &str) -> usize {
    text.lines().filter(|line| LAYOUTS.iter().any(|layout| by_layout(layout, line).is_some())).count()
}

fn masked_line(line: &str) -> String {
    LAYOUTS.iter().find_map(|layout| by_layout(layout, line)).unwrap_or_else(|| line.to_owned())
}

/// A field of a layout.
struct Field {
    mark: char,
    leftward: bool,
    width: usize,
    decimals: usize,
}

/// The line with marks, if the whole of it keeps the layout.
fn by_layout(layout: &str, line: &str) -> Option<String> {
    let mut masked = String::new();
    let mut layout = layout;
    let mut line = line;
    while let Some((literal, rest)) = layout.split_once('{') {
        line = line.strip_prefix(literal)?;
        masked.push_str(literal);
        let (field, rest) = rest.split_once('}')?;
        layout = rest;
        if field == "*" {
            let plain = line.is_empty() || !line.starts_with(' ');
            return (plain && layout.is_empty()).then(|| masked + line);
        }
        let field = Field::parse(field)?;
        let (token, rest) = field.take(line)?;
        line = rest;
        masked.push_str(&field.marked(token)?);
    }
    (line == layout).then(|| masked + layout)
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let (mark, align) = (letters.next()?, letters.next()?);
        let (width, decimals) = letters.as_str().split_once('.').unwrap_or((letters.as_str(), "0"));
        let leftward = align == '<';
        Some(Self { mark, leftward, width: width.parse().ok()?, decimals: decimals.parse().ok()? })
    }

    /// The field's word at the start of `line`, and what follows the field.
    fn take<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str)> {
        let before = line.len() - line.trim_start_matches(' ').len();
        let word = line.trim_start_matches(' ');
        let end = word.find([' ', '%']).unwrap_or(word.len());
        let (word, rest) = word.split_at(end);
        let padding = self.width.saturating_sub(end);
        if self.leftward {
            let rest = rest.strip_prefix(&*" ".repeat(padding))?;
            return (before == 0 && end > 0).then_some((word, rest));
        }
        (before == padding && end > 0).then_some((word, rest))
    }

    /// What stands in the masked line for `word`; `None` if it is no such figure.
    fn marked(&self, word: &str) -> Option<String> {
        if self.mark == '=' {
            return Some(format!("{{{word}}}"));
        }
        if self.mark == '~' {
            let figure: f64 = word.parse().ok()?;
            return (figure > 0.0).then(|| "{more}".to_owned());
        }
        let digits = word.strip_prefix('-').unwrap_or(word);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = !whole.is_empty() && are_digits(whole) && are_digits(fraction);
        let padded_with_zeros = whole.len() > 1 && whole.starts_with('0');
        if !plain || padded_with_zeros || digits.contains('.') != (self.decimals > 0) {
            return None;
        }
        if fraction.len() != self.decimals {
            return None;
        }
        let figure: f64 = digits.parse().ok()?;
        let kind = match self.mark {
            _ if word.starts_with('-') => word,
            '+' if figure > 0.0 => "more",
            '+' => "zero",
            _ => "any",
        };
        Some(format!("{{{kind}}}"))
    }
}

/// A result by selectors with a mark for every figure: its sign and how many decimals it has are compared,
/// and what is text. Columns follow the width of figures, so that a run of blanks counts as one.
pub(super) fn masked_selection(text: &str) -> String {
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_[]".contains(&byte))
    };
    let lines = text.split('\n').map(|line| {
        let line = &without_command(line);
        match line.split_once('=') {
            Some((name, value)) if is_name(name) => {
                let name = name.split('[').next().unwrap_or(name);
                format!("{name}={}", masked_value(name, value))
            }
            _ if line.contains(',') => {
                let cells = line.trim_start().split(',').map(|cell| masked_value("", cell));
                cells.collect::<Vec<_>>().join(",")
            }
            _ => {
                let cells = line.split_whitespace().map(|cell| masked_value("", cell));
                cells.collect::<Vec<_>>().join(" ")
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The line with a mark for the command line in quotes, which has a port of its own in it.
fn without_command(line: &str) -> String {
    let quoted = line.split_once('"').and_then(|(before, rest)| Some((before, rest.rsplit_once('"')?)));
    match quoted {
        Some((before, (command, after))) if command.contains("netperf ") => {
            format!("{before}{{command}}{after}")
        }
        _ => line.to_owned(),
    }
}

/// Parts of the names of what is asked for, not measured.
const ASKED_FOR: &[&str] = &[
    "ALIGN",
    "OFFSET",
    "SOURCE_PORT",
    "DEST_PORT",
    "FAMILY",
    "NODELAY",
    "CORK",
    "BURST",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TOS",
    "PRIO",
    "SIZE_REQ",
    "INTERVAL_USECS",
    "DIRTY",
    "CLEAN",
    "CPU_BIND",
];

/// Congestion controls that a kernel may have by default.
const CONGESTION_CONTROLS: &[&str] = &["bbr", "cubic", "reno"];

fn masked_value(name: &str, value: &str) -> String {
    let figure = value.trim_start();
    // A value after an empty one begins with a blank of its own.
    let blank = if figure.len() < value.len() { " " } else { "" };
    let is_uuid = figure.len() == 36 && figure.matches('-').count() == 4;
    if is_uuid || CONGESTION_CONTROLS.contains(&figure.trim_end()) {
        return format!("{blank}{{text}}");
    }
    let digits = figure.strip_prefix('-').unwrap_or(figure);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = !whole.is_empty() && are_digits(whole) && are_digits(fraction);
    if !plain || figure.starts_with('-') || ASKED_FOR.iter().any(|part| name.contains(part)) {
        return value.to_owned();
    }
    format!("{blank}{{{}}}", fraction.len())
}

/// Where two texts part, line by line, for a person to read. Blanks at the ends of lines are made visible.
pub(super) fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut text = String::new();
    let mut expected = expected.split('\n');
    let mut found = found.split('\n');
    loop {
        let (wanted, got) = (expected.next(), found.next());
        if wanted.is_none() && got.is_none() {
            return Some(text);
        }
        if wanted != got {
            for (side, line) in [('-', wanted), ('+', got)] {
                if let Some(line) = line {
                    writeln!(text, "    {side}{line}|").expect("writing to a string works");
                }
            }
        }
    }
}

#[test]
fn fields_grow_and_keep_their_columns() {
    let narrow = "131072   4608 131072    1.00       24.11   ";
    for row in [
        "131072   4608 131072    1.00     13370.46   ",
        "131072   4608 131072    1.00     133700000.46   ",
        "131072   4608 131072    10.00      24.11   ",
        "131072   4608 131072    1000.00      1.00   ",
    ] {
        assert_eq!(masked(row), masked(narrow), "{row}");
        assert_eq!(rows(row), 1, "{row}");
    }
    assert_eq!(masked(narrow), "{131072} {4608} {131072}    {any}   {more}   ");
}

#[test]
fn what_is_no_figure_is_not_masked() {
    for row in [
        "131072  16384  16384    1.00          nan   ",
        "131072  16384  16384    1.00         24.1   ",
        "131072  16384  16384    1.00        024.11   ",
        "131072  16384  16384    1.00      24.11  ",
        "131072  16384  16384    1.00     24.11   ",
        "131072  16384  16384   1.00       24.11   ",
        "131072 16384  16384    1.00       24.11   ",
    ] {
        assert_eq!(masked(row), row);
        assert_eq!(rows(row), 0, "{row}");
    }
}

#[test]
fn nothing_measured_is_not_like_something() {
    let pairs = [
        ("131072  16384  16384    1.00        0.00   ", "131072  16384  16384    1.00        0.01   "),
        (
            "131072  16384  16384    1.00       11075.20   93.37    -1.00    1.381   -1.000 ",
            "131072  16384  16384    1.00       11075.20   93.37    93.37    1.381   1.381  ",
        ),
        (
            "212992           1.00            0              0.00",
            "212992           1.00            1              0.01",
        ),
    ];
    for (one, other) in pairs {
        assert_eq!((rows(one), rows(other)), (1, 1), "{one}\n{other}");
        assert_ne!(masked(one), masked(other));
        assert!(difference(&masked(one), &masked(other)).is_some());
    }
}

#[test]
fn a_selection_keeps_names_words_signs_and_decimals() {
    for (line, expected) in [
        ("THROUGHPUT=13880.25", "THROUGHPUT={2}"),
        ("NETPERF_INTERVAL[3]=0.250", "NETPERF_INTERVAL={3}"),
        ("BURST_SIZE=8", "BURST_SIZE=8"),
        ("LOCAL_SD=-1.000", "LOCAL_SD=-1.000"),
        ("LOCAL_SOCKET_TOS=0xb8", "LOCAL_SOCKET_TOS=0xb8"),
        ("UUID=305c8a52-e671-11f1-b482-3deefc00e290", "UUID={text}"),
        ("COMMAND_LINE=\"netperf -p 5 -- -k A,B\"", "COMMAND_LINE={command}"),
        ("RESULT_BRAND=\"tag1\"", "RESULT_BRAND=\"tag1\""),
        ("TCP,, Send", "TCP,, Send"),
        ("  17.50,10^6bits/s,0.250,1795350988.318", "{2},10^6bits/s,{3},{3}"),
        ("22907.94   10^6bits/s  ", "{2} 10^6bits/s"),
    ] {
        assert_eq!(masked_selection(line), expected);
    }
}
