//! Nodes that choose their neighbours.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{cell::Cell, collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peercompute_compute::Operation;
use peercompute_kernel::{
    LINKS_PROTOCOL, LinkReason, MeshNeighbour, NewTask, NodeKernel, Role, Topology,
};
use peercompute_net::{
    Multiaddr, NetworkConfig, NetworkManager, PeerId,
    memory::{Bandwidth, LinkConfig, MemoryNetwork},
};
use peercompute_proto::{
    Scope, encode_frame,
    v1::{LinkFrame, LinkNote, StreamBinding},
};

use super::{World, never};

const SECOND: Duration = Duration::from_secs(1);

/// A room of nodes that may keep few neighbours each, in which one name is the submitter's.
struct Room {
    world: World,
    most: usize,
}

fn link(bytes_per_second: u64) -> LinkConfig {
    LinkConfig::default()
        .with_latency(Duration::from_millis(5))
        .with_bandwidth(Bandwidth::bytes_per_second(bytes_per_second))
}

impl Room {
    fn new(seed: u64, most: usize) -> Self {
        let world = World::of(Topology::Emergent, seed);
        world.network.set_default_link(link(100_000));
        Self { world, most }
    }

    async fn node(&self, name: &str, serves: bool, at: Option<&Multiaddr>) -> NodeKernel {
        let mut builder = self
            .world
            .node(name)
            .room("test", "room")
            .neighbours(self.most)
            .serves(serves)
            .local_fallback(never())
            .listen("/memory/0".parse().unwrap());
        if let Some(at) = at {
            builder = builder.peer(at.clone());
        }
        let node = builder.build(self.world.runtime.clone()).unwrap();
        node.start().await.unwrap();
        node
    }

    /// So many workers that all know each other; the first tells the others of them.
    async fn workers(&self, count: usize) -> Vec<NodeKernel> {
        let mut nodes: Vec<NodeKernel> = Vec::new();
        for index in 0..count {
            let at = nodes.first().map(|node| node.status().addresses[0].clone());
            nodes.push(self.node(&format!("w{index}"), true, at.as_ref()).await);
        }
        nodes
    }
}

fn neighbours(node: &NodeKernel) -> BTreeSet<PeerId> {
    let mesh = node.status().mesh.unwrap();
    mesh.neighbours.iter().map(|it| it.peer).collect()
}

/// Whether work gets from any of these nodes to any other.
fn is_connected(nodes: &[&NodeKernel]) -> bool {
    let peer = |node: &NodeKernel| node.status().peer.unwrap();
    let mut seen = BTreeSet::from([peer(nodes[0])]);
    loop {
        let before = seen.len();
        for node in nodes {
            if seen.contains(&peer(node)) {
                seen.extend(neighbours(node));
            }
        }
        if seen.len() == before {
            return nodes.iter().all(|node| seen.contains(&peer(node)));
        }
    }
}

/// Gives a node tasks of so many bytes for as long as it is polled. Counts in `done` what has come of them.
async fn work(node: &NodeKernel, bytes: usize, done: &Cell<u64>) {
    let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
    let input = Bytes::from(vec![7; bytes]);
    let task = || NewTask {
        state: None,
        input: input.clone(),
    };
    let push = async {
        loop {
            let tasks = (0..64).map(|_| task()).collect();
            sender.push(tasks).await.unwrap();
        }
    };
    let take = async {
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
            done.set(done.get() + outcomes.len() as u64);
            outcomes.clear();
        }
    };
    futures::join!(push, take);
}

/// Watches a node that is given tasks of so many bytes all the while.
async fn watch_at_work(
    node: &NodeKernel,
    bytes: usize,
    done: &Cell<u64>,
    watch: impl Future<Output = ()>,
) {
    tokio::select! {
        () = work(node, bytes, done) => {}
        () = watch => {}
    }
}

#[test]
fn a_submitter_comes_to_have_the_neighbours_to_whom_its_links_are_fast() {
    let room = Room::new(200, 4);
    let fast = BTreeSet::from(["w3", "w7", "w9"].map(MemoryNetwork::peer));
    for peer in &fast {
        let submitter = MemoryNetwork::peer("submitter");
        room.world
            .network
            .set_link(submitter, *peer, link(2_000_000));
    }
    room.world.run(async {
        let workers = room.workers(12).await;
        let at = workers[0].status().addresses[0].clone();
        let node = room.node("submitter", false, Some(&at)).await;
        node.ready().await;
        let done = Cell::new(0);
        let watch = async {
            for second in 0..150 {
                room.world.runtime.sleep(SECOND).await;
                let all: Vec<&NodeKernel> = workers.iter().chain([&node]).collect();
                assert!(is_connected(&all), "second {second}");
            }
            let mesh = node.status().mesh.unwrap();
            assert!(neighbours(&node).is_superset(&fast), "{mesh:?}");
            assert!(mesh.neighbours.len() <= 4, "{mesh:?}");
            let choice = mesh.choice.unwrap();
            assert_eq!((choice.most, choice.candidates), (4, 12));
            assert!(choice.probed == 12 && choice.swaps > 0, "{choice:?}");
            let good = mesh.neighbours.iter();
            for neighbour in good.filter(|it| fast.contains(&it.peer)) {
                assert!(neighbour.reasons.contains(&LinkReason::Worth));
                assert!(neighbour.worth > 10.0, "{mesh:?}");
            }
            let before = done.get();
            room.world.runtime.sleep(20 * SECOND).await;
            // 100 a second for each.
            let rate = (done.get() - before) as f64 / 20.0;
            assert!(rate > 200.0, "{rate} a second");
        };
        watch_at_work(&node, 20_000, &done, watch).await;
    });
}

