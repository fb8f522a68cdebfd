#![doc = include_str!("../README.md")]

pub mod entities;
mod kept;
mod wasm;

use std::fmt::Debug;

use bytes::{Buf as _, Bytes, BytesMut};

use peercompute_gpu::wgsl::{self, WgslLimits};
use peercompute_proto::{
    DecodeError, FrameDecoder, FrameEncoder, Original, Wire, check, decode, encode_frame, v1,
};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Its name, which is that of its binary and of its folder in `corpus/`.
    pub name: &'static str,
    /// The message in the schema that its inputs are meant to be, where they are one.
    pub message: Option<&'static str>,
    /// Takes any input and panics if an invariant does not hold.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    (messages { $($name:ident: $message:ident,)* } others { $($(#[doc = $doc:literal])* $other:ident = $run:expr,)* }) => {
        $(
            #[doc = concat!("Decodes a [`", stringify!($message), "`](v1::", stringify!($message), ").")]
            pub fn $name(data: &[u8]) {
                message::<v1::$message>(data);
            }
        )*
        $(
            $(#[doc = $doc])*
            pub fn $other(data: &[u8]) {
                $run(data);
            }
        )*

        /// Every target.
        pub const TARGETS: &[Target] = &[
            $(Target { name: stringify!($name), message: Some(<v1::$message as Wire>::NAME), run: $name },)*
            $(Target { name: stringify!($other), message: None, run: $other },)*
        ];
    };
}

targets! {
    messages {
        header: Header,
        envelope: Envelope,
        stream_binding: StreamBinding,
        snapshot: Snapshot,
        event_batch: EventBatch,
        event_ack: EventAck,
        command_batch: CommandBatch,
        presence: Presence,
        private_presence: PrivatePresence,
        health_frame: HealthFrame,
        roaming_hello: RoamingHello,
        roaming_reply: RoamingReply,
        signal_frame: SignalFrame,
        clock_sync: ClockSync,
        node_metrics: NodeMetrics,
        realtime_frame: RealtimeFrame,
        kept_event: KeptEvent,
        kept_peer: KeptPeer,
        authority_note: AuthorityNote,
        lockstep_frame: LockstepFrame,
        lockstep_record: LockstepRecord,
        sync_frame: SyncFrame,
        cell_frame: CellFrame,
        link_frame: LinkFrame,
        flow_frame: FlowFrame,
        flow_inputs: FlowInputs,
        flow_outputs: FlowOutputs,
        rendezvous_frame: RendezvousFrame,
        task_frame: TaskFrame,
        blob_frame: BlobFrame,
        blob_request: BlobRequest,
        blob_chunk: BlobChunk,
        blob_missing: BlobMissing,
        relay_config: RelayConfig,
    }
    others {
        /// Cuts a stream of task frames. The first byte of the input says how many bytes are read at a time (0: all), the rest is the stream.
        task_stream = stream::<v1::TaskFrame>,
        /// Cuts a stream of rendezvous frames, as [`task_stream`] does.
        rendezvous_stream = stream::<v1::RendezvousFrame>,
        /// Cuts a stream of the frames between schedulers, as [`task_stream`] does.
        realtime_stream = stream::<v1::RealtimeFrame>,
        /// Cuts a stream of the frames of rooms in kernel mode, as [`task_stream`] does.
        lockstep_stream = stream::<v1::LockstepFrame>,
        /// Cuts a stream of the frames of rooms in hybrid mode, as [`task_stream`] does.
        sync_stream = stream::<v1::SyncFrame>,
        /// Cuts a stream of the cellular automaton's frames, as [`task_stream`] does.
        cell_stream = stream::<v1::CellFrame>,
        /// Cuts a stream of the frames between peers that choose their links, as [`task_stream`] does.
        link_stream = stream::<v1::LinkFrame>,
        /// Cuts a stream of the frames that ask for blobs and bring them, as [`task_stream`] does.
        blob_stream = stream::<v1::BlobFrame>,
        /// Cuts a stream of the frames between neighbours, as [`task_stream`] does.
        flow_stream = stream::<v1::FlowFrame>,
        /// Reads a relay configuration in JSON.
        relay_config_json = relay_config_text,
        /// Decodes snapshots of entities, one after another. The first byte of the input names a schema, each snapshot follows an [`entities::HEADER`].
        snapshot_codec = entities::snapshots,
        /// Takes in what an earlier life has kept. The first two bytes of the input are the length of the record of a peer (little endian), the rest is an event.
        kept_room = kept::room,
        /// Prepares a WebAssembly module, and runs a task of it if it can.
        wasm_module = wasm::module,
        /// Reads what a WebAssembly module returned: the first eight bytes of the input, little endian, from the rest, which is its memory.
        wasm_answer = wasm::answer,
        /// Checks a stranger's shader.
        wgsl_source = shader,
    }
}

