//! The server machine against recorded conversations: fed what the client sent, it has to answer what
//! netserver answered. Values that only the host knows (ports, socket buffers, counts) are taken from the
//! recorded answers and have to come out at their places; everything else comes from the machine.

use std::collections::VecDeque;

use ringperf_proto::omni::OmniRequest;
use ringperf_proto::{
    ClassicRequest, CpuReport, FRAME_BYTES, Family, Frame, FrameReader, Limits, Offer, RequestCode, Results,
    Server, ServerConfig, ServerInput, ServerOutput, Test, TestSpec,
};

use crate::golden::{self, Direction, Field, Golden, Message, say};

/// Recordings compared; fewer are a failure.
const COMPARED: usize = 72;

/// Requests of tests in all of them; fewer are a failure.
const SERVED: u32 = 72;

/// Fields that are the host's, hence volatile, and inputs of the machine, hence compared. What is left out
/// are the numbers of buffers, which the server may choose.
const INPUTS: [&str; 29] = [
    "bytes_received",
    "bytes_received_hi",
    "bytes_received_lo",
    "bytes_sent",
    "bytes_sent_hi",
    "bytes_sent_lo",
    "cong_control",
    "cpu_percent_iowait",
    "cpu_percent_irq",
    "cpu_percent_swintr",
    "cpu_percent_system",
    "cpu_percent_user",
    "cpu_rate",
    "cpu_util",
    "data_port",
    "data_port_number",
    "elapsed_time",
    "messages_recvd",
    "num_cpus",
    "peak_cpu_id",
    "peak_cpu_util",
    "receive_size",
    "recv_buf_size",
    "recv_calls",
    "send_buf_size",
    "send_calls",
    "send_size",
    "trans_received",
    "transport_retrans",
];

/// Frames in which our server differs from the recorded one on purpose.
const DIFFERENT: [(&str, u64, &str); 5] = [
    ("client260_server260_tcp_stream", 2, "the text describes the recorded host; ours says what 2.7.0 says"),
    (
        "client260_server270_tcp_stream",
        5,
        "netserver 2.7.0 sends results a 2.6.0 client misreads; ours do not",
    ),
    ("client270_server260_tcp_maerts", 3, RESULTS_OF_260),
    ("client270_server260_tcp_rr", 3, RESULTS_OF_260),
    ("client270_server260_udp_stream", 3, RESULTS_OF_260),
];

const RESULTS_OF_260: &str = "netserver 2.6.0 sends results a 2.7.0 client misreads; ours do not";

#[test]
fn answers_what_netserver_answered() {
    let (mut compared, mut skipped) = (0, 0);
    for golden in golden::load() {
        match applicable(&golden) {
            Ok(()) => {
                replay(&golden).unwrap_or_else(|what| panic!("{}: {what}", golden.name));
                compared += 1;
            }
            Err(reason) => {
                say(&format!("skip {} (server): {reason}", golden.name));
                skipped += 1;
            }
        }
    }
    for (name, seq, reason) in DIFFERENT {
        say(&format!("skip frame {seq} of {name} (server): {reason}"));
    }
    say(&format!("goldens: {compared} compared, {skipped} skipped (server)"));
    assert_eq!(compared, COMPARED, "recordings compared");
}

#[test]
fn notices_any_changed_byte() {
    let mut noticed = 0;
    for golden in golden::load().iter().filter(|golden| applicable(golden).is_ok()) {
        for (index, message) in golden.messages.iter().enumerate() {
            if message.direction != Direction::FromServer || !message.is_frame() || differs(golden, message) {
                continue;
            }
            // A changed bit of a masked one changes nothing, so one that is compared is chosen.
            let masked = |at: usize| {
                let field = message
                    .fields
                    .iter()
                    .find(|field| (field.offset..field.offset + field.bytes.len()).contains(&at));
                field.is_some_and(|field| {
                    let bits = field.meaningful_bits.to_be_bytes();
                    let none = bits.get(at - field.offset).is_some_and(|bits| bits & 1 == 0);
                    field.stale || none || (field.volatile && !INPUTS.contains(&field.name.as_str()))
                }) || (message.stale_errno && (4..8).contains(&at))
            };
            let mut changed = golden.clone();
            for at in (0..FRAME_BYTES).filter(|at| !masked(*at)) {
                changed.messages[index].bytes[at] ^= 1;
                assert!(replay(&changed).is_err(), "{}: byte {at} of frame {}", golden.name, message.seq);
                changed.messages[index].bytes[at] ^= 1;
                noticed += 1;
            }
        }
    }
    assert!(noticed > 15_000, "{noticed}");
}

