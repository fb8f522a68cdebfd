use std::sync::Weak;

use libp2p_identity::PeerId;
use peercompute_rt::Runtime;

use super::{
    health::{Board, Counted},
    shared::Shared,
};
use crate::{
    Stream,
    toolkit::{Gate, lock},
};

/// What the streams that come in go through.
pub(super) struct Door(pub(super) Weak<Shared>);

impl Gate for Door {
    fn admits(&self, peer: PeerId) -> bool {
        let Some(shared) = self.0.upgrade() else {
            return false;
        };
        if !shared.limits.permits(&peer) {
            return false;
        }
        let taken = lock(&shared.streams).stream(shared.now(), &shared.limits, peer);
        taken.unwrap_or_else(|excess| {
            shared.exceeded(peer, excess);
            false
        })
    }

    fn hand_out(&self, peer: PeerId, stream: Stream) -> Stream {
        match self.0.upgrade() {
            Some(shared) => count(&shared.runtime, &shared.board, peer, stream),
            None => stream,
        }
    }
}

/// The same, without counting the bytes.
pub(super) struct Admission(pub(super) Door);

impl Gate for Admission {
    fn admits(&self, peer: PeerId) -> bool {
        self.0.admits(peer)
    }

    fn hand_out(&self, _peer: PeerId, stream: Stream) -> Stream {
        stream
    }
}

/// Counts what goes through a stream.
pub(super) fn count(runtime: &Runtime, board: &Board, peer: PeerId, stream: Stream) -> Stream {
    let counts = [board.of(peer), board.total.clone()];
    Box::new(Counted::new(stream, runtime.clone(), counts))
}
