//! Nodes that find their host and advance in the same ticks.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{cell::Cell, collections::BTreeMap, rc::Rc};

use peercompute_kernel::{
    AuthorityConfig, AuthorityEvent, AuthorityMode, BuildError, ClockMode, ClockModeError,
    HybridConfig, LockstepConfig, LockstepEvent, NodeKernel, RealtimeConfig, RealtimeError,
    RealtimeEvent, RollbackConfig, Runner, SealedTick, SharedSimulation, Simulation, Step,
};

use super::*;

/// A state that depends on every command, and on their order.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    tick: u64,
    world: u64,
    commands: u64,
}

#[derive(Debug, Default)]
struct Game {
    state: State,
    /// It gets this tick wrong.
    strays_at: Rc<Cell<u64>>,
}

impl Simulation for Game {
    type State = State;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    fn load(&mut self, state: &State) {
        self.state.clone_from(state);
    }

    fn advance(&mut self, sealed: &SealedTick) {
        let state = &mut self.state;
        assert!(sealed.tick > state.tick);
        state.tick = sealed.tick;
        state.world ^= u64::from(self.strays_at.get() == state.tick);
        for (peer, commands) in &sealed.inputs {
            for command in commands {
                state.commands += 1;
                let value = u64::from(command[0]) + u64::from(peer.to_bytes()[10]);
                state.world = (state.world ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
        }
    }
}

impl SharedSimulation for Game {
    fn hash(state: &State, hashes: &mut Vec<u64>) {
        hashes.extend([state.world, state.commands]);
    }

    fn write(state: &State) -> Vec<Bytes> {
        let pieces = [vec![state.tick, state.world], vec![state.commands]];
        let bytes = |numbers: Vec<u64>| numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        pieces.map(bytes).to_vec()
    }

    fn read(states: &[Bytes]) -> Option<State> {
        let [world, commands] = states else {
            return None;
        };
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let (tick, rest) = world.split_at_checked(8)?;
        Some(State {
            tick: number(tick)?,
            world: number(rest)?,
            commands: number(commands)?,
        })
    }
}

fn run(game: Game, node: &NodeKernel) -> Runner<Game> {
    let namespaces = lockstep().namespaces;
    Runner::new(game, id_of(node), namespaces, RollbackConfig::default())
}

/// Nodes, their games, and the hash after each tick that they came by.
struct Session<'a> {
    world: &'a World,
    nodes: Vec<NodeKernel>,
    games: Vec<Runner<Game>>,
    strays_at: Vec<Rc<Cell<u64>>>,
    hashes: Vec<BTreeMap<u64, Vec<u64>>>,
    events: Vec<Vec<RealtimeEvent>>,
}

impl<'a> Session<'a> {
    async fn new(world: &'a World, count: usize) -> Self {
        let mut session = Self::with(world, room(world, count, ticked()).await);
        session.play(3).await;
        session
    }

    fn with(world: &'a World, nodes: Vec<NodeKernel>) -> Self {
        let mut session = Self {
            world,
            games: Vec::new(),
            strays_at: Vec::new(),
            nodes: Vec::new(),
            hashes: Vec::new(),
            events: Vec::new(),
        };
        nodes.into_iter().for_each(|node| session.add(node));
        session
    }

    fn add(&mut self, node: NodeKernel) {
        let game = Game::default();
        self.strays_at.push(game.strays_at.clone());
        self.games.push(run(game, &node));
        self.nodes.push(node);
        self.hashes.push(BTreeMap::new());
        self.events.push(Vec::new());
    }

    /// So many seconds, with a command of everybody's in each fifth.
    async fn play(&mut self, seconds: u32) {
        for round in 0..seconds * 100 {
            for (place, node) in self.nodes.iter().enumerate() {
                if round % 20 == 0 {
                    let command = Bytes::from(vec![round as u8]);
                    self.games[place].command(live(node), command).unwrap();
                }
                while let Some(step) = live(node).try_next_step() {
                    let is_tick = matches!(step, Step::Advance(_));
                    self.games[place].carry_out(live(node), step).unwrap();
                    if is_tick {
                        let (tick, _) = self.games[place].confirmed();
                        let hashes = self.games[place].hashes().to_vec();
                        self.hashes[place].insert(tick, hashes);
                    }
                }
                self.games[place].predict_to(live(node).command_tick());
                let events = std::iter::from_fn(|| live(node).try_next_event());
                self.events[place].extend(events);
            }
            self.world.runtime.sleep(SECOND / 100).await;
        }
    }

