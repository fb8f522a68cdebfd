//! What every decoder accepts and what it refuses, case by case. The same bytes are the vectors in `golden/odd` and `golden/bad`.
#![cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "the files are only written natively")
)]

use bytes::Bytes;
use prost::Message as _;

use peercompute_proto::{DecodeError, FrameDecoder, Wire as Message, decode, limits, v1};

use super::samples;
#[cfg(target_arch = "wasm32")]
use super::test;
use super::wire_bytes::Wire;

/// Bytes that no encoder of ours makes, and that mean the same as others.
pub(crate) struct Odd {
    pub(crate) name: &'static str,
    pub(crate) message: &'static str,
    pub(crate) bytes: Bytes,
    /// The bytes that an encoder makes of the same message.
    pub(crate) means: Bytes,
    /// Decodes, and encodes again.
    pub(crate) decode: fn(Bytes) -> Result<Vec<u8>, DecodeError>,
}

fn odd<M: Message>(name: &'static str, bytes: Wire, means: M) -> Odd {
    Odd {
        name,
        message: M::NAME,
        bytes: bytes.0.freeze(),
        means: means.encode_to_vec().into(),
        decode: |bytes| decode::<M>(bytes).map(|message| message.encode_to_vec()),
    }
}

pub(crate) fn odd_ones() -> Vec<Odd> {
    let lease = |task| v1::TaskLease {
        task,
        ..v1::TaskLease::default()
    };
    let leases = |tasks| v1::TaskFrame {
        frame: Some(v1::task_frame::Frame::Leases(v1::TaskLeases {
            job: 3,
            tasks,
        })),
    };
    let metadata = |key: &str, value: &str| v1::Presence {
        metadata: [(key.to_owned(), value.to_owned())].into(),
        ..v1::Presence::default()
    };
    let ack = v1::EventAck {
        through: 5,
        ids: vec![7, 9, 300],
    };
    vec![
        odd(
            "unknown_fields",
            Wire::new()
                .number(100, 1)
                .fixed32(101, 2)
                .number(1, 5)
                .fixed64(102, 3)
                .bytes(103, b"from a later version")
                .group(104, Wire::new().number(1, 6).bytes(2, b"inside"))
                .bytes(2, &[7, 9, 0xac, 2]),
            ack.clone(),
        ),
        odd(
            "fields_in_another_order",
            Wire::new().bytes(2, &[7, 9, 0xac, 2]).number(1, 5),
            ack.clone(),
        ),
        odd(
            "numbers_one_by_one",
            Wire::new()
                .number(1, 5)
                .number(2, 7)
                .bytes(2, &[9])
                .number(2, 300),
            ack.clone(),
        ),
        odd(
            "padded_varint",
            Wire::new()
                .raw(&[0x08, 0x85, 0x80, 0x00])
                .bytes(2, &[0x87, 0x00, 9, 0xac, 2]),
            ack.clone(),
        ),
        odd(
            "number_twice_last_wins",
            Wire::new()
                .number(1, 4)
                .bytes(2, &[7, 9, 0xac, 2])
                .number(1, 5),
            ack,
        ),
        odd(
            "zero_written_out",
            Wire::new().number(1, 0).bytes(2, &[]),
            v1::EventAck::default(),
        ),
        odd(
            "unknown_oneof_member",
            Wire::new().message(15, Wire::new().number(1, 1)),
            v1::TaskFrame::default(),
        ),
        odd(
            "unknown_enum_value",
            Wire::new().number(1, 77),
            v1::Header {
                kind: 77,
                ..v1::Header::default()
            },
        ),
        odd(
            "message_in_two_parts",
            Wire::new()
                .message(
                    4,
                    Wire::new()
                        .number(1, 2)
                        .message(2, Wire::new().number(1, 10)),
                )
                .message(
                    4,
                    Wire::new()
                        .number(1, 3)
                        .message(2, Wire::new().number(1, 11)),
                ),
            leases(vec![lease(10), lease(11)]),
        ),
        odd(
            "last_oneof_member_wins",
            Wire::new()
                .message(5, Wire::new().number(1, 2).number(2, 10))
                .message(
                    4,
                    Wire::new()
                        .number(1, 3)
                        .message(2, Wire::new().number(1, 11)),
                ),
            leases(vec![lease(11)]),
        ),
        odd(
            "map_entry_twice_last_wins",
            Wire::new()
                .message(5, Wire::new().bytes(1, b"team").bytes(2, b"red"))
                .message(5, Wire::new().bytes(2, b"blue").bytes(1, b"team")),
            metadata("team", "blue"),
        ),
        odd(
            "map_entry_of_nothing",
            Wire::new().message(5, Wire::new()),
            metadata("", ""),
        ),
        odd(
            "99_groups_deep",
            Wire::groups(100, 99),
            v1::ClockSync::default(),
        ),
    ]
}

