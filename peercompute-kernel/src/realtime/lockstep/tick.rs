use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1;
use prost::Message as _;

/// One tick in its final form, the same on every peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedTick {
    /// Its number, from 1.
    pub tick: u64,
    /// Who takes part from this tick on.
    pub joined: Vec<PeerId>,
    /// Who does not any more.
    pub left: Vec<PeerId>,
    /// The commands of each peer that has some, in the order in which they are to be carried out.
    pub inputs: Vec<(PeerId, Vec<Bytes>)>,
}

/// What comes next for the application, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockstepStep {
    /// Advance by one tick.
    Advance(SealedTick),
    /// Forget the state and take over this one.
    Restore {
        /// The tick that it is the state after.
        tick: u64,
        /// The state, as the host's application made it.
        state: Bytes,
    },
}

/// The hash of no bytes.
pub(crate) const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bit.
pub(crate) fn fnv64(parts: &[&[u8]]) -> u64 {
    let mut hash = FNV_BASIS;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The hash of all ticks up to this one.
pub(crate) fn chain(before: u64, tick: &v1::LockstepTick) -> u64 {
    fnv64(&[&before.to_le_bytes(), &tick.encode_to_vec()])
}

/// The same tick with bytes of its own: those that were received share a whole frame's, and would keep it.
pub(crate) fn detached(mut tick: v1::LockstepTick) -> v1::LockstepTick {
    for seat in &mut tick.joined {
        seat.peer = Bytes::copy_from_slice(&seat.peer);
    }
    for command in tick.shares.iter_mut().flat_map(|share| &mut share.commands) {
        command.payload = Bytes::copy_from_slice(&command.payload);
    }
    tick
}
