//! A single peer in hybrid mode, to which anything can be sent.

use std::{collections::VecDeque, mem, time::Duration};

use bytes::Bytes;
use peercompute_kernel::{AuthorityEvent, Hybrid, HybridConfig, SealedTick, Step};
use peercompute_net::PeerId;
use peercompute_proto::v1;

use crate::{SECOND, net::four_ids};

/// A little more than a tick at 60 Hz, so that each has begun.
pub(super) const TICK: Duration = Duration::from_micros(16_667);

/// A peer whose state is a number in each of two namespaces.
pub(super) struct Lone {
    pub(super) hybrid: Hybrid,
    pub(super) states: [u64; 2],
    pub(super) steps: Vec<SealedTick>,
    pub(super) restored: Vec<u64>,
    pub(super) sent: VecDeque<(PeerId, v1::SyncFrame)>,
}

impl Lone {
    pub(super) fn new(place: usize) -> Self {
        Self {
            hybrid: hybrid(four_ids()[place]),
            states: [0; 2],
            steps: Vec::new(),
            restored: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// It is this tick now.
    pub(super) fn at(&mut self, tick: u64) -> Duration {
        let room = TICK * u32::try_from(tick).unwrap();
        self.hybrid.set_room_time(SECOND + room, room);
        SECOND + room
    }

    pub(super) fn go_to(&mut self, tick: u64) {
        for tick in self.hybrid.tick() + 1..=tick {
            let now = self.at(tick);
            self.hybrid.handle_timeout(now);
            self.settle(now);
        }
    }

    pub(super) fn settle(&mut self, now: Duration) {
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

    pub(super) fn heed(&mut self, event: AuthorityEvent) {
        let now = self.at(self.hybrid.tick());
        self.hybrid.handle_authority(now, event);
    }

    pub(super) fn follow(&mut self, host: PeerId, term: u64) {
        self.heed(AuthorityEvent::Follows { host, term });
    }

    /// What it has sent to somebody since this was last asked.
    pub(super) fn take_sent(&mut self, to: PeerId) -> Vec<v1::SyncFrame> {
        let sent = mem::take(&mut self.sent);
        let sent = sent.into_iter().filter(|(id, _)| *id == to);
        sent.map(|(_, frame)| frame).collect()
    }

    pub(super) fn hear(&mut self, from: PeerId, frames: Vec<v1::SyncFrame>) {
        let now = self.at(self.hybrid.tick());
        for frame in frames {
            self.hybrid.handle_frame(now, from, frame);
        }
        self.settle(now);
    }

    /// The ticks in which this was commanded.
    pub(super) fn ticks_of(&self, command: &'static [u8]) -> Vec<u64> {
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

pub(super) fn hybrid(id: PeerId) -> Hybrid {
    let mut config = HybridConfig::default();
    config.namespaces = vec!["one".to_owned(), "other".to_owned()];
    let mut hybrid = Hybrid::new(SECOND, id, config).unwrap();
    for other in four_ids() {
        hybrid.handle_joined(SECOND, other);
    }
    hybrid
}

pub(super) fn command(number: u64, tick: u64, payload: &'static [u8]) -> v1::LockstepCommand {
    v1::LockstepCommand {
        number,
        tick,
        payload: Bytes::from_static(payload),
    }
}

pub(super) fn setup() -> u64 {
    let mut lone = Lone::new(0);
    lone.hybrid.command(Bytes::from_static(b"x")).unwrap();
    lone.settle(SECOND);
    lone.sent[0].1.setup
}

pub(super) fn frame(sequence: u64, commands: Vec<v1::LockstepCommand>) -> v1::SyncFrame {
    v1::SyncFrame {
        setup: setup(),
        session: 5,
        sequence,
        commands,
        ..v1::SyncFrame::default()
    }
}