#[test]
fn two_submitters_share_the_room_and_both_find_fast_neighbours() {
    let room = Room::new(210, 4);
    let fast = ["w2", "w4", "w6", "w8"].map(MemoryNetwork::peer);
    for peer in fast {
        for submitter in ["one", "two"].map(MemoryNetwork::peer) {
            room.world
                .network
                .set_link(submitter, peer, link(2_000_000));
        }
    }
    room.world.run(async {
        let workers = room.workers(10).await;
        let at = workers[0].status().addresses[0].clone();
        let one = room.node("one", false, Some(&at)).await;
        let two = room.node("two", false, Some(&at)).await;
        let done = [Cell::new(0), Cell::new(0)];
        let watch = async {
            room.world.runtime.sleep(150 * SECOND).await;
            for node in [&one, &two] {
                let good = neighbours(node);
                let good = good.iter().filter(|peer| fast.contains(peer)).count();
                assert!(good >= 2, "{:?}", node.status().mesh);
            }
            let before = done.each_ref().map(Cell::get);
            room.world.runtime.sleep(30 * SECOND).await;
            for (done, before) in done.iter().zip(before) {
                // A link of the slow ones carries 5 a second.
                let rate = (done.get() - before) as f64 / 30.0;
                assert!(rate > 100.0, "{rate} a second");
            }
        };
        let watch = watch_at_work(&two, 20_000, &done[1], watch);
        watch_at_work(&one, 20_000, &done[0], watch).await;
    });
}

#[test]
fn a_node_that_leaves_and_comes_back_is_found_again() {
    let room = Room::new(220, 4);
    let fast = MemoryNetwork::peer("w5");
    let submitter = MemoryNetwork::peer("submitter");
    room.world
        .network
        .set_link(submitter, fast, link(2_000_000));
    room.world.run(async {
        let workers = room.workers(10).await;
        let at = workers[0].status().addresses[0].clone();
        let node = room.node("submitter", false, Some(&at)).await;
        let done = Cell::new(0);
        let watch = async {
            let runtime = &room.world.runtime;
            runtime.sleep(100 * SECOND).await;
            assert!(neighbours(&node).contains(&fast));
            workers[5].stop().await;
            runtime.sleep(30 * SECOND).await;
            assert!(!neighbours(&node).contains(&fast));
            let others = workers.iter().filter(|it| !std::ptr::eq(*it, &workers[5]));
            let all: Vec<&NodeKernel> = others.chain([&node]).collect();
            assert!(is_connected(&all));
            let again = room.node("w5", true, Some(&at)).await;
            runtime.sleep(120 * SECOND).await;
            assert!(
                neighbours(&node).contains(&fast),
                "{:?}",
                node.status().mesh
            );
            assert!(again.status().tasks.done > 0);
        };
        watch_at_work(&node, 20_000, &done, watch).await;
    });
}

#[test]
fn nodes_without_work_keep_the_neighbours_that_they_have() {
    let room = Room::new(230, 4);
    room.world.run(async {
        let workers = room.workers(14).await;
        let runtime = &room.world.runtime;
        runtime.sleep(90 * SECOND).await;
        let before: Vec<BTreeSet<PeerId>> = workers.iter().map(neighbours).collect();
        for links in &before {
            assert!((1..=4).contains(&links.len()), "{before:?}");
        }
        runtime.sleep(120 * SECOND).await;
        let after: Vec<BTreeSet<PeerId>> = workers.iter().map(neighbours).collect();
        for (before, after) in before.iter().zip(&after) {
            assert!(before.is_subset(after), "{before:?} {after:?}");
        }
        assert!(is_connected(&workers.iter().collect::<Vec<_>>()));
    });
}

