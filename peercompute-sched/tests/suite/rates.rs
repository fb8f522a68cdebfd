//! Rates: adapted to the link, and changed at run time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_sched::{Profile, ProviderKind};

use super::{
    SECOND,
    world::{Link, World},
};

#[test]
fn a_bad_link_gets_fewer_snapshots_and_a_good_one_all() {
    let mut world = World::of(1, Link::quick(), 3, |_| {});
    world.set_link(0, 1, Link::quick().lossy(0.3));
    world.provider(0, "world", ProviderKind::State);
    world.run(30 * SECOND);
    let hertz = |world: &World, of| {
        let peer = world.peer(0, of);
        world.nodes[0]
            .scheduler
            .peer_stats(peer)
            .unwrap()
            .snapshot_hertz
    };
    assert_eq!((hertz(&world, 1), hertz(&world, 2)), (10.0, 20.0));
    world.set_link(0, 1, Link::quick());
    world.run(60 * SECOND);
    assert_eq!(hertz(&world, 1), 20.0);
}

#[test]
fn a_profile_can_be_changed_at_run_time() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.provider(0, "world", ProviderKind::State);
    let mut asked = Vec::new();
    for profile in [Profile::action(), Profile::coop(), Profile::sandbox()] {
        let now = world.local(0);
        world.nodes[0].scheduler.set_profile(now, profile);
        let before = world.nodes[0].wanted.len();
        world.run(10 * SECOND);
        asked.push(world.nodes[0].wanted.len() - before);
    }
    for (asked, hertz) in asked.into_iter().zip([20, 10, 5]) {
        assert!(asked.abs_diff(hertz * 10) <= 1, "{asked} at {hertz} Hz");
    }
}

#[test]
fn an_idle_peer_is_kept_alive_once_a_second() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.run(30 * SECOND);
    world.frames.clear();
    world.run(30 * SECOND);
    let frames = world.frames.iter().filter(|it| it.0 == 0).count();
    // Exchanges of clock readings, every two seconds at each end, are among them.
    assert!((28..=62).contains(&frames), "{frames}");
}
