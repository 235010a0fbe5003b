//! Safe faces of the system calls that socket2 and the standard library do not have.
//!
//! Each function is one call with its result turned into an [`io::Result`]; no policy, no retry but for
//! EINTR. The only file beside the ring and the arena where `unsafe` may stand, and the only one that names
//! libc for anything but memory and rings.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; each block says why it is sound")]

mod epoll;

use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::SockAddr;

use crate::cpu::ThreadCpu;
use crate::file::FilePart;
use crate::outcome::{Transport, TransportInfo};

pub(crate) use epoll::{EVENTS_MAX, Epoll, Event};

/// An errno as the kernel gave it, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const ABORTED: Self = Self(libc::ECONNABORTED);
    pub(crate) const ACCESS: Self = Self(libc::EACCES);
    pub(crate) const ADDRESS_IN_USE: Self = Self(libc::EADDRINUSE);
    pub(crate) const ADDRESS_NOT_AVAILABLE: Self = Self(libc::EADDRNOTAVAIL);
    pub(crate) const AGAIN: Self = Self(libc::EAGAIN);
    pub(crate) const BROKEN_PIPE: Self = Self(libc::EPIPE);
    pub(crate) const CANCELED: Self = Self(libc::ECANCELED);
    pub(crate) const INTERRUPTED: Self = Self(libc::EINTR);
    pub(crate) const INVALID: Self = Self(libc::EINVAL);
    pub(crate) const IO: Self = Self(libc::EIO);
    pub(crate) const MESSAGE_SIZE: Self = Self(libc::EMSGSIZE);
    pub(crate) const NO_BUFFERS: Self = Self(libc::ENOBUFS);
    pub(crate) const NO_ENTRY: Self = Self(libc::ENOENT);
    pub(crate) const RESET: Self = Self(libc::ECONNRESET);

    /// The error of an [`io::Error`] that came from a system call; EIO where there is none.
    pub(crate) fn of(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// `EPERM` and the like for the errnos that users meet, the number otherwise.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::E2BIG => "E2BIG",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EINVAL => "EINVAL",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::EPIPE => "EPIPE",
        libc::ENOSYS => "ENOSYS",
        libc::EPROTO => "EPROTO",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENODATA => "ENODATA",
        libc::ENOTCONN => "ENOTCONN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EALREADY => "EALREADY",
        libc::ECANCELED => "ECANCELED",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}

/// Name of the errno behind an I/O error, or its text where no system call was involved.
pub(crate) fn error_name(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_name)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A new non-blocking event counter.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor it returns is ours alone.
    unsafe {
        let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Makes an event counter readable. It can only fail by being so already, which is what is wanted.
pub(crate) fn signal_event(event: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: writes the eight bytes of a live local.
    let _ = unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
}

/// What [`wait_for`] waits for on its first descriptor.
#[derive(Clone, Copy)]
pub(crate) enum Readiness {
    Readable,
    Writable,
}

/// Which of the two descriptors of [`wait_for`] became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Socket,
    Stop,
    TimedOut,
}

/// Waits until `socket` is ready, `stop` is readable, or the time is over.
pub(crate) fn wait_for(
    socket: BorrowedFd<'_>,
    readiness: Readiness,
    stop: BorrowedFd<'_>,
    timeout: Duration,
) -> io::Result<Ready> {
    let events = match readiness {
        Readiness::Readable => libc::POLLIN,
        Readiness::Writable => libc::POLLOUT,
    };
    let mut polled = [
        libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 },
        libc::pollfd { fd: stop.as_raw_fd(), events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: the array lives through the call and its length is the one given.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds(Some(timeout))) };
    match check(result) {
        Ok(0) => Ok(Ready::TimedOut),
        Ok(_) if polled[1].revents != 0 => Ok(Ready::Stop),
        Ok(_) => Ok(Ready::Socket),
        // The caller's deadline decides whether to wait again.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::TimedOut),
        Err(error) => Err(error),
    }
}

/// Rounded up, so that a wait never ends just before its deadline only to be repeated; -1 waits without end.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |t| libc::c_int::try_from(t.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX))
}