#[test]
fn in_a_hierarchy_work_flows_along_a_tree_with_one_root() {
    let mut room = Room::new(240, 4);
    room.world.topology = Topology::Hierarchy;
    room.world.network.set_default_link(link(1_000_000));
    room.world.run(async {
        let workers = room.workers(12).await;
        let at = workers[0].status().addresses[0].clone();
        let node = room.node("submitter", false, Some(&at)).await;
        node.ready().await;
        let done = Cell::new(0);
        let watch = async {
            room.world.runtime.sleep(60 * SECOND).await;
            assert!(done.get() > 1000, "{}", done.get());
            let all: Vec<&NodeKernel> = workers.iter().chain([&node]).collect();
            let mut roots = 0;
            for node in all {
                let mesh = node.status().mesh.unwrap();
                let parents = |it: &&MeshNeighbour| it.reasons.contains(&LinkReason::Parent);
                let parents = mesh.neighbours.iter().filter(parents).count();
                assert_eq!(parents, usize::from(mesh.role != Role::Root), "{mesh:?}");
                roots += usize::from(mesh.role == Role::Root);
                for neighbour in &mesh.neighbours {
                    let reasons = [LinkReason::Parent, LinkReason::Child];
                    let in_tree = reasons.iter().any(|it| neighbour.reasons.contains(it));
                    let flows = mesh.jobs.iter().flat_map(|job| &job.flows);
                    let mut flows = flows.filter(|flow| flow.peer == neighbour.peer);
                    assert!(in_tree || flows.all(|flow| flow.inputs < 0.01), "{mesh:?}");
                }
            }
            assert_eq!(roots, 1);
        };
        watch_at_work(&node, 1000, &done, watch).await;
    });
}

/// A frame about links, with a binding if it is the first.
fn frame(first: bool, note: LinkNote, padding: usize) -> Vec<u8> {
    let binding = first.then(|| StreamBinding::new(Scope::new("test", "room").unwrap()));
    let frame = LinkFrame {
        binding,
        note: note.into(),
        figures: vec![2048, -2048, 0, 0, 1_000_000],
        rate: u32::MAX,
        padding: vec![0; padding].into(),
        root: u64::MAX,
        beacon: vec![u32::MAX; 7],
    };
    let mut bytes = bytes::BytesMut::new();
    encode_frame(&frame, &mut bytes);
    bytes.to_vec()
}

#[test]
fn what_a_stranger_says_out_of_order_and_too_often_changes_nothing_and_is_hardly_answered() {
    let room = Room::new(250, 4);
    room.world.run(async {
        let workers = room.workers(3).await;
        let at = workers[0].status().addresses[0].clone();
        // It is of the room, or nobody would listen.
        let mut network = NetworkConfig::in_room("test", "room").unwrap();
        network.bootstrap.push(at);
        let transport = Arc::new(room.world.network.transport("stranger"));
        let runtime = room.world.runtime.clone();
        let stranger = NetworkManager::start(runtime, transport, network).await;
        let stranger = stranger.unwrap();
        stranger.ready().await;
        room.world.runtime.sleep(3 * SECOND).await;
        let victim = workers[0].status().peer.unwrap();
        let before = neighbours(&workers[0]);
        let (mut sent, mut received) = (0, 0);
        for round in 0..50 {
            let Ok(mut stream) = stranger.open(victim, LINKS_PROTOCOL).await else {
                continue;
            };
            let notes = [
                LinkNote::Accept,
                LinkNote::Over,
                LinkNote::Leave,
                LinkNote::Stay,
                LinkNote::Beacon,
                LinkNote::Measured,
                LinkNote::Echo,
                LinkNote::Refuse,
            ];
            let mut bytes = frame(true, LinkNote::Ask, 0);
            for turn in 0..200 {
                bytes.extend(frame(false, notes[(turn + round) % notes.len()], 0));
                bytes.extend(frame(false, LinkNote::Ask, 0));
                bytes.extend(frame(false, LinkNote::Unspecified, 1000));
                bytes.extend(frame(false, LinkNote::Unspecified, 1000));
                bytes.extend(frame(false, LinkNote::Probe, 1000));
            }
            sent += bytes.len();
            if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                continue;
            }
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            let _ = room.world.runtime.timeout(SECOND / 2, read).await;
            received += answer.len();
        }
        // A few notes and less than one probe a second.
        assert!(sent > 5_000_000, "{sent}");
        assert!(received < 150_000, "{received} bytes of answers");
        assert_eq!(neighbours(&workers[0]), before);
        let node = room
            .node("submitter", false, workers[1].status().addresses.first())
            .await;
        let outcomes = super::run_job(&node, 500).await.unwrap();
        super::assert_all_right(&outcomes, 500);
        // Garbage costs a stranger its connection.
        if let Ok(mut stream) = stranger.open(victim, LINKS_PROTOCOL).await {
            let _ = stream.write_all(&[3, 0xde, 0xad, 0xbe]).await;
            let _ = stream.flush().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        room.world.runtime.sleep(SECOND).await;
        let status = workers[0].status();
        let it = MemoryNetwork::peer("stranger");
        let mut peers = status.peers.iter();
        assert!(!peers.any(|peer| peer.peer == it && peer.path.is_some()));
    });
}
