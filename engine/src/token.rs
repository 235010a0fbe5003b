//! The 64-bit name of an operation, carried through the kernel and back.
//!
//! Never a pointer: a completion is looked up by index, so a stale one can be told and cannot be followed.

/// What kind of operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Accept,
    Cancel,
    Close,
    Connect,
    /// A send that completes only if it does not go whole.
    Offer,
    Receive,
    Send,
    Stop,
    /// A number that no operation of ours carries.
    Unknown,
}

/// Kind in the top byte, the flow in the next three, index of the operation among those of its kind and flow
/// below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) flow: u32,
    pub(crate) index: u32,
}

/// Flows that a token can tell apart.
pub(crate) const FLOWS_MAX: u32 = 1 << 24;

impl Token {
    /// Those of the first flow: a flow knows no other, and the worker adds which one it is.
    pub(crate) const ACCEPT: Self = Self { kind: Kind::Accept, flow: 0, index: 0 };
    pub(crate) const CANCEL: Self = Self { kind: Kind::Cancel, flow: 0, index: 0 };
    pub(crate) const CLOSE: Self = Self { kind: Kind::Close, flow: 0, index: 0 };
    pub(crate) const CONNECT: Self = Self { kind: Kind::Connect, flow: 0, index: 0 };
    pub(crate) const RECEIVE: Self = Self { kind: Kind::Receive, flow: 0, index: 0 };
    pub(crate) const STOP: Self = Self { kind: Kind::Stop, flow: 0, index: 0 };

    pub(crate) fn send(index: u32) -> Self {
        Self { kind: Kind::Send, flow: 0, index }
    }

    pub(crate) fn offer(index: u32) -> Self {
        Self { kind: Kind::Offer, flow: 0, index }
    }

    /// The same operation of another flow.
    pub(crate) fn of(self, flow: u32) -> Self {
        Self { flow, ..self }
    }

    pub(crate) fn to_bits(self) -> u64 {
        let kind: u64 = match self.kind {
            Kind::Unknown => 0,
            Kind::Cancel => 1,
            Kind::Receive => 2,
            Kind::Send => 3,
            Kind::Stop => 4,
            Kind::Offer => 5,
            Kind::Accept => 6,
            Kind::Close => 7,
            Kind::Connect => 8,
        };
        kind << 56 | u64::from(self.flow % FLOWS_MAX) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let kind = match bits >> 56 {
            1 => Kind::Cancel,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Stop,
            5 => Kind::Offer,
            6 => Kind::Accept,
            7 => Kind::Close,
            8 => Kind::Connect,
            _ => Kind::Unknown,
        };
        let flow = (bits >> 32) as u32 % FLOWS_MAX;
        Self { kind, flow, index: (bits & u64::from(u32::MAX)) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        for kind in [
            Kind::Accept,
            Kind::Cancel,
            Kind::Close,
            Kind::Connect,
            Kind::Offer,
            Kind::Receive,
            Kind::Send,
            Kind::Stop,
            Kind::Unknown,
        ] {
            for flow in [0, 1, 9_999, FLOWS_MAX - 1] {
                for index in [0, 1, 255, 1 << 24, u32::MAX] {
                    let token = Token { kind, flow, index };
                    assert_eq!(Token::from_bits(token.to_bits()), token);
                }
            }
        }
        assert_eq!(Token::from_bits(u64::MAX).kind, Kind::Unknown);
    }
}
