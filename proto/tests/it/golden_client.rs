//! The client machine against recorded conversations: driven by the recorded command and the recorded
//! answers, it has to send what netperf sent.

use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, Fault, Frame, FrameReader, OmniTest, RemoteOffer,
    RemoteResults,
};

use crate::command::{self, Action};
use crate::golden::{self, Direction, Golden, Message, say};

/// Recordings compared; fewer are a failure.
const COMPARED: usize = 27;

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
            message.is_frame() && message.fields.iter().any(|field| field.name == "bytes_received_hi")
        });
        for (ours, recorded) in outcome.results.iter().zip(results) {
            let joined =
                |high: &str, low: &str| u64::from(recorded.word(high)) << 32 | u64::from(recorded.word(low));
            let size = |name: &str| u32::try_from(recorded.signed(name)).ok();
            assert_eq!(ours.bytes_received, joined("bytes_received_hi", "bytes_received_lo"));
            assert_eq!(ours.bytes_sent, joined("bytes_sent_hi", "bytes_sent_lo"));
            assert_eq!(ours.bytes_received == 0, ours.receives == 0);
            assert_eq!(ours.bytes_sent == 0, ours.sends == 0);
            assert_eq!(ours.receives, u64::from(recorded.word("recv_calls")));
            assert_eq!(ours.sends, u64::from(recorded.word("send_calls")));
            assert_eq!(ours.receive_buffer, size("recv_buf_size"));
            assert_eq!(ours.send_buffer, size("send_buf_size"));
            assert_eq!(
                ours.retransmits,
                Some(recorded.signed("transport_retrans")).filter(|count| *count >= 0)
            );
            assert_eq!(ours.elapsed_seconds, Some(recorded.float("elapsed_time")));
            assert_eq!(ours.cpu.is_some(), recorded.signed("cpu_method") != 0, "{}", golden.name);
            if let Some(cpu) = &ours.cpu {
                assert_eq!(cpu.utilisation, recorded.float("cpu_util"));
                assert_eq!(cpu.peak_utilisation, recorded.float("peak_cpu_util"));
            }
            let name = recorded.text("cong_control");
            assert_eq!(
                ours.congestion_control,
                Some(name).filter(|name| !name.is_empty()),
                "{}",
                golden.name
            );
            read += 1;
        }
    }
    assert_eq!(read, 25, "results read");
}

#[test]
fn reads_the_recorded_offers() {
    let mut read = 0;
    for golden in golden::load() {
        let Ok(outcome) = drive(&golden) else { continue };
        let responses = golden.messages.iter().filter(|message| {
            message.direction == Direction::FromServer
                && message.fields.iter().any(|field| field.name == "data_port")
        });
        for (ours, recorded) in outcome.offers.iter().zip(responses) {
            let size = |name: &str| u32::try_from(recorded.signed(name)).ok();
            assert_eq!(u32::from(ours.port), recorded.word("data_port"));
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
    assert_eq!(read, 25, "offers read");
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
        Action::Stream(test) => ClientInput::Start(with_port_of(*test, &requests)),
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
fn with_port_of(mut test: OmniTest, requests: &[&Message]) -> OmniTest {
    if let Some(request) = requests.iter().find(|request| !request.fields.is_empty()) {
        test.local.1 = u16::try_from(request.word("netperf_port")).expect("a port");
    }
    test
}

struct Driver<'a> {
    client: Option<Client>,
    requests: Vec<&'a Message>,
    sent: Vec<Frame>,
    test: Option<OmniTest>,
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
