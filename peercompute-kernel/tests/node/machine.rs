//! What nodes tell each other of their machines.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{sync::Arc, time::Duration};

use peercompute_compute::{PoolConfig, Throttle};
use peercompute_kernel::{Leader, Machine, NodeBuilder, NodeKernel, PeerStatus, Topology};

#[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
use super::when_alone;
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
fn what_a_node_learns_of_its_machine_while_it_starts_is_told() {
    let world = World::new(504);
    world.run(async {
        let worker = world
            .node("worker")
            .room("test", "room")
            .listen("/memory/0".parse().unwrap())
            .build(world.runtime.clone())
            .unwrap();
        let start = worker.start();
        futures::pin_mut!(start);
        // Begun, and not at its end.
        let begun = futures::poll!(&mut start).is_ready();
        worker.set_machine(machine(7));
        if !begun {
            start.await.unwrap();
        }
        let address = worker.status().addresses[0].clone();
        let node = world.submitter(&[address], never()).await;
        let told = known(&world, &node, |peer| peer.machine == machine(7)).await;
        assert!(told.is_some(), "{:?}", node.status().peers);
    });
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

/// A node with threads: the workers of a pool without them are one at most.
fn with_cores(world: &World, name: &str, cores: usize) -> NodeBuilder {
    NodeKernel::builder()
        .room("test", "room")
        .topology(world.topology)
        .transport(Arc::new(world.network.transport(name)))
        .listen("/memory/0".parse().unwrap())
        .pool(PoolConfig::new().with_cores(cores))
}

#[test]
fn the_node_that_lends_more_leads() {
    for (seed, cores) in [(505, [2, 9]), (506, [9, 2])] {
        let world = World::of(Topology::Hierarchy, seed);
        world.run(async {
            let mut nodes: Vec<NodeKernel> = Vec::new();
            for (name, cores) in ["first", "second"].into_iter().zip(cores) {
                let mut builder = with_cores(&world, name, cores);
                if let Some(first) = nodes.first() {
                    builder = builder.peer(first.status().addresses[0].clone());
                }
                let node = builder.build(world.runtime.clone()).unwrap();
                node.start().await.unwrap();
                nodes.push(node);
            }
            world.runtime.sleep(Duration::from_secs(30)).await;
            for (node, cores) in nodes.iter().zip(cores) {
                let leads = node.status().mesh.unwrap().leader == Some(Leader::This);
                assert_eq!(leads, cores == 9, "{cores} of {seed}");
            }
            for node in nodes {
                node.stop().await;
            }
        });
    }
}

#[test]
fn a_paused_node_has_no_workers_and_a_throttle_takes_some_away() {
    let world = World::new(502);
    world.run(async {
        let worker = with_cores(&world, "worker", 9)
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

/// Counts down from what it is given, for about as many operations.
#[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
const COUNT: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "abi_version") (result i32) i32.const 1)
    (func (export "alloc") (param i32) (result i32) i32.const 16)
    (func (export "run") (param i32 i32) (result i64) (local i32)
        (local.set 2 (i32.load (local.get 0)))
        (loop (br_if 0 (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
        i64.const 0))"#;

#[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
#[test]
fn a_node_learns_its_score_from_the_tasks_that_it_runs() {
    use peercompute_compute::WasmConfig;
    use peercompute_kernel::NewTask;
    use peercompute_proto::v1::TaskSpec;

    let world = World::new(503);
    world.run(async {
        let worker = world
            .node("worker")
            .room("test", "room")
            .listen("/memory/0".parse().unwrap())
            .wasm(WasmConfig::new())
            .local_fallback(when_alone())
            .build(world.runtime.clone())
            .unwrap();
        worker.start().await.unwrap();
        let address = worker.status().addresses[0].clone();
        let other = world.submitter(&[address], never()).await;
        let module = wat::parse_str(COUNT).unwrap();
        let size = module.len() as u64;
        let spec = TaskSpec {
            program: Some(worker.add_program(module.into()).wasm(size)),
            limits: None,
        };
        let (mut sender, mut results) = worker.submit(spec).unwrap().split();
        // More than the tenth of a second that is too little to learn from, on any machine.
        let input = 500_000_000_u32.to_le_bytes().to_vec();
        let task = NewTask {
            state: None,
            input: input.into(),
        };
        sender.push(vec![task]).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {}
        assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
        assert_eq!(worker.machine(), Machine::default());
        world.runtime.sleep(Duration::from_secs(11)).await;
        let score = worker.machine().ops_score;
        assert!(score > 0);
        let told = known(&world, &other, |peer| peer.machine.ops_score == score).await;
        assert!(told.is_some(), "{:?}", other.status().peers);
    });
}
