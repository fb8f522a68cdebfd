//! The golden messages: each kind with every field set, and with none.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use prost::Message as _;

use peercompute_proto::{Payload, Scope, Wire, v1};

/// Sees every sample. The name is that of its files in `golden/messages`; `golden` is what the `.bin` file holds.
pub(crate) trait Visitor {
    fn visit<M: Wire + PartialEq + Debug>(&mut self, name: &'static str, golden: &[u8], message: M);
}

#[cfg(target_arch = "wasm32")]
macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/golden/messages/",
            $name,
            ".bin"
        ))
    };
}

/// Natively the file is read when the test runs, so that the test can also write it.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! golden {
    ($name:literal) => {
        &std::fs::read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/golden/messages/",
            $name,
            ".bin"
        ))
        .unwrap_or_default()
    };
}

macro_rules! visit {
    ($visitor:ident: $($name:literal $message:expr;)*) => {$(
        $visitor.visit($name, golden!($name), $message);
    )*};
}

mod rooms;

pub(crate) fn visit(visitor: &mut impl Visitor) {
    visit! { visitor:
        "Header" header();
        "Header.empty" v1::Header::default();
        "Envelope" v1::Envelope { header: Some(header()), payload: snapshot().encode_to_vec().into() };
        "Envelope.empty" v1::Envelope::default();
        "StreamBinding" binding();
        "StreamBinding.least" v1::StreamBinding::new(scope());
        "Snapshot" snapshot();
        "Snapshot.empty" v1::Snapshot::default();
        "EventBatch" event_batch();
        "EventBatch.empty" v1::EventBatch::default();
        "EventBatch.resumed" v1::EventBatch {
            events: vec![v1::Event {
                id: 1,
                r#type: "spawn".to_owned(),
                payload: Bytes::from_static(b"{\"x\":1}"),
                reliable: true,
                first_session: 1_763_699_000_000,
                first_id: 301,
                ..v1::Event::default()
            }],
            floor: 1,
        };
        "EventAck" v1::EventAck { through: 300, ids: vec![302, 303, 70_000] };
        "EventAck.empty" v1::EventAck::default();
        "CommandBatch" command_batch();
        "CommandBatch.empty" v1::CommandBatch::default();
        "Presence" presence();
        "Presence.empty" v1::Presence::default();
        "PrivatePresence" v1::PrivatePresence {
            capabilities: Some(capabilities()),
            metadata: BTreeMap::from([("name".to_owned(), "Žofie".to_owned())]),
        };
        "PrivatePresence.empty" v1::PrivatePresence::default();
        "HealthFrame" v1::HealthFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            sequence: 7,
            interval_ms: 1000,
            echo: 6,
            echo_delay_us: 250_000,
        };
        "HealthFrame.empty" v1::HealthFrame::default();
        "RoamingHello" v1::RoamingHello {
            protocol: "/peercompute/task/1".to_owned(),
            stream: (0..16).collect(),
        };
        "RoamingHello.least" v1::RoamingHello {
            stream: vec![7; 16].into(),
            ..v1::RoamingHello::default()
        };
        "RoamingReply" v1::RoamingReply {
            outcome: v1::RoamingOutcome::Accepted.into(),
        };
        "RoamingReply.empty" v1::RoamingReply::default();
        "SignalFrame" v1::SignalFrame {
            frame: Some(v1::signal_frame::Frame::Offer(v1::SessionDescription {
                session: (0..16).collect(),
                ice_ufrag: "rAiT".to_owned(),
                ice_pwd: "fEMahAfWyBChuHxX1vau+uDz".to_owned(),
                fingerprint: vec![0x9d; 32].into(),
                candidates: vec![
                    v1::IceCandidate {
                        address: "192.0.2.7".to_owned(),
                        port: 35_612,
                        priority: 2_113_937_151,
                        is_reflexive: false,
                    },
                    v1::IceCandidate {
                        address: "7436f70f-dba5-44a1-94b6-fa65cf190bce.local".to_owned(),
                        port: 1,
                        priority: u32::MAX,
                        is_reflexive: true,
                    },
                ],
                signature: vec![0x5a; 64].into(),
            })),
        };
        "SignalFrame.answer" v1::SignalFrame {
            frame: Some(v1::signal_frame::Frame::Answer(v1::SessionDescription {
                session: vec![7; 16].into(),
                fingerprint: vec![8; 32].into(),
                signature: vec![9; 64].into(),
                ..v1::SessionDescription::default()
            })),
        };
        "SignalFrame.refusal" v1::SignalFrame {
            frame: Some(v1::signal_frame::Frame::Refusal(v1::SignalRefusal {
                reason: v1::SignalRefusalReason::Crossed.into(),
            })),
        };
        "SignalFrame.empty" v1::SignalFrame::default();
        "ClockSync" clock_sync();
        "ClockSync.empty" v1::ClockSync::default();
        "NodeMetrics" node_metrics();
        "NodeMetrics.empty" v1::NodeMetrics::default();
        "RelayConfig" relay_config();
        "RelayConfig.empty" v1::RelayConfig::default();
        "BlobRequest" v1::BlobRequest { blob: Some(blob_ref()), offset: 65_536, length: 4096 };
        "BlobRequest.empty" v1::BlobRequest::default();
        "BlobChunk" v1::BlobChunk { blob: Some(blob_ref()), offset: 65_536, data: (&b"\x00\x01\xfe\xff"[..]).into() };
        "BlobChunk.empty" v1::BlobChunk::default();
        "BlobFrame" v1::BlobFrame {
            binding: None,
            frame: Some(v1::blob_frame::Frame::Chunk(v1::BlobChunk {
                blob: Some(blob_ref()),
                offset: 65_536,
                data: vec![0x5a; 9].into(),
            })),
        };
        "BlobFrame.empty" v1::BlobFrame::default();
        "BlobFrame.hello" v1::BlobFrame {
            binding: Some(binding()),
            frame: Some(v1::blob_frame::Frame::Request(v1::BlobRequest {
                blob: Some(blob_ref()),
                offset: 0,
                length: 0,
            })),
        };
        "BlobFrame.missing" v1::BlobFrame {
            binding: None,
            frame: Some(v1::blob_frame::Frame::Missing(v1::BlobMissing { blob: Some(blob_ref()) })),
        };
        "BlobMissing" v1::BlobMissing { blob: Some(blob_ref()) };
        "BlobMissing.empty" v1::BlobMissing::default();
    }
    realtime(visitor);
    rooms::kept(visitor);
    rooms::authority(visitor);
    rooms::lockstep(visitor);
    rooms::sync(visitor);
    cells(visitor);
    links(visitor);
    flows(visitor);
    rendezvous(visitor);
    tasks(visitor);
}

