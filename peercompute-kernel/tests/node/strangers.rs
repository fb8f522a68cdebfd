//! Neighbours that break no rule of the protocol and mean no good.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use peercompute_compute::Operation;
use peercompute_kernel::{FLOW_PROTOCOL, LINKS_PROTOCOL, NodeKernel, Topology};
use peercompute_net::{
    FrameReader, FrameWriter, Multiaddr, NetworkConfig, NetworkManager, PeerId, Transport as _,
    frames,
    memory::{Bandwidth, LinkConfig, MemoryNetwork},
};
use peercompute_proto::{
    Scope,
    v1::{
        CellFrame, FlowBegin, FlowCell, FlowChunk, FlowEcho, FlowEnd, FlowFrame, FlowHello,
        FlowJob, FlowKey, LinkFrame, LinkNote, StreamBinding,
    },
};

use super::{World, assert_all_right, crc, mesh::hidden, never, run_job, tasks};

const SECOND: Duration = Duration::from_secs(1);

/// A stranger in the room, who has nothing but the network.
async fn stranger(world: &World, name: &str, at: Option<&Multiaddr>) -> NetworkManager {
    let mut network = NetworkConfig::in_room("test", "room").unwrap();
    network.bootstrap.extend(at.cloned());
    network.listen = vec!["/memory/0".parse().unwrap()];
    let transport = Arc::new(world.network.transport(name));
    let net = NetworkManager::start(world.runtime.clone(), transport, network)
        .await
        .unwrap();
    net.ready().await;
    net
}

type Flow = (FrameReader<FlowFrame>, FrameWriter<FlowFrame>);

fn hello() -> FlowFrame {
    let hello = FlowHello {
        binding: Some(binding()),
        ..FlowHello::default()
    };
    FlowFrame {
        hello: Some(hello),
        ..FlowFrame::default()
    }
}

fn binding() -> StreamBinding {
    StreamBinding::new(Scope::new("test", "room").unwrap())
}

/// Opens a flow stream and says hello.
async fn flow(net: &NetworkManager, to: PeerId) -> Flow {
    let stream = net.open(to, FLOW_PROTOCOL).await.unwrap();
    let (reader, mut writer) = frames(stream);
    // It may have been refused.
    let _ = writer.send(&hello()).await;
    (reader, writer)
}

/// Takes part in a job, at `hops` from its submitter and from a worker.
fn takes_part(key: FlowKey, hops: [u32; 2]) -> FlowFrame {
    let job = FlowJob {
        job: 1,
        key: Some(key),
        spec: Some(Operation::Crc32c.into()),
        lease_ms: 10_000,
        input_bytes: 1000,
        output_bytes: 1000,
        source_hops: hops[0],
        worker_hops: hops[1],
        ..FlowJob::default()
    };
    FlowFrame {
        jobs: vec![job],
        ..FlowFrame::default()
    }
}

/// The key of the next job that a neighbour takes part in.
async fn next_key(reader: &mut FrameReader<FlowFrame>) -> FlowKey {
    loop {
        let frame = reader.next().await.unwrap().expect("it goes on");
        if let Some(key) = frame.jobs.into_iter().find_map(|job| job.key) {
            return key;
        }
    }
}

/// What a neighbour of the only worker says of a job, if anything.
fn who_takes_nothing_holds_no_job_up(seed: u64, strangers: usize, hops: Option<[u32; 2]>) {
    let world = World::of(Topology::Emergent, seed);
    world.run(async {
        let (worker, address) = world.worker("worker", "room").await;
        let peer = worker.status().peer.unwrap();
        let mut held = Vec::new();
        for number in 0..strangers {
            let net = stranger(&world, &format!("stranger {number}"), Some(&address)).await;
            let (mut reader, mut writer) = flow(&net, peer).await;
            held.push(world.runtime.spawn(async move {
                let _net = net;
                loop {
                    let key = next_key(&mut reader).await;
                    if let Some(hops) = hops {
                        writer.send(&takes_part(key, hops)).await.unwrap();
                    }
                }
            }));
        }
        world.runtime.sleep(5 * SECOND).await;
        let node = hidden(&world, "near", false, std::slice::from_ref(&address)).await;
        let outcomes = world.runtime.timeout(60 * SECOND, run_job(&node, 300));
        assert_all_right(&outcomes.await.expect("the job ends").unwrap(), 300);
    });
}

