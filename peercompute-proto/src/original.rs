use std::ops::Deref;

use bytes::Bytes;

use crate::{DecodeError, Wire, decode};

/// A decoded message together with the bytes that it came in, for those who read a message and then pass it on.
///
/// Encoding the decoded message again would lose every field that this version does not know. So what is passed on is always [`bytes`](Self::bytes). The
/// payload of an [`Envelope`](crate::v1::Envelope) needs no such care, because it is never decoded with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Original<M> {
    message: M,
    bytes: Bytes,
}

impl<M: Wire> Original<M> {
    /// Decodes `bytes` as [`decode`] does, and keeps them.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            message: decode(bytes.clone())?,
            bytes,
        })
    }

    /// What was received, without the length before it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message and the bytes.
    pub fn into_parts(self) -> (M, Bytes) {
        (self.message, self.bytes)
    }
}

impl<M> Deref for Original<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.message
    }
}
