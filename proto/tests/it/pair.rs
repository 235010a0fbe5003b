//! The two machines against each other, over a stream that is cut anywhere.

use std::net::IpAddr;

use ringperf_proto::native::VERSION;
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, CpuReport, Fault, Frame, FrameReader, IpVersion, Length,
    NativeDetail, NativeReport, Offer, OmniTest, Party, PeerRelease, RemoteOffer, RemoteResults, Report,
    RequestCode, Results, Server, ServerInput, ServerOutput, Test, TestSpec, Wishes, errno,
};

use crate::server::config;

/// Both ends, and the bytes between them.
struct Pair {
    client: Option<Client>,
    server: Option<Server>,
    to_server: FrameReader,
    to_client: FrameReader,
    /// Where every frame is cut on its way.
    cut: usize,
    /// What the server was asked for last.
    spec: Option<TestSpec>,
    /// What had been wished for every test so far.
    wished: Vec<Wishes>,
    /// How tests go at the server.
    outcome: Result<Results, i32>,
    /// Results that wait for the data connection to end.
    results: Option<Frame>,
    closed: bool,
}

impl Pair {
    fn new(client: Option<&[u8]>, server: Option<&[u8]>, cut: usize) -> Self {
        Self {
            client: Some(Client::new(ClientConfig { passphrase: client.map(<[u8]>::to_vec) })),
            server: Some(Server::new(config(server))),
            to_server: FrameReader::default(),
            to_client: FrameReader::default(),
            cut,
            spec: None,
            wished: Vec::new(),
            outcome: Ok(results()),
            results: None,
            closed: false,
        }
    }

    /// Gives the client one input and lets both run until it has something to say; `None` if the server
    /// closed.
    fn ask(&mut self, input: ClientInput) -> Result<Option<ClientOutput>, Fault> {
        let mut input = input;
        loop {
            let (client, output) = self.client.take().expect("a client").on(input)?;
            self.client = Some(client);
            input = match output {
                ClientOutput::Send(frame) => {
                    carry(&frame, &mut self.to_server, self.cut);
                    ClientInput::Sent
                }
                ClientOutput::Run(_) => ClientInput::Ran,
                ClientOutput::Wait => {
                    self.serve();
                    match self.to_client.next() {
                        Some(frame) => ClientInput::Frame(frame),
                        None => return Ok(None),
                    }
                }
                said => return Ok(Some(said)),
            };
        }
    }

    fn serve(&mut self) {
        if let Some(results) = self.results.take() {
            carry(&results, &mut self.to_client, self.cut);
        }
        while let Some(frame) = self.to_server.next().filter(|_| !self.closed) {
            self.step(ServerInput::Frame(frame));
        }
    }

    fn step(&mut self, input: ServerInput) {
        let (server, output) = self.server.take().expect("a server").on(input).expect("no fault");
        self.server = Some(server);
        match output {
            ServerOutput::Close(_) => self.closed = true,
            ServerOutput::Nothing => {}
            ServerOutput::Prepare(spec) => {
                self.spec = Some(spec.clone());
                self.wished.push(spec.wishes);
                self.step(ServerInput::Prepared(granted(&spec)));
            }
            // A results frame is held back until the client has run.
            ServerOutput::Reply(frame) if self.spec.is_some() => {
                self.spec = None;
                self.results = Some(frame);
            }
            ServerOutput::Reply(frame) => carry(&frame, &mut self.to_client, self.cut),
            ServerOutput::ReplyThenClose(frame) => {
                self.closed = true;
                self.results = Some(frame);
            }
            ServerOutput::ReplyThenRun(frame) => {
                carry(&frame, &mut self.to_client, self.cut);
                self.step(match self.outcome.clone() {
                    Ok(results) => ServerInput::Ran(results, Some(report())),
                    Err(errno) => ServerInput::Failed { errno },
                });
            }
        }
    }

    fn finished(&mut self, test: OmniTest) -> RemoteResults {
        match self.ask(ClientInput::Start(test.into())) {
            Ok(Some(ClientOutput::Finished(results))) => results,
            other => panic!("{other:?}"),
        }
    }
}

fn carry(frame: &Frame, to: &mut FrameReader, cut: usize) {
    let (first, second) = frame.as_bytes().split_at(cut);
    assert_eq!(to.push(first) + to.push(second), frame.as_bytes().len());
}

