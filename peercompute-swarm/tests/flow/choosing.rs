//! Exchanges that choose their neighbours.

use std::time::Duration;

use peercompute_proto::{Scope, v1::StreamBinding};
use peercompute_swarm::{
    JobId, LinkOrder, LinkTalk, Neighbourhood,
    cell::{ByteRate, Candidate, Figures, Note, PerItem},
};

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MINUTE, MS, SECOND,
    world::{Spec, World, tasks},
};

/// How often notes are carried.
const STEP: Duration = Duration::from_millis(20);

/// What changes a note that somebody says, for those who lie.
type Lie = fn(&mut Note);

/// Nodes that all know each other, with links of a rate between any two.
struct Town {
    world: World,
    hoods: Vec<Neighbourhood>,
    lies: Vec<Option<Lie>>,
    /// Notes on their way: from, to, what.
    mail: Vec<(usize, usize, Note)>,
    /// Until when there is no way to say anything between every second pair.
    silent_until: Duration,
    rate: f64,
    /// The job of the first node, which always has tasks to give out.
    job: Option<JobId>,
    /// For how many steps it had each of the others for a neighbour.
    linked: Vec<u32>,
}

impl Town {
    fn new(seed: u64, most: usize, rate: f64, specs: &[Spec]) -> Self {
        Self::of(seed, most, rate, 10 * SECOND, specs)
    }

