//! No WebRTC: the program was built without the feature `webrtc`.

use peercompute_rt::Runtime;

use super::{agent::Tools, channel::ByteChannel, description::Description, failure::Failure};
use crate::PeerId;

pub(super) fn is_supported() -> bool {
    false
}

/// A connection that is being made.
pub(super) struct Attempt;

impl Attempt {
    pub(super) async fn offer(_: &Tools, _: PeerId) -> Result<(Self, Description), Failure> {
        Err(unsupported())
    }

    pub(super) async fn answer(
        _: &Tools,
        _: PeerId,
        _: &Description,
    ) -> Result<(Self, Description), Failure> {
        Err(unsupported())
    }

    pub(super) async fn accept(&mut self, _: &Description) -> Result<(), Failure> {
        Err(unsupported())
    }

    pub(super) async fn open(self, _: &Runtime) -> Result<ByteChannel, Failure> {
        Err(unsupported())
    }
}

fn unsupported() -> Failure {
    Failure::Unsupported {
        reason: "the program was built without the feature `webrtc`".to_owned(),
    }
}
