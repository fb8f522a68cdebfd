//! Live rooms over the network in memory.

mod reloads;
mod ticks;
mod traffic;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{cell::Cell, future::poll_fn, pin::pin, time::Duration};

use bytes::Bytes;
use futures::future::join;
use peercompute_kernel::{
    Host, Moment, NodeKernel, Realtime, RealtimeConfig, RealtimeEvent, Recipients,
    sched::{
        Delivery, EntityConfig, Outcome, Profile,
        codec::{EntityId, FieldKind, Schema, Value, World as Entities},
    },
};
use peercompute_net::{
    Multiaddr,
    memory::{Bandwidth, LinkConfig},
};

use super::World;

const SECOND: Duration = Duration::from_secs(1);

/// So many nodes that have met in a live room.
async fn room(world: &World, count: usize, config: impl Into<RealtimeConfig>) -> Vec<NodeKernel> {
    let config = config.into();
    let mut nodes = Vec::new();
    let mut first: Option<Multiaddr> = None;
    for number in 0..count {
        let mut builder = world
            .node(&format!("node {number}"))
            .room("test", "room")
            .listen("/memory/0".parse().unwrap())
            .realtime(config.clone());
        builder = match &first {
            Some(first) => builder.peer(first.clone()),
            None => builder,
        };
        let node = builder.build(world.runtime.clone()).unwrap();
        node.start().await.unwrap();
        first.get_or_insert_with(|| node.status().addresses[0].clone());
        nodes.push(node);
    }
    let met = async {
        while nodes
            .iter()
            .any(|node| live(node).peers().len() < count - 1)
        {
            world.runtime.sleep(SECOND / 10).await;
        }
    };
    let met = world.runtime.timeout(20 * SECOND, met).await;
    met.expect("all meet");
    nodes
}

fn live(node: &NodeKernel) -> &Realtime {
    node.realtime().expect("it was built with it")
}

/// What has come so far, but for what the authority has to say.
fn taken(node: &NodeKernel) -> Vec<RealtimeEvent> {
    let events = std::iter::from_fn(|| live(node).try_next_event());
    events
        .filter(|event| !matches!(event, RealtimeEvent::Authority(_)))
        .collect()
}

fn payloads(node: &NodeKernel) -> Vec<Bytes> {
    let events = taken(node).into_iter().filter_map(|event| match event {
        RealtimeEvent::Event { payload, .. } => Some(payload),
        _ => None,
    });
    events.collect()
}

#[test]
fn events_reach_everybody_once_and_are_acknowledged_when_they_were_taken() {
    let world = World::new(600);
    world.run(async {
        let nodes = room(&world, 4, Profile::action()).await;
        nodes.iter().for_each(|node| drop(taken(node)));
        let event = live(&nodes[0]).send_event(Recipients::All, "spawn", Bytes::from("a"));
        let event = event.unwrap();
        world.runtime.sleep(SECOND).await;
        // Nobody has taken it yet.
        assert_eq!(taken(&nodes[0]), []);
        for node in &nodes[1..] {
            assert_eq!(payloads(node), [Bytes::from("a")]);
        }
        world.runtime.sleep(SECOND).await;
        let settled = taken(&nodes[0]);
        assert_eq!(settled.len(), 3);
        for told in settled {
            let RealtimeEvent::Settled {
                event: which,
                outcome,
                ..
            } = told
            else {
                panic!("{told:?}");
            };
            assert_eq!((which, outcome), (event, Outcome::Acked));
        }
        for node in nodes {
            node.stop().await;
        }
    });
}

#[test]
fn whoever_waits_for_an_event_sleeps_until_there_is_one() {
    let world = World::new(606);
    world.run(async {
        let nodes = room(&world, 2, Profile::action()).await;
        world.runtime.sleep(5 * SECOND).await;
        nodes.iter().for_each(|node| drop(taken(node)));
        let (waits, polls) = (live(&nodes[1]).clone(), Cell::new(0));
        let mut next = pin!(waits.next_event());
        let waiting = poll_fn(|context| {
            polls.set(polls.get() + 1);
            next.as_mut().poll(context)
        });
        let sending = async {
            world.runtime.sleep(5 * SECOND).await;
            assert!(polls.get() < 10, "it was woken {} times", polls.get());
            live(&nodes[0]).send_event(Recipients::All, "spawn", Bytes::from("a"))
        };
        let (event, sent) = join(waiting, sending).await;
        sent.unwrap();
        assert!(
            matches!(event, Some(RealtimeEvent::Event { .. })),
            "{event:?}"
        );
    });
}

