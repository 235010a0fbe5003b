//! What `--ablate` compares: one table, a line for each variant.
//!
//! Only names what to ask for. Whether the kernel, the engine or the test grants it comes out when it is
//! measured.

use ringperf_engine::plan::Without;

use crate::trial::{Args, EngineArg, SendArg, Test};

/// A way to move the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// What the table calls it: the options that ask for the same.
    pub(crate) name: &'static str,
    /// Backend of both ends.
    pub(crate) engine: EngineArg,
    /// What both ends do without.
    pub(crate) without: Without,
    /// How the sender of a TCP stream sends.
    pub(crate) send: SendArg,
    /// The sender of datagrams hands over many at once.
    pub(crate) gso: bool,
    /// Their receiver takes many at once.
    pub(crate) gro: bool,
}

impl Variant {
    /// Its engine with everything, and with nothing that has to be asked for.
    const fn plain(name: &'static str, engine: EngineArg) -> Self {
        Self { name, engine, without: NOTHING, send: SendArg::Auto, gso: false, gro: false }
    }

    /// The options of a run that measures it.
    pub(crate) fn of(&self, args: &Args) -> Args {
        Args {
            engine: self.engine,
            without: Some(self.without),
            send: self.send,
            gso: self.gso,
            gro: self.gro,
            ..args.clone()
        }
    }
}

const NOTHING: Without = Without {
    bundles: false,
    multishot: false,
    buffer_ring: false,
    deferred_task_run: false,
    registered_files: false,
    registered_buffers: false,
    minimum_wait: false,
    shared_segments: false,
    low_water: false,
};
const NO_MARK: Without = Without { low_water: true, ..NOTHING };
const NO_MINIMUM_WAIT: Without = Without { minimum_wait: true, ..NOTHING };
const NO_BUNDLES: Without = Without { bundles: true, ..NOTHING };
const NO_BUFFER_RING: Without = Without { multishot: true, buffer_ring: true, ..NOTHING };

const CLASSIC: Variant = Variant::plain("classic", EngineArg::Classic);
const EPOLL: Variant = Variant::plain("epoll", EngineArg::Epoll);
const URING: Variant = Variant::plain("uring", EngineArg::Uring);

/// What the others are set against.
pub(crate) const BASELINE: &str = URING.name;

/// Variants of a TCP stream.
const TCP: &[Variant] = &[
    CLASSIC,
    EPOLL,
    Variant { name: "epoll --without low-water", without: NO_MARK, ..EPOLL },
    URING,
    Variant { name: "uring --without low-water", without: NO_MARK, ..URING },
    Variant { name: "uring --without bundles", without: NO_BUNDLES, ..URING },
    Variant { name: "uring --without multishot,buffer-ring", without: NO_BUFFER_RING, ..URING },
    Variant { name: "uring --send chain", send: SendArg::Chain, ..URING },
    Variant { name: "uring --send registered", send: SendArg::Registered, ..URING },
    Variant { name: "uring --send bundle", send: SendArg::Bundle, ..URING },
    Variant { name: "uring --send zero-copy", send: SendArg::ZeroCopy, ..URING },
];

/// Variants of datagrams.
const UDP: &[Variant] = &[
    CLASSIC,
    EPOLL,
    URING,
    Variant { name: "uring --without minimum-wait", without: NO_MINIMUM_WAIT, ..URING },
    Variant { name: "uring --gso", gso: true, ..URING },
    Variant { name: "uring --gso --gro", gso: true, gro: true, ..URING },
    Variant { name: "epoll --gso --gro", gso: true, gro: true, ..EPOLL },
];

/// The variants of a test.
pub(crate) fn of(test: Test) -> &'static [Variant] {
    match test {
        Test::TcpMaerts | Test::TcpStream => TCP,
        Test::UdpStream => UDP,
        // Refused before it comes to this: the table is of bytes.
        Test::TcpCrr | Test::TcpRr | Test::UdpRr => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::without;

    /// A name is what a user types after `--engine` to have the same.
    #[test]
    fn names_are_the_options_that_they_stand_for() {
        for test in [Test::TcpMaerts, Test::TcpStream, Test::UdpStream] {
            for variant in of(test) {
                let mut name = variant.engine.word().to_owned();
                let without = without::words(&variant.without);
                if !without.is_empty() {
                    name.push_str(&format!(" --without {}", without.join(",")));
                }
                if variant.send != SendArg::Auto {
                    name.push_str(&format!(" --send {}", variant.send.word()));
                }
                for (asked, option) in [(variant.gso, " --gso"), (variant.gro, " --gro")] {
                    name.push_str(if asked { option } else { "" });
                }
                assert_eq!(variant.name, name);
            }
            assert_eq!(of(test).iter().filter(|variant| variant.name == BASELINE).count(), 1);
        }
        assert_eq!(NOTHING, Without::default());
    }
}
