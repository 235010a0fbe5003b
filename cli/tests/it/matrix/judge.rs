//! What a cell's output has to be: the shape of its tables, and figures that agree with each other.
//!
//! Layout to the blank is the golden files' business. Here a number that is missing, zero, or in
//! contradiction to another one is found, at either end.

use std::collections::HashMap;
use std::time::Duration;

use super::cell::{Cell, Test, Variant};
use crate::netperf::Ended;
use crate::support::online_cpus;

/// Complains by returning a sentence.
pub(super) type Judged<T> = Result<T, String>;

/// `Err` with a sentence unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($sentence:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($sentence)*));
        }
    };
}

/// Two decimals of a rate and of about one second: neither is off by more than half a percent, and counts
/// that both ends make of the same bytes by next to nothing.
const ROUNDING: f64 = 0.015;

/// What buffers of both kernels may hold of a stream at its end, in bytes. Far above `tcp_wmem` and
/// `tcp_rmem` together, and far below what a second moves.
const IN_FLIGHT: f64 = 64.0 * 1024.0 * 1024.0;

/// The one figure of a cell for the table, after everything else has been found right.
pub(super) fn judge(cell: Cell, data_port: u16, ended: &Ended) -> Judged<String> {
    hold!(ended.status == 0 && ended.err.is_empty(), "exit status {}, `{}`", ended.status, ended.err);
    if let Some(banner) = cell.test.banner() {
        judge_banner(cell, data_port, banner, ended.out.lines().next().unwrap_or_default())?;
    }
    let runs = if cell.variant == Variant::Confidence && cell.test.is_repeated() { 3 } else { 1 };
    hold!(
        !cell.test.is_timed() || ended.took >= Duration::from_secs(runs),
        "{runs} runs of 1 s took {:?}",
        ended.took
    );
    if !cell.test.is_timed() {
        return judge_single(cell, &ended.out);
    }
    if cell.by_names() {
        return judge_names(cell, data_port, &Names::read(&ended.out)?);
    }
    if cell.test.is_omni() {
        return judge_omni(cell, &ended.out);
    }
    judge_table(cell, &ended.out)
}

impl Test {
    /// Whether several iterations may be asked of it. Beside tests on the omni engine, that is TCP_SENDFILE.
    fn is_repeated(self) -> bool {
        self.on_omni_engine() || self == Self::TcpSendfile
    }
}

fn judge_banner(cell: Cell, data_port: u16, name: &str, line: &str) -> Judged<()> {
    let family = if cell.v6 { "AF_INET6" } else { "AF_INET" };
    let port = if cell.variant == Variant::Port { data_port } else { 0 };
    hold!(line.starts_with(&format!("{name} from ")), "banner: {line}");
    let ends: Vec<&str> = line.split(" port ").skip(1).collect();
    hold!(ends.len() == 2, "banner names {} ports: {line}", ends.len());
    hold!(ends[0].starts_with(&format!("0 {family} to ")), "banner, local end: {line}");
    let remote = format!("{port} {family}");
    let rest = ends[1].strip_prefix(&remote).ok_or_else(|| format!("banner, not {remote}: {line}"))?;
    hold!(rest.is_empty() || rest.starts_with(" :"), "banner, not {remote}: {line}");
    let confidence = rest.contains(" : +/-25.000% @ 99% conf. ");
    hold!(confidence == (cell.variant == Variant::Confidence), "banner, confidence: {line}");
    Ok(())
}

/// The tests that print one value.
fn judge_single(cell: Cell, out: &str) -> Judged<String> {
    if cell.test == Test::TcpMss {
        let header: Vec<&str> = out.lines().skip(1).take(4).map(str::trim_end).collect();
        hold!(header == ["Maximum", "Segment", "Size (bytes)", ""], "header: {out}");
        let size = number_rows(out).pop().and_then(|row| row.first().copied()).unwrap_or_default();
        hold!((500.0..=65_535.0).contains(&size), "no segment has {size} bytes: {out}");
        return Ok(format!("{size} bytes"));
    }
    if cell.test == Test::Uuid {
        let parts: Vec<usize> = out.split('-').map(str::len).collect();
        let hexadecimal = out.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit());
        hold!(parts == [8, 4, 4, 4, 12] && hexadecimal, "no identifier: `{out}`");
        return Ok("an identifier".to_owned());
    }
    let (rate, rest) = out.split_once('\n').unwrap_or((out, ""));
    hold!(rate == "100", "Linux counts 100 ticks a second, not `{rate}`");
    let end = if cell.test == Test::LocCpu { "local" } else { "remote" };
    let cpus = online_cpus();
    let sentence = match (cell.variant, cpus) {
        (Variant::Plain, 1.0) => format!("There is 1 {end} cpu\n"),
        (Variant::Plain, _) => format!("There are {cpus} {end} cpus\n"),
        _ => String::new(),
    };
    hold!(rest == sentence, "not `{sentence}`: {out}");
    Ok(format!("{rate} ticks/s"))
}

