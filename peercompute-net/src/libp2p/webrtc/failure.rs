use peercompute_proto::v1::SignalRefusalReason;
use thiserror::Error;

use super::description::InvalidDescription;
use crate::{DialError, OpenError, PeerId, ReadError};

/// Why no connection over WebRTC came to be.
#[derive(Clone, Debug, Error)]
pub(super) enum Failure {
    /// Nothing here speaks it.
    #[cfg(not(any(target_arch = "wasm32", feature = "webrtc")))]
    #[error("there is no WebRTC here: {reason}")]
    Unsupported { reason: String },
    #[error("the peer was not asked: {0}")]
    Open(#[from] OpenError),
    #[error("the talk with the peer broke: {reason}")]
    Broken { reason: String },
    #[error("the peer refuses: {}", said(*.reason))]
    Refused { reason: SignalRefusalReason },
    #[error("the peer's description of itself is not taken: {0}")]
    Invalid(#[from] InvalidDescription),
    #[error("{what} failed: {reason}")]
    Engine { what: &'static str, reason: String },
    /// The candidates do not reach each other, as behind strict NATs or firewalls that let no UDP through.
    #[error("no way over UDP was found between the two ends")]
    NoPath,
    #[error("the peer's own offer came first")]
    Superseded,
    #[error("it took too long")]
    TimedOut,
    #[error("the connection was made and not taken: {0}")]
    Dial(#[from] DialError),
    #[error("the connection to {peer} was made and not taken")]
    NotTaken { peer: PeerId },
}

impl Failure {
    /// Whether the peer's own offer has taken the place of this end's.
    pub(super) fn is_crossing(&self) -> bool {
        let reason = SignalRefusalReason::Crossed;
        matches!(self, Self::Superseded)
            || matches!(self, Self::Refused { reason: it } if *it == reason)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let reason = error.to_string();
        Self::Broken { reason }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let reason = error.to_string();
        Self::Broken { reason }
    }
}

fn said(reason: SignalRefusalReason) -> &'static str {
    match reason {
        SignalRefusalReason::Busy => "it makes too many connections at once",
        SignalRefusalReason::Invalid => "it takes the offer for wrong",
        SignalRefusalReason::Unsupported => "it has no WebRTC",
        SignalRefusalReason::Crossed => "its own offer counts",
        SignalRefusalReason::Unspecified => "it does not say why",
    }
}
