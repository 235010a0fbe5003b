//! Proof that a client knows the passphrase, which never crosses the network.
//!
//! ```text
//! client                             server
//! CHALLENGE             --------->
//!                       <---------   a nonce that nobody has seen before
//! PROVE, with a proof   --------->
//!                       <---------   errno 0; or EACCES, and the connection ends
//! ```
//!
//! The proof is HMAC-SHA256 under the passphrase of [`LABEL`], the nonce and the bytes of the request that
//! carries it, the proof itself as zeroes. One that is shown again, on this connection or on another, answers
//! a nonce that is gone; one that is cut short or made of what the server sent is none. Where random numbers
//! come from is for whoever owns the connection.
//!
//! It is the client alone that is proven, and at the beginning alone: what follows on the connection is as
//! open to whoever sits in its path as it is without a passphrase, and who has seen a nonce and its proof can
//! try passphrases on them at leisure. So it should be a long one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::frame::Frame;
use crate::native::{NativeProof, verb};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// What a proof begins with, so that nothing else that is ever computed under a passphrase is one.
pub const LABEL: &[u8] = b"ringperf: the client knows the passphrase, 4";

/// A number that is used once: it cannot be copied, and whoever judges a proof by it uses it up.
pub struct Nonce([u8; NONCE_BYTES]);

impl Nonce {
    /// From these bytes, which have to be unpredictable and new.
    pub const fn new(random: [u8; NONCE_BYTES]) -> Self {
        Self(random)
    }

    /// The bytes, as they are sent.
    pub(crate) const fn bytes(&self) -> [u8; NONCE_BYTES] {
        self.0
    }

    /// Whether `request` proves to a server that knows this passphrase that its sender does. The time taken
    /// does not depend on where a wrong proof differs from the right one.
    pub(crate) fn judge(self, request: &Frame, passphrase: &[u8]) -> bool {
        let shown = NativeProof::decode(request).proof;
        mac(&self.0, request, passphrase).is_some_and(|mac| mac.verify_slice(&shown).is_ok())
    }
}

/// The request that proves to the server of this nonce that its sender knows the passphrase.
pub(crate) fn proof_request(nonce: &[u8; NONCE_BYTES], passphrase: &[u8]) -> Option<Frame> {
    let mut request = crate::client::native_request(verb::PROVE);
    let proof = mac(nonce, &request, passphrase)?.finalize().into_bytes().into();
    NativeProof { proof }.encode(&mut request);
    Some(request)
}

/// What a proof has to be. HMAC takes keys of any length, so there always is one.
fn mac(nonce: &[u8; NONCE_BYTES], request: &Frame, passphrase: &[u8]) -> Option<Hmac<Sha256>> {
    let mut unproven = request.clone();
    NativeProof::default().encode(&mut unproven);
    let mut mac = Hmac::<Sha256>::new_from_slice(passphrase).ok()?;
    mac.update(LABEL);
    mac.update(nonce);
    mac.update(unproven.as_bytes());
    Some(mac)
}
