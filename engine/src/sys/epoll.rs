//! An epoll set, waited for to the nanosecond where the kernel can.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{check, milliseconds};

/// An epoll instance.
pub(crate) struct Epoll {
    fd: OwnedFd,
    /// The kernel, or what guards it, knows no waits to the nanosecond (epoll_pwait2, Linux 5.11).
    coarse: bool,
}

/// Readiness reported by [`Epoll::wait`]: the number a descriptor was added under, and whether it can be read
/// or written (errors count as both, so that the next call fetches them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// Most events one [`Epoll::wait`] fetches.
pub(crate) const EVENTS_MAX: usize = 64;

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor it returns is ours alone.
        unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            Ok(Self { fd: OwnedFd::from_raw_fd(fd), coarse: false })
        }
    }

    /// Adds a descriptor under a number.
    pub(crate) fn add(&self, fd: RawFd, id: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, id, read, write)
    }

    /// Changes what a descriptor is watched for.
    pub(crate) fn modify(&self, fd: RawFd, id: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, id, read, write)
    }

    /// Takes a descriptor out.
    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, false, false)
    }

    fn control(&self, call: libc::c_int, fd: RawFd, id: u64, read: bool, write: bool) -> io::Result<()> {
        let mut events = 0;
        if read {
            events |= libc::EPOLLIN as u32;
        }
        if write {
            events |= libc::EPOLLOUT as u32;
        }
        let mut event = libc::epoll_event { events, u64: id };
        // SAFETY: the event lives through the call; a wrong descriptor is an error, not undefined.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), call, fd, &raw mut event) }).map(drop)
    }

    /// Waits for events; an interrupted wait returns none.
    pub(crate) fn wait(
        &mut self,
        into: &mut [Event; EVENTS_MAX],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut raw = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let mut result = if self.coarse {
            self.wait_coarsely(&mut raw, timeout)
        } else {
            self.wait_finely(&mut raw, timeout)
        };
        if !self.coarse
            && let Err(error) = &result
            && matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
        {
            self.coarse = true;
            result = self.wait_coarsely(&mut raw, timeout);
        }
        let count = match result {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let either = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        for (event, raw) in into.iter_mut().zip(&raw).take(count) {
            let bits = raw.events;
            *event = Event {
                id: raw.u64,
                readable: bits & (libc::EPOLLIN as u32 | either) != 0,
                writable: bits & (libc::EPOLLOUT as u32 | either) != 0,
            };
        }
        Ok(count)
    }

    /// To the nanosecond. A system call without a wrapper in every libc, and with the same time on all
    /// machines.
    fn wait_finely(
        &self,
        raw: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<libc::c_int> {
        let time = timeout.map(KernelTime::of);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (epoll, most) = (self.fd.as_raw_fd(), raw.len() as libc::c_int);
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: the array and the time live through the call, the length is that of the array, and without
        // a mask its size means nothing.
        let result = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, epoll, raw.as_mut_ptr(), most, time, no_mask, 0usize)
        };
        check(libc::c_int::try_from(result).unwrap_or(-1))
    }

    /// To the millisecond.
    fn wait_coarsely(
        &self,
        raw: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<libc::c_int> {
        let (epoll, most) = (self.fd.as_raw_fd(), raw.len() as libc::c_int);
        // SAFETY: the array lives through the call and its length is the one given.
        check(unsafe { libc::epoll_wait(epoll, raw.as_mut_ptr(), most, milliseconds(timeout)) })
    }
}

/// A time as the kernel takes it, whatever the libc's own type looks like (struct __kernel_timespec).
#[repr(C)]
struct KernelTime {
    seconds: i64,
    nanoseconds: i64,
}

impl KernelTime {
    fn of(time: Duration) -> Self {
        Self {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(time.subsec_nanos()),
        }
    }
}
