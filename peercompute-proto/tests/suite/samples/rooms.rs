//! What rooms that share one state say: authority, lockstep and hybrid mode.

use super::*;

pub(super) fn kept(visitor: &mut impl Visitor) {
    visit! { visitor:
        "KeptEvent" v1::KeptEvent {
            session: 1_763_699_000_000,
            id: 301,
            r#type: "spawn".to_owned(),
            payload: Bytes::from_static(b"{\"x\":1}"),
            ordered: true,
            queued_us: 1_763_700_000_000_000,
            first_wait_us: 500_000,
            sends: 5,
        };
        "KeptEvent.empty" v1::KeptEvent::default();
        "KeptPeer" v1::KeptPeer {
            memory: 1_763_690_000_000,
            peer_memory: 1_763_691_000_000,
            windows: vec![
                v1::KeptWindow { session: 1_763_699_000_000, through: 299, ids: vec![301, 70_000], last_ordered: 301 },
                v1::KeptWindow::default(),
            ],
            has_forgotten: true,
        };
        "KeptPeer.empty" v1::KeptPeer::default();
    }
}

pub(super) fn authority(visitor: &mut impl Visitor) {
    let note = v1::AuthorityNote {
        session: 1_763_700_000_000,
        sequence: 300,
        joined_us: 12_345_678,
        claim: Some(authority_claim()),
        successor: Some(peer(0xa2)),
        leaving: true,
        heard_session: 1_763_700_000_002,
        heard: 77,
        binding: Some(v1::StreamBinding::new(
            peercompute_proto::Scope::new("demo", "lobby").unwrap(),
        )),
    };
    visit! { visitor:
        "AuthorityNote" note;
        "AuthorityNote.empty" v1::AuthorityNote::default();
        "AuthorityNote.follower" v1::AuthorityNote {
            session: 1_763_700_000_001,
            sequence: 1,
            joined_us: 20_000_000,
            claim: Some(authority_claim()),
            ..v1::AuthorityNote::default()
        };
    }
}

fn authority_claim() -> v1::AuthorityClaim {
    v1::AuthorityClaim {
        host: peer(0xa1),
        session: 1_763_700_000_000,
        beat: 300,
        term: 2,
        revision: 7,
        size: 16,
        joined_us: 12_345_678,
        age_us: 166_667,
    }
}

pub(super) fn lockstep(visitor: &mut impl Visitor) {
    visit! { visitor:
        "LockstepFrame" lockstep_frame();
        "LockstepFrame.empty" v1::LockstepFrame::default();
        "LockstepFrame.hello" v1::LockstepFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            term: 1,
            setup: 0x0123_4567_89ab_cdef,
            input: Some(v1::LockstepInput { session: 1_763_700_000_000, chain: 0xcbf2_9ce4_8422_2325, ..v1::LockstepInput::default() }),
            ..v1::LockstepFrame::default()
        };
        "LockstepFrame.collecting" v1::LockstepFrame {
            term: 2,
            setup: 0x0123_4567_89ab_cdef,
            seal: Some(v1::LockstepSeal { tip: 3600, base: 3600, chain: 5, collecting: true, ..v1::LockstepSeal::default() }),
            ..v1::LockstepFrame::default()
        };
        "LockstepFrame.seal" v1::LockstepFrame { binding: None, input: None, snapshot: None, ..lockstep_frame() };
        "LockstepFrame.snapshot" v1::LockstepFrame { binding: None, input: None, seal: None, ..lockstep_frame() };
        "LockstepRecord" v1::LockstepRecord { record: Some(v1::lockstep_record::Record::Tick(lockstep_tick())) };
        "LockstepRecord.empty" v1::LockstepRecord::default();
        "LockstepRecord.setup" v1::LockstepRecord {
            record: Some(v1::lockstep_record::Record::Setup(v1::LockstepSetup {
                game: "demo".to_owned(),
                seed: 7,
                rate_millihertz: 60_000,
                namespaces: vec!["world".to_owned(), "score".to_owned()],
                start: 3599,
                roster: vec![lockstep_seat(), v1::LockstepSeat::default()],
            })),
        };
        "LockstepRecord.hashes" v1::LockstepRecord {
            record: Some(v1::lockstep_record::Record::Hashes(v1::LockstepHashes { tick: 3600, hashes: vec![1, u64::MAX] })),
        };
        "LockstepRecord.takeover" v1::LockstepRecord {
            record: Some(v1::lockstep_record::Record::Takeover(v1::LockstepTakeover {
                tick: 3600,
                roster: vec![lockstep_seat(), v1::LockstepSeat::default()],
                sizes: vec![5, 0],
            })),
        };
        "LockstepRecord.state" v1::LockstepRecord {
            record: Some(v1::lockstep_record::Record::State(Bytes::from_static(b"world"))),
        };
    }
}

