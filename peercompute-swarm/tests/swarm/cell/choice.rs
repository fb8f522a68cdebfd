//! Which links nodes keep, and that the network never falls apart by it.

use std::{collections::BTreeSet, time::Duration};

use peercompute_swarm::{
    cell::{ByteRate, Candidate, LinkChoice, MAX_PEERS, Rank, TaskRate, TaskShape},
    sim::{ChoosingCell, LinkSpec, Network, NodeSpec, Simulation, SimulationConfig},
};
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::town::{Dice, Town};

/// Groups of nodes; those of a group are joined by acquaintance.
fn town(count: usize, groups: usize, most: usize, delay: u64, seed: u64) -> Town {
    let mut town = Town::new(count, most, delay, seed);
    let mut dice = Dice(seed ^ 0x5eed);
    for node in groups..count {
        let before = node % groups..node;
        let choose = |dice: &mut Dice, most: usize| {
            dice.below(most as u64) as usize * groups + node % groups
        };
        town.meet(node, choose(&mut dice, before.len().div_ceil(groups)));
        for _ in 0..4 {
            let other = choose(&mut dice, count / groups);
            if other != node {
                town.meet(node, other);
            }
        }
    }
    town
}

/// Lets time pass; who is in one piece must stay in one.
fn live(town: &mut Town, until: Duration) -> Result<(), TestCaseError> {
    let mut before = town.pieces();
    while town.step(until) {
        let now = town.pieces();
        for (node, piece) in before.iter().enumerate() {
            prop_assert_eq!(
                now[node],
                now[*piece],
                "at {:?}, {} is cut off from {}",
                town.time(),
                node,
                piece
            );
        }
        before = now;
        prop_assert!(!town.goes_round(), "at {:?}", town.time());
    }
    Ok(())
}

/// Pieces of a network that learn of each other one by one, while links change in each.
fn meet_by_and_by(town: &mut Town, groups: usize, seed: u64) -> Result<(), TestCaseError> {
    let mut dice = Dice(seed ^ 0x6e57);
    let count = town.nodes.len();
    for round in 0..30 {
        live(town, Duration::from_secs(40 + 8 * round))?;
        let (a, b) = (
            dice.below(count as u64) as usize,
            dice.below(count as u64) as usize,
        );
        if a % groups != b % groups {
            town.meet(a, b);
        }
    }
    live(town, Duration::from_secs(400))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn links_that_come_and_go_at_whim_never_cut_the_network_apart(
        seed in any::<u64>(),
        count in 4_usize..20,
        most in 2_usize..6,
        delay in 1_u64..400,
    ) {
        let mut town = town(count, 1, most, delay, seed);
        live(&mut town, Duration::from_secs(240))?;
    }

    #[test]
    fn networks_that_meet_grow_together_and_stay_so(
        seed in any::<u64>(),
        count in 6_usize..20,
        groups in 2_usize..4,
        most in 2_usize..6,
        delay in 1_u64..3000,
    ) {
        let mut town = town(count, groups, most, delay, seed);
        meet_by_and_by(&mut town, groups, seed)?;
    }

    #[test]
    fn when_the_root_dies_the_next_best_takes_over(
        seed in any::<u64>(),
        count in 6_usize..16,
        most in 3_usize..6,
        delay in 1_u64..400,
    ) {
        let mut town = town(count, 1, most, delay, seed);
        live(&mut town, Duration::from_secs(60))?;
        let roots = town.roots();
        prop_assert_eq!(roots.len(), 1);
        town.kill(roots[0]);
        while !town.is_settled() {
            prop_assert!(town.step(Duration::from_secs(300)), "roots {:?}", town.roots());
            prop_assert!(!town.goes_round(), "at {:?}", town.time());
        }
    }
}

/// The nodes of an overlay in which a few have work for many, each knowing all others.
fn overlay(count: usize, most: usize, seed: u64) -> Network {
    let mut dice = Dice(seed);
    let shape = TaskShape::new(65536.0, 16384.0);
    let mut rate = |low: u64, high: u64| (low + dice.below(high - low)) as f64;
    let nodes = (0..count).map(|index| {
        let (compute, up, down) = (rate(5, 40) / 10.0, rate(2, 12), rate(4, 24));
        let bytes = |items: f64| ByteRate(items * shape.input_bytes);
        let mut node = NodeSpec::new(TaskRate(compute), bytes(up), bytes(down));
        node.source = index % 12 == 0;
        if node.source {
            node.up = bytes(100.0);
        }
        node
    });
    let nodes: Vec<_> = nodes.collect();
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| [a, b]));
    let links = pairs.map(|ends| {
        // Links are what is short: which of them are kept decides everything.
        let rates =
            [rate(1, 40), rate(1, 40)].map(|tenths| ByteRate(0.1 * tenths * shape.input_bytes));
        LinkSpec::new(ends, rates, Duration::from_millis(rate(1, 60) as u64))
    });
    let links = links.collect();
    Network::overlay(shape, nodes, links, most).expect("it is a network")
}

/// Runs an overlay; gives how many links ended after it first was in one piece. It stays so from then on.
fn holds_together(network: &Network, length: Duration) -> usize {
    let mut simulation = Simulation::<ChoosingCell>::new(network, SimulationConfig::default());
    let step = Duration::from_millis(20);
    let (mut now, mut once, mut ended) = (Duration::ZERO, false, 0);
    let mut before: BTreeSet<[usize; 2]> = BTreeSet::new();
    while now < length {
        now += step;
        simulation.run(now);
        let links: BTreeSet<_> = simulation.links().collect();
        if links == before {
            continue;
        }
        let whole = in_one_piece(network.nodes.len(), &links);
        assert!(whole || !once, "it has fallen apart at {now:?}");
        if whole {
            ended += before.difference(&links).count();
        }
        once |= whole;
        before = links;
    }
    assert!(once, "it has never been in one piece");
    let choices = || simulation.rules().flatten().map(ChoosingCell::choice);
    let best = choices().map(|choice| choice.tree().rank()).max();
    assert!(choices().all(|choice| Some(choice.tree().root()) == best));
    ended
}

fn in_one_piece(count: usize, links: &BTreeSet<[usize; 2]>) -> bool {
    let mut piece: Vec<usize> = (0..count).collect();
    for [a, b] in links {
        let (from, to) = (piece[*a], piece[*b]);
        for piece in &mut piece {
            if *piece == from {
                *piece = to;
            }
        }
    }
    piece.iter().all(|other| *other == piece[0])
}

#[test]
fn an_overlay_that_looks_for_better_links_stays_in_one_piece() {
    let given_up = [(1, 3), (2, 4), (3, 8)].map(|(seed, most)| {
        let network = overlay(48, most, seed);
        holds_together(&network, Duration::from_secs(240))
    });
    let all: usize = given_up.iter().sum();
    assert!(
        all > 30,
        "only {given_up:?} links were given up: nothing is shown"
    );
}

#[test]
fn peers_are_bounded_and_make_room_when_they_go() {
    let mut choice = LinkChoice::new(Duration::ZERO, Rank::new(1, 1), 8, 1);
    for peer in 0..MAX_PEERS as u32 {
        assert!(choice.add_peer(Candidate(peer)));
    }
    assert!(!choice.add_peer(Candidate(u32::MAX)));
    choice.remove_peer(Duration::ZERO, Candidate(7));
    assert!(choice.add_peer(Candidate(u32::MAX)));
}