#[test]
fn a_neighbour_that_says_hello_and_no_more_holds_no_job_up() {
    for seed in 301..304 {
        who_takes_nothing_holds_no_job_up(seed, 2, None);
    }
}

#[test]
fn a_neighbour_that_takes_part_and_grants_nothing_holds_no_job_up() {
    for (seed, hops) in [(304, [0, 0]), (305, [1, 1]), (306, [2, 2])] {
        who_takes_nothing_holds_no_job_up(seed, 1, Some(hops));
    }
}

#[test]
fn a_stranger_ends_nobodys_job() {
    for over in [false, true] {
        let world = World::of(Topology::Emergent, 310);
        world.run(async {
            let (between, address) = world.worker("between", "room").await;
            between.pause();
            let evil = stranger(&world, "evil", None).await;
            let evil_at = evil.addresses()[0].clone();
            let far = hidden(&world, "far", true, &[address.clone(), evil_at]).await;
            world.runtime.sleep(3 * SECOND).await;
            let (mut reader, mut writer) = flow(&evil, far.status().peer.unwrap()).await;
            let node = hidden(&world, "near", false, &[address]).await;
            let act = async {
                let key = next_key(&mut reader).await;
                writer.send(&takes_part(key, [0, 0])).await.unwrap();
                let mut frame = FlowFrame::default();
                frame.ends.push(FlowEnd { job: 1, over });
                writer.send(&frame).await.unwrap();
                while reader.next().await.is_ok_and(|frame| frame.is_some()) {}
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcomes = run_job(&node, 3000) => assert_all_right(&outcomes.unwrap(), 3000),
                () = act => {}
            }
            assert_eq!(between.status().tasks.done, 0);
        });
    }
}

/// Holds on to a link with all means: it says that it hangs on its neighbour, that its links have to stay, and comes back when it is thrown out.
async fn holds_on(world: &World, number: u64, address: &Multiaddr, to: PeerId) {
    let mut network = NetworkConfig::in_room("test", "room").unwrap();
    network.bootstrap.push(address.clone());
    let transport = Arc::new(world.network.transport(&format!("stranger {number}")));
    let mut talks = transport.accept(LINKS_PROTOCOL).unwrap();
    let mut flows = transport.accept(FLOW_PROTOCOL).unwrap();
    let net = NetworkManager::start(world.runtime.clone(), transport, network);
    let net = net.await.unwrap();
    net.ready().await;
    // It takes every stream, and says no more than hello.
    let _talks = world.runtime.spawn(async move {
        let mut kept = Vec::new();
        while let Some((_, stream)) = talks.next().await {
            kept.push(stream);
        }
    });
    let _flows = world.runtime.spawn(async move {
        let mut kept = Vec::new();
        while let Some((_, stream)) = flows.next().await {
            let (reader, mut writer) = frames::<FlowFrame, FlowFrame>(stream);
            let _ = writer.send(&hello()).await;
            kept.push((reader, writer));
        }
    });
    let mut flow_stream = Some(flow(&net, to).await);
    for round in 0_u32.. {
        let Ok(stream) = net.open(to, LINKS_PROTOCOL).await else {
            world.runtime.sleep(SECOND).await;
            continue;
        };
        let (mut reader, mut writer) = frames::<LinkFrame, LinkFrame>(stream);
        let mut binding = Some(binding());
        for sequence in 0_u32.. {
            let beacon = LinkFrame {
                binding: binding.take(),
                note: LinkNote::Beacon.into(),
                root: u64::MAX - number,
                beacon: vec![round + sequence, 200, 0, 3, 0, 0, 1],
                ..LinkFrame::default()
            };
            let stay = LinkFrame {
                note: LinkNote::Stay.into(),
                ..LinkFrame::default()
            };
            if writer.send(&beacon).await.is_err() || writer.send(&stay).await.is_err() {
                break;
            }
            let listen = async { while let Ok(Some(_)) = reader.next().await {} };
            let _ = world.runtime.timeout(SECOND, listen).await;
        }
        drop(flow_stream.take());
        flow_stream = Some(flow(&net, to).await);
    }
}

/// Says nothing at all over its link.
async fn is_mute(world: &World, number: u64, address: &Multiaddr, to: PeerId) {
    let net = stranger(world, &format!("stranger {number}"), Some(address)).await;
    let _stream = net.open(to, FLOW_PROTOCOL).await;
    std::future::pending::<()>().await;
}

