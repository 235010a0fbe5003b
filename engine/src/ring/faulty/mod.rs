//! A kernel that fails in every way a kernel may, under the real ring, the real loop and the real flows.
//!
//! Everything above [`super::kernel::Kernel`] runs as it does in a measurement, on a simulated clock, against
//! operations that are taken in part, fall short, are interrupted, end, overtake each other, cannot be
//! cancelled, or never complete. A seed decides all of it, so a failure is repeated by the number that the
//! test prints. Three seeds of four have a bounded number of faults, and then the run has to end well and
//! have counted exactly what went; in the fourth something goes wrong for good, and the run has to end all
//! the same, leaving to the kernel what the kernel does not give back.
//!
//! What it does not play: the setup and the self-test, sockets and their options, the connections that come
//! and go, buffers that a kernel skips, a chain that a kernel cuts in two, and a second completion of an
//! operation that there was.
//!
//! That it finds what it is for was tried by breaking the engine. A receive without F_MORE taken for one that
//! goes on, a buffer handed back twice, a short send counted as whole, and a zero-copy send taken for over with
//! its result each fail by seed 1 at the latest; a completion of nothing that is counted off, by seed 2; memory
//! under way that is unmapped, by seed 3; an offer left in the queue, by seed 32. Of the defects that it found
//! in the engine itself, the rarest took 1582 seeds; they are the tests `mended`.

mod chance;
mod lending;
mod memory;
mod operations;
mod peer;
mod runs;
mod stage;
mod world;
