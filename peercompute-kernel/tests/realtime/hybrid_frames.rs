//! Single peers in hybrid mode, and what others send them: in due order, late, or as no honest peer does.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_kernel::{
    AuthorityEvent, CommandError, Hybrid, HybridConfig, HybridEvent, HybridStats,
    LockstepSetupError, SealedTick, SnapshotError, Step, limits,
};
use peercompute_net::PeerId;
use peercompute_proto::v1;
use proptest::prelude::*;

use crate::{
    cases,
    net::{Random, peer_id},
};

const SECOND: Duration = Duration::from_secs(1);
/// A little more than a tick at 60 Hz, so that each has begun.
const TICK: Duration = Duration::from_micros(16_667);

fn ids() -> Vec<PeerId> {
    let mut random = Random(7);
    (0..4).map(|_| peer_id(&mut random)).collect()
}

fn hybrid(id: PeerId) -> Hybrid {
    let mut config = HybridConfig::default();
    config.namespaces = vec!["one".to_owned(), "other".to_owned()];
    let mut hybrid = Hybrid::new(SECOND, id, config).unwrap();
    for other in ids() {
        hybrid.handle_joined(SECOND, other);
    }
    hybrid
}

/// A peer whose state is a number in each of two namespaces.
struct Lone {
    hybrid: Hybrid,
    states: [u64; 2],
    steps: Vec<SealedTick>,
    restored: Vec<u64>,
    sent: VecDeque<(PeerId, v1::SyncFrame)>,
}

