//! Writes the inputs that the corpora began with: recorded conversations, and our own messages.
//!
//! `cargo run --manifest-path proto/fuzz/Cargo.toml --example seed FOLDER` makes a folder for each target
//! below FOLDER; `scripts/fuzz --minimise` then keeps of these and of what the fuzzer has found what is
//! needed to reach as much.

use std::path::{Path, PathBuf};

use drive::script::words_of;
use ringperf_proto::{
    Client, ClientConfig, ClientInput, ClientOutput, FRAME_BYTES, Family, Frame, Limits, Offer, Report,
    Results, Server, ServerConfig, ServerInput, ServerOutput, Test, TestSpec, Wishes,
};
use serde_json::Value;

type Bytes = [u8; FRAME_BYTES];

/// Bytes of a script that answer a request to prepare: yes, and an offer with a port.
const PREPARED: &[u8] = &[0, 0x9c, 0x40, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0];

/// Bytes of a script that answer a request to run: yes, results of zeroes and no report.
const RAN: &[u8] = &[0; 59];

struct Conversation {
    name: String,
    /// Each with whether it comes from the client.
    frames: Vec<(bool, Bytes)>,
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder to write to"));
    for conversation in recorded().iter().chain(&native()) {
        let asked: Vec<Bytes> = conversation.of(true);
        if asked.is_empty() {
            continue;
        }
        let write = |target: &str, bytes: &[u8]| write(&folder, target, &conversation.name, bytes);
        write("ctl_decode", &[&[100][..], &asked.concat()].concat());
        write("session_steps", &session(&asked));
        write("reply_decode", &replies(conversation));
        if conversation.name.starts_with("passphrase") {
            let frames: Vec<u8> = asked.iter().flat_map(words_of).collect();
            write("auth", &[b"\x06sesame", &frames[..]].concat());
        }
    }
    for passphrase in [&b""[..], b"sesame", b"a passphrase that is longer than most of them are", b"nul\0"] {
        let frame = ringperf_proto::admin::passphrase_request(passphrase, -1).unwrap_or(Frame::zeroed());
        let length = u8::try_from(passphrase.len()).expect("it is short");
        let bytes = [&[length][..], passphrase, &words_of(frame.as_bytes())].concat();
        write(&folder, "auth", &format!("length-{length}"), &bytes);
    }
}

impl Conversation {
    fn of(&self, client: bool) -> Vec<Bytes> {
        self.frames.iter().filter(|(from, _)| *from == client).map(|(_, frame)| *frame).collect()
    }
}

fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::write(folder.join(name), bytes).expect("the file can be written");
}

fn config(passphrase: Option<&[u8]>) -> ServerConfig {
    let passphrase = passphrase.map(<[u8]>::to_vec);
    ServerConfig { limits: Limits::default(), passphrase, cpu_rate: 100.0, cpus: 2 }
}

/// The frames, each with what the machine asks for because of it.
fn session(asked: &[Bytes]) -> Vec<u8> {
    let mut script = vec![0];
    let mut server = Server::new(config(None));
    for frame in asked {
        script.extend(words_of(frame));
        let Ok((next, output)) = server.on(ServerInput::Frame(Frame::from_bytes(*frame))) else {
            return script;
        };
        server = next;
        if let ServerOutput::Prepare(_) = output {
            script.extend(PREPARED);
            script.extend(RAN);
            server = server.on(ServerInput::Prepared(Offer::default())).expect("it was asked for").0;
            let ran = ServerInput::Ran(Results::default(), Some(Report::default()));
            server = server.on(ran).expect("it was asked for").0;
        }
    }
    script
}

/// Each request as a question, with the frames that came back.
fn replies(conversation: &Conversation) -> Vec<u8> {
    let mut script = vec![0];
    let mut server = Server::new(config(None));
    for (from_client, frame) in &conversation.frames {
        if !from_client {
            script.extend(words_of(frame));
            continue;
        }
        let Ok((next, output)) = server.on(ServerInput::Frame(Frame::from_bytes(*frame))) else {
            return script;
        };
        server = next;
        match output {
            ServerOutput::Prepare(spec) => {
                script.extend(question(&spec));
                server = server.on(ServerInput::Refused { errno: 1 }).expect("it was asked for").0;
            }
            ServerOutput::Close(_) => return script,
            _ => script.push(own_question(frame)),
        }
    }
    script
}

fn question(spec: &TestSpec) -> Vec<u8> {
    let omni = Test::ALL.iter().position(|test| *test == spec.test).unwrap_or(0);
    match (spec.family, spec.test) {
        (Family::Classic, Test::TcpCc) => vec![5, 0, 1],
        (Family::Classic, _) => vec![5, 1, 1],
        (Family::Omni, _) => vec![6, u8::try_from(omni).expect("there are few"), 1],
    }
}

/// Which question of the target this frame of ours is.
fn own_question(frame: &Bytes) -> u8 {
    match (frame[2..4] == [0x52, 0x50], frame[15]) {
        (true, 1) => 2,
        (true, 2) => 0,
        (true, 3) => 3,
        _ => 1,
    }
}

/// A conversation between our own ends.
fn native() -> Vec<Conversation> {
    let mut frames = Vec::new();
    let (mut client, mut server) = (Client::new(ClientConfig::default()), Server::new(config(None)));
    let wishes = Wishes { flows: 3, workers: 2, ..Wishes::default() };
    let test = ringperf_proto::OmniTest { measure_cpu: true, ..ringperf_proto::OmniTest::default() };
    let questions = [
        ClientInput::Probe,
        ClientInput::Wish(wishes),
        ClientInput::Start(test.into()),
        ClientInput::AskReport,
    ];
    for question in questions {
        let mut input = question;
        let mut answers = Vec::<Frame>::new();
        loop {
            let (next, output) = client.on(input).expect("both ends are ours");
            client = next;
            input = match output {
                ClientOutput::Send(frame) => {
                    frames.push((true, *frame.as_bytes()));
                    server = answer(server, frame, &mut answers);
                    ClientInput::Sent
                }
                ClientOutput::Wait => {
                    let frame = answers.remove(0);
                    frames.push((false, *frame.as_bytes()));
                    ClientInput::Frame(frame)
                }
                ClientOutput::Run(_) => ClientInput::Ran,
                _ => break,
            };
        }
    }
    vec![Conversation { name: "native".to_owned(), frames }]
}

fn answer(server: Server, frame: Frame, answers: &mut Vec<Frame>) -> Server {
    let (mut server, mut input) = (server, ServerInput::Frame(frame));
    loop {
        let (next, output) = server.on(input).expect("both ends are ours");
        server = next;
        input = match output {
            ServerOutput::Prepare(_) => ServerInput::Prepared(Offer { port: 40_000, ..Offer::default() }),
            ServerOutput::ReplyThenRun(frame) => {
                answers.push(frame);
                let detail = Some(ringperf_proto::NativeDetail::default());
                let report = Report { detail, ..Report::default() };
                ServerInput::Ran(Results::default(), Some(report))
            }
            ServerOutput::Reply(frame) => {
                answers.push(frame);
                return server;
            }
            ServerOutput::Nothing | ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_) => {
                return server;
            }
        };
    }
}

/// The recordings that have frames of our size.
fn recorded() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("there are recordings") {
        let path = entry.expect("the folder can be read").path();
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        let frames = value["messages"].as_array().into_iter().flatten().filter_map(frame).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.push(Conversation { name, frames });
    }
    all
}

fn frame(message: &Value) -> Option<(bool, Bytes)> {
    let digits = message["hex"].as_str()?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    Some((message["dir"] == "c2s", bytes?.try_into().ok()?))
}