/// Takes the signals off an event counter, so that it can be waited for again; how many there were.
pub(crate) fn take_signals(event: BorrowedFd<'_>) -> u64 {
    let mut count = 0u64;
    // SAFETY: reads the eight bytes of a live local. It does not block, and fails where there is no signal.
    let read = unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    if read == size_of::<u64>() as libc::ssize_t { count } else { 0 }
}

/// Whether a call may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For as long as the socket's own time limit allows.
    Wait,
    /// Not at all.
    Now,
}

impl Patience {
    fn flag(self) -> libc::c_int {
        match self {
            Self::Wait => 0,
            Self::Now => libc::MSG_DONTWAIT,
        }
    }
}

/// Sends, on an unconnected socket to this address. The slice is only read.
pub(crate) fn send(fd: RawFd, bytes: &[u8], to: Option<&SockAddr>, patience: Patience) -> io::Result<usize> {
    send_with(fd, bytes, to, patience.flag())
}

/// Sends without waiting, and has the kernel keep what fills no segment for what comes behind it, if only the
/// end of the stream (MSG_MORE).
pub(crate) fn send_more(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    send_with(fd, bytes, None, libc::MSG_DONTWAIT | libc::MSG_MORE)
}

fn send_with(fd: RawFd, bytes: &[u8], to: Option<&SockAddr>, flags: libc::c_int) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | flags;
    let (address, length) = to.map_or((std::ptr::null(), 0), |to| (to.as_ptr().cast(), to.len()));
    // SAFETY: pointers and lengths are those of a live slice and of a live address, or none.
    check_size(unsafe { libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), flags, address, length) })
}

/// Sends a part of a file (sendfile); ENODATA where the file ends before it, for which the kernel has no
/// error of its own. Whether it blocks follows from the socket.
pub(crate) fn send_file(socket: RawFd, file: &File, part: FilePart) -> io::Result<usize> {
    let overflow = |_| io::Error::from_raw_os_error(libc::EOVERFLOW);
    let mut offset = libc::off_t::try_from(part.offset).map_err(overflow)?;
    // SAFETY: the offset lives through the call, which reads no other memory of ours.
    let sent = check_size(unsafe {
        libc::sendfile(socket, file.as_raw_fd(), &raw mut offset, part.length as usize)
    })?;
    if sent > 0 { Ok(sent) } else { Err(io::Error::from_raw_os_error(libc::ENODATA)) }
}

/// Keeps the calling thread from being killed by a connection that breaks off (SIGPIPE), of which a sendfile
/// cannot ask to be spared (MSG_NOSIGNAL) as other sends can.
pub(crate) fn survive_broken_pipes() {
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by the first call before the others use it, and lives through them.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
    }
}

/// Receives.
pub(crate) fn receive(fd: RawFd, into: &mut [u8], patience: Patience) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live, exclusively borrowed slice.
    check_size(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), patience.flag()) })
}

/// The address as the kernel reads it.
pub(crate) fn address_bytes(address: &SockAddr) -> &[u8] {
    // SAFETY: pointer and length are those of the live address, all of which is initialised: it was zeroed
    // before it was filled in.
    unsafe { std::slice::from_raw_parts(address.as_ptr().cast(), address.len() as usize) }
}

/// Which calls [`set_timeout`] limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    Receive,
    Send,
}

/// Limits how long a blocking call on a socket may take (SO_RCVTIMEO, SO_SNDTIMEO); zero is no limit.
pub(crate) fn set_timeout(fd: RawFd, which: Timeout, limit: Duration) -> io::Result<()> {
    let name = match which {
        Timeout::Receive => libc::SO_RCVTIMEO,
        Timeout::Send => libc::SO_SNDTIMEO,
    };
    let limit = libc::timeval {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: limit.subsec_micros().into(),
    };
    let length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: points at a live local of the length given.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const limit).cast(), length) };
    check(result).map(drop)
}

