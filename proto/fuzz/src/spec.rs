//! What holds of every test that a peer can ask for: it lies within the limits.

use ringperf_proto::{Family, Length, Limits, Test, TestSpec};

/// Much less than the default allows, so that the limits are met.
pub const TIGHT: Limits = Limits {
    message_bytes_max: 1 << 10,
    socket_buffer_max: 1 << 12,
    width_max: 4,
    flows_max: 3,
    workers_max: 2,
};

/// Panics where `spec` is not within `limits`, or makes no sense.
pub fn check(spec: &TestSpec, limits: &Limits) {
    let most = limits.message_bytes_max;
    let bounded = |size: Option<u32>| size.is_none_or(|size| (1..=most).contains(&size));
    assert!(bounded(spec.receive_bytes) && bounded(spec.send_bytes), "{spec:?}");
    let streams = !spec.test.has_transactions();
    assert!(streams && spec.test.server_receives() || spec.receive_bytes.is_none(), "{spec:?}");
    assert!(streams && spec.test.server_sends() || spec.send_bytes.is_none(), "{spec:?}");
    let answers = !streams && spec.test != Test::TcpCc;
    let sizes = if answers { 1..=most } else { 0..=0 };
    assert!(sizes.contains(&spec.request_bytes) && sizes.contains(&spec.response_bytes), "{spec:?}");
    let granted = |buffer: Option<u32>| buffer.is_none_or(|bytes| bytes <= limits.socket_buffer_max);
    assert!(granted(spec.send_buffer) && granted(spec.receive_buffer), "{spec:?}");
    assert!(spec.receive_width <= limits.width_max, "{spec:?}");
    assert!(spec.pacing.is_none_or(|pacing| pacing.sends > 0 && pacing.every_us > 0), "{spec:?}");
    assert!(spec.pacing.is_none() || spec.test.server_streams(), "{spec:?}");
    let name = spec.congestion_control.as_deref().unwrap_or("none");
    assert!(!name.is_empty() && name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_graphic()));
    check_length(spec);
    check_wishes(spec, limits);
}

fn check_length(spec: &TestSpec) {
    let streams = !spec.test.has_transactions();
    assert!(!streams || !matches!(spec.length, Length::Transactions(_)), "{spec:?}");
    assert!(streams || !matches!(spec.length, Length::Bytes(_)), "{spec:?}");
    let ends = spec.client_data.1 != 0 && spec.length != Length::Endless;
    assert!(spec.test != Test::UdpMaerts || ends, "{spec:?}");
    let exact = match spec.test {
        Test::UdpStream => spec.receive_bytes,
        Test::UdpRr => Some(spec.request_bytes),
        _ => None,
    };
    assert_eq!(spec.exact_message, exact.filter(|_| spec.family == Family::Classic), "{spec:?}");
    let length = match spec.length {
        Length::Bytes(length) | Length::Transactions(length) => length,
        Length::Endless => 1,
        Length::Seconds(length) => length.into(),
    };
    assert!((1..=1 << 31).contains(&length), "{spec:?}");
}

fn check_wishes(spec: &TestSpec, limits: &Limits) {
    let wishes = spec.wishes;
    let workers_max = wishes.flows.min(limits.workers_max);
    assert!((1..=limits.flows_max).contains(&wishes.flows), "{spec:?}");
    assert!((1..=workers_max).contains(&wishes.workers), "{spec:?}");
    assert!(wishes.flows == 1 || !spec.test.over_udp(), "{spec:?}");
    assert!(wishes.bits_per_second.is_none() || spec.test.server_streams(), "{spec:?}");
}
