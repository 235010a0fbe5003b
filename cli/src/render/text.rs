//! A record as a short page for a person: the headline, the two ends side by side, and what qualifies them.
//!
//! Shows the figures that decide; `--json` has them all. Uses no colour, so there is none to switch off.

pub(crate) mod ablation;
pub(crate) mod comparison;
pub(crate) mod rate_search;
pub(crate) mod sweep;
mod transactions;

use std::fmt::Write;

use ringperf_engine::facts::Backing;
use ringperf_engine::outcome::{FlowSpread, Sample};

use crate::record::{
    BufferSizes, End, MachineCost, Netserver, Record, RemoteFacts, Side, StreamResult, Transactions,
    WorkerCost, ratio,
};

/// What stands for a figure that is not known.
const UNKNOWN: &str = "-";

/// The whole page, line ends included.
pub(crate) fn record(record: &Record) -> String {
    let mut page = headline(record);
    page.push('\n');
    page.push_str(&table(&rows(record)));
    page.push_str(&intervals(record));
    if !record.warnings.is_empty() {
        page.push('\n');
    }
    for note in &record.warnings {
        line(&mut page, &format!("warning: {}", note.text));
    }
    page
}

fn headline(record: &Record) -> String {
    let result = &record.result;
    let mut page = String::new();
    if let Some(transactions) = &result.transactions {
        page = transactions::headline(record, transactions);
        line_unless_empty(&mut page, &connection(record));
        return page;
    }
    line(
        &mut page,
        &format!(
            "goodput {}: {} received in {:.2} s",
            rate(result.goodput_bits_per_second),
            volume(result.bytes_received),
            record.time.elapsed_ns as f64 / 1e9
        ),
    );
    line(&mut page, &course(record));
    if let Some(loss) = result.loss {
        line(&mut page, &datagrams(result, loss));
    }
    if let Some(spread) = &result.flows {
        line(&mut page, &flows(spread));
    }
    line_unless_empty(&mut page, &connection(record));
    page
}

/// What went which way, in which pieces.
fn course(record: &Record) -> String {
    let (protocol, message) = match record.result.loss {
        None => ("TCP", "message"),
        Some(_) => ("UDP", "datagram"),
    };
    let direction = match record.local {
        End::Receiver => "from",
        End::Sender => "to",
    };
    let (target, messages) = (target(record), record.result.messages_sent);
    let plural = if messages == 1 { "" } else { "s" };
    let of = record.sender.message_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
    format!("{protocol} stream {direction} {target}, {messages} {message}{plural}{of}")
}

/// How many datagrams got through, in the words of netperf: okay is what the receiver counted.
fn datagrams(result: &StreamResult, loss: f64) -> String {
    let sent = result.sent_bits_per_second.map_or_else(|| UNKNOWN.to_owned(), rate);
    let mut text = format!("sent at {sent}, {} okay, {:.3} % lost", result.receives, loss * 100.0);
    let lost = result.messages_sent.saturating_sub(result.receives);
    if let Some(dropped @ 1..) = result.lost_in_socket.map(|dropped| dropped.min(lost)) {
        let least = if result.unexplained.is_none() { "at least " } else { "" };
        write_to(&mut text, format_args!(" ({least}{dropped} in the receiver's socket buffer)"));
    }
    if result.failed_sends > 0 {
        write_to(&mut text, format_args!(", {} sends refused by a full queue", result.failed_sends));
    }
    text
}

/// How even the share of each flow was.
fn flows(spread: &FlowSpread) -> String {
    let FlowSpread { flows, bytes_min, bytes_max, fairness } = *spread;
    format!("{flows} flows of {} to {}, fairness {fairness:.3}", volume(bytes_min), volume(bytes_max))
}

/// What was moved in each interval, as this end counted it; nothing where that was not asked for.
fn intervals(record: &Record) -> String {
    let moved = |sample: &Sample| match record.local {
        End::Receiver => sample.bytes_received,
        End::Sender => sample.bytes_sent,
    };
    let verb = match record.local {
        End::Receiver => "received",
        End::Sender => "sent",
    };
    if record.result.transactions.is_some() {
        return transactions::intervals(&record.result.samples);
    }
    let mut page = String::new();
    let mut before = (0.0, 0);
    for sample in &record.result.samples {
        if page.is_empty() {
            page.push('\n');
        }
        let (at, bytes) = (sample.at.as_secs_f64(), moved(sample));
        let rate = rate((bytes.saturating_sub(before.1)) as f64 * 8.0 / (at - before.0).max(f64::EPSILON));
        line(&mut page, &format!("{:7.2} - {at:7.2} s  {verb} at {rate}", before.0));
        before = (at, bytes);
    }
    page
}