/// Bytes that are refused.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    pub(crate) message: &'static str,
    /// As one stream of frames.
    pub(crate) framed: bool,
    pub(crate) bytes: Bytes,
    /// The error's name.
    pub(crate) error: &'static str,
    pub(crate) decode: fn(Bytes) -> Result<(), DecodeError>,
}

/// An offer of a program: the member of the `oneof` with this tag.
fn offered(tag: u32, program: Wire) -> Wire {
    let empty = Wire::new;
    let program = empty().message(1, empty().message(tag, program));
    empty().message(2, empty().message(2, program))
}

fn bad<M: Message>(name: &'static str, error: &'static str, bytes: Wire) -> Bad {
    Bad {
        name,
        message: M::NAME,
        framed: false,
        bytes: bytes.0.freeze(),
        error,
        decode: |bytes| decode::<M>(bytes).map(|_| ()),
    }
}

fn bad_frames<M: Message>(name: &'static str, error: &'static str, bytes: Wire) -> Bad {
    Bad {
        framed: true,
        decode: |bytes| {
            let mut decoder = FrameDecoder::<M>::new();
            decoder.push(bytes);
            while decoder.next()?.is_some() {}
            Ok(())
        },
        ..bad::<M>(name, error, bytes)
    }
}

pub(crate) fn bad_ones() -> Vec<Bad> {
    let empty = Wire::new;
    let scope = *samples::scope().as_bytes();
    let mut bad = vec![
        // Broken bytes.
        bad::<v1::Header>("cut_in_a_key", "malformed", empty().raw(&[0x80])),
        bad::<v1::Header>("cut_in_a_varint", "malformed", empty().raw(&[0x10, 0xff])),
        bad::<v1::Header>(
            "cut_in_a_text",
            "malformed",
            empty().raw(&[0x32, 5, b'g', b'a']),
        ),
        bad::<v1::Snapshot>(
            "cut_in_a_fixed64",
            "malformed",
            empty().raw(&[0x29, 1, 2, 3]),
        ),
        bad::<v1::Header>(
            "varint_of_eleven_bytes",
            "malformed",
            empty().raw(&[0x10]).raw(&[0xff; 10]).raw(&[1]),
        ),
        bad::<v1::Header>("tag_zero", "malformed", empty().raw(&[0x00, 1])),
        bad::<v1::Header>("unknown_wire_type", "malformed", empty().raw(&[0x0f])),
        bad::<v1::Header>("number_for_a_text", "malformed", empty().number(6, 1)),
        bad::<v1::Header>("text_for_a_number", "malformed", empty().bytes(2, b"1")),
        bad::<v1::TaskFrame>("number_for_a_message", "malformed", empty().number(4, 1)),
        bad::<v1::Presence>(
            "number_for_a_map_entry",
            "malformed",
            // To some decoders two entries, the second without a look at its type.
            empty().message(5, empty()).raw(&[0x28, 2, 0x0a, 0x00]),
        ),
        bad::<v1::Header>("text_not_utf8", "malformed", empty().bytes(6, b"\xff\xfe")),
        bad::<v1::Header>("group_without_end", "malformed", empty().raw(&[0xa3, 0x06])),
        bad::<v1::Header>(
            "group_with_another_end",
            "malformed",
            empty().raw(&[0xa3, 0x06, 0xac, 0x06]),
        ),
        bad::<v1::Header>("end_without_group", "malformed", empty().raw(&[0xa4, 0x06])),
        bad::<v1::TaskFrame>(
            "inner_message_longer_than_outer",
            "malformed",
            // The outer message claims four bytes; the task inside it claims all that follow.
            empty().raw(&[0x22, 4, 0x08, 3, 0x12, 100]).raw(&[0; 98]),
        ),
        bad::<v1::EventAck>(
            "cut_in_packed_numbers",
            "malformed",
            empty().bytes(2, &[1, 0x80]),
        ),
        // Too deep.
        bad::<v1::ClockSync>("101_groups_deep", "too_deep", Wire::groups(100, 101)),
        bad::<v1::TaskFrame>(
            "groups_deep_in_a_lease",
            "too_deep",
            empty().message(4, empty().message(2, Wire::groups(100, 150))),
        ),
        // Too large.
        bad::<v1::ClockSync>(
            "message_too_large",
            "too_large",
            empty().bytes(100, &[0; limits::MAX_CLOCK_SYNC]),
        ),
        bad::<v1::CellFrame>(
            "cell_message_too_large",
            "too_large",
            empty().bytes(100, &[0; limits::MAX_CELL_FRAME]),
        ),
        bad_frames::<v1::CellFrame>(
            "cell_frame_too_large",
            "too_large",
            empty().raw(&[0]).raw(&[0x81, 0x01, 0x0a]),
        ),
        bad_frames::<v1::LinkFrame>(
            "link_frame_too_large",
            "too_large",
            empty().raw(&[0]).raw(&[0x81, 0x10, 0x0a]),
        ),
        bad_frames::<v1::FlowFrame>(
            "flow_frame_too_large",
            "too_large",
            empty().raw(&[0]).raw(&[0x81, 0x80, 0x10, 0x12]),
        ),
        bad_frames::<v1::BlobFrame>(
            "blob_frame_too_large",
            "too_large",
            empty().raw(&[0]).raw(&[0x81, 0x80, 0x41, 0x1a]),
        ),
        bad_frames::<v1::TaskFrame>(
            "frame_too_large",
            "too_large",
            empty().raw(&[0x81, 0x80, 0xc0, 0x04, 0x22]),
        ),
        bad_frames::<v1::TaskFrame>(
            "frame_of_four_gibibytes",
            "too_large",
            empty().raw(&[0x80, 0x80, 0x80, 0x80, 0x10]),
        ),
        bad_frames::<v1::TaskFrame>(
            "frame_length_of_six_bytes",
            "bad_frame_length",
            empty().raw(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ),
        bad_frames::<v1::TaskFrame>(
            "second_frame_too_large",
            "too_large",
            empty().raw(&[0]).raw(&[0xff, 0xff, 0xff, 0x7f]),
        ),
        bad_frames::<v1::TaskFrame>(
            "frame_with_a_cut_message",
            "malformed",
            empty().raw(&[0x22, 100]).framed(),
        ),
        // Too many.
        bad::<v1::EventBatch>(
            "events",
            "too_many",
            empty().repeat(limits::MAX_EVENTS + 1, empty().message(1, empty())),
        ),
        bad::<v1::CommandBatch>(
            "commands",
            "too_many",
            empty().repeat(limits::MAX_COMMANDS + 1, empty().message(1, empty())),
        ),
        bad::<v1::EventAck>(
            "acked_events",
            "too_many",
            empty().bytes(2, &[1; limits::MAX_ACKED_EVENTS + 1]),
        ),
        bad::<v1::EventAck>(
            "acked_events_one_by_one",
            "too_many",
            empty()
                .bytes(2, &[1; limits::MAX_ACKED_EVENTS])
                .number(2, 1),
        ),
        bad::<v1::Presence>(
            "addresses",
            "too_many",
            empty().repeat(limits::MAX_ADDRESSES + 1, empty().bytes(3, b"")),
        ),
        bad::<v1::Presence>(
            "metadata",
            "too_many",
            empty().repeat(limits::MAX_METADATA + 1, empty().message(5, empty())),
        ),
        bad::<v1::NodeMetrics>(
            "links",
            "too_many",
            empty().repeat(limits::MAX_LINKS + 1, empty().message(9, empty())),
        ),
        bad::<v1::CellFrame>(
            "cell_changes",
            "too_many",
            empty().bytes(1, &[1; limits::MAX_CELL_CHANGES + 1]),
        ),
        bad::<v1::CellFrame>(
            "cell_changes_one_by_one",
            "too_many",
            empty()
                .bytes(1, &[1; limits::MAX_CELL_CHANGES])
                .number(1, 1),
        ),
        bad::<v1::LinkFrame>(
            "link_figures",
            "too_many",
            empty().bytes(3, &[1; limits::MAX_LINK_FIGURES + 1]),
        ),
        bad::<v1::LinkFrame>(
            "link_beacon",
            "too_many",
            empty().bytes(7, &[1; limits::MAX_LINK_BEACON + 1]),
        ),
        bad::<v1::FlowFrame>(
            "flow_jobs",
            "too_many",
            empty().repeat(limits::MAX_FLOW_PARTS + 1, empty().message(3, empty())),
        ),
        bad::<v1::FlowFrame>(
            "flow_cells",
            "too_many",
            empty().repeat(limits::MAX_FLOW_PARTS + 1, empty().message(4, empty())),
        ),
        bad::<v1::FlowFrame>(
            "flow_chunks",
            "too_many",
            empty().repeat(limits::MAX_FLOW_CHUNKS + 1, empty().message(5, empty())),
        ),
        bad::<v1::FlowFrame>(
            "flow_renewals",
            "too_many",
            empty().repeat(limits::MAX_FLOW_PARTS + 1, empty().message(6, empty())),
        ),
        bad::<v1::FlowFrame>(
            "flow_renewed_bundles",
            "too_many",
            empty().message(6, empty().bytes(2, &[1; limits::MAX_FLOW_RENEWALS + 1])),
        ),
        bad::<v1::FlowFrame>(
            "flow_ends",
            "too_many",
            empty().repeat(limits::MAX_FLOW_PARTS + 1, empty().message(7, empty())),
        ),
        bad::<v1::FlowFrame>(
            "flow_refused",
            "too_many",
            empty().bytes(8, &[1; limits::MAX_FLOW_PARTS + 1]),
        ),
        bad::<v1::FlowInputs>(
            "flow_tasks",
            "too_many",
            empty().repeat(limits::MAX_FLOW_TASKS + 1, empty().message(1, empty())),
        ),
        bad::<v1::FlowOutputs>(
            "flow_results",
            "too_many",
            empty().repeat(limits::MAX_FLOW_TASKS + 1, empty().message(2, empty())),
        ),
        bad::<v1::RendezvousFrame>(
            "members",
            "too_many",
            empty().message(
                2,
                empty().repeat(limits::MAX_MEMBERS + 1, empty().message(1, empty())),
            ),
        ),
        bad::<v1::RendezvousFrame>(
            "addresses_of_a_member",
            "too_many",
            empty().message(
                2,
                empty().message(
                    1,
                    empty().repeat(limits::MAX_ADDRESSES + 1, empty().bytes(3, b"")),
                ),
            ),
        ),
        bad::<v1::PrivatePresence>(
            "private_metadata",
            "too_many",
            empty().repeat(limits::MAX_METADATA + 1, empty().message(2, empty())),
        ),
        bad::<v1::RendezvousFrame>(
            "metadata_of_a_listing",
            "too_many",
            empty().message(
                1,
                empty().bytes(1, &[0; 32]).message(
                    3,
                    empty().repeat(
                        limits::MAX_LISTING_METADATA + 1,
                        empty().message(4, empty()),
                    ),
                ),
            ),
        ),
        bad::<v1::RendezvousFrame>(
            "listed_rooms",
            "too_many",
            empty().message(
                5,
                empty().repeat(limits::MAX_LISTED_ROOMS + 1, empty().message(1, empty())),
            ),
        ),
        bad::<v1::RelayConfig>(
            "bootstrap_peers",
            "too_many",
            empty().repeat(limits::MAX_BOOTSTRAP_PEERS + 1, empty().bytes(12, b"")),
        ),
        bad::<v1::TaskFrame>(
            "leases_in_two_parts",
            "too_many",
            empty()
                .message(
                    4,
                    empty().repeat(limits::MAX_TASKS_PER_FRAME, empty().message(2, empty())),
                )
                .message(4, empty().message(2, empty())),
        ),
        // Too long.
        bad::<v1::Header>("game", "field_too_long", empty().bytes(6, &[b'g'; 65])),
        bad::<v1::Header>("room", "field_too_long", empty().bytes(7, &[b'r'; 65])),
        bad::<v1::Header>("sender", "field_too_long", empty().bytes(8, &[0; 65])),
        bad::<v1::Envelope>(
            "header_in_an_envelope",
            "field_too_long",
            empty().message(1, empty().bytes(10, &[0; 65])),
        ),
        bad::<v1::Snapshot>("provider", "field_too_long", empty().bytes(1, &[b'p'; 65])),
        bad::<v1::EventBatch>(
            "event_type",
            "field_too_long",
            empty().message(1, empty().bytes(2, &[b't'; 65])),
        ),
        bad::<v1::CommandBatch>(
            "command_provider",
            "field_too_long",
            empty().message(1, empty().bytes(3, &[b'p'; 65])),
        ),
        bad::<v1::ClockSync>("anchor", "field_too_long", empty().bytes(5, &[0; 65])),
        bad::<v1::NodeMetrics>(
            "link_peer",
            "field_too_long",
            empty().message(9, empty().bytes(1, &[0; 65])),
        ),
        bad::<v1::Presence>("peer", "field_too_long", empty().bytes(1, &[0; 65])),
        bad::<v1::Presence>("address", "field_too_long", empty().bytes(3, &[b'/'; 513])),
        bad::<v1::Presence>(
            "metadata_key",
            "field_too_long",
            empty().message(5, empty().bytes(1, &[b'k'; 65])),
        ),
        bad::<v1::Presence>(
            "metadata_value",
            "field_too_long",
            empty().message(5, empty().bytes(2, &[b'v'; 257])),
        ),
        bad::<v1::Presence>(
            "sealed",
            "field_too_long",
            empty().bytes(6, &[0; limits::MAX_SEALED_PRESENCE + 1]),
        ),
        bad::<v1::RendezvousFrame>(
            "rooms_after",
            "field_too_long",
            empty().message(4, empty().bytes(2, &[0; 33])),
        ),
        bad::<v1::RendezvousFrame>(
            "title_of_a_room",
            "field_too_long",
            empty().message(
                5,
                empty().message(1, empty().message(1, empty().bytes(3, &[b't'; 129]))),
            ),
        ),
        bad::<v1::LinkFrame>(
            "link_padding",
            "field_too_long",
            empty().bytes(5, &[0; limits::MAX_LINK_PADDING + 1]),
        ),
        bad::<v1::RendezvousFrame>(
            "refusal_text",
            "field_too_long",
            empty().message(3, empty().bytes(2, &[b'm'; 513])),
        ),
        bad::<v1::TaskFrame>(
            "operation",
            "field_too_long",
            empty().message(
                2,
                empty().message(
                    2,
                    empty().message(1, empty().message(1, empty().bytes(1, &[b'o'; 65]))),
                ),
            ),
        ),
        bad::<v1::TaskFrame>(
            "native_name",
            "field_too_long",
            offered(4, empty().bytes(1, &[b'n'; 65])),
        ),
        bad::<v1::TaskFrame>(
            "entry_point",
            "field_too_long",
            offered(3, empty().bytes(1, &[0; 32]).bytes(3, &[b'e'; 65])),
        ),
        bad::<v1::TaskFrame>(
            "uniforms",
            "field_too_long",
            offered(
                3,
                empty()
                    .bytes(1, &[0; 32])
                    .bytes(8, &[0; limits::MAX_UNIFORMS + 1]),
            ),
        ),
        bad::<v1::TaskFrame>(
            "failure_text",
            "field_too_long",
            empty().message(7, empty().message(2, empty().bytes(3, &[b'm'; 513]))),
        ),
        bad::<v1::RelayConfig>(
            "relay_host",
            "field_too_long",
            empty().bytes(1, &[b'h'; 2049]),
        ),
        // Of another length.
        bad::<v1::StreamBinding>("binding_without_scope", "field_length", empty()),
        bad::<v1::StreamBinding>(
            "scope_of_31_bytes",
            "field_length",
            empty().bytes(2, &scope[1..]),
        ),
        bad::<v1::TaskFrame>(
            "module_of_31_bytes_of_hash",
            "field_length",
            offered(2, empty().bytes(1, &[0; 31])),
        ),
        bad::<v1::TaskFrame>("shader_without_hash", "field_length", offered(3, empty())),
        bad::<v1::TaskFrame>(
            "scope_of_33_bytes_in_a_hello",
            "field_length",
            empty().message(1, empty().message(1, empty().bytes(2, &[0; 33]))),
        ),
        bad::<v1::RendezvousFrame>(
            "registration_without_scope",
            "field_length",
            empty().message(1, empty()),
        ),
        bad::<v1::BlobMissing>(
            "blob_hash_of_20_bytes",
            "field_length",
            empty().message(1, empty().bytes(1, &[0; 20])),
        ),
    ];
    for (name, tag, one) in [
        ("leases", 4, empty().message(2, empty())),
        ("renewals_one_by_one", 5, empty().number(2, 1)),
        ("results", 6, empty().message(2, empty())),
        ("failures", 7, empty().message(2, empty())),
        ("cancellations_one_by_one", 8, empty().number(2, 1)),
    ] {
        let many = empty().repeat(limits::MAX_TASKS_PER_FRAME + 1, one);
        bad.push(self::bad::<v1::TaskFrame>(
            name,
            "too_many",
            empty().message(tag, many),
        ));
    }
    bad
}

#[test]
fn odd_bytes_mean_what_they_mean() {
    for odd in odd_ones() {
        let again = (odd.decode)(odd.bytes).unwrap_or_else(|error| panic!("{}: {error}", odd.name));
        assert_eq!(again, odd.means, "{}", odd.name);
    }
}

#[test]
fn bad_bytes_are_refused_by_name() {
    for bad in bad_ones() {
        let error = (bad.decode)(bad.bytes).expect_err(bad.name);
        assert_eq!(error.name(), bad.error, "{}: {error}", bad.name);
    }
}

#[test]
fn lists_of_exactly_the_limit_are_accepted() {
    let full = |tag, one: Wire| {
        Wire::new()
            .message(tag, Wire::new().repeat(limits::MAX_TASKS_PER_FRAME, one))
            .0
            .freeze()
    };
    for bytes in [
        full(4, Wire::new().message(2, Wire::new())),
        full(5, Wire::new().number(2, 1)),
        full(6, Wire::new().message(2, Wire::new())),
    ] {
        decode::<v1::TaskFrame>(bytes).unwrap();
    }
    let members = Wire::new().message(
        2,
        Wire::new().repeat(
            limits::MAX_MEMBERS,
            Wire::new().message(
                1,
                Wire::new()
                    .repeat(limits::MAX_ADDRESSES, Wire::new().bytes(3, b"/"))
                    .repeat(limits::MAX_METADATA, Wire::new().message(5, Wire::new())),
            ),
        ),
    );
    decode::<v1::RendezvousFrame>(members.0.freeze()).unwrap();
}

#[test]
fn an_input_of_exactly_the_limit_is_accepted_and_one_byte_more_refused() {
    let frame = |size: usize| {
        let lease = v1::TaskLease {
            input: vec![0; size].into(),
            ..v1::TaskLease::default()
        };
        let leases = v1::TaskLeases {
            job: 1,
            tasks: vec![lease],
        };
        v1::TaskFrame {
            frame: Some(v1::task_frame::Frame::Leases(leases)),
        }
        .encode_to_vec()
        .into()
    };
    decode::<v1::TaskFrame>(frame(limits::MAX_TASK_INPUT)).unwrap();
    assert_eq!(
        decode::<v1::TaskFrame>(frame(limits::MAX_TASK_INPUT + 1)),
        Err(DecodeError::FieldTooLong {
            field: "TaskLease.input",
            size: limits::MAX_TASK_INPUT + 1,
            limit: limits::MAX_TASK_INPUT,
        })
    );
}

#[test]
fn a_cell_frame_of_exactly_the_limit_is_accepted_and_one_byte_more_refused() {
    let frame = |size: usize| {
        let changes = Wire::new().bytes(1, &[1; limits::MAX_CELL_CHANGES]);
        // The key of the unknown field has two bytes, and its length one.
        let padding = vec![0; size - changes.0.len() - 3];
        let frame = changes.bytes(100, &padding).0.freeze();
        assert_eq!(frame.len(), size);
        frame
    };
    let accepted = decode::<v1::CellFrame>(frame(limits::MAX_CELL_FRAME)).unwrap();
    assert_eq!(accepted.changes, [-1; limits::MAX_CELL_CHANGES]);
    assert_eq!(
        decode::<v1::CellFrame>(frame(limits::MAX_CELL_FRAME + 1)),
        Err(DecodeError::TooLarge {
            message: "CellFrame",
            size: limits::MAX_CELL_FRAME as u64 + 1,
            limit: limits::MAX_CELL_FRAME,
        })
    );
}

#[test]
fn errors_name_the_field_the_size_and_the_limit() {
    let text = |bytes: Wire| {
        decode::<v1::Presence>(bytes.0.freeze())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(Wire::new().bytes(3, &[b'/'; 600])),
        "Presence.addresses of 600 bytes is longer than the 512 allowed"
    );
    assert_eq!(
        text(Wire::new().repeat(33, Wire::new().message(5, Wire::new()))),
        "Presence.metadata has more than the 32 elements allowed; the sender must split the message"
    );
    assert_eq!(
        decode::<v1::StreamBinding>(Bytes::new())
            .unwrap_err()
            .to_string(),
        "StreamBinding.scope has 0 bytes where it must have 32"
    );
}

#[test]
fn fields_of_bytes_share_the_memory_they_came_in() {
    let chunk = v1::BlobChunk {
        data: vec![1; 1000].into(),
        ..v1::BlobChunk::default()
    };
    let bytes = Bytes::from(chunk.encode_to_vec());
    let decoded = decode::<v1::BlobChunk>(bytes.clone()).unwrap();
    assert!(bytes.as_ptr_range().contains(&decoded.data.as_ptr()));
}
