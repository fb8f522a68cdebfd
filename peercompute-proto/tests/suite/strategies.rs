//! Any message of each kind that keeps the limits of the schema.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use peercompute_proto::v1;

mod rooms;

pub(crate) use rooms::{
    authority_note, kept_event, kept_peer, lockstep_frame, lockstep_record, sync_frame,
};

fn bytes(limit: usize) -> impl Strategy<Value = Bytes> + Clone {
    vec(any::<u8>(), 0..=limit).prop_map(Bytes::from)
}

fn payload() -> impl Strategy<Value = Bytes> + Clone {
    // Small ones, and some that an encoder hands on without a copy.
    prop_oneof![9 => bytes(48), 1 => (any::<u8>(), 4000..9000_usize).prop_map(|(fill, size)| vec![fill; size].into())]
}

fn peer() -> impl Strategy<Value = Bytes> + Clone {
    bytes(64)
}

fn hash() -> impl Strategy<Value = Bytes> + Clone {
    any::<[u8; 32]>().prop_map(|hash| Bytes::copy_from_slice(&hash))
}

fn name() -> impl Strategy<Value = String> + Clone {
    // Sixteen characters are at most 64 bytes.
    "\\PC{0,16}"
}

fn text() -> impl Strategy<Value = String> + Clone {
    "\\PC{0,100}"
}

pub(crate) fn header() -> impl Strategy<Value = v1::Header> {
    (
        (
            any::<i32>(),
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
        ),
        (name(), name(), peer(), of(peer()), of(peer())),
    )
        .prop_map(
            |(
                (kind, sequence, ack, timestamp_us, tick),
                (game, room, sender, authority, target),
            )| v1::Header {
                kind,
                sequence,
                ack,
                timestamp_us,
                tick,
                game,
                room,
                sender,
                authority,
                target,
            },
        )
}

pub(crate) fn envelope() -> impl Strategy<Value = v1::Envelope> {
    (of(header()), payload()).prop_map(|(header, payload)| v1::Envelope { header, payload })
}

pub(crate) fn stream_binding() -> impl Strategy<Value = v1::StreamBinding> {
    (any::<u32>(), hash(), any::<i32>(), of(peer()), of(peer())).prop_map(
        |(version, scope, kind, authority, target)| v1::StreamBinding {
            version,
            scope,
            kind,
            authority,
            target,
        },
    )
}

pub(crate) fn snapshot() -> impl Strategy<Value = v1::Snapshot> {
    (
        name(),
        any::<u64>(),
        of(any::<u64>()),
        payload(),
        of(any::<u64>()),
        any::<u64>(),
    )
        .prop_map(
            |(provider, version, baseline, payload, state_hash, schema)| v1::Snapshot {
                provider,
                version,
                baseline,
                payload,
                state_hash,
                schema,
            },
        )
}

pub(crate) fn event_batch() -> impl Strategy<Value = v1::EventBatch> {
    let event = (
        any::<u64>(),
        name(),
        payload(),
        any::<bool>(),
        any::<bool>(),
        any::<u64>(),
        (any::<u64>(), any::<u64>()),
    )
        .prop_map(
            |(id, r#type, payload, reliable, ordered, after, first)| v1::Event {
                id,
                r#type,
                payload,
                reliable,
                ordered,
                after,
                first_session: first.0,
                first_id: first.1,
            },
        );
    (vec(event, 0..8), any::<u64>()).prop_map(|(events, floor)| v1::EventBatch { events, floor })
}

fn snapshot_ack() -> impl Strategy<Value = v1::SnapshotAck> {
    (name(), any::<u64>(), any::<u64>()).prop_map(|(provider, version, earlier)| v1::SnapshotAck {
        provider,
        version,
        earlier,
    })
}

pub(crate) fn realtime_frame() -> impl Strategy<Value = v1::RealtimeFrame> {
    (
        of(stream_binding()),
        (any::<u64>(), any::<u64>()),
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        vec(snapshot(), 0..=16),
        vec(snapshot_ack(), 0..=16),
        (of(event_batch()), of(event_ack())),
        (of(command_batch()), of(clock_sync())),
    )
        .prop_map(
            |(binding, sessions, counts, snapshots, snapshot_acks, events, rest)| {
                v1::RealtimeFrame {
                    binding,
                    session: sessions.0,
                    peer_session: sessions.1,
                    sequence: counts.0,
                    timestamp_us: counts.1,
                    tick: counts.2,
                    snapshots,
                    snapshot_acks,
                    events: events.0,
                    event_ack: events.1,
                    commands: rest.0,
                    clock: rest.1,
                    memory: counts.3,
                }
            },
        )
}

