//! Whatever happens, in any order, against what must hold at any time.

use proptest::prelude::*;

use std::collections::BTreeMap;

use super::*;

const PEERS: usize = 40;

#[derive(Clone, Debug)]
enum Operation {
    Wait(u64),
    List {
        source: usize,
        peers: Vec<usize>,
        complete: bool,
    },
    Unlist {
        source: usize,
        peer: usize,
    },
    End {
        source: usize,
    },
    Dial {
        number: usize,
        succeeds: bool,
    },
    Connect {
        peer: usize,
        relayed: bool,
    },
    Disconnect {
        peer: usize,
    },
    Discover {
        peer: usize,
    },
    /// The source turns out to be that peer.
    Identify {
        source: usize,
        peer: usize,
    },
    CutOff {
        peer: usize,
    },
    TimeOut {
        peer: usize,
    },
    Recover,
    Resynchronise,
}

fn operation() -> impl Strategy<Value = Operation> {
    let peer = || 0..PEERS;
    prop_oneof![
        4 => (0_u64..100_000).prop_map(Operation::Wait),
        4 => (0_usize..4, prop::collection::vec(peer(), 0..20), any::<bool>())
            .prop_map(|(source, peers, complete)| Operation::List { source, peers, complete }),
        1 => (0_usize..4, peer()).prop_map(|(source, peer)| Operation::Unlist { source, peer }),
        1 => (0_usize..4).prop_map(|source| Operation::End { source }),
        6 => (0_usize..100, any::<bool>())
            .prop_map(|(number, succeeds)| Operation::Dial { number, succeeds }),
        3 => (peer(), any::<bool>()).prop_map(|(peer, relayed)| Operation::Connect { peer, relayed }),
        3 => peer().prop_map(|peer| Operation::Disconnect { peer }),
        1 => peer().prop_map(|peer| Operation::Discover { peer }),
        1 => (0_usize..4, peer()).prop_map(|(source, peer)| Operation::Identify { source, peer }),
        1 => peer().prop_map(|peer| Operation::CutOff { peer }),
        1 => peer().prop_map(|peer| Operation::TimeOut { peer }),
        1 => Just(Operation::Recover),
        1 => Just(Operation::Resynchronise),
    ]
}