/// The TCP connection's own figures, from the end that knows them: all of them are the sender's. A netserver
/// that sends tells neither its segment size nor its round trip, and ours are not those of its segments.
fn connection(record: &Record) -> String {
    let result = &record.result;
    let Some(ours) = &result.transport else { return String::new() };
    match record.local {
        End::Sender => format!(
            "{} retransmits, MSS {}, RTT {:.3} ms, {}",
            ours.retransmits,
            ours.segment_bytes,
            f64::from(ours.rtt_us) / 1e3,
            ours.congestion_control
        ),
        End::Receiver => format!(
            "{} retransmits, {}",
            result.remote_retransmits.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string()),
            result.remote_congestion_control.as_deref().unwrap_or(UNKNOWN)
        ),
    }
}

fn target(record: &Record) -> String {
    let control = record.target.control;
    let kind = match record.target.netserver {
        Netserver::Netperf => "netperf's netserver",
        Netserver::Ringperf { .. } => "ringperf netserver",
        Netserver::Unknown => "netserver",
    };
    match &record.target.host {
        None => format!("our own netserver on {}", control.ip()),
        Some(host) if *host == control.ip().to_string() => format!("{kind} on {host}"),
        Some(host) => format!("{kind} on {host} ({})", control.ip()),
    }
}

fn rows(record: &Record) -> Vec<[String; 3]> {
    let (sender, receiver) = (&record.sender, &record.receiver);
    let both = |name: &str, cell: &dyn Fn(&Side) -> String| [name.to_owned(), cell(sender), cell(receiver)];
    let ends = if record.result.transactions.is_some() {
        ["requester", "responder"]
    } else {
        ["sender", "receiver"]
    };
    vec![
        [String::new(), ends[0].to_owned(), ends[1].to_owned()],
        both("engine", &engine),
        both("core", &core),
        both("worker CPU", &|side| worker(side, |cost| format!("{:.1} % of its core", cost.core_percent))),
        both("CPU cost", &|side| worker(side, |cost| cpu_cost(cost, record.result.transactions.as_ref()))),
        both("wakeups", &wakeups),
        memory(record),
        both("machine CPU", &|side| {
            let of_bytes = record.result.transactions.is_none();
            side.machine.as_ref().map_or_else(|| UNKNOWN.to_owned(), |cost| machine(cost, of_bytes))
        }),
        both("socket buffer", &|side| buffer(side.socket_buffer)),
    ]
}

/// CPU time of the workers for what they moved.
fn cpu_cost(cost: &WorkerCost, transactions: Option<&Transactions>) -> String {
    let figure = match transactions {
        Some(transactions) => ratio(cost.cpu_ns as f64, transactions.count as f64)
            .map(|each| format!("{:.1} us each", each / 1e3)),
        None => cost.ns_per_kb.map(|cost| format!("{cost:.1} ns/KB")),
    };
    figure.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// How often an end was woken, and what it waited for.
fn wakeups(side: &Side) -> String {
    let mark = side.low_water_bytes.filter(|bytes| *bytes > 1);
    let mark = mark.map_or_else(String::new, |bytes| format!(", mark {}", size(bytes)));
    let wakeups = side.worker.and_then(|cost| cost.wakeups_per_second);
    wakeups.map_or_else(|| UNKNOWN.to_owned(), |wakeups| format!("{wakeups:.0}/s{mark}"))
}

/// The pages under each end's buffers, and whether the sender's are registered with its ring.
fn memory(record: &Record) -> [String; 3] {
    let facts = &record.local_facts;
    let ours = Some(pages(facts.arena_backing));
    let theirs = record.remote_facts.as_ref().and_then(|facts| facts.arena_backing).map(pages);
    let (sender, receiver, registered) = match record.local {
        End::Sender => (ours, theirs, facts.uring.as_ref().map(|uring| uring.registered_buffers)),
        End::Receiver => {
            (theirs, ours, record.remote_facts.as_ref().and_then(RemoteFacts::registers_buffers))
        }
    };
    let registered = match registered {
        Some(true) => ", registered",
        Some(false) => ", not registered",
        None => "",
    };
    [
        "memory".to_owned(),
        format!("{}{registered}", sender.unwrap_or(UNKNOWN)),
        receiver.unwrap_or(UNKNOWN).to_owned(),
    ]
}

fn pages(backing: Backing) -> &'static str {
    match backing {
        Backing::HugePages => "huge pages",
        Backing::SmallPages => "small pages",
        Backing::TransparentHugePages => "transparent huge pages",
    }
}

fn engine(side: &Side) -> String {
    let name = side.engine.unwrap_or(UNKNOWN);
    match side.buffer_ring_percent {
        Some(percent) if percent > 0.0 => format!("{name}, {percent:.0} % from buffer ring"),
        _ => name.to_owned(),
    }
}

fn core(side: &Side) -> String {
    let more = side.workers.map_or(0, |workers| workers.saturating_sub(1));
    match (side.core, side.core_verified) {
        (Some(core), true) if more > 0 => format!("{core} and {more} more"),
        (Some(core), true) => core.to_string(),
        (Some(core), false) => format!("{core}, not verified"),
        (None, _) if side.worker.is_some() => "not pinned".to_owned(),
        (None, _) => UNKNOWN.to_owned(),
    }
}

