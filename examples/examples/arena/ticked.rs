//! The modes with ticks: `kernel`, in which all advance in the same ones, and `hybrid`, in which all come to the host's state at every sync point.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

use bytes::Bytes;
use peercompute_kernel::{
    ClockMode, HybridConfig, InputSource, LockstepConfig, LockstepEvent, Prediction, RealtimeEvent,
    RollbackConfig, RollbackStats, Runner, SealedTick, Step, StepError, TickRate,
};

use crate::{
    args::PlayMode,
    failure::Failure,
    game::{Arena, Command, HERTZ, NAMESPACES, State, fnv64},
    record::Record,
    table::{Mode, Table},
    words::{Corrections, Hashes, ModeReport, Report, Second},
};

/// The hashes of so many ticks are kept back until the end: see [`Second::hashes`].
const HELD: u64 = HERTZ as u64;

/// The name of the game, in the room and in records.
pub(crate) const GAME: &str = "arena";

/// How the ticks are set up, the same for all players.
pub(crate) fn lockstep(seed: u64) -> LockstepConfig {
    let mut config = LockstepConfig::default();
    config.game = GAME.to_owned();
    config.seed = seed;
    config.namespaces = NAMESPACES.map(str::to_owned).to_vec();
    config.rate = TickRate::hertz(HERTZ);
    config
}

/// How time passes in the room.
pub(crate) fn clock_mode(mode: PlayMode, seed: u64) -> ClockMode {
    match mode {
        PlayMode::Independent => ClockMode::Independent,
        PlayMode::Kernel => ClockMode::Kernel(lockstep(seed)),
        PlayMode::Hybrid => ClockMode::Hybrid(hybrid(seed)),
    }
}

/// Sync points that are remembered.
const MAX_POINTS: usize = 16;

/// Ticks from one sync point to the next.
const SYNC_EVERY: u64 = HERTZ as u64;

fn hybrid(seed: u64) -> HybridConfig {
    let mut config = HybridConfig::default();
    config.game = GAME.to_owned();
    config.seed = seed;
    config.namespaces = NAMESPACES.map(str::to_owned).to_vec();
    config.rate = TickRate::hertz(HERTZ);
    config.every = SYNC_EVERY;
    config
}

pub(crate) struct Ticked {
    runner: Runner<Arena>,
    input: Box<dyn InputSource>,
    record: Option<Record>,
    /// Of ticks that were not told of yet.
    hashes: BTreeMap<u64, Hashes>,
    /// In hybrid mode, the sync points at which the state was the host's: only those are told of.
    points: Option<BTreeSet<u64>>,
    score: u16,
    ticks: u64,
    desyncs: u64,
    before: Option<Before>,
}

/// What it had counted when the measuring began.
struct Before {
    rollback: RollbackStats,
    restored: u64,
    ticks: u64,
    desyncs: u64,
}

impl Ticked {
    pub(crate) fn new(
        table: &Table,
        arena: Arena,
        input: Box<dyn InputSource>,
        record: Option<Record>,
        is_hybrid: bool,
    ) -> Self {
        let mut config = RollbackConfig::default();
        // A command says which keys are down from now on; they stay so without being said again.
        config.prediction = Prediction::Empty;
        config.ahead = 30;
        Self {
            runner: Runner::new(arena, table.me, NAMESPACES.map(str::to_owned), config),
            input,
            record,
            hashes: BTreeMap::new(),
            points: is_hybrid.then(BTreeSet::new),
            score: 0,
            ticks: 0,
            desyncs: 0,
            before: None,
        }
    }

    fn advance(&mut self, table: &mut Table, sealed: SealedTick) -> Result<(), Failure> {
        let tick = sealed.tick;
        if table.is_measured() {
            let now = table.live.time().as_millis() as u32;
            let others = sealed.inputs.iter().filter(|(peer, _)| *peer != table.me);
            for command in others.flat_map(|(_, commands)| commands) {
                if let Some(Command { millis, .. }) = Command::read(command) {
                    // What was said when the clocks were not as close may seem to come from the future.
                    let age = now.wrapping_sub(millis) as i32;
                    table.age.note(Duration::from_millis(age.max(0) as u64));
                }
            }
        }
        if let (Some(record), Some(travels)) = (&mut self.record, table.live.sealed_tick(tick)) {
            record.tick(&travels);
        }
        carried(self.runner.carry_out(&table.live, Step::Advance(sealed)))?;
        self.ticks += 1;
        if let Some(record) = &mut self.record {
            record.hashes(tick, self.runner.hashes());
        }
        self.keep_hashes(table);
        let (_, state) = self.runner.confirmed();
        let score = state.player(table.me).map_or(0, |player| player.score);
        if score > self.score && table.is_measured() {
            table.tell("frag", &score.to_le_bytes());
        }
        self.score = score;
        Ok(())
    }
}

