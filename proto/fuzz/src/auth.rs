//! Passphrases of any bytes, and arbitrary frames before a server that wants one: nothing but the passphrase
//! lets anybody in.

use ringperf_proto::admin::{passphrase_matches, passphrase_request};
use ringperf_proto::{Frame, Limits, RequestCode, Server, ServerConfig, ServerInput, ServerOutput};

use super::script::Script;

/// The longest passphrase that a frame holds, its NUL left aside.
const PASSPHRASE_BYTES_MAX: usize = 647;

/// The first byte of `data` is the length of the passphrase, in eights what is above 127; then come the
/// passphrase and frames.
pub fn auth(data: &[u8]) {
    let mut script = Script::new(data);
    let passphrase = match usize::from(script.byte()) {
        short @ 0..128 => script.bytes(short),
        long => script.bytes(128 + (long - 128) * 8),
    };
    check_round_trip(passphrase);
    let config = || ServerConfig {
        limits: Limits::default(),
        passphrase: Some(passphrase.to_vec()),
        cpu_rate: 100.0,
        cpus: 2,
    };
    while let Some(frame) = script.frame() {
        let shown = shows(&frame, passphrase);
        assert_eq!(passphrase_matches(&frame, passphrase), shown);
        let (server, output) =
            Server::new(config()).on(ServerInput::Frame(frame)).expect("any frame will do");
        assert_eq!(output == ServerOutput::Nothing, shown, "{output:?}");
        assert_eq!(server.awaits_passphrase(), !shown);
        let closes = matches!(output, ServerOutput::Close(_) | ServerOutput::ReplyThenClose(_));
        assert!(shown || closes, "{output:?}");
    }
}

/// What a client sends is what a server wants, and nobody else's.
fn check_round_trip(passphrase: &[u8]) {
    let sendable = passphrase.len() <= PASSPHRASE_BYTES_MAX && !passphrase.contains(&0);
    let Some(frame) = passphrase_request(passphrase, -1) else { return assert!(!sendable) };
    assert!(sendable && passphrase_matches(&frame, passphrase));
    let mut other = passphrase.to_vec();
    match other.last_mut() {
        Some(last) => *last ^= 1,
        None => other.push(b'x'),
    }
    assert!(!passphrase_matches(&frame, &other));
    assert!(!format!("{frame:?}").contains("sesame"));
}

/// Whether `frame` shows exactly this passphrase: the protocol's rule in the plainest words.
pub(super) fn shows(frame: &Frame, passphrase: &[u8]) -> bool {
    let message = &frame.as_bytes()[8..];
    let text = message.split(|byte| *byte == 0).next().unwrap_or_default();
    frame.request_type() == RequestCode::Passphrase
        && text == passphrase
        && passphrase.len() <= PASSPHRASE_BYTES_MAX
}
