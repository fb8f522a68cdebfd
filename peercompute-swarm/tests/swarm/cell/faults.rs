//! Faults of the cell, each in the smallest case that is known.

use std::time::Duration;

use peercompute_swarm::{
    cell::{Buffer, ByteRate, Cell, CellConfig, CellFrame, Item, LinkConfig, TaskRate, TaskShape},
    sim::{LinkSpec, Network, NodeSpec, RuleName, SimulationConfig, simulate},
};

use super::rig::{Rig, config, link, source};

#[test]
fn a_forwarder_that_has_lost_its_last_link_still_reckons_with_numbers() {
    let now = Duration::from_secs(1);
    let mut cell = Cell::new(config(0.0), Duration::ZERO, 1);
    let port = cell.add_link(now, link(1.0));
    cell.handle_frame(now, port, &CellFrame::default())
        .expect("it says nothing");
    cell.handle_timeout(Duration::from_secs(2));
    cell.remove_link(Duration::from_secs(2), port);
    cell.handle_timeout(Duration::from_secs(3));
    let values = cell.view().value.0;
    assert!(values.iter().all(|value| value.is_finite()), "{values:?}");
}

#[test]
fn inputs_of_its_own_user_do_not_stop_a_worker_for_ever() {
    let mut rig = Rig::new(1);
    let hub = rig.add(source(0.0));
    let mut tight = config(2.0);
    tight.buffer = Buffer::Tight;
    let worker = rig.add(tight);
    rig.link([hub, worker], link(13.0), Duration::ZERO);
    rig.run(Duration::from_millis(600));
    rig.give(worker, Item::Input);
    rig.run(Duration::from_secs(60));
    assert!(rig.home > 100, "{} tasks in a minute", rig.home);
}

#[test]
fn a_link_that_carries_a_thousandth_of_what_it_was_taken_for_is_used_soon() {
    let mut rig = Rig::new(1);
    let hub = rig.add(source(0.0));
    let worker = rig.add(config(1000.0));
    rig.link([hub, worker], link(1000.0), Duration::ZERO);
    rig.run(Duration::from_secs(10));
    for edge in 0..2 {
        let end = &rig.edges[edge];
        let (node, port) = (end.from, end.port);
        rig.with(node, |cell, now| cell.set_link(now, port, link(1.0)));
    }
    rig.run(Duration::from_secs(60));
    let before = rig.home;
    rig.run(Duration::from_secs(60));
    let home = rig.home - before;
    assert!(home >= 50, "{home} of 60 tasks in a minute");
}

#[test]
fn a_cycle_of_forwarders_does_not_stop_the_worker_that_feeds_it() {
    let node = |compute| NodeSpec::new(TaskRate(compute), ByteRate(1e7), ByteRate(1e7));
    let mut nodes = vec![node(0.0), node(1.0), node(0.0), node(0.0)];
    nodes[0].source = true;
    let link = |ends, out: f64, back: f64| {
        let rates = [ByteRate(out * 60_000.0), ByteRate(back * 60_000.0)];
        LinkSpec::new(ends, rates, Duration::from_millis(15))
    };
    let links = vec![
        link([0, 1], 9.0, 9.0),
        link([1, 2], 9.0, 3.0),
        link([1, 3], 1.0, 3.0),
        link([2, 3], 9.0, 1.0),
    ];
    let network = Network::new(TaskShape::new(60_000.0, 2_000.0), nodes, links).expect("fine");
    let mut config = SimulationConfig::default();
    (config.buffer, config.seed) = (Buffer::Tight, 1);
    let report = simulate(RuleName::Cell, &network, config, Duration::from_secs(200));
    assert!(
        report.steady.0 > 0.95,
        "{} of 1; {} done",
        report.steady.0,
        report.completed
    );
}

#[test]
fn a_neighbour_that_is_not_trusted_gets_nothing_even_where_nobody_else_wants_it() {
    let mut rig = Rig::new(1);
    let hub = rig.add(source(0.0));
    let worker = rig.add(config(3.0));
    let edge = rig.link([hub, worker], link(9.0), Duration::ZERO);
    rig.run(Duration::from_secs(40));
    rig.set_trust(hub, edge, 0.0);
    rig.run(Duration::from_secs(30));
    let before = rig.nodes[worker].arrived[Item::Input];
    rig.run(Duration::from_secs(30));
    let more = rig.nodes[worker].arrived[Item::Input] - before;
    assert!(more < 5, "{more} inputs in half a minute");
}

#[test]
fn a_trust_that_is_no_number_leaves_numbers() {
    let mut rig = Rig::new(1);
    let hub = rig.add(source(0.0));
    let worker = rig.add(config(3.0));
    let edge = rig.link([hub, worker], link(9.0), Duration::ZERO);
    rig.run(Duration::from_secs(5));
    rig.set_trust(hub, edge, f64::NAN);
    rig.run(Duration::from_secs(1));
    let flow = rig
        .cell(hub)
        .planned_flow(rig.edges[edge].port, Item::Input);
    assert!(flow.0.is_finite(), "{flow:?}");
    assert!(rig.cell(hub).view().links[0].trust.is_finite());
}

#[test]
fn endless_rates_do_not_overflow_the_slots_that_are_asked_for() {
    let mut rig = Rig::new(1);
    let shape = TaskShape::new(1.0, 1.0);
    let endless = || {
        let rate = ByteRate(f64::INFINITY);
        CellConfig::new(shape, TaskRate(f64::INFINITY), rate, rate)
    };
    let mut hub = endless();
    hub.source = true;
    hub.compute = TaskRate(0.0);
    let (hub, worker) = (rig.add(hub), rig.add(endless()));
    let rate = ByteRate(f64::INFINITY);
    let wide = LinkConfig::new(rate, rate, Duration::from_millis(100));
    rig.link([hub, worker], wide, Duration::ZERO);
    rig.run_events(Duration::from_secs(10), 20_000);
}
