//! A byte stream becomes the same frames however it is cut, in bounded memory.

use proptest::prelude::*;
use ringperf_proto::{FRAME_BYTES, Fault, Frame, FrameReader, LEGACY_FRAME_BYTES, RequestCode};

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let frames = [Frame::request(RequestCode::DebugOn, 3), Frame::from_bytes([0xa5; FRAME_BYTES])];
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.as_bytes().iter().copied()).collect();
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let mut reader = FrameReader::default();
        assert_eq!(reader.push(first), first.len());
        assert_eq!(reader.pending(), cut % FRAME_BYTES);
        assert_eq!(reader.push(second), second.len());
        assert!(reader.by_ref().eq(frames.iter().cloned()), "cut at {cut}");
        assert_eq!((reader.pending(), reader.cut_short()), (0, None));
    }
}

#[test]
fn a_peer_cannot_make_the_reader_grow() {
    let mut reader = FrameReader::default();
    let room = reader.room();
    let flood = vec![0; 10 * room];
    assert_eq!(reader.push(&flood), room);
    assert_eq!((reader.room(), reader.push(&flood)), (0, 0));
    assert_eq!(reader.by_ref().count(), room / FRAME_BYTES);
    assert_eq!(reader.room(), room);
    assert!(room >= 2 * FRAME_BYTES, "a passphrase and a request arrive together");
}

#[test]
fn a_stream_that_stops_says_what_it_was() {
    let cases = [
        (0, None),
        (FRAME_BYTES, None),
        (1, Some(Fault::Malformed { what: "a frame that is not complete" })),
        (LEGACY_FRAME_BYTES, Some(Fault::Legacy { bytes: 256 })),
        (2 * LEGACY_FRAME_BYTES, Some(Fault::Legacy { bytes: 512 })),
        (FRAME_BYTES + 300, Some(Fault::Malformed { what: "a frame that is not complete" })),
        (FRAME_BYTES - 1, Some(Fault::Malformed { what: "a frame that is not complete" })),
    ];
    for (bytes, fault) in cases {
        let mut reader = FrameReader::default();
        assert_eq!(reader.push(&vec![0; bytes]), bytes);
        assert_eq!(reader.cut_short(), fault, "{bytes} bytes");
    }
}

#[test]
fn debug_output_does_not_show_a_passphrase() {
    let frame = ringperf_proto::admin::passphrase_request(b"ssssss", -1).expect("it fits");
    let shown = format!("{frame:?}");
    assert!(shown.contains("type: 6") && !shown.contains("115"), "{shown}");
    let mut reader = FrameReader::default();
    assert_eq!(reader.push(frame.as_bytes()), FRAME_BYTES);
    let shown = format!("{reader:?}");
    assert!(shown.contains("held: 656") && !shown.contains("115"), "{shown}");
}

proptest! {
    #[test]
    fn frames_do_not_depend_on_how_bytes_arrive(
        frames in prop::collection::vec(prop::array::uniform32(any::<u8>()), 0..6),
        parts in prop::collection::vec(1_usize..1500, 1..40),
    ) {
        let frames: Vec<Frame> = frames.iter().map(|pattern| {
            let mut bytes = [0; FRAME_BYTES];
            for (byte, pattern) in bytes.iter_mut().zip(pattern.iter().cycle()) {
                *byte = *pattern;
            }
            Frame::from_bytes(bytes)
        }).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.as_bytes().iter().copied()).collect();
        let mut rest = bytes.as_slice();
        let mut reader = FrameReader::default();
        let mut seen = Vec::new();
        for part in parts.iter().cycle() {
            let taken = reader.push(&rest[..rest.len().min(*part)]);
            rest = &rest[taken..];
            seen.extend(reader.by_ref());
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(seen, frames);
    }
}
