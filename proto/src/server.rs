//! The netserver's end of a control connection.
//!
//! The machine decides what a request means and what is answered. It prepares and runs nothing: it hands
//! out a checked [`TestSpec`] and takes back what the test produced. It has no clock; deadlines are for
//! whoever owns the connection.

use alloc::string::String;
use alloc::vec::Vec;

use crate::admin::{self, CalibrateResponse};
use crate::answer;
use crate::auth::Nonce;
use crate::classic::ClassicRequest;
use crate::code::{RequestCode, ResponseCode};
use crate::errno::{EACCES, EINVAL, ENODATA, EOPNOTSUPP, UNKNOWN_REQUEST};
use crate::fault::Fault;
use crate::frame::Frame;
use crate::native::{
    NativeChallenge, NativeHello, NativeRequest, NativeWishes, Report, VERSION, VERSION_OF_PROOFS,
    VERSION_OF_WISHES, verb,
};
use crate::omni::OmniRequest;
use crate::remote::{CpuReport, PeerRelease};
use crate::spec::{Family, Limits, Refusal, Test, TestSpec};
use crate::wishes::Wishes;

/// What a server knows before the first connection.
#[derive(Clone)]
pub struct ServerConfig {
    /// What clients may ask for.
    pub limits: Limits,
    /// The passphrase a client has to show first, at most 647 bytes without NUL; `None`: none is needed.
    /// One that cannot be sent keeps every client out.
    pub passphrase: Option<Vec<u8>>,
    /// The CPU calibration rate: clock ticks a second, which is 100 on Linux.
    pub cpu_rate: f32,
    /// Number of CPUs.
    pub cpus: u32,
}

/// What happened at the server.
#[derive(Clone, Debug)]
pub enum ServerInput {
    /// A frame arrived. Only given while the machine waits for a request; one that arrives during a test
    /// waits in the [`crate::FrameReader`].
    Frame(Frame),
    /// The test of the last [`ServerOutput::Prepare`] is ready.
    Prepared(Offer),
    /// It could not be prepared.
    Refused {
        /// Why.
        errno: i32,
    },
    /// The test of the last [`ServerOutput::ReplyThenRun`] is over.
    Ran(Results, Option<Report>),
    /// It died.
    Failed {
        /// Of what.
        errno: i32,
    },
}

/// What the server has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerOutput {
    /// Close the connection without a frame, for this reason.
    Close(&'static str),
    /// Read on.
    Nothing,
    /// Prepare this test, then say [`ServerInput::Prepared`] or [`ServerInput::Refused`].
    Prepare(TestSpec),
    /// Send this frame and read on.
    Reply(Frame),
    /// Send this frame and close the connection.
    ReplyThenClose(Frame),
    /// Send this frame, run the test, then say [`ServerInput::Ran`] or [`ServerInput::Failed`].
    ReplyThenRun(Frame),
}

/// What a prepared test was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The port of the data socket.
    pub port: u16,
    /// SO_SNDBUF in bytes, as the kernel reports it.
    pub send_buffer: u32,
    /// SO_RCVBUF in bytes, as the kernel reports it.
    pub receive_buffer: u32,
    /// Bytes of each receive, or of a request. Not told of a test that receives nothing.
    pub receive_bytes: u32,
    /// Bytes of each send, or of a response. Not told of a test that sends nothing.
    pub send_bytes: u32,
    /// Whether TCP_NODELAY is set.
    pub no_delay: bool,
    /// SO_PRIORITY in force; `None` where one was asked for: the kernel refused it.
    pub priority: Option<i32>,
    /// IP_TOS in force; `None` where one was asked for: the kernel refused it.
    pub type_of_service: Option<i32>,
}

