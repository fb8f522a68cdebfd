//! Events: at most once, in order where asked, and what their sender learns.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use peercompute_sched::{Clocking, Delivery, Outcome, RetryPolicy, SendError, Target};

use super::{
    MS, SECOND,
    world::{Link, World},
};

fn payload(number: usize) -> Bytes {
    Bytes::from(number.to_string())
}

/// What reached `at` from `from`, as numbers.
fn numbers(world: &World, at: usize, from: usize) -> Vec<usize> {
    let events = world.nodes[at].seen.events.iter();
    let events = events.filter(|(sender, ..)| *sender == from);
    events
        .map(|(_, _, payload)| std::str::from_utf8(payload).unwrap().parse().unwrap())
        .collect()
}

fn outcomes(world: &World, at: usize) -> BTreeMap<u64, Vec<Outcome>> {
    let mut outcomes = BTreeMap::<u64, Vec<Outcome>>::new();
    for (event, _, outcome) in &world.nodes[at].seen.settled {
        outcomes.entry(event.as_u64()).or_default().push(*outcome);
    }
    outcomes
}

#[test]
fn an_event_leaves_at_once_and_is_acknowledged() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.run(SECOND);
    let event = world.nodes[0]
        .scheduler
        .send_event(Target::All, "spawn", payload(7));
    world.drain(0);
    world.run(10 * MS);
    assert_eq!(numbers(&world, 1, 0), [7]);
    world.run(10 * MS);
    let settled = &world.nodes[0].seen.settled;
    assert_eq!(settled, &[(event.unwrap(), 1, Outcome::Acked)]);
}

#[test]
fn reliable_events_arrive_once_each_however_bad_the_link_is() {
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.3)] {
        let link = Link::new(50).lossy(loss).shaky(100 * MS);
        let mut world = World::of(seed, link, 2, |config| {
            config.profile.retry = RetryPolicy::new(300 * MS, 12);
        });
        for number in 0..500 {
            let scheduler = &mut world.nodes[0].scheduler;
            scheduler
                .send_event(Target::All, "attack", payload(number))
                .unwrap();
            world.drain(0);
            world.run(5 * MS);
        }
        world.run(60 * SECOND);
        let mut arrived = numbers(&world, 1, 0);
        arrived.sort_unstable();
        assert_eq!(arrived, (0..500).collect::<Vec<_>>(), "loss {loss}");
        let outcomes = outcomes(&world, 0);
        assert_eq!(outcomes.len(), 500);
        assert!(
            outcomes.values().all(|it| it == &[Outcome::Acked]),
            "loss {loss}"
        );
    }
}

#[test]
fn ordered_events_keep_their_order() {
    for seed in 0..20 {
        let link = Link::new(20).lossy(0.3).shaky(200 * MS);
        let mut world = World::of(seed, link, 2, |_| {});
        for number in 0..200 {
            let delivery = match number % 3 {
                0 => Delivery::Reliable,
                _ => Delivery::Ordered,
            };
            let scheduler = &mut world.nodes[0].scheduler;
            let sent = scheduler.send_event_by(Target::All, "e", payload(number), delivery);
            sent.unwrap();
            world.drain(0);
            world.run(3 * MS);
        }
        world.run(120 * SECOND);
        let ordered: Vec<_> = numbers(&world, 1, 0);
        let ordered: Vec<_> = ordered.into_iter().filter(|it| it % 3 != 0).collect();
        assert!(ordered.is_sorted(), "seed {seed}: {ordered:?}");
        let acked = outcomes(&world, 0);
        let acked = acked.values().filter(|it| *it == &[Outcome::Acked]).count();
        // Five sends at a loss of 0.3 each way: most get through.
        assert!(acked > 180, "seed {seed}: {acked}");
    }
}

#[test]
fn an_event_that_is_given_up_does_not_hold_up_those_after_it() {
    let mut world = World::of(1, Link::quick(), 2, |config| {
        config.profile.retry = RetryPolicy::new(100 * MS, 2);
    });
    world.run(SECOND);
    world.cut.insert((0, 1));
    let send = |world: &mut World, number| {
        let scheduler = &mut world.nodes[0].scheduler;
        let sent = scheduler.send_event_by(Target::All, "e", payload(number), Delivery::Ordered);
        world.drain(0);
        sent.unwrap()
    };
    let lost = send(&mut world, 1);
    world.run(150 * MS);
    world.cut.clear();
    // The first is sent once more while the way is open, and that is lost, too.
    world.cut.insert((0, 1));
    world.run(140 * MS);
    world.cut.clear();
    let second = send(&mut world, 2);
    world.run(10 * SECOND);
    assert_eq!(numbers(&world, 1, 0), [2]);
    let settled = &world.nodes[0].seen.settled;
    assert_eq!(
        settled,
        &[(lost, 1, Outcome::Unknown), (second, 1, Outcome::Acked)]
    );
}

