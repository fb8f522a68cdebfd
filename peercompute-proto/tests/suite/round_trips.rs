use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use peercompute_proto::{FrameDecoder, FrameEncoder, Wire, check, decode, encode_frame, v1};

use super::strategies;

/// Every way there and back gives the message again.
fn round_trip<M: Wire + PartialEq + Debug>(message: &M) -> Result<(), TestCaseError> {
    prop_assert_eq!(check(message), Ok(()));
    let bytes = Bytes::from(message.encode_to_vec());
    prop_assert_eq!(&decode::<M>(bytes)?, message);

    let mut frame = BytesMut::new();
    encode_frame(message, &mut frame);
    let mut encoder = FrameEncoder::new();
    encoder.push(message);
    let pieces: Vec<Bytes> = std::iter::from_fn(|| encoder.pop()).collect();
    prop_assert_eq!(&frame[..], &pieces.concat()[..]);

    let mut decoder = FrameDecoder::<M>::new();
    decoder.push(frame.freeze());
    let received = decoder.next()?;
    prop_assert_eq!(received.as_ref(), Some(message));
    prop_assert_eq!(decoder.next()?, None);
    Ok(())
}

/// Bytes that are a message with some flaws.
fn flawed<M: prost::Message>(
    message: impl Strategy<Value = M>,
) -> impl Strategy<
    Value = (
        Vec<u8>,
        Vec<(prop::sample::Index, u8)>,
        Option<prop::sample::Index>,
    ),
> {
    (
        message.prop_map(|message| message.encode_to_vec()),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        prop::option::of(any::<prop::sample::Index>()),
    )
}

/// What is decoded, is decoded the same after it has been encoded again.
fn decodes_stably<M: Wire + PartialEq + Debug>(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    if let Ok(message) = decode::<M>(bytes.into()) {
        prop_assert_eq!(check(&message), Ok(()));
        prop_assert_eq!(decode::<M>(message.encode_to_vec().into())?, message);
    }
    Ok(())
}

macro_rules! every_message {
    ($($message:ident $strategy:ident;)*) => {$(
        mod $strategy {
            use super::*;
            #[cfg(target_arch = "wasm32")]
            use super::super::test;

            proptest! {
                #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn comes_back_as_it_was(message in strategies::$strategy()) {
                    round_trip(&message)?;
                }

                #[test]
                fn is_decoded_stably_from_flawed_bytes((mut bytes, flaws, end) in flawed(strategies::$strategy())) {
                    for (index, value) in flaws {
                        if !bytes.is_empty() {
                            let index = index.index(bytes.len());
                            bytes[index] = value;
                        }
                    }
                    if let Some(end) = end {
                        bytes.truncate(end.index(bytes.len() + 1));
                    }
                    decodes_stably::<v1::$message>(bytes)?;
                }

                #[test]
                fn is_decoded_stably_from_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
                    decodes_stably::<v1::$message>(bytes)?;
                }
            }
        }
    )*};
}

every_message! {
    Header header;
    Envelope envelope;
    StreamBinding stream_binding;
    Snapshot snapshot;
    EventBatch event_batch;
    EventAck event_ack;
    CommandBatch command_batch;
    Presence presence;
    PrivatePresence private_presence;
    HealthFrame health_frame;
    RoamingHello roaming_hello;
    RoamingReply roaming_reply;
    SignalFrame signal_frame;
    ClockSync clock_sync;
    NodeMetrics node_metrics;
    RealtimeFrame realtime_frame;
    KeptEvent kept_event;
    KeptPeer kept_peer;
    AuthorityNote authority_note;
    LockstepFrame lockstep_frame;
    LockstepRecord lockstep_record;
    SyncFrame sync_frame;
    CellFrame cell_frame;
    LinkFrame link_frame;
    FlowFrame flow_frame;
    FlowInputs flow_inputs;
    FlowOutputs flow_outputs;
    RendezvousFrame rendezvous_frame;
    TaskFrame task_frame;
    BlobFrame blob_frame;
    BlobRequest blob_request;
    BlobChunk blob_chunk;
    BlobMissing blob_missing;
    RelayConfig relay_config;
}
