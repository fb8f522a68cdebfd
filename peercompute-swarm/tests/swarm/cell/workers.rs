//! What a node computes.

use std::time::Duration;

use peercompute_swarm::cell::{Action, Buffer, Cell, Item};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::rig::{Rig, config, link, source};

fn actions(cell: &mut Cell) -> Vec<Action> {
    std::iter::from_fn(|| cell.poll_action()).collect()
}

#[test]
fn a_cell_with_three_workers_computes_three_tasks_at_a_time() {
    let mut config = source(3.0);
    config.workers = 3;
    let mut cell = Cell::new(config, Duration::ZERO, 1);
    assert_eq!(actions(&mut cell), [Action::Compute; 3]);
    cell.handle_timeout(cell.poll_timeout());
    assert_eq!(actions(&mut cell), [], "all are busy");
    cell.handle_computed(Duration::from_secs(1));
    assert_eq!(actions(&mut cell), [Action::Collect, Action::Compute]);
}

#[test]
fn an_output_is_collected_once_for_each_task_that_was_computed() {
    let mut config = source(2.0);
    config.workers = 2;
    let mut cell = Cell::new(config, Duration::ZERO, 1);
    assert_eq!(actions(&mut cell), [Action::Compute; 2]);
    cell.set_supply(Duration::from_secs(1), false);
    // The third and the fourth are of tasks that nobody had begun.
    let mut collected = 0;
    for second in 1..=4 {
        cell.handle_computed(Duration::from_secs(second));
        collected += actions(&mut cell).len();
    }
    assert_eq!(collected, 2);
    assert_eq!(cell.view().computing, 0);
}

#[test]
fn a_worker_keeps_its_output_while_the_buffer_is_full() {
    let mut config = config(1.0);
    config.buffer = Buffer::Tight;
    let mut cell = Cell::new(config, Duration::ZERO, 1);
    let now = Duration::from_secs(1);
    for _ in 0..3 {
        cell.handle_item(now, Item::Input);
    }
    assert_eq!(actions(&mut cell), [Action::Compute]);
    cell.handle_item(now, Item::Output);
    cell.handle_computed(now);
    assert_eq!(actions(&mut cell), [], "two inputs and an output wait");
    let view = cell.view();
    assert_eq!((view.computing, view.waiting.0, view.slots), (1, [2, 1], 3));
}

#[test]
fn a_node_without_compute_leaves_inputs_that_pile_up_alone() {
    let mut cell = Cell::new(config(0.0), Duration::ZERO, 1);
    for _ in 0..10 {
        cell.handle_item(Duration::from_secs(1), Item::Input);
    }
    let mut own = Cell::new(source(0.0), Duration::ZERO, 1);
    for second in 1..100 {
        cell.handle_timeout(Duration::from_secs(second));
        own.handle_timeout(Duration::from_secs(second));
    }
    assert_eq!(actions(&mut cell), []);
    assert_eq!(actions(&mut own), []);
}

#[test]
fn a_network_of_nodes_with_several_workers_computes_all_it_can() {
    let mut rig = Rig::new(1);
    let mut last = rig.add(source(0.0));
    for compute in [2.0, 4.0] {
        let mut config = config(compute);
        config.workers = 4;
        let node = rig.add(config);
        rig.link([last, node], link(9.0), Duration::ZERO);
        last = node;
    }
    rig.run(Duration::from_secs(60));
    let before = rig.home;
    rig.run(Duration::from_secs(100));
    let done = rig.home - before;
    assert!((588..=606).contains(&done), "{done} of 600");
    for node in &rig.nodes {
        assert!(node.begun - node.collected <= 4);
    }
}
