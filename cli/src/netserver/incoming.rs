//! What a control connection brings: one task reads, the session takes frames.
//!
//! The reading task never stops in the middle of a read because somebody lost patience: a timed-out wait
//! drops nothing but its place at the channel. What the peer may pile up is bounded by the channel and the
//! frame reader; during a test, when nothing is taken out, it is bounded by the frame reader.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringperf_proto::{Fault, Frame, FrameReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::log::reason;
use super::transport::Transport;

/// Bytes asked for at a time: three frames.
const READ_BYTES: usize = 2048;

/// Reads that may wait for the session. With a frame reader's room on top, a peer that sends on and on during
/// a test is slowed by its own socket buffer.
const READS_WAITING: usize = 2;

/// How long the reading task may take to notice that its socket is shut down.
const FINISH: Duration = Duration::from_secs(1);

/// Why there will be no further frame.
#[derive(Clone, Debug)]
pub(super) enum Never {
    /// The peer ended the stream: between frames, or where it should not have.
    Ended { cut_short: Option<Fault> },
    /// The connection failed, with this text.
    Failed(String),
    /// More came than is taken in while nobody takes frames out, so that its end would not be seen.
    Flooded,
}

enum Chunk {
    Bytes(Vec<u8>),
    End,
    Failed(String),
}

/// The receiving half of a control connection.
pub(super) struct Incoming {
    chunks: mpsc::Receiver<Chunk>,
    reader: FrameReader,
    /// Arrived, but more than the frame reader takes before a frame is taken out of it.
    held: Vec<u8>,
    /// Taken out of the frame reader when somebody asked whether a frame has begun.
    whole: Option<Frame>,
    /// `Some` once nothing more can come: in order, or because the connection failed.
    ended: Option<Result<(), String>>,
    task: JoinHandle<()>,
}

impl Incoming {
    /// Starts reading.
    pub(super) fn new<T: Transport>(stream: Rc<T>) -> Self {
        let (sender, chunks) = mpsc::channel(READS_WAITING);
        let task = tokio::task::spawn_local(read_on(stream, sender));
        Self { chunks, reader: FrameReader::default(), held: Vec::new(), whole: None, ended: None, task }
    }

    /// What to say of a stream that stopped here; `None` between frames.
    pub(super) fn cut_short(&self) -> Option<Fault> {
        self.reader.cut_short()
    }

    /// Waits until at least one byte of a frame is there. May be dropped and called again.
    pub(super) async fn started(&mut self) -> Result<(), Never> {
        loop {
            self.refill();
            if self.whole.is_none() {
                self.whole = self.reader.next();
            }
            if self.whole.is_some() || self.reader.pending() > 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Waits for a whole frame. May be dropped and called again.
    pub(super) async fn frame(&mut self) -> Result<Frame, Never> {
        loop {
            self.refill();
            if let Some(frame) = self.whole.take().or_else(|| self.reader.next()) {
                return Ok(frame);
            }
            self.more().await?;
        }
    }

    /// Resolves when nothing more can come, whole frames that wait left aside; takes in what arrives
    /// meanwhile. May be dropped and called again.
    pub(super) async fn never(&mut self) -> Never {
        while self.held.is_empty() {
            if let Err(never) = self.more().await {
                return never;
            }
        }
        Never::Flooded
    }

    /// Throws away what comes until nothing more can.
    pub(super) async fn drain(&mut self) {
        self.held.clear();
        while self.ended.is_none() {
            #[expect(clippy::disallowed_methods, reason = "the session waits for this under a timeout")]
            match self.chunks.recv().await {
                Some(Chunk::Bytes(_)) => {}
                Some(Chunk::End | Chunk::Failed(_)) | None => self.ended = Some(Ok(())),
            }
        }
    }

    /// Waits for the reading task, whose socket the caller has shut down both ways.
    pub(super) async fn finish(self) {
        drop(self.chunks);
        if timeout(FINISH, self.task).await.is_err() {
            tracing::error!("BUG: a read did not end with its socket");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the session waits for this under its deadlines")]
    async fn more(&mut self) -> Result<(), Never> {
        if self.ended.is_none() {
            self.ended = match self.chunks.recv().await {
                Some(Chunk::Bytes(bytes)) => {
                    self.held.extend_from_slice(&bytes);
                    self.refill();
                    return Ok(());
                }
                Some(Chunk::Failed(error)) => Some(Err(error)),
                Some(Chunk::End) | None => Some(Ok(())),
            };
        }
        match &self.ended {
            Some(Err(error)) => Err(Never::Failed(error.clone())),
            Some(Ok(())) | None => Err(Never::Ended { cut_short: self.cut_short() }),
        }
    }

    /// Moves what is held into the frame reader, as far as it has room.
    fn refill(&mut self) {
        let taken = self.reader.push(&self.held).min(self.held.len());
        self.held.drain(..taken);
    }
}

async fn read_on<T: Transport>(stream: Rc<T>, chunks: mpsc::Sender<Chunk>) {
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let (result, returned) = stream.read(buffer).await;
        buffer = returned;
        let chunk = match result {
            Ok(0) => Chunk::End,
            Ok(count) => Chunk::Bytes(buffer.get(..count).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Chunk::Failed(reason(&error)),
        };
        let last = !matches!(chunk, Chunk::Bytes(_));
        if chunks.send(chunk).await.is_err() || last {
            return;
        }
    }
}
