//! How the values of `ringperf run`'s options are written: times, sizes, rates, shares.
//!
//! Functions from text to a number within its limits, or to a sentence about what is wrong.

use std::time::Duration;

use ringperf_engine::plan::{INTERVAL_MIN, MESSAGE_BYTES_MAX};

/// Largest socket buffer that may be asked for, in bytes: what our own netserver accepts too.
pub(crate) const SOCKET_BUFFER_MAX: u64 = 512 << 20;

/// Highest rate that may be asked for, in bits a second: past all links, and counted exactly in either form.
const RATE_MAX: f64 = 1e15;

/// Longest interval between two readings.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Reads a host. An IPv6 address may stand in the brackets that it has in a URL.
pub(crate) fn parse_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() { Err("it is empty".to_owned()) } else { Ok(bare.to_owned()) }
}

/// Reads a length of time: digits, then nothing, `s`, `m` or `h`. The netserver is told whole seconds, so no
/// fraction is taken.
pub(crate) fn parse_seconds(text: &str) -> Result<u32, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write whole seconds, or a unit of s, m or h: 10, 10s, 2m".to_owned()),
    };
    let seconds = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    match seconds {
        // The control channel carries the length as a signed 32-bit word.
        Some(seconds) if (1..=i32::MAX.unsigned_abs()).contains(&seconds) => Ok(seconds),
        _ => Err("it may be 1 second to 2147483647 seconds".to_owned()),
    }
}

/// Reads a number of bytes. K, M and G are powers of 1024 and k, m and g powers of 1000, as netperf has it; a
/// trailing `iB` or `B` may be written out.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "k" | "kB" => 1_000,
        "m" | "MB" => 1_000_000,
        "g" | "GB" => 1_000_000_000,
        _ => return Err("write bytes, or a unit of K, M, G (1024s) or k, m, g (1000s): 64K, 1MiB".to_owned()),
    };
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(0) => Err("it has to be above zero".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("it is not a number of bytes that fits 64 bits".to_owned()),
    }
}

/// Reads an interval: a number with or without a fraction, then nothing, `s` or `ms`.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1e-3),
        (None, Some(digits)) => (digits, 1.0),
        (None, None) => (text, 1.0),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = digits.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit);
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(interval) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) => Ok(interval),
        _ => Err("write seconds or milliseconds, 10ms to 3600s: 200ms, 0.5s, 1".to_owned()),
    }
}

/// Reads a rate in bits a second, with or without a fraction. K, M, G and T are powers of 1000, as rates have
/// them, in either case.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1.0,
        "K" | "k" => 1e3,
        "M" | "m" => 1e6,
        "G" | "g" => 1e9,
        "T" | "t" => 1e12,
        _ => return Err("write bits a second, or a unit of K, M, G or T (1000s): 250M, 2.5G".to_owned()),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1.0..=RATE_MAX).contains(&(number * factor)) => Ok((number * factor).round() as u64),
        Ok(_) => Err("it may be 1 bit a second to 1000T".to_owned()),
        Err(_) => Err("it is not a number of bits a second".to_owned()),
    }
}

/// Reads a share in percent.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("it may be 0 to less than 100".to_owned()),
    }
}

/// Reads the bytes of a message.
pub(crate) fn parse_message(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= MESSAGE_BYTES_MAX)
        .ok_or_else(|| format!("a message may have 1 to {MESSAGE_BYTES_MAX} bytes"))
}

/// Reads the bytes of a socket buffer.
pub(crate) fn parse_socket_buffer(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| u64::from(*bytes) <= SOCKET_BUFFER_MAX)
        .ok_or_else(|| format!("a socket buffer may have 1 to {SOCKET_BUFFER_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_be_bracketed_and_not_empty() {
        assert_eq!(parse_host("::1"), Ok("::1".to_owned()));
        assert_eq!(parse_host("[::1]"), Ok("::1".to_owned()));
        assert_eq!(parse_host("example"), Ok("example".to_owned()));
        assert!(parse_host("").is_err() && parse_host("[]").is_err());
    }

    #[test]
    fn intervals_may_have_a_fraction() {
        for (text, milliseconds) in [("200ms", 200), ("0.5s", 500), ("1", 1000), (".25", 250), ("10ms", 10)] {
            assert_eq!(parse_interval(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "9ms", "0", "-1", "1m", "1e3", "inf", "nan", "3601"] {
            assert!(parse_interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(parse_seconds("10"), Ok(10));
        assert_eq!(parse_seconds("10s"), Ok(10));
        assert_eq!(parse_seconds("2m"), Ok(120));
        assert_eq!(parse_seconds("1h"), Ok(3600));
        for bad in ["", "s", "0", "0.5", "-1", "1d", "2147483648", "99999999999", "1193047h"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_follow_netperfs_letters() {
        assert_eq!(parse_size("1"), Ok(1));
        assert_eq!(parse_size("64K"), Ok(65_536));
        assert_eq!(parse_size("64k"), Ok(64_000));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("2G"), Ok(2_147_483_648));
        assert_eq!(parse_size("1GB"), Ok(1_000_000_000));
        for bad in ["", "K", "0", "-1", "1T", "1.5M", "99999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_decimal() {
        assert_eq!(parse_rate("1"), Ok(1));
        assert_eq!(parse_rate("64K"), Ok(64_000));
        assert_eq!(parse_rate("250m"), Ok(250_000_000));
        assert_eq!(parse_rate("2.5G"), Ok(2_500_000_000));
        assert_eq!(parse_rate("1000T"), Ok(1_000_000_000_000_000));
        for bad in ["", "M", "0", "0.9", "-1", "1e9", "1001T", "1.2.3M", "1Mbit", "inf", "1_000"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_percent() {
        assert_eq!(parse_percent("0"), Ok(0.0));
        assert_eq!(parse_percent("0.1"), Ok(0.1));
        assert_eq!(parse_percent("5%"), Ok(5.0));
        for bad in ["", "%", "-1", "100", "nan", "inf", "1/2"] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_and_socket_buffers_have_limits() {
        assert_eq!(parse_message("16M"), Ok(16 << 20));
        assert!(parse_message("16777217").is_err());
        assert_eq!(parse_socket_buffer("512M"), Ok(512 << 20));
        assert!(parse_socket_buffer("513M").is_err());
    }
}
