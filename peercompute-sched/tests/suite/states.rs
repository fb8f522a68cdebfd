//! States: the latest reaches everybody, whatever is lost.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use bytes::Bytes;
use peercompute_sched::{Channel, Profile, ProviderKind, SendError, Wanted};

use super::{
    MS, SECOND,
    world::{Link, World},
};

/// Versions of node 0's states that `at` has seen.
fn versions(world: &World, at: usize) -> Vec<u64> {
    world.nodes[at].seen.states.iter().map(|it| it.2).collect()
}

#[test]
fn states_come_at_their_rate_and_never_go_back() {
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.3)] {
        let link = Link::new(20).lossy(loss).shaky(80 * MS);
        let mut world = World::of(seed, link, 2, |config| {
            config.profile.adaptation.least = config.profile.snapshots;
        });
        world.provider(0, "world", ProviderKind::State);
        world.run(10 * SECOND);
        let asked = world.nodes[0].wanted.len();
        assert!((199..=202).contains(&asked), "{asked}");
        let versions = versions(&world, 1);
        assert!(
            versions.is_sorted_by(|one, other| one < other),
            "{versions:?}"
        );
        // Some are lost, and some overtaken.
        let least = ((1.0 - loss) * 200.0 * 0.4) as usize;
        assert!(versions.len() > least, "loss {loss}: {}", versions.len());
    }
}

#[test]
fn the_last_state_arrives_though_it_was_lost() {
    for seed in 0..20 {
        let link = Link::new(20).lossy(0.3);
        let mut world = World::of(seed, link, 2, |_| {});
        world.provider(0, "world", ProviderKind::StateWhenDirty);
        let id = {
            world.run(SECOND);
            let Wanted::State(id) = world.nodes[0].wanted[0] else {
                panic!("it is asked once for what it never gave");
            };
            id
        };
        assert_eq!(world.nodes[0].wanted.len(), 1);
        world.nodes[0].scheduler.mark_dirty(id).unwrap();
        world.run(10 * SECOND);
        assert_eq!(world.nodes[0].wanted.len(), 2);
        assert_eq!(versions(&world, 1).last(), Some(&2), "seed {seed}");
    }
}

#[test]
fn what_has_not_changed_and_was_acknowledged_is_not_sent_again() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.provider(0, "world", ProviderKind::StateWhenDirty);
    world.run(20 * SECOND);
    let snapshots = world.frames.iter().filter(|it| it.2 == Channel::Snapshots);
    assert_eq!(snapshots.count(), 1);
}

#[test]
fn on_demand_a_state_leaves_when_it_is_marked() {
    let mut world = World::of(1, Link::quick().lossy(0.2), 2, |config| {
        config.profile = Profile::turn_based();
    });
    let id = world.nodes[0]
        .scheduler
        .add_provider("board", ProviderKind::StateWhenDirty);
    let id = id.unwrap();
    world.run(5 * SECOND);
    assert!(versions(&world, 1).is_empty());
    for turn in 1..20 {
        world.nodes[0].scheduler.mark_dirty(id).unwrap();
        world.drain(0);
        world.run(5 * SECOND);
        assert_eq!(versions(&world, 1).last(), Some(&turn));
    }
}

#[test]
fn who_comes_late_gets_the_latest() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.provider(0, "world", ProviderKind::StateWhenDirty);
    world.run(5 * SECOND);
    let late = world.add(|_| {});
    world.connect(0, late);
    world.connect(late, 0);
    world.run(SECOND);
    assert_eq!(versions(&world, late), [1]);
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_the_one_before_stays() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.provider(0, "world", ProviderKind::StateWhenDirty);
    world.run(SECOND);
    let Wanted::State(id) = world.nodes[0].wanted[0] else {
        panic!("it is asked");
    };
    let now = world.local(0);
    let refused = world.nodes[0]
        .scheduler
        .provide_state(now, id, Bytes::from(vec![0; 1 << 20]));
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
    world.run(SECOND);
    assert_eq!(versions(&world, 1), [1]);
}

#[test]
fn a_removed_provider_is_neither_asked_nor_sent_and_its_name_is_free() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let scheduler = &mut world.nodes[0].scheduler;
    let id = scheduler
        .add_provider("world", ProviderKind::State)
        .unwrap();
    assert!(
        scheduler
            .add_provider("world", ProviderKind::State)
            .is_err()
    );
    world.run(SECOND);
    let before = versions(&world, 1).len();
    assert!(before > 10);
    world.nodes[0].scheduler.remove_provider(id);
    world.run(SECOND);
    // What was under way.
    assert!(versions(&world, 1).len() <= before + 1);
    // A new one of that name goes on where the old one was.
    world.provider(0, "world", ProviderKind::State);
    world.run(SECOND);
    assert!(versions(&world, 1).len() > before + 10);
}

#[test]
fn a_blocked_transport_gets_only_the_latest_when_it_has_room_again() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.provider(0, "world", ProviderKind::State);
    world.run(SECOND);
    let peer = world.peer(0, 1);
    let scheduler = &mut world.nodes[0].scheduler;
    scheduler
        .set_blocked(peer, Channel::Snapshots, true)
        .unwrap();
    world.run(5 * SECOND);
    let before = versions(&world, 1);
    let scheduler = &mut world.nodes[0].scheduler;
    scheduler
        .set_blocked(peer, Channel::Snapshots, false)
        .unwrap();
    world.drain(0);
    world.run(11 * MS);
    let after = versions(&world, 1);
    assert_eq!(after.len(), before.len() + 1);
    assert!(after.last().unwrap() - before.last().unwrap() > 50);
}
