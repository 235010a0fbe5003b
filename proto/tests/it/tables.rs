//! The code and layout tables against netperf's own, and the encodings of single fields.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ringperf_proto::admin::CalibrateResponse;
use ringperf_proto::layout::{AddressWords, Field, Text};
use ringperf_proto::native::{
    NativeChallenge, NativeDetail, NativeHello, NativeProof, NativeReport, NativeRequest, NativeWishes,
};
use ringperf_proto::{
    FRAME_BYTES, Frame, IpVersion, RequestCode, ResponseCode, address, classic, errno, omni,
};

use crate::golden;

macro_rules! declared {
    ($($message:ty),+ $(,)?) => { [$( (<$message>::NAME, <$message>::FIELDS) ),+] };
}

const DECLARED: [(&str, &[Field]); 20] = declared![
    omni::OmniRequest,
    omni::OmniResponse,
    omni::OmniResults,
    omni::OmniResults260,
    omni::OmniRequest250,
    omni::OmniResponse250,
    omni::OmniResults250,
    classic::TcpStreamRequest,
    classic::TcpStreamResponse,
    classic::TcpStreamResults,
    classic::TcpMaertsRequest,
    classic::TcpMaertsResponse,
    classic::TcpMaertsResults,
    classic::RrRequest,
    classic::RrResponse,
    classic::RrResults,
    classic::UdpStreamRequest,
    classic::UdpStreamResponse,
    classic::UdpStreamResults,
    CalibrateResponse,
];