/// Bytes up to which prost may look at an input alone: without our limits, what it allocates is a large multiple of it.
const SMALL: usize = 64 * 1024;

fn message<M: Wire + PartialEq + Debug>(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    match decode::<M>(bytes.clone()) {
        Ok(message) => accepted(&message, bytes),
        Err(error) => refused::<M>(&error, bytes),
    }
}

/// What is accepted is the same after any way there and back.
fn accepted<M: Wire + PartialEq + Debug>(message: &M, bytes: Bytes) {
    let again = Bytes::from(message.encode_to_vec());
    // Values of enums may have come in fewer bytes than they are encoded in.
    if again.len() <= M::MAX_SIZE {
        assert_eq!(decode::<M>(again.clone()).as_ref(), Ok(message));
        assert_eq!(check(message), Ok(()));

        let mut frame = BytesMut::new();
        encode_frame(message, &mut frame);
        let mut encoder = FrameEncoder::new();
        encoder.push(message);
        assert_eq!(encoder.copy_to_bytes(encoder.remaining()), frame);

        let mut decoder = FrameDecoder::<M>::new();
        decoder.push(frame.freeze());
        assert_eq!(
            decoder.next().expect("decoded before").as_ref(),
            Some(message)
        );
        assert!(!decoder.is_amid_frame());
    }
    let original = Original::<M>::decode(bytes.clone()).expect("decoded before");
    assert_eq!(original.into_parts().1, bytes);
}

/// Messages with a map. prost does not look at the wire type of its entries, so it accepts some bytes that no other decoder does.
const WITH_MAPS: &[&str] = &["Presence", "PrivatePresence", "RendezvousFrame"];

/// What is refused as malformed is so to prost too; only our limits are stricter.
fn refused<M: Wire>(error: &DecodeError, bytes: Bytes) {
    assert!(!error.to_string().is_empty());
    let is_malformed = matches!(error.name(), "malformed" | "too_deep");
    if is_malformed && bytes.len() <= SMALL && !WITH_MAPS.contains(&M::NAME) {
        assert!(
            M::decode(bytes).is_err(),
            "prost accepts what we call {error}"
        );
    }
}

/// However a stream is split, the same comes out of it.
fn stream<M: Wire + PartialEq + Debug>(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else {
        return;
    };
    let step = if step == 0 { usize::MAX } else { step.into() };

    let mut pushed = FrameDecoder::<M>::new();
    pushed.push(Bytes::copy_from_slice(stream));
    let expected = drain(&mut pushed);

    let mut reading = FrameDecoder::<M>::new();
    let mut received = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() && !is_out_of_step(received.last()) {
        let spare = reading.spare();
        assert!(!spare.is_empty());
        let count = spare.len().min(step).min(rest.len());
        spare[..count].copy_from_slice(&rest[..count]);
        reading.filled(count);
        rest = &rest[count..];
        received.extend(drain(&mut reading));
    }
    assert_eq!(received, expected);
    assert_eq!(reading.is_amid_frame(), pushed.is_amid_frame());
}

/// Everything that `decoder` gives now, up to the error after which it gives nothing else.
fn drain<M: Wire>(decoder: &mut FrameDecoder<M>) -> Vec<Result<M, DecodeError>> {
    let mut drained = Vec::new();
    while !is_out_of_step(drained.last()) {
        match decoder.next() {
            Ok(None) => break,
            Ok(Some(message)) => drained.push(Ok(message)),
            Err(error) => drained.push(Err(error)),
        }
    }
    drained
}

fn is_out_of_step<M>(last: Option<&Result<M, DecodeError>>) -> bool {
    matches!(
        last,
        Some(Err(
            DecodeError::TooLarge { .. } | DecodeError::BadFrameLength { .. }
        ))
    )
}

fn relay_config_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match v1::RelayConfig::from_json(text) {
        Ok(config) => {
            assert_eq!(
                v1::RelayConfig::from_json(&config.to_json()).ok(),
                Some(config)
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Whatever is refused says why, shortly; whatever passes does so each time, with the same sizes.
fn shader(data: &[u8]) {
    // Most mutations of a text are no text; naga would never see them.
    let source = String::from_utf8_lossy(data);
    let check = || wgsl::check(&source, "main", &WgslLimits::new());
    match check() {
        Ok(checked) => {
            let again = check().expect("it passed before");
            assert_eq!(format!("{checked:?}"), format!("{again:?}"));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() <= wgsl::MAX_DIAGNOSTIC + 512);
        }
    }
}

/// Runs `target` on each file that the command line names: what a binary of this crate does when it was not built by cargo-fuzz, to look into a crash.
///
/// # Panics
///
/// If a file cannot be read, and as `target` does.
pub fn replay(target: fn(&[u8])) {
    for file in std::env::args_os().skip(1) {
        let data = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        target(&data);
    }
}
