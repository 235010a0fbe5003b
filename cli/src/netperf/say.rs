//! What the drop-in says: netperf's words for what went wrong, on netperf's streams.
//!
//! Decides nothing. Texts that scripts look for are netperf's to the letter; where netperf crashes, hangs or
//! says nothing, the sentence is ours.

use std::io::{self, IsTerminal, Write};

use ringperf_engine::plan::Protocol;
use ringperf_proto::errno::UNKNOWN_REQUEST;
use ringperf_proto::{ClientOutput, Fault};

use crate::client::control::{Control, NoFrame};
use crate::client::exchange::Trouble;
use crate::error::errno_text;

/// netperf's exit status where it gives up in the middle of a test.
pub(crate) const FAILED: u8 = 1;

/// netperf's exit status, -1 in its own words, where it cannot begin, or where the netserver reports an
/// error.
pub(crate) const REFUSED: u8 = 255;

/// errno of a connection that the other end reset, and of addresses that do not fit a socket.
const ECONNRESET: i32 = 104;
const EINVAL: i32 = 22;
const EAFNOSUPPORT: i32 = 97;
const ENETUNREACH: i32 = 101;

/// IPv6 as the system numbers families.
const AF_INET6: i32 = 10;

/// Standard output as netperf writes it: to a terminal at once, elsewhere at the end. A netperf that is
/// killed has printed nothing, and scripts tell a run without a result by that.
pub(crate) struct Output {
    text: String,
    at_once: bool,
}

impl Output {
    /// Nothing said yet.
    pub(crate) fn new() -> Self {
        Self { text: String::new(), at_once: io::stdout().is_terminal() }
    }

    /// Adds to standard output.
    pub(crate) fn say(&mut self, text: &str) {
        self.text.push_str(text);
        if self.at_once {
            // What cannot be written stays, and the end tells of it.
            let _ = self.flush();
        }
    }

    /// Adds to standard output and writes all of it, so that what is said in the course of a test is seen in
    /// its course.
    pub(crate) fn say_at_once(&mut self, text: &str) {
        self.text.push_str(text);
        let _ = self.flush();
    }

    /// Writes what was said.
    ///
    /// # Errors
    /// The system's; the text is kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(self.text.as_bytes()).and_then(|()| stdout.flush())?;
        self.text.clear();
        Ok(())
    }
}

/// A line on standard error. Nobody may be reading it; the exit status tells, too.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Why there is no result: the exit status, and what is said on the two streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Exit status of the process.
    pub(crate) status: u8,
    /// For standard output, newline included.
    pub(crate) output: String,
    /// For standard error, without a newline.
    pub(crate) complaint: String,
}

impl Ending {
    /// Ends with this status and says nothing.
    pub(crate) fn new(status: u8) -> Self {
        Self { status, ..Self::default() }
    }

    /// With these lines on standard output.
    #[must_use]
    pub(crate) fn output(mut self, text: impl Into<String>) -> Self {
        self.output = text.into();
        self
    }

    /// With this on standard error.
    #[must_use]
    pub(crate) fn complaint(mut self, text: impl Into<String>) -> Self {
        self.complaint = text.into();
        self
    }
}

/// No answer, or one that is an error.
pub(crate) fn no_answer(trouble: Trouble, control: &Control) -> Ending {
    match trouble {
        Trouble::Fault(Fault::Remote { errno }) => remote_error(errno),
        Trouble::Fault(Fault::Unsupported { .. }) => remote_error(UNKNOWN_REQUEST),
        Trouble::Fault(fault) => Ending::new(FAILED).complaint(format!("netperf: {fault}")),
        Trouble::NoFrame(NoFrame::Closed) => {
            let bytes = control.pending();
            Ending::new(FAILED).complaint(format!("recv_response: partial response received: {bytes} bytes"))
        }
        Trouble::NoFrame(NoFrame::Failed(error)) => {
            let cause = errno_text(error.raw_os_error().unwrap_or(ECONNRESET));
            Ending::new(FAILED).complaint(format!("recv_response: {cause}"))
        }
        Trouble::NoFrame(NoFrame::Silence) => {
            Ending::new(FAILED).output("recv_response_timed_n: no response received. errno 0 counter 0\n")
        }
        Trouble::NoFrame(NoFrame::Interrupted) => Ending::new(FAILED),
    }
}