fn judge_table(cell: Cell, out: &str) -> Judged<String> {
    let rows = number_rows(out);
    let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
    hold!(lengths == row_lengths(cell), "rows of {lengths:?} figures, not {:?}: {out}", row_lengths(cell));
    let has_methods = cell.variant == Variant::Cpu && !matches!(cell.test, Test::TcpCrr | Test::TcpCc);
    let methods = if cell.test == Test::UdpStream { " % SS " } else { " % S " };
    hold!(!has_methods || out.contains(methods), "not `{methods}`: {out}");
    let row = &rows[0];
    let (elapsed, rate) = match cell.test {
        Test::UdpStream => (row[2], row[5]),
        Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile => (row[3], row[4]),
        _ => (row[4], row[5]),
    };
    judge_elapsed(elapsed)?;
    hold!(rate > 0.0, "a rate of {rate}: {out}");
    let accounted = match (cell.test, cell.variant) {
        (Test::UdpStream, variant) => judge_datagrams(row, &rows[1], variant != Variant::Confidence),
        (Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile, Variant::Plain) => {
            judge_stream_details(cell.test, elapsed, rate, &rows[1], &rows[2])
        }
        (Test::TcpRr, Variant::Plain) => judge_transaction_details(rate, &rows[2]),
        _ => Ok(()),
    };
    accounted.map_err(|sentence| format!("{sentence}: {out}"))?;
    if cell.variant == Variant::Cpu {
        let ends = match cell.test {
            Test::UdpStream => [(row[6], row[7]), (rows[1][4], rows[1][5])],
            Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile => [(row[5], row[7]), (row[6], row[8])],
            _ => [(row[6], row[8]), (row[7], row[9])],
        };
        judge_cpu(cell.test, rate, ends).map_err(|sentence| format!("{sentence}: {out}"))?;
    }
    Ok(format!("{rate:.2} {}", unit(cell.test)))
}

/// How many figures each row has, from the first to the last.
fn row_lengths(cell: Cell) -> Vec<usize> {
    let cpu = cell.variant == Variant::Cpu;
    let details = cell.variant == Variant::Plain;
    match cell.test {
        Test::UdpStream if cpu => vec![8, 6],
        Test::UdpStream => vec![6, 4],
        Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile if cpu => vec![9],
        Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile if details => vec![5, 9, 1],
        Test::TcpStream | Test::TcpMaerts | Test::TcpSendfile => vec![5],
        _ if cpu => vec![10, 2],
        Test::TcpRr if details => vec![6, 2, 8],
        Test::TcpCrr | Test::TcpCc if details => vec![6, 2, 4],
        _ => vec![6, 2],
    }
}

/// Of the window that was asked for, and not of what netserver waits after it.
fn judge_elapsed(elapsed: f64) -> Judged<()> {
    hold!((0.95..3.0).contains(&elapsed), "1 s was asked for, and took {elapsed}");
    Ok(())
}

/// Of several runs, rates and counts are the last one's, and the time is the mean.
fn judge_datagrams(sent: &[f64], received: &[f64], one_run: bool) -> Judged<()> {
    let (size, okay, arrived) = (sent[1], sent[3], received[2]);
    hold!(okay > 0.0 && arrived > 0.0, "{okay} datagrams sent, {arrived} received");
    hold!(arrived <= okay, "{arrived} datagrams received of {okay}");
    // Loopback loses only what the receiver is too slow for; next to everything is lost by a mistake.
    hold!(arrived > okay / 200.0, "next to all of {okay} datagrams are lost");
    let (rates, counts) = (sent[5] / received[3], okay / arrived);
    hold!(agree(rates, counts), "rates are as 1 to {rates}, and counts as 1 to {counts}");
    let own = okay * size * 8.0 / sent[2] / 1e6;
    hold!(!one_run || agree(sent[5], own), "a rate of {}, and {own} by the count", sent[5]);
    Ok(())
}

