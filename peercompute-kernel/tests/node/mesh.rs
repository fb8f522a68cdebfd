//! Work that moves hop by hop.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_compute::{Operation, PoolConfig, Throttle};
use peercompute_kernel::{Host, JobError, NodeKernel, Role, Topology};
use peercompute_net::{
    Multiaddr,
    memory::{Bandwidth, LinkConfig, MemoryNetwork},
};

use super::{World, a_cut_costs_no_result, assert_all_right, never, run_job, tasks, when_alone};

/// A node that listens nowhere, so that nobody can dial it, and knows `peers`.
pub(super) async fn hidden(
    world: &World,
    name: &str,
    serves: bool,
    peers: &[Multiaddr],
) -> NodeKernel {
    let mut builder = world
        .node(name)
        .room("test", "room")
        .serves(serves)
        .local_fallback(never());
    for peer in peers {
        builder = builder.peer(peer.clone());
    }
    let node = builder.build(world.runtime.clone()).unwrap();
    node.start().await.unwrap();
    node.ready().await;
    node
}

#[test]
fn a_job_runs_on_the_neighbours() {
    for topology in [Topology::Emergent, Topology::Hierarchy] {
        let world = World::of(topology, 101);
        world.run(async {
            let (one, one_address) = world.worker("one", "room").await;
            let (two, two_address) = world.worker("two", "room").await;
            let node = world.submitter(&[one_address, two_address], never()).await;
            assert_all_right(&run_job(&node, 5000).await.unwrap(), 5000);
            let done = one.status().tasks.done + two.status().tasks.done;
            assert_eq!(done, 5000, "{topology}");
            node.stop().await;
        });
    }
}

#[test]
fn a_node_that_only_the_one_in_between_knows_computes() {
    for seed in 102..106 {
        let world = World::of(Topology::Emergent, seed);
        world.run(async {
            let (between, address) = world.worker("between", "room").await;
            between.pause();
            let far = hidden(&world, "far", true, std::slice::from_ref(&address)).await;
            let node = hidden(&world, "near", false, &[address]).await;
            let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
            sender.push(tasks(3000)).await.unwrap();
            sender.finish();
            let mut outcomes = Vec::new();
            while results.next_batch(&mut outcomes).await.unwrap() {}
            assert_eq!(outcomes.len(), 3000);
            let host = Host::Peer(MemoryNetwork::peer("far"));
            assert!(outcomes.iter().all(|outcome| outcome.host == Some(host)));
            // Two, or a detour and back while plans still settle.
            let hops = results.shares()[&host].hops;
            assert!(hops >= 2 && hops % 2 == 0, "seed {seed}: {hops}");
            // A stream that gives way to another one takes some bundles with it.
            assert!((3000..3300).contains(&far.status().tasks.done));
            assert_eq!(between.status().tasks.done, 0);
        });
    }
}

#[test]
fn a_neighbour_that_is_cut_off_midway_costs_time_and_no_result() {
    for seed in 110..116 {
        a_cut_costs_no_result(Topology::Emergent, seed, 50_000, 20_000, 2000);
    }
}