/// Breaks a TCP connection off, which throws away what it still had to send.
pub(crate) fn disconnect(fd: RawFd) -> io::Result<()> {
    // SAFETY: all zeroes is a valid socket address, and then names no family.
    let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: points at a live local of the length given.
    check(unsafe { libc::connect(fd, &raw const nobody, length) }).map(drop)
}

/// Whether a descriptor can be read right now.
pub(crate) fn is_readable(descriptor: &impl AsRawFd) -> io::Result<bool> {
    becomes_readable(descriptor, Duration::ZERO)
}

/// Waits until a descriptor can be read or the time is over, to the nanosecond; whether it can.
pub(crate) fn becomes_readable(descriptor: &impl AsRawFd, within: Duration) -> io::Result<bool> {
    let mut polled = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(within.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: within.subsec_nanos().into(),
    };
    // SAFETY: the one entry and the time live through the call, and there is no mask.
    match check(unsafe { libc::ppoll(&raw mut polled, 1, &raw const time, std::ptr::null()) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets an integer socket option.
pub(crate) fn set_option(fd: RawFd, (level, name): (i32, i32), value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: points at a live local of the length given.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Reads an integer socket option.
pub(crate) fn get_option(fd: RawFd, (level, name): (i32, i32)) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into a live local of that size.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value)
}

/// Sets a 64-bit socket option.
pub(crate) fn set_long_option(fd: RawFd, (level, name): (i32, i32), value: u64) -> io::Result<()> {
    let length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: points at a live local of the length given.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// What connect answers on a non-blocking socket (EINPROGRESS).
pub(crate) const IN_PROGRESS: i32 = libc::EINPROGRESS;

/// Whether a connect has only begun, or goes on: what it answers when its time limit is over, and called
/// again.
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR))
}

/// What a connect that took too long would have answered at last.
pub(crate) const TIMED_OUT: i32 = libc::ETIMEDOUT;

/// Level and name of the options that socket2 lacks. Those of UDP are numbered in linux/udp.h.
pub(crate) mod option {
    pub(crate) const IP_TYPE_OF_SERVICE: (i32, i32) = (libc::IPPROTO_IP, libc::IP_TOS);
    pub(crate) const BIND_ADDRESS_NO_PORT: (i32, i32) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    pub(crate) const DONT_ROUTE: (i32, i32) = (libc::SOL_SOCKET, libc::SO_DONTROUTE);
    pub(crate) const RECEIVE_LOW_WATER: (i32, i32) = (libc::SOL_SOCKET, libc::SO_RCVLOWAT);
    pub(crate) const QUICK_ACK: (i32, i32) = (libc::IPPROTO_TCP, libc::TCP_QUICKACK);
    pub(crate) const MAX_PACING_RATE: (i32, i32) = (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE);
    pub(crate) const UNSENT_LOW_WATER: (i32, i32) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    pub(crate) const UDP_SEGMENT: (i32, i32) = (libc::SOL_UDP, 103);
    pub(crate) const UDP_GRO: (i32, i32) = (libc::SOL_UDP, 104);
    pub(crate) const PRIORITY: (i32, i32) = (libc::SOL_SOCKET, libc::SO_PRIORITY);
    pub(crate) const IPV6_TRAFFIC_CLASS: (i32, i32) = (libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    pub(crate) const IP_ERRORS: (i32, i32) = (libc::IPPROTO_IP, libc::IP_RECVERR);
    pub(crate) const IPV6_ERRORS: (i32, i32) = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
}

/// TCP_INFO of a connection; segment size and congestion control are options of their own and left empty.
pub(crate) fn tcp_info(fd: RawFd) -> io::Result<Transport> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into a value of that size, all of whose bit patterns
    // are valid (integers only) and which starts zeroed, so a shorter answer leaves zeroes.
    let info = unsafe {
        check(libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        ))?;
        info.assume_init()
    };
    Ok(Transport {
        retransmits: info.tcpi_total_retrans,
        rtt_us: info.tcpi_rtt,
        segment_bytes: 0,
        congestion_control: String::new(),
        info: TransportInfo {
            rto: info.tcpi_rto,
            ato: info.tcpi_ato,
            pmtu: info.tcpi_pmtu,
            rcv_ssthresh: info.tcpi_rcv_ssthresh,
            rttvar: info.tcpi_rttvar,
            snd_ssthresh: info.tcpi_snd_ssthresh,
            snd_cwnd: info.tcpi_snd_cwnd,
            reordering: info.tcpi_reordering,
        },
    })
}