/// Both ends' bytes: what this one counted, what the other one did, and what the rate is made of.
fn judge_stream_details(test: Test, elapsed: f64, rate: f64, block: &[f64], segment: &[f64]) -> Judged<()> {
    let headline = rate * 1e6 / 8.0 * elapsed;
    let (counted, here, there) = (block[4], block[5] * block[6], block[7] * block[8]);
    hold!(segment[0] > 500.0, "no segment has {} bytes", segment[0]);
    let near = |one: f64, other: f64| (one - other).abs() <= other * ROUNDING + 1e6;
    if test == Test::TcpMaerts {
        hold!(agree(headline, counted), "{headline} bytes by the rate, {counted} received");
        hold!(agree(here, counted), "{here} bytes by the receives, {counted} in all");
        let sent = there >= counted * (1.0 - ROUNDING) && there <= counted * (1.0 + ROUNDING) + IN_FLIGHT;
        hold!(sent, "{there} bytes sent there, {counted} received here");
    } else {
        hold!(near(headline, counted), "{headline} bytes by the rate, {counted} counted");
        hold!(near(here, counted), "{here} bytes by the sends, {counted} in all");
        hold!(near(there, counted), "{there} bytes by the receives, {counted} in all");
    }
    Ok(())
}

/// Of requests and responses of 1 byte: latency is the rate's reciprocal, and each way carries the rate.
fn judge_transaction_details(rate: f64, block: &[f64]) -> Judged<()> {
    let (latency, transactions, outbound, inbound) = (block[4], block[5], block[6], block[7]);
    hold!(agree(latency * transactions, 1e6), "{latency} us each, and {transactions} a second");
    hold!(agree(transactions, rate), "{transactions} transactions a second, and {rate}");
    let each_way = rate * 8.0 / 1e6;
    for way in [outbound, inbound] {
        hold!((way - each_way).abs() <= 0.001, "{way} 10^6bits/s one way, and {each_way} by the rate");
    }
    Ok(())
}

/// Service demand follows from utilisation and rate: microseconds of all cores for a KB or a transaction.
fn judge_cpu(test: Test, rate: f64, ends: [(f64, f64); 2]) -> Judged<()> {
    let units = if unit(test) == "trans/s" { rate } else { rate * 1e6 / 8.0 / 1024.0 };
    for (index, (utilisation, demand)) in ends.into_iter().enumerate() {
        // A stock netserver scales its figure for connections by the 4 s that it waits after them.
        let most = if index == 1 && matches!(test, Test::TcpCrr | Test::TcpCc) { 600.0 } else { 100.5 };
        hold!(utilisation > 0.0 && utilisation <= most, "a utilisation of {utilisation} %");
        let expected = utilisation * 10_000.0 * online_cpus() / units;
        let tolerance = 0.001 + expected * ROUNDING;
        hold!((demand - expected).abs() <= tolerance, "a demand of {demand}, {expected} by utilisation");
    }
    Ok(())
}

/// The columns of OMNI without selectors: sizes, elapsed time, rate, its unit, then CPU figures.
fn judge_omni(cell: Cell, out: &str) -> Judged<String> {
    let sizes = if cell.test == Test::OmniRr { 6 } else { 3 };
    let line = out.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let cpu_columns = if cell.variant == Variant::Cpu { 17 } else { 0 };
    hold!(words.len() == sizes + 3 + cpu_columns, "{} columns: {out}", words.len());
    let figure = |column: usize| -> Judged<f64> {
        words[column].parse().map_err(|_| format!("`{}` is no figure: {out}", words[column]))
    };
    for (column, word) in words.iter().enumerate().take(sizes) {
        hold!(figure(column)? > 0.0, "size {column} is {word}: {out}");
    }
    judge_elapsed(figure(sizes)?)?;
    let rate = figure(sizes + 1)?;
    hold!(rate > 0.0, "a rate of {rate}: {out}");
    let unit_word = if cell.test == Test::OmniRr { "Trans/s" } else { "10^6bits/s" };
    hold!(words[sizes + 2] == unit_word, "not {unit_word}: {out}");
    if cell.variant == Variant::Cpu {
        let (local, remote) = (sizes + 3, sizes + 10);
        hold!(words[local + 6] == "S" && words[remote + 6] == "S", "not method S: {out}");
        let ends = [(figure(local)?, figure(sizes + 17)?), (figure(remote)?, figure(sizes + 18)?)];
        judge_cpu(cell.test, rate, ends).map_err(|sentence| format!("{sentence}: {out}"))?;
        let per = if cell.test == Test::OmniRr { "usec/Tran" } else { "usec/KB" };
        hold!(words[sizes + 19] == per, "not {per}: {out}");
    }
    Ok(format!("{rate:.2} {}", unit(cell.test)))
}

