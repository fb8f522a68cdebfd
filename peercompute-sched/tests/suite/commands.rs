//! Commands: at most once, and mostly.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_sched::{ProviderKind, Target};

use super::{
    MS, SECOND,
    world::{Link, World},
};

#[test]
fn commands_come_at_their_rate_and_once_each() {
    for (seed, loss, least) in [(1, 0.0, 298), (2, 0.1, 295), (3, 0.3, 280)] {
        let link = Link::new(20).lossy(loss).shaky(50 * MS);
        let mut world = World::of(seed, link, 2, |_| {});
        world.provider(0, "pad", ProviderKind::Commands);
        world.run(10 * SECOND);
        let mut sequences: Vec<_> = world.nodes[1].seen.commands.iter().map(|it| it.1).collect();
        let count = sequences.len();
        sequences.sort_unstable();
        sequences.dedup();
        assert_eq!(sequences.len(), count, "loss {loss}: one came twice");
        // Each travels in three batches.
        assert!(count >= least, "loss {loss}: {count}");
    }
}

#[test]
fn commands_go_to_whom_they_are_for() {
    let mut world = World::of(1, Link::quick(), 3, |_| {});
    world.provider(0, "pad", ProviderKind::Commands);
    let host = world.peer(0, 1);
    world.nodes[0]
        .scheduler
        .set_command_target(Target::Peer(host));
    world.run(SECOND);
    assert!(world.nodes[1].seen.commands.len() > 20);
    assert!(world.nodes[2].seen.commands.is_empty());
}
