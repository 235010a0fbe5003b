//! The client machine against recorded conversations: driven by the recorded command and the recorded
//! answers, it has to send what netperf sent.

use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Fault, Frame, FrameReader, RemoteOffer, RemoteResults,
    TestRequest,
};

use crate::command::{self, Action};
use crate::golden::{self, Direction, Golden, Message, say};

/// Recordings compared; fewer are a failure.
const COMPARED: usize = 47;

/// Fields that differ from run to run and are inputs of the machine, so they are compared all the same: the
/// port of the client's socket, and the port that the server answered the time before.
const INPUTS: [&str; 2] = ["netperf_port", "data_port"];

#[test]
fn sends_what_netperf_sent() {
    let (mut compared, mut skipped) = (0, 0);
    for golden in golden::load() {
        match replay(&golden) {
            Ok(()) => compared += 1,
            Err(Mismatch::NotApplicable(reason)) => {
                skipped += 1;
                say(&format!("skip {} (client): {reason}", golden.name));
            }
            Err(Mismatch::Different(what)) => panic!("{}: {what}", golden.name),
        }
    }
    say(&format!("goldens: {compared} compared, {skipped} skipped (client)"));
    assert_eq!(compared, COMPARED, "recordings compared");
}

#[test]
fn notices_any_changed_byte() {
    let mut noticed = 0;
    for golden in golden::load().iter().filter(|golden| replay(golden).is_ok()) {
        for (index, message) in golden.messages.iter().enumerate().filter(|(_, message)| is_request(message))
        {
            let chosen = ["send_width", "recv_width"];
            let chosen = message.fields.iter().filter(|field| chosen.contains(&field.name.as_str()));
            let chosen: Vec<usize> = chosen.flat_map(|field| field.offset..field.offset + 4).collect();
            let mut changed = golden.clone();
            for at in (0..message.bytes.len()).filter(|at| !chosen.contains(at)) {
                changed.messages[index].bytes[at] ^= 1;
                assert!(replay(&changed).is_err(), "{}: byte {at} of frame {}", golden.name, message.seq);
                changed.messages[index].bytes[at] ^= 1;
                noticed += 1;
            }
        }
    }
    assert!(noticed > 10_000, "{noticed}");
}

#[test]
fn reads_the_recorded_results() {
    let mut read = 0;
    for golden in golden::load() {
        let Ok(outcome) = drive(&golden) else { continue };
        let results = golden.messages.iter().filter(|message| {
            message.is_frame() && message.fields.iter().any(|field| field.name == "elapsed_time")
        });
        for (ours, recorded) in outcome.results.iter().zip(results) {
            let told = |name: &str| recorded.fields.iter().any(|field| field.name == name && !field.stale);
            let count = |name: &str| if told(name) { u64::from(recorded.word(name)) } else { 0 };
            let joined = |name: &str| count(&format!("{name}_hi")) << 32 | count(&format!("{name}_lo"));
            let size = |name: &str| told(name).then(|| u32::try_from(recorded.signed(name)).ok()).flatten();
            let omni = told("bytes_received_hi");
            let bytes_received = match recorded.field_if_told("bytes_received") {
                Some([a, b, c, d, e, f, g, h]) => f64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as u64,
                // Classic results of transactions make them up.
                _ => joined("bytes_received"),
            };
            assert_eq!(ours.bytes_received, bytes_received, "{}", golden.name);
            assert_eq!(ours.bytes_sent, joined("bytes_sent"));
            assert_eq!(ours.bytes_received == 0, ours.receives == 0);
            assert_eq!(ours.bytes_sent == 0, ours.sends == 0);
            assert_eq!(ours.receives, count("recv_calls"));
            assert_eq!(ours.sends, count("send_calls"));
            assert_eq!(ours.transactions, count("trans_received"), "{}", golden.name);
            assert_eq!(ours.receive_buffer, size("recv_buf_size").filter(|_| omni));
            assert_eq!(ours.send_buffer, size("send_buf_size").filter(|_| omni));
            assert_eq!(
                ours.retransmits,
                Some("transport_retrans")
                    .filter(|name| told(name))
                    .map(|name| recorded.signed(name))
                    .filter(|count| *count >= 0)
            );
            assert_eq!(ours.elapsed_seconds, Some(recorded.float("elapsed_time")));
            assert_eq!(ours.cpu.is_some(), count("cpu_method") != 0, "{}", golden.name);
            if let Some(cpu) = &ours.cpu {
                assert_eq!(cpu.utilisation, recorded.float("cpu_util"));
                assert_eq!(cpu.peak_utilisation, recorded.float("peak_cpu_util"));
            }
            let name = Some("cong_control").filter(|name| told(name)).map(|name| recorded.text(name));
            assert_eq!(ours.congestion_control, name.filter(|name| !name.is_empty()), "{}", golden.name);
            read += 1;
        }
    }
    assert_eq!(read, 47, "results read");
}

