//! What is passed on is passed on as it came, with what this version does not know.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use peercompute_proto::{FrameDecoder, Original, decode, encode_frame, v1};

#[cfg(target_arch = "wasm32")]
use super::test;
use super::wire_bytes::Wire;

/// A snapshot of a later version, with a field that this one does not know.
fn later_snapshot() -> Bytes {
    Wire::new()
        .bytes(1, b"terrain")
        .number(2, 4)
        .bytes(200, b"from a later version")
        .0
        .freeze()
}

#[test]
fn unknown_fields_in_the_payload_of_an_envelope_survive_a_decoded_and_encoded_envelope() {
    let sent = v1::Envelope {
        header: Some(v1::Header::default()),
        payload: later_snapshot(),
    };
    let received: v1::Envelope = decode(sent.encode_to_vec().into()).unwrap();
    let looked_at: v1::Snapshot = decode(received.payload.clone()).unwrap();
    assert_eq!(looked_at.version, 4);

    let passed_on: v1::Envelope = decode(received.encode_to_vec().into()).unwrap();
    assert_eq!(passed_on.payload, later_snapshot());
}

#[test]
fn the_original_keeps_what_the_message_lost() {
    let original = Original::<v1::Snapshot>::decode(later_snapshot()).unwrap();
    assert_eq!(original.provider, "terrain");
    assert_ne!(original.encode_to_vec(), later_snapshot());
    assert_eq!(original.bytes(), &later_snapshot());
    assert_eq!(original.into_parts().1, later_snapshot());
}

#[test]
fn a_frame_is_passed_on_with_its_unknown_header_fields() {
    let header = Wire::new().bytes(6, b"game").number(77, 7);
    let envelope = Wire::new()
        .message(1, header)
        .bytes(2, &later_snapshot())
        .number(78, 8);
    let frame = envelope.clone().framed();

    let mut decoder = FrameDecoder::<v1::Envelope>::new();
    decoder.push(frame.0.clone().freeze());
    let original = decoder.next_original().unwrap().unwrap();
    assert_eq!(original.header.as_ref().unwrap().game, "game");
    assert_eq!(original.bytes(), &envelope.0.freeze());

    let mut encoded_anew = BytesMut::new();
    encode_frame::<v1::Envelope>(&original, &mut encoded_anew);
    assert_ne!(encoded_anew, frame.0);
}
