//! The mode `independent`: the host simulates and shows what each player can see, the others show that a little late and smoothly.

mod world;

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use peercompute_kernel::{
    InputProvider, InputSource, Moment, RealtimeError, RealtimeEvent, Recipients, SealedTick,
    Simulation as _, Step,
    sched::{Interpolator, InterpolatorConfig, Sight},
};
use peercompute_net::PeerId;

use self::world::{ENTITIES, Scores, Shape};
use crate::{
    failure::Failure,
    game::{Arena, Happening, METRE, Player, State},
    table::{Mode, Table},
    words::{ModeReport, Report, Second, Shown},
};

/// The names of what the host shows, and of the commands.
const WORLD: &str = "arena";
const SCORES: &str = "scores";
const KEYS: &str = "keys";

/// How far players see, and up to where they see every change at once.
const SIGHT: f32 = 24.0;
const NEAR: f32 = 12.0;

/// Frames from one look at who sees what to the next.
const LOOK: u64 = 10;

/// What the providers, which the node asks in its own time, have in common with the game.
#[derive(Default)]
struct Board {
    /// The arena as this node simulates it; `None` while another does.
    simulated: Option<State>,
    /// Commands of this player's while it simulates: they need not travel.
    own: Vec<Bytes>,
    /// The last of them, for another host.
    last: Option<Bytes>,
    says_again: bool,
    is_over: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Board>>);

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Independent {
    shared: Shared,
    shape: Shape,
    /// The arena while this player is the host.
    arena: Option<Arena>,
    seed: u64,
    /// What has come and was not carried out yet, and the number of each player's last command.
    inputs: BTreeMap<PeerId, Vec<Bytes>>,
    numbers: BTreeMap<PeerId, u64>,
    host: Option<PeerId>,
    scores: Option<Scores>,
    /// The latest state that has come from a host.
    latest: Option<State>,
    shown: Interpolator<State>,
    frames: u64,
    ticks: u64,
    states: u64,
    entities: u64,
    takeovers: u64,
}

impl Independent {
    pub(crate) fn new(
        table: &Table,
        seed: u64,
        input: Box<dyn InputSource>,
    ) -> Result<Self, Failure> {
        let shared = Shared::default();
        let shape = Shape::new();
        add_providers(table, &shared, &shape, input).map_err(Failure::run)?;
        Ok(Self {
            shared,
            shape,
            arena: None,
            seed,
            inputs: BTreeMap::new(),
            numbers: BTreeMap::new(),
            host: None,
            scores: None,
            latest: None,
            shown: Interpolator::new(InterpolatorConfig::default()),
            frames: 0,
            ticks: 0,
            states: 0,
            entities: 0,
            takeovers: 0,
        })
    }

    /// Advances by one tick, with what has come.
    fn host_frame(&mut self, table: &mut Table) {
        if self.arena.is_none() {
            self.arena = Some(self.take_over());
        }
        let arena = self.arena.as_mut().expect("it was just taken over");
        let mut sealed = SealedTick {
            tick: arena.state.tick + 1,
            ..SealedTick::default()
        };
        let mut present = table.live.peers();
        present.push(table.me);
        let players = arena.state.players.iter().map(|player| player.peer);
        sealed.left = players.filter(|peer| !present.contains(peer)).collect();
        present.retain(|peer| arena.state.player(*peer).is_none());
        sealed.joined = present;
        {
            let mut board = self.shared.board();
            let own = std::mem::take(&mut board.own);
            self.inputs.entry(table.me).or_default().extend(own);
        }
        sealed.inputs = std::mem::take(&mut self.inputs).into_iter().collect();
        arena.advance(&sealed);
        for happening in &arena.happened {
            match happening {
                Happening::Spawned { seat } => table.tell("spawn", &[*seat]),
                Happening::Hit { by, whom } => table.tell("hit", &[*by, *whom, 0]),
                Happening::Out { by, whom } => table.tell("hit", &[*by, *whom, 1]),
            }
        }
        self.shared.board().simulated = Some(arena.state.clone());
        if self.frames.is_multiple_of(LOOK) {
            look_around(table, &arena.state);
        }
        self.ticks += 1;
        *table.seen.look() = arena.state.clone();
    }

    /// The arena as a new host goes on with it: what it has seen last. Whom it did not see comes in anew, with the score that all know.
    fn take_over(&mut self) -> Arena {
        let Some(mut state) = self.latest.take() else {
            return Arena::new(self.seed);
        };
        self.takeovers += 1;
        if let Some(scores) = &self.scores {
            state.tick = scores.tick;
            state.dice = scores.dice.clone();
            state.next_shot = scores.next_shot;
            for seated in &scores.players {
                match state.players.iter_mut().find(|it| it.seat == seated.seat) {
                    Some(player) => player.score = seated.score,
                    None => state.players.push(Player {
                        score: seated.score,
                        ..Player::new(seated.seat, seated.peer)
                    }),
                }
            }
            state.players.sort_by_key(|player| player.seat);
        }
        Arena::from(state)
    }

    /// Shows what has come.
    fn guest_frame(&mut self, table: &mut Table) {
        if self.arena.take().is_some() {
            // Another one is the host after all.
            self.shared.board().simulated = None;
            self.shown = Interpolator::new(InterpolatorConfig::default());
        }
        let host = table.live.host().filter(|host| *host != table.me);
        if let Some(host) = host
            && self.host != Some(host)
        {
            match table.live.set_command_target(Recipients::Peer(host)) {
                Ok(()) => {
                    self.host = Some(host);
                    self.shared.board().says_again = true;
                }
                // Not there yet: again with the next frame.
                Err(error) => tracing::debug!(%error, "the host is not followed yet"),
            }
        }
        if let Some(between) = self.shown.look(table.live.time()) {
            *table.seen.look() = world::between(between.from, between.to, between.part);
        }
    }
}