fn realtime(visitor: &mut impl Visitor) {
    visit! { visitor:
        "RealtimeFrame" realtime_frame();
        "RealtimeFrame.empty" v1::RealtimeFrame::default();
        "RealtimeFrame.hello" v1::RealtimeFrame {
            binding: Some(v1::StreamBinding::new(peercompute_proto::Scope::new("demo", "lobby").unwrap())),
            session: 1_763_700_000_000,
            clock: Some(v1::ClockSync { originate_us: 1, ..v1::ClockSync::default() }),
            ..v1::RealtimeFrame::default()
        };
        "RealtimeFrame.memory" v1::RealtimeFrame {
            session: 1_763_700_000_000,
            sequence: 1,
            memory: 1_763_690_000_000,
            ..v1::RealtimeFrame::default()
        };
        "RealtimeFrame.snapshot" v1::RealtimeFrame {
            sequence: 4,
            timestamp_us: 1_763_700_000_000_000,
            snapshots: vec![snapshot()],
            ..v1::RealtimeFrame::default()
        };
    }
}

fn cells(visitor: &mut impl Visitor) {
    visit! { visitor:
        "CellFrame" cell_frame();
        "CellFrame.empty" v1::CellFrame::default();
        // What comes before the figure that has changed is written as zeros, what comes after it is left out.
        "CellFrame.one_change" v1::CellFrame { changes: vec![0, 0, -2048], ..v1::CellFrame::default() };
        "CellFrame.grant" v1::CellFrame { outputs_granted: 300, ..v1::CellFrame::default() };
        "CellFrame.largest" v1::CellFrame {
            changes: vec![i32::MIN, i32::MAX, i32::MIN, i32::MAX, i32::MIN],
            inputs_wanted: u32::MAX,
            outputs_wanted: u32::MAX,
            inputs_granted: u32::MAX,
            outputs_granted: u32::MAX,
            inputs_returned: u32::MAX,
            outputs_returned: u32::MAX,
        };
    }
}

