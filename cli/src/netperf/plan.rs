//! From options to one iteration: what our engine does, and what is asked of the netserver.
//!
//! Pure. Sizes that follow from granted socket buffers are computed here, as netperf computes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringperf_engine::facts::SocketBuffers;
use ringperf_engine::plan::{DATAGRAM_BYTES_MAX, Endpoint, Length, Protocol, Role, SocketOptions};
use ringperf_engine::{EngineChoice, PlanOptions};
use ringperf_proto::{IpVersion, Length as WireLength, OmniTest, Test};

use super::options::{Directions, Options};
use super::resolve::ResolvedHost;
use crate::bridge;
use crate::client::deadline::Deadlines;

/// Bytes of a message where a socket buffer's size is not to be had, as netperf chooses.
const MESSAGE_BYTES_UNKNOWN: u32 = 4096;

/// A test as all its iterations have it in common.
pub(crate) struct Course<'a> {
    /// What was asked for.
    pub(crate) options: &'a Options,
    /// The test.
    pub(crate) test: Test,
    /// Our end of the data connection.
    pub(crate) local: ResolvedHost,
    /// The netserver's. It is told of its address only if that was given for data.
    pub(crate) remote: ResolvedHost,
    /// Our socket buffers as granted before any data.
    pub(crate) buffers: SocketBuffers,
    /// Which engine moves the bytes.
    pub(crate) engine: EngineChoice,
    /// What our messages carry, if a file was named for it.
    pub(crate) payload: Option<Arc<[u8]>>,
    /// How long to wait for what.
    pub(crate) deadlines: Deadlines,
}

/// What this end does in a test.
pub(crate) fn role(test: Test) -> Role {
    match bridge::role(test) {
        Role::Receive | Role::Respond => Role::Send,
        Role::Request | Role::Send => Role::Receive,
    }
}

/// Options of our data socket.
pub(crate) fn socket(options: &Options, test: Test) -> SocketOptions {
    let tcp = bridge::protocol(test) == Protocol::Tcp;
    SocketOptions {
        send_buffer: options.socket_buffer.local.send,
        receive_buffer: options.socket_buffer.local.receive,
        no_delay: options.no_delay && tcp,
        cork: options.cork && tcp,
        max_segment: options.max_segment.filter(|_| tcp),
        keepalive: options.keepalive,
        dont_route: options.dont_route,
        priority: options.priority.local,
        // netperf remembers a type of service of 0 and does not set it.
        type_of_service: options.type_of_service.local.filter(|tos| *tos != 0).map(i32::from),
        congestion_control: options.congestion_control.local.clone().filter(|_| tcp),
    }
}