#[test]
fn what_nobody_acknowledges_is_sent_five_times_and_then_unknown() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.run(SECOND);
    world.cut.insert((0, 1));
    let event = world.nodes[0]
        .scheduler
        .send_event(Target::All, "join", payload(1));
    world.drain(0);
    // 500 ms, 1, 2, 4 and 8 s.
    world.run(Duration::from_millis(15_499));
    assert!(world.nodes[0].seen.settled.is_empty());
    world.run(2 * MS);
    let settled = &world.nodes[0].seen.settled;
    assert_eq!(settled, &[(event.unwrap(), 1, Outcome::Unknown)]);
    let stats = world.nodes[0].scheduler.stats();
    assert_eq!((stats.events_sent, stats.events_retried), (1, 4));
}

#[test]
fn best_effort_events_are_sent_once() {
    let link = Link::quick().lossy(0.5);
    let mut world = World::of(4, link, 2, |_| {});
    for number in 0..200 {
        let scheduler = &mut world.nodes[0].scheduler;
        scheduler
            .send_event(Target::All, "smoke", payload(number))
            .unwrap();
        world.drain(0);
        world.run(5 * MS);
    }
    world.run(20 * SECOND);
    let arrived = numbers(&world, 1, 0).len();
    assert!((70..130).contains(&arrived), "{arrived}");
    let stats = world.nodes[0].scheduler.stats();
    assert_eq!((stats.events_sent, stats.events_retried), (200, 0));
    assert!(world.nodes[0].seen.settled.is_empty());
}

#[test]
fn a_tick_sends_no_more_than_its_batch() {
    let mut world = World::of(1, Link::quick(), 2, |config| {
        config.clocking = Clocking::External;
    });
    world.tick(1);
    world.run(100 * MS);
    for number in 0..50 {
        let scheduler = &mut world.nodes[0].scheduler;
        scheduler
            .send_event(Target::All, "join", payload(number))
            .unwrap();
    }
    world.drain(0);
    let mut arrived = Vec::new();
    for tick in 2..5 {
        world.tick(tick);
        world.run(30 * MS);
        arrived.push(numbers(&world, 1, 0).len());
    }
    assert_eq!(arrived, [20, 40, 50]);
}

#[test]
fn a_full_queue_refuses_and_tells_who_was_left_out() {
    let mut world = World::of(1, Link::quick(), 3, |config| config.queued_events = 2);
    world.run(SECOND);
    let [one, two] = [1, 2].map(|it| world.peer(0, it));
    let scheduler = &mut world.nodes[0].scheduler;
    for _ in 0..2 {
        scheduler
            .send_event(Target::Peer(one), "join", payload(1))
            .unwrap();
    }
    let refused = scheduler.send_event(Target::Peer(one), "join", payload(1));
    assert_eq!(refused, Err(SendError::Full { queued: 2 }));
    let event = scheduler
        .send_event(Target::All, "join", payload(2))
        .unwrap();
    assert_ne!(one, two);
    world.drain(0);
    assert_eq!(world.nodes[0].seen.settled, [(event, 1, Outcome::NotSent)]);
    world.run(SECOND);
    assert_eq!(numbers(&world, 2, 0), [2]);
}

#[test]
fn a_peer_that_has_gone_settles_what_was_under_way() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.run(SECOND);
    let event = world.nodes[0]
        .scheduler
        .send_event(Target::All, "join", payload(1))
        .unwrap();
    world.drain(0);
    world.disconnect(0, 1);
    world.drain(0);
    assert_eq!(
        world.nodes[0].seen.settled,
        [(event, usize::MAX, Outcome::Unknown)]
    );
}

#[test]
fn a_peer_that_begins_anew_gets_new_events_and_its_own_are_taken() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let send = |world: &mut World, from: usize, number| {
        let scheduler = &mut world.nodes[from].scheduler;
        scheduler
            .send_event(Target::All, "join", payload(number))
            .unwrap();
        world.drain(from);
    };
    send(&mut world, 0, 1);
    send(&mut world, 1, 2);
    world.run(SECOND);
    world.restart(1, |_| {});
    world.run(SECOND);
    assert_eq!(world.nodes[0].seen.restarted, [1]);
    send(&mut world, 0, 3);
    send(&mut world, 1, 4);
    world.run(SECOND);
    assert_eq!(numbers(&world, 0, 1), [2, 4]);
    assert_eq!(numbers(&world, 1, 0), [1, 3]);
    assert_eq!(outcomes(&world, 0).len(), 2);
}