/// What a test produced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Bytes received.
    pub bytes_received: u64,
    /// Receives that returned data; over UDP the datagrams.
    pub receives: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Sends that succeeded.
    pub sends: u64,
    /// Requests answered, or connections taken where there are none; 0 in a stream.
    pub transactions: u64,
    /// SO_SNDBUF at the end, in bytes.
    pub send_buffer: u32,
    /// SO_RCVBUF at the end, in bytes.
    pub receive_buffer: u32,
    /// Seconds from the start of the test to its end, without the grace that a timer had to wait.
    pub elapsed_seconds: f32,
    /// Segments sent again; -1: unknown, as always over UDP.
    pub retransmits: i32,
    /// Congestion control in force at the end; `None` if there was no connection.
    pub congestion_control: Option<String>,
    /// CPU use; only sent if it was asked for.
    pub cpu: Option<CpuReport>,
}

/// Why a client without the passphrase is closed.
const UNTRUSTED: &str = "the passphrase is missing or wrong";

/// The machine of one control connection.
pub struct Server {
    config: ServerConfig,
    state: State,
    /// Whether the passphrase has been shown or proven, or none is needed.
    trusted: bool,
    /// What the client may ask for once to prove it by, and what it has been given.
    nonce: Option<Nonce>,
    challenged: Option<Nonce>,
    /// It was shown or proven wrongly.
    guessed_wrong: bool,
    /// The release of the client, as far as it matters for the results.
    client: PeerRelease,
    /// The type word of the last frame sent, see [`Self::unnamed`].
    type_word: u32,
    report: Option<Report>,
    /// For the next test.
    wishes: Wishes,
    /// The client has spoken our own messages.
    greeted: bool,
}

enum State {
    Closed,
    Idle,
    Preparing(TestSpec),
    Running(TestSpec),
}

