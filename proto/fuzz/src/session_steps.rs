//! The server's machine, driven by arbitrary frames and by arbitrary inputs that fit what it asks for.
//!
//! Whatever comes: it never faults while it is driven rightly, asks only for what is legal where it stands,
//! prepares nothing beyond its limits and nothing for a client that has not shown the passphrase, and is told
//! apart from one that is driven wrongly.

use ringperf_proto::auth::NONCE_BYTES;
use ringperf_proto::native::{NativeRequest, verb};
use ringperf_proto::{
    CpuReport, FRAME_BYTES, Fault, Frame, Limits, NativeDetail, NativeReport, Nonce, Offer, Report,
    RequestCode, Results, Server, ServerConfig, ServerInput, ServerOutput,
};

use super::script::Script;
use super::spec;

const PASSPHRASE: &[u8] = b"sesame";

/// The server of a run of a script.
struct Driven {
    limits: Limits,
    /// Whether the passphrase has been shown, or none is needed.
    trusted: bool,
    /// Whether it can name a nonce, which lets a client prove that it knows the passphrase. None here does.
    challenges: bool,
}

/// The first byte of `data` says whether limits are tight and whether there is a passphrase; then come
/// frames, each followed by what the machine asks for.
pub fn session_steps(data: &[u8]) {
    let mut script = Script::new(data);
    let kind = script.byte();
    let limits = if kind & 1 == 0 { Limits::default() } else { spec::TIGHT };
    let passphrase = (kind & 2 != 0).then(|| PASSPHRASE.to_vec());
    let mut driven = Driven { limits, trusted: passphrase.is_none(), challenges: kind & 8 != 0 };
    let mut server = Server::new(ServerConfig { limits, passphrase, cpu_rate: 100.0, cpus: 2 });
    if driven.challenges {
        server = server.with_nonce(Nonce::new([7; NONCE_BYTES]));
    }
    while let Some(frame) = script.frame() {
        if kind & 4 != 0 && script.byte() == 255 {
            return refuses_what_does_not_fit(server, misfit(&mut script));
        }
        match driven.converse(server, frame, &mut script) {
            Some(next) => server = next,
            None => return,
        }
    }
}

impl Driven {
    /// From one frame to the point where the machine wants the next; `None` where it wants none any more.
    fn converse(&mut self, server: Server, frame: Frame, script: &mut Script<'_>) -> Option<Server> {
        let shown = super::auth::shows(&frame, PASSPHRASE);
        let asks_for_nonce = frame.request_type() == RequestCode::Native
            && NativeRequest::decode(&frame).verb == verb::CHALLENGE;
        let mut input = ServerInput::Frame(frame.clone());
        let mut server = server;
        loop {
            let asked = kind(&input);
            let (next, output) = match server.on(input) {
                Ok(stepped) => stepped,
                Err(fault) => panic!("{fault}, although it was given what it asked for"),
            };
            server = next;
            self.check(asked, shown, asks_for_nonce, &output);
            input = match output {
                ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_) => {
                    refuses_what_does_not_fit(server, ServerInput::Frame(frame));
                    return None;
                }
                ServerOutput::Nothing | ServerOutput::Reply(_) => return Some(server),
                ServerOutput::Prepare(_) if script.byte() % 4 == 3 => {
                    ServerInput::Refused { errno: script.signed() }
                }
                ServerOutput::Prepare(_) => ServerInput::Prepared(offer(script)),
                ServerOutput::ReplyThenRun(_) if script.byte() % 4 == 3 => {
                    ServerInput::Failed { errno: script.signed() }
                }
                ServerOutput::ReplyThenRun(_) => ServerInput::Ran(results(script), report(script)),
            };
        }
    }

    /// Whether an output is legal after an input, and keeps to the limits.
    fn check(&mut self, after: Kind, shown: bool, asks_for_nonce: bool, output: &ServerOutput) {
        let legal = match (after, output) {
            (Kind::Frame, ServerOutput::Close(_)) => true,
            (Kind::Frame, ServerOutput::Nothing) => {
                self.trusted |= shown;
                self.trusted
            }
            (Kind::Frame, ServerOutput::Prepare(spec)) => {
                spec::check(spec, &self.limits);
                self.trusted
            }
            (Kind::Frame, ServerOutput::Reply(_)) => self.trusted || asks_for_nonce && self.challenges,
            // A stranger may be told that it is one.
            (Kind::Frame, ServerOutput::ReplyThenClose(reply)) => !self.trusted && reply.errno() != 0,
            (Kind::Prepared, ServerOutput::ReplyThenRun(reply)) => reply.errno() == 0,
            (Kind::Refused(errno), ServerOutput::Reply(reply)) => reply.errno() == errno,
            (Kind::Ran, ServerOutput::Reply(reply)) => reply.errno() == 0,
            (Kind::Failed(errno), ServerOutput::ReplyThenClose(reply)) => reply.errno() == errno,
            _ => false,
        };
        assert!(legal, "{output:?} after {after:?}, trusted: {}", self.trusted);
    }
}