#[test]
fn answers_a_classic_udp_stream_of_2_4_5_in_longer_frames() {
    let mut golden = recording("client245_server245_udp_stream");
    assert_eq!(golden.frame_bytes, 256);
    // Those clients used shorter frames, which are not served, for the same words.
    for message in golden.messages.iter_mut().filter(|message| message.is_frame()) {
        message.bytes.resize(FRAME_BYTES, 0);
    }
    replay(&golden).unwrap_or_else(|what| panic!("{what}"));
    let results = golden.messages.iter().position(|message| message.word_at(0) == Some(18)).expect("results");
    for at in [11, 12, 20, 31, 655] {
        golden.messages[results].bytes[at] ^= 1;
        assert!(replay(&golden).is_err(), "byte {at}");
        golden.messages[results].bytes[at] ^= 1;
    }
}

#[test]
fn reads_the_recorded_addresses() {
    let address = |text: &str| Some(text.parse().expect("an address"));
    let (loopback, second, none) = (address("127.0.0.1"), address("127.0.0.2"), None);
    let cases = [
        ("tcp_stream_ipv6_explicit", address("::1"), (address("::1"), 12873), 12874),
        ("tcp_stream_explicit_addrs", second, (loopback, 12867), 12868),
        ("explicit_unassigned_address", address("192.0.2.1"), (none, 0), 0),
        ("udp_stream_m3100", none, (loopback, 12866), 12866),
        ("tcp_stream_ipv6", none, (none, 40447), 0),
    ];
    for (name, data_address, client_data, data_port) in cases {
        let request = recording(name).messages.remove(0);
        let output = Server::new(config(&recording(name))).on(ServerInput::Frame(frame(&request.bytes)));
        let ServerOutput::Prepare(spec) = output.expect("an answer").1 else { panic!("{name}") };
        assert_eq!(spec.data_address, data_address, "{name}");
        assert_eq!(spec.client_data, client_data, "{name}");
        assert_eq!(spec.data_port, data_port, "{name}");
    }
}

#[test]
fn serves_every_recorded_request_that_netserver_served() {
    let mut served = 0;
    for golden in golden::load().iter().filter(|golden| golden.frame_bytes == 656) {
        let requests = golden
            .messages
            .iter()
            .filter(|message| message.direction == Direction::FromClient && message.is_frame());
        for request in requests.map(|message| frame(&message.bytes)) {
            let parsed = match request.request_type() {
                RequestCode::Omni => TestSpec::parse(-1, &OmniRequest::decode(&request), &Limits::default()),
                _ => match ClassicRequest::decode(&request) {
                    Some(request) => TestSpec::parse_classic(-1, &request, &Limits::default()),
                    None => continue,
                },
            };
            // The one that names no address family: netserver dies of it.
            assert_eq!(parsed.is_ok(), golden.name != "ipfamily_zero", "{}: {parsed:?}", golden.name);
            served += u32::from(parsed.is_ok());
        }
    }
    assert_eq!(served, SERVED, "requests served");
}

fn recording(name: &str) -> Golden {
    golden::load().into_iter().find(|golden| golden.name == name).expect("the recording")
}