    /// As all know it.
    fn game(&self, place: usize) -> &State {
        self.games[place].confirmed().1
    }

    fn tick(&self, place: usize) -> u64 {
        self.games[place].confirmed().0
    }

    fn host(&self) -> usize {
        let hosts: Vec<_> = self.nodes.iter().map(|node| live(node).host()).collect();
        let id = hosts[0].expect("there is one");
        assert!(hosts.iter().all(|host| *host == Some(id)), "{hosts:?}");
        let place = self.nodes.iter().position(|node| id_of(node) == id);
        place.expect("it is one of them")
    }

    fn assert_alike(&self) {
        let last = |hashes: &BTreeMap<u64, Vec<u64>>| *hashes.last_key_value().unwrap().0;
        let tick = self.hashes.iter().map(last).min().unwrap();
        let all: Vec<_> = self.hashes.iter().map(|hashes| hashes.get(&tick)).collect();
        assert!(all.iter().all(|hash| *hash == all[0]), "{tick}: {all:?}");
        assert!(tick > 60 && all[0].is_some());
    }

    async fn remove(&mut self, place: usize) {
        self.nodes.remove(place).stop().await;
        self.games.remove(place);
        self.strays_at.remove(place);
        self.hashes.remove(place);
        self.events.remove(place);
    }
}

fn id_of(node: &NodeKernel) -> peercompute_net::PeerId {
    node.status().peer.unwrap()
}

fn ticked() -> RealtimeConfig {
    RealtimeConfig::default().with_clock(ClockMode::Kernel(lockstep()))
}

fn lockstep() -> LockstepConfig {
    let mut config = LockstepConfig::default();
    config.game = "test".to_owned();
    config.namespaces = vec!["world".to_owned(), "commands".to_owned()];
    config
}

#[test]
fn all_advance_in_the_same_ticks() {
    let world = World::new(620);
    world.run(async {
        let mut session = Session::new(&world, 4).await;
        session.play(7).await;
        session.assert_alike();
        let ticks = session.tick(0);
        // Sixty a second, but for the two in which nobody was the host yet.
        assert!((7 * 60..=10 * 60).contains(&ticks), "{ticks}");
        assert!(session.game(0).commands > 100);
        // The room's time is the host's.
        let times = session.nodes.iter().map(|node| live(node).time());
        let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
        assert!(last - first < SECOND / 50, "{first:?} {last:?}");
    });
}

#[test]
fn a_newcomer_takes_over_the_state_and_goes_on_with_the_others() {
    let world = World::new(621);
    world.run(async {
        let mut session = Session::new(&world, 2).await;
        session.play(20).await;
        let address = session.nodes[0].status().addresses[0].clone();
        let node = world
            .node("newcomer")
            .room("test", "room")
            .realtime(ticked())
            .peer(address)
            .build(world.runtime.clone())
            .unwrap();
        node.start().await.unwrap();
        session.add(node);
        session.play(5).await;
        session.assert_alike();
        assert!(session.hashes[2].first_key_value().unwrap().0 > &1000);
        assert_eq!(session.game(2).commands, session.game(0).commands);
    });
}

#[test]
fn a_host_that_stops_is_followed_by_another_at_once() {
    let world = World::new(622);
    world.run(async {
        let mut session = Session::new(&world, 3).await;
        session.play(5).await;
        let host = session.host();
        session.remove(host).await;
        let before = session.tick(0);
        session.events.iter_mut().for_each(Vec::clear);
        session.play(1).await;
        let after = session.host();
        assert!(live(&session.nodes[after]).is_writer());
        session.play(2).await;
        session.assert_alike();
        // It was told, and waits for nothing but what the others have.
        assert!(session.tick(0) > before + 2 * 60);
        let elected = session.events[after].iter().any(|event| {
            matches!(
                event,
                RealtimeEvent::Authority(AuthorityEvent::Elected { .. })
            )
        });
        assert!(elected, "{:?}", session.events[after]);
    });
}

#[test]
fn the_host_can_hand_over() {
    let world = World::new(623);
    world.run(async {
        let mut session = Session::new(&world, 3).await;
        let host = session.host();
        let heir = (host + 1) % 3;
        live(&session.nodes[host])
            .hand_over(id_of(&session.nodes[heir]))
            .unwrap();
        assert!(
            live(&session.nodes[heir])
                .hand_over(id_of(&session.nodes[host]))
                .is_err()
        );
        session.play(4).await;
        assert_eq!(session.host(), heir);
        session.assert_alike();
    });
}

#[test]
fn a_state_that_strays_is_named_and_taken_over_from_the_host() {
    let world = World::new(624);
    world.run(async {
        let mut session = Session::new(&world, 3).await;
        let stray = (session.host() + 1) % 3;
        let tick = session.tick(stray) + 30;
        session.strays_at[stray].set(tick);
        session.play(4).await;
        session.assert_alike();
        let desyncs = session.events[stray]
            .iter()
            .filter_map(|event| match event {
                RealtimeEvent::Lockstep(LockstepEvent::Desync {
                    peer,
                    tick,
                    namespace,
                }) => Some((*peer, *tick, namespace.as_str())),
                _ => None,
            });
        let desyncs: Vec<_> = desyncs.collect();
        assert_eq!(desyncs, [(id_of(&session.nodes[stray]), tick, "world")]);
    });
}

#[test]
fn modes_change_while_the_room_lives() {
    let world = World::new(625);
    world.run(async {
        let mut session = Session::new(&world, 3).await;
        session.play(2).await;
        for node in &session.nodes {
            live(node).set_clock_mode(ClockMode::Independent).unwrap();
        }
        let ticks: Vec<u64> = session.games.iter().map(|game| game.confirmed().0).collect();
        for _ in 0..5 {
            live(&session.nodes[0]).send_command(0, Bytes::from("go")).unwrap();
        }
        session.events.iter_mut().for_each(Vec::clear);
        session.play(2).await;
        assert_eq!(ticks, session.games.iter().map(|game| game.confirmed().0).collect::<Vec<_>>());
        let is_go = |event: &&RealtimeEvent| matches!(event, RealtimeEvent::Command { payload, .. } if payload == "go");
        for place in 1..3 {
            assert_eq!(session.events[place].iter().filter(is_go).count(), 5);
        }
        let mesh = AuthorityMode::Mesh;
        for node in &session.nodes {
            live(node).set_authority_mode(mesh).unwrap();
        }
        session.play(1).await;
        let refused = live(&session.nodes[0]).set_clock_mode(ClockMode::Kernel(lockstep()));
        assert_eq!(refused, Err(ClockModeError::NoHost));
        for node in &session.nodes {
            live(node).set_authority_mode(AuthorityMode::default()).unwrap();
        }
        // They begin anew, each from a state of its own.
        for (place, node) in session.nodes.iter().enumerate() {
            live(node).set_clock_mode(ClockMode::Kernel(lockstep())).unwrap();
            assert_eq!(live(node).set_authority_mode(mesh), Err(ClockModeError::NoHost));
            let mut game = Game::default();
            game.state.world = place as u64;
            session.games[place] = run(game, node);
            session.hashes[place].clear();
        }
        session.play(6).await;
        session.assert_alike();
    });
}

#[test]
fn a_split_room_has_a_writer_on_each_side_and_one_when_it_has_healed() {
    let world = World::new(626);
    world.run(async {
        let mut session = Session::new(&world, 5).await;
        let host = session.host();
        let small = [host, (host + 1) % 5];
        let sides = [0, 1].map(|side| {
            let places = (0..5).filter(|place| small.contains(place) == (side == 0));
            let ids = places.map(|place| id_of(&session.nodes[place]));
            ids.collect::<Vec<_>>()
        });
        world.network.partition(sides);
        session.play(20).await;
        let writers = |session: &Session<'_>| {
            let writers = (0..5).filter(|place| live(&session.nodes[*place]).is_writer());
            writers.collect::<Vec<_>>()
        };
        let apart = writers(&session);
        assert_eq!(apart.len(), 2, "{apart:?}");
        world.network.heal();
        session.play(20).await;
        let together = writers(&session);
        assert_eq!(together.len(), 1, "{together:?}");
        assert!(!small.contains(&together[0]), "the larger side's remains");
        session.assert_alike();
    });
}

