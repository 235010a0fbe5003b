//! Compares the printing with what netperf 2.7.0 printed: the values of each golden output by selectors are
//! read out of it, and the same text must come of them again, byte for byte.
//!
//! What can be derived is not read: averages, sums, and what netperf has retired.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use super::render::{Style, render};
use super::selection::{Entry, Selection};
use super::table::NOTHING;
use super::values::{Cpu, Direction, End, Values};
use crate::netperf::confidence::Widths;
use crate::netperf::golden::{Golden, goldens};
use crate::netperf::histogram::Figures;

/// The selector files of the golden outputs.
const FILES: [(&str, &str); 3] = [
    ("sel.txt", "THROUGHPUT,THROUGHPUT_UNITS\nELAPSED_TIME,NO_SUCH_THING,DIRECTION\n"),
    ("sel2.txt", "Throughput,Elapsed Time (sec),Throughput Units\n"),
    ("lat.txt", "MIN_LATENCY,P99_LATENCY,LOCAL_CONG_CONTROL,THROUGHPUT\n"),
];

/// A build that writes into its buffers shows how much.
const DIRTY: &str = "311-opt-dirty.txt";

/// Selectors whose text is empty, or that have none, unless an option gives one.
const GIVEN: [&str; 3] = ["RESULT_BRAND", "LOCAL_FILL_FILE", "REMOTE_FILL_FILE"];

#[test]
fn golden_outputs_come_out_again() {
    let mut compared = 0;
    for golden in goldens() {
        let command = Command::read(&golden);
        let Some(style) = command.style.filter(|_| golden.exit == 0 && golden.name != DIRTY) else {
            continue;
        };
        let body = command.body(&golden, style);
        let selection = command.selection(style);
        let values = command.values(&selection, style, &body);
        assert_eq!(render(&selection, style, &values, command.headers), body, "{}", golden.name);
        compared += 1;
    }
    assert_eq!(compared, 70, "goldens must not drop out silently");
}

#[test]
fn the_names_are_netperfs() {
    for golden in goldens() {
        let command = Command::read(&golden);
        if let (Some(style), Some("?")) = (command.style, command.word) {
            let direction = Direction::default();
            let ending = Selection::choose(command.word, style, direction, false).err().expect("it ends");
            assert_eq!((ending.output, i32::from(ending.status)), (golden.stdout, golden.exit));
        }
    }
}

/// What of a command line decides the text.
struct Command<'a> {
    test: &'a str,
    style: Option<Style>,
    word: Option<&'a str>,
    headers: bool,
    cpu: bool,
    brand: bool,
    fill_file: bool,
    direction: Direction,
}

impl<'a> Command<'a> {
    fn read(golden: &'a Golden) -> Self {
        let mut command = Self {
            test: "TCP_STREAM",
            style: None,
            word: None,
            headers: true,
            cpu: false,
            brand: false,
            fill_file: false,
            direction: Direction::Send,
        };
        let mut words = golden.words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next().filter(|word| *word != "--") {
            let argument = words.peek().copied().unwrap_or_default();
            match word {
                "-t" => command.test = argument,
                "-P" => command.headers = argument != "0",
                "-c" | "-C" => command.cpu = true,
                "-B" => command.brand = true,
                "-F" => command.fill_file = argument != "/dev/urandom",
                _ => {}
            }
        }
        if command.test.eq_ignore_ascii_case("omni") {
            command.style = Some(Style::Human);
        }
        while let Some(option) = words.next() {
            let (letter, attached) = option.split_at(option.len().min(2));
            command.style = match letter {
                "-k" => Some(Style::KeyValue),
                "-o" => Some(Style::Csv),
                "-O" => Some(Style::Human),
                _ => continue,
            };
            let word = words.next_if(|word| attached.is_empty() && !word.starts_with('-'));
            command.word = word;
        }
        let banner = golden.stdout.lines().find(|line| line.contains(" TEST from ")).unwrap_or_default();
        command.direction = match (command.test, banner.split(' ').nth(1)) {
            ("TCP_MAERTS", _) | (_, Some("Receive")) => Direction::Receive,
            (test, _) if test.contains("RR") => Direction::SendReceive,
            (_, Some("Send|Recv" | "Connect|Send|Recv" | "Connection")) => Direction::SendReceive,
            // A build that has no headers here ran without options for a direction.
            _ => Direction::Send,
        };
        command
    }

    /// What follows the banner and the interim results.
    fn body(&self, golden: &Golden, style: Style) -> String {
        let is_interim = |line: &str| match style {
            // The last is seconds since 1970.
            Style::Csv => line.rsplit(',').next().is_some_and(|last| last.trim().len() == 14),
            Style::KeyValue => line.starts_with("NETPERF_"),
            Style::Human => line.starts_with("Interim result: "),
        };
        let (text, _histogram) = golden.stdout.split_once("\nHistogram").unwrap_or((&golden.stdout, ""));
        let lines = text.split_inclusive('\n').filter(|line| !is_interim(line));
        lines.skip(usize::from(self.headers)).collect()
    }

