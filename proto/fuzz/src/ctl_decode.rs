//! Any stream of bytes, in pieces of any size: frames come out whole, memory is bounded, and every decoder of
//! a request takes every frame.

use ringperf_proto::admin::{self, CalibrateResponse};
use ringperf_proto::native::{NativeDetail, NativeHello, NativeReport, NativeRequest, NativeWishes};
use ringperf_proto::omni::{OmniRequest, OmniResponse, OmniResults, OmniResults260};
use ringperf_proto::{
    ClassicRequest, FRAME_BYTES, Fault, Frame, FrameReader, LEGACY_FRAME_BYTES, Limits, TestSpec, Wishes,
};

use super::script::Script;
use super::spec;

/// What a frame reader may hold: four frames, as its documentation says.
const HELD_MAX: usize = 4 * FRAME_BYTES;

/// The first byte of `data` is the size of the pieces, 0 for one piece, and the rest is the stream; from 128
/// on zeroes are added that make the last frame whole.
pub fn ctl_decode(data: &[u8]) {
    let mut script = Script::new(data);
    let first = script.byte();
    let piece = match first % 128 {
        0 => usize::MAX,
        small => usize::from(small),
    };
    let mut stream = script.bytes(usize::MAX).to_vec();
    if first >= 128 {
        stream.resize(stream.len().next_multiple_of(FRAME_BYTES), 0);
    }
    let stream = &stream[..];
    let mut reader = FrameReader::default();
    assert_eq!(reader.room(), HELD_MAX);
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = reader.push(rest);
            assert!(taken > 0 && taken <= rest.len(), "a reader without frames has room");
            rest = &rest[taken..];
            frames.extend(reader.by_ref());
            assert!(reader.pending() < FRAME_BYTES && reader.room() <= HELD_MAX);
        }
    }
    check_stream(stream, &frames, &reader);
    frames.iter().for_each(decode);
}

/// Nothing is lost, nothing is made up, and the rest is named for what it is.
fn check_stream(stream: &[u8], frames: &[Frame], reader: &FrameReader) {
    let whole: Vec<&[u8]> = stream.chunks_exact(FRAME_BYTES).collect();
    assert!(frames.iter().map(|frame| &frame.as_bytes()[..]).eq(whole));
    let rest = stream.len() % FRAME_BYTES;
    assert_eq!(reader.pending(), rest);
    match reader.cut_short() {
        None => assert_eq!(rest, 0),
        Some(Fault::Legacy { bytes }) => assert!(bytes == rest && rest.is_multiple_of(LEGACY_FRAME_BYTES)),
        Some(Fault::Malformed { .. }) => assert!(!rest.is_multiple_of(LEGACY_FRAME_BYTES)),
        Some(other) => panic!("{other:?}"),
    }
}

/// Writes what was read into a frame of zeroes, and expects to read the same again. Floating-point numbers
/// are compared as they are written, because not all of them equal themselves.
macro_rules! stable {
    ($frame:expr, $($message:ty),+) => {$({
        let (mut once, mut twice) = (Frame::zeroed(), Frame::zeroed());
        <$message>::decode($frame).encode(&mut once);
        <$message>::decode(&once).encode(&mut twice);
        assert!(once == twice, "{} changes when it is written again", <$message>::NAME);
    })+};
}

fn decode(frame: &Frame) {
    stable!(frame, OmniRequest, OmniResponse, OmniResults, OmniResults260);
    stable!(frame, NativeRequest, NativeHello, NativeWishes, NativeReport, NativeDetail);
    stable!(frame, CalibrateResponse);
    let _ = (frame.request_type(), frame.response_type(), frame.errno(), frame.cpu_affinity());
    let _ =
        (admin::is_marked_probe(frame), admin::passphrase_matches(frame, b"sesame"), format!("{frame:?}"));
    for limits in [Limits::default(), spec::TIGHT] {
        let omni = TestSpec::parse(frame.cpu_affinity(), &OmniRequest::decode(frame), &limits);
        let classic = ClassicRequest::decode(frame)
            .and_then(|request| TestSpec::parse_classic(frame.cpu_affinity(), &request, &limits).ok());
        omni.ok().iter().chain(&classic).for_each(|spec| spec::check(spec, &limits));
        if let Ok(wishes) = Wishes::parse(&NativeWishes::decode(frame), &limits) {
            assert!((1..=limits.flows_max).contains(&wishes.flows));
            assert!((1..=limits.workers_max.min(wishes.flows)).contains(&wishes.workers));
        }
    }
}
