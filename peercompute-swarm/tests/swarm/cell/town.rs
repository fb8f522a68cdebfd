//! Nodes that choose their links, on virtual time: notes take a while, and come in order between two nodes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use peercompute_swarm::cell::{
    ByteRate, Candidate, Choice, Figures, LinkChoice, Note, Port, Rank, Standing,
};

/// Numbers that look random.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: u64) -> u64 {
        mix(&mut self.0) % most.max(1)
    }
}

fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A node that changes its mind about what links are worth all the time.
#[derive(Clone, Debug)]
pub(super) struct Whims {
    seed: u64,
    /// Seconds by its clock: whims last for some.
    now: u64,
    pub(super) retired: BTreeSet<Port>,
}

impl Whims {
    fn whim(&self, of: u64) -> f64 {
        let mut state = self.seed ^ (of << 32) ^ (self.now / 20);
        (mix(&mut state) % 1000) as f64 / 100.0
    }
}

impl Standing for Whims {
    fn figures(&self) -> Figures {
        Figures::default()
    }

    fn link_worth(&self, port: Port) -> f64 {
        self.whim(u64::from(port.0))
    }

    fn promise(&self, _: &Figures, _: &Figures, rates: [ByteRate; 2]) -> f64 {
        self.whim(rates[1].0 as u64 ^ 0xaaaa)
    }

    fn is_idle(&self, port: Port) -> bool {
        self.whim(u64::from(port.0) ^ 0xffff) < 7.0
    }

    fn retire(&mut self, port: Port) {
        self.retired.insert(port);
    }

    fn keep(&mut self, port: Port) {
        self.retired.remove(&port);
    }
}

#[derive(Debug)]
pub(super) struct Citizen {
    pub(super) choice: LinkChoice,
    pub(super) whims: Whims,
    /// Links that are up as far as it knows.
    pub(super) links: BTreeSet<usize>,
    pub(super) alive: bool,
    most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Note { from: usize, to: usize, note: Note },
    Up { at: usize, with: usize },
    Down { at: usize, with: usize },
    Timeout { node: usize },
}

#[derive(Debug)]
pub(super) struct Town {
    pub(super) now: u64,
    pub(super) nodes: Vec<Citizen>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    made: u64,
    /// When the last note between two nodes arrives.
    last: BTreeMap<(usize, usize), u64>,
    dice: Dice,
    /// Notes take up to so many milliseconds.
    delay: u64,
    pub(super) downs: usize,
}

impl Town {
    /// Nodes with up to `most` links each. Which of them know each other, `meet` says.
    pub(super) fn new(count: usize, most: usize, delay: u64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let nodes = (0..count).map(|index| {
            let rank = Rank::new(dice.below(3) as u8, index as u64 + 1);
            Citizen {
                choice: LinkChoice::new(Duration::ZERO, rank, most, dice.below(u64::MAX)),
                whims: Whims {
                    seed: dice.below(u64::MAX),
                    now: 0,
                    retired: BTreeSet::new(),
                },
                links: BTreeSet::new(),
                alive: true,
                most,
            }
        });
        let mut town = Self {
            now: 0,
            nodes: nodes.collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            made: 0,
            last: BTreeMap::new(),
            dice: dice.clone(),
            delay,
            downs: 0,
        };
        for node in 0..count {
            town.push(0, Event::Timeout { node });
        }
        town
    }

    /// Two nodes learn of each other.
    pub(super) fn meet(&mut self, a: usize, b: usize) {
        assert!(self.nodes[a].choice.add_peer(Candidate(b as u32)));
        assert!(self.nodes[b].choice.add_peer(Candidate(a as u32)));
    }

