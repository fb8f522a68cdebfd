//! The modes in which all advance in the same ticks: `kernel`, and as soon as it is there `hybrid`, which asks for the same steps.

use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use peercompute_kernel::{
    ClockMode, InputSource, LockstepConfig, LockstepEvent, Prediction, RealtimeEvent,
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
pub(crate) fn clock_mode(mode: PlayMode, seed: u64) -> Result<ClockMode, Failure> {
    match mode {
        PlayMode::Independent => Ok(ClockMode::Independent),
        PlayMode::Kernel => Ok(ClockMode::Kernel(lockstep(seed))),
        PlayMode::Hybrid => Err(Failure::usage(
            "--mode hybrid: the kernel has no such clock mode yet; use kernel or independent",
        )),
    }
}

pub(crate) struct Ticked {
    runner: Runner<Arena>,
    input: Box<dyn InputSource>,
    record: Option<Record>,
    /// Of ticks that were not told of yet.
    hashes: VecDeque<Hashes>,
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
    ) -> Self {
        let mut config = RollbackConfig::default();
        // A command says which keys are down from now on; they stay so without being said again.
        config.prediction = Prediction::Empty;
        config.ahead = 30;
        Self {
            runner: Runner::new(arena, table.me, NAMESPACES.map(str::to_owned), config),
            input,
            record,
            hashes: VecDeque::new(),
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
        let hashes = self.runner.hashes().to_vec();
        if let Some(record) = &mut self.record {
            record.hashes(tick, &hashes);
        }
        if let Some(host) = table.live.host() {
            self.hashes.push_back(Hashes {
                tick,
                host: fnv64(&host.to_bytes()),
                hashes,
            });
        }
        let (_, state) = self.runner.confirmed();
        let score = state.player(table.me).map_or(0, |player| player.score);
        if score > self.score && table.is_measured() {
            table.tell("frag", &score.to_le_bytes());
        }
        self.score = score;
        Ok(())
    }
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
        if let (Step::Restore { tick, .. }, Some(record)) = (&step, &mut self.record) {
            record.break_off(*tick);
        }
        carried(self.runner.carry_out(&table.live, step))
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
            restored: table.live.tick_stats().restored,
            ticks: self.ticks,
            desyncs: self.desyncs,
        });
    }

    fn second(&mut self, second: &mut Second) {
        second.tick = self.runner.confirmed().0;
        second.rollbacks = self.runner.stats().rollbacks;
        let known_to_all = self
            .hashes
            .partition_point(|told| told.tick + HELD <= second.tick);
        second.hashes = self.hashes.drain(..known_to_all).collect();
    }

    fn report(&mut self, table: &Table, report: &mut Report) -> ModeReport {
        report.hashes = self.hashes.drain(..).collect();
        let now = self.runner.stats();
        let restored = table.live.tick_stats().restored;
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