#[test]
fn with_a_quorum_a_minority_writes_nothing() {
    let world = World::new(627);
    world.run(async {
        let mut authority = AuthorityConfig::default();
        authority.quorum = Some(2);
        let config = ticked().with_authority(authority);
        let nodes = room(&world, 2, config).await;
        world.runtime.sleep(5 * SECOND).await;
        let host = nodes
            .iter()
            .position(|node| live(node).is_writer())
            .unwrap();
        nodes[1 - host].stop().await;
        world.runtime.sleep(4 * SECOND).await;
        assert!(!live(&nodes[host]).is_writer());
        while live(&nodes[host]).try_next_step().is_some() {}
        world.runtime.sleep(4 * SECOND).await;
        assert_eq!(live(&nodes[host]).try_next_step(), None);
    });
}

#[test]
fn a_ticked_room_without_a_host_is_refused() {
    let world = World::new(628);
    let build = |config: RealtimeConfig| {
        let node = world.node("alone").realtime(config);
        node.build(world.runtime.clone()).map(drop)
    };
    let mut mesh = AuthorityConfig::default();
    mesh.mode = AuthorityMode::Mesh;
    for refused in [ticked().with_authority(None), ticked().with_authority(mesh)] {
        let error = build(refused).unwrap_err();
        assert!(
            matches!(
                error,
                BuildError::Realtime(RealtimeError::Clock(ClockModeError::NoHost))
            ),
            "{error}"
        );
    }
    let mut nameless = lockstep();
    nameless.namespaces.clear();
    let config = RealtimeConfig::default().with_clock(ClockMode::Kernel(nameless));
    assert!(build(config).is_err());
}