/// What a network around the membership would look like: it does what is asked of it and keeps count.
struct World {
    membership: Membership,
    now: Duration,
    asked: Vec<SourceId>,
    dials: BTreeMap<DialId, PeerId>,
    connected: BTreeMap<PeerId, Path>,
    joined: BTreeSet<PeerId>,
    kept: BTreeSet<PeerId>,
    /// Who was cut off, until when; and whom the membership has said so of since it was asked last.
    banned: BTreeMap<PeerId, Duration>,
    told: Vec<PeerId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (relays, bootstrap) = ([relay(0), relay(1)], [relay(2), relay(3)]);
        let membership = Membership::new(START, local(), None, &relays, &bootstrap, 256, seed);
        let mut world = Self {
            membership,
            now: START,
            asked: Vec::new(),
            dials: BTreeMap::new(),
            connected: BTreeMap::new(),
            joined: BTreeSet::new(),
            kept: BTreeSet::new(),
            banned: BTreeMap::new(),
            told: Vec::new(),
        };
        world.follow();
        world
    }

    /// Takes what the membership wants and says, and checks it.
    fn follow(&mut self) {
        while let Some(action) = self.membership.poll_action() {
            match action {
                Action::Ask { source, .. } => {
                    assert!(
                        !self.asked.contains(&source),
                        "{source:?} is asked twice at a time"
                    );
                    self.asked.push(source);
                }
                Action::Dial { dial, address } => {
                    let Some(multiaddr::Protocol::P2p(peer)) = address.iter().last() else {
                        panic!("{address} names no peer")
                    };
                    assert!(
                        !self.connected.contains_key(&peer),
                        "{peer} is connected already"
                    );
                    assert!(self.dials.insert(dial, peer).is_none());
                    assert!(self.dials.len() <= MAX_DIALS);
                }
                Action::Cancel { dial } => {
                    assert!(
                        self.dials.remove(&dial).is_some(),
                        "{dial:?} is not under way"
                    );
                }
                Action::Keep { peer, keep: true } => assert!(self.kept.insert(peer)),
                Action::Keep { peer, keep: false } => assert!(self.kept.remove(&peer)),
                Action::Disconnect { peer } => self.disconnect(peer),
                Action::Reserve { .. } => {}
            }
        }
        while let Some(event) = self.membership.poll_event() {
            match event {
                NetworkEvent::Joined { presence, path } => {
                    assert!(self.joined.insert(presence.peer), "joined twice");
                    assert_eq!(self.connected.get(&presence.peer), Some(&path));
                }
                NetworkEvent::Left { peer } => assert!(self.joined.remove(&peer), "never joined"),
                NetworkEvent::Updated { presence } => assert!(self.joined.contains(&presence.peer)),
                NetworkEvent::PathChanged { peer, path } => {
                    assert!(self.joined.contains(&peer));
                    assert_eq!(self.connected.get(&peer), Some(&path));
                }
                NetworkEvent::CutOff { peer, .. } => self.told.push(peer),
                _ => {}
            }
        }
        let joined: BTreeSet<_> = self
            .membership
            .joined()
            .map(|peer| peer.presence.peer)
            .collect();
        assert_eq!(joined, self.joined);
        assert_eq!(self.kept, self.joined, "connections to members are kept");
        assert_eq!(self.membership.joined, self.joined.len());
        assert_eq!(
            self.membership.dials.keys().collect::<Vec<_>>(),
            self.dials.keys().collect::<Vec<_>>()
        );
        let timers: BTreeSet<_> = self
            .membership
            .members
            .iter()
            .filter_map(|(peer, member)| Some((member.wake?, *peer)))
            .collect();
        assert_eq!(timers, self.membership.timers);
        for (peer, path) in &self.connected {
            if self.membership.members.contains_key(peer) {
                assert!(
                    self.joined.contains(peer),
                    "{peer} is there, {path:?}, and not joined"
                );
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.membership.poll_timeout()
            && at <= until
        {
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now);
            self.follow();
        }
        self.now = until;
    }

    fn disconnect(&mut self, peer: PeerId) {
        if self.connected.remove(&peer).is_some() {
            self.membership.disconnected(self.now, peer);
        }
    }

    fn connect(&mut self, peer: PeerId, path: Path) {
        self.connected.insert(peer, path);
        self.membership.connected(self.now, peer, path);
    }

    fn end_dial(&mut self, number: usize, succeeds: bool) {
        let Some((dial, peer)) = self
            .dials
            .iter()
            .nth(number)
            .map(|(dial, peer)| (*dial, *peer))
        else {
            return;
        };
        self.dials.remove(&dial);
        let result = if succeeds {
            self.connect(peer, Path::Direct);
            // Not asked for again: whoever hears of a connection cancels what is left, also this one.
            self.dials.insert(dial, peer);
            self.follow();
            if self.dials.remove(&dial).is_none() {
                return;
            }
            Ok(peer)
        } else {
            Err(unreachable(0))
        };
        self.membership.dial_done(self.now, dial, &result);
    }

    fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Operation::List {
                source,
                peers,
                complete,
            } => {
                let Some(source) = self.asked.get(source) else {
                    return;
                };
                let members = peers.into_iter().map(alive).collect();
                self.membership
                    .source_members(self.now, *source, members, complete)
                    .unwrap();
            }
            Operation::Unlist { source, peer } => {
                let Some(source) = self.asked.get(source) else {
                    return;
                };
                let members = vec![left(peer)];
                self.membership
                    .source_members(self.now, *source, members, false)
                    .unwrap();
            }
            Operation::End { source } => {
                if source < self.asked.len() {
                    let source = self.asked.remove(source);
                    self.membership
                        .source_ended(self.now, source, RendezvousError::Ended);
                }
            }
            Operation::Dial { number, succeeds } => self.end_dial(number, succeeds),
            Operation::Connect {
                peer: number,
                relayed,
            } => {
                let path = if relayed { Path::Relayed } else { Path::Direct };
                self.connect(peer(number), path);
            }
            Operation::Disconnect { peer: number } => self.disconnect(peer(number)),
            Operation::Discover { peer: number } => {
                self.membership
                    .discovered(self.now, peer(number), address(number));
            }
            Operation::Identify {
                source,
                peer: number,
            } => {
                let Some(source) = self.asked.get(source).copied() else {
                    return;
                };
                if !self
                    .membership
                    .source_connected(self.now, source, peer(number))
                {
                    self.asked.retain(|other| *other != source);
                }
            }
            Operation::CutOff { peer: number } => self.cut_off(peer(number)),
            Operation::TimeOut { peer: number } => {
                self.membership
                    .timed_out(self.now, peer(number), Duration::from_secs(3));
            }
            Operation::Recover => self.membership.recover(self.now, Duration::from_secs(8)),
            Operation::Resynchronise => {
                let connections: Vec<_> = self
                    .connected
                    .iter()
                    .map(|(peer, path)| (*peer, *path))
                    .collect();
                self.membership.resynchronise(self.now, &connections, &[]);
            }
        }
        self.follow();
        assert_eq!(self.told, [], "nobody else is cut off");
    }

    /// It is told of whoever is not cut off already, once.
    fn cut_off(&mut self, peer: PeerId) {
        let reason = Misconduct::violation("the frame is none");
        self.membership.cut_off(self.now, peer, reason);
        self.follow();
        let ban = self.banned.insert(peer, self.now + STRANGER_TIME);
        let is_news = ban.is_none_or(|until| until <= self.now);
        let told = std::mem::take(&mut self.told);
        assert_eq!(told, Vec::from_iter(is_news.then_some(peer)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `World::follow` holds the invariants after every step; here it is also shown that nothing gets stuck.
    #[test]
    fn whatever_happens_everybody_who_is_listed_and_reachable_joins_in_the_end(
        operations in prop::collection::vec(operation(), 0..80), seed: u64,
    ) {
        let mut world = World::new(seed);
        for operation in operations {
            world.perform(operation);
        }
        // From now on every source answers, every dial succeeds, and nobody is banned any more.
        world.wait(STRANGER_TIME);
        for _ in 0..600 {
            for source in world.asked.clone() {
                let everybody = (0..PEERS).map(alive).collect();
                world.membership.source_members(world.now, source, everybody, true).unwrap();
            }
            world.follow();
            while !world.dials.is_empty() {
                world.end_dial(0, true);
                world.follow();
            }
            if world.joined.len() == PEERS && world.membership.is_ready() {
                break;
            }
            world.wait(Duration::from_secs(10));
        }
        prop_assert!(world.membership.is_ready());
        prop_assert_eq!(world.joined.len(), PEERS);
        prop_assert_eq!(world.dials.len(), 0);
    }

    #[test]
    fn a_node_is_ready_once_every_source_has_answered_or_failed_and_every_dial_has_ended(
        answers in prop::collection::vec(any::<bool>(), 4), reachable in any::<bool>(), seed: u64,
    ) {
        let mut world = World::new(seed);
        let asked = world.asked.clone();
        for (source, answers) in asked.into_iter().zip(answers) {
            prop_assert!(!world.membership.is_ready());
            if answers {
                let members = vec![alive(1), alive(2)];
                world.membership.source_members(world.now, source, members, true).unwrap();
            } else {
                world.asked.retain(|other| *other != source);
                world.membership.source_ended(world.now, source, RendezvousError::Ended);
            }
            world.follow();
        }
        while !world.dials.is_empty() {
            prop_assert!(!world.membership.is_ready());
            world.end_dial(0, reachable);
            world.follow();
        }
        world.wait(SETTLE_GRACE);
        while !world.dials.is_empty() {
            world.end_dial(0, reachable);
            world.follow();
        }
        prop_assert!(world.membership.is_ready());
    }
}