#[test]
fn states_commands_and_entities_flow() {
    let world = World::new(601);
    world.run(async {
        let nodes = room(&world, 3, Profile::action()).await;
        let host = live(&nodes[0]);
        host.add_state("score", |moment: Moment| {
            Some(Bytes::from(format!("{}", moment.time.as_secs())))
        })
        .unwrap();
        let mut schema = Schema::builder();
        let place = schema.field("place", FieldKind::Vector2 { step: 0.01 });
        let schema = schema.build().unwrap();
        let own = schema.clone();
        host.add_entities(
            "world",
            schema.clone(),
            EntityConfig::default(),
            move |moment: Moment, world: &mut Entities| {
                let mut row = own.row();
                let at = Value::Vector2([moment.time.as_secs_f32() % 10.0, 1.0]);
                own.quantise(place, at, &mut row).unwrap();
                world.set(EntityId(7), &row).unwrap();
                true
            },
        )
        .unwrap();
        let player = live(&nodes[1]);
        player
            .add_commands("pad", |_: Moment, commands: &mut Vec<Bytes>| {
                commands.push(Bytes::from("jump"));
            })
            .unwrap();
        for node in &nodes[1..] {
            live(node)
                .follow_entities("world", schema.clone(), 64)
                .unwrap();
        }
        world.runtime.sleep(3 * SECOND).await;
        let host_id = nodes[0].status().peer.unwrap();
        for node in &nodes[1..] {
            let events = taken(node);
            let states = events
                .iter()
                .filter(|it| matches!(it, RealtimeEvent::State { .. }));
            assert!(states.count() > 40);
            let known = live(node).with_view(host_id, "world", |view| view.len());
            assert_eq!(known, Some(1));
        }
        let commands = taken(&nodes[0]).into_iter();
        let commands = commands.filter(|it| matches!(it, RealtimeEvent::Command { .. }));
        assert!(commands.count() > 80);
    });
}

/// Where panics abort, as they do in a browser, a provider's panic is not caught.
#[cfg(panic = "unwind")]
#[test]
fn a_provider_that_panics_is_removed_and_one_that_gives_too_much_is_told() {
    use peercompute_kernel::ProviderFailure;

    let world = World::new(602);
    world.run(async {
        let nodes = room(&world, 2, Profile::action()).await;
        let host = live(&nodes[0]);
        host.add_state("broken", |_: Moment| panic!("no state today"))
            .unwrap();
        host.add_state("huge", |_: Moment| Some(Bytes::from(vec![0; 1 << 20])))
            .unwrap();
        host.add_state("fine", |_: Moment| Some(Bytes::from("fine")))
            .unwrap();
        world.runtime.sleep(SECOND).await;
        let failures = taken(&nodes[0])
            .into_iter()
            .filter_map(|event| match event {
                RealtimeEvent::ProviderFailed { provider, failure } => Some((provider, failure)),
                _ => None,
            });
        let failures: Vec<_> = failures.collect();
        let broken = failures.iter().filter(|(name, _)| name == "broken");
        let broken: Vec<_> = broken.map(|(_, failure)| failure).collect();
        let message = "no state today".to_owned();
        assert_eq!(broken, [&ProviderFailure::Panicked { message }]);
        assert!(failures.iter().filter(|(name, _)| name == "huge").count() > 5);
        let fine = taken(&nodes[1]).into_iter();
        let fine = fine
            .filter(|it| matches!(it, RealtimeEvent::State { provider, .. } if provider == "fine"));
        assert!(fine.count() > 10);
    });
}