pub(super) fn sync(visitor: &mut impl Visitor) {
    let only = || v1::SyncFrame {
        binding: None,
        commands: Vec::new(),
        point: None,
        want: None,
        state: None,
        ..sync_frame()
    };
    visit! { visitor:
        "SyncFrame" sync_frame();
        "SyncFrame.empty" v1::SyncFrame::default();
        "SyncFrame.hello" v1::SyncFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            setup: 0x0123_4567_89ab_cdef,
            session: 1_763_700_000_000,
            sequence: 1,
            commands: sync_frame().commands,
            ..v1::SyncFrame::default()
        };
        "SyncFrame.point" v1::SyncFrame { point: sync_frame().point, ..only() };
        "SyncFrame.want" v1::SyncFrame { want: sync_frame().want, ..only() };
        "SyncFrame.state" v1::SyncFrame { state: sync_frame().state, ..only() };
    }
}

fn sync_frame() -> v1::SyncFrame {
    let run = v1::LockstepCommand {
        number: 43,
        tick: 3606,
        payload: Bytes::from_static(b"run"),
    };
    v1::SyncFrame {
        binding: Some(v1::StreamBinding::new(scope())),
        setup: 0x0123_4567_89ab_cdef,
        session: 1_763_700_000_000,
        sequence: 300,
        commands: vec![run, v1::LockstepCommand::default()],
        taken_session: 1_763_700_000_001,
        taken: 17,
        point: Some(v1::SyncPoint {
            term: 2,
            tick: 3600,
            hashes: vec![1, u64::MAX],
            sizes: vec![8, 61_440],
        }),
        want: Some(v1::SyncWant {
            term: 2,
            heard: 3600,
            tick: 3540,
            namespaces: vec![0, 1, 63],
            chunks: 4,
            later: 0x8000_0000_0000_0001,
        }),
        state: Some(v1::SyncState {
            tick: 3540,
            digest: 0xfedc_ba98_7654_3210,
            offset: 61_440,
            data: Bytes::from_static(b"a state."),
            marks: vec![
                v1::SyncMark {
                    peer: peer(0xa2),
                    session: 1_763_700_000_000,
                    number: 42,
                },
                v1::SyncMark::default(),
            ],
        }),
    }
}

fn lockstep_seat() -> v1::LockstepSeat {
    v1::LockstepSeat {
        seat: 3,
        peer: peer(0xa2),
        session: 1_763_700_000_000,
        number: 41,
        absent: true,
    }
}

fn lockstep_tick() -> v1::LockstepTick {
    let jump = v1::LockstepCommand {
        number: 42,
        tick: 0,
        payload: Bytes::from_static(b"jump"),
    };
    v1::LockstepTick {
        tick: 3600,
        joined: vec![lockstep_seat(), v1::LockstepSeat::default()],
        left: vec![1, 300],
        shares: vec![
            v1::LockstepShare {
                seat: 3,
                commands: vec![jump, v1::LockstepCommand::default()],
            },
            v1::LockstepShare::default(),
        ],
    }
}

fn lockstep_frame() -> v1::LockstepFrame {
    let run = v1::LockstepCommand {
        number: 43,
        tick: 3606,
        payload: Bytes::from_static(b"run"),
    };
    v1::LockstepFrame {
        binding: Some(v1::StreamBinding::new(scope())),
        term: 2,
        sequence: 300,
        setup: 0x0123_4567_89ab_cdef,
        input: Some(v1::LockstepInput {
            session: 1_763_700_000_000,
            sealed: 3599,
            chain: 0xfedc_ba98_7654_3210,
            through: 3605,
            commands: vec![run, v1::LockstepCommand::default()],
            hashes_from: 3590,
            hashes: vec![1, 2, u64::MAX],
            wants_snapshot: true,
            snapshot_tick: 3000,
            snapshot_chunks: 17,
            snapshot_later: 0x8000_0000_0000_0001,
        }),
        seal: Some(v1::LockstepSeal {
            tip: 3600,
            base: 3599,
            chain: 0xfedc_ba98_7654_3210,
            ticks: vec![lockstep_tick(), v1::LockstepTick::default()],
            collecting: true,
            delay: 6,
            rate_millihertz: 60_000,
            compared: 3589,
            desync: Some(v1::LockstepDesync {
                tick: 3588,
                namespace: 1,
            }),
            restore: true,
        }),
        snapshot: Some(v1::LockstepSnapshot {
            tick: 3000,
            chain: 5,
            size: 1_000_000,
            digest: 0x0102_0304_0506_0708,
            roster: vec![lockstep_seat(), v1::LockstepSeat::default()],
            offset: 65_536,
            data: Bytes::from_static(b"\x00\x01\xfe\xff"),
        }),
    }
}
