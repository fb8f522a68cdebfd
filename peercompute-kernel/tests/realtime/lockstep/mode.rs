//! Players of a game in kernel mode.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use bytes::Bytes;
use peercompute_kernel::{
    AuthorityEvent, Lockstep, LockstepConfig, LockstepEvent, LockstepStep, Recorder, SealedTick,
};
use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::Arena;
use crate::{SECOND, arena::Mode, game::Game, net::Random};

pub(crate) struct Ticks {
    pub(crate) lockstep: Lockstep,
    pub(crate) game: Game,
    /// The hashes after each tick since the last restore, and the steps.
    pub(crate) hashes: BTreeMap<u64, [(&'static str, u64); 2]>,
    pub(crate) steps: Vec<SealedTick>,
    /// From this tick on it gets the score wrong.
    pub(crate) bug_at: Option<u64>,
    record: Option<Recorder<Sink>>,
    pub(crate) recorded: Rc<RefCell<Vec<u8>>>,
}

type Sink = Box<dyn FnMut(&[u8])>;

impl Mode for Ticks {
    type Config = LockstepConfig;
    type Frame = v1::LockstepFrame;
    type Event = LockstepEvent;
    type Seen = ();

    fn config(seed: u64) -> LockstepConfig {
        let mut config = LockstepConfig::default();
        config.game = "arena".to_owned();
        config.seed = seed;
        config.namespaces = vec!["world".to_owned(), "score".to_owned()];
        config
    }

    fn new(
        local: Duration,
        id: PeerId,
        session: u64,
        config: &LockstepConfig,
        _random: &mut Random,
    ) -> Self {
        let mut config = config.clone();
        config.session = session;
        Self {
            lockstep: Lockstep::new(local, id, config).unwrap(),
            game: Game::default(),
            hashes: BTreeMap::new(),
            steps: Vec::new(),
            bug_at: None,
            record: None,
            recorded: Rc::default(),
        }
    }

    fn set_sealing(&mut self, local: Duration, seals: bool) {
        self.lockstep.set_sealing(local, seals);
    }

    fn handle_left(&mut self, local: Duration, peer: PeerId) {
        self.lockstep.handle_left(local, peer);
    }

    fn handle_authority(&mut self, local: Duration, event: AuthorityEvent) {
        self.lockstep.handle_authority(local, event);
    }

    fn handle_frame(&mut self, local: Duration, from: PeerId, frame: v1::LockstepFrame) {
        self.lockstep.handle_frame(local, from, frame);
    }

    fn handle_timeout(&mut self, local: Duration) {
        self.lockstep.handle_timeout(local);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.lockstep.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<LockstepEvent> {
        self.lockstep.poll_event()
    }

    fn poll_transmit(&mut self, local: Duration) -> Option<(PeerId, v1::LockstepFrame)> {
        self.lockstep.poll_transmit(local)
    }

    fn command(&mut self, command: Bytes) -> bool {
        self.lockstep.command(command).is_ok()
    }

    fn carry_out(&mut self) -> bool {
        let before = self.game.tick;
        while let Some(step) = self.lockstep.poll_step() {
            match step {
                LockstepStep::Advance(tick) => self.advance(tick),
                LockstepStep::Restore { tick, state } => {
                    self.game = Game::load(&state);
                    assert_eq!(self.game.tick, tick);
                    let hashes = self.game.hashes();
                    self.hashes.clear();
                    self.hashes.insert(tick, hashes);
                    if let Some(record) = &mut self.record {
                        record.restore(tick, self.lockstep.roster(), &[state]);
                        record.hashes(tick, &hashes.map(|(_, hash)| hash));
                    }
                    self.steps.clear();
                }
                _ => unreachable!(),
            }
        }
        if self.lockstep.wants_snapshot() {
            let state = self.game.save();
            self.lockstep
                .handle_snapshot(self.game.tick, state)
                .unwrap();
        }
        self.game.tick > before
    }

    fn tale(&self) -> String {
        let lockstep = &self.lockstep;
        format!(
            "tick {}, sealed {}, unsealed {}, {:?}",
            self.game.tick,
            lockstep.sealed(),
            lockstep.unsealed(),
            lockstep.stats(),
        )
    }

    fn is_told(event: &LockstepEvent) -> bool {
        !matches!(
            event,
            LockstepEvent::Delay { .. } | LockstepEvent::Slow { .. }
        )
    }
}

impl Ticks {
    /// Records what it does from now on.
    pub(crate) fn record(&mut self) {
        let bytes = self.recorded.clone();
        let sink: Sink = Box::new(move |more| bytes.borrow_mut().extend(more));
        let lockstep = &self.lockstep;
        let roster = lockstep.roster();
        self.record = Some(Recorder::new(
            sink,
            lockstep.config(),
            lockstep.applied(),
            roster,
        ));
    }

    fn advance(&mut self, tick: SealedTick) {
        self.game.advance(&tick);
        if self.bug_at == Some(tick.tick) {
            self.game.score ^= 1;
        }
        let hashes = self.game.hashes();
        self.lockstep.handle_hashes(tick.tick, &hashes).unwrap();
        self.hashes.insert(tick.tick, hashes);
        if let Some(record) = &mut self.record {
            record.tick(self.lockstep.sealed_tick(tick.tick).unwrap());
            record.hashes(tick.tick, &hashes.map(|(_, hash)| hash));
        }
        self.steps.push(tick);
    }
}

impl Arena {
    /// Runs until all have come to this tick.
    pub(crate) fn run_to(&mut self, tick: u64, limit: Duration) {
        let end = self.now + limit;
        self.run_until(end, |arena| {
            arena
                .players
                .iter()
                .flatten()
                .all(|player| player.game.tick >= tick)
        });
        for (place, player) in self.players.iter().enumerate() {
            if let Some(player) = player {
                assert!(
                    player.game.tick >= tick,
                    "{place} has come to tick {} of {tick}\n{}",
                    player.game.tick,
                    self.tale()
                );
            }
        }
    }

    /// All states are alike at the last tick that all have come to.
    pub(crate) fn assert_alike(&self) -> Result<(), String> {
        let players = || self.players.iter().flatten();
        let tick = players().map(|player| player.game.tick).min().unwrap_or(0);
        let all: Vec<_> = players().map(|player| player.hashes.get(&tick)).collect();
        let is_alike = all
            .iter()
            .flatten()
            .all(|hashes| Some(hashes) == all.iter().flatten().next());
        if is_alike {
            return Ok(());
        }
        Err(format!("after tick {tick}: {all:?}\n{}", self.tale()))
    }

    /// Nobody commands any more; what is under way is sealed.
    pub(crate) fn drain(&mut self) {
        self.eager = 0;
        let end = self.now + 30 * SECOND;
        self.run_until(end, |arena| {
            arena
                .players
                .iter()
                .flatten()
                .all(|player| player.lockstep.unsealed() == 0)
        });
        let tick = self
            .players
            .iter()
            .flatten()
            .map(|player| player.lockstep.sealed())
            .max();
        self.run_to(tick.unwrap_or(0), 30 * SECOND);
    }
}