#[test]
fn reads_the_recorded_offers() {
    let mut read = 0;
    for golden in golden::load() {
        let Ok(outcome) = drive(&golden) else { continue };
        let port = |message: &Message| {
            ["data_port", "data_port_number"].into_iter().find(|name| message.field_if_told(name).is_some())
        };
        let responses = golden.messages.iter().filter_map(|message| {
            let named = port(message).filter(|_| message.direction == Direction::FromServer)?;
            Some((message, named))
        });
        for (ours, (recorded, port)) in outcome.offers.iter().zip(responses) {
            let told = |name: &str| recorded.fields.iter().any(|field| field.name == name);
            let size = |name: &str| told(name).then(|| u32::try_from(recorded.signed(name)).ok()).flatten();
            assert_eq!(u32::from(ours.port), recorded.word(port));
            assert_eq!(ours.receive_bytes, size("receive_size"), "{}", golden.name);
            assert_eq!(ours.send_bytes, size("send_size"), "{}", golden.name);
            assert_eq!(
                (ours.send_buffer, ours.receive_buffer),
                (size("send_buf_size"), size("recv_buf_size"))
            );
            assert_eq!(ours.cpu_rate, recorded.float("cpu_rate"));
            read += 1;
        }
    }
    assert_eq!(read, 47, "offers read");
}

#[test]
fn names_a_peer_of_an_old_release() {
    let recorded = golden::load().into_iter().find(|golden| golden.name == "client270_server245_mismatch");
    let Ok(outcome) = drive(&recorded.expect("the recording")) else { panic!("the request differs") };
    assert_eq!(outcome.reader.cut_short(), Some(Fault::Legacy { bytes: 512 }));
}

enum Mismatch {
    NotApplicable(&'static str),
    Different(String),
}

struct Outcome {
    reader: FrameReader,
    offers: Vec<RemoteOffer>,
    results: Vec<RemoteResults>,
}

fn is_request(message: &Message) -> bool {
    message.direction == Direction::FromClient && message.is_frame()
}

fn replay(golden: &Golden) -> Result<(), Mismatch> {
    drive(golden).map(|_| ())
}

/// Holds the recorded conversation with the client machine and compares every request.
fn drive(golden: &Golden) -> Result<Outcome, Mismatch> {
    let command = command::parse(&golden.command).map_err(Mismatch::NotApplicable)?;
    if !golden.client.starts_with("netperf 2.7.0 (Debian") {
        return Err(Mismatch::NotApplicable("not recorded from a stock 2.7.0 client"));
    }
    let requests: Vec<&Message> = golden.messages.iter().filter(|message| is_request(message)).collect();
    let input = match command.action {
        Action::Calibrate => ClientInput::Calibrate,
        Action::Test(test) => ClientInput::Start(with_port_of(*test, &requests)),
    };
    let mut driver = Driver {
        client: Some(Client::new(ClientConfig { passphrase: command.passphrase })),
        requests,
        sent: Vec::new(),
        test: None,
        outcome: Outcome { reader: FrameReader::default(), offers: Vec::new(), results: Vec::new() },
    };
    driver.give(input)?;
    for message in golden.messages.iter().filter(|message| message.direction == Direction::FromServer) {
        assert_eq!(driver.outcome.reader.push(&message.bytes), message.bytes.len());
        while let Some(frame) = driver.outcome.reader.next() {
            driver.give(ClientInput::Frame(frame))?;
        }
    }
    if driver.sent.len() != driver.requests.len() {
        return Err(Mismatch::Different(format!("{} requests sent", driver.sent.len())));
    }
    Ok(driver.outcome)
}

/// The port of the client's socket is the kernel's choice; it is taken from the next recorded test request.
fn with_port_of(mut test: TestRequest, requests: &[&Message]) -> TestRequest {
    if let TestRequest::Omni(test) = &mut test
        && let Some(request) = requests.iter().find(|request| !request.fields.is_empty())
    {
        test.local.1 = u16::try_from(request.word("netperf_port")).expect("a port");
    }
    test
}

struct Driver<'a> {
    client: Option<Client>,
    requests: Vec<&'a Message>,
    sent: Vec<Frame>,
    test: Option<TestRequest>,
    outcome: Outcome,
}

impl Driver<'_> {
    /// Gives one input and follows the outputs until the machine waits for the peer.
    fn give(&mut self, input: ClientInput) -> Result<(), Mismatch> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            if let ClientInput::Start(test) = &input {
                self.test = Some(test.clone());
            }
            let client = self.client.take().expect("a machine");
            let (client, output) =
                client.on(input).map_err(|fault| Mismatch::Different(fault.to_string()))?;
            self.client = Some(client);
            next = match output {
                ClientOutput::Send(frame) => {
                    self.compare(frame)?;
                    Some(ClientInput::Sent)
                }
                ClientOutput::Run(offer) => {
                    self.test = self.test.take().map(|test| test.next_iteration(&offer));
                    self.outcome.offers.push(offer);
                    Some(ClientInput::Ran)
                }
                ClientOutput::Finished(results) => {
                    self.outcome.results.push(results);
                    self.next_iteration()
                }
                ClientOutput::Wait | ClientOutput::Calibrated { .. } => None,
                other => return Err(Mismatch::Different(format!("{other:?}"))),
            };
        }
        Ok(())
    }

    fn compare(&mut self, ours: Frame) -> Result<(), Mismatch> {
        let Some(recorded) = self.requests.get(self.sent.len()) else {
            return Err(Mismatch::Different("one request too many".to_owned()));
        };
        recorded.compare(ours.as_bytes(), None, &INPUTS).map_err(Mismatch::Different)?;
        self.sent.push(ours);
        Ok(())
    }

    /// How often a test is repeated is decided from its results, not by the machine: as often as it was
    /// recorded.
    fn next_iteration(&mut self) -> Option<ClientInput> {
        let rest = self.requests.get(self.sent.len()..).filter(|rest| !rest.is_empty())?;
        Some(ClientInput::Start(with_port_of(self.test.take()?, rest)))
    }
}
