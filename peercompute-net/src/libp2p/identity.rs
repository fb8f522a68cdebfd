#[cfg(not(target_arch = "wasm32"))]
mod file;

use std::fmt;

use libp2p_identity::{Keypair, PublicKey};
use peercompute_rt::Runtime;
use thiserror::Error;

use crate::PeerId;

/// Who a node is: an Ed25519 key pair. The [`PeerId`] derives from its public half.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// A new identity from the runtime's randomness.
    pub fn generate(runtime: &Runtime) -> Self {
        let mut seed = [0; 32];
        runtime.fill_random(&mut seed);
        Self(Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an Ed25519 seed"))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave: libp2p's protobuf encoding of a private key, the same that other libp2p implementations store.
    ///
    /// # Errors
    ///
    /// [`InvalidIdentity`] when `bytes` are anything else, or a key of another kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidIdentity> {
        let invalid = |reason: String| InvalidIdentity { reason };
        if bytes.is_empty() {
            return Err(invalid("it is empty".into()));
        }
        let keypair = Keypair::from_protobuf_encoding(bytes).map_err(|error| {
            let reason = error.to_string();
            // libp2p speaks of its own build where it has read the name of another kind.
            let other_kind = reason.contains("cargo feature");
            invalid(if other_kind {
                "it seems to be a key of another kind".into()
            } else {
                reason
            })
        })?;
        Ok(Self(keypair))
    }

    /// The private key in libp2p's protobuf encoding. Keep it secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .to_protobuf_encoding()
            .expect("an Ed25519 key has an encoding")
    }

    /// The peer that this identity is.
    pub fn peer(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.0.public()
    }
}

impl fmt::Debug for Identity {
    /// Never shows the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.peer()).finish()
    }
}

/// Bytes that are no private key of a kind that is supported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not an Ed25519 private key in libp2p's encoding: {reason}")]
#[non_exhaustive]
pub struct InvalidIdentity {
    /// What is wrong with them.
    pub reason: String,
}

/// Why an identity was not read from a file, or written to one.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// The file cannot be read.
    #[error("the identity file {path} cannot be read: {error}; check that it exists and belongs to this user", path = path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is something else than a file: a folder, a pipe, a device.
    #[error("{path} is no file, so it cannot hold an identity; name a file, or one that does not exist yet to get a new identity", path = path.display())]
    NotAFile {
        /// What is no file.
        path: std::path::PathBuf,
    },
    /// The file holds something else.
    #[error("the identity file {path} is damaged: {error}; restore it from a copy, or move it away to get a new identity", path = path.display())]
    Invalid {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        error: InvalidIdentity,
    },
    /// The file cannot be written.
    #[error("the identity file {path} cannot be written: {error}; check that its folder exists and belongs to this user", path = path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::generate(&peercompute_rt::Simulation::new(7).runtime())
    }

    #[test]
    fn an_identity_survives_its_encoding() {
        let identity = identity();
        let read = Identity::from_bytes(&identity.to_bytes()).unwrap();
        assert_eq!(read.peer(), identity.peer());
    }

    #[test]
    fn no_cut_or_garbled_encoding_is_taken_for_a_key() {
        let bytes = identity().to_bytes();
        for length in 0..bytes.len() {
            assert!(
                Identity::from_bytes(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
        assert!(Identity::from_bytes(b"garbage").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_in_terms_of_the_key() {
        let reason = |bytes: &[u8]| Identity::from_bytes(bytes).unwrap_err().reason;
        assert_eq!(reason(b""), "it is empty");
        // A key of kind 0, which is RSA.
        assert_eq!(
            reason(&[8, 0, 18, 1, 7]),
            "it seems to be a key of another kind"
        );
    }

    #[test]
    fn the_private_key_is_not_shown() {
        let identity = identity();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity({:?})", identity.peer())
        );
    }
}