impl Course<'_> {
    /// Bytes of each of our sends or receives. A request or a response size takes the place of a message
    /// size.
    pub(crate) fn message_bytes(&self) -> u32 {
        let options = self.options;
        match role(self.test) {
            Role::Receive | Role::Respond => options
                .response_bytes
                .or(options.receive_bytes.local)
                .unwrap_or(or_unknown(self.buffers.receive)),
            Role::Request | Role::Send => {
                options.request_bytes.or(options.send_bytes.local).unwrap_or_else(|| self.send_default())
            }
        }
    }

    /// Bytes of a message as netperf prints them for a sender: what `-m` asked for, although a request size
    /// took its place, and nothing where there is only the request size.
    pub(crate) fn shown_send_bytes(&self) -> u32 {
        let unset = if self.options.request_bytes.is_some() { 0 } else { self.send_default() };
        self.options.send_bytes.local.unwrap_or(unset)
    }

    fn send_default(&self) -> u32 {
        let buffer = or_unknown(self.buffers.send);
        match bridge::protocol(self.test) {
            Protocol::Tcp => buffer,
            Protocol::Udp => buffer.min(DATAGRAM_BYTES_MAX),
        }
    }

    /// Whether it is this end that sends.
    pub(crate) fn sends(&self) -> bool {
        role(self.test) == Role::Send
    }

    /// Whether a message is larger than a datagram can be.
    pub(crate) fn exceeds_datagram(&self) -> bool {
        bridge::protocol(self.test) == Protocol::Udp && self.message_bytes() > DATAGRAM_BYTES_MAX
    }

    /// Number of message buffers of netperf's rings, which it tells the netserver. Ours are the engine's
    /// business.
    fn widths(&self) -> Directions<u32> {
        let options = self.options;
        // One suffices for a request or a response.
        let width = |answered: Option<u32>, buffer: u32| match answered {
            Some(_) => 1,
            None => (buffer / self.message_bytes().max(1)).saturating_add(1).max(2),
        };
        let asked = options.ring_width;
        match role(self.test) {
            Role::Receive | Role::Respond => Directions {
                send: asked.send.unwrap_or(0),
                receive: asked.receive.unwrap_or_else(|| width(options.response_bytes, self.buffers.receive)),
            },
            Role::Request | Role::Send => {
                let least = if options.request_bytes.is_some() { 1 } else { 2 };
                let send = asked.send.unwrap_or_else(|| width(options.request_bytes, self.buffers.send));
                Directions { send: send.max(least), receive: asked.receive.unwrap_or(0) }
            }
        }
    }

    /// What our engine does.
    pub(crate) fn plan(&self) -> PlanOptions {
        let options = self.options;
        let endpoint = Endpoint::Connect { local: self.local.address() };
        let mut plan = PlanOptions::new(role(self.test), endpoint);
        plan.protocol = bridge::protocol(self.test);
        plan.socket = socket(options, self.test);
        plan.message_bytes = self.message_bytes();
        plan.length = match options.length {
            WireLength::Bytes(bytes) => Length::Bytes(bytes),
            WireLength::Endless => Length::Endless,
            WireLength::Transactions(count) => Length::Transactions(count),
            WireLength::Seconds(seconds) => Length::Time(Duration::from_secs(seconds.into())),
        };
        // netperf stops reading when its own time is over; the netserver's is over by then, too.
        plan.receive_grace = Duration::ZERO;
        if options.no_control {
            // A reset under its sends costs no netserver its results.
            plan.receive_linger = Duration::ZERO;
        }
        plan.connect_timeout = self.deadlines.connect;
        plan.drain_timeout = self.deadlines.drain;
        plan.engine = self.engine;
        plan.payload = self.payload.clone();
        plan.cores = options.cpu.local.and_then(|cpu| usize::try_from(cpu).ok()).into_iter().collect();
        plan
    }

    /// What is asked of the netserver, our data socket being bound to `local`.
    pub(crate) fn request(&self, local: SocketAddr) -> OmniTest {
        let options = self.options;
        let widths = self.widths();
        // Without a netserver there are no places of its buffers; none is asked then.
        let place = |place: i32| u32::try_from(place).unwrap_or(0);
        OmniTest {
            cpu: options.cpu.remote,
            send_buffer: options.socket_buffer.remote.send,
            receive_buffer: options.socket_buffer.remote.receive,
            receive_bytes: options.receive_bytes.remote,
            send_bytes: options.send_bytes.remote,
            request_bytes: options.request_bytes,
            response_bytes: options.response_bytes,
            send_alignment: place(options.alignment.remote.send),
            receive_alignment: place(options.alignment.remote.receive),
            send_offset: place(options.offset.remote.send),
            receive_offset: place(options.offset.remote.receive),
            send_width: widths.send,
            receive_width: widths.receive,
            no_delay: options.no_delay,
            keepalive: options.keepalive,
            defer_accept: options.defer_accept,
            fast_open: options.fast_open,
            packet_info: options.packet_info,
            avoid_copies: options.avoid_copies,
            dont_route: options.dont_route,
            measure_cpu: options.measure_cpu.remote,
            cpu_rate: options.remote_cpu_rate,
            length: options.length,
            data_port: self.remote.address().port(),
            ip_version: if local.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
            local: (Some(local.ip()).filter(|ip| !ip.is_unspecified()), local.port()),
            server_address: options.data.remote.name.as_ref().map(|_| self.remote.address().ip()),
            priority: options.priority.remote,
            type_of_service: options.type_of_service.remote.map(i32::from),
            congestion_control: options.congestion_control.remote.clone(),
            fill_file: options.remote_fill_file.clone(),
            interval_burst: options.remote_burst,
            interval_us: options.remote_interval_us,
            ..OmniTest::new(self.test)
        }
    }
}