#[test]
fn the_loss_of_the_last_neighbour_ends_in_the_local_fallback() {
    let world = World::of(Topology::Emergent, 120);
    world.run(async {
        let slow = LinkConfig::default()
            .with_latency(Duration::from_millis(20))
            .with_bandwidth(Bandwidth::bytes_per_second(20_000));
        world.network.set_default_link(slow);
        let (_one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        sender.push(tasks(8000)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {
            if outcomes.len() > 500 {
                let others = vec![MemoryNetwork::peer("submitter")];
                world
                    .network
                    .partition([vec![MemoryNetwork::peer("one")], others]);
            }
        }
        assert_eq!(outcomes.len(), 8000);
        let shares = results.shares();
        assert_eq!(shares.len(), 2, "{shares:?}");
        assert_eq!(shares[&Host::Local].hops, 0);
    });
}

#[test]
fn what_nobody_in_the_room_can_run_fails_with_the_reason() {
    let world = World::of(Topology::Emergent, 121);
    world.run(async {
        let (_one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], never()).await;
        let mut spec: peercompute_proto::v1::TaskSpec = Operation::Noop.into();
        let program = spec.program.as_mut().unwrap().program.as_mut().unwrap();
        let peercompute_proto::v1::program::Program::Builtin(builtin) = program else {
            unreachable!("an operation is built in");
        };
        builtin.operation = "dance".to_owned();
        let (mut sender, mut results) = node.submit(spec).unwrap().split();
        sender.push(tasks(3)).await.unwrap();
        sender.finish();
        let error = results.next_batch(&mut Vec::new()).await.unwrap_err();
        assert!(
            matches!(&error, JobError::Unsupported { message } if message.contains("dance")),
            "{error}"
        );
    });
}

#[test]
fn submitters_of_every_topology_share_a_worker() {
    let world = World::new(122);
    world.run(async {
        let (one, address) = world.worker("one", "room").await;
        let topologies = [
            Topology::Emergent,
            Topology::Hierarchy,
            Topology::Distributed,
        ];
        for topology in topologies {
            let node = world
                .node(topology.name())
                .room("test", "room")
                .serves(false)
                .topology(topology)
                .local_fallback(never())
                .peer(address.clone())
                .build(world.runtime.clone())
                .unwrap();
            node.start().await.unwrap();
            let outcomes = run_job(&node, 500).await.unwrap();
            assert_all_right(&outcomes, 500);
            node.stop().await;
        }
        assert_eq!(one.status().tasks.done, 1500);
    });
}

#[test]
fn a_pause_and_a_throttle_of_0_hold_for_the_work_of_neighbours_too() {
    let world = World::of(Topology::Emergent, 123);
    world.run(async {
        let (one, one_address) = world.worker("one", "room").await;
        let (two, two_address) = world.worker("two", "room").await;
        one.pause();
        let node = world.submitter(&[one_address, two_address], never()).await;
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(one.status().tasks.done, 0);
        one.resume();
        two.set_throttle(Throttle::NONE).unwrap();
        let done = two.status().tasks.done;
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(two.status().tasks.done, done);
        assert_eq!(one.status().tasks.done, 1000);
    });
}

#[test]
fn a_node_that_lends_nothing_from_the_start_passes_work_on() {
    let world = World::of(Topology::Emergent, 126);
    world.run(async {
        let between = world
            .node("between")
            .room("test", "room")
            .listen("/memory/0".parse().unwrap())
            .pool(PoolConfig::new().with_throttle(Throttle::NONE))
            .build(world.runtime.clone())
            .unwrap();
        between.start().await.unwrap();
        let address = between.status().addresses[0].clone();
        let far = hidden(&world, "far", true, std::slice::from_ref(&address)).await;
        let node = hidden(&world, "near", false, &[address]).await;
        assert_all_right(&run_job(&node, 500).await.unwrap(), 500);
        assert_eq!(between.status().tasks.done, 0);
        assert!(far.status().tasks.done >= 500);
    });
}

#[test]
fn the_status_shows_the_neighbours_and_what_flows() {
    let world = World::of(Topology::Emergent, 124);
    world.run(async {
        let (one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], never()).await;
        let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        sender.push(tasks(100)).await.unwrap();
        let mut outcomes = Vec::new();
        while outcomes.len() < 100 {
            results.next_batch(&mut outcomes).await.unwrap();
        }
        let mesh = one.status().mesh.unwrap();
        assert_eq!(mesh.role, Role::Peer);
        let [neighbour] = &mesh.neighbours[..] else {
            panic!("{mesh:?}");
        };
        assert_eq!(neighbour.peer, MemoryNetwork::peer("submitter"));
        assert!(neighbour.round_trip.unwrap() >= Duration::from_millis(10));
        assert!(neighbour.up > 0.0 && neighbour.received > 0);
        let [job] = &mesh.jobs[..] else {
            panic!("{mesh:?}");
        };
        assert_eq!((job.hops, job.own, job.computes), (Some(1), false, true));
        assert_eq!(job.submitter, Some(MemoryNetwork::peer("submitter")));
        let mesh = node.status().mesh.unwrap();
        assert!(mesh.jobs[0].own);
        assert_eq!(mesh.jobs[0].flows[0].worker_hops, Some(1));
        drop((sender, results));
    });
}

#[test]
fn the_same_seed_gives_the_same_run_over_neighbours() {
    let trace = |seed| {
        let world = World::of(Topology::Emergent, seed);
        world.run(async {
            let (_one, address) = world.worker("one", "room").await;
            let node = world.submitter(&[address], never()).await;
            run_job(&node, 500).await.unwrap();
        });
        world.network.trace()
    };
    assert_eq!(trace(125), trace(125));
}