fn hybrid() -> ClockMode {
    let mut config = HybridConfig::default();
    config.game = "test".to_owned();
    config.namespaces = lockstep().namespaces;
    ClockMode::Hybrid(config)
}

#[test]
fn in_hybrid_mode_nobody_waits_and_all_come_to_the_hosts_state() {
    let world = World::new(630);
    world.run(async {
        let config = RealtimeConfig::default().with_clock(hybrid());
        let mut session = Session::with(&world, room(&world, 4, config).await);
        session.play(10).await;
        let host = session.host();
        // Commands come late, so that states differ in between.
        let host_hashes = session.hashes[host].clone();
        let ticks = host_hashes.len();
        assert!(ticks > 9 * 60, "{ticks}");
        for place in 0..4 {
            let stats = live(&session.nodes[place]).hybrid_stats();
            assert!(
                place == host || stats.agreed + stats.taken_over >= 7,
                "{stats:?}"
            );
            // At its last sync point each came by the host's state.
            let point = stats.reconciled;
            let own = &session.hashes[place];
            assert!(
                place == host || own.get(&point) == host_hashes.get(&point),
                "{point}"
            );
        }
        // A split lasts eight seconds; each side goes on, and the host's state holds afterwards.
        let ids: Vec<_> = session.nodes.iter().map(id_of).collect();
        let apart = (host + 1) % 4;
        world.network.partition([
            vec![ids[apart]],
            ids.iter().copied().filter(|id| *id != ids[apart]).collect(),
        ]);
        let before = session.tick(apart);
        session.play(8).await;
        assert!(session.tick(apart) > before + 7 * 60);
        world.network.heal();
        session.play(8).await;
        assert_eq!(session.host(), host);
        let stats = live(&session.nodes[apart]).hybrid_stats();
        assert!(stats.reconciled + 3 * 60 > session.tick(host), "{stats:?}");
        let point = stats.reconciled;
        assert_eq!(
            session.hashes[apart].get(&point),
            session.hashes[host].get(&point)
        );
    });
}