    /// A node goes without a word. The others notice later.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        let links = std::mem::take(&mut self.nodes[node].links);
        for with in links {
            self.later(
                with,
                node,
                Event::Down {
                    at: with,
                    with: node,
                },
            );
        }
    }

    /// Lets the next thing happen; `false` when it is after `until`.
    pub(super) fn step(&mut self, until: Duration) -> bool {
        let Some(Reverse((at, number))) = self.queue.peek().copied() else {
            return false;
        };
        if at > until.as_nanos() as u64 {
            return false;
        }
        self.queue.pop();
        self.now = at;
        let event = self.events.remove(&number).expect("it was made");
        let time = self.time();
        let (Event::Note { to: node, .. }
        | Event::Up { at: node, .. }
        | Event::Down { at: node, .. }
        | Event::Timeout { node }) = event;
        let citizen = &mut self.nodes[node];
        if !citizen.alive {
            return true;
        }
        citizen.whims.now = time.as_secs();
        match event {
            Event::Note { from, note, .. } => {
                let name = Candidate(from as u32);
                let rate = ByteRate(from as f64 + 1.0);
                citizen
                    .choice
                    .handle_note(time, name, note, rate, &mut citizen.whims);
            }
            Event::Up { with, .. } => {
                if citizen.choice.expects(Candidate(with as u32)) {
                    self.bring_up(node, with);
                } else if !citizen.links.contains(&with) {
                    self.later(
                        node,
                        with,
                        Event::Down {
                            at: with,
                            with: node,
                        },
                    );
                }
            }
            Event::Down { with, .. } => self.take_down(node, with),
            Event::Timeout { .. } => {
                if citizen.choice.poll_timeout() <= time {
                    citizen.choice.handle_timeout(time, &mut citizen.whims);
                }
                // Twenty times a second is close enough.
                self.push(at + 50_000_000, event);
            }
        }
        self.carry_out(node);
        true
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(choice) = self.nodes[node].choice.poll_choice() {
            let with = choice.with().0 as usize;
            match choice {
                Choice::Say { note, .. } => {
                    let (from, to) = (node, with);
                    self.later(node, with, Event::Note { from, to, note });
                }
                Choice::Link { .. } => {
                    self.bring_up(node, with);
                    self.later(
                        node,
                        with,
                        Event::Up {
                            at: with,
                            with: node,
                        },
                    );
                }
                Choice::Unlink { .. } => {
                    self.take_down(node, with);
                    self.later(
                        node,
                        with,
                        Event::Down {
                            at: with,
                            with: node,
                        },
                    );
                }
                _ => {}
            }
        }
    }

    fn bring_up(&mut self, node: usize, with: usize) {
        let time = self.time();
        let citizen = &mut self.nodes[node];
        if citizen.links.insert(with) {
            let port = Port(with as u32);
            citizen.whims.retired.remove(&port);
            citizen
                .choice
                .handle_link(time, Candidate(with as u32), port);
            assert!(citizen.links.len() <= citizen.most, "too many links");
        }
    }

    fn take_down(&mut self, node: usize, with: usize) {
        let time = self.time();
        let citizen = &mut self.nodes[node];
        if citizen.links.remove(&with) {
            self.downs += 1;
            citizen.choice.handle_unlink(time, Candidate(with as u32));
        }
    }

    fn later(&mut self, from: usize, to: usize, event: Event) {
        let took = 1_000_000 * (1 + self.dice.below(self.delay));
        let last = self.last.entry((from, to)).or_default();
        *last = (self.now + took).max(*last);
        let at = *last;
        self.push(at, event);
    }

    fn push(&mut self, at: u64, event: Event) {
        self.made += 1;
        self.events.insert(self.made, event);
        self.queue.push(Reverse((at, self.made)));
    }

    /// For each node which piece of the network it is in: the lowest number in it. Links count that are up at both ends.
    pub(super) fn pieces(&self) -> Vec<usize> {
        let mut pieces = vec![usize::MAX; self.nodes.len()];
        for start in 0..self.nodes.len() {
            if pieces[start] != usize::MAX {
                continue;
            }
            let mut open = VecDeque::from([start]);
            pieces[start] = start;
            while let Some(node) = open.pop_front() {
                for next in &self.nodes[node].links {
                    if pieces[*next] == usize::MAX && self.nodes[*next].links.contains(&node) {
                        pieces[*next] = start;
                        open.push_back(*next);
                    }
                }
            }
        }
        pieces
    }

    /// Whether anybody hangs on himself.
    pub(super) fn goes_round(&self) -> bool {
        (0..self.nodes.len()).any(|start| {
            let mut node = start;
            for _ in 0..=self.nodes.len() {
                match self.nodes[node].choice.tree().parent() {
                    Some(parent) if self.nodes[node].alive => node = parent.0 as usize,
                    _ => return false,
                }
            }
            true
        })
    }

    /// The nodes that take themselves for a root.
    pub(super) fn roots(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|node| {
                let tree = self.nodes[*node].choice.tree();
                self.nodes[*node].alive && tree.root() == tree.rank()
            })
            .collect()
    }

    /// Whether each piece of the network has one root, its best, and everybody in it knows that.
    pub(super) fn is_settled(&self) -> bool {
        let pieces = self.pieces();
        (0..self.nodes.len()).all(|node| {
            let fellows = (0..self.nodes.len()).filter(|other| pieces[*other] == pieces[node]);
            let ranks = fellows.map(|other| self.nodes[other].choice.tree().rank());
            let tree = self.nodes[node].choice.tree();
            !self.nodes[node].alive || Some(tree.root()) == ranks.max()
        })
    }
}