/// An input, as far as it decides what may follow.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Failed(i32),
    Frame,
    Prepared,
    Ran,
    Refused(i32),
}

fn kind(input: &ServerInput) -> Kind {
    match input {
        ServerInput::Failed { errno } => Kind::Failed(*errno),
        ServerInput::Frame(_) => Kind::Frame,
        ServerInput::Prepared(_) => Kind::Prepared,
        ServerInput::Ran(..) => Kind::Ran,
        ServerInput::Refused { errno } => Kind::Refused(*errno),
    }
}

/// A machine that waits for a request, or is to be closed, has no use for this.
fn refuses_what_does_not_fit(server: Server, input: ServerInput) {
    assert!(matches!(server.on(input), Err(Fault::Misuse { .. })));
}

fn misfit(script: &mut Script<'_>) -> ServerInput {
    match script.byte() % 4 {
        0 => ServerInput::Prepared(offer(script)),
        1 => ServerInput::Refused { errno: script.signed() },
        2 => ServerInput::Ran(results(script), report(script)),
        _ => ServerInput::Failed { errno: script.signed() },
    }
}

fn offer(script: &mut Script<'_>) -> Offer {
    let port = script.word() >> 16;
    let known = script.byte();
    Offer {
        port: u16::try_from(port).expect("half a word"),
        send_buffer: script.word(),
        receive_buffer: script.word(),
        receive_bytes: script.word(),
        send_bytes: script.word(),
        no_delay: known & 1 != 0,
        priority: (known & 2 != 0).then(|| script.signed()),
        type_of_service: (known & 4 != 0).then(|| script.signed()),
    }
}

fn results(script: &mut Script<'_>) -> Results {
    let known = script.byte();
    Results {
        bytes_received: script.long(),
        receives: script.long(),
        bytes_sent: script.long(),
        sends: script.long(),
        transactions: script.long(),
        send_buffer: script.word(),
        receive_buffer: script.word(),
        elapsed_seconds: script.float(),
        retransmits: script.signed(),
        congestion_control: (known & 1 != 0)
            .then(|| String::from_utf8_lossy(script.bytes(usize::from(known))).into_owned()),
        cpu: (known & 2 != 0).then(|| cpu(script)),
    }
}

fn cpu(script: &mut Script<'_>) -> CpuReport {
    CpuReport {
        utilisation: script.float(),
        user: script.float(),
        system: script.float(),
        iowait: script.float(),
        irq: script.float(),
        softirq: script.float(),
        method: script.word(),
        cpus: script.word(),
        peak_cpu: script.signed(),
        peak_utilisation: script.float(),
    }
}

/// Its words are those of a frame: any will do.
fn report(script: &mut Script<'_>) -> Option<Report> {
    let known = script.byte();
    let mut bytes = [0; FRAME_BYTES];
    let front = script.bytes(usize::from(known));
    bytes[..front.len()].copy_from_slice(front);
    let frame = Frame::from_bytes(bytes);
    let detail = (known & 1 != 0).then(|| NativeDetail::decode(&frame));
    (known > 0).then(|| Report { base: NativeReport::decode(&frame), detail })
}
