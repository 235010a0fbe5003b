//! The netperf's end of a control connection.
//!
//! The machine turns a wanted test into frames and the frames that come back into figures. It connects
//! nothing and waits for nothing: deadlines, and what silence means, are for whoever owns the connection.
//!
//! ```text
//! Start -> Send(passphrase)   once, if there is one; then give Sent
//! Sent  -> Send(request)      then give Sent
//! Sent  -> Wait               then give the frame that arrives
//! Frame -> Run(offer)         move the data, then give Ran
//! Ran   -> Wait               then give the frame that arrives
//! Frame -> Finished(results)  the next Start may follow
//! ```
//!
//! Without a passphrase, `Start` sends the request at once; one that is proven takes two frames in either
//! direction first, see [`crate::auth`]. [`ClientInput::Calibrate`],
//! [`ClientInput::Probe`], [`ClientInput::Wish`] and [`ClientInput::AskReport`] go the same way, with one
//! frame each in both directions.

use alloc::vec::Vec;

use crate::admin::{self, CalibrateResponse};
use crate::auth;
use crate::code::{RequestCode, ResponseCode};
use crate::errno::{EACCES, ENODATA, EOPNOTSUPP, UNKNOWN_REQUEST};
use crate::fault::Fault;
use crate::frame::Frame;
use crate::native::{
    NativeChallenge, NativeHello, NativeRequest, NativeWishes, Report, VERSION, VERSION_OF_PROOFS,
    VERSION_OF_WISHES, verb,
};
use crate::remote::{PeerRelease, RemoteOffer, RemoteResults};
use crate::request::TestRequest;
use crate::wishes::Wishes;

/// What a client knows before it connects.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// The passphrase to show first, at most 647 bytes without NUL. A server that wants none ignores it.
    pub passphrase: Option<Vec<u8>>,
}

/// What happened at the client.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// Ask what a native server knows of the last test.
    AskReport,
    /// Ask for the server's CPU calibration.
    Calibrate,
    /// A frame arrived.
    Frame(Frame),
    /// Ask whether the server is one of ours.
    Probe,
    /// The data connection is done.
    Ran,
    /// The frame of the last [`ClientOutput::Send`] has been sent.
    Sent,
    /// Begin a test; also the next one on the same connection.
    Start(TestRequest),
    /// Ask for the next test to be run in this way. Only where the answer to [`Self::Probe`] was a version
    /// of [`VERSION_OF_WISHES`] or later.
    Wish(Wishes),
}

/// What the client has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientOutput {
    /// The server's CPU calibration.
    Calibrated {
        /// Clock ticks a second where CPU time comes from /proc/stat.
        rate: f32,
        /// Number of CPUs.
        cpus: u32,
    },
    /// The test is over.
    Finished(RemoteResults),
    /// The server will run the next test as it was asked to, maybe by fewer workers.
    Granted(Wishes),
    /// The version of our messages that the server speaks; `None`: it is a stock netserver.
    Native(Option<u32>),
    /// What the server knows of the last test; `None`: nothing, or it is a stock netserver.
    Report(Option<Report>),
    /// Connect, or send, to the offered port at once: the server's clock runs. A TCP stream is closed when
    /// the server has closed it; a reset would turn its good results into an error. The end of datagrams
    /// is told by empty ones.
    Run(RemoteOffer),
    /// Send this frame, then give [`ClientInput::Sent`].
    Send(Frame),
    /// Read a frame.
    Wait,
}

/// The machine of one control connection.
pub struct Client {
    /// The passphrase, until it has been shown or proven.
    passphrase: Option<Vec<u8>>,
    /// It is not to be shown, only to be proven.
    proves: bool,
    state: State,
    /// What the server has shown itself to be in its first response.
    release: Option<PeerRelease>,
    /// The version of our messages that it says it speaks; 0: it was not asked, or speaks none.
    version: u32,
}

enum State {
    AwaitingResults(TestRequest, RemoteOffer),
    Awaiting(Expected),
    Idle,
    /// The request follows the proof of the passphrase.
    Proving(Step, Frame, Expected),
    Running(TestRequest, RemoteOffer),
    /// The request follows the passphrase.
    ShowingPassphrase(Frame, Expected),
    Sending(Expected),
}

/// The steps of a proof.
enum Step {
    AskingForNonce,
    AwaitingNonce,
    Proving,
    AwaitingVerdict,
}

/// What the answer to a request is going to be.
enum Expected {
    Calibration,
    Grant(Wishes),
    Hello,
    Offer(TestRequest),
    Report,
}

impl Client {
    /// The machine for a connection that has just been made.
    pub fn new(config: ClientConfig) -> Self {
        let passphrase = config.passphrase;
        Self { passphrase, proves: false, state: State::Idle, release: None, version: 0 }
    }

    /// Has the passphrase proven, and never shown: to a server of [`VERSION_OF_PROOFS`] or later. Others
    /// close the connection if they want one.
    #[must_use]
    pub fn proving(self) -> Self {
        Self { proves: true, ..self }
    }