fn granted(spec: &TestSpec) -> Offer {
    Offer {
        port: if spec.data_port == 0 { 40001 } else { spec.data_port },
        send_buffer: 16384,
        receive_buffer: spec.receive_buffer.unwrap_or(65536) * 2,
        receive_bytes: spec.receive_bytes.unwrap_or(131_072),
        send_bytes: spec.send_bytes.unwrap_or(16_384),
        no_delay: spec.no_delay,
        priority: spec.priority,
        type_of_service: spec.type_of_service,
    }
}

fn results() -> Results {
    Results {
        bytes_received: 0x12_3456_7890,
        receives: 99,
        bytes_sent: 0x34_5678_9012,
        sends: 77,
        transactions: 55,
        send_buffer: 4_194_304,
        receive_buffer: 6_291_456,
        elapsed_seconds: 1.5,
        retransmits: 3,
        congestion_control: Some("cubic".to_owned()),
        cpu: Some(CpuReport {
            utilisation: 12.5,
            method: 8,
            cpus: 4,
            peak_utilisation: 50.0,
            ..CpuReport::default()
        }),
    }
}

fn report() -> Report {
    Report {
        base: NativeReport { engine: 1, core: 3, receives_buffer_ring: 99, ..NativeReport::default() },
        detail: Some(NativeDetail { flows: 7, socket_drops: Some(5), ..NativeDetail::default() }),
    }
}

#[test]
fn a_test_passes_through_a_stream_cut_at_any_byte() {
    for (cut, test) in (0..=656).zip(Test::ALL.into_iter().cycle()) {
        let mut pair = Pair::new(Some(b"sesame"), Some(b"sesame"), cut);
        let local = (None, 40_000);
        let done = pair.finished(OmniTest { measure_cpu: true, local, ..OmniTest::new(test) });
        assert_eq!(done.transactions, 55);
        assert_eq!((done.bytes_received, done.receives), (0x12_3456_7890, 99));
        assert_eq!((done.bytes_sent, done.sends), (0x34_5678_9012, 77));
        assert_eq!((done.elapsed_seconds, done.retransmits), (Some(1.5), Some(3)));
        assert_eq!((done.send_buffer, done.receive_buffer), (Some(4_194_304), Some(6_291_456)));
        let named = Some("cubic").filter(|_| !test.over_udp());
        assert_eq!(done.congestion_control.as_deref(), named, "it is TCP's");
        assert_eq!((done.cpu, done.release), (results().cpu, PeerRelease::V270));
    }
}

#[test]
fn each_end_learns_what_the_other_does() {
    let cases = [
        (Test::TcpMaerts, (None, Some(16_384)), (None, Some(5000))),
        (Test::TcpStream, (Some(131_072), None), (Some(4000), None)),
        (Test::UdpStream, (Some(131_072), None), (Some(4000), None)),
        (Test::UdpMaerts, (None, Some(16_384)), (None, Some(5000))),
    ];
    for (test, by_default, asked) in cases {
        let plain = OmniTest { local: (None, 4000), ..OmniTest::new(test) };
        let (spec, offer) = offered(plain.clone());
        assert_eq!((spec.test, spec.receive_bytes, spec.send_bytes), (test, None, None));
        assert_eq!((offer.receive_bytes, offer.send_bytes), by_default, "{test:?}");
        let sized = OmniTest { receive_bytes: Some(4000), send_bytes: Some(5000), ..plain };
        let (spec, offer) = offered(sized.clone());
        assert_eq!((spec.receive_bytes, spec.send_bytes), asked, "{test:?}");
        assert_eq!(
            (offer.receive_bytes, offer.send_bytes),
            (Some(4000), Some(5000)),
            "in force, or repeated"
        );
        // A request size is also the size of what is received, a response size of what is sent, whatever else
        // was asked for.
        let both = OmniTest { request_bytes: Some(150), response_bytes: Some(250), ..sized };
        let (spec, offer) = offered(both);
        let taken = (asked.0.map(|_| 150), asked.1.map(|_| 250));
        assert_eq!((spec.receive_bytes, spec.send_bytes), taken, "{test:?}");
        let told = (taken.0.or(Some(4000)), taken.1.or(Some(5000)));
        assert_eq!((offer.receive_bytes, offer.send_bytes), told, "{test:?}");
    }
}