fn links(visitor: &mut impl Visitor) {
    visit! { visitor:
        "LinkFrame" v1::LinkFrame {
            note: v1::LinkNote::Echo.into(),
            figures: vec![2048, -1024, 300, 0, 1280],
            rate: 12_500,
            padding: vec![0; 9].into(),
            ..v1::LinkFrame::default()
        };
        "LinkFrame.beacon" v1::LinkFrame {
            note: v1::LinkNote::Beacon.into(),
            root: 0x0123_4567_89ab_cdef,
            beacon: vec![1234, 70, 3, 2, 48_879, 64, 3],
            ..v1::LinkFrame::default()
        };
        "LinkFrame.empty" v1::LinkFrame::default();
        "LinkFrame.hello" v1::LinkFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            note: v1::LinkNote::Ask.into(),
            ..v1::LinkFrame::default()
        };
        "LinkFrame.largest" v1::LinkFrame {
            binding: Some(binding()),
            note: i32::MAX,
            figures: vec![i32::MIN, i32::MAX, i32::MIN, i32::MAX, i32::MIN],
            rate: u32::MAX,
            padding: vec![0x5a; 1024].into(),
            root: u64::MAX,
            beacon: vec![u32::MAX; 7],
        };
    }
}

fn flows(visitor: &mut impl Visitor) {
    visit! { visitor:
        "FlowFrame" flow_frame();
        "FlowFrame.empty" v1::FlowFrame::default();
        "FlowFrame.hello" v1::FlowFrame {
            hello: Some(v1::FlowHello { binding: Some(v1::StreamBinding::new(scope())), capabilities: Some(v1::Capabilities { workers: 4, ..v1::Capabilities::default() }) }),
            ..v1::FlowFrame::default()
        };
        "FlowFrame.update" v1::FlowFrame {
            jobs: vec![v1::FlowJob { job: 300, source_hops: 2, refusal: "no node knows the operation".to_owned(), ..v1::FlowJob::default() }],
            ..v1::FlowFrame::default()
        };
        "FlowInputs" v1::FlowInputs {
            tasks: vec![
                v1::FlowInput { state: Some(0xcbf2_9ce4_8422_2325), input: (&b"chunk"[..]).into() },
                v1::FlowInput::default(),
            ],
        };
        "FlowInputs.empty" v1::FlowInputs::default();
        "FlowOutputs" v1::FlowOutputs {
            peer: vec![0x12; 34].into(),
            results: vec![
                v1::FlowOutput { value: vec![1, 2, 3, 4].into(), run_us: 1500, failure: None },
                v1::FlowOutput {
                    failure: Some(v1::FlowFailure {
                        reason: v1::TaskFailureReason::Trap.into(),
                        message: "the program broke off".to_owned(),
                    }),
                    ..v1::FlowOutput::default()
                },
            ],
        };
        "FlowOutputs.empty" v1::FlowOutputs::default();
    }
}

fn flow_frame() -> v1::FlowFrame {
    v1::FlowFrame {
        hello: Some(v1::FlowHello {
            binding: Some(binding()),
            capabilities: Some(v1::Capabilities {
                workers: 4,
                ..v1::Capabilities::default()
            }),
        }),
        echo: Some(v1::FlowEcho {
            sent_us: 1_000_001,
            echo_us: 999_000,
            delay_us: 300,
            received: 1 << 33,
            rate: 12_500_000,
        }),
        jobs: vec![v1::FlowJob {
            job: 1,
            key: Some(v1::FlowKey {
                peer: vec![0x12; 34].into(),
                number: 1 << 40,
            }),
            spec: Some(v1::TaskSpec {
                program: Some(v1::Program {
                    program: Some(v1::program::Program::Builtin(v1::BuiltinProgram {
                        operation: "xor".to_owned(),
                        immediate: 255,
                    })),
                }),
                limits: None,
            }),
            lease_ms: 10_000,
            input_bytes: 65_536,
            output_bytes: 128,
            source_hops: 1,
            worker_hops: 3,
            refusal: "paused".to_owned(),
        }],
        cells: vec![v1::FlowCell {
            job: 1,
            frame: Some(cell_frame()),
        }],
        chunks: vec![
            v1::FlowChunk {
                job: 1,
                output: false,
                begin: Some(v1::FlowBegin {
                    bundle: 77,
                    size: 6,
                    hops: 1,
                }),
                data: (&b"begin"[..]).into(),
            },
            v1::FlowChunk {
                job: 1,
                output: true,
                begin: None,
                data: (&b"e"[..]).into(),
            },
        ],
        renewals: vec![v1::FlowRenewal {
            job: 1,
            bundles: vec![70, 71, 300],
            hops: 31,
            lost: true,
        }],
        ends: vec![v1::FlowEnd { job: 2, over: true }],
        refused: vec![3, 300],
    }
}