#[test]
fn layouts_are_those_of_netperf() {
    let declared: BTreeMap<&str, &[Field]> = DECLARED.into_iter().collect();
    let tables = golden::layouts();
    let tables = tables["layouts"].as_object().expect("layouts");
    assert!(tables.keys().map(String::as_str).eq(declared.keys().copied()), "every layout is declared once");
    for (name, fields) in tables {
        let ours: Vec<_> = declared[name.as_str()]
            .iter()
            .map(|field| (field.offset as u64, field.name, field.encoding, field.bytes as u64))
            .collect();
        let theirs: Vec<_> = fields
            .as_array()
            .expect("fields")
            .iter()
            .map(|field| {
                let number = |key: &str| field[key].as_u64().expect("a number");
                let text = |key: &str| field[key].as_str().expect("a text");
                (number("offset"), text("name"), text("type"), number("bytes"))
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn codes_are_those_of_netperf() {
    let tables = golden::layouts();
    let tables = tables["type_codes"].as_object().expect("codes");
    let requests: BTreeMap<_, _> =
        RequestCode::ALL.iter().map(|(code, name)| (*name, code.to_wire())).collect();
    let responses: BTreeMap<_, _> =
        ResponseCode::ALL.iter().map(|(code, name)| (*name, code.to_wire())).collect();
    assert!(tables.len() > 30);
    for (name, number) in tables {
        let ours = requests.get(name.as_str()).or_else(|| responses.get(name.as_str()));
        assert_eq!(ours.map(|number| i64::from(*number)), number.as_i64(), "{name}");
    }
}

#[test]
fn every_number_is_one_code_and_comes_back() {
    for number in (-2..30_000).chain([i32::MIN, i32::MAX]) {
        assert_eq!(RequestCode::from_wire(number).to_wire(), number);
        assert_eq!(ResponseCode::from_wire(number).to_wire(), number);
    }
    for (code, name) in RequestCode::ALL {
        assert_eq!(RequestCode::from_wire(code.to_wire()), *code, "{name}");
    }
    for (code, name) in ResponseCode::ALL {
        assert_eq!(ResponseCode::from_wire(code.to_wire()), *code, "{name}");
    }
    assert_eq!(RequestCode::from_wire(999), RequestCode::Unknown(999));
}

#[test]
fn a_layout_writes_its_own_fields_and_nothing_else() {
    let mut noise = [0; FRAME_BYTES];
    for (at, byte) in noise.iter_mut().enumerate() {
        *byte = (at * 37 % 251) as u8;
    }
    let noise = Frame::from_bytes(noise);
    // What is read from noise and written over ones shows where a layout writes, and that it changes no bit.
    macro_rules! check {
        ($($message:ty),+) => {$(
            let mut written = Frame::from_bytes([0xff; FRAME_BYTES]);
            <$message>::decode(&noise).encode(&mut written);
            let covered = |at: usize| {
                let mut fields = <$message>::FIELDS.iter();
                fields.any(|field| (field.offset..field.offset + field.bytes).contains(&at))
            };
            for at in 0..FRAME_BYTES {
                let expected = if covered(at) { noise.as_bytes()[at] } else { 0xff };
                assert_eq!(written.as_bytes()[at], expected, "{} byte {at}", <$message>::NAME);
            }
        )+};
    }
    check!(
        omni::OmniRequest,
        omni::OmniResponse,
        omni::OmniResults,
        omni::OmniResults260,
        omni::OmniRequest250
    );
    check!(
        omni::OmniResponse250,
        omni::OmniResults250,
        classic::TcpStreamRequest,
        classic::TcpStreamResponse
    );
    check!(
        classic::TcpStreamResults,
        classic::TcpMaertsRequest,
        classic::TcpMaertsResponse,
        classic::RrRequest
    );
    check!(classic::TcpMaertsResults, classic::RrResponse, classic::RrResults, classic::UdpStreamRequest);
    check!(classic::UdpStreamResponse, classic::UdpStreamResults, CalibrateResponse);
    check!(NativeRequest, NativeWishes, NativeHello, NativeReport, NativeDetail);
}

#[test]
fn numbers_stand_in_network_order() {
    let mut frame = Frame::zeroed();
    let results =
        classic::TcpStreamResults { bytes_received: 1.0, recv_calls: 0x0102_0304, ..Default::default() };
    results.encode(&mut frame);
    assert_eq!(frame.as_bytes()[8..20], [0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    let report =
        NativeReport { engine: 1, worker_cpu_ns: 0x0102_0304_0506_0708, core: -1, ..Default::default() };
    report.encode(&mut frame);
    assert_eq!(frame.as_bytes()[36..44], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(NativeReport::decode(&frame), report);
    // The report leaves the version, which every answer of ours begins with, alone, and its detail the
    // report; wishes stand behind the words of a request.
    let end = |fields: &[Field]| fields.last().map(|field| field.offset + field.bytes);
    assert!(Some(NativeReport::FIELDS[0].offset) >= end(NativeHello::FIELDS));
    assert!(Some(NativeDetail::FIELDS[0].offset) >= end(NativeReport::FIELDS));
    assert!(Some(NativeWishes::FIELDS[0].offset) >= end(NativeRequest::FIELDS));
}

#[test]
fn words_of_our_own_messages_stay_where_version_1_has_them() {
    let places = |fields: &[Field]| fields.iter().map(|field| field.offset).collect::<Vec<_>>();
    assert_eq!(places(NativeRequest::FIELDS), [8, 12]);
    assert_eq!(places(NativeHello::FIELDS), [8]);
    let report = [12, 16, 20, 24, 28, 32, 36, 44, 52, 60, 68, 76, 84, 92, 100, 108, 116, 120, 124, 128];
    assert_eq!(places(NativeReport::FIELDS), report);
    assert_eq!(places(NativeWishes::FIELDS), [16, 20, 24, 28, 32, 36, 44]);
    assert_eq!((places(NativeChallenge::FIELDS), places(NativeProof::FIELDS)), (vec![16], vec![16]));
    let detail = NativeDetail::FIELDS;
    assert_eq!(detail.first().zip(detail.last()).map(|(a, b)| (a.offset, b.offset)), Some((132, 260)));
}

#[test]
fn addresses_are_words_of_a_little_endian_host() {
    let cases: [(&str, IpVersion, [u32; 4]); 4] = [
        ("127.0.0.1", IpVersion::V4, [0x7f00_0001, 0, 0, 0]),
        ("192.0.2.1", IpVersion::V4, [0xc000_0201, 0, 0, 0]),
        ("::1", IpVersion::V6, [0, 0, 0, 0x0100_0000]),
        ("2001:db8::102:304", IpVersion::V6, [0xb80d_0120, 0, 0, 0x0403_0201]),
    ];
    for (text, version, words) in cases {
        let address: IpAddr = text.parse().expect("an address");
        assert_eq!(address::encode(Some(address)), AddressWords(words), "{text}");
        assert_eq!(address::decode(AddressWords(words), version), Some(address), "{text}");
    }
    assert_eq!(address::encode(None), AddressWords([0; 4]));
    for version in [IpVersion::V4, IpVersion::V6] {
        assert_eq!(address::decode(AddressWords([0; 4]), version), None);
    }
    // The words behind an IPv4 address are left over from other messages.
    let stale = AddressWords([0x7f00_0001, 1, 2, 3]);
    assert_eq!(address::decode(stale, IpVersion::V4), Some("127.0.0.1".parse().expect("an address")));
}

#[test]
fn texts_end_at_their_nul_or_at_the_end_of_their_field() {
    assert_eq!(Text(*b"cubic\0left over!").name(), Ok(Some("cubic".to_owned())));
    assert_eq!(Text(*b"Bug If Seen IFNA").content(), b"Bug If Seen IFNA");
    assert_eq!(Text(*b"two words\0\0\0\0\0\0\0").name(), Err(&b"two words"[..]));
    assert_eq!(Text(*b"\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").name(), Err(&b"\xff"[..]));
    assert_eq!(Text::<16>::default().name(), Ok(None));
    assert_eq!(Text::<16>::new(b"fifteen letters"), Some(Text(*b"fifteen letters\0")));
    assert_eq!(Text::<16>::new(b"sixteen letters!"), None);
}

#[test]
fn errors_have_their_linux_names() {
    assert_eq!(errno::name(errno::ECONNRESET), Some("ECONNRESET"));
    assert_eq!(errno::name(errno::EOPNOTSUPP), Some("EOPNOTSUPP"));
    assert_eq!(errno::name(errno::UNKNOWN_REQUEST), None);
    assert_eq!(errno::name(0), None);
}
