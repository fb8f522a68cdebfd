//! What nodes tell each other of their machines.

use std::time::Duration;

use peercompute_compute::{PoolConfig, Throttle};
use peercompute_kernel::{Machine, NodeKernel, PeerStatus, Topology};

use super::{World, never};

/// What the submitter knows of its only peer, when it knows this of it.
async fn known(
    world: &World,
    submitter: &NodeKernel,
    wanted: impl Fn(&PeerStatus) -> bool,
) -> Option<PeerStatus> {
    let look = async {
        loop {
            let mut peers = submitter.status().peers.into_iter();
            if let Some(peer) = peers.find(|peer| wanted(peer)) {
                return peer;
            }
            world.runtime.sleep(Duration::from_millis(100)).await;
        }
    };
    let limit = Duration::from_secs(10);
    world.runtime.timeout(limit, look).await.ok()
}

fn machine(ops_score: u64) -> Machine {
    let mut machine = Machine::default();
    machine.memory_bytes = 8 << 30;
    machine.gpu = true;
    machine.ops_score = ops_score;
    machine
}

#[test]
fn peers_know_the_machine_and_what_becomes_of_it() {
    for topology in [Topology::Distributed, Topology::Emergent] {
        let world = World::of(topology, 500);
        world.run(async {
            let worker = world
                .node("worker")
                .room("test", "room")
                .listen("/memory/0".parse().unwrap())
                .machine(machine(7))
                .build(world.runtime.clone())
                .unwrap();
            worker.start().await.unwrap();
            let address = worker.status().addresses[0].clone();
            let node = world.submitter(&[address], never()).await;
            let peer = known(&world, &node, |peer| peer.workers > 0).await;
            let peer = peer.expect("it is told at once");
            assert_eq!((peer.workers, peer.machine), (1, machine(7)));
            worker.set_machine(machine(9));
            let changed = known(&world, &node, |peer| peer.machine == machine(9)).await;
            assert!(changed.is_some(), "{topology}");
            assert_eq!(worker.status().machine, machine(9));
        });
    }
}

#[test]
fn a_node_that_runs_nothing_for_others_tells_nothing() {
    let world = World::new(501);
    world.run(async {
        let (worker, address) = world.worker("worker", "room").await;
        let node = world.submitter(&[address], never()).await;
        node.set_machine(machine(7));
        let seen = known(&world, &worker, |peer| peer.path.is_some()).await;
        let seen = seen.expect("they meet");
        assert_eq!((seen.workers, seen.machine), (0, Machine::default()));
    });
}

#[test]
fn a_paused_node_has_no_workers_and_a_throttle_takes_some_away() {
    let world = World::new(502);
    world.run(async {
        // On threads: the workers of a pool without them are one at most.
        let transport = std::sync::Arc::new(world.network.transport("worker"));
        let worker = NodeKernel::builder()
            .room("test", "room")
            .transport(transport)
            .listen("/memory/0".parse().unwrap())
            .pool(PoolConfig::new().with_cores(9))
            .build(world.runtime.clone())
            .unwrap();
        worker.start().await.unwrap();
        let address = worker.status().addresses[0].clone();
        let node = world.submitter(&[address], never()).await;
        let has = async |workers: u32| {
            let peer = known(&world, &node, |peer| peer.workers == workers).await;
            assert!(peer.is_some(), "{workers}: {:?}", node.status().peers);
        };
        has(7).await;
        worker.set_throttle(Throttle::percent(50).unwrap()).unwrap();
        has(3).await;
        worker.pause();
        has(0).await;
        worker.resume();
        has(3).await;
        worker.set_throttle(Throttle::NONE).unwrap();
        has(0).await;
        worker.stop().await;
    });
}
