//! Error numbers on the wire: those of Linux, and the one netperf made up.
//!
//! A server sends the numbers of its own system. Ours sends Linux numbers everywhere, and names are given
//! on the assumption that the peer does too, which holds for Linux and for unikernels that follow it.

/// Permission denied.
pub const EACCES: i32 = 13;
/// The address family is not supported.
pub const EAFNOSUPPORT: i32 = 97;
/// Something is in use.
pub const EBUSY: i32 = 16;
/// Nobody listens there.
pub const ECONNREFUSED: i32 = 111;
/// The peer reset the connection.
pub const ECONNRESET: i32 = 104;
/// A size is over the limit.
pub const E2BIG: i32 = 7;
/// A value makes no sense.
pub const EINVAL: i32 = 22;
/// A datagram would be too long.
pub const EMSGSIZE: i32 = 90;
/// There is nothing to report.
pub const ENODATA: i32 = 61;
/// The kind of test is known and not served.
pub const EOPNOTSUPP: i32 = 95;
/// It took too long.
pub const ETIMEDOUT: i32 = 110;
/// netperf's own: the server does not know this request.
pub const UNKNOWN_REQUEST: i32 = 998;

/// The Linux name of an errno that a netserver is likely to send; `None` for any other.
pub const fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        1 => "EPERM",
        2 => "ENOENT",
        4 => "EINTR",
        5 => "EIO",
        7 => "E2BIG",
        9 => "EBADF",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        22 => "EINVAL",
        24 => "EMFILE",
        32 => "EPIPE",
        61 => "ENODATA",
        90 => "EMSGSIZE",
        92 => "ENOPROTOOPT",
        93 => "EPROTONOSUPPORT",
        95 => "EOPNOTSUPP",
        97 => "EAFNOSUPPORT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        _ => return None,
    })
}
