//! What a client sees that gets no session: an errno, and an orderly close.
//!
//! Why it gets none is [`super::accept`]'s. No more connections than [`WAITING_MAX`] are waited for here,
//! none for longer than a second for each step; what is beyond is closed without a word.

use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringperf_proto::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::incoming::Incoming;
use super::transport::Transport;

/// Connections at once whose clients may take their time to hear us out.
pub(super) const WAITING_MAX: usize = 64;

/// How long the answer may take to go, and the client's request and its end to come.
const STEP: Duration = Duration::from_secs(1);

/// The door for those who get no session.
pub(super) struct Door {
    waiting: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// A place to be told at; `None`: too many are being told already.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }
}

/// Tells a client why it gets no session, and closes in order.
///
/// The answer goes out before there is a request: every client reads one once it has asked. Then the request
/// is read and thrown away, for a connection closed with data unread is reset, and the reset would overtake
/// the answer.
pub(super) async fn tell<T: Transport>(stream: T, errno: i32) {
    let stream = Rc::new(stream);
    // No client looks at the type of an answer that is an error.
    let answer = Frame::response(0, errno).as_bytes().to_vec();
    let mut incoming = Incoming::new(Rc::clone(&stream));
    let told = timeout(STEP, stream.write_all(answer)).await.is_ok_and(|written| written.is_ok());
    if told && stream.shutdown(Shutdown::Write).is_ok() {
        // Whether it ends or not, it has had its time.
        let _ = timeout(STEP, incoming.drain()).await;
    }
    // The client may have closed already; then there is nothing left to shut down.
    let _ = stream.shutdown(Shutdown::Both);
    incoming.finish().await;
}