    fn selection(&self, style: Style) -> Selection {
        let file = FILES.iter().find(|(name, _)| Some(*name) == self.word);
        match file {
            Some((_, text)) => Selection::of_text(text.as_bytes()),
            None => Selection::choose(self.word, style, self.direction, self.cpu),
        }
        .unwrap_or_else(|ending| panic!("{:?} ends it: {ending:?}", self.word))
    }

    /// What the golden tells of the selectors in it.
    fn values(&self, selection: &Selection, style: Style, body: &str) -> Values {
        let mut values = Values::default();
        let entries = || selection.blocks.iter().flatten();
        match style {
            Style::KeyValue => {
                for line in body.lines() {
                    let (name, text) = line.split_once('=').expect("name and value");
                    set(&mut values, name, text);
                }
            }
            Style::Csv => {
                let cells = split_cells(body.lines().last().expect("a line of values"));
                for (entry, cell) in entries().zip(cells) {
                    set_entry(&mut values, entry, cell.trim());
                }
            }
            Style::Human => {
                let is_value = |number: usize| !self.headers || number % 6 == 4;
                for (block, (_, line)) in selection.blocks.iter().zip(
                    body.lines().enumerate().filter(|(number, line)| is_value(*number) && !line.is_empty()),
                ) {
                    self.set_columns(&mut values, block, line);
                }
            }
        }
        values
    }

    fn set_columns(&self, values: &mut Values, block: &[Entry], line: &str) {
        let mut rest = line.trim();
        for selector in block.iter().flatten() {
            let given = if selector.name == GIVEN[0] { self.brand } else { self.fill_file };
            if std::ptr::eq(*selector, NOTHING) || GIVEN.contains(&selector.name) && !given {
                continue;
            }
            let end = if rest.starts_with('"') { rest.len() } else { rest.find(' ').unwrap_or(rest.len()) };
            set(values, selector.name, &rest[..end]);
            rest = rest[end..].trim_start();
        }
        assert_eq!(rest, "", "all of the line is read");
    }
}

/// Cuts a line at its commas, but not between double quotes.
fn split_cells(line: &str) -> Vec<&str> {
    let mut is_quoted = false;
    line.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
    .collect()
}

fn set_entry(values: &mut Values, entry: &Entry, text: &str) {
    if let Some(selector) = entry {
        set(values, selector.name, text);
    }
}

fn number<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

/// -1 stands for what there is not.
fn optional<T: FromStr<Err: Debug>>(text: &str) -> Option<T> {
    (number::<f64>(text) >= 0.0).then(|| number(text))
}