#[test]
fn those_who_hold_on_to_all_places_do_not_keep_others_out() {
    for speaks in [true, false] {
        let world = World::of(Topology::Emergent, 340);
        world.run(async {
            let (worker, address) = world.worker("worker", "room").await;
            let peer = worker.status().peer.unwrap();
            let strangers = (0..40).map(|number| {
                let (world, address) = (&world, &address);
                async move {
                    if speaks {
                        holds_on(world, number, address, peer).await;
                    } else {
                        is_mute(world, number, address, peer).await;
                    }
                }
            });
            let strangers = futures::future::join_all(strangers);
            let job = async {
                world.runtime.sleep(60 * SECOND).await;
                let held = worker.status().mesh.unwrap().neighbours.len();
                let node = hidden(&world, "near", false, std::slice::from_ref(&address)).await;
                let outcomes = run_job(&node, 300).await.unwrap();
                assert_all_right(&outcomes, 300);
                held
            };
            tokio::select! {
                held = world.runtime.timeout(120 * SECOND, job) => {
                    let held = held.expect("the job ends");
                    assert!(held > 8 || !speaks, "they held {held} places");
                }
                _ = strangers => {}
            }
        });
    }
}

/// Runs a job whose tasks come by and by.
async fn trickle(world: &World, node: &NodeKernel, count: u64) {
    let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
    let push = async {
        for group in tasks(count).chunks(5) {
            sender.push(group.to_vec()).await.unwrap();
            world.runtime.sleep(SECOND / 10).await;
        }
        sender.finish();
    };
    let take = async {
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {}
        assert_eq!(outcomes.len() as u64, count);
        for outcome in outcomes {
            assert_eq!(outcome.result.unwrap(), crc(outcome.task.as_u64()));
        }
    };
    futures::join!(push, take);
}

#[test]
fn nobody_answers_for_bundles_that_another_holds() {
    for seed in 320..324 {
        nobody_answers_for_others(seed);
    }
}

fn nobody_answers_for_others(seed: u64) {
    let world = World::of(Topology::Emergent, seed);
    // The honest worker's results come slowly, so there is time to be faster.
    let slow = Bandwidth::bytes_per_second(5_000);
    let slow = LinkConfig::default()
        .with_latency(SECOND / 50)
        .with_bandwidth(slow);
    let submitter = MemoryNetwork::peer("submitter");
    world
        .network
        .set_link(MemoryNetwork::peer("worker"), submitter, slow);
    world.run(async {
        let (_worker, address) = world.worker("worker", "room").await;
        let node = world
            .node("submitter")
            .room("test", "room")
            .serves(false)
            .local_fallback(never())
            .peer(address)
            .listen("/memory/0".parse().unwrap())
            .build(world.runtime.clone())
            .unwrap();
        node.start().await.unwrap();
        node.ready().await;
        let at = node.status().addresses[0].clone();
        let evil = stranger(&world, "evil", Some(&at)).await;
        let (mut reader, mut writer) = flow(&evil, node.status().peer.unwrap()).await;
        let act = async {
            let key = next_key(&mut reader).await;
            let mut frame = takes_part(key, [2, 0]);
            let wanted = CellFrame {
                outputs_wanted: 1,
                ..CellFrame::default()
            };
            frame.cells.push(FlowCell {
                job: 1,
                frame: Some(wanted),
            });
            writer.send(&frame).await.unwrap();
            // Numbers from 1 on, again and again, with nothing in them.
            for round in 0_u64.. {
                let echo = FlowEcho {
                    sent_us: 1,
                    ..FlowEcho::default()
                };
                let chunks = (0..64).map(|place| FlowChunk {
                    job: 1,
                    output: true,
                    begin: Some(FlowBegin {
                        bundle: (64 * round + place) % 400 + 1,
                        size: 0,
                        hops: 1,
                    }),
                    data: Bytes::new(),
                });
                let frame = FlowFrame {
                    echo: Some(echo),
                    chunks: chunks.collect(),
                    ..FlowFrame::default()
                };
                if writer.send(&frame).await.is_err() {
                    break;
                }
                let _ = world.runtime.timeout(SECOND / 100, reader.next()).await;
            }
            std::future::pending::<()>().await;
        };
        let job = world
            .runtime
            .timeout(900 * SECOND, trickle(&world, &node, 2000));
        tokio::select! {
            () = async { job.await.expect("the job ends") } => {}
            () = act => {}
        }
    });
}