/// The numbers that a stock netperf 2.7.0 shows beside its own server.
#[test]
fn message_buffers_are_as_many_as_netperfs_server_has() {
    let widths = |test, change: fn(&mut OmniTest)| {
        let mut test =
            OmniTest { local: (None, 4000), send_width: 0, receive_width: 0, ..OmniTest::new(test) };
        change(&mut test);
        let (_, offer) = offered(test);
        (offer.send_width, offer.receive_width)
    };
    assert_eq!(widths(Test::TcpStream, |test| test.send_width = 2), (2, 2));
    assert_eq!(widths(Test::TcpStream, |test| test.receive_bytes = Some(100)), (0, 1311));
    assert_eq!(widths(Test::TcpStream, |test| test.request_bytes = Some(200)), (0, 1));
    assert_eq!(widths(Test::TcpMaerts, |test| test.send_bytes = Some(100)), (164, 0));
    assert_eq!(widths(Test::TcpMaerts, |test| test.response_bytes = Some(300)), (1, 0));
    assert_eq!(widths(Test::TcpMaerts, |test| (test.send_width, test.receive_width) = (5, 7)), (5, 7));
    assert_eq!(widths(Test::TcpCc, |_| ()), (0, 0));
}

/// What the server makes of a request, and what the client reads of its response.
fn offered(test: OmniTest) -> (TestSpec, RemoteOffer) {
    let (client, output) =
        Client::new(ClientConfig::default()).on(ClientInput::Start(test.into())).expect("a request");
    let ClientOutput::Send(request) = output else { panic!("{output:?}") };
    let (server, output) = Server::new(config(None)).on(ServerInput::Frame(request)).expect("an answer");
    let ServerOutput::Prepare(spec) = output else { panic!("{output:?}") };
    let output = server.on(ServerInput::Prepared(granted(&spec))).expect("a response").1;
    let ServerOutput::ReplyThenRun(response) = output else { panic!("{output:?}") };
    let client = client.on(ClientInput::Sent).expect("a wait").0;
    match client.on(ClientInput::Frame(response)).expect("an offer").1 {
        ClientOutput::Run(offer) => (spec, offer),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_asked_for_arrives_as_it_was_meant() {
    let local: IpAddr = "2001:db8::1".parse().expect("an address");
    let test = OmniTest {
        cpu: Some(5),
        send_buffer: Some(1000),
        receive_buffer: Some(2000),
        receive_bytes: Some(3000),
        no_delay: true,
        keepalive: true,
        dont_route: true,
        measure_cpu: true,
        length: Length::Bytes(77),
        data_port: 12866,
        ip_version: IpVersion::V6,
        local: (Some(local), 12867),
        server_address: Some("::1".parse().expect("an address")),
        priority: Some(2),
        type_of_service: Some(16),
        congestion_control: Some("bbr".to_owned()),
        fill_file: Some("file".to_owned()),
        ..OmniTest::default()
    };
    let client = Client::new(ClientConfig::default());
    let ClientOutput::Send(frame) = client.on(ClientInput::Start(test.into())).expect("a request").1 else {
        panic!()
    };
    let output = Server::new(config(None)).on(ServerInput::Frame(frame)).expect("an answer").1;
    let ServerOutput::Prepare(spec) = output else { panic!("{output:?}") };
    assert_eq!((spec.cpu, spec.send_buffer, spec.receive_buffer), (Some(5), Some(1000), Some(2000)));
    assert_eq!((spec.receive_bytes, spec.length, spec.data_port), (Some(3000), Length::Bytes(77), 12866));
    assert!(spec.no_delay && spec.keepalive && spec.dont_route && spec.measure_cpu && spec.ignored_fill_file);
    assert_eq!((spec.ip_version, spec.client_data), (IpVersion::V6, (Some(local), 12867)));
    assert_eq!(spec.data_address, Some("::1".parse().expect("an address")));
    assert_eq!((spec.priority, spec.type_of_service), (Some(2), Some(16)));
    assert_eq!(spec.congestion_control.as_deref(), Some("bbr"));
}

#[test]
fn one_connection_carries_a_probe_tests_a_calibration_and_reports() {
    let mut pair = Pair::new(None, None, 300);
    assert_eq!(pair.ask(ClientInput::Probe), Ok(Some(ClientOutput::Native(Some(VERSION)))));
    assert_eq!(pair.ask(ClientInput::AskReport), Ok(Some(ClientOutput::Report(None))));
    for _ in 0..3 {
        let done = pair.finished(OmniTest::default());
        assert_eq!(done.cpu, None, "it was not asked for");
        assert_eq!(done.release, PeerRelease::V270, "left-overs are not taken for the texts of 2.6.0");
        assert_eq!(pair.ask(ClientInput::AskReport), Ok(Some(ClientOutput::Report(Some(report())))));
    }
    let calibrated = ClientOutput::Calibrated { rate: 100.0, cpus: 4 };
    assert_eq!(pair.ask(ClientInput::Calibrate), Ok(Some(calibrated)));
}

#[test]
fn wishes_are_for_the_one_test_that_follows_them() {
    let mut pair = Pair::new(Some(b"sesame"), Some(b"sesame"), 40);
    assert_eq!(pair.ask(ClientInput::Probe), Ok(Some(ClientOutput::Native(Some(VERSION)))));
    let asked = Wishes { flows: 100, workers: 80, ..Wishes::default() };
    let granted = Wishes { workers: 64, ..asked };
    for wishes in [Wishes { flows: 3, ..asked }, asked] {
        let answer = pair.ask(ClientInput::Wish(wishes));
        let workers = wishes.flows.min(64);
        assert_eq!(answer, Ok(Some(ClientOutput::Granted(Wishes { workers, ..wishes }))));
    }
    assert_eq!(pair.ask(ClientInput::AskReport), Ok(Some(ClientOutput::Report(None))));
    pair.finished(OmniTest::default());
    pair.finished(OmniTest::default());
    assert_eq!(pair.wished, [granted, Wishes::default()]);
}

#[test]
fn a_repeated_test_goes_back_to_what_the_server_answered() {
    for test in [Test::TcpMaerts, Test::TcpStream, Test::UdpStream] {
        let first = OmniTest { measure_cpu: true, priority: Some(3), ..OmniTest::new(test) };
        let (_, offer) = offered(first.clone());
        assert_eq!((offer.port, offer.cpu_rate, offer.measures_cpu), (40001, 100.0, true));
        let second = first.next_iteration(&offer);
        assert_eq!((second.data_port, second.cpu_rate, second.priority), (40001, 100.0, Some(3)));
        assert_eq!(
            OmniTest { data_port: 0, cpu_rate: 0.0, ..second },
            first,
            "sizes are asked for as before"
        );
    }
}

#[test]
fn a_wrong_passphrase_gets_no_frame() {
    for shown in [None, Some(&b"wrong"[..])] {
        let mut pair = Pair::new(shown, Some(b"sesame"), 1);
        assert_eq!(pair.ask(ClientInput::Start(OmniTest::default().into())), Ok(None));
        assert!(pair.closed);
    }
    let mut unneeded = Pair::new(Some(b"sesame"), None, 1);
    unneeded.finished(OmniTest::default());
}

#[test]
fn a_test_that_dies_at_the_server_names_its_errno() {
    let mut pair = Pair::new(None, None, 8);
    pair.outcome = Err(errno::ECONNRESET);
    let fault = pair.ask(ClientInput::Start(OmniTest::default().into())).expect_err("a fault");
    assert_eq!(fault, Fault::Remote { errno: errno::ECONNRESET });
    assert_eq!(
        (fault.party(), fault.to_string()),
        (Party::Peer, "the peer reports error 104 (ECONNRESET)".to_owned())
    );
}

#[test]
fn a_stock_server_is_told_from_ours_and_keeps_serving() {
    let stock = |input: ClientInput, answer: Frame| {
        let client = Client::new(ClientConfig::default()).on(input).expect("a request").0;
        let client = client.on(ClientInput::Sent).expect("a wait").0;
        client.on(ClientInput::Frame(answer)).map(|(_, output)| output)
    };
    let unknown = || Frame::response(0, errno::UNKNOWN_REQUEST);
    assert_eq!(stock(ClientInput::Probe, unknown()), Ok(ClientOutput::Native(None)));
    assert_eq!(stock(ClientInput::AskReport, unknown()), Ok(ClientOutput::Report(None)));
    assert_eq!(stock(ClientInput::Probe, Frame::zeroed()), Ok(ClientOutput::Native(None)));
    let refused = stock(ClientInput::Start(OmniTest::default().into()), unknown());
    assert_eq!(refused, Err(Fault::Unsupported { request: "DO_OMNI" }));
    let newer = {
        let mut bytes = *Frame::response(0x5251, 0).as_bytes();
        bytes[11] = u8::try_from(VERSION + 1).expect("a small number");
        Frame::from_bytes(bytes)
    };
    assert_eq!(stock(ClientInput::Probe, newer.clone()), Ok(ClientOutput::Native(Some(VERSION + 1))));
    let version = VERSION + 1;
    assert_eq!(stock(ClientInput::AskReport, newer), Err(Fault::Incompatible { version }));
}

#[test]
fn a_left_over_errno_does_not_spoil_a_calibration() {
    let mut bytes = *Frame::response(5, 998_i32.swap_bytes()).as_bytes();
    bytes[8..16].copy_from_slice(&[0x42, 0xc8, 0, 0, 0, 0, 0, 2]);
    let calibrate = |bytes| {
        let client = Client::new(ClientConfig::default()).on(ClientInput::Calibrate).expect("a request").0;
        let client = client.on(ClientInput::Sent).expect("a wait").0;
        client.on(ClientInput::Frame(Frame::from_bytes(bytes))).map(|(_, output)| output)
    };
    assert_eq!(calibrate(bytes), Ok(ClientOutput::Calibrated { rate: 100.0, cpus: 2 }));
    bytes[4..8].copy_from_slice(&13_i32.to_be_bytes());
    assert_eq!(calibrate(bytes), Err(Fault::Remote { errno: 13 }));
    bytes[4..8].fill(0);
    bytes[8..12].copy_from_slice(&f32::NAN.to_be_bytes());
    assert!(matches!(calibrate(bytes), Err(Fault::Malformed { .. })));
}

#[test]
fn frames_nobody_waits_for_are_the_peers_fault() {
    let idle = Client::new(ClientConfig::default());
    let fault = idle.on(ClientInput::Frame(Frame::zeroed())).err().expect("a fault");
    assert_eq!(
        (fault.party(), fault.to_string().as_str()),
        (Party::Peer, "the peer sent a frame while nothing was asked of it")
    );
    let sending = Client::new(ClientConfig::default()).on(ClientInput::Probe).expect("a request").0;
    let fault = sending.on(ClientInput::Start(OmniTest::default().into())).err().expect("a fault");
    assert_eq!(fault, Fault::Misuse { what: "a request is being sent" });
    let passphrase = Some(vec![b'x'; 648]);
    let fault = Client::new(ClientConfig { passphrase }).on(ClientInput::Probe).err().expect("a fault");
    assert_eq!(fault.party(), Party::Caller);
    let unasked =
        Server::new(config(None)).on(ServerInput::Frame(Frame::request(RequestCode::NodeIdentify, -1)));
    assert!(unasked.is_ok(), "a server takes any request");
}

#[test]
fn cpu_figures_are_numbers_or_not_there() {
    let told = |cpu: CpuReport| {
        let mut pair = Pair::new(None, None, 0);
        pair.outcome = Ok(Results { cpu: Some(cpu), ..results() });
        pair.finished(OmniTest { measure_cpu: true, ..OmniTest::default() }).cpu
    };
    let sound = CpuReport { utilisation: 20.0, iowait: 1.0, method: 8, ..CpuReport::default() };
    assert_eq!(told(sound.clone()), Some(sound.clone()));
    let backwards = CpuReport { iowait: -0.5, ..sound.clone() };
    assert_eq!(told(backwards), Some(CpuReport { iowait: 0.0, ..sound.clone() }));
    assert_eq!(told(CpuReport { utilisation: -1.0, ..sound.clone() }), None, "not measured");
    assert_eq!(told(CpuReport::default()), None, "zeroes of a method that is none");
    assert_eq!(told(CpuReport { system: f32::NAN, ..sound.clone() }), None);
    assert_eq!(told(CpuReport { peak_utilisation: f32::INFINITY, ..sound }), None);
}