fn rendezvous(visitor: &mut impl Visitor) {
    use v1::rendezvous_frame::Frame;

    fn frame(frame: Frame) -> v1::RendezvousFrame {
        v1::RendezvousFrame { frame: Some(frame) }
    }

    let refusal = v1::RendezvousRefusal {
        reason: v1::RendezvousRefusalReason::RoomFull.into(),
        message: "the room has 64 members already".to_owned(),
    };
    visit! { visitor:
        "RendezvousFrame.empty" v1::RendezvousFrame::default();
        "RendezvousFrame.register" frame(Frame::Register(v1::RendezvousRegister {
            scope: scope().to_bytes(),
            presence: Some(presence()),
            listing: None,
        }));
        "RendezvousFrame.listed" frame(Frame::Register(v1::RendezvousRegister {
            scope: scope().to_bytes(),
            presence: Some(presence()),
            listing: Some(room_listing()),
        }));
        "RendezvousFrame.sealed" frame(Frame::Register(v1::RendezvousRegister {
            scope: scope().to_bytes(),
            presence: Some(v1::Presence {
                peer: peer(0xa1),
                state: v1::PresenceState::Joined.into(),
                sealed: (&b"nobody without the key reads this"[..]).into(),
                ..v1::Presence::default()
            }),
            listing: None,
        }));
        "RendezvousFrame.rooms_request" frame(Frame::RoomsRequest(v1::RendezvousRoomsRequest {
            game: "cubechat".to_owned(),
            after: Some(scope().to_bytes()),
        }));
        "RendezvousFrame.rooms" frame(Frame::Rooms(v1::RendezvousRooms {
            rooms: vec![
                v1::ListedRoom { listing: Some(room_listing()), members: 3 },
                v1::ListedRoom::default(),
            ],
            complete: true,
        }));
        "RendezvousFrame.members" frame(Frame::Members(v1::RendezvousMembers {
            members: vec![presence(), v1::Presence::default()],
            complete: true,
        }));
        "RendezvousFrame.refusal" frame(Frame::Refusal(refusal));
    }
}

