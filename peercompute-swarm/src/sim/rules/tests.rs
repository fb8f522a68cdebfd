use proptest::prelude::*;

use super::*;
use crate::{
    cell::{Buffer, ByteRate, TaskRate, TaskShape},
    sim::{LinkSpec, NetworkKind, NodeEvent, NodeSpec, Presence, generate},
};

const BASELINES: [RuleName; 5] = [
    RuleName::RandomPush,
    RuleName::ShortestQueue,
    RuleName::Diffusion,
    RuleName::WorkStealing,
    RuleName::BandwidthTree,
];

/// A source that computes nothing, and two nodes behind it that compute one task a second each.
fn chain() -> Network {
    let node = |compute| NodeSpec::new(TaskRate(compute), ByteRate(1e6), ByteRate(1e6));
    let mut nodes = vec![node(0.0), node(1.0), node(1.0)];
    nodes[0].source = true;
    let link = |ends| LinkSpec::new(ends, [ByteRate(5e5); 2], Duration::from_millis(10));
    let links = vec![link([0, 1]), link([1, 2])];
    Network::new(TaskShape::new(65_536.0, 1_310.0), nodes, links)
        .expect("a network as it should be")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tight(seed: u64) -> SimulationConfig {
    SimulationConfig {
        buffer: Buffer::Tight,
        seed,
        ..SimulationConfig::default()
    }
}

#[test]
fn every_baseline_keeps_both_nodes_of_a_short_chain_busy() {
    for rule in BASELINES {
        let report = simulate(rule, &chain(), SimulationConfig::default(), seconds(200));
        // Both compute one a second.
        assert!(report.steady.0 > 1.9, "{rule}: {report:?}");
        assert_eq!((report.over_buffer, report.lost_tasks), (0, 0), "{rule}");
    }
}

#[test]
fn a_lone_source_computes_for_itself_under_every_rule() {
    let mut node = NodeSpec::new(TaskRate(2.0), ByteRate(1e6), ByteRate(1e6));
    node.source = true;
    let shape = TaskShape::new(65_536.0, 1_310.0);
    let network = Network::new(shape, vec![node], Vec::new()).expect("one source is a network");
    for rule in RuleName::ALL {
        let report = simulate(rule, &network, SimulationConfig::default(), seconds(20));
        assert!((39..=40).contains(&report.completed), "{rule}: {report:?}");
    }
}

#[test]
fn names_lead_back_to_their_rule_and_others_are_refused() {
    for rule in RuleName::ALL {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
    assert_eq!(
        "magic".parse::<RuleName>(),
        Err(UnknownRule("magic".into()))
    );
}

#[test]
fn every_baseline_finds_work_again_after_the_way_to_it_was_gone() {
    let mut network = chain();
    let events = [(40, Presence::Leave), (60, Presence::Join)];
    network.events = events
        .map(|(at, presence)| NodeEvent::new(seconds(at), 1, presence))
        .to_vec();
    for rule in BASELINES {
        let report = simulate(rule, &network, SimulationConfig::default(), seconds(400));
        assert!(report.steady.0 > 1.9, "{rule}: {report:?}");
        assert_eq!((report.over_buffer, report.lost_tasks), (0, 0), "{rule}");
    }
}

fn any_baseline() -> impl Strategy<Value = RuleName> {
    proptest::sample::select(BASELINES.to_vec())
}

fn any_kind() -> impl Strategy<Value = NetworkKind> {
    proptest::sample::select(NetworkKind::ALL.to_vec())
}

/// Nodes other than sources leave and come back, one after the other.
fn with_churn(mut network: Network, leavers: &[usize]) -> Network {
    for (index, leaver) in leavers.iter().enumerate() {
        let node = leaver % network.nodes.len();
        if !network.nodes[node].source {
            let at = seconds(5 + 3 * index as u64);
            network
                .events
                .push(NodeEvent::new(at, node, Presence::Leave));
            let at = at + Duration::from_millis(100 + 700 * (*leaver as u64 % 4));
            network
                .events
                .push(NodeEvent::new(at, node, Presence::Join));
        }
    }
    network
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn buffers_keep_their_bound_on_any_network_and_work_is_done(
        rule in any_baseline(), kind in any_kind(), nodes in 1_usize..40, seed: u64,
        leavers in proptest::collection::vec(0_usize..1000, 0..8),
    ) {
        let network = generate(kind, nodes, seed).expect("the size is allowed");
        let network = with_churn(network, &leavers);
        for config in [SimulationConfig::default(), tight(seed)] {
            let report = simulate(rule, &network, config, seconds(60));
            prop_assert_eq!(report.over_buffer, 0);
            prop_assert_eq!(report.lost_tasks, 0);
            prop_assert!(report.completed > 0);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_report(
        rule in any_baseline(), kind in any_kind(), nodes in 2_usize..40, seed: u64,
    ) {
        let network = generate(kind, nodes, seed).expect("the size is allowed");
        let run = || simulate(rule, &network, tight(seed), seconds(20));
        prop_assert_eq!(run(), run());
    }
}