    /// One step: what happened, and what to do next.
    ///
    /// # Errors
    /// Any [`Fault`]: of the server, if it refuses, reports an error or makes no sense; of the caller, if
    /// the input does not fit what the machine asked for last or the test cannot be put on the wire.
    pub fn on(mut self, input: ClientInput) -> Result<(Self, ClientOutput), Fault> {
        let state = core::mem::replace(&mut self.state, State::Idle);
        let output = match (state, input) {
            (State::Idle, ClientInput::Start(test)) => {
                let (request, cpu) = (test.frame()?, test.header_cpu()?);
                self.ask(request, cpu, Expected::Offer(test))?
            }
            (State::Idle, ClientInput::Calibrate) => {
                self.ask(Frame::request(RequestCode::CpuCalibrate, -1), -1, Expected::Calibration)?
            }
            (State::Idle, ClientInput::Probe) => {
                self.ask(native_request(verb::HELLO), -1, Expected::Hello)?
            }
            (State::Idle, ClientInput::AskReport) => {
                self.ask(native_request(verb::REPORT), -1, Expected::Report)?
            }
            (State::Idle, ClientInput::Wish(wishes)) => {
                if self.version < VERSION_OF_WISHES {
                    return Err(Fault::Misuse { what: "the server has not said that it knows wishes" });
                }
                let mut request = native_request(verb::WISH);
                wishes.to_send()?.encode(&mut request);
                self.ask(request, -1, Expected::Grant(wishes))?
            }
            (State::Proving(step, request, expected), input) => {
                self.prove(&step, input, request, expected)?
            }
            (State::ShowingPassphrase(request, expected), ClientInput::Sent) => {
                self.state = State::Sending(expected);
                ClientOutput::Send(request)
            }
            (State::Sending(expected), ClientInput::Sent) => {
                self.state = State::Awaiting(expected);
                ClientOutput::Wait
            }
            (State::Awaiting(expected), ClientInput::Frame(frame)) => self.on_answer(&frame, expected)?,
            (State::Running(test, offer), ClientInput::Ran) => {
                self.state = State::AwaitingResults(test, offer);
                ClientOutput::Wait
            }
            (State::AwaitingResults(test, offer), ClientInput::Frame(frame)) => {
                succeeded(&frame, test.name())?;
                ClientOutput::Finished(RemoteResults::decode(&frame, &test, &offer))
            }
            (state, ClientInput::Frame(_)) => return Err(Fault::OutOfOrder { what: state.doing() }),
            (state, _) => return Err(Fault::Misuse { what: state.doing() }),
        };
        Ok((self, output))
    }

    fn ask(&mut self, request: Frame, cpu: i32, expected: Expected) -> Result<ClientOutput, Fault> {
        if self.proves && self.passphrase.is_some() {
            self.state = State::Proving(Step::AskingForNonce, request, expected);
            return Ok(ClientOutput::Send(native_request(verb::CHALLENGE)));
        }
        let Some(passphrase) = self.passphrase.take() else {
            self.state = State::Sending(expected);
            return Ok(ClientOutput::Send(request));
        };
        let shown = admin::passphrase_request(&passphrase, cpu)
            .ok_or(Fault::Misuse { what: "the passphrase is over 647 bytes or contains a NUL" })?;
        self.state = State::ShowingPassphrase(request, expected);
        Ok(ClientOutput::Send(shown))
    }

    /// One step of the proof, behind which `request` goes out.
    fn prove(
        &mut self,
        step: &Step,
        input: ClientInput,
        request: Frame,
        expected: Expected,
    ) -> Result<ClientOutput, Fault> {
        let next = match (step, input) {
            (Step::AskingForNonce, ClientInput::Sent) => Step::AwaitingNonce,
            (Step::Proving, ClientInput::Sent) => Step::AwaitingVerdict,
            (Step::AwaitingNonce, ClientInput::Frame(frame)) => {
                // It has its one use now, whatever comes of it.
                let passphrase = self.passphrase.take().unwrap_or_default();
                let Some(nonce) = challenge(&frame)? else {
                    self.state = State::Sending(expected);
                    return Ok(ClientOutput::Send(request));
                };
                let proof = auth::proof_request(&nonce, &passphrase)
                    .ok_or(Fault::Misuse { what: "the passphrase makes no proof" })?;
                self.state = State::Proving(Step::Proving, request, expected);
                return Ok(ClientOutput::Send(proof));
            }
            (Step::AwaitingVerdict, ClientInput::Frame(frame)) => {
                verdict(&frame)?;
                self.state = State::Sending(expected);
                return Ok(ClientOutput::Send(request));
            }
            (_, ClientInput::Frame(_)) => return Err(Fault::OutOfOrder { what: "a request is being sent" }),
            _ => return Err(Fault::Misuse { what: "the passphrase is being proven" }),
        };
        self.state = State::Proving(next, request, expected);
        Ok(ClientOutput::Wait)
    }

