//! What broken clients and strangers do, by a socket of this program's: connections that say nothing, frames
//! that end in the middle, requests that have to be refused, and tests that are left in the middle.
//!
//! Each does something to the netserver and then looks whether the answer, where there is one, is the right
//! one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringperf_proto::omni::{OmniRequest, OmniResponse};
use ringperf_proto::{Client, ClientConfig, ClientInput, ClientOutput, FRAME_BYTES, Frame, Length, OmniTest};
use ringperf_proto::{Test, code::RequestCode};

use super::dice::Dice;
use crate::program::interrupted;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at a connection that is to be closed.
const LOOK: Duration = Duration::from_millis(200);

/// Length of the tests that are left in the middle.
const SECONDS: u32 = 2;

/// SCTP, which no netserver of ours serves.
const PROTOCOL_SCTP: u32 = 132;

/// More than a netserver sends at once.
const TOO_LARGE: i32 = 32 << 20;

/// Something that no good client does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Misdeed {
    /// Connects, says nothing, and goes.
    Mute,
    /// Connects and waits until it is thrown out.
    MuteStays,
    /// Goes in the middle of a frame.
    HalfFrame,
    /// Stays in the middle of a frame until it is thrown out.
    HalfFrameStays,
    /// Sends a frame of chance and more.
    Garbage,
    /// Asks for a protocol that there is none of.
    NoSuchProtocol,
    /// Asks for messages that are too large.
    TooLarge,
    /// Has a test prepared and leaves it.
    Leaves(Test, Way),
}

/// How a test is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// No data comes, and the control connection is reset.
    BeforeData,
    /// The data connection is reset.
    DataReset,
    /// The control connection is reset.
    ControlReset,
    /// Both end as those of a program that just exits.
    BothClosed,
}

impl Way {
    const ALL: [Self; 4] = [Self::BeforeData, Self::DataReset, Self::ControlReset, Self::BothClosed];

    fn name(self) -> &'static str {
        match self {
            Self::BeforeData => "before data",
            Self::DataReset => "data reset",
            Self::ControlReset => "control reset",
            Self::BothClosed => "both closed",
        }
    }
}

impl Misdeed {
    /// Each with its weight.
    pub(super) fn all() -> Vec<(Self, u32)> {
        let mut all = vec![
            (Self::Mute, 6),
            (Self::MuteStays, 1),
            (Self::HalfFrame, 6),
            (Self::HalfFrameStays, 1),
            (Self::Garbage, 4),
            (Self::NoSuchProtocol, 4),
            (Self::TooLarge, 4),
        ];
        let tests =
            [Test::TcpStream, Test::TcpMaerts, Test::TcpRr, Test::TcpCrr, Test::UdpStream, Test::UdpRr];
        all.extend(tests.into_iter().flat_map(|test| Way::ALL.map(|way| (Self::Leaves(test, way), 1))));
        all
    }

    /// What the report calls it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Mute => "mute".to_owned(),
            Self::MuteStays => "mute, stays".to_owned(),
            Self::HalfFrame => "half a frame".to_owned(),
            Self::HalfFrameStays => "half a frame, stays".to_owned(),
            Self::Garbage => "garbage".to_owned(),
            Self::NoSuchProtocol => "refused: SCTP".to_owned(),
            Self::TooLarge => "refused: too large".to_owned(),
            Self::Leaves(test, way) => format!("leaves {test:?}, {}", way.name()),
        }
    }

    /// Does it to the netserver at `address`.
    ///
    /// # Errors
    /// An answer that is wrong, or none where there should be one.
    pub(super) fn commit(self, address: SocketAddr, dice: &mut Dice) -> Result<(), String> {
        let mut control = connect(address)?;
        match self {
            Self::Mute => {
                std::thread::sleep(Duration::from_millis(dice.below(300)));
                leave(control, dice);
                Ok(())
            }
            Self::MuteStays => await_close(control),
            Self::HalfFrame | Self::HalfFrameStays => {
                let count = 1 + dice.below(FRAME_BYTES as u64 - 1) as usize;
                send(&mut control, &omni(Test::TcpStream)?.as_bytes()[..count])?;
                if self == Self::HalfFrameStays {
                    return await_close(control);
                }
                std::thread::sleep(Duration::from_millis(dice.below(300)));
                leave(control, dice);
                Ok(())
            }
            Self::Garbage => {
                let count = FRAME_BYTES + dice.below(3000) as usize;
                let bytes = dice.bytes(count);
                // closed in the middle of it, or answered with errors: both are right
                let _ = control.write_all(&bytes);
                let _ = control.read(&mut [0; FRAME_BYTES]);
                leave(control, dice);
                Ok(())
            }
            Self::NoSuchProtocol => refused(control, |request| request.protocol = PROTOCOL_SCTP),
            Self::TooLarge => refused(control, |request| request.receive_size = TOO_LARGE),
            Self::Leaves(test, way) => {
                send(&mut control, omni(test)?.as_bytes())?;
                let frame = frame(&mut control)?;
                if frame.errno() != 0 {
                    return Err(format!("errno {}", frame.errno()));
                }
                let port = u16::try_from(OmniResponse::decode(&frame).data_port);
                let port = port.map_err(|_| "the data port is none".to_owned())?;
                leave_test(control, SocketAddr::new(address.ip(), port), test, way, dice)
            }
        }
    }
}

