//! The control plane's two ways to wait for control connections: io_uring where it is granted, epoll where
//! not.
//!
//! Everything above is generic over [`Transport`] and the same for both. Buffers are handed over and handed
//! back, because io_uring has to own them while an operation is in flight. Data connections never come here.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// How long the self-test of io_uring may take; it moves one byte between two ends of one socket pair.
const SELF_TEST: Duration = Duration::from_secs(1);

/// One control connection. Every call can be made while others are pending.
pub(super) trait Transport: Sized + 'static {
    /// Takes over a connection. Must be called on the control plane.
    ///
    /// # Errors
    /// The kernel's, where the socket cannot be made ready.
    fn adopt(stream: TcpStream) -> io::Result<Self>;
    /// Reads what has arrived, at most the buffer's length; 0 is the end of the stream. The buffer comes
    /// back.
    fn read(&self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
    /// Writes all of it.
    fn write_all(&self, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>>;
    /// Shuts one or both directions down; with both, pending calls return.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// To be awaited beside everything else; never resolves.
    fn keep_going() -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// How long what a ring was not rid of at once may wait for the next try.
const TRY_AGAIN: Duration = Duration::from_millis(500);

impl Transport for tokio_uring::net::TcpStream {
    // With O_NONBLOCK the ring would report EAGAIN instead of waiting.
    fn adopt(stream: TcpStream) -> io::Result<Self> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(Self::from_std(stream))
    }

    async fn read(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        Self::read(self, buffer).await
    }

    async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()> {
        Self::write_all(self, bytes).await.0
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Self::shutdown(self, how)
    }

    // Operations go to the kernel whenever the control plane falls asleep. Where the kernel is short of
    // memory just then (EAGAIN), they stay behind until the next time, which nothing else need bring about.
    async fn keep_going() {
        loop {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

impl Transport for TcpStream {
    fn adopt(stream: TcpStream) -> io::Result<Self> {
        Ok(stream)
    }

    async fn read(&self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        loop {
            if let Err(error) = self.readable().await {
                return (Err(error), buffer);
            }
            match self.try_read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return (result, buffer),
            }
        }
    }

    async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.writable().await?;
            match self.try_write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(self).shutdown(how)
    }
}

/// A runtime for the control plane, on the calling thread.
pub(super) enum ControlPlane {
    /// tokio on epoll.
    Epoll(tokio::runtime::Runtime, LocalSet),
    /// tokio-uring.
    Uring(tokio_uring::Runtime),
}

impl ControlPlane {
    /// On io_uring.
    ///
    /// # Errors
    /// The kernel's where it refuses a ring, or a ring that is granted does not move a byte in time.
    pub(super) fn uring() -> io::Result<Self> {
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        let moved = runtime.block_on(async {
            let moved = tokio::time::timeout(SELF_TEST, move_one_byte()).await;
            moved.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        });
        match moved {
            Ok(()) => Ok(Self::Uring(runtime)),
            Err(error) => {
                // To drop it would wait for what is under way, and panic where the kernel cannot be entered.
                std::mem::forget(runtime);
                Err(error)
            }
        }
    }

    /// On epoll.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn epoll() -> io::Result<Self> {
        let (runtime, tasks) = epoll_runtime()?;
        Ok(Self::Epoll(runtime, tasks))
    }
}

/// tokio on epoll, on the calling thread.
///
/// # Errors
/// The kernel's.
pub(super) fn epoll_runtime() -> io::Result<(tokio::runtime::Runtime, LocalSet)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((runtime, LocalSet::new()))
}

/// Some sandboxes grant a ring that then completes nothing; the first client should not be the one to find
/// out.
async fn move_one_byte() -> io::Result<()> {
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    let near = tokio_uring::net::UnixStream::from_std(near);
    let far = tokio_uring::net::UnixStream::from_std(far);
    near.write_all(vec![1_u8]).await.0?;
    match far.read(vec![0_u8; 1]).await {
        (Ok(1), byte) if byte == [1] => Ok(()),
        (Ok(_), _) => Err(ErrorKind::InvalidData.into()),
        (Err(error), _) => Err(error),
    }
}