fn tasks(visitor: &mut impl Visitor) {
    use v1::task_frame::Frame;

    fn frame(frame: Frame) -> v1::TaskFrame {
        v1::TaskFrame { frame: Some(frame) }
    }

    let spec = v1::TaskSpec {
        program: Some(v1::Program {
            program: Some(v1::program::Program::Builtin(v1::BuiltinProgram {
                operation: "counteq".to_owned(),
                immediate: 255,
            })),
        }),
        limits: Some(v1::TaskLimits {
            max_output_bytes: 8,
            deadline_ms: 30_000,
            ..v1::TaskLimits::default()
        }),
    };
    let offer = |program, limits| {
        frame(Frame::Offer(v1::TaskOffer {
            job: 2,
            spec: Some(v1::TaskSpec {
                program: Some(v1::Program {
                    program: Some(program),
                }),
                limits,
            }),
            lease_ms: 5_000,
        }))
    };
    let wasm = v1::program::Program::Wasm(v1::WasmProgram {
        hash: Bytes::from((0x40..0x60).collect::<Vec<u8>>()),
        size: 16 << 20,
    });
    let wasm_limits = v1::TaskLimits {
        max_output_bytes: 1 << 20,
        deadline_ms: 2_000,
        memory_bytes: 64 << 20,
        fuel: 100_000_000_000,
    };
    let wgsl = v1::program::Program::Wgsl(v1::WgslProgram {
        hash: Bytes::from((0x60..0x80).collect::<Vec<u8>>()),
        size: 1 << 20,
        entry_point: "main".to_owned(),
        workgroups_x: 64,
        workgroups_y: 8,
        workgroups_z: 1,
        output_bytes: 8 << 20,
        uniforms: Bytes::from_static(&[0, 0, 0x80, 0x3f]),
    });
    let native = v1::program::Program::Native(v1::NativeProgram {
        name: "protein fold".to_owned(),
    });
    let leases = vec![
        v1::TaskLease {
            task: 129,
            state: Some(0xcbf2_9ce4_8422_2325),
            input: Bytes::from_static(b"one chunk of input"),
        },
        v1::TaskLease {
            task: 130,
            state: Some(0),
            input: Bytes::new(),
        },
        v1::TaskLease::default(),
    ];
    let results = vec![
        v1::TaskResult {
            task: 129,
            value: Bytes::from_static(&[0xe3, 0x06, 0x92, 0x83]),
            run_us: 1500,
        },
        v1::TaskResult::default(),
    ];
    let failures = vec![
        v1::TaskFailure {
            task: Some(0),
            reason: v1::TaskFailureReason::Invalid.into(),
            message: "the input has 3 bytes where the operation wants 4".to_owned(),
        },
        v1::TaskFailure {
            task: None,
            reason: v1::TaskFailureReason::Unsupported.into(),
            message: "no operation \"sha1\"".to_owned(),
        },
        v1::TaskFailure::default(),
    ];
    visit! { visitor:
        "TaskFrame.empty" v1::TaskFrame::default();
        "TaskFrame.hello" frame(Frame::Hello(v1::TaskHello {
            binding: Some(v1::StreamBinding::new(scope())),
            capabilities: Some(capabilities()),
        }));
        "TaskFrame.offer" frame(Frame::Offer(v1::TaskOffer { job: 1, spec: Some(spec), lease_ms: 10_000 }));
        "TaskFrame.wasm" offer(wasm, Some(wasm_limits));
        "TaskFrame.wgsl" offer(wgsl, None);
        "TaskFrame.native" offer(native, None);
        "TaskFrame.claim" frame(Frame::Claim(v1::TaskClaim { job: 1, window: 64, window_bytes: 16 << 20 }));
        "TaskFrame.leases" frame(Frame::Leases(v1::TaskLeases { job: 1, tasks: leases }));
        "TaskFrame.renewal" frame(Frame::Renewal(v1::TaskLeaseRenewal { job: 1, tasks: vec![129, 0] }));
        "TaskFrame.results" frame(Frame::Results(v1::TaskResults { job: 1, results }));
        "TaskFrame.failures" frame(Frame::Failures(v1::TaskFailures { job: 1, failures }));
        "TaskFrame.cancel" frame(Frame::Cancel(v1::TaskCancel { job: 1, tasks: vec![130, u64::MAX] }));
        "TaskFrame.cancel_job" frame(Frame::Cancel(v1::TaskCancel { job: 1, tasks: vec![] }));
    }
}

pub(crate) fn scope() -> Scope {
    Scope::new("cubechat", "lobby").unwrap()
}

/// A peer id as it is on the wire: the identity multihash of an Ed25519 public key.
fn peer(fill: u8) -> Bytes {
    let mut id = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    id.extend([fill; 32]);
    id.into()
}

fn header() -> v1::Header {
    v1::Header {
        kind: v1::Snapshot::KIND.into(),
        sequence: 1,
        ack: 127,
        timestamp_us: 1_763_700_000_000_000,
        tick: 128,
        game: "cubechat".to_owned(),
        room: "lobby – größer".to_owned(),
        sender: peer(0xa1),
        authority: Some(peer(0xa2)),
        target: Some(peer(0xa3)),
    }
}

fn binding() -> v1::StreamBinding {
    v1::StreamBinding {
        kind: v1::EventBatch::KIND.into(),
        authority: Some(peer(0xa2)),
        target: Some(Bytes::new()),
        ..v1::StreamBinding::new(scope())
    }
}

fn snapshot() -> v1::Snapshot {
    v1::Snapshot {
        provider: "terrain".to_owned(),
        version: 17,
        baseline: Some(0),
        payload: Bytes::from_static(b"\x00state\xff"),
        state_hash: Some(0x0123_4567_89ab_cdef),
        schema: 0xfedc_ba98_7654_3210,
    }
}

fn event_batch() -> v1::EventBatch {
    let spawn = v1::Event {
        id: 301,
        r#type: "spawn".to_owned(),
        payload: Bytes::from_static(b"{\"x\":1}"),
        reliable: true,
        ordered: true,
        after: 299,
        first_session: 0,
        first_id: 0,
    };
    v1::EventBatch {
        events: vec![spawn, v1::Event::default()],
        floor: 299,
    }
}