/// The conversation is not where it should be.
pub(crate) fn out_of_step(output: &ClientOutput) -> Ending {
    Ending::new(FAILED).complaint(format!("netperf: BUG: {output:?} came out of order; please report it"))
}

/// The netserver answered with an errno.
pub(crate) fn remote_error(errno: i32) -> Ending {
    Ending::new(REFUSED).output(format!("netperf: remote error {errno}")).complaint(errno_text(errno))
}

/// The data connection could not be made.
pub(crate) fn not_connected(errno: i32) -> Ending {
    let cause = errno_text(errno);
    Ending::new(FAILED).complaint(format!("netperf: send_omni: connect_data_socket failed: {cause}"))
}

/// The two ends of the data connection are of different families, as numbers of the system.
pub(crate) fn families_differ(local: i32, remote: i32, protocol: Protocol) -> Ending {
    // What connect or send answers depends on whose socket it is.
    let ending = match (protocol, local == AF_INET6) {
        (Protocol::Tcp, false) => not_connected(EAFNOSUPPORT),
        (Protocol::Tcp, true) => not_connected(EINVAL),
        (Protocol::Udp, false) => data_failed(Way::Send, EAFNOSUPPORT),
        (Protocol::Udp, true) => data_failed(Way::Send, ENETUNREACH),
    };
    let output =
        format!("get_sockaddr_family_addr_port family mismatch {local} vs {remote}\n{}", ending.output);
    ending.output(output)
}

/// There is no socket of a protocol that was asked for by name: what netperf says where the kernel has none.
pub(crate) fn protocol_lacking(name: &str, v4: bool) -> Ending {
    const EPROTONOSUPPORT: i32 = 93;
    const ESOCKTNOSUPPORT: i32 = 94;
    let (kind, errno) = match name {
        "DCCP" => ("SOCK_DCCP", ESOCKTNOSUPPORT),
        "UDPLITE" => ("SOCK_DGRAM", EPROTONOSUPPORT),
        _ => ("SOCK_STREAM", EPROTONOSUPPORT),
    };
    let family = if v4 { "AF_INET" } else { "AF_INET6" };
    let cause = errno_text(errno);
    Ending::new(FAILED).output(format!(
        "netperf: create_data_socket: socket: errno {errno} fam {family} type {kind} prot IPPROTO_{name} \
         errmsg {cause}\n"
    ))
}

/// The file to send from cannot be opened.
pub(crate) fn file_not_opened(error: &io::Error) -> Ending {
    let cause = errno_text(error.raw_os_error().unwrap_or_default());
    Ending::new(FAILED).complaint(format!("alloc_sendfile_buf_ring: Could not open requested file: {cause}"))
}

/// The file to send from is too short for netperf's ring of buffers.
pub(crate) fn file_too_small() -> Ending {
    Ending::new(FAILED).complaint(
        "alloc_sendfile_buf_ring: specified file too small.\nfile must be larger than send_width * send_size",
    )
}

/// Which way the data went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// We received.
    Receive,
    /// We sent.
    Send,
}

/// The data connection broke.
pub(crate) fn data_failed(way: Way, errno: i32) -> Ending {
    let cause = errno_text(errno);
    let call = match way {
        Way::Receive => "recv",
        Way::Send => "send",
    };
    Ending::new(FAILED)
        .output(format!("{call}_data: data {call} error: {cause} (errno {errno})\n"))
        .complaint(format!("netperf: send_omni: {call}_data failed: {cause}"))
}
