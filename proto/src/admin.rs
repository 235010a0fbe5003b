//! Messages that are not about one test: calibration, system information, the passphrase.
//!
//! DEBUG_ON, DEBUG_OFF and their answer carry nothing but a header and need no layout.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::code::RequestCode;
use crate::frame::Frame;
use crate::layout::{Text, Wire, layout};

layout! {
    /// The answer to CPU_CALIBRATE, under the same code as the request.
    CalibrateResponse = "CALIBRATE_RESPONSE" {
        /// Clock ticks a second where CPU time comes from /proc/stat.
        cpu_rate: f32 = 8,
        /// CPUs of the server.
        num_cpus: i32 = 12,
    }
}

/// A text that fills the message of a frame.
type LongText = Text<648>;

/// Where the message begins.
const MESSAGE: usize = 8;

/// What a 2.7.0 server answers to DO_SYSINFO: a delimiter, then four fields that earlier releases filled.
const SYSINFO: &[u8] = b",Deprecated,Deprecated,Deprecated,Deprecated";

/// The first bytes of the message of a DO_SYSINFO from a client that only wants to learn the size of our
/// frames. Every release ignores them; our server needs them to tell such a probe from a 2.6.0 client,
/// which sends zeroes there.
pub const SYSINFO_PROBE_MARK: [u8; 8] = *b"ringperf";

/// Whether a DO_SYSINFO request is such a probe.
pub fn is_marked_probe(frame: &Frame) -> bool {
    frame.take::<MESSAGE, 8>() == SYSINFO_PROBE_MARK
}

/// Writes the answer to DO_SYSINFO behind the header.
pub(crate) fn write_sysinfo(frame: &mut Frame) {
    LongText::new(SYSINFO).unwrap_or_default().write::<MESSAGE>(frame);
}

/// The frame that shows `passphrase` to a server; `None` if it is longer than 647 bytes or contains a NUL,
/// which would end it early.
pub fn passphrase_request(passphrase: &[u8], cpu_affinity: i32) -> Option<Frame> {
    if passphrase.contains(&0) {
        return None;
    }
    let mut frame = Frame::request(RequestCode::Passphrase, cpu_affinity);
    LongText::new(passphrase)?.write::<MESSAGE>(&mut frame);
    Some(frame)
}

/// Whether `frame` is a passphrase request that shows exactly `passphrase`.
///
/// The time taken does not depend on where the two differ, over the whole message. A passphrase that cannot
/// be sent, see [`passphrase_request`], is never matched.
pub fn passphrase_matches(frame: &Frame, passphrase: &[u8]) -> bool {
    let Some(expected) = LongText::new(passphrase).filter(|_| !passphrase.contains(&0)) else {
        return false;
    };
    let (mut live, mut same) = (Choice::from(1), Choice::from(1));
    for (shown, wanted) in LongText::read::<MESSAGE>(frame).0.iter().zip(expected.0) {
        // Behind its NUL a text goes on with what an earlier message left there.
        live &= !shown.ct_eq(&0);
        same &= u8::conditional_select(&0, shown, live).ct_eq(&wanted);
    }
    frame.request_type() == RequestCode::Passphrase && bool::from(same)
}