/// Whether a recording shows something that the server machine does.
fn applicable(golden: &Golden) -> Result<(), &'static str> {
    if golden.frame_bytes != 656 {
        return Err("256-byte frames");
    }
    if golden.name == "receive_size_zero" {
        return Err("netserver dies of a receive size of 0; ours chooses a size");
    }
    if !golden.messages.iter().any(|message| !message.bytes.is_empty()) {
        return Err("nothing is sent");
    }
    if golden.server.starts_with("netserver 2.4") || golden.server.starts_with("netserver 2.5") {
        return Err("recorded from a server with 256-byte frames");
    }
    Ok(())
}

fn differs(golden: &Golden, message: &Message) -> bool {
    DIFFERENT.iter().any(|(name, seq, _)| *name == golden.name && *seq == message.seq)
}

fn frame(bytes: &[u8]) -> Frame {
    Frame::from_bytes(bytes.try_into().expect("a whole frame"))
}

/// The host the recordings were made on: two CPUs, 100 clock ticks a second.
fn config(golden: &Golden) -> ServerConfig {
    let passphrase = golden.server.split_once("started with -Z ").map(|(_, word)| word.as_bytes().to_vec());
    ServerConfig { limits: Limits::default(), passphrase, cpu_rate: 100.0, cpus: 2 }
}

/// Holds the recorded conversation with the server machine and compares every answer.
fn replay(golden: &Golden) -> Result<(), String> {
    let mut session = Session {
        server: Some(Server::new(config(golden))),
        answers: golden
            .messages
            .iter()
            .filter(|message| message.direction == Direction::FromServer)
            .collect(),
        sent: VecDeque::new(),
        closed: false,
    };
    let (mut reader, mut client_ended) = (FrameReader::default(), false);
    let mut before = None;
    for message in &golden.messages {
        if message.direction == Direction::FromClient {
            client_ended |= message.is_end();
            let _ = reader.push(&message.bytes);
            while let Some(frame) = reader.next().filter(|_| !session.closed) {
                session.give(ServerInput::Frame(frame))?;
            }
        } else if message.is_frame() {
            let ours = session.sent.pop_front().ok_or(format!("frame {}: no answer", message.seq))?;
            if !differs(golden, message) {
                message.compare(ours.as_bytes(), before, &INPUTS)?;
            }
            before = Some(message);
        } else if message.is_end() && !client_ended && !session.closed {
            return Err("netserver closed the connection, the machine did not".to_owned());
        }
    }
    match session.sent.len() {
        0 => Ok(()),
        more => Err(format!("{more} frames too many")),
    }
}

struct Session<'a> {
    server: Option<Server>,
    /// What netserver sent, from which the host's part is taken.
    answers: VecDeque<&'a Message>,
    sent: VecDeque<Frame>,
    closed: bool,
}