    fn on_answer(&mut self, frame: &Frame, expected: Expected) -> Result<ClientOutput, Fault> {
        match expected {
            Expected::Calibration => calibration(frame),
            Expected::Grant(wishes) => granted(frame, &wishes),
            Expected::Hello => {
                let version = hello(frame)?;
                self.version = version.unwrap_or(0);
                Ok(ClientOutput::Native(version))
            }
            Expected::Offer(test) => {
                succeeded(frame, test.name())?;
                let offer = RemoteOffer::decode(frame, &test, self.release)?;
                if let TestRequest::Omni(_) = test {
                    self.release = Some(offer.release);
                }
                self.state = State::Running(test, offer.clone());
                Ok(ClientOutput::Run(offer))
            }
            Expected::Report => report(frame),
        }
    }
}

impl State {
    fn doing(&self) -> &'static str {
        match self {
            Self::Awaiting(_) => "its answer is awaited",
            Self::AwaitingResults(..) => "its results are awaited",
            Self::Idle => "nothing was asked of it",
            Self::Proving(..) => "the passphrase is being proven",
            Self::Running(..) => "the data connection runs",
            Self::Sending(_) | Self::ShowingPassphrase(..) => "a request is being sent",
        }
    }
}

pub(crate) fn native_request(verb: u32) -> Frame {
    let mut frame = Frame::request(RequestCode::Native, -1);
    NativeRequest { version: VERSION, verb }.encode(&mut frame);
    frame
}

fn succeeded(frame: &Frame, request: &'static str) -> Result<(), Fault> {
    match frame.errno() {
        0 => Ok(()),
        UNKNOWN_REQUEST | EOPNOTSUPP => Err(Fault::Unsupported { request }),
        errno => Err(Fault::Remote { errno }),
    }
}

fn calibration(frame: &Frame) -> Result<ClientOutput, Fault> {
    // netperf's server does not write the errno here. After an error it is the old one with its bytes
    // swapped, so an errno in the upper half of the word is a left-over.
    if frame.errno().trailing_zeros() < 16 {
        succeeded(frame, "CPU_CALIBRATE")?;
    }
    let answer = CalibrateResponse::decode(frame);
    match u32::try_from(answer.num_cpus) {
        Ok(cpus) if answer.cpu_rate.is_finite() && answer.cpu_rate >= 0.0 => {
            Ok(ClientOutput::Calibrated { rate: answer.cpu_rate, cpus })
        }
        _ => Err(Fault::Malformed { what: "a calibration that is not one" }),
    }
}

fn hello(frame: &Frame) -> Result<Option<u32>, Fault> {
    match frame.errno() {
        0 if frame.response_type() == ResponseCode::NativeResponse => {
            Ok(Some(NativeHello::decode(frame).version))
        }
        // Success without our type comes from a server that answers anything at all.
        0 | UNKNOWN_REQUEST => Ok(None),
        errno => Err(Fault::Remote { errno }),
    }
}

/// The nonce to prove by; `None`: the server wants no passphrase, for one that does and knows nothing of
/// proofs closes.
fn challenge(frame: &Frame) -> Result<Option<[u8; auth::NONCE_BYTES]>, Fault> {
    let is_ours = frame.response_type() == ResponseCode::NativeResponse;
    match (frame.errno(), NativeHello::decode(frame).version) {
        (0, VERSION_OF_PROOFS..) if is_ours => Ok(Some(NativeChallenge::decode(frame).nonce)),
        (0, version) if is_ours => Err(Fault::Incompatible { version }),
        // Success without our type comes from a server that answers anything at all.
        (0 | ENODATA | EOPNOTSUPP | UNKNOWN_REQUEST, _) => Ok(None),
        (errno, _) => Err(Fault::Remote { errno }),
    }
}

/// What the server makes of the proof.
fn verdict(frame: &Frame) -> Result<(), Fault> {
    match frame.errno() {
        0 if frame.response_type() == ResponseCode::NativeResponse => Ok(()),
        0 => Err(Fault::Malformed { what: "an answer to a proof that is none" }),
        EACCES => Err(Fault::Unproven),
        errno => Err(Fault::Remote { errno }),
    }
}

fn granted(frame: &Frame, asked: &Wishes) -> Result<ClientOutput, Fault> {
    succeeded(frame, "wishes")?;
    match (frame.response_type(), NativeHello::decode(frame).version) {
        (ResponseCode::NativeResponse, VERSION_OF_WISHES..=VERSION) => {
            asked.granted(&NativeWishes::decode(frame)).map(ClientOutput::Granted)
        }
        (ResponseCode::NativeResponse, version) => Err(Fault::Incompatible { version }),
        _ => Err(Fault::Malformed { what: "an answer to wishes that it says it knows nothing of" }),
    }
}

fn report(frame: &Frame) -> Result<ClientOutput, Fault> {
    match (frame.errno(), NativeHello::decode(frame).version) {
        (0, version @ 1..=VERSION) if frame.response_type() == ResponseCode::NativeResponse => {
            Ok(ClientOutput::Report(Some(Report::decode(version, frame))))
        }
        (0, version) if frame.response_type() == ResponseCode::NativeResponse => {
            Err(Fault::Incompatible { version })
        }
        (0 | ENODATA | UNKNOWN_REQUEST, _) => Ok(ClientOutput::Report(None)),
        (errno, _) => Err(Fault::Remote { errno }),
    }
}