pub(crate) fn event_ack() -> impl Strategy<Value = v1::EventAck> {
    (any::<u64>(), vec(any::<u64>(), 0..=1024))
        .prop_map(|(through, ids)| v1::EventAck { through, ids })
}

pub(crate) fn command_batch() -> impl Strategy<Value = v1::CommandBatch> {
    let command = (any::<u64>(), any::<u64>(), name(), payload()).prop_map(
        |(sequence, tick, provider, payload)| v1::Command {
            sequence,
            tick,
            provider,
            payload,
        },
    );
    vec(command, 0..8).prop_map(|commands| v1::CommandBatch { commands })
}

pub(crate) fn capabilities() -> impl Strategy<Value = v1::Capabilities> {
    (
        any::<u32>(),
        any::<u32>(),
        any::<u64>(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(
            |(workers, cores, memory_bytes, gpu, ops_score)| v1::Capabilities {
                workers,
                cores,
                memory_bytes,
                gpu,
                ops_score,
            },
        )
}

pub(crate) fn presence() -> impl Strategy<Value = v1::Presence> {
    (
        peer(),
        any::<i32>(),
        vec(text(), 0..=16),
        of(capabilities()),
        btree_map(name(), "\\PC{0,64}", 0..=32),
        bytes(100),
    )
        .prop_map(
            |(peer, state, addresses, capabilities, metadata, sealed)| v1::Presence {
                peer,
                state,
                addresses,
                capabilities,
                metadata,
                sealed,
            },
        )
}

pub(crate) fn private_presence() -> impl Strategy<Value = v1::PrivatePresence> {
    (of(capabilities()), btree_map(name(), "\\PC{0,64}", 0..=32)).prop_map(
        |(capabilities, metadata)| v1::PrivatePresence {
            capabilities,
            metadata,
        },
    )
}

fn room_listing() -> impl Strategy<Value = v1::RoomListing> {
    (
        name(),
        name(),
        "\\PC{0,32}",
        btree_map(name(), "\\PC{0,64}", 0..=16),
    )
        .prop_map(|(game, room, title, metadata)| v1::RoomListing {
            game,
            room,
            title,
            metadata,
        })
}

pub(crate) fn health_frame() -> impl Strategy<Value = v1::HealthFrame> {
    (
        of(stream_binding()),
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(
            |(binding, sequence, interval_ms, echo, echo_delay_us)| v1::HealthFrame {
                binding,
                sequence,
                interval_ms,
                echo,
                echo_delay_us,
            },
        )
}

pub(crate) fn roaming_hello() -> impl Strategy<Value = v1::RoamingHello> {
    (name(), any::<[u8; 16]>()).prop_map(|(protocol, stream)| v1::RoamingHello {
        protocol,
        stream: Bytes::copy_from_slice(&stream),
    })
}

pub(crate) fn roaming_reply() -> impl Strategy<Value = v1::RoamingReply> {
    any::<i32>().prop_map(|outcome| v1::RoamingReply { outcome })
}

pub(crate) fn signal_frame() -> impl Strategy<Value = v1::SignalFrame> {
    use v1::signal_frame::Frame;

    let candidate = (name(), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
        |(address, port, priority, is_reflexive)| v1::IceCandidate {
            address,
            port,
            priority,
            is_reflexive,
        },
    );
    let signed =
        (any::<[u8; 16]>(), hash(), any::<[u8; 32]>()).prop_map(|(session, hash, half)| {
            let signature = [half, half].concat();
            (Bytes::copy_from_slice(&session), hash, signature.into())
        });
    let description = (signed, name(), name(), vec(candidate, 0..4)).prop_map(
        |((session, fingerprint, signature), ice_ufrag, ice_pwd, candidates)| {
            v1::SessionDescription {
                session,
                ice_ufrag,
                ice_pwd,
                fingerprint,
                candidates,
                signature,
            }
        },
    );
    let refusal = any::<i32>().prop_map(|reason| Frame::Refusal(v1::SignalRefusal { reason }));
    of(prop_oneof![
        description.clone().prop_map(Frame::Offer),
        description.prop_map(Frame::Answer),
        refusal
    ])
    .prop_map(|frame| v1::SignalFrame { frame })
}

pub(crate) fn clock_sync() -> impl Strategy<Value = v1::ClockSync> {
    (
        any::<u64>(),
        of(any::<u64>()),
        of(any::<u64>()),
        any::<u64>(),
        of(peer()),
        any::<i64>(),
    )
        .prop_map(
            |(originate_us, receive_us, transmit_us, tick, anchor, room_us)| v1::ClockSync {
                originate_us,
                receive_us,
                transmit_us,
                tick,
                anchor,
                room_us,
            },
        )
}

pub(crate) fn node_metrics() -> impl Strategy<Value = v1::NodeMetrics> {
    let link = (
        (peer(), any::<u32>(), any::<u32>(), any::<u32>()),
        (any::<u64>(), any::<u64>(), any::<bool>()),
    )
        .prop_map(
            |((peer, rtt_us, jitter_us, loss_ppm), (up_bytes_per_s, down_bytes_per_s, relayed))| {
                v1::LinkMetrics {
                    peer,
                    rtt_us,
                    jitter_us,
                    loss_ppm,
                    up_bytes_per_s,
                    down_bytes_per_s,
                    relayed,
                }
            },
        );
    (
        (
            any::<u64>(),
            any::<u32>(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
        ),
        (any::<u64>(), any::<u64>(), any::<u64>(), vec(link, 0..8)),
    )
        .prop_map(
            |(
                (uptime_ms, tasks_queued, tasks_running, tasks_done, tasks_failed),
                (task_rate_milli, bytes_sent, bytes_received, links),
            )| v1::NodeMetrics {
                uptime_ms,
                tasks_queued,
                tasks_running,
                tasks_done,
                tasks_failed,
                task_rate_milli,
                bytes_sent,
                bytes_received,
                links,
            },
        )
}

pub(crate) fn cell_frame() -> impl Strategy<Value = v1::CellFrame> {
    // Most fields of most frames are not set.
    let slots = || prop_oneof![Just(0), 0..300_u32, any::<u32>()];
    let change = prop_oneof![Just(0), -300..300_i32, any::<i32>()];
    (
        vec(change, 0..=5),
        (slots(), slots()),
        (slots(), slots()),
        (slots(), slots()),
    )
        .prop_map(|(changes, wanted, granted, returned)| v1::CellFrame {
            changes,
            inputs_wanted: wanted.0,
            outputs_wanted: wanted.1,
            inputs_granted: granted.0,
            outputs_granted: granted.1,
            inputs_returned: returned.0,
            outputs_returned: returned.1,
        })
}

pub(crate) fn link_frame() -> impl Strategy<Value = v1::LinkFrame> {
    let figure = prop_oneof![Just(0), -3000..3000_i32, any::<i32>()];
    (
        of(stream_binding()),
        0..=12_i32,
        vec(figure, 0..=5),
        any::<u32>(),
        vec(any::<u8>(), 0..40),
        any::<u64>(),
        vec(prop_oneof![Just(0), 0..300_u32, any::<u32>()], 0..=7),
    )
        .prop_map(
            |(binding, note, figures, rate, padding, root, beacon)| v1::LinkFrame {
                binding,
                note,
                figures,
                rate,
                padding: padding.into(),
                root,
                beacon,
            },
        )
}

fn flow_job() -> impl Strategy<Value = v1::FlowJob> {
    let key = (peer(), any::<u64>()).prop_map(|(peer, number)| v1::FlowKey { peer, number });
    (
        (any::<u32>(), of(key), any::<u32>()),
        (any::<u32>(), any::<u32>(), 0..40_u32, 0..40_u32),
        "[a-z ]{0,40}",
    )
        .prop_map(
            |(
                (job, key, lease_ms),
                (input_bytes, output_bytes, source_hops, worker_hops),
                refusal,
            )| v1::FlowJob {
                job,
                spec: key.is_some().then(v1::TaskSpec::default),
                key,
                lease_ms,
                input_bytes,
                output_bytes,
                source_hops,
                worker_hops,
                refusal,
            },
        )
}

fn flow_chunk() -> impl Strategy<Value = v1::FlowChunk> {
    let begin = (any::<u64>(), any::<u32>(), 0..40_u32)
        .prop_map(|(bundle, size, hops)| v1::FlowBegin { bundle, size, hops });
    (
        any::<u32>(),
        any::<bool>(),
        of(begin),
        vec(any::<u8>(), 0..200),
    )
        .prop_map(|(job, output, begin, data)| v1::FlowChunk {
            job,
            output,
            begin,
            data: data.into(),
        })
}

pub(crate) fn flow_frame() -> impl Strategy<Value = v1::FlowFrame> {
    let echo =
        any::<[u64; 5]>().prop_map(
            |[sent_us, echo_us, delay_us, received, rate]| v1::FlowEcho {
                sent_us,
                echo_us,
                delay_us,
                received,
                rate,
            },
        );
    let cell =
        (any::<u32>(), of(cell_frame())).prop_map(|(job, frame)| v1::FlowCell { job, frame });
    let renewal = (
        any::<u32>(),
        vec(any::<u64>(), 0..8),
        0..40_u32,
        any::<bool>(),
    )
        .prop_map(|(job, bundles, hops, lost)| v1::FlowRenewal {
            job,
            bundles,
            hops,
            lost,
        });
    let end = (any::<u32>(), any::<bool>()).prop_map(|(job, over)| v1::FlowEnd { job, over });
    (
        of(echo),
        vec(flow_job(), 0..3),
        vec(cell, 0..4),
        vec(flow_chunk(), 0..4),
        vec(renewal, 0..3),
        vec(end, 0..3),
        vec(any::<u32>(), 0..4),
    )
        .prop_map(
            |(echo, jobs, cells, chunks, renewals, ends, refused)| v1::FlowFrame {
                hello: None,
                echo,
                jobs,
                cells,
                chunks,
                renewals,
                ends,
                refused,
            },
        )
}

pub(crate) fn flow_inputs() -> impl Strategy<Value = v1::FlowInputs> {
    let input =
        (of(any::<u64>()), vec(any::<u8>(), 0..100)).prop_map(|(state, input)| v1::FlowInput {
            state,
            input: input.into(),
        });
    vec(input, 0..8).prop_map(|tasks| v1::FlowInputs { tasks })
}

pub(crate) fn flow_outputs() -> impl Strategy<Value = v1::FlowOutputs> {
    let failure = (0..9_i32, "[a-z ]{0,40}")
        .prop_map(|(reason, message)| v1::FlowFailure { reason, message });
    let output = (vec(any::<u8>(), 0..100), any::<u32>(), of(failure)).prop_map(
        |(value, run_us, failure)| v1::FlowOutput {
            value: value.into(),
            run_us,
            failure,
        },
    );
    (peer(), vec(output, 0..8)).prop_map(|(peer, results)| v1::FlowOutputs { peer, results })
}

pub(crate) fn rendezvous_frame() -> impl Strategy<Value = v1::RendezvousFrame> {
    use v1::rendezvous_frame::Frame;

    let register =
        (hash(), of(presence()), of(room_listing())).prop_map(|(scope, presence, listing)| {
            Frame::Register(v1::RendezvousRegister {
                scope,
                presence,
                listing,
            })
        });
    let asked = (name(), of(hash()))
        .prop_map(|(game, after)| Frame::RoomsRequest(v1::RendezvousRoomsRequest { game, after }));
    let listed = (of(room_listing()), any::<u32>())
        .prop_map(|(listing, members)| v1::ListedRoom { listing, members });
    let rooms = (vec(listed, 0..4), any::<bool>())
        .prop_map(|(rooms, complete)| Frame::Rooms(v1::RendezvousRooms { rooms, complete }));
    let members = (vec(presence(), 0..4), any::<bool>()).prop_map(|(members, complete)| {
        Frame::Members(v1::RendezvousMembers { members, complete })
    });
    let refusal = (any::<i32>(), text())
        .prop_map(|(reason, message)| Frame::Refusal(v1::RendezvousRefusal { reason, message }));
    of(prop_oneof![register, members, refusal, asked, rooms])
        .prop_map(|frame| v1::RendezvousFrame { frame })
}

fn task_spec() -> impl Strategy<Value = v1::TaskSpec> {
    let builtin = (name(), any::<u32>()).prop_map(|(operation, immediate)| {
        v1::program::Program::Builtin(v1::BuiltinProgram {
            operation,
            immediate,
        })
    });
    let wasm = (hash(), any::<u64>())
        .prop_map(|(hash, size)| v1::program::Program::Wasm(v1::WasmProgram { hash, size }));
    let wgsl = (
        (hash(), any::<u64>(), name(), bytes(48)),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>()),
    )
        .prop_map(|((hash, size, entry_point, uniforms), (x, y, z, output))| {
            v1::program::Program::Wgsl(v1::WgslProgram {
                hash,
                size,
                entry_point,
                workgroups_x: x,
                workgroups_y: y,
                workgroups_z: z,
                output_bytes: output,
                uniforms,
            })
        });
    let native = name().prop_map(|name| v1::program::Program::Native(v1::NativeProgram { name }));
    let program =
        of(prop_oneof![builtin, wasm, wgsl, native]).prop_map(|program| v1::Program { program });
    let limits =
        any::<[u64; 4]>().prop_map(|[max_output_bytes, deadline_ms, memory_bytes, fuel]| {
            v1::TaskLimits {
                max_output_bytes,
                deadline_ms,
                memory_bytes,
                fuel,
            }
        });
    (of(program), of(limits)).prop_map(|(program, limits)| v1::TaskSpec { program, limits })
}

pub(crate) fn task_frame() -> impl Strategy<Value = v1::TaskFrame> {
    use v1::task_frame::Frame;

    let ids = || vec(any::<u64>(), 0..20);
    let job = any::<u32>;
    let hello = (of(stream_binding()), of(capabilities())).prop_map(|(binding, capabilities)| {
        Frame::Hello(v1::TaskHello {
            binding,
            capabilities,
        })
    });
    let offer = (job(), of(task_spec()), any::<u32>()).prop_map(|(job, spec, lease_ms)| {
        Frame::Offer(v1::TaskOffer {
            job,
            spec,
            lease_ms,
        })
    });
    let claim = (job(), any::<u32>(), any::<u64>()).prop_map(|(job, window, window_bytes)| {
        Frame::Claim(v1::TaskClaim {
            job,
            window,
            window_bytes,
        })
    });
    let lease = (any::<u64>(), of(any::<u64>()), payload())
        .prop_map(|(task, state, input)| v1::TaskLease { task, state, input });
    let leases = (job(), vec(lease, 0..20))
        .prop_map(|(job, tasks)| Frame::Leases(v1::TaskLeases { job, tasks }));
    let renewal =
        (job(), ids()).prop_map(|(job, tasks)| Frame::Renewal(v1::TaskLeaseRenewal { job, tasks }));
    let result =
        (any::<u64>(), payload(), any::<u32>()).prop_map(|(task, value, run_us)| v1::TaskResult {
            task,
            value,
            run_us,
        });
    let results = (job(), vec(result, 0..20))
        .prop_map(|(job, results)| Frame::Results(v1::TaskResults { job, results }));
    let failure = (of(any::<u64>()), any::<i32>(), text()).prop_map(|(task, reason, message)| {
        v1::TaskFailure {
            task,
            reason,
            message,
        }
    });
    let failures = (job(), vec(failure, 0..20))
        .prop_map(|(job, failures)| Frame::Failures(v1::TaskFailures { job, failures }));
    let cancel =
        (job(), ids()).prop_map(|(job, tasks)| Frame::Cancel(v1::TaskCancel { job, tasks }));
    of(prop_oneof![
        hello, offer, claim, leases, renewal, results, failures, cancel
    ])
    .prop_map(|frame| v1::TaskFrame { frame })
}

fn blob_ref() -> impl Strategy<Value = v1::BlobRef> {
    (hash(), any::<u64>()).prop_map(|(hash, size)| v1::BlobRef { hash, size })
}

pub(crate) fn blob_request() -> impl Strategy<Value = v1::BlobRequest> {
    (of(blob_ref()), any::<u64>(), any::<u64>()).prop_map(|(blob, offset, length)| {
        v1::BlobRequest {
            blob,
            offset,
            length,
        }
    })
}

pub(crate) fn blob_chunk() -> impl Strategy<Value = v1::BlobChunk> {
    (of(blob_ref()), any::<u64>(), payload()).prop_map(|(blob, offset, data)| v1::BlobChunk {
        blob,
        offset,
        data,
    })
}

pub(crate) fn blob_frame() -> impl Strategy<Value = v1::BlobFrame> {
    use v1::blob_frame::Frame;
    let frame = prop_oneof![
        blob_request().prop_map(Frame::Request),
        blob_chunk().prop_map(Frame::Chunk),
        blob_missing().prop_map(Frame::Missing),
    ];
    (of(stream_binding()), of(frame)).prop_map(|(binding, frame)| v1::BlobFrame { binding, frame })
}

pub(crate) fn blob_missing() -> impl Strategy<Value = v1::BlobMissing> {
    of(blob_ref()).prop_map(|blob| v1::BlobMissing { blob })
}

pub(crate) fn relay_config() -> impl Strategy<Value = v1::RelayConfig> {
    let port = any::<u16>;
    (
        (text(), port(), text(), text(), text(), text()),
        (text(), text(), port(), text(), port(), vec(text(), 0..8)),
    )
        .prop_map(|(relay, listen)| v1::RelayConfig {
            relay_host: relay.0,
            relay_port: relay.1.into(),
            relay_protocol: relay.2,
            relay_peer_id: relay.3,
            relay_identity_file: relay.4,
            relay_config_url: relay.5,
            relay_config_file: listen.0,
            listen_host: listen.1,
            listen_port: listen.2.into(),
            public_host: listen.3,
            public_port: listen.4.into(),
            bootstrap_peers: listen.5,
        })
}