fn or_unknown(buffer: u32) -> u32 {
    if buffer == 0 { MESSAGE_BYTES_UNKNOWN } else { buffer }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::netperf::options::{Family, parse};
    use crate::netperf::resolve::{data_end, wildcard};

    /// Hands the course of a command line to `look`, between an unset address and 127.0.0.1.
    fn with<T>(line: &str, look: impl FnOnce(&Course<'_>) -> T) -> T {
        with_buffers(SocketBuffers { send: 16_384, receive: 131_072 }, line, look)
    }

    fn with_buffers<T>(buffers: SocketBuffers, line: &str, look: impl FnOnce(&Course<'_>) -> T) -> T {
        let words = line.split_whitespace().map(Into::into).collect();
        let options = parse(OsStr::new("netperf"), words).options;
        let test = options.test.clone().expect("a test that there is");
        let protocol = bridge::protocol(test);
        let end = |name, port| data_end(name, port, Family::V4, protocol);
        let local = end(wildcard(Family::V4), &options.data_port.local);
        let remote = end("127.0.0.1", &options.data_port.remote);
        look(&Course {
            options: &options,
            test,
            local: local.expect("an address"),
            remote: remote.expect("an address"),
            buffers,
            engine: EngineChoice::Auto,
            payload: None,
            deadlines: Deadlines::netperf(),
        })
    }

    #[test]
    fn a_message_is_as_large_as_asked_for_or_as_the_socket_buffer() {
        let sizes = |line| with(line, |course| (course.message_bytes(), course.shown_send_bytes()));
        assert_eq!(sizes(""), (16_384, 16_384));
        assert_eq!(sizes("-- -m 1000"), (1000, 1000));
        assert_eq!(sizes("-- -r 150"), (150, 0));
        assert_eq!(sizes("-- -r 150 -m 3100"), (150, 3100));
        assert_eq!(sizes("-- -r ,150"), (16_384, 16_384));
        let received = |line| with(line, |course| course.message_bytes());
        assert_eq!(received("-t TCP_MAERTS"), 131_072);
        assert_eq!(received("-t TCP_MAERTS -- -M ,300"), 300);
        assert_eq!(received("-t TCP_MAERTS -- -M ,300 -r ,200"), 200);
        assert_eq!(received("-t TCP_MAERTS -- -M ,300 -r 200,"), 300);
    }

    #[test]
    fn a_datagram_is_as_large_as_it_can_be_and_no_larger_unasked() {
        let buffers = SocketBuffers { send: 212_992, receive: 212_992 };
        let sizes =
            |line| with_buffers(buffers, line, |course| (course.message_bytes(), course.exceeds_datagram()));
        assert_eq!(sizes("-t UDP_STREAM"), (65_507, false));
        assert_eq!(sizes("-t UDP_STREAM -- -m 65508"), (65_508, true));
        assert_eq!(sizes("-t UDP_STREAM -- -r 65508 -m 100"), (65_508, true));
        assert_eq!(sizes("-- -m 65508"), (65_508, false));
    }

    /// Widths as a stock netperf 2.7.0 sent them for these command lines.
    #[test]
    fn widths_are_those_that_netperf_tells() {
        let widths = |line| with(line, |course| (course.widths().send, course.widths().receive));
        assert_eq!(widths(""), (2, 0));
        assert_eq!(widths("-- -m 100"), (164, 0));
        assert_eq!(widths("-- -r 100"), (1, 0));
        assert_eq!(widths("-- -r ,100"), (2, 0));
        assert_eq!(widths("-W 1"), (2, 1));
        assert_eq!(widths("-- -W 1 -r 100"), (1, 0));
        assert_eq!(widths("-W 5,7"), (5, 7));
        assert_eq!(widths("-t TCP_MAERTS"), (0, 2));
        assert_eq!(widths("-t TCP_MAERTS -- -r ,100"), (0, 1));
        assert_eq!(widths("-t TCP_MAERTS -- -r 100,"), (0, 2));
        assert_eq!(widths("-t TCP_MAERTS -W 1"), (1, 1));
    }

    #[test]
    fn a_request_tells_what_was_given_and_nothing_else() {
        let bound: SocketAddr = ([127, 0, 0, 1], 4000).into();
        let asked = |line| with(line, |course| course.request(bound));
        let plain = asked("");
        assert_eq!(plain.local, (Some(bound.ip()), 4000));
        assert_eq!((plain.server_address, plain.data_port), (None, 0));
        let unbound = with("", |course| course.request(([0, 0, 0, 0], 4000).into()));
        assert_eq!(unbound.local, (None, 4000));
        let given = asked("-- -H 127.0.0.1 -P ,12866 -S 0 -m ,500");
        assert_eq!(given.server_address, Some(bound.ip()));
        assert_eq!((given.data_port, given.send_bytes), (12_866, Some(500)));
        assert_eq!((given.send_buffer, given.receive_buffer), (Some(0), Some(0)));
    }

    #[test]
    fn one_end_sends_and_the_other_receives() {
        let role = |line| with(line, |course| course.plan().role);
        assert_eq!(role("-t TCP_STREAM"), Role::Send);
        assert_eq!(role("-t UDP_STREAM"), Role::Send);
        assert_eq!(role("-t TCP_MAERTS"), Role::Receive);
        let reads_on = |line| with(line, |course| !course.plan().receive_linger.is_zero());
        assert!(reads_on("-t TCP_MAERTS"));
        assert!(!reads_on("-N -t TCP_MAERTS"));
        let length = |line| with(line, |course| course.plan().length);
        assert_eq!(length("-l 7"), Length::Time(Duration::from_secs(7)));
        assert_eq!(length("-l -7"), Length::Bytes(7));
        assert_eq!(length("-l 0"), Length::Endless);
    }
}