    fn of(seed: u64, most: usize, rate: f64, lease: Duration, specs: &[Spec]) -> Self {
        let mut world = World::new(seed);
        world.lease = lease;
        let mut hoods = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let node = world.node(*spec);
            let rank = world.exchange(node).rank();
            let mut hood = Neighbourhood::new(world.now, rank, most, seed * 100 + index as u64);
            for other in (0..specs.len()).filter(|other| *other != index) {
                assert!(hood.add_peer(world.now, Candidate(other as u32)));
            }
            hoods.push(hood);
        }
        Self {
            world,
            lies: vec![None; hoods.len()],
            job: None,
            linked: vec![0; hoods.len()],
            hoods,
            mail: Vec::new(),
            silent_until: Duration::ZERO,
            rate,
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.feed();
            self.world.run(STEP, |_| false);
            for (from, to, note) in std::mem::take(&mut self.mail) {
                self.deliver(from, to, note);
            }
            for node in 0..self.hoods.len() {
                if self.hoods[node].poll_timeout() <= self.world.now {
                    let hood = &mut self.hoods[node];
                    self.world
                        .with(node, |exchange, now| hood.handle_timeout(now, exchange));
                }
                self.carry_out(node);
            }
            for (other, steps) in self.linked.iter_mut().enumerate() {
                *steps += u32::from(!self.world.between(0, other).is_empty());
            }
        }
    }

    /// Gives the job more tasks when it has few.
    fn feed(&mut self) {
        let Some(job) = self.job else { return };
        if self.world.exchange(0).unfinished(job) < 2000 {
            self.world.push(0, job, tasks(2000, 1000));
        }
    }

    fn open(&mut self) {
        self.job = Some(self.world.open(0, super::crc()));
    }

    /// Tasks of the job that have ended, all of them well.
    fn done(&self) -> usize {
        let outcomes = self.world.outcomes(0);
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
        outcomes.len()
    }

    /// A note arrives, as it is on the wire.
    fn deliver(&mut self, from: usize, to: usize, note: Note) {
        let binding = || StreamBinding::new(Scope::new("test", "room").unwrap());
        let (mut here, mut there) = (LinkTalk::new(binding()), LinkTalk::new(binding()));
        if let Note::Echo { .. } = note {
            let probe: Vec<_> = there.frames(&Note::Probe).collect();
            for frame in probe {
                here.handle_frame(self.world.now, frame).unwrap();
            }
        }
        let frames: Vec<_> = here.frames(&note).collect();
        let mut at = self.world.now;
        for frame in frames {
            let bytes = frame.padding.len();
            if let Some(heard) = there.handle_frame(at, frame).unwrap() {
                let hood = &mut self.hoods[to];
                let name = Candidate(from as u32);
                self.world.with(to, |exchange, now| {
                    hood.handle_note(now, name, heard, exchange);
                });
            }
            at += Duration::from_secs_f64(bytes as f64 / self.rate);
        }
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(order) = self.hoods[node].poll_order() {
            let other = order.with().0 as usize;
            let pair = [(node, other), (other, node)];
            match order {
                LinkOrder::Say(to)
                    if self.world.now < self.silent_until && (node + other).is_multiple_of(2) =>
                {
                    self.hoods[node].handle_silence(to);
                }
                LinkOrder::Say(to) => {
                    while let Some(mut note) = self.hoods[node].poll_note(self.world.now, to) {
                        if let Some(lie) = self.lies[node] {
                            lie(&mut note);
                        }
                        self.mail.push((node, other, note));
                    }
                }
                LinkOrder::Link(_) if self.world.between(node, other).is_empty() => {
                    self.world.link(node, other, self.rate, 5);
                    for (from, name) in self.world.between(node, other) {
                        let hood = &mut self.hoods[from];
                        let with = Candidate((node + other - from) as u32);
                        self.world.with(from, |exchange, now| {
                            hood.handle_link(now, with, name, exchange);
                        });
                    }
                }
                LinkOrder::Unlink(_) if !self.world.between(node, other).is_empty() => {
                    self.world.part(node, other);
                    for (from, to) in pair {
                        let hood = &mut self.hoods[from];
                        let with = Candidate(to as u32);
                        self.world.with(from, |exchange, now| {
                            hood.handle_unlink(now, with, exchange);
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn neighbours(&self, node: usize) -> Vec<usize> {
        let all = 0..self.hoods.len();
        all.filter(|other| !self.world.between(node, *other).is_empty())
            .collect()
    }

    fn is_connected(&self) -> bool {
        let mut seen = vec![0];
        let mut next = 0;
        while let Some(node) = seen.get(next).copied() {
            for other in self.neighbours(node) {
                if !seen.contains(&other) {
                    seen.push(other);
                }
            }
            next += 1;
        }
        seen.len() == self.hoods.len()
    }
}

/// A submitter, two fast workers, and many that compute a twentieth of what they do.
fn uneven() -> Vec<Spec> {
    let mut specs = vec![Spec::idle()];
    for index in 0..14 {
        let cores = if [4, 9].contains(&index) { 20 } else { 1 };
        specs.push(Spec::worker(cores, 50 * MS));
    }
    specs
}

#[test]
fn nodes_that_choose_bring_the_work_to_those_who_compute_fast() {
    for seed in 1..2 {
        let mut town = Town::new(seed, 4, 3e5, &uneven());
        town.run(5 * SECOND);
        town.open();
        for second in 0..40 {
            town.run(SECOND);
            assert!(town.is_connected(), "seed {seed}, second {second}");
        }
        for node in 0..town.hoods.len() {
            assert!(town.neighbours(node).len() <= 4, "seed {seed}: {node}");
        }
        let before = town.done();
        town.run(10 * SECOND);
        let rate = (town.done() - before) as f64 / 10.0;
        // All compute 1040 a second, the slow ones 240 of them.
        assert!(rate > 600.0, "seed {seed}: {rate} a second");
    }
}

#[test]
fn peers_to_whom_nothing_could_be_said_are_measured_later() {
    for seed in 1..4 {
        let mut town = Town::new(seed, 2, 3e5, &[Spec::worker(1, 50 * MS); 6]);
        town.silent_until = town.world.now + 5 * SECOND;
        town.run(60 * SECOND);
        for hood in &town.hoods {
            assert_eq!(hood.status().probed, 5, "seed {seed}");
        }
    }
}

#[test]
fn who_promises_much_and_brings_nothing_home_gains_no_lasting_place() {
    for seed in 1..3 {
        let mut specs = vec![Spec::idle()];
        specs.extend([Spec::worker(4, 50 * MS); 6]);
        // Bundles that are held are given up the sooner.
        let mut town = Town::of(seed, 3, 2e6, SECOND, &specs);
        let liar = 3;
        town.world.swallow(liar);
        // It has no other neighbour, so that the network hangs together by the link to it.
        for other in (1..specs.len()).filter(|other| *other != liar) {
            let hood = &mut town.hoods[liar];
            let gone = Candidate(other as u32);
            town.world
                .with(liar, |exchange, now| hood.remove_peer(now, gone, exchange));
        }
        town.lies[liar] = Some(|note| {
            let wonderful = Figures::new(PerItem([1.0, -1.0]), [0.0; 2], 16_000.0);
            match note {
                Note::Echo { figures, rate } => {
                    (*figures, *rate) = (wonderful, ByteRate(1e9));
                }
                Note::Tell { figures } | Note::Offer { figures } => *figures = wonderful,
                _ => {}
            }
        });
        town.open();
        town.run(MINUTE);
        assert!(town.linked[liar] > 0, "seed {seed}: nobody believed it");
        let before = (town.linked[liar], town.done());
        town.run(MINUTE / 2);
        assert_eq!(town.linked[liar], before.0, "seed {seed}");
        // The five others compute 400 a second.
        let rate = (town.done() - before.1) as f64 / 30.0;
        assert!(rate > 320.0, "seed {seed}: {rate}");
    }
}