impl Lone {
    fn new(place: usize) -> Self {
        Self {
            hybrid: hybrid(ids()[place]),
            states: [0; 2],
            steps: Vec::new(),
            restored: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// It is this tick now.
    fn at(&mut self, tick: u64) -> Duration {
        let room = TICK * u32::try_from(tick).unwrap();
        self.hybrid.set_room_time(SECOND + room, room);
        SECOND + room
    }

    fn go_to(&mut self, tick: u64) {
        for tick in self.hybrid.tick() + 1..=tick {
            let now = self.at(tick);
            self.hybrid.handle_timeout(now);
            self.settle(now);
        }
    }

    fn settle(&mut self, now: Duration) {
        while let Some(step) = self.hybrid.poll_step() {
            match step {
                Step::Advance(tick) => {
                    let commands = tick.inputs.iter().flat_map(|(_, commands)| commands);
                    self.states[0] += commands.map(|command| u64::from(command[0])).sum::<u64>();
                    self.steps.push(tick);
                }
                Step::Save { tick } => {
                    let states = self
                        .states
                        .map(|state| Bytes::copy_from_slice(&state.to_le_bytes()));
                    self.hybrid.handle_states(tick, states.to_vec()).unwrap();
                }
                Step::Restore { tick, states } => {
                    for (own, state) in self.states.iter_mut().zip(&states) {
                        *own = u64::from_le_bytes(state[..].try_into().unwrap_or([9; 8]));
                    }
                    self.steps.clear();
                    self.restored.push(tick);
                }
                _ => unreachable!(),
            }
        }
        for _ in 0..10_000 {
            let Some((to, frame)) = self.hybrid.poll_transmit(now) else {
                return;
            };
            peercompute_proto::check(&frame).unwrap();
            assert!(self.hybrid.poll_timeout().is_some());
            self.sent.push_back((to, frame));
        }
        panic!("it never has sent everything");
    }

    fn heed(&mut self, event: AuthorityEvent) {
        let now = self.at(self.hybrid.tick());
        self.hybrid.handle_authority(now, event);
    }

    fn follow(&mut self, host: PeerId, term: u64) {
        self.heed(AuthorityEvent::Follows { host, term });
    }

    /// What it has sent to somebody since this was last asked.
    fn take_sent(&mut self, to: PeerId) -> Vec<v1::SyncFrame> {
        let sent = std::mem::take(&mut self.sent);
        let sent = sent.into_iter().filter(|(id, _)| *id == to);
        sent.map(|(_, frame)| frame).collect()
    }

    fn hear(&mut self, from: PeerId, frames: Vec<v1::SyncFrame>) {
        let now = self.at(self.hybrid.tick());
        for frame in frames {
            self.hybrid.handle_frame(now, from, frame);
        }
        self.settle(now);
    }

    /// The ticks in which this was commanded.
    fn ticks_of(&self, command: &'static [u8]) -> Vec<u64> {
        let has = |tick: &&SealedTick| {
            let mut inputs = tick.inputs.iter();
            inputs.any(|(_, commands)| commands.contains(&Bytes::from_static(command)))
        };
        self.steps
            .iter()
            .filter(has)
            .map(|tick| tick.tick)
            .collect()
    }
}

fn command(number: u64, tick: u64, payload: &'static [u8]) -> v1::LockstepCommand {
    v1::LockstepCommand {
        number,
        tick,
        payload: Bytes::from_static(payload),
    }
}

fn setup() -> u64 {
    let mut lone = Lone::new(0);
    lone.hybrid.command(Bytes::from_static(b"x")).unwrap();
    lone.settle(SECOND);
    lone.sent[0].1.setup
}

fn frame(sequence: u64, commands: Vec<v1::LockstepCommand>) -> v1::SyncFrame {
    v1::SyncFrame {
        setup: setup(),
        session: 5,
        sequence,
        commands,
        ..v1::SyncFrame::default()
    }
}

#[test]
fn after_a_takeover_each_command_stands_where_it_was_meant_for_and_none_comes_twice() {
    let ids = ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    peer.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    // The host has the first in time, and the second one only after the sync point; the peer the first too late.
    host.hear(ids[2], vec![frame(1, vec![command(1, 58, b"first")])]);
    host.go_to(60);
    peer.go_to(62);
    assert_eq!(host.ticks_of(b"first"), [58]);
    let second = || vec![command(1, 58, b"first"), command(2, 59, b"second")];
    peer.hear(ids[2], vec![frame(2, second())]);
    peer.go_to(64);
    assert_eq!(peer.ticks_of(b"first"), [63]);
    assert_eq!(peer.ticks_of(b"second"), [63]);
    assert_eq!(peer.hybrid.stats().late, 2);
    peer.hear(ids[0], host.take_sent(ids[1]));
    peer.go_to(65);
    let third = vec![command(3, 63, b"third"), command(4, 80, b"fourth")];
    peer.hear(ids[2], vec![frame(3, third)]);
    peer.go_to(70);
    assert_eq!(peer.ticks_of(b"third"), [66]);
    host.hear(ids[1], peer.take_sent(ids[0]));
    peer.hear(ids[0], host.take_sent(ids[1]));
    assert_eq!(peer.restored, [60]);
    assert_eq!(peer.hybrid.tick(), 70);
    assert!(peer.ticks_of(b"first").is_empty());
    assert_eq!(peer.ticks_of(b"second"), [61]);
    assert_eq!(peer.ticks_of(b"third"), [63]);
    assert_eq!(peer.steps[0].tick, 61);
    peer.go_to(80);
    assert_eq!(peer.ticks_of(b"fourth"), [80]);
    let sum = [b"first", &b"second"[..], b"third", b"fourth"];
    assert_eq!(
        peer.states[0],
        sum.iter().map(|it| u64::from(it[0])).sum::<u64>()
    );
    let expected = HybridEvent::Reconciled {
        tick: 60,
        namespaces: vec!["one".to_owned()],
    };
    assert_eq!(peer.hybrid.poll_event(), Some(expected));
}

#[test]
fn a_command_that_the_state_of_the_host_has_is_not_carried_out_when_it_comes_at_last() {
    let ids = ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    peer.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    host.hear(ids[2], vec![frame(1, vec![command(1, 58, b"first")])]);
    host.go_to(60);
    peer.go_to(61);
    for _ in 0..2 {
        peer.hear(ids[0], host.take_sent(ids[1]));
        peer.go_to(peer.hybrid.tick() + 2);
        host.hear(ids[1], peer.take_sent(ids[0]));
    }
    assert_eq!(peer.restored, [60]);
    peer.hear(
        ids[2],
        vec![frame(
            1,
            vec![command(1, 58, b"first"), command(2, 59, b"second")],
        )],
    );
    peer.go_to(70);
    assert!(peer.ticks_of(b"first").is_empty());
    assert_eq!(peer.ticks_of(b"second").len(), 1);
    let acknowledged = peer.take_sent(ids[2]).pop().unwrap();
    assert_eq!((acknowledged.taken_session, acknowledged.taken), (5, 2));
}

#[test]
fn what_is_foreign_old_or_makes_no_sense_is_counted_and_changes_nothing() {
    let ids = ids();
    let mut peer = Lone::new(0);
    peer.go_to(70);
    peer.follow(ids[1], 3);
    peer.hear(ids[1], vec![frame(5, vec![command(1, 0, b"one")])]);
    peer.hear(ids[2], vec![frame(5, Vec::new())]);
    let mut stats = peer.hybrid.stats();
    let mut expect = |peer: &mut Lone, from, frame, count: fn(&mut HybridStats) -> &mut u64| {
        peer.hear(from, vec![frame]);
        *count(&mut stats) += 1;
        assert_eq!(peer.hybrid.stats(), stats);
    };
    let point = |term, tick, hashes: usize| v1::SyncFrame {
        point: Some(v1::SyncPoint {
            term,
            tick,
            hashes: vec![1; hashes],
            sizes: vec![8; hashes],
        }),
        ..frame(6, Vec::new())
    };
    let mut foreign = frame(6, vec![command(2, 0, b"no")]);
    foreign.setup ^= 1;
    expect(&mut peer, ids[1], foreign, |stats| &mut stats.foreign);
    let mut nameless = frame(6, vec![command(2, 0, b"no")]);
    nameless.session = 0;
    expect(&mut peer, ids[1], nameless, |stats| &mut stats.nonsense);
    let mut old = frame(6, vec![command(2, 0, b"no")]);
    old.session = 4;
    expect(&mut peer, ids[1], old, |stats| &mut stats.outdated);
    expect(&mut peer, ids[1], frame(5, Vec::new()), |stats| {
        &mut stats.outdated
    });
    let mut random = Random(99);
    let stranger = peer_id(&mut random);
    expect(
        &mut peer,
        stranger,
        frame(1, vec![command(2, 0, b"no")]),
        |stats| &mut stats.strangers,
    );
    let unordered = vec![command(0, 0, b"no")];
    expect(&mut peer, ids[1], frame(7, unordered), |stats| {
        &mut stats.nonsense
    });
    let mut early = frame(8, Vec::new());
    (early.taken_session, early.taken) = (1, 17);
    expect(&mut peer, ids[1], early, |stats| &mut stats.nonsense);
    // Only the host of this term is believed, and only of sync points.
    expect(&mut peer, ids[2], point(3, 60, 2), |stats| {
        &mut stats.outdated
    });
    for (sequence, point, is_nonsense) in [
        (9, point(2, 60, 2), false),
        (10, point(3, 61, 2), true),
        (11, point(3, 60, 1), true),
    ] {
        let frame = v1::SyncFrame { sequence, ..point };
        let count: fn(&mut HybridStats) -> &mut u64 = if is_nonsense {
            |stats| &mut stats.nonsense
        } else {
            |stats| &mut stats.outdated
        };
        expect(&mut peer, ids[1], frame, count);
    }
    let mut large = point(3, 60, 2);
    large.sequence = 12;
    large.point.as_mut().unwrap().sizes = vec![u64::MAX, limits::MAX_SNAPSHOT as u64];
    expect(&mut peer, ids[1], large, |stats| &mut stats.nonsense);
    // It is not the host, and waits for no state.
    let mut want = frame(13, Vec::new());
    want.want = Some(v1::SyncWant::default());
    expect(&mut peer, ids[1], want, |stats| &mut stats.outdated);
    let mut state = frame(14, Vec::new());
    state.state = Some(v1::SyncState::default());
    expect(&mut peer, ids[1], state, |stats| &mut stats.outdated);
    peer.go_to(75);
    assert_eq!(
        peer.steps
            .iter()
            .map(|tick| tick.inputs.len())
            .sum::<usize>(),
        1
    );
    assert!(peer.restored.is_empty());
}

#[test]
fn states_that_are_not_what_the_point_was_about_are_not_taken_over() {
    let ids = ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    host.states[1] = 77;
    host.go_to(60);
    peer.go_to(61);
    peer.hear(ids[0], host.take_sent(ids[1]));
    peer.go_to(63);
    host.hear(ids[1], peer.take_sent(ids[0]));
    let mut frames = host.take_sent(ids[1]);
    let state = frames
        .iter_mut()
        .find_map(|frame| frame.state.as_mut())
        .unwrap();
    let marks = state.marks.clone();
    state.marks = vec![v1::SyncMark::default()];
    peer.hear(ids[0], frames.clone());
    assert_eq!((peer.hybrid.stats().nonsense, peer.restored.len()), (1, 0));
    for frame in &mut frames {
        if let Some(state) = &mut frame.state {
            state.marks = marks.clone();
            state.data = Bytes::from_static(&[78, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    peer.hear(ids[0], frames);
    assert_eq!((peer.hybrid.stats().abandoned, peer.restored.len()), (1, 0));
    assert_eq!(
        peer.hybrid.poll_event(),
        Some(HybridEvent::Abandoned { tick: 60 })
    );
    // The next point is as good as any.
    host.go_to(120);
    peer.go_to(121);
    for _ in 0..2 {
        peer.hear(ids[0], host.take_sent(ids[1]));
        peer.go_to(peer.hybrid.tick() + 2);
        host.hear(ids[1], peer.take_sent(ids[0]));
    }
    assert_eq!((peer.restored, peer.states[1]), (vec![120], 77));
}

#[test]
fn states_are_taken_when_they_are_wanted_and_complete() {
    let mut hybrid = hybrid(ids()[0]);
    let room = TICK * 30;
    hybrid.set_room_time(SECOND, room);
    let state = || Bytes::from_static(b"state");
    let both = || vec![state(), state()];
    let early = Err(SnapshotError::OtherTick {
        tick: 30,
        applied: 0,
    });
    assert_eq!(hybrid.handle_states(30, both()), early);
    let Some(Step::Advance(tick)) = hybrid.poll_step() else {
        panic!("the room's present tick");
    };
    let mut there = ids();
    there.sort();
    assert_eq!((tick.tick, tick.joined), (30, there));
    assert_eq!(hybrid.poll_step(), None);
    hybrid.set_room_time(SECOND + TICK * 30, room * 2);
    while hybrid.tick() < 60 {
        hybrid.poll_step().unwrap();
    }
    assert_eq!(hybrid.poll_step(), Some(Step::Save { tick: 60 }));
    let few = SnapshotError::Incomplete {
        states: 1,
        namespaces: 2,
    };
    assert_eq!(hybrid.handle_states(60, vec![state()]), Err(few));
    let large = Bytes::from(vec![0; limits::MAX_SNAPSHOT]);
    let bytes = limits::MAX_SNAPSHOT + 5;
    assert_eq!(
        hybrid.handle_states(60, vec![large, state()]),
        Err(SnapshotError::TooLarge { bytes })
    );
    hybrid.handle_states(60, both()).unwrap();
    assert!(hybrid.handle_states(60, both()).is_err());
    let mut config = HybridConfig::default();
    config.namespaces = Vec::new();
    let none = LockstepSetupError::Namespaces { count: 0 };
    assert_eq!(Hybrid::new(SECOND, ids()[0], config).unwrap_err(), none);
}

#[test]
fn commands_are_refused_when_too_many_wait_or_the_host_lacks_too_many() {
    let ids = ids();
    let mut peer = Lone::new(0);
    peer.go_to(10);
    let large = Bytes::from(vec![1; 16 * 1024 + 1]);
    let refused = CommandError::TooLarge { bytes: large.len() };
    assert_eq!(peer.hybrid.command(large), Err(refused));
    for _ in 0..256 {
        peer.hybrid.command(Bytes::from_static(b"x")).unwrap();
    }
    let full = CommandError::Full {
        commands: 256,
        bytes: 256,
    };
    assert_eq!(peer.hybrid.command(Bytes::from_static(b"x")), Err(full));
    // Who follows a host that is silent waits; who does not gives the oldest up.
    peer.follow(ids[1], 1);
    let mut given = 256;
    for tick in 11..100 {
        peer.go_to(tick);
        while peer.hybrid.command(Bytes::from_static(b"x")).is_ok() {
            given += 1;
        }
    }
    assert_eq!(given, limits::MAX_OUTBOX);
    peer.heed(AuthorityEvent::HostLost { host: ids[1] });
    peer.hybrid.command(Bytes::from_static(b"x")).unwrap();
    assert_eq!(peer.hybrid.stats().given_up, 3);
}

fn number() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        4 => 0..6_u64,
        2 => 6..5_000_u64,
        1 => (0..100_u64).prop_map(|point| 60 * point),
        1 => any::<u64>(),
        1 => (0..4_u64).prop_map(|less| u64::MAX - less),
    ]
}

fn any_frame() -> impl Strategy<Value = v1::SyncFrame> {
    let commands = (number(), number()).prop_map(|(number, tick)| command(number, tick, b"jump"));
    let sizes = prop_oneof![2 => Just(5_u64), 1 => Just(61_440 + 5), 1 => number()];
    let point = (
        prop_oneof![4 => Just(1_u64), 1 => number()],
        (0..100_u64).prop_map(|point| 60 * point),
        prop::collection::vec(number(), 2..=2),
        prop::collection::vec(sizes, 2..=2),
    )
        .prop_map(|(term, tick, hashes, sizes)| v1::SyncPoint {
            term,
            tick,
            hashes,
            sizes,
        });
    let want = (
        prop_oneof![4 => Just(1_u64), 1 => number()],
        (number(), number()),
        prop::collection::vec(0..3_u32, 0..3),
        (number(), any::<u64>()),
    )
        .prop_map(
            |(term, (heard, tick), namespaces, (chunks, later))| v1::SyncWant {
                term,
                heard,
                tick,
                namespaces,
                chunks,
                later,
            },
        );
    let data = prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"statestate")),
        Just(Bytes::from(vec![7; 60 * 1024])),
    ];
    let marks =
        (0..4_usize, number(), number()).prop_map(|(place, session, number)| v1::SyncMark {
            peer: ids()[place].to_bytes().into(),
            session,
            number,
        });
    let state = (
        (number(), number(), number()),
        data,
        prop::collection::vec(marks, 0..3),
    )
        .prop_map(|((tick, digest, offset), data, marks)| v1::SyncState {
            tick,
            digest,
            offset,
            data,
            marks,
        });
    (
        (prop_oneof![4 => Just(5_u64), 1 => number()], number()),
        prop::collection::vec(commands, 0..4),
        (prop_oneof![4 => Just(1_u64), 1 => number()], number()),
        (
            prop::option::of(point),
            prop::option::of(want),
            prop::option::of(state),
        ),
    )
        .prop_map(
            |((session, sequence), commands, (taken_session, taken), (point, want, state))| {
                v1::SyncFrame {
                    binding: None,
                    setup: 0,
                    session,
                    sequence,
                    commands,
                    taken_session,
                    taken,
                    point,
                    want,
                    state,
                }
            },
        )
}

/// Answers what a peer asks for with what it asks for, but for the content.
fn answer(want: &v1::SyncWant, frame: &mut v1::SyncFrame, hashes: &[u64]) {
    let Some(state) = &mut frame.state else {
        return;
    };
    state.tick = want.tick;
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for byte in want
        .namespaces
        .iter()
        .flat_map(|index| hashes[*index as usize].to_le_bytes())
    {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state.digest = digest;
    state.offset %= 2 * 61_440;
    state.offset -= state.offset % 61_440;
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_frame_harms_a_host(frames in prop::collection::vec((1..4_usize, any_frame(), 0..20_u64), 1..40)) {
        let ids = ids();
        let setup = setup();
        let mut host = Lone::new(0);
        host.go_to(1);
        host.heed(AuthorityEvent::Elected { term: 1 });
        host.states[1] = 77;
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            host.hear(ids[from], vec![frame]);
            host.go_to(host.hybrid.tick() + wait);
            prop_assert!(host.restored.is_empty());
        }
        let tick = host.hybrid.tick();
        host.hybrid.command(Bytes::from_static(b"mine")).unwrap();
        host.go_to(tick + 10);
        prop_assert_eq!(host.ticks_of(b"mine"), [tick + 4]);
    }

    #[test]
    fn no_frame_of_a_host_harms_who_follows_it(frames in prop::collection::vec((1..4_usize, any_frame(), 0..20_u64), 1..40)) {
        let ids = ids();
        let setup = setup();
        let mut peer = Lone::new(0);
        peer.follow(ids[1], 1);
        peer.go_to(1);
        let mut hashes = vec![0, 0];
        let mut wants = v1::SyncWant::default();
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            if let Some(point) = frame.point.as_ref().filter(|point| from == 1 && point.term == 1) {
                hashes.clone_from(&point.hashes);
            }
            answer(&wants, &mut frame, &hashes);
            peer.hear(ids[from], vec![frame]);
            let _ = peer.hybrid.command(Bytes::from_static(b"mine"));
            peer.go_to(peer.hybrid.tick() + wait);
            for want in peer.take_sent(ids[1]).into_iter().filter_map(|frame| frame.want) {
                wants = want;
            }
        }
        // As a host it goes on from whatever it was told.
        peer.heed(AuthorityEvent::Elected { term: 2 });
        let before = peer.hybrid.tick();
        peer.go_to(before + 400);
        prop_assert_eq!(peer.hybrid.tick(), before + 400);
        peer.hybrid.command(Bytes::from_static(b"last")).unwrap();
        peer.go_to(before + 410);
        prop_assert_eq!(peer.ticks_of(b"last").len(), 1);
    }
}