/// Goes to where the data goes, and leaves as `way` has it.
fn leave_test(
    control: TcpStream,
    data: SocketAddr,
    test: Test,
    way: Way,
    dice: &mut Dice,
) -> Result<(), String> {
    let moment = Duration::from_millis(dice.below(700));
    if way == Way::BeforeData {
        reset(control);
        return Ok(());
    }
    if test.over_udp() {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(told("a UDP socket"))?;
        socket.connect(data).map_err(told("a UDP socket"))?;
        for _ in 0..10 {
            // refused where the netserver has gone: that is none of ours
            let _ = socket.send(&[1; 100]);
        }
        std::thread::sleep(moment);
        if way == Way::ControlReset {
            reset(control);
        }
        return Ok(());
    }
    let mut stream = connect(data)?;
    match test {
        Test::TcpMaerts => drop(stream.read(&mut [0; 65536])),
        Test::TcpStream => drop(stream.write_all(&[1; 65536])),
        _ => drop(stream.write_all(&[1]).and_then(|()| stream.read(&mut [0; 1]))),
    }
    std::thread::sleep(moment);
    match way {
        Way::DataReset => {
            reset(stream);
            // how the netserver tells of it differs by test; that it goes on is what matters
            let _ = control.shutdown(Shutdown::Write);
        }
        Way::ControlReset => reset(control),
        Way::BeforeData | Way::BothClosed => {}
    }
    Ok(())
}

/// The request for a short test.
fn omni(test: Test) -> Result<Frame, String> {
    let asked = OmniTest { length: Length::Seconds(SECONDS), ..OmniTest::new(test) };
    let client = Client::new(ClientConfig { passphrase: None });
    match client.on(ClientInput::Start(asked.into())) {
        Ok((_, ClientOutput::Send(frame))) => Ok(frame),
        Ok((_, output)) => Err(format!("no request but {output:?}")),
        Err(fault) => Err(fault.to_string()),
    }
}

/// A request that is changed for the worse, and has to be answered with an errno.
fn refused(mut control: TcpStream, spoil: impl FnOnce(&mut OmniRequest)) -> Result<(), String> {
    let mut request = OmniRequest::decode(&omni(Test::TcpStream)?);
    spoil(&mut request);
    let mut spoilt = Frame::request(RequestCode::Omni, -1);
    request.encode(&mut spoilt);
    send(&mut control, spoilt.as_bytes())?;
    match frame(&mut control)?.errno() {
        0 => Err("it was not refused".to_owned()),
        _ => Ok(()),
    }
}

fn told(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(told("connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told("a timeout"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(told("a timeout"))?;
    Ok(stream)
}

fn send(control: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    control.write_all(bytes).map_err(told("send"))
}

fn frame(control: &mut TcpStream) -> Result<Frame, String> {
    let mut bytes = [0; FRAME_BYTES];
    control.read_exact(&mut bytes).map_err(told("answer"))?;
    Ok(Frame::from_bytes(bytes))
}

/// In order, or by a reset.
fn leave(control: TcpStream, dice: &mut Dice) {
    if dice.below(2) == 0 {
        reset(control);
    }
}

/// Closes with a reset. Where that cannot be had, a close does.
fn reset(stream: TcpStream) {
    let _ = socket2::Socket::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits until the netserver closes, or until everything ends.
fn await_close(mut control: TcpStream) -> Result<(), String> {
    control.set_read_timeout(Some(LOOK)).map_err(told("a timeout"))?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE && interrupted().is_ok() {
        match control.read(&mut [0; FRAME_BYTES]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) => return Err("it was answered".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
    interrupted().map_or(Ok(()), |()| Err(format!("it was not closed within {} s", PATIENCE.as_secs())))
}
