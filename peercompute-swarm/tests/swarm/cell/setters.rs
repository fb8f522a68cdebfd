//! What a shell learns of a node, its links and its neighbours takes effect.

use std::time::Duration;

use peercompute_swarm::cell::{Buffer, ByteRate, Cell, CellFrame, Item, LinkConfig, PerItem};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::rig::{PLENTY, Rig, SHAPE, config, link, source};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A source that computes nothing, and nodes that compute so much, each linked to it. The edge to the n-th of them is 2 n.
fn fan(computes: &[f64]) -> Rig {
    let mut rig = Rig::new(1);
    let hub = rig.add(source(0.0));
    for compute in computes {
        let leaf = rig.add(config(*compute));
        rig.link([hub, leaf], link(9.0), Duration::ZERO);
    }
    rig
}

/// Tasks that come home in so many seconds, each second.
fn rate(rig: &mut Rig, length: u64) -> f64 {
    let before = rig.home;
    rig.run(seconds(length));
    (rig.home - before) as f64 / length as f64
}

fn near(rate: f64, wanted: f64) {
    let off = (rate / wanted - 1.0).abs();
    assert!(off < 0.03, "{rate} a second instead of {wanted}");
}

#[test]
fn a_source_whose_supply_ends_hands_out_nothing_and_all_that_is_out_comes_home() {
    let mut rig = fan(&[2.0, 3.0]);
    rig.run(seconds(30));
    rig.set_supply(0, false);
    let issued = rig.issued;
    rig.run(seconds(60));
    assert_eq!(rig.issued, issued, "nothing new");
    assert_eq!((rig.home, rig.open()), (issued, 0));
    rig.set_supply(0, true);
    rig.run(seconds(20));
    near(rate(&mut rig, 60), 5.0);
}

#[test]
fn supply_at_a_node_that_is_no_source_is_none() {
    let mut rig = fan(&[2.0]);
    rig.set_supply(0, false);
    rig.set_supply(1, true);
    rig.run(seconds(30));
    assert_eq!((rig.issued, rig.nodes[1].begun), (0, 0));
}

#[test]
fn a_node_that_stops_computing_begins_nothing_more_and_one_that_computes_more_gets_more() {
    let mut rig = fan(&[2.0, 3.0]);
    rig.run(seconds(30));
    rig.set_compute(1, 0.0);
    rig.set_compute(2, 6.0);
    let begun = rig.nodes[1].begun;
    rig.run(seconds(40));
    near(rate(&mut rig, 60), 6.0);
    assert_eq!(rig.nodes[1].begun, begun);
    rig.set_compute(1, 1.0);
    rig.run(seconds(30));
    near(rate(&mut rig, 60), 7.0);
}

#[test]
fn a_source_with_less_uplink_sends_less() {
    let mut rig = fan(&[3.0, 3.0]);
    rig.run(seconds(30));
    near(rate(&mut rig, 30), 6.0);
    let up = ByteRate(2.0 * SHAPE.0);
    rig.with(0, |cell, now| cell.set_capacity(now, up, PLENTY));
    rig.run(seconds(60));
    near(rate(&mut rig, 60), 2.0);
    rig.with(0, |cell, now| cell.set_capacity(now, PLENTY, PLENTY));
    rig.run(seconds(60));
    near(rate(&mut rig, 60), 6.0);
}

#[test]
fn as_many_outputs_are_planned_as_the_uplink_carries_of_their_size() {
    let mut rig = fan(&[9.0]);
    let up = ByteRate(6.0 * SHAPE.1);
    rig.with(1, |cell, now| cell.set_capacity(now, up, PLENTY));
    let port = rig.edges[1].port;
    for (times, wanted) in [(1.0, 6.0), (3.0, 2.0), (0.75, 8.0)] {
        for node in 0..2 {
            rig.with(node, |cell, now| {
                cell.set_output_bytes(now, times * SHAPE.1);
            });
        }
        rig.run(seconds(60));
        near(rig.cell(1).planned_flow(port, Item::Output).0, wanted);
    }
}

#[test]
fn a_node_with_less_downlink_has_its_neighbours_send_less() {
    let mut rig = fan(&[3.0, 3.0]);
    rig.run(seconds(30));
    let down = ByteRate(SHAPE.0);
    rig.with(1, |cell, now| cell.set_capacity(now, PLENTY, down));
    rig.run(seconds(60));
    let before = rig.nodes[1].arrived[Item::Input];
    rig.run(seconds(60));
    let arrived = rig.nodes[1].arrived[Item::Input] - before;
    // A neighbour pushes up to a fifth more than the plan, which a real downlink holds back.
    assert!((58..=74).contains(&arrived), "{arrived} of 60");
}

#[test]
fn a_link_that_has_become_slower_gets_less() {
    let mut rig = fan(&[3.0, 3.0]);
    rig.run(seconds(30));
    let narrow = LinkConfig::new(ByteRate(SHAPE.0), PLENTY, Duration::from_millis(10));
    let port = rig.edges[0].port;
    rig.with(0, |cell, now| cell.set_link(now, port, narrow));
    rig.run(seconds(60));
    near(rate(&mut rig, 60), 4.0);
}