fn worker(side: &Side, show: impl Fn(&WorkerCost) -> String) -> String {
    side.worker.as_ref().map_or_else(|| UNKNOWN.to_owned(), show)
}

/// netperf's figures. Its service demand is one of bytes here.
fn machine(cost: &MachineCost, of_bytes: bool) -> String {
    let percent = cost.utilisation_percent;
    let mut cell = match cost.cpus {
        0 => format!("{percent:.1} % of all CPUs"),
        1 => format!("{percent:.1} % of 1 CPU"),
        cpus => format!("{percent:.1} % of {cpus} CPUs"),
    };
    if let Some(demand) = cost.service_demand_us_per_kb.filter(|_| of_bytes) {
        write_to(&mut cell, format_args!(", {demand:.3} us/KB"));
    }
    cell
}

/// Asked for, granted before any data, and in force at the end.
fn buffer(sizes: BufferSizes) -> String {
    let known = |size: Option<u32>| size.map_or_else(|| UNKNOWN.to_owned(), |size| size.to_string());
    let asked = sizes.asked.map_or_else(|| "default".to_owned(), |size| size.to_string());
    format!("{asked} > {} > {}", known(sizes.granted), known(sizes.end))
}

/// Columns padded to their widest cell, two spaces between them and none at the end of a line. What is last
/// in its row needs no room in its column, so that a sentence may stand in the place of figures.
fn table<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let mut widths = vec![0; rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0)];
    for row in rows.iter().map(AsRef::as_ref) {
        let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (width, cell) in widths.iter_mut().zip(row).take(last) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut page = String::new();
    for row in rows.iter().map(AsRef::as_ref) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        line(&mut page, cells.join("  ").trim_end());
    }
    page
}

/// Bits a second, in the unit that leaves one to three digits before the point.
pub(crate) fn rate(bits_per_second: f64) -> String {
    scaled(bits_per_second, RATE_UNITS)
}

/// Units of rates, each a thousand of the one before.
pub(crate) const RATE_UNITS: [&str; 5] = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];

/// A transferred amount, decimal as rates are.
fn volume(bytes: u64) -> String {
    scaled(bytes as f64, ["B", "kB", "MB", "GB", "TB"])
}

fn scaled(number: f64, units: [&'static str; 5]) -> String {
    let (divisor, unit) = unit_for(number, units);
    format!("{:.2} {unit}", number / divisor)
}

/// How much a unit is that suits the number, and its name.
pub(crate) fn unit_for(number: f64, units: [&'static str; 5]) -> (f64, &'static str) {
    let (mut divisor, mut unit) = (1.0, units[0]);
    for larger in &units[1..] {
        // 999.995 would be printed as 1000.00.
        if number / divisor < 999.995 {
            break;
        }
        divisor *= 1000.0;
        unit = larger;
    }
    (divisor, unit)
}

/// A size that was asked for, binary where it is a whole number of such units.
fn size(bytes: u32) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        1 => "1 byte".to_owned(),
        bytes => format!("{bytes} bytes"),
    }
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn line_unless_empty(page: &mut String, text: &str) {
    if !text.is_empty() {
        line(page, text);
    }
}

fn write_to(cell: &mut String, text: std::fmt::Arguments<'_>) {
    cell.write_fmt(text).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_unit_that_fits() {
        assert_eq!(rate(0.0), "0.00 bit/s");
        assert_eq!(rate(94_149_000.0), "94.15 Mbit/s");
        assert_eq!(rate(999_999_999.0), "1.00 Gbit/s");
        assert_eq!(rate(1.5e15), "1500.00 Tbit/s");
        assert_eq!(volume(47_761_588_224), "47.76 GB");
        assert_eq!(size(1 << 20), "1 MiB");
        assert_eq!(size(131_072), "128 KiB");
        assert_eq!(size(1000), "1000 bytes");
    }

    #[test]
    fn unknown_cells_are_marked() {
        let side = Side::default();
        assert_eq!(core(&side), UNKNOWN);
        assert_eq!(worker(&side, |_| unreachable!("there is no worker")), UNKNOWN);
        assert_eq!(buffer(side.socket_buffer), "default > - > -");
        let one = MachineCost { utilisation_percent: 50.0, cpus: 1, service_demand_us_per_kb: None };
        assert_eq!(machine(&one, true), "50.0 % of 1 CPU");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            [String::new(), "sender".to_owned(), "receiver".to_owned()],
            ["core".to_owned(), "0".to_owned(), "1".to_owned()],
        ];
        assert_eq!(table(&rows), "      sender  receiver\ncore  0       1\n");
        let sentence = [
            ["a", "1", "2"].map(str::to_owned),
            ["longer", "what is last takes no room", ""].map(str::to_owned),
        ];
        assert_eq!(table(&sentence), "a       1  2\nlonger  what is last takes no room\n");
    }
}