#[test]
fn a_peer_that_goes_and_comes_back_takes_part_again() {
    let world = World::new(603);
    world.run(async {
        let mut nodes = room(&world, 3, Profile::action()).await;
        let gone = nodes.pop().unwrap();
        let id = gone.status().peer.unwrap();
        taken(&nodes[0]);
        let event = live(&nodes[0]).send_event_by(
            Recipients::Peer(id),
            "late",
            Bytes::from("x"),
            Delivery::Reliable,
        );
        let event = event.unwrap();
        gone.stop().await;
        world.runtime.sleep(2 * SECOND).await;
        let told = taken(&nodes[0]);
        assert!(told.contains(&RealtimeEvent::Left { peer: id }), "{told:?}");
        // It may come back and remember what it got.
        let is_settled = |it: &RealtimeEvent| matches!(it, RealtimeEvent::Settled { .. });
        assert!(!told.iter().any(is_settled), "{told:?}");
        let address = nodes[0].status().addresses[0].clone();
        let back = world
            .node("node 2")
            .room("test", "room")
            .realtime(Profile::action())
            .peer(address)
            .build(world.runtime.clone())
            .unwrap();
        back.start().await.unwrap();
        world.runtime.sleep(5 * SECOND).await;
        let told = taken(&nodes[0]);
        assert!(
            told.contains(&RealtimeEvent::Joined { peer: id }),
            "{told:?}"
        );
        let outcome = Outcome::Unknown;
        assert!(
            told.contains(&RealtimeEvent::Settled {
                event,
                peer: id,
                outcome
            }),
            "{told:?}"
        );
        live(&nodes[0])
            .send_event(Recipients::All, "spawn", Bytes::from("b"))
            .unwrap();
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&back), [Bytes::from("b")]);
    });
}

#[test]
fn a_narrow_link_gets_fewer_states_and_every_event() {
    let world = World::new(604);
    world.run(async {
        let nodes = room(&world, 2, Profile::action()).await;
        let [one, two] = [0, 1].map(|at: usize| nodes[at].status().peer.unwrap());
        // Two states of 20 kB a second, where twenty are asked for.
        let narrow = LinkConfig::default()
            .with_latency(Duration::from_millis(5))
            .with_bandwidth(Bandwidth::bytes_per_second(40_000));
        world.network.set_link(one, two, narrow);
        live(&nodes[0])
            .add_state("big", |_: Moment| Some(vec![0; 20_000].into()))
            .unwrap();
        world.runtime.sleep(10 * SECOND).await;
        let event = live(&nodes[0]).send_event(Recipients::All, "spawn", Bytes::from("once"));
        event.unwrap();
        world.runtime.sleep(20 * SECOND).await;
        let (mut states, mut events) = (0, Vec::new());
        for event in taken(&nodes[1]) {
            match event {
                RealtimeEvent::State { .. } => states += 1,
                RealtimeEvent::Event { payload, .. } => events.push(payload),
                _ => {}
            }
        }
        // Of six hundred.
        assert!((30..80).contains(&states), "{states}");
        assert_eq!(events, [Bytes::from("once")]);
    });
}

#[test]
fn in_a_private_room_those_with_the_password_meet_and_others_see_nobody() {
    let world = World::new(607);
    world.run(async {
        let mut nodes: Vec<NodeKernel> = Vec::new();
        for (number, password) in ["swordfish", "swordfish", "herring"].iter().enumerate() {
            let mut builder = world
                .node(&format!("node {number}"))
                .private_room("test", *password)
                .listen("/memory/0".parse().unwrap())
                .realtime(Profile::action());
            if let Some(first) = nodes.first() {
                builder = builder.peer(first.status().addresses[0].clone());
            }
            let node = builder.build(world.runtime.clone()).unwrap();
            node.start().await.unwrap();
            nodes.push(node);
        }
        world.runtime.sleep(10 * SECOND).await;
        let ids: Vec<_> = nodes
            .iter()
            .map(|node| node.status().peer.unwrap())
            .collect();
        assert_eq!(live(&nodes[0]).peers(), [ids[1]]);
        assert_eq!(live(&nodes[1]).peers(), [ids[0]]);
        assert_eq!(live(&nodes[2]).peers(), []);
        taken(&nodes[1]);
        live(&nodes[0])
            .send_event(Recipients::All, "spawn", Bytes::from("secret"))
            .unwrap();
        world.runtime.sleep(SECOND).await;
        assert_eq!(payloads(&nodes[1]), [Bytes::from("secret")]);
        // Work goes through the same sealed streams.
        let job = nodes[0].submit(peercompute_compute::Operation::Crc32c.into());
        let (mut sender, mut results) = job.unwrap().split();
        sender.push(super::tasks(10)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {}
        assert_eq!(outcomes.len(), 10);
        assert!(
            outcomes
                .iter()
                .any(|it| it.host == Some(Host::Peer(ids[1]))),
            "{outcomes:?}"
        );
    });
    let nobody = world
        .node("nobody")
        .private_room("test", "")
        .build(world.runtime.clone());
    assert!(nobody.is_err());
}
