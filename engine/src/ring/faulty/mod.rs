//! A kernel that fails in every way a kernel may, under the real ring, the real loop and the real flows.
//!
//! Everything above [`super::kernel::Kernel`] runs as it does in a measurement, on a simulated clock, against
//! operations that are taken in part, fall short, are interrupted, end, overtake each other, cannot be
//! cancelled, or never complete. A seed decides all of it, so a failure is repeated by the number that the
//! test prints. Three seeds of four have a bounded number of faults, and then the run has to end well and
//! have counted exactly what went; in the fourth something goes wrong for good, and the run has to end all
//! the same, leaving to the kernel what the kernel does not give back.
//!
//! What it does not play: the setup and the self-test, sockets and their options, and the connections that
//! come and go.

mod chance;
mod lending;
mod memory;
mod operations;
mod peer;
mod runs;
mod stage;
mod world;