#[test]
fn flow_goes_to_those_who_are_trusted() {
    let mut rig = fan(&[3.0, 3.0]);
    let up = ByteRate(3.0 * SHAPE.0);
    rig.with(0, |cell, now| cell.set_capacity(now, up, PLENTY));
    rig.run(seconds(40));
    rig.set_trust(0, 0, 0.0);
    rig.run(seconds(60));
    let before = rig.nodes[1].arrived[Item::Input];
    rig.run(seconds(60));
    assert_eq!(rig.nodes[1].arrived[Item::Input], before, "nothing more");
    let flow = rig.cell(0).planned_flow(rig.edges[0].port, Item::Input).0;
    assert!(flow < 0.01, "{flow} a second are planned");
    near(rate(&mut rig, 30), 3.0);
    rig.set_trust(0, 0, 1.0);
    rig.set_trust(0, 2, 0.0);
    rig.run(seconds(60));
    let before = rig.nodes[2].arrived[Item::Input];
    near(rate(&mut rig, 60), 3.0);
    assert_eq!(
        rig.nodes[2].arrived[Item::Input],
        before,
        "all to the first"
    );
}

/// Says that an input is worth more here than a task is, and grants whatever it is asked for.
fn lie(rig: &mut Rig, edge: usize) {
    let mut claim = CellFrame::default();
    claim.changes[2] = 3_000;
    rig.send(edge, claim);
}

#[test]
fn a_neighbour_that_claims_much_and_sends_nothing_back_loses_its_flow_with_its_trust() {
    let mut rig = Rig::new(1);
    let up = ByteRate(4.0 * SHAPE.0);
    let mut hub = source(0.0);
    hub.up = up;
    let hub = rig.add(hub);
    let honest = rig.add(config(4.0));
    rig.link([hub, honest], link(9.0), Duration::ZERO);
    let liar = rig.add_stranger(true);
    let edge = rig.link([hub, liar], link(9.0), Duration::ZERO);
    lie(&mut rig, edge ^ 1);
    rig.run(seconds(40));
    let taken = rig.nodes[liar].arrived[Item::Input];
    let believed = rate(&mut rig, 20);
    assert!(taken > 20, "the lie has to be one that pays: {taken}");
    assert!(believed < 3.0, "and one that hurts: {believed}");
    // What a shell does: of all that the liar took nothing has come back.
    rig.set_trust(hub, edge, 0.0);
    rig.run(seconds(40));
    let taken = rig.nodes[liar].arrived[Item::Input];
    near(rate(&mut rig, 60), 4.0);
    assert_eq!(rig.nodes[liar].arrived[Item::Input], taken);
}

fn said(cell: &mut Cell) -> Vec<(u32, CellFrame)> {
    std::iter::from_fn(|| cell.poll_action())
        .filter_map(|action| match action {
            peercompute_swarm::cell::Action::Send { port, frame } => Some((port.0, frame)),
            _ => None,
        })
        .collect()
}

#[test]
fn slots_that_a_neighbour_held_are_free_when_its_link_has_gone() {
    let mut config = config(0.0);
    config.buffer = Buffer::Tight;
    let now = Duration::from_millis(1);
    let mut cell = Cell::new(config, now, 1);
    let (first, second) = (cell.add_link(now, link(9.0)), cell.add_link(now, link(9.0)));
    let ask = CellFrame {
        wanted: PerItem([0, 5]),
        ..CellFrame::default()
    };
    let granted = |said: Vec<(u32, CellFrame)>, port: u32| -> u32 {
        let frames = said.iter().filter(|(to, _)| *to == port);
        frames.map(|(_, frame)| frame.granted[Item::Output]).sum()
    };
    cell.handle_frame(now, first, &ask).expect("it may ask");
    assert_eq!(granted(said(&mut cell), first.0), 3, "all that there are");
    cell.handle_frame(now, second, &ask).expect("it may ask");
    assert_eq!(granted(said(&mut cell), second.0), 0);
    cell.remove_link(now, first);
    assert_eq!(granted(said(&mut cell), second.0), 3);
    assert_eq!(cell.add_link(now, link(9.0)), first, "its port is free");
}

#[test]
fn what_a_gone_link_had_in_transfer_no_longer_takes_part_of_the_uplink() {
    let mut rig = fan(&[3.0, 3.0]);
    let up = ByteRate(3.0 * SHAPE.0);
    rig.with(0, |cell, now| cell.set_capacity(now, up, PLENTY));
    rig.run(seconds(40));
    for _ in 0..20 {
        rig.cut(0);
        let again = rig.link([0, 1], link(9.0), Duration::ZERO);
        rig.run(seconds(1));
        rig.cut(again);
        rig.link([0, 1], link(9.0), Duration::ZERO);
        rig.run(Duration::from_millis(300));
        let newest = rig.edges.len() - 2;
        rig.cut(newest);
    }
    rig.run(seconds(40));
    near(rate(&mut rig, 60), 3.0);
}

#[test]
fn calls_for_a_link_that_is_not_there_do_nothing() {
    let mut cell = Cell::new(source(0.0), Duration::ZERO, 1);
    let now = Duration::from_secs(1);
    let port = cell.add_link(now, link(1.0));
    cell.remove_link(now, port);
    while cell.poll_action().is_some() {}
    let before = cell.view();
    cell.set_trust(port, 0.5);
    cell.set_link(now, port, link(2.0));
    cell.remove_link(now, port);
    cell.handle_sent(now, port, Item::Input);
    cell.handle_held(now, port, Item::Output);
    let hostile = CellFrame {
        granted: PerItem([7; 2]),
        ..CellFrame::default()
    };
    assert_eq!(cell.handle_frame(now, port, &hostile), Ok(()));
    assert_eq!(cell.poll_action(), None);
    assert_eq!(cell.view(), before);
}
