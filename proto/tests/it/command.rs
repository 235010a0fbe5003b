//! The part of netperf's command line that the recorded commands use, read into what a client machine is to
//! do.
//!
//! Where an option takes two halves, one value alone sets both or only the first, by the option; an empty
//! half is left alone.

use std::net::IpAddr;

use ringperf_proto::{ClassicTest, IpVersion, Length, OmniTest, Test, TestRequest};

/// What a recorded command asks the client machine for.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) passphrase: Option<Vec<u8>>,
    pub(crate) action: Action,
}

/// The conversation to hold.
#[derive(Debug)]
pub(crate) enum Action {
    Calibrate,
    Test(Box<TestRequest>),
}

/// Reads a recorded command; `Err` says why it is not one for this release's client machine.
pub(crate) fn parse(command: &str) -> Result<Command, &'static str> {
    let mut words = command.split_whitespace();
    if words.next() != Some("netperf") {
        return Err("not a netperf command: a raw client");
    }
    let mut reader = Reader { test: OmniTest::default(), ..Reader::default() };
    while let Some(word) = words.next() {
        match word {
            "--" => break,
            option => reader.global(option, || words.next().expect("a value")),
        }
    }
    while let Some(option) = words.next() {
        reader.specific(option, || words.next().expect("a value"));
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    name: String,
    /// What the client does in an OMNI test (`-d`), whether over UDP (`-T`), and whether by a connection each
    /// (`-c`).
    direction: String,
    udp: bool,
    connects: bool,
    /// `-R 1`: the data may be routed, which is so anyway but over UDP.
    routed: bool,
    passphrase: Option<Vec<u8>>,
    /// The control connection's local address, which the data connection takes over unless a data host is
    /// given.
    local_control: Option<IpAddr>,
    test: OmniTest,
}

impl Reader {
    fn global<'a>(&mut self, option: &str, mut value: impl FnMut() -> &'a str) {
        let test = &mut self.test;
        match option {
            "-4" => test.ip_version = IpVersion::V4,
            "-6" => test.ip_version = IpVersion::V6,
            "-A" => set(both(value()), &mut test.send_alignment, &mut test.receive_alignment),
            "-C" => test.measure_cpu = true,
            "-F" => test.fill_file = second(value()).map(str::to_owned),
            "-H" if value().contains(':') => test.ip_version = IpVersion::V6,
            "-L" => self.local_control = Some(value().parse().expect("an address")),
            "-O" => set(both(value()), &mut test.send_offset, &mut test.receive_offset),
            "-S" => test.keepalive = true,
            "-T" => test.cpu = second(value()).map(number),
            "-Y" => test.type_of_service = second(value()).map(|text| number(text).cast_signed()),
            "-Z" => self.passphrase = Some(value().as_bytes().to_vec()),
            "-l" => test.length = length(value()),
            "-t" => value().clone_into(&mut self.name),
            "-y" => test.priority = second(value()).map(|text| number(text).cast_signed()),
            // Both set what stays at the client, or what is not the machine's to decide.
            "-I" | "-a" | "-i" | "-o" | "-p" => drop(value()),
            "-H" | "-c" => {}
            other => panic!("global option {other}"),
        }
    }

    fn specific<'a>(&mut self, option: &str, mut value: impl FnMut() -> &'a str) {
        let test = &mut self.test;
        match option {
            "-B" => test.packet_info = true,
            "-D" => test.no_delay = true,
            "-H" => test.server_address = Some(value().parse().expect("an address")),
            "-K" => test.congestion_control = second(value()).map(str::to_owned),
            "-L" => test.local.0 = Some(value().parse().expect("an address")),
            "-M" => test.receive_bytes = both(value()).0,
            "-R" => self.routed = value() == "1",
            "-P" => test.data_port = second(value()).map_or(0, |text| text.parse().expect("a port")),
            "-S" => (test.send_buffer, test.receive_buffer) = both(value()),
            "-T" => self.udp = value() == "udp",
            "-V" => test.avoid_copies = true,
            "-a" => test.defer_accept = true,
            "-d" => value().clone_into(&mut self.direction),
            // Only the second half goes to the server, and one value alone is the client's.
            "-m" => test.send_bytes = value().split_once(',').map(|(_, second)| number(second)),
            "-r" => (test.request_bytes, test.response_bytes) = both(value()),
            "-b" | "-o" | "-s" => drop(value()),
            "-c" => self.connects = true,
            "-N" | "-n" => {}
            other => panic!("test option {other}"),
        }
    }

    fn finish(mut self) -> Result<Command, &'static str> {
        if self.test.server_address.is_none() && self.test.local.0.is_none() {
            self.test.local.0 = self.local_control;
        }
        let transport = if self.udp { "udp" } else { "tcp" };
        let test = match (self.name.as_str(), self.direction.as_str(), transport) {
            ("REM_CPU", ..) => return Ok(Command { passphrase: self.passphrase, action: Action::Calibrate }),
            ("LOC_CPU", ..) => return Err("sends nothing"),
            ("TCP_STREAM" | "TCP_SENDFILE", ..) | ("omni", "send", "tcp") => Test::TcpStream,
            ("TCP_MAERTS", ..) | ("omni", "recv", "tcp") => Test::TcpMaerts,
            ("TCP_RR", ..) | ("omni", "rr", "tcp") => Test::TcpRr,
            ("TCP_CC", ..) => Test::TcpCc,
            ("omni", "0", "tcp") if self.connects => Test::TcpCc,
            ("TCP_CRR", ..) => Test::TcpCrr,
            ("UDP_STREAM", ..) | ("omni", "send", "udp") => Test::UdpStream,
            ("omni", "recv", "udp") => Test::UdpMaerts,
            ("UDP_RR", ..) => Test::UdpRr,
            other => panic!("test {other:?}"),
        };
        let length = match (self.test.length, test.has_transactions()) {
            (Length::Bytes(count), true) => Length::Transactions(count),
            (length, _) => length,
        };
        let default = OmniTest::new(test);
        let request = if matches!(self.name.as_str(), "TCP_SENDFILE" | "TCP_CC") {
            ClassicTest { length, ip_version: self.test.ip_version, ..ClassicTest::new(test) }.into()
        } else {
            OmniTest {
                test,
                length,
                dont_route: default.dont_route && !self.routed,
                request_bytes: self.test.request_bytes.or(default.request_bytes),
                response_bytes: self.test.response_bytes.or(default.response_bytes),
                ..self.test
            }
            .into()
        };
        Ok(Command { passphrase: self.passphrase, action: Action::Test(Box::new(request)) })
    }
}

fn halves(text: &str) -> (&str, &str) {
    text.split_once(',').unwrap_or((text, text))
}

fn second(text: &str) -> Option<&str> {
    Some(halves(text).1).filter(|half| !half.is_empty())
}

fn both(text: &str) -> (Option<u32>, Option<u32>) {
    let (first, second) = halves(text);
    let half = |half: &str| (!half.is_empty()).then(|| number(half));
    (half(first), half(second))
}

fn set((first, second): (Option<u32>, Option<u32>), to_first: &mut u32, to_second: &mut u32) {
    *to_first = first.unwrap_or(*to_first);
    *to_second = second.unwrap_or(*to_second);
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).expect("hexadecimal"),
        None => text.parse().expect("a number"),
    }
}

fn length(text: &str) -> Length {
    match text.strip_prefix('-') {
        Some(bytes) => Length::Bytes(bytes.parse().expect("bytes")),
        None => Length::Seconds(text.parse().expect("seconds")),
    }
}