impl Server {
    /// The machine for a connection that has just been accepted.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            trusted: config.passphrase.is_none(),
            nonce: None,
            challenged: None,
            guessed_wrong: false,
            config,
            state: State::Idle,
            client: PeerRelease::V270,
            type_word: 0,
            report: None,
            wishes: Wishes::default(),
            greeted: false,
        }
    }

    /// Lets the client prove that it knows the passphrase, by this nonce, which nobody else may have been or
    /// will be given. Without one it can only show it.
    #[must_use]
    pub fn with_nonce(self, nonce: Nonce) -> Self {
        Self { nonce: Some(nonce), ..self }
    }

    /// Whether the next frame has to be the passphrase, or a step towards its proof. netperf's server waits
    /// 20 seconds for it.
    pub fn awaits_passphrase(&self) -> bool {
        !self.trusted
    }

    /// Whether the client has shown another passphrase, or proven that it does not know this one: a guess,
    /// which whoever owns the connection may want to count. One that showed none made none.
    pub fn was_guessed_wrong(&self) -> bool {
        self.guessed_wrong
    }

    /// One step: what happened, and what to do next.
    ///
    /// # Errors
    /// [`Fault::Misuse`] for an input that does not fit what the machine asked for last. No bytes of a peer
    /// lead to a fault: every frame is answered, ignored, or closes the connection.
    pub fn on(mut self, input: ServerInput) -> Result<(Self, ServerOutput), Fault> {
        let state = core::mem::replace(&mut self.state, State::Idle);
        let output = match (state, input) {
            (State::Idle, ServerInput::Frame(frame)) => self.on_frame(&frame),
            (State::Preparing(spec), ServerInput::Prepared(offer)) => {
                let mut response = self.named(answer::response_code(&spec), 0);
                answer::write_response(&spec, &offer, self.config.cpu_rate, &mut response);
                self.state = State::Running(spec);
                ServerOutput::ReplyThenRun(response)
            }
            (State::Preparing(spec), ServerInput::Refused { errno }) => {
                ServerOutput::Reply(self.named(answer::response_code(&spec), errno))
            }
            (State::Running(spec), ServerInput::Ran(results, report)) => {
                self.report = report;
                ServerOutput::Reply(self.results_frame(&spec, &results))
            }
            (State::Running(_), ServerInput::Failed { errno }) => {
                // netperf's server process ends here, and its clients do not go on after an error.
                self.state = State::Closed;
                ServerOutput::ReplyThenClose(self.unnamed(errno))
            }
            (State::Closed, _) => return Err(Fault::Misuse { what: "the connection is to be closed" }),
            (State::Idle, _) => return Err(Fault::Misuse { what: "there is no test this could be about" }),
            (State::Preparing(_), _) => return Err(Fault::Misuse { what: "a test is being prepared" }),
            (State::Running(_), _) => return Err(Fault::Misuse { what: "a test is running" }),
        };
        Ok((self, output))
    }

    fn on_frame(&mut self, frame: &Frame) -> ServerOutput {
        if !self.trusted {
            return self.on_stranger(frame);
        }
        match frame.request_type() {
            RequestCode::CpuCalibrate => {
                let mut reply = self.named(ResponseCode::CpuCalibrate, 0);
                let cpus = answer::saturated(self.config.cpus);
                CalibrateResponse { cpu_rate: self.config.cpu_rate, num_cpus: cpus }.encode(&mut reply);
                ServerOutput::Reply(reply)
            }
            RequestCode::DebugOn | RequestCode::DebugOff => {
                ServerOutput::Reply(self.named(ResponseCode::DebugOk, 0))
            }
            RequestCode::Native => ServerOutput::Reply(self.on_native(frame)),
            RequestCode::Omni => self.on_omni(frame),
            RequestCode::Passphrase => ServerOutput::Nothing,
            RequestCode::Sysinfo => {
                // Of the clients with frames of this size, 2.6.0 alone asks, and it does so before every
                // test.
                if !admin::is_marked_probe(frame) {
                    self.client = PeerRelease::V260;
                }
                let mut reply = self.named(ResponseCode::SysinfoResponse, 0);
                admin::write_sysinfo(&mut reply);
                ServerOutput::Reply(reply)
            }
            _ => match ClassicRequest::decode(frame) {
                Some(request) => self.on_classic(&request, frame.cpu_affinity()),
                None => ServerOutput::Reply(self.unnamed(UNKNOWN_REQUEST)),
            },
        }
    }

    /// A client that has yet to show or to prove the passphrase.
    fn on_stranger(&mut self, frame: &Frame) -> ServerOutput {
        let passphrase = self.config.passphrase.as_deref().unwrap_or_default();
        let NativeRequest { version, verb } = NativeRequest::decode(frame);
        match (frame.request_type(), version, verb) {
            (RequestCode::Passphrase, ..) => {
                self.trusted = admin::passphrase_matches(frame, passphrase);
                self.guessed_wrong = !self.trusted;
                if self.trusted { ServerOutput::Nothing } else { self.close(UNTRUSTED) }
            }
            (RequestCode::Native, VERSION_OF_PROOFS.., verb::CHALLENGE) => match self.nonce.take() {
                Some(nonce) => {
                    let mut reply = self.native(0);
                    NativeChallenge { nonce: nonce.bytes() }.encode(&mut reply);
                    self.challenged = Some(nonce);
                    ServerOutput::Reply(reply)
                }
                None => self.deny(),
            },
            (RequestCode::Native, VERSION_OF_PROOFS.., verb::PROVE) => {
                // Whatever comes of it, this nonce has had its use.
                let nonce = self.challenged.take();
                self.trusted = nonce.is_some_and(|nonce| nonce.judge(frame, passphrase));
                self.guessed_wrong = !self.trusted;
                if self.trusted { ServerOutput::Reply(self.native(0)) } else { self.deny() }
            }
            _ => self.close(UNTRUSTED),
        }
    }

    fn on_omni(&mut self, frame: &Frame) -> ServerOutput {
        let request = OmniRequest::decode(frame);
        if request.ipfamily == 0 {
            // netperf's server exits here without an answer, and no client sends it.
            return self.close("the address family of the data connection is not given");
        }
        let parsed = TestSpec::parse(frame.cpu_affinity(), &request, &self.config.limits);
        self.on_test(parsed, ResponseCode::OmniResponse)
    }

    fn on_classic(&mut self, request: &ClassicRequest, header_cpu: i32) -> ServerOutput {
        let parsed = TestSpec::parse_classic(header_cpu, request, &self.config.limits);
        self.on_test(parsed, answer::classic_response_code(request.test))
    }

    fn on_test(&mut self, parsed: Result<TestSpec, Refusal>, response: ResponseCode) -> ServerOutput {
        // A test uses them up, also one that is refused.
        let wishes = core::mem::take(&mut self.wishes);
        match parsed.and_then(|spec| spec.wishing(wishes)) {
            Ok(spec) => {
                let spec = TestSpec { for_ringperf: self.greeted, ..spec };
                self.state = State::Preparing(spec.clone());
                ServerOutput::Prepare(spec)
            }
            Err(refusal) => ServerOutput::Reply(self.named(response, refusal.errno)),
        }
    }

    fn on_native(&mut self, frame: &Frame) -> Frame {
        let request = NativeRequest::decode(frame);
        self.greeted = true;
        match (request.version, request.verb) {
            (0, _) => self.native(EINVAL),
            (_, verb::HELLO) => self.native(0),
            (version, verb::REPORT) => match self.report.clone() {
                Some(report) => {
                    let mut reply = self.native(0);
                    report.encode(version, &mut reply);
                    reply
                }
                None => self.native(ENODATA),
            },
            (VERSION_OF_PROOFS.., verb::CHALLENGE | verb::PROVE) => self.native(ENODATA),
            (VERSION_OF_WISHES.., verb::WISH) => self.on_wish(&NativeWishes::decode(frame)),
            _ => self.native(EOPNOTSUPP),
        }
    }

    /// The last word counts: wishes take the place of earlier ones, also where they are refused.
    fn on_wish(&mut self, words: &NativeWishes) -> Frame {
        let parsed = Wishes::parse(words, &self.config.limits);
        self.wishes = parsed.unwrap_or_default();
        match parsed {
            Ok(wishes) => {
                let mut reply = self.native(0);
                NativeHello { version: VERSION_OF_WISHES }.encode(&mut reply);
                wishes.words().encode(&mut reply);
                reply
            }
            Err(refusal) => self.native(refusal.errno),
        }
    }

    /// An answer of ours that says no more than our version.
    fn native(&mut self, errno: i32) -> Frame {
        let mut reply = self.named(ResponseCode::NativeResponse, errno);
        NativeHello { version: VERSION }.encode(&mut reply);
        reply
    }

    fn results_frame(&mut self, spec: &TestSpec, results: &Results) -> Frame {
        // Of the results that are served only these name their type.
        let named = (spec.family, spec.test) == (Family::Classic, Test::UdpStream);
        let mut frame = if named { self.named(ResponseCode::UdpStreamResults, 0) } else { self.unnamed(0) };
        answer::write_results(spec, results, self.client, &mut frame);
        frame
    }

    /// A frame that names its type.
    fn named(&mut self, code: ResponseCode, errno: i32) -> Frame {
        self.type_word = u32::from_be_bytes(code.to_wire().to_be_bytes());
        Frame::response(self.type_word, errno)
    }

    /// A frame that names no type, as netperf's server sends it in results and for unknown requests: the
    /// server keeps one buffer, swaps its words in place for sending, and swaps the left-over type of the
    /// frame before once more. So results carry `62 00 00 00`, which is 98 swapped. No client looks, but
    /// scripts compare captures.
    fn unnamed(&mut self, errno: i32) -> Frame {
        self.type_word = self.type_word.swap_bytes();
        Frame::response(self.type_word, errno)
    }

    /// The end of a client that speaks our messages, which is told why.
    fn deny(&mut self) -> ServerOutput {
        let reply = self.native(EACCES);
        self.state = State::Closed;
        ServerOutput::ReplyThenClose(reply)
    }

    fn close(&mut self, reason: &'static str) -> ServerOutput {
        self.state = State::Closed;
        ServerOutput::Close(reason)
    }
}