impl Mode for Independent {
    fn frame(&mut self, table: &mut Table) -> Result<ControlFlow<()>, Failure> {
        self.frames += 1;
        if table.live.is_writer() {
            self.host_frame(table);
        } else {
            self.guest_frame(table);
        }
        let state = table.seen.look().clone();
        let shown = table.show(&state);
        if self.shared.board().is_over {
            return Ok(ControlFlow::Break(()));
        }
        Ok(shown)
    }

    fn handle_step(&mut self, _table: &mut Table, _step: Step) -> Result<(), Failure> {
        // There are none in this mode.
        Ok(())
    }

    fn handle_event(&mut self, table: &mut Table, event: RealtimeEvent) -> Result<(), Failure> {
        let is_host = |from| table.live.host() == Some(from);
        match event {
            RealtimeEvent::Command {
                from,
                sequence,
                payload,
                ..
            } => {
                // They may overtake each other, and the last says all.
                let last = self.numbers.entry(from).or_default();
                if sequence > *last {
                    *last = sequence;
                    self.inputs.insert(from, vec![payload]);
                }
            }
            RealtimeEvent::Restarted { peer } | RealtimeEvent::Left { peer } => {
                self.numbers.remove(&peer);
                self.inputs.remove(&peer);
            }
            RealtimeEvent::State { from, payload, .. } if is_host(from) => {
                self.scores = Scores::read(&payload).or(self.scores.take());
            }
            RealtimeEvent::Entities { from, time, .. } if is_host(from) => {
                let now = table.live.time();
                let seen = table.live.with_view(from, WORLD, |view| {
                    self.shape.read(view, self.scores.as_ref())
                });
                if let Some(state) = seen {
                    self.states += 1;
                    self.entities += (state.players.len() + state.shots.len()) as u64;
                    if table.is_measured() {
                        table.age.note(now.saturating_sub(time));
                    }
                    self.shown.push(now, time, state.clone());
                    self.latest = Some(state);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.ticks > 0 || self.states > 0
    }

    fn begin_measuring(&mut self, _table: &Table) {
        (self.ticks, self.states, self.entities) = (0, 0, 0);
    }

    fn second(&mut self, second: &mut Second) {
        let scores = self.scores.as_ref().map_or(0, |scores| scores.tick);
        second.tick = self.arena.as_ref().map_or(scores, |it| it.state.tick);
    }

    fn report(&mut self, table: &Table, report: &mut Report) -> ModeReport {
        if let Some(scores) = &self.scores
            && self.arena.is_none()
        {
            let own = scores.players.iter().find(|it| it.peer == table.me);
            report.score = own.map_or(0, |own| own.score);
        }
        ModeReport {
            ticks: self.ticks,
            shown: Some(Shown {
                states: self.states,
                entities: self.entities,
                delay_ms: self.shown.delay().as_secs_f64() * 1e3,
                takeovers: self.takeovers,
            }),
            ..ModeReport::default()
        }
    }

    fn state(&self) -> State {
        let arena = self.arena.as_ref().map(|arena| arena.state.clone());
        let latest = || self.latest.clone();
        arena
            .or_else(latest)
            .unwrap_or_else(|| Arena::new(self.seed).state)
    }
}

/// Every player has all providers, as each can become the host; only the host's give something.
fn add_providers(
    table: &Table,
    shared: &Shared,
    shape: &Shape,
    mut input: Box<dyn InputSource>,
) -> Result<(), RealtimeError> {
    let (board, own) = (shared.clone(), shape.clone());
    table.live.add_entities(
        WORLD,
        shape.schema.clone(),
        shape.config(),
        move |_: Moment, world: &mut _| own.write(board.board().simulated.as_ref(), world),
    )?;
    table
        .live
        .follow_entities(WORLD, shape.schema.clone(), ENTITIES)?;

    let (board, mut told) = (shared.clone(), None);
    table.live.add_state(SCORES, move |_: Moment| {
        let scores = board.board().simulated.as_ref().map(Scores::of);
        if told
            .as_ref()
            .is_some_and(|it| scores.as_ref().is_some_and(|now: &Scores| now.is_as(it)))
        {
            return None;
        }
        told.clone_from(&scores);
        scores.map(|scores| scores.write())
    })?;

    let board = shared.clone();
    let source = move |moment: Moment, commands: &mut Vec<Bytes>| {
        let mut given = Vec::new();
        let wants_more = input.poll(moment, &mut given);
        let mut board = board.board();
        if let Some(last) = given.last() {
            board.last = Some(last.clone());
        }
        if std::mem::take(&mut board.says_again) && given.is_empty() {
            given.extend(board.last.clone());
        }
        if board.simulated.is_some() {
            board.own.extend(given);
        } else {
            commands.extend(given);
        }
        board.is_over |= wants_more.is_break();
        wants_more
    };
    table.live.add_commands(KEYS, InputProvider::new(source))
}

/// Each player sees what is around his own.
fn look_around(table: &Table, state: &State) {
    let metres = |place: i32| place as f32 / METRE as f32;
    for peer in table.live.peers() {
        let Some(player) = state.player(peer) else {
            continue;
        };
        let sight = Sight::Around {
            center: [metres(player.x), metres(player.y), 0.0],
            radius: SIGHT,
            near: NEAR,
        };
        if let Err(error) = table.live.set_sight(peer, WORLD, sight) {
            // It has just left.
            tracing::debug!(%error, "a player's sight is not set");
        }
    }
}
