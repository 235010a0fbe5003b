//! What a client asks of a netserver, by whichever family of messages.

use crate::classic_test::ClassicTest;
use crate::fault::Fault;
use crate::frame::Frame;
use crate::omni_test::{OmniTest, cpu_word};
use crate::remote::RemoteOffer;
use crate::spec::Test;

/// A test as asked of a netserver.
#[derive(Clone, Debug, PartialEq)]
pub enum TestRequest {
    /// By a family of messages of its own.
    Classic(ClassicTest),
    /// By DO_OMNI.
    Omni(OmniTest),
}

impl TestRequest {
    /// The test.
    pub const fn test(&self) -> Test {
        match self {
            Self::Classic(test) => test.test,
            Self::Omni(test) => test.test,
        }
    }

    /// The same test once more on the same connection, as netperf repeats it. Whatever changes at the client,
    /// such as [`OmniTest::local`], is for the caller to set.
    pub fn next_iteration(&self, offer: &RemoteOffer) -> Self {
        match self {
            Self::Classic(test) => Self::Classic(test.next_iteration(offer)),
            Self::Omni(test) => Self::Omni(test.next_iteration(offer)),
        }
    }

    /// Whether the server shall measure CPU.
    pub(crate) const fn measures_cpu(&self) -> bool {
        match self {
            Self::Classic(test) => test.measure_cpu > 0,
            Self::Omni(test) => test.measure_cpu,
        }
    }

    /// The name of the request in netperf's tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Classic(test) => test.request_name(),
            Self::Omni(_) => "DO_OMNI",
        }
    }

    /// The CPU word of the header of every frame of this test.
    pub(crate) fn header_cpu(&self) -> Result<i32, Fault> {
        cpu_word(match self {
            Self::Classic(test) => test.cpu,
            Self::Omni(test) => test.cpu,
        })
    }

    /// The request.
    ///
    /// # Errors
    /// [`Fault::Misuse`] for what the wire cannot hold.
    pub(crate) fn frame(&self) -> Result<Frame, Fault> {
        match self {
            Self::Classic(test) => test.request(),
            Self::Omni(test) => test.request(),
        }
    }
}

impl From<ClassicTest> for TestRequest {
    fn from(test: ClassicTest) -> Self {
        Self::Classic(test)
    }
}

impl From<OmniTest> for TestRequest {
    fn from(test: OmniTest) -> Self {
        Self::Omni(test)
    }
}