/// Datagrams that a socket has dropped since it was opened, modulo 2^32: its receive buffer was full, their
/// checksum wrong, or its filter against them (SK_MEMINFO_DROPS of SO_MEMINFO, Linux 4.12). It is the counter
/// that SO_RXQ_OVFL tells of with each datagram.
pub(crate) fn socket_drops(fd: RawFd) -> io::Result<u32> {
    // Of linux/sock_diag.h and asm-generic/socket.h.
    const SK_MEMINFO_DROPS: usize = 8;
    const SO_MEMINFO: libc::c_int = 55;
    let mut counts = [0u32; SK_MEMINFO_DROPS + 1];
    let mut length = size_of_val(&counts) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into a live local of that size, all of whose bit
    // patterns are valid.
    check(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, counts.as_mut_ptr().cast(), &raw mut length)
    })?;
    if length as usize == size_of_val(&counts) {
        Ok(counts[SK_MEMINFO_DROPS])
    } else {
        Err(io::Error::from_raw_os_error(libc::ENODATA))
    }
}

/// Raises the process's own limit on open files to what is needed, as far as the system's limit goes. Where
/// it does not go far enough, opening the files says so.
pub(crate) fn allow_open_files(needed: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get one live local of the right type.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < needed {
            limit.rlim_cur = needed.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Has the kernel end sleeps of the calling thread on time (PR_SET_TIMERSLACK): its default is up to 50
/// microseconds late, for the sake of fewer interrupts.
pub(crate) fn sleep_precisely() {
    // SAFETY: no pointers; a refusal leaves sleeps as they were.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}

/// CPU time of the calling thread so far.
pub(crate) fn thread_cpu() -> ThreadCpu {
    let mut clock = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both calls write one value of the right type; with these constants neither can fail, and a
    // failure would leave the zeroes, which are valid.
    let usage = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut clock);
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    ThreadCpu {
        total: Duration::new(clock.tv_sec.unsigned_abs(), u32::try_from(clock.tv_nsec).unwrap_or(0)),
        user: from_timeval(usage.ru_utime),
        system: from_timeval(usage.ru_stime),
    }
}

fn from_timeval(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_usec * 1000).unwrap_or(0))
}

/// The CPU the calling thread runs on right now.
pub(crate) fn current_cpu() -> Option<usize> {
    // SAFETY: no arguments.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Clock ticks a second, the unit of /proc/stat.
pub fn clock_ticks() -> u32 {
    // SAFETY: no pointers.
    u32::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// The kernel's release, from /proc, which needs no call of ours; empty where /proc is not mounted.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|s| s.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn timeouts_round_up_and_saturate() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_millis(7))), 7);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }

    #[test]
    fn a_signalled_event_is_stop_and_silence_times_out() {
        let (stop, quiet) = (event().unwrap(), event().unwrap());
        let wait = |limit| wait_for(quiet.as_fd(), Readiness::Readable, stop.as_fd(), limit).unwrap();
        assert_eq!(wait(Duration::from_millis(1)), Ready::TimedOut);
        signal_event(stop.as_fd());
        assert_eq!(wait(Duration::from_secs(5)), Ready::Stop);
    }

    #[test]
    fn a_thread_that_survives_broken_pipes_blocks_that_signal_for_itself_alone() {
        let blocked = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap() >> (libc::SIGPIPE - 1) & 1
        };
        let other = std::thread::spawn(move || {
            survive_broken_pipes();
            blocked()
        });
        assert_eq!((other.join().unwrap(), blocked()), (1, 0));
    }

    #[test]
    fn thread_time_grows_with_work() {
        let before = thread_cpu();
        let mut sum = 0u64;
        while thread_cpu().total < before.total + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }
}
