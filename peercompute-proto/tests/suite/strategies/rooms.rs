//! What rooms that share one state say: authority, lockstep and hybrid mode.

use super::*;

pub(crate) fn authority_note() -> impl Strategy<Value = v1::AuthorityNote> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let claim = (peer(), numbers, numbers, any::<u32>()).prop_map(
        |(host, (session, beat, term), (revision, joined_us, age_us), size)| v1::AuthorityClaim {
            host,
            session,
            beat,
            term,
            revision,
            size,
            joined_us,
            age_us,
        },
    );
    let rest = (of(stream_binding()), any::<(u64, u64)>());
    (numbers, of(claim), of(peer()), any::<bool>(), rest).prop_map(
        |((session, sequence, joined_us), claim, successor, leaving, (binding, heard))| {
            v1::AuthorityNote {
                session,
                sequence,
                joined_us,
                claim,
                successor,
                leaving,
                binding,
                heard_session: heard.0,
                heard: heard.1,
            }
        },
    )
}

fn lockstep_seat() -> impl Strategy<Value = v1::LockstepSeat> + Clone {
    (
        any::<u32>(),
        peer(),
        any::<u64>(),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|(seat, peer, session, number, absent)| v1::LockstepSeat {
            seat,
            peer,
            session,
            number,
            absent,
        })
}

fn lockstep_commands() -> impl Strategy<Value = Vec<v1::LockstepCommand>> + Clone {
    let command = (any::<u64>(), any::<u64>(), payload()).prop_map(|(number, tick, payload)| {
        v1::LockstepCommand {
            number,
            tick,
            payload,
        }
    });
    vec(command, 0..4)
}

fn lockstep_tick() -> impl Strategy<Value = v1::LockstepTick> + Clone {
    let share = (any::<u32>(), lockstep_commands())
        .prop_map(|(seat, commands)| v1::LockstepShare { seat, commands });
    (
        any::<u64>(),
        vec(lockstep_seat(), 0..4),
        vec(any::<u32>(), 0..8),
        vec(share, 0..4),
    )
        .prop_map(|(tick, joined, left, shares)| v1::LockstepTick {
            tick,
            joined,
            left,
            shares,
        })
}

fn lockstep_input() -> impl Strategy<Value = v1::LockstepInput> {
    (
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        lockstep_commands(),
        (any::<u64>(), vec(any::<u64>(), 0..64)),
        (any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>()),
    )
        .prop_map(|(known, commands, hashes, snapshot)| v1::LockstepInput {
            session: known.0,
            sealed: known.1,
            chain: known.2,
            through: known.3,
            commands,
            hashes_from: hashes.0,
            hashes: hashes.1,
            wants_snapshot: snapshot.0,
            snapshot_tick: snapshot.1,
            snapshot_chunks: snapshot.2,
            snapshot_later: snapshot.3,
        })
}

fn lockstep_seal() -> impl Strategy<Value = v1::LockstepSeal> {
    (
        (any::<u64>(), any::<u64>(), any::<u64>()),
        vec(lockstep_tick(), 0..4),
        (any::<bool>(), any::<u32>(), any::<u32>(), any::<u64>()),
        of((any::<u64>(), any::<u32>())),
    )
        .prop_map(|(at, ticks, rest, desync)| v1::LockstepSeal {
            tip: at.0,
            base: at.1,
            chain: at.2,
            ticks,
            collecting: rest.0,
            delay: rest.1,
            rate_millihertz: rest.2,
            compared: rest.3,
            desync: desync.map(|(tick, namespace)| v1::LockstepDesync { tick, namespace }),
            restore: rest.3 % 2 == 1,
        })
}

fn lockstep_snapshot() -> impl Strategy<Value = v1::LockstepSnapshot> {
    (
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        vec(lockstep_seat(), 0..4),
        any::<u64>(),
        payload(),
    )
        .prop_map(|(of, roster, offset, data)| v1::LockstepSnapshot {
            tick: of.0,
            chain: of.1,
            size: of.2,
            digest: of.3,
            roster,
            offset,
            data,
        })
}

pub(crate) fn lockstep_frame() -> impl Strategy<Value = v1::LockstepFrame> {
    (
        of(stream_binding()),
        any::<u64>(),
        (any::<u64>(), any::<u64>()),
        of(lockstep_input()),
        of(lockstep_seal()),
        of(lockstep_snapshot()),
    )
        .prop_map(
            |(binding, term, (setup, sequence), input, seal, snapshot)| v1::LockstepFrame {
                binding,
                term,
                setup,
                input,
                seal,
                snapshot,
                sequence,
            },
        )
}

