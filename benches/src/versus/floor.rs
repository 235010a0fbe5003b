//! The copy floor: the least that receiving a TCP stream through a slow link costs.
//!
//! A receiver that does nothing but block in recv on a socket whose low-water mark is fixed, and a sender for
//! it: no control connection, no clock, no record. No measuring tool can cost much less, because what is left
//! is the copy out of the kernel and a wake-up for each quarter of a mebibyte.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::set_low_water;

/// The first word of a copy of this program that receives: then the address to listen on.
pub(super) const RECEIVE: &str = "--floor-receive";
/// The first word of one that sends: then the address to connect to, and seconds.
pub(super) const SEND: &str = "--floor-send";

/// Bytes that have to be there before the receiver is woken, and that one read takes.
const MARK_BYTES: u32 = 256 << 10;
/// Bytes of a page of memory.
const PAGE_BYTES: usize = 4096;
/// Bytes of a write.
const MESSAGE_BYTES: usize = 128 << 10;

/// The copy's part. Prints `KEY=VALUE` lines.
///
/// # Errors
/// The kernel's; words that make no sense.
pub(super) fn run(role: &str, words: &[OsString]) -> io::Result<()> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str());
    let address = word(0).ok_or_else(|| io::Error::other("no address"))?;
    let mut out = io::stdout().lock();
    if role == RECEIVE {
        let (bytes, reads) = receive(address)?;
        writeln!(out, "bytes={bytes}\nreads={reads}")
    } else {
        let seconds = word(1).and_then(|word| word.parse().ok());
        let seconds: u64 = seconds.ok_or_else(|| io::Error::other("no seconds"))?;
        let (bytes, elapsed) = send(address, Duration::from_secs(seconds))?;
        writeln!(out, "bytes={bytes}\nseconds={:.6}", elapsed.as_secs_f64())
    }
}

/// The bytes of one connection and the reads that they took.
fn receive(address: &str) -> io::Result<(u64, u64)> {
    let (mut stream, _) = TcpListener::bind(address)?.accept()?;
    set_low_water(&stream, MARK_BYTES)?;
    // Written to and on a page's edge: the copy into memory as the allocator gives it, 16 bytes behind one,
    // took up to twice as long.
    let mut memory = vec![7; MARK_BYTES as usize + PAGE_BYTES];
    let edge = memory.as_ptr().align_offset(PAGE_BYTES);
    let buffer = memory.get_mut(edge..edge + MARK_BYTES as usize);
    let buffer = buffer.ok_or_else(|| io::Error::other("no page begins in the memory"))?;
    let (mut bytes, mut reads) = (0, 0);
    loop {
        let taken = stream.read(buffer)?;
        if taken == 0 {
            return Ok((bytes, reads));
        }
        bytes += taken as u64;
        reads += 1;
    }
}

/// The bytes sent, and the time until the receiver had them all and had closed its side.
fn send(address: &str, time: Duration) -> io::Result<(u64, Duration)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    let message = vec![7; MESSAGE_BYTES];
    let mut bytes = 0;
    while start.elapsed() < time {
        stream.write_all(&message)?;
        bytes += message.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_exact(&mut [0; 1]).map_or_else(
        |error| if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) },
        Ok,
    )?;
    Ok((bytes, start.elapsed()))
}