fn realtime_frame() -> v1::RealtimeFrame {
    v1::RealtimeFrame {
        binding: None,
        session: 1_763_700_000_000,
        peer_session: 1_763_699_999_123,
        sequence: 300,
        timestamp_us: 1_763_700_000_000_000,
        tick: 3600,
        snapshots: vec![snapshot(), v1::Snapshot::default()],
        snapshot_acks: vec![
            v1::SnapshotAck {
                provider: "terrain".to_owned(),
                version: 16,
                earlier: 0x8000_0000_0000_0001,
            },
            v1::SnapshotAck::default(),
        ],
        events: Some(event_batch()),
        event_ack: Some(v1::EventAck {
            through: 300,
            ids: vec![302],
        }),
        commands: Some(command_batch()),
        clock: Some(clock_sync()),
        memory: 0,
    }
}

fn command_batch() -> v1::CommandBatch {
    let jump = v1::Command {
        sequence: 9,
        tick: 1_000_000,
        provider: "avatar".to_owned(),
        payload: Bytes::from_static(b"jump"),
    };
    v1::CommandBatch {
        commands: vec![jump, v1::Command::default()],
    }
}

fn capabilities() -> v1::Capabilities {
    v1::Capabilities {
        workers: 8,
        cores: 16,
        memory_bytes: 32 << 30,
        gpu: true,
        ops_score: 2_500_000,
    }
}

fn room_listing() -> v1::RoomListing {
    v1::RoomListing {
        game: "cubechat".to_owned(),
        room: "lobby".to_owned(),
        title: "Everybody is welcome".to_owned(),
        metadata: BTreeMap::from([("map".to_owned(), "islands".to_owned())]),
    }
}

fn presence() -> v1::Presence {
    v1::Presence {
        peer: peer(0xa1),
        state: v1::PresenceState::Joined.into(),
        addresses: vec![
            "/ip4/192.0.2.7/tcp/4001".to_owned(),
            "/ip6/2001:db8::7/udp/4001/quic-v1".to_owned(),
        ],
        capabilities: Some(capabilities()),
        // One entry, because an encoder may write those of a map in any order.
        metadata: BTreeMap::from([("name".to_owned(), "Žofie".to_owned())]),
        sealed: Bytes::new(),
    }
}

fn clock_sync() -> v1::ClockSync {
    v1::ClockSync {
        originate_us: 1_763_700_000_000_000,
        receive_us: Some(1_763_700_000_010_250),
        transmit_us: Some(0),
        tick: 3600,
        anchor: Some(peer(0xa2)),
        room_us: -1_500_000,
    }
}

fn node_metrics() -> v1::NodeMetrics {
    let link = v1::LinkMetrics {
        peer: peer(0xa2),
        rtt_us: 25_000,
        jitter_us: 1_200,
        loss_ppm: 500,
        up_bytes_per_s: 12_500_000,
        down_bytes_per_s: 125_000_000,
        relayed: true,
    };
    v1::NodeMetrics {
        uptime_ms: 86_400_000,
        tasks_queued: 12,
        tasks_running: 8,
        tasks_done: 100_000,
        tasks_failed: 3,
        task_rate_milli: 1_250,
        bytes_sent: 1 << 40,
        bytes_received: u64::MAX,
        links: vec![link, v1::LinkMetrics::default()],
    }
}

fn cell_frame() -> v1::CellFrame {
    v1::CellFrame {
        changes: vec![512, -1, 64, -2048, 70_000],
        inputs_wanted: 1,
        outputs_wanted: 2,
        inputs_granted: 127,
        outputs_granted: 128,
        inputs_returned: 3,
        outputs_returned: 70_000,
    }
}

fn relay_config() -> v1::RelayConfig {
    v1::RelayConfig {
        relay_host: "relay.example.org".to_owned(),
        relay_port: 443,
        relay_protocol: "wss".to_owned(),
        relay_peer_id: "12D3KooWExample".to_owned(),
        relay_identity_file: "/var/lib/peercompute/identity".to_owned(),
        relay_config_url: "https://relay.example.org/relay-config.json".to_owned(),
        relay_config_file: "/var/lib/peercompute/relay-config.json".to_owned(),
        listen_host: "0.0.0.0".to_owned(),
        listen_port: 4001,
        public_host: "relay.example.org".to_owned(),
        public_port: 65_535,
        bootstrap_peers: vec!["/dns4/relay.example.org/tcp/443/wss/p2p/12D3KooWExample".to_owned()],
    }
}

fn blob_ref() -> v1::BlobRef {
    v1::BlobRef {
        hash: scope().to_bytes(),
        size: 1 << 20,
    }
}