pub(crate) fn lockstep_record() -> impl Strategy<Value = v1::LockstepRecord> {
    use v1::lockstep_record::Record;
    let setup = (
        (name(), any::<u64>(), any::<u32>()),
        vec(name(), 0..8),
        any::<u64>(),
        vec(lockstep_seat(), 0..4),
    )
        .prop_map(
            |((game, seed, rate_millihertz), namespaces, start, roster)| {
                Record::Setup(v1::LockstepSetup {
                    game,
                    seed,
                    rate_millihertz,
                    namespaces,
                    start,
                    roster,
                })
            },
        );
    let hashes = (any::<u64>(), vec(any::<u64>(), 0..=64))
        .prop_map(|(tick, hashes)| Record::Hashes(v1::LockstepHashes { tick, hashes }));
    let takeover = (
        any::<u64>(),
        vec(lockstep_seat(), 0..4),
        vec(any::<u64>(), 0..=64),
    )
        .prop_map(|(tick, roster, sizes)| {
            Record::Takeover(v1::LockstepTakeover {
                tick,
                roster,
                sizes,
            })
        });
    let record = prop_oneof![
        setup,
        lockstep_tick().prop_map(Record::Tick),
        hashes,
        takeover,
        bytes(200).prop_map(Record::State),
    ];
    of(record).prop_map(|record| v1::LockstepRecord { record })
}

fn sync_state() -> impl Strategy<Value = v1::SyncState> {
    let mark =
        (peer(), any::<u64>(), any::<u64>()).prop_map(|(peer, session, number)| v1::SyncMark {
            peer,
            session,
            number,
        });
    (
        (any::<u64>(), any::<u64>(), any::<u64>()),
        payload(),
        vec(mark, 0..4),
    )
        .prop_map(|((tick, digest, offset), data, marks)| v1::SyncState {
            tick,
            digest,
            offset,
            data,
            marks,
        })
}

pub(crate) fn kept_event() -> impl Strategy<Value = v1::KeptEvent> {
    (
        (any::<u64>(), any::<u64>()),
        name(),
        payload(),
        any::<bool>(),
        (any::<u64>(), any::<u64>(), any::<u32>()),
    )
        .prop_map(|(id, r#type, payload, ordered, retry)| v1::KeptEvent {
            session: id.0,
            id: id.1,
            r#type,
            payload,
            ordered,
            queued_us: retry.0,
            first_wait_us: retry.1,
            sends: retry.2,
        })
}

pub(crate) fn kept_peer() -> impl Strategy<Value = v1::KeptPeer> {
    let window = (
        any::<u64>(),
        any::<u64>(),
        vec(any::<u64>(), 0..8),
        any::<u64>(),
    )
        .prop_map(|(session, through, ids, last_ordered)| v1::KeptWindow {
            session,
            through,
            ids,
            last_ordered,
        });
    (
        any::<u64>(),
        any::<u64>(),
        vec(window, 0..=17),
        any::<bool>(),
    )
        .prop_map(
            |(memory, peer_memory, windows, has_forgotten)| v1::KeptPeer {
                memory,
                peer_memory,
                windows,
                has_forgotten,
            },
        )
}

pub(crate) fn sync_frame() -> impl Strategy<Value = v1::SyncFrame> {
    let numbers = || vec(any::<u64>(), 0..=64);
    let point = (any::<u64>(), any::<u64>(), numbers(), numbers()).prop_map(
        |(term, tick, hashes, sizes)| v1::SyncPoint {
            term,
            tick,
            hashes,
            sizes,
        },
    );
    let want = (
        (any::<u64>(), any::<u64>(), any::<u64>()),
        vec(any::<u32>(), 0..=64),
        (any::<u64>(), any::<u64>()),
    )
        .prop_map(
            |((term, heard, tick), namespaces, (chunks, later))| v1::SyncWant {
                term,
                heard,
                tick,
                namespaces,
                chunks,
                later,
            },
        );
    (
        of(stream_binding()),
        (any::<u64>(), any::<u64>(), any::<u64>()),
        lockstep_commands(),
        (any::<u64>(), any::<u64>()),
        (of(point), of(want), of(sync_state())),
    )
        .prop_map(
            |(
                binding,
                (setup, session, sequence),
                commands,
                (taken_session, taken),
                (point, want, state),
            )| v1::SyncFrame {
                binding,
                setup,
                session,
                sequence,
                commands,
                taken_session,
                taken,
                point,
                want,
                state,
            },
        )
}