/// Both ends' counts by name.
fn judge_names(cell: Cell, data_port: u16, names: &Names) -> Judged<String> {
    hold!(names.text("DEST_PORT")? == data_port.to_string(), "port {}", names.text("DEST_PORT")?);
    let (elapsed, rate) = (names.figure("ELAPSED_TIME")?, names.figure("THROUGHPUT")?);
    judge_elapsed(elapsed)?;
    hold!(rate > 0.0, "a rate of {rate}");
    let (unit_word, direction) = match unit(cell.test) {
        "trans/s" => ("Trans/s", "Send|Recv"),
        _ if matches!(cell.test, Test::TcpMaerts | Test::OmniRecv) => ("10^6bits/s", "Receive"),
        _ => ("10^6bits/s", "Send"),
    };
    hold!(names.text("THROUGHPUT_UNITS")? == unit_word, "unit {}", names.text("THROUGHPUT_UNITS")?);
    let found = names.text("DIRECTION")?;
    let connects = cell.test == Test::TcpCrr && found == "Connect|Send|Recv";
    hold!(found == direction || connects, "direction {found}");
    let bytes = |name: &str| names.figure(name);
    let (sent_here, received_here) = (bytes("LOCAL_BYTES_SENT")?, bytes("LOCAL_BYTES_RECVD")?);
    let (sent_there, received_there) = (bytes("REMOTE_BYTES_SENT")?, bytes("REMOTE_BYTES_RECVD")?);
    match direction {
        "Send" => {
            let headline = rate * 1e6 / 8.0 * elapsed;
            hold!(agree(headline, received_there), "{headline} bytes by the rate, {received_there} received");
            hold!(sent_there == 0.0 && received_here == 0.0, "{sent_there} bytes came back");
            if cell.test == Test::UdpStream {
                hold!(received_there <= sent_here, "{received_there} bytes received of {sent_here}");
                hold!(received_there > sent_here / 200.0, "next to all of {sent_here} bytes are lost");
            } else {
                let apart = (received_there - sent_here).abs();
                hold!(apart <= sent_here * 0.001 + 1e6, "{sent_here} bytes sent, {received_there} received");
            }
        }
        "Receive" => {
            let headline = rate * 1e6 / 8.0 * elapsed;
            hold!(agree(headline, received_here), "{headline} bytes by the rate, {received_here} received");
            // netserver does not count the send that its timer cuts short.
            let least = received_here * 0.999 - 1e6;
            hold!(
                sent_there >= least && sent_there <= received_here + IN_FLIGHT,
                "{sent_there} bytes sent, {received_here} received"
            );
        }
        _ => {
            let transactions = rate * elapsed;
            let (request, response) = (names.figure("REQUEST_SIZE")?, names.figure("RESPONSE_SIZE")?);
            hold!(request == 1.0 && response == 1.0, "{request} bytes there, {response} back");
            hold!(agree(transactions, received_here), "{transactions} transactions, {received_here} bytes");
            // One may be under way at the end, at either side of the count.
            let counts = [sent_here, received_there, sent_there];
            let near = counts.iter().all(|count| (count - received_here).abs() <= 2.0);
            hold!(near, "{received_here} responses; requests sent, received, responses sent: {counts:?}");
        }
    }
    Ok(format!("{rate:.2} {}", unit(cell.test)))
}

/// Results as `NAME=VALUE`, a line each.
struct Names(HashMap<String, String>);

impl Names {
    fn read(out: &str) -> Judged<Self> {
        let lines = out.lines().skip(1);
        let pairs = lines.map(|line| {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("no NAME=VALUE: `{line}`"))?;
            Ok((name.to_owned(), value.to_owned()))
        });
        pairs.collect::<Judged<_>>().map(Self)
    }

    fn text(&self, name: &str) -> Judged<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("no {name} in {:?}", self.0))
    }

    fn figure(&self, name: &str) -> Judged<f64> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("{name} is no figure: {text}"))
    }
}

/// The lines that hold nothing but figures.
fn number_rows(out: &str) -> Vec<Vec<f64>> {
    let rows = out.lines().map(|line| line.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>());
    rows.filter_map(Result::ok).filter(|row| !row.is_empty()).collect()
}

fn agree(one: f64, other: f64) -> bool {
    (one - other).abs() <= other.abs() * ROUNDING
}

/// The unit of a test's rate.
fn unit(test: Test) -> &'static str {
    match test {
        Test::TcpRr | Test::TcpCrr | Test::TcpCc | Test::UdpRr | Test::OmniRr => "trans/s",
        _ => "Mbit/s",
    }
}