impl Ticked {
    /// Keeps those after the last tick, until they are told.
    fn keep_hashes(&mut self, table: &Table) {
        if let Some(host) = table.live.host() {
            let told = Hashes {
                tick: self.runner.confirmed().0,
                host: fnv64(&host.to_bytes()),
                hashes: self.runner.hashes().to_vec(),
            };
            self.hashes.insert(told.tick, told);
        }
        self.note_point(table);
    }

    fn note_point(&mut self, table: &Table) {
        let Some(points) = &mut self.points else {
            return;
        };
        let (tick, _) = self.runner.confirmed();
        if table.live.is_writer() {
            points.extend((tick % SYNC_EVERY == 0).then_some(tick));
        } else {
            points.insert(table.live.hybrid_stats().reconciled);
        }
        while points.len() > MAX_POINTS {
            points.pop_first();
        }
    }

    /// Those that all should have alike.
    fn told(&self, mut hashes: BTreeMap<u64, Hashes>) -> Vec<Hashes> {
        if let Some(points) = &self.points {
            hashes.retain(|tick, _| points.contains(tick));
        }
        hashes.into_values().collect()
    }
}

/// States that were taken over from the host.
fn restored(table: &Table) -> u64 {
    table.live.lockstep_stats().restored + table.live.hybrid_stats().taken_over
}

/// Errors of one step: the room goes on after them.
fn carried(outcome: Result<(), StepError>) -> Result<(), Failure> {
    match outcome {
        Err(error @ StepError::Unreadable { .. }) => Err(Failure::run(error)),
        Err(error) => {
            tracing::warn!(%error, "a step was not carried out to its end");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

impl Mode for Ticked {
    fn frame(&mut self, table: &mut Table) -> Result<ControlFlow<()>, Failure> {
        *table.seen.look() = self.runner.simulation().state.clone();
        let mut commands: Vec<Bytes> = Vec::new();
        let wants_more = self.input.poll(table.moment(), &mut commands);
        for command in commands {
            if let Err(error) = self.runner.command(&table.live, command) {
                tracing::warn!(%error, "a command is lost");
            }
        }
        self.runner.predict_to(table.live.command_tick());
        let shown = table.show(&self.runner.simulation().state);
        Ok(match (wants_more, shown) {
            (ControlFlow::Continue(()), ControlFlow::Continue(())) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    }

    fn handle_step(&mut self, table: &mut Table, step: Step) -> Result<(), Failure> {
        if let Step::Advance(sealed) = step {
            return self.advance(table, sealed);
        }
        let restored = match (&step, &mut self.record) {
            (Step::Restore { tick, states }, Some(record)) => {
                record.restore(*tick, table.live.roster(), states);
                Some(*tick)
            }
            _ => None,
        };
        carried(self.runner.carry_out(&table.live, step))?;
        if let (Some(tick), Some(record)) = (restored, &mut self.record) {
            record.hashes(tick, self.runner.hashes());
        }
        self.keep_hashes(table);
        Ok(())
    }

    fn handle_event(&mut self, table: &mut Table, event: RealtimeEvent) -> Result<(), Failure> {
        if let RealtimeEvent::Lockstep(LockstepEvent::Desync { peer, .. }) = event {
            self.desyncs += u64::from(peer == table.me);
        }
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.runner.confirmed().0 > 0
    }

    fn begin_measuring(&mut self, table: &Table) {
        self.before = Some(Before {
            rollback: self.runner.stats(),
            restored: restored(table),
            ticks: self.ticks,
            desyncs: self.desyncs,
        });
    }

    fn second(&mut self, second: &mut Second) {
        second.tick = self.runner.confirmed().0;
        second.rollbacks = self.runner.stats().rollbacks;
        let later = (second.tick + 1).saturating_sub(HELD);
        let later = self.hashes.split_off(&later);
        let known_to_all = std::mem::replace(&mut self.hashes, later);
        second.hashes = self.told(known_to_all);
    }

    fn report(&mut self, table: &Table, report: &mut Report) -> ModeReport {
        let hashes = std::mem::take(&mut self.hashes);
        report.hashes = self.told(hashes);
        let now = self.runner.stats();
        let restored = restored(table);
        let before = self.before.as_ref();
        let rollback = before.map_or_else(RollbackStats::default, |it| it.rollback);
        ModeReport {
            ticks: self.ticks - before.map_or(0, |it| it.ticks),
            corrections: Some(Corrections {
                right: now.right - rollback.right,
                rollbacks: now.rollbacks - rollback.rollbacks,
                again: now.again - rollback.again,
                deepest: now.deepest as u64,
                snapshots: restored - before.map_or(0, |it| it.restored),
                desyncs: self.desyncs - before.map_or(0, |it| it.desyncs),
                input_delay: table.live.input_delay(),
            }),
            shown: None,
            record: self.record.take().and_then(Record::finish),
        }
    }

    fn state(&self) -> State {
        self.runner.confirmed().1.clone()
    }
}
