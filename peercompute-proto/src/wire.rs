use bytes::{Bytes, BytesMut};
use prost::encoding::encode_varint;

use crate::{DecodeError, limits, rules::Rules, tables, v1};

/// A message that is decoded on its own: its size, and the counts and lengths in it, are bounded.
pub trait Wire: prost::Message + Default {
    /// Its name in the schema.
    const NAME: &'static str;

    /// The most bytes that an encoded message of this kind may have.
    const MAX_SIZE: usize;

    /// Counts and lengths that [`decode`] checks. A message that is not of this crate has none.
    const RULES: &'static Rules = &Rules::NONE;
}

/// Decodes a message that somebody sent, after it has checked everything that the schema bounds.
///
/// Fields of type `bytes` share `bytes`' memory and copy nothing, so each keeps the whole buffer that was read alive: who keeps a small one for long should
/// copy it out ([`Bytes::copy_from_slice`]). Unknown fields are left out without error, and so is the member of a `oneof` that this version does not know: the
/// `oneof` is `None` then. Who passes a message on passes `bytes` on, for instance with [`Original`](crate::Original).
///
/// What remains to be looked at is what needs more than the message: absent messages, enum values (0 or unknown), and whether names and addresses make sense.
///
/// # Errors
///
/// [`DecodeError`]; nothing larger than a small multiple of the bytes has been allocated before it is given.
pub fn decode<M: Wire>(bytes: Bytes) -> Result<M, DecodeError> {
    check_size::<M>(bytes.len() as u64)?;
    M::RULES.check(M::NAME, &bytes)?;
    // Only the error path needs the bytes again; a clone costs a reference count.
    M::decode(bytes.clone()).map_err(|source| M::RULES.blame(M::NAME, &bytes, source))
}

/// Looks whether others will accept `message`: the sender's side of the checks in [`decode`]. For messages that are made of what users give, such as a
/// presence; it encodes the message, so it is not for hot paths.
///
/// # Errors
///
/// The [`DecodeError`] that a receiver would get.
pub fn check<M: Wire>(message: &M) -> Result<(), DecodeError> {
    check_size::<M>(message.encoded_len() as u64)?;
    M::RULES.check(M::NAME, &message.encode_to_vec())
}

pub(crate) fn check_size<M: Wire>(size: u64) -> Result<(), DecodeError> {
    if size > M::MAX_SIZE as u64 {
        return Err(DecodeError::TooLarge {
            message: M::NAME,
            size,
            limit: M::MAX_SIZE,
        });
    }
    Ok(())
}

/// Appends `message` to `out` as a frame: its length as a varint, then its bytes. [`FrameEncoder`](crate::FrameEncoder) does the same without copying large
/// payloads.
///
/// A message larger than [`Wire::MAX_SIZE`] is encoded all the same and refused at the other end, so its maker keeps it below.
pub fn encode_frame<M: Wire>(message: &M, out: &mut BytesMut) {
    let size = message.encoded_len();
    out.reserve(size + prost::length_delimiter_len(size));
    encode_varint(size as u64, out);
    message.encode_raw(out);
}

/// A message that travels as the payload of an [`Envelope`](v1::Envelope).
pub trait Payload: Wire {
    /// What the header calls it.
    const KIND: v1::Kind;
}

macro_rules! wire {
    ($($message:ident, $max:expr, $rules:expr $(, $kind:ident)?;)*) => {
        $(
        impl Wire for v1::$message {
            const NAME: &'static str = stringify!($message);
            const MAX_SIZE: usize = $max;
            const RULES: &'static Rules = &$rules;
        }
        $(impl Payload for v1::$message {
            const KIND: v1::Kind = v1::Kind::$kind;
        })?
    )*

        /// Every message that is decoded on its own, with its rules.
        #[cfg(all(test, not(target_arch = "wasm32")))]
        pub(crate) static ALL: &[(&str, &Rules)] = &[$((stringify!($message), &$rules),)*];
    };
}

wire! {
    Header, limits::MAX_HEADER, tables::HEADER;
    Envelope, limits::MAX_ENVELOPE, tables::ENVELOPE;
    StreamBinding, limits::MAX_BINDING, tables::STREAM_BINDING;
    Snapshot, limits::MAX_PAYLOAD, tables::SNAPSHOT, Snapshot;
    EventBatch, limits::MAX_PAYLOAD, tables::EVENT_BATCH, EventBatch;
    EventAck, limits::MAX_EVENT_ACK, tables::EVENT_ACK, EventAck;
    CommandBatch, limits::MAX_PAYLOAD, tables::COMMAND_BATCH, CommandBatch;
    Presence, limits::MAX_PRESENCE, tables::PRESENCE, Presence;
    PrivatePresence, limits::MAX_PRIVATE_PRESENCE, tables::PRIVATE_PRESENCE;
    HealthFrame, limits::MAX_HEALTH_FRAME, tables::HEALTH_FRAME;
    RoamingHello, limits::MAX_ROAMING_MESSAGE, tables::ROAMING_HELLO;
    RoamingReply, limits::MAX_ROAMING_MESSAGE, tables::ROAMING_REPLY;
    SignalFrame, limits::MAX_SIGNAL_FRAME, tables::SIGNAL_FRAME;
    ClockSync, limits::MAX_CLOCK_SYNC, tables::CLOCK_SYNC, ClockSync;
    NodeMetrics, limits::MAX_NODE_METRICS, tables::NODE_METRICS, NodeMetrics;
    RealtimeFrame, limits::MAX_REALTIME_FRAME, tables::REALTIME_FRAME;
    KeptEvent, limits::MAX_KEPT_EVENT, tables::KEPT_EVENT;
    KeptPeer, limits::MAX_KEPT_PEER, tables::KEPT_PEER;
    AuthorityNote, limits::MAX_AUTHORITY_NOTE, tables::AUTHORITY_NOTE;
    LockstepFrame, limits::MAX_LOCKSTEP_FRAME, tables::LOCKSTEP_FRAME;
    LockstepRecord, limits::MAX_LOCKSTEP_RECORD, tables::LOCKSTEP_RECORD;
    SyncFrame, limits::MAX_SYNC_FRAME, tables::SYNC_FRAME;
    CellFrame, limits::MAX_CELL_FRAME, tables::CELL_FRAME;
    LinkFrame, limits::MAX_LINK_FRAME, tables::LINK_FRAME;
    RendezvousFrame, limits::MAX_RENDEZVOUS_FRAME, tables::RENDEZVOUS_FRAME;
    TaskFrame, limits::MAX_TASK_FRAME, tables::TASK_FRAME;
    FlowFrame, limits::MAX_FLOW_FRAME, tables::FLOW_FRAME;
    FlowInputs, limits::MAX_FLOW_BUNDLE, tables::FLOW_INPUTS;
    FlowOutputs, limits::MAX_FLOW_BUNDLE, tables::FLOW_OUTPUTS;
    BlobFrame, limits::MAX_BLOB_FRAME, tables::BLOB_FRAME;
    BlobRequest, limits::MAX_BLOB_MESSAGE, tables::BLOB_REQUEST;
    BlobChunk, limits::MAX_BLOB_MESSAGE, tables::BLOB_CHUNK;
    BlobMissing, limits::MAX_BLOB_MESSAGE, tables::BLOB_MISSING;
    RelayConfig, limits::MAX_RELAY_CONFIG, tables::RELAY_CONFIG;
}