/// A word that the program has as a constant.
fn word(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

/// Puts the printed value of a selector to its place; what is derived or always the same has none.
fn set(values: &mut Values, name: &str, text: &str) {
    match name.split_once('_') {
        Some(("LOCAL", "CPU_CONFID")) => widths(values).local_cpu = number(text),
        Some(("REMOTE", "CPU_CONFID")) => widths(values).remote_cpu = number(text),
        Some(("LOCAL", field)) => set_end(&mut values.local, field, text),
        Some(("REMOTE", field)) => set_end(&mut values.remote, field, text),
        Some((end @ ("LSS" | "LSR" | "RSS" | "RSR"), field)) => {
            let buffer = match end {
                "LSS" => &mut values.local.send_buffer,
                "LSR" => &mut values.local.receive_buffer,
                "RSS" => &mut values.remote.send_buffer,
                _ => &mut values.remote.receive_buffer,
            };
            match field {
                "SIZE_REQ" => buffer.requested = optional(text),
                "SIZE" => buffer.initial = number(text),
                _ => buffer.at_end = optional(text),
            }
        }
        Some((end @ ("SOURCE" | "DEST"), field)) => {
            let end = if end == "SOURCE" { &mut values.local } else { &mut values.remote };
            match field {
                "PORT" => end.port = text.to_owned(),
                "ADDR" => end.host = text.to_owned(),
                _ => end.family = number(text),
            }
        }
        Some((figure, "LATENCY")) if figure != "RT" => set_latency(values, figure, text),
        _ => set_common(values, name, text),
    }
}

fn set_common(values: &mut Values, name: &str, text: &str) {
    match name {
        "SOCKET_TYPE" => values.socket_type = word(text),
        "PROTOCOL" => values.protocol = word(text),
        "DIRECTION" => {
            let all = [
                Direction::Connect,
                Direction::ConnectSendReceive,
                Direction::Receive,
                Direction::Send,
                Direction::SendReceive,
            ];
            values.direction = all.into_iter().find(|one| one.word() == text).expect("a direction");
        }
        "ELAPSED_TIME" => values.elapsed = Duration::from_secs_f64(number(text)),
        "THROUGHPUT" => values.throughput = number(text),
        "THROUGHPUT_UNITS" => values.throughput_unit = word(text.trim_end_matches("/s")),
        "REQUEST_SIZE" => values.request_bytes = optional(text),
        "RESPONSE_SIZE" => values.response_bytes = optional(text),
        "SD_UNITS" => values.demand_unit = word(text),
        "CONFIDENCE_LEVEL" => values.confidence.level_percent = number(text),
        "CONFIDENCE_INTERVAL" => values.confidence.width_percent = optional(text),
        "CONFIDENCE_ITERATION" => values.confidence.iterations = number(text),
        "THROUGHPUT_CONFID" => widths(values).throughput = number(text),
        "TRANSACTION_RATE" => values.transaction_rate = number(text),
        "RT_LATENCY" => values.round_trip_us = optional(text),
        "BURST_SIZE" => values.burst = number(text),
        "TRANSPORT_MSS" => values.segment_bytes = optional(text),
        "RESULT_BRAND" => values.brand = (!text.is_empty()).then(|| unquoted(text)),
        "UUID" => values.uuid = text.to_owned(),
        "COMMAND_LINE" => values.command_line = unquoted(text),
        _ => {}
    }
}

/// A width that was not reached for want of a goal is -1 as well.
fn widths(values: &mut Values) -> &mut Widths {
    let unset = Widths { throughput: -1.0, local_cpu: -1.0, remote_cpu: -1.0 };
    values.confidence.achieved.get_or_insert(unset)
}

fn set_latency(values: &mut Values, figure: &str, text: &str) {
    if text.starts_with('-') {
        return;
    }
    let figures = values.latency.get_or_insert(Figures::default());
    match figure {
        "MIN" => figures.min_us = number(text),
        "MAX" => figures.max_us = number(text),
        "P50" => figures.p50_us = number(text),
        "P90" => figures.p90_us = number(text),
        "P99" => figures.p99_us = number(text),
        "MEAN" => figures.mean_us = number(text),
        _ => figures.stddev_us = number(text),
    }
}

fn set_end(end: &mut End, field: &str, text: &str) {
    match field {
        "SEND_SIZE" => end.send_bytes = optional(text),
        "RECV_SIZE" => end.receive_bytes = optional(text),
        "CPU_BIND" => end.cpu_bind = optional(text),
        "TRANSPORT_RETRANS" => end.retransmits = number(text),
        "SEND_THROUGHPUT" => end.send_rate = number(text),
        "RECV_THROUGHPUT" => end.receive_rate = number(text),
        "SEND_CALLS" => end.sends = number(text),
        "RECV_CALLS" => end.receives = number(text),
        // Elsewhere the counts are printed, too.
        "BYTES_PER_RECV" if end.receives == 0 && text != "0.00" => {
            (end.bytes_received, end.receives) = (number::<f64>(text) as u64, 1);
        }
        "BYTES_SENT" => end.bytes_sent = number(text),
        "BYTES_RECVD" => end.bytes_received = number(text),
        "SEND_OFFSET" => end.send_offset = number(text),
        "RECV_OFFSET" => end.receive_offset = number(text),
        "SEND_ALIGN" => end.send_alignment = number(text),
        "RECV_ALIGN" => end.receive_alignment = number(text),
        "SEND_WIDTH" => end.send_width = number(text),
        "RECV_WIDTH" => end.receive_width = number(text),
        "NODELAY" => end.no_delay = Some(text == "1"),
        "CORK" => end.cork = text == "1",
        "INTERVAL_USECS" => end.interval_us = number(text),
        "INTERVAL_BURST" => end.interval_burst = number(text),
        "SOCKET_PRIO" => end.priority = number(text),
        "SOCKET_TOS" => {
            let digits = text.strip_prefix("0x").expect("hexadecimal");
            end.type_of_service = u32::from_str_radix(digits, 16).expect("digits").cast_signed();
        }
        "CONG_CONTROL" => end.congestion_control = text.to_owned(),
        "FILL_FILE" => end.fill_file = text.to_owned(),
        _ => set_cpu(&mut end.cpu, field, text),
    }
}

fn set_cpu(cpu: &mut Cpu, field: &str, text: &str) {
    match field {
        "CPU_UTIL" => cpu.utilisation = number(text),
        "CPU_PERCENT_USER" => cpu.user = number(text),
        "CPU_PERCENT_SYSTEM" => cpu.system = number(text),
        "CPU_PERCENT_IOWAIT" => cpu.iowait = number(text),
        "CPU_PERCENT_IRQ" => cpu.irq = number(text),
        "CPU_PERCENT_SWINTR" => cpu.softirq = number(text),
        "CPU_METHOD" => cpu.method = Some(number(text)),
        "CPU_COUNT" => cpu.cpus = number(text),
        "CPU_PEAK_UTIL" => cpu.peak = number(text),
        "CPU_PEAK_ID" => cpu.peak_cpu = number(text),
        "SD" => cpu.service_demand = optional(text),
        _ => {}
    }
}
