//! The table of netperf's selectors, in netperf's order.
//!
//! Each has its name, its header, the block in which `all` shows it and the text it makes of [`Values`].
//! There is no other list of them: who needs one by name looks it up here.

use std::fmt::Display;

use super::values::Values;
use crate::netperf::confidence::Widths;

/// Something that netperf can show of a test.
pub(crate) struct Selector {
    /// The name in lists and in front of `=`.
    pub(super) name: &'static str,
    /// The words of its header, one a line, with ` / ` between them.
    header: &'static str,
    /// The block of `all` it belongs to; 0: none.
    pub(super) block: u8,
    /// Its text; `None` where it has no value at all.
    pub(super) text: fn(&Values) -> Option<String>,
}

impl Selector {
    /// The header, line by line.
    pub(super) fn header(&self) -> impl Iterator<Item = &'static str> {
        self.header.split(" / ")
    }
}

/// The end of a list of selectors; one given by a user ends that list.
pub(super) const END: &Selector = &SELECTORS[place("OUTPUT_END")];

/// What a selector file shows where it names nothing that there is.
pub(super) const NOTHING: &Selector = &SELECTORS[place("OUTPUT_NONE")];

/// The place of a selector in the table.
pub(super) const fn place(name: &str) -> usize {
    let mut place = 0;
    while place < SELECTORS.len() {
        if is_same(SELECTORS[place].name.as_bytes(), name.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("no selector has this name")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Block, name, header and text of each.
macro_rules! selectors {
    ($v:ident: $($block:literal $name:literal $header:literal => $text:expr;)*) => {
        /// All of them.
        pub(super) static SELECTORS: [Selector; 175] = [$(Selector {
            name: $name,
            header: $header,
            block: $block,
            text: |$v| {
                let _ = $v;
                $text
            },
        }),*];
    };
}

selectors! { v:
    0 "OUTPUT_NONE" " " => text(' ');
    1 "SOCKET_TYPE" "Socket / Type" => text(v.socket_type);
    1 "PROTOCOL" "Protocol" => text(v.protocol);
    1 "DIRECTION" "Direction" => text(v.direction.word());
    1 "ELAPSED_TIME" "Elapsed / Time / (sec)" => fixed(v.elapsed.as_secs_f64(), 2);
    1 "THROUGHPUT" "Throughput" => fixed(v.throughput, 2);
    1 "THROUGHPUT_UNITS" "Throughput / Units" => text(format_args!("{}/s", v.throughput_unit));
    1 "LSS_SIZE_REQ" "Local / Send Socket / Size / Requested" => whole(v.local.send_buffer.requested);
    1 "LSS_SIZE" "Local / Send Socket / Size / Initial" => text(v.local.send_buffer.initial);
    1 "LSS_SIZE_END" "Local / Send Socket / Size / Final" => whole(v.local.send_buffer.at_end);
    1 "LSR_SIZE_REQ" "Local / Recv Socket / Size / Requested" => whole(v.local.receive_buffer.requested);
    1 "LSR_SIZE" "Local / Recv Socket / Size / Initial" => text(v.local.receive_buffer.initial);
    1 "LSR_SIZE_END" "Local / Recv Socket / Size / Final" => whole(v.local.receive_buffer.at_end);
    1 "RSS_SIZE_REQ" "Remote / Send Socket / Size / Requested" => whole(v.remote.send_buffer.requested);
    1 "RSS_SIZE" "Remote / Send Socket / Size / Initial" => text(v.remote.send_buffer.initial);
    1 "RSS_SIZE_END" "Remote / Send Socket / Size / Final" => whole(v.remote.send_buffer.at_end);
    1 "RSR_SIZE_REQ" "Remote / Recv Socket / Size / Requested" => whole(v.remote.receive_buffer.requested);
    1 "RSR_SIZE" "Remote / Recv Socket / Size / Initial" => text(v.remote.receive_buffer.initial);
    1 "RSR_SIZE_END" "Remote / Recv Socket / Size / Final" => whole(v.remote.receive_buffer.at_end);
    1 "LOCAL_SEND_SIZE" "Local / Send / Size" => whole(v.local.send_bytes);
    1 "LOCAL_RECV_SIZE" "Local / Recv / Size" => whole(v.local.receive_bytes);
    1 "REMOTE_SEND_SIZE" "Remote / Send / Size" => whole(v.remote.send_bytes);
    1 "REMOTE_RECV_SIZE" "Remote / Recv / Size" => whole(v.remote.receive_bytes);
    1 "REQUEST_SIZE" "Request / Size / Bytes" => whole(v.request_bytes);
    1 "RESPONSE_SIZE" "Response / Size / Bytes" => whole(v.response_bytes);
    2 "LOCAL_CPU_UTIL" "Local / CPU / Util / %" => fixed(v.local.cpu.utilisation, 2);
    2 "LOCAL_CPU_PERCENT_USER" "Local / CPU / User / %" => fixed(v.local.cpu.user, 2);
    2 "LOCAL_CPU_PERCENT_SYSTEM" "Local / CPU / System / %" => fixed(v.local.cpu.system, 2);
    2 "LOCAL_CPU_PERCENT_IOWAIT" "Local / CPU / I/O / %" => fixed(v.local.cpu.iowait, 2);
    2 "LOCAL_CPU_PERCENT_IRQ" "Local / CPU / IRQ / %" => fixed(v.local.cpu.irq, 2);
    2 "LOCAL_CPU_PERCENT_SWINTR" "Local / CPU / swintr / %" => fixed(v.local.cpu.softirq, 2);
    2 "LOCAL_CPU_METHOD" "Local / CPU / Util / Method" => letter(v.local.cpu.method);
    2 "LOCAL_SD" "Local / Service / Demand" => decimal(v.local.cpu.service_demand, 3);
    2 "REMOTE_CPU_UTIL" "Remote / CPU / Util / %" => fixed(v.remote.cpu.utilisation, 2);
    2 "REMOTE_CPU_PERCENT_USER" "Remote / CPU / User / %" => fixed(v.remote.cpu.user, 2);
    2 "REMOTE_CPU_PERCENT_SYSTEM" "Remote / CPU / System / %" => fixed(v.remote.cpu.system, 2);
    2 "REMOTE_CPU_PERCENT_IOWAIT" "Remote / CPU / I/O / %" => fixed(v.remote.cpu.iowait, 2);
    2 "REMOTE_CPU_PERCENT_IRQ" "Remote / CPU / IRQ / %" => fixed(v.remote.cpu.irq, 2);
    2 "REMOTE_CPU_PERCENT_SWINTR" "Remote / CPU / swintr / %" => fixed(v.remote.cpu.softirq, 2);
    2 "REMOTE_CPU_METHOD" "Remote / CPU / Util / Method" => letter(v.remote.cpu.method);
    2 "REMOTE_SD" "Remote / Service / Demand" => decimal(v.remote.cpu.service_demand, 3);
    2 "SD_UNITS" "Service / Demand / Units" => text(v.demand_unit);
    2 "CONFIDENCE_LEVEL" "Confidence / Level / Percent" => text(v.confidence.level_percent);
    2 "CONFIDENCE_INTERVAL" "Confidence / Width / Target" => decimal(v.confidence.width_percent, 6);
    2 "CONFIDENCE_ITERATION" "Confidence / Iterations / Run" => text(v.confidence.iterations);
    2 "THROUGHPUT_CONFID" "Throughput / Confidence / Width (%)" => achieved(v, |widths| widths.throughput);
    2 "LOCAL_CPU_CONFID" "Local / CPU / Confidence / Width (%)" => achieved(v, |widths| widths.local_cpu);
    2 "REMOTE_CPU_CONFID" "Remote / CPU / Confidence / Width (%)" => achieved(v, |widths| widths.remote_cpu);
    2 "TRANSACTION_RATE" "Transaction / Rate / Tran/s" => fixed(v.transaction_rate, 3);
    2 "RT_LATENCY" "Round / Trip / Latency / usec/tran" => decimal(v.round_trip_us, 3);
    2 "BURST_SIZE" "Initial / Burst / Requests" => text(v.burst);
    2 "LOCAL_TRANSPORT_RETRANS" "Local / Transport / Retransmissions" => text(v.local.retransmits);
    2 "REMOTE_TRANSPORT_RETRANS" "Remote / Transport / Retransmissions" => text(v.remote.retransmits);
    2 "TRANSPORT_MSS" "Transport / MSS / bytes" => whole(v.segment_bytes);
    3 "LOCAL_SEND_THROUGHPUT" "Local / Send / Throughput" => fixed(v.local.send_rate, 2);
    3 "LOCAL_RECV_THROUGHPUT" "Local / Recv / Throughput" => fixed(v.local.receive_rate, 2);
    3 "REMOTE_SEND_THROUGHPUT" "Remote / Send / Throughput" => fixed(v.remote.send_rate, 2);
    3 "REMOTE_RECV_THROUGHPUT" "Remote / Recv / Throughput" => fixed(v.remote.receive_rate, 2);
    3 "LOCAL_CPU_BIND" "Local / CPU / Bind" => whole(v.local.cpu_bind);
    3 "LOCAL_CPU_COUNT" "Local / CPU / Count" => text(v.local.cpu.cpus);
    3 "LOCAL_CPU_PEAK_UTIL" "Local / Peak / Per CPU / Util %" => fixed(v.local.cpu.peak, 2);
    3 "LOCAL_CPU_PEAK_ID" "Local / Peak / Per CPU / ID" => text(v.local.cpu.peak_cpu);
    3 "LOCAL_CPU_MODEL" "Local / CPU / Model" => retired();
    3 "LOCAL_CPU_FREQUENCY" "Local / CPU / Frequency / MHz" => retired_number();
    3 "REMOTE_CPU_BIND" "Remote / CPU / Bind" => whole(v.remote.cpu_bind);
    3 "REMOTE_CPU_COUNT" "Remote / CPU / Count" => text(v.remote.cpu.cpus);
    3 "REMOTE_CPU_PEAK_UTIL" "Remote / Peak / Per CPU / Util %" => fixed(v.remote.cpu.peak, 2);
    3 "REMOTE_CPU_PEAK_ID" "Remote / Peak / Per CPU / ID" => text(v.remote.cpu.peak_cpu);
    3 "REMOTE_CPU_MODEL" "Remote / CPU / Model" => retired();
    3 "REMOTE_CPU_FREQUENCY" "Remote / CPU / Frequency / MHz" => retired_number();
    3 "SOURCE_PORT" "Source / Port" => text(&v.local.port);
    3 "SOURCE_ADDR" "Source / Address" => text(&v.local.host);
    3 "SOURCE_FAMILY" "Source / Family" => text(v.local.family);
    3 "DEST_PORT" "Destination / Port" => text(&v.remote.port);
    3 "DEST_ADDR" "Destination / Address" => text(&v.remote.host);
    3 "DEST_FAMILY" "Destination / Family" => text(v.remote.family);
    3 "LOCAL_SEND_CALLS" "Local / Send / Calls" => text(v.local.sends);
    3 "LOCAL_RECV_CALLS" "Local / Recv / Calls" => text(v.local.receives);
    3 "LOCAL_BYTES_PER_RECV" "Local / Bytes / Per / Recv" => fixed(v.local.bytes_per_receive(), 2);
    3 "LOCAL_BYTES_PER_SEND" "Local / Bytes / Per / Send" => fixed(v.local.bytes_per_send(), 2);
    3 "LOCAL_BYTES_SENT" "Local / Bytes / Sent" => text(v.local.bytes_sent);
    3 "LOCAL_BYTES_RECVD" "Local / Bytes / Received" => text(v.local.bytes_received);
    3 "LOCAL_BYTES_XFERD" "Local / Bytes / Xferred" => text(v.local.bytes_moved());
    3 "LOCAL_SEND_OFFSET" "Local / Send / Offset" => text(v.local.send_offset);
    3 "LOCAL_RECV_OFFSET" "Local / Recv / Offset" => text(v.local.receive_offset);
    3 "LOCAL_SEND_ALIGN" "Local / Send / Alignment" => text(v.local.send_alignment);
    3 "LOCAL_RECV_ALIGN" "Local / Recv / Alignment" => text(v.local.receive_alignment);
    3 "LOCAL_SEND_WIDTH" "Local / Send / Width" => text(v.local.send_width);
    3 "LOCAL_RECV_WIDTH" "Local / Recv / Width" => text(v.local.receive_width);
    3 "LOCAL_SEND_DIRTY_COUNT" "Local / Send / Dirty / Count" => text(-1);
    3 "LOCAL_RECV_DIRTY_COUNT" "Local / Recv / Dirty / Count" => text(-1);
    3 "LOCAL_RECV_CLEAN_COUNT" "Local / Recv / Clean / Count" => text(-1);
    3 "LOCAL_NODELAY" "Local / NODELAY" => whole(v.local.no_delay.map(u8::from));
    3 "LOCAL_CORK" "Local / Cork" => flag(v.local.cork);
    3 "REMOTE_SEND_CALLS" "Remote / Send / Calls" => text(v.remote.sends);
    3 "REMOTE_RECV_CALLS" "Remote / Recv / Calls" => text(v.remote.receives);
    3 "REMOTE_BYTES_PER_RECV" "Remote / Bytes / Per / Recv" => fixed(v.remote.bytes_per_receive(), 2);
    3 "REMOTE_BYTES_PER_SEND" "Remote / Bytes / Per / Send" => fixed(v.remote.bytes_per_send(), 2);
    3 "REMOTE_BYTES_SENT" "Remote / Bytes / Sent" => text(v.remote.bytes_sent);
    3 "REMOTE_BYTES_RECVD" "Remote / Bytes / Received" => text(v.remote.bytes_received);
    3 "REMOTE_BYTES_XFERD" "Remote / Bytes / Xferred" => text(v.remote.bytes_moved());
    3 "REMOTE_SEND_OFFSET" "Remote / Send / Offset" => text(v.remote.send_offset);
    3 "REMOTE_RECV_OFFSET" "Remote / Recv / Offset" => text(v.remote.receive_offset);
    3 "REMOTE_SEND_ALIGN" "Remote / Send / Alignment" => text(v.remote.send_alignment);
    3 "REMOTE_RECV_ALIGN" "Remote / Recv / Alignment" => text(v.remote.receive_alignment);
    3 "REMOTE_SEND_WIDTH" "Remote / Send / Width" => text(v.remote.send_width);
    3 "REMOTE_RECV_WIDTH" "Remote / Recv / Width" => text(v.remote.receive_width);
    3 "REMOTE_SEND_DIRTY_COUNT" "Remote / Send / Dirty / Count" => text(-1);
    3 "REMOTE_RECV_DIRTY_COUNT" "Remote / Recv / Dirty / Count" => text(-1);
    3 "REMOTE_RECV_CLEAN_COUNT" "Remote / Recv / Clean / Count" => text(-1);
    3 "REMOTE_NODELAY" "Remote / NODELAY" => whole(v.remote.no_delay.map(u8::from));
    3 "REMOTE_CORK" "Remote / Cork" => flag(v.remote.cork);
    4 "LOCAL_SYSNAME" "Local / Sysname" => retired();
    4 "LOCAL_SYSTEM_MODEL" "Local / System / Model" => retired();
    4 "LOCAL_RELEASE" "Local / Release" => retired();
    4 "LOCAL_VERSION" "Local / Version" => retired();
    4 "LOCAL_MACHINE" "Local / Machine" => retired();
    4 "REMOTE_SYSNAME" "Remote / Sysname" => retired();
    4 "REMOTE_SYSTEM_MODEL" "Remote / System / Model" => retired();
    4 "REMOTE_RELEASE" "Remote / Release" => retired();
    4 "REMOTE_VERSION" "Remote / Version" => retired();
    4 "REMOTE_MACHINE" "Remote / Machine" => retired();
    4 "LOCAL_INTERFACE_NAME" "Local / Interface / Name" => retired();
    4 "LOCAL_INTERFACE_VENDOR" "Local / Interface / Vendor" => retired_identifier();
    4 "LOCAL_INTERFACE_DEVICE" "Local / Interface / Device" => retired_identifier();
    4 "LOCAL_INTERFACE_SUBVENDOR" "Local / Interface / Subvendor" => retired_identifier();
    4 "LOCAL_INTERFACE_SUBDEVICE" "Local / Interface / Subdevice" => retired_identifier();
    4 "LOCAL_DRIVER_NAME" "Local / Driver / Name" => retired();
    4 "LOCAL_DRIVER_VERSION" "Local / Driver / Version" => retired();
    4 "LOCAL_DRIVER_FIRMWARE" "Local / Driver / Firmware" => retired();
    4 "LOCAL_DRIVER_BUS" "Local / Driver / Bus" => retired();
    4 "LOCAL_INTERFACE_SLOT" "Local / Interface / Slot" => retired();
    4 "REMOTE_INTERFACE_NAME" "Remote / Interface / Name" => retired();
    4 "REMOTE_INTERFACE_VENDOR" "Remote / Interface / Vendor" => retired_identifier();
    4 "REMOTE_INTERFACE_DEVICE" "Remote / Interface / Device" => retired_identifier();
    4 "REMOTE_INTERFACE_SUBVENDOR" "Remote / Interface / Subvendor" => retired_identifier();
    4 "REMOTE_INTERFACE_SUBDEVICE" "Remote / Interface / Subdevice" => retired_identifier();
    4 "REMOTE_DRIVER_NAME" "Remote / Driver / Name" => retired();
    4 "REMOTE_DRIVER_VERSION" "Remote / Driver / Version" => retired();
    4 "REMOTE_DRIVER_FIRMWARE" "Remote / Driver / Firmware" => retired();
    4 "REMOTE_DRIVER_BUS" "Remote / Driver / Bus" => retired();
    4 "REMOTE_INTERFACE_SLOT" "Remote / Interface / Slot" => retired();
    4 "LOCAL_INTERVAL_USECS" "Local / Interval / Usecs" => text(v.local.interval_us);
    4 "LOCAL_INTERVAL_BURST" "Local / Interval / Burst" => text(v.local.interval_burst);
    4 "REMOTE_INTERVAL_USECS" "Remote / Interval / Usecs" => text(v.remote.interval_us);
    4 "REMOTE_INTERVAL_BURST" "Remote / Interval / Burst" => text(v.remote.interval_burst);
    4 "LOCAL_SECURITY_TYPE_ID" "Local / OS / Security / Type ID" => retired_number();
    4 "LOCAL_SECURITY_TYPE" "Local / OS / Security / Type" => retired();
    4 "LOCAL_SECURITY_ENABLED_NUM" "Local / OS / Security / Enabled Num" => retired_number();
    4 "LOCAL_SECURITY_ENABLED" "Local / OS / Security / Enabled" => retired();
    4 "LOCAL_SECURITY_SPECIFIC" "Local / OS / Security / Specific" => retired();
    4 "REMOTE_SECURITY_TYPE_ID" "Remote / OS / Security / Type" => retired_number();
    4 "REMOTE_SECURITY_TYPE" "Remote / OS / Security / Type" => retired();
    4 "REMOTE_SECURITY_ENABLED_NUM" "Remote / OS / Security / Enabled" => retired_number();
    4 "REMOTE_SECURITY_ENABLED" "Remote / OS / Security / Enabled" => retired();
    4 "REMOTE_SECURITY_SPECIFIC" "Remote / OS / Security / Specific" => retired();
    4 "RESULT_BRAND" "Result / Tag" => quoted(v.brand.as_deref()?);
    4 "UUID" "Test / UUID" => text(&v.uuid);
    4 "MIN_LATENCY" "Minimum / Latency / Microseconds" => whole(v.latency.map(|of| of.min_us));
    4 "MAX_LATENCY" "Maximum / Latency / Microseconds" => whole(v.latency.map(|of| of.max_us));
    4 "P50_LATENCY" "50th / Percentile / Latency / Microseconds" => whole(v.latency.map(|of| of.p50_us));
    4 "P90_LATENCY" "90th / Percentile / Latency / Microseconds" => whole(v.latency.map(|of| of.p90_us));
    4 "P99_LATENCY" "99th / Percentile / Latency / Microseconds" => whole(v.latency.map(|of| of.p99_us));
    4 "MEAN_LATENCY" "Mean / Latency / Microseconds" => decimal(v.latency.map(|of| of.mean_us), 2);
    4 "STDDEV_LATENCY" "Stddev / Latency / Microseconds" => decimal(v.latency.map(|of| of.stddev_us), 2);
    4 "LOCAL_SOCKET_PRIO" "Local / Socket / Priority" => text(v.local.priority);
    4 "REMOTE_SOCKET_PRIO" "Remote / Socket / Priority" => text(v.remote.priority);
    4 "LOCAL_SOCKET_TOS" "Local / Socket / TOS" => hex(v.local.type_of_service, 2);
    4 "REMOTE_SOCKET_TOS" "Remote / Socket / TOS" => hex(v.remote.type_of_service, 2);
    4 "LOCAL_CONG_CONTROL" "Local / Congestion / Control / Algorithm" => text(&v.local.congestion_control);
    4 "REMOTE_CONG_CONTROL" "Remote / Congestion / Control / Algorithm" => text(&v.remote.congestion_control);
    4 "LOCAL_FILL_FILE" "Local / Fill / File" => text(&v.local.fill_file);
    4 "REMOTE_FILL_FILE" "Remote / Fill / File" => text(&v.remote.fill_file);
    4 "COMMAND_LINE" "Command / Line" => quoted(&v.command_line);
    0 "OUTPUT_END" "This / Is / The / End" => None;
}

fn text(value: impl Display) -> Option<String> {
    Some(value.to_string())
}

fn quoted(value: &str) -> Option<String> {
    Some(format!("\"{value}\""))
}

fn flag(is_set: bool) -> Option<String> {
    text(u8::from(is_set))
}

fn letter(value: Option<char>) -> Option<String> {
    Some(value.map(String::from).unwrap_or_default())
}

/// A number that may be absent.
fn whole(value: Option<impl Display>) -> Option<String> {
    value.map_or(text(-1), text)
}

fn fixed(value: f64, decimals: usize) -> Option<String> {
    Some(format!("{value:.decimals$}"))
}

/// A number with decimals that may be absent.
fn decimal(value: Option<f64>, decimals: usize) -> Option<String> {
    fixed(value.unwrap_or(-1.0), decimals)
}

/// netperf's hexadecimal, with at least so many digits.
fn hex(value: i32, digits: usize) -> Option<String> {
    Some(format!("0x{value:0digits$x}"))
}

fn achieved(values: &Values, width: fn(&Widths) -> f64) -> Option<String> {
    decimal(values.confidence.achieved.as_ref().map(width), 3)
}

/// What netperf says since it has ceased to look: a text, a number, or an identifier.
fn retired() -> Option<String> {
    text("Deprecated")
}

fn retired_number() -> Option<String> {
    text(0)
}

fn retired_identifier() -> Option<String> {
    hex(-2, 4)
}
