use std::fmt;

use bytes::Bytes;

use crate::limits::{HASH_SIZE, MAX_NAME};

/// Which room of which game traffic belongs to. Two sessions with different scopes never see each other's.
///
/// It is the BLAKE3 hash (plain mode, 32 bytes) of
///
/// | bytes | what |
/// |---|---|
/// | 19 | the label `peercompute/scope/1` in ASCII |
/// | 1 | the length of the game's name in bytes, 0 to 64 |
/// | that many | the game's name in UTF-8, as given, without normalisation |
/// | 1 | the length of the room's name in bytes, 0 to 64 |
/// | that many | the room's name in UTF-8, as given |
///
/// so anybody can compute it in any language; `golden/scope.json` has examples. A scope is an address, not a secret: who knows the names knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope([u8; HASH_SIZE]);

/// Why there is no [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// A name is longer than [`MAX_NAME`].
    #[error("the {what}'s name has {size} bytes; it may have {MAX_NAME} at most")]
    NameTooLong {
        /// `game` or `room`.
        what: &'static str,
        /// The name's length in bytes.
        size: usize,
    },
    /// The bytes of a scope that somebody sent are not 32.
    #[error("a scope has {HASH_SIZE} bytes, this one {size}")]
    Length {
        /// How many there are.
        size: usize,
    },
}

impl Scope {
    const LABEL: &[u8] = b"peercompute/scope/1";

    /// The scope of `room` in `game`, names of at most [`MAX_NAME`] bytes each.
    ///
    /// # Errors
    ///
    /// [`ScopeError::NameTooLong`].
    pub fn new(game: &str, room: &str) -> Result<Self, ScopeError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(Self::LABEL);
        for (what, name) in [("game", game), ("room", room)] {
            let size = name.len();
            let length = u8::try_from(size)
                .ok()
                .filter(|_| size <= MAX_NAME)
                .ok_or(ScopeError::NameTooLong { what, size })?;
            hasher.update(&[length]);
            hasher.update(name.as_bytes());
        }
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// The 32 bytes, as they travel.
    pub fn as_bytes(&self) -> &[u8; HASH_SIZE] {
        &self.0
    }

    /// The 32 bytes as a message's field wants them.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl From<[u8; HASH_SIZE]> for Scope {
    fn from(bytes: [u8; HASH_SIZE]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Scope {
    type Error = ScopeError;

    fn try_from(bytes: &[u8]) -> Result<Self, ScopeError> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| ScopeError::Length { size: bytes.len() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}