impl Session<'_> {
    /// Gives one input and plays the host until the machine waits for the client.
    fn give(&mut self, input: ServerInput) -> Result<(), String> {
        let mut next = Some(input);
        let mut wanted = None;
        while let Some(input) = next.take() {
            let server = self.server.take().ok_or("the machine is gone")?;
            let (server, output) = server.on(input).map_err(|fault| fault.to_string())?;
            self.server = Some(server);
            match output {
                ServerOutput::Nothing => {}
                ServerOutput::Close(_) => self.closed = true,
                ServerOutput::Prepare(spec) => {
                    let answer = self.answers.front().filter(|answer| !answer.fields.is_empty());
                    let answer = answer.ok_or("netserver did not answer this")?;
                    next = Some(ServerInput::Prepared(granted(&spec, answer)));
                    wanted = Some(spec);
                }
                ServerOutput::Reply(frame) => self.send(frame),
                ServerOutput::ReplyThenClose(frame) => {
                    self.closed = true;
                    self.send(frame);
                }
                ServerOutput::ReplyThenRun(frame) => {
                    self.send(frame);
                    let results = self.answers.front().filter(|answer| answer.is_frame());
                    next = results.map(|answer| ran(wanted.as_ref().expect("a test"), answer));
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, frame: Frame) {
        self.answers.pop_front();
        self.sent.push_back(frame);
    }
}

/// What the recorded host granted. Options are granted as they were asked for; the recording has to agree.
/// What a response does not say is made up, so that it shows if the machine says it.
fn granted(spec: &TestSpec, response: &Message) -> Offer {
    const UNTOLD: u32 = 77;
    let classic = spec.family == Family::Classic;
    let port = response.word(if classic { "data_port_number" } else { "data_port" });
    let size = |name: &str| u32::try_from(response.signed(name)).expect("a size");
    let told = !classic || matches!(spec.test, Test::TcpMaerts | Test::TcpStream);
    let (receives, sends) = (spec.test.server_receives(), spec.test.server_sends());
    let of_a_transaction = |bytes: u32| Some(bytes).filter(|bytes| *bytes > 0);
    let receive = spec.receive_bytes.or(of_a_transaction(spec.request_bytes));
    let send = spec.send_bytes.or(of_a_transaction(spec.response_bytes));
    let message = |asked: Option<u32>, told: bool, name: &str| match asked {
        _ if !told => UNTOLD,
        None => size(name),
        Some(asked) => asked,
    };
    Offer {
        port: u16::try_from(port).expect("a port"),
        send_buffer: size("send_buf_size"),
        receive_buffer: size("recv_buf_size"),
        receive_bytes: message(receive, told && receives, "receive_size"),
        send_bytes: message(send, told && sends, "send_size"),
        no_delay: spec.no_delay,
        priority: spec.priority,
        type_of_service: spec.type_of_service,
    }
}

/// How the test went on the recorded host. What the recording does not say is made up.
fn ran(spec: &TestSpec, results: &Message) -> ServerInput {
    if results.errno != 0 {
        return ServerInput::Failed { errno: results.errno };
    }
    let told = |name: &str| results.fields.iter().any(|field| field.name == name);
    let word = |name: &str| if told(name) { results.word(name) } else { 77 };
    let part = |name: &str| if told(name) { results.float(name) } else { 0.0 };
    let cpu = spec.measure_cpu.then(|| CpuReport {
        utilisation: results.float("cpu_util"),
        user: part("cpu_percent_user"),
        system: part("cpu_percent_system"),
        iowait: part("cpu_percent_iowait"),
        irq: part("cpu_percent_irq"),
        softirq: part("cpu_percent_swintr"),
        method: 8,
        cpus: results.word("num_cpus"),
        peak_cpu: word("peak_cpu_id").cast_signed(),
        peak_utilisation: part("peak_cpu_util"),
    });
    let name = if told("cong_control") { results.text("cong_control") } else { "untold".to_owned() };
    let received = if told("messages_recvd") { "messages_recvd" } else { "recv_calls" };
    let results = Results {
        bytes_received: counted(results, "bytes_received"),
        receives: u64::from(word(received)),
        bytes_sent: counted(results, "bytes_sent"),
        sends: u64::from(word("send_calls")),
        transactions: u64::from(word("trans_received")),
        send_buffer: word("send_buf_size"),
        receive_buffer: word("recv_buf_size"),
        elapsed_seconds: results.float("elapsed_time"),
        retransmits: word("transport_retrans").cast_signed(),
        congestion_control: Some(name).filter(|name| !name.is_empty()),
        cpu,
    };
    ServerInput::Ran(results, None)
}

/// A counter of bytes as any of the families writes it: as two words, as a double, or as one word.
fn counted(results: &Message, name: &str) -> u64 {
    let find = |name: String| results.fields.iter().find(|field| field.name == name);
    let number = |field: &Field| match *field.bytes.as_slice() {
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]) as u64,
        _ => panic!("{} is no counter", field.name),
    };
    match (find(name.to_owned()), find(format!("{name}_hi")), find(format!("{name}_lo"))) {
        (Some(field), ..) => number(field),
        (_, Some(high), Some(low)) => number(high) << 32 | number(low),
        _ => 77,
    }
}
