//! Programs that jobs name by their hash, and that those who run them fetch.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use peercompute_compute::{
    Control, Executor, Program, ProgramHash, ProgramStore, TaskError, TaskInput, Unsupported,
};
use peercompute_kernel::{
    BLOBS_PROTOCOL, JobError, LocalFallback, NodeBuilder, NodeKernel, SubmitError, TASK_PROTOCOL,
    Topology,
};
use peercompute_net::{
    FrameWriter, Multiaddr, NetworkConfig, NetworkManager, Transport as _, frames,
    memory::{Bandwidth, LinkConfig},
};
use peercompute_proto::{
    Scope,
    limits::MAX_BLOB_CHUNK,
    v1::{
        BlobChunk, BlobFrame, BlobMissing, BlobRef, BlobRequest, StreamBinding, TaskFrame,
        TaskHello, TaskOffer, TaskSpec, blob_frame::Frame, program, task_frame,
    },
};

use super::{PATIENCE, World, never, tasks, when_alone};

const SECOND: Duration = Duration::from_secs(1);

/// Runs what is in its store: each task gives the program's length and its input.
struct Stored(ProgramStore);

struct Length(usize);

impl Executor for Stored {
    fn prepare(&self, spec: &TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let program = spec.program.as_ref().and_then(|it| it.program.as_ref());
        let Some(program::Program::Wasm(wasm)) = program else {
            return Err(Unsupported::NoProgram);
        };
        let hash = ProgramHash::from_slice(&wasm.hash).unwrap();
        match self.0.bytes(&hash) {
            Some(bytes) => Ok(Arc::new(Length(bytes.len()))),
            None => Err(Unsupported::Missing {
                hash,
                size: wasm.size,
            }),
        }
    }
}

impl Program for Length {
    fn run(&self, input: TaskInput, _control: &Control) -> Result<Bytes, TaskError> {
        let text = format!("{}:{}", self.0, String::from_utf8_lossy(&input.bytes));
        Ok(text.into())
    }
}

/// A node that can run programs, and where it keeps them.
fn able(world: &World, name: &str) -> (NodeBuilder, ProgramStore) {
    let store = ProgramStore::new();
    let builder = world
        .node(name)
        .room("test", "room")
        .programs(store.clone())
        .executor(Stored(store.clone()));
    (builder, store)
}

async fn start(world: &World, builder: NodeBuilder) -> NodeKernel {
    let node = builder.build(world.runtime.clone()).unwrap();
    node.start().await.unwrap();
    node
}

async fn worker(world: &World, name: &str) -> (NodeKernel, ProgramStore, Multiaddr) {
    let (builder, store) = able(world, name);
    let builder = builder.listen("/memory/0".parse().unwrap());
    let node = start(world, builder).await;
    let address = node.status().addresses[0].clone();
    (node, store, address)
}

async fn submitter(world: &World, peers: &[Multiaddr], fallback: LocalFallback) -> NodeKernel {
    let (mut builder, _) = able(world, "submitter");
    builder = builder.serves(false).local_fallback(fallback);
    for peer in peers {
        builder = builder.peer(peer.clone());
    }
    start(world, builder).await
}

/// A program of so many bytes, of which no two pieces are alike.
fn program(size: usize) -> Bytes {
    (0..size).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn spec(hash: ProgramHash, size: usize) -> TaskSpec {
    TaskSpec {
        program: Some(hash.wasm(size as u64)),
        limits: None,
    }
}

/// Runs a job of a program; gives how many tasks had the right result.
async fn run(node: &NodeKernel, program: &Bytes, count: u64) -> Result<usize, JobError> {
    let hash = node.add_program(program.clone());
    let job = node.submit(spec(hash, program.len())).unwrap();
    let (mut sender, mut results) = job.split();
    sender.push(tasks(count)).await.unwrap();
    sender.finish();
    let mut outcomes = Vec::new();
    while results.next_batch(&mut outcomes).await? {}
    let right = outcomes.iter().filter(|outcome| {
        let expected = format!("{}:{}", program.len(), outcome.task.as_u64());
        outcome.result.as_ref() == Ok(&Bytes::from(expected))
    });
    Ok(right.count())
}

#[test]
fn a_worker_fetches_the_program_from_the_submitter() {
    for topology in [
        Topology::Distributed,
        Topology::Emergent,
        Topology::Hierarchy,
    ] {
        // Below a piece, a whole one, and several with a rest.
        for size in [1, MAX_BLOB_CHUNK, 2 * MAX_BLOB_CHUNK + 7] {
            let world = World::of(topology, 400);
            world.run(async {
                let (_worker, store, address) = worker(&world, "worker").await;
                let node = submitter(&world, &[address], never()).await;
                let program = program(size);
                let ended = world
                    .runtime
                    .timeout(30 * SECOND, run(&node, &program, 100));
                assert_eq!(
                    ended.await.expect("the job ends"),
                    Ok(100),
                    "{topology} {size}"
                );
                assert_eq!(store.bytes(&ProgramHash::of(&program)), Some(program));
            });
        }
    }
}

#[test]
fn a_program_reaches_those_whom_only_others_reach() {
    let world = World::of(Topology::Emergent, 401);
    world.run(async {
        let (between, passed, address) = worker(&world, "between").await;
        between.pause();
        let (builder, store) = able(&world, "far");
        let far = start(&world, builder.peer(address.clone())).await;
        world.runtime.sleep(3 * SECOND).await;
        let node = submitter(&world, &[address], never()).await;
        let program = program(300_000);
        let ended = world
            .runtime
            .timeout(60 * SECOND, run(&node, &program, 100));
        assert_eq!(ended.await.expect("the job ends"), Ok(100));
        assert_eq!(between.status().tasks.done, 0);
        assert_eq!(far.status().tasks.done, 100);
        let hash = ProgramHash::of(&program);
        assert!(store.bytes(&hash).is_some() && passed.bytes(&hash).is_some());
    });
}

#[test]
fn a_worker_that_fetches_for_longer_than_patience_is_waited_for() {
    for topology in [Topology::Distributed, Topology::Emergent] {
        let world = World::of(topology, 411);
        let slow = Bandwidth::bytes_per_second(100_000);
        let link = LinkConfig::default().with_latency(Duration::from_millis(5));
        world.network.set_default_link(link.with_bandwidth(slow));
        world.run(async {
            let (_worker, _, address) = worker(&world, "worker").await;
            let node = submitter(&world, &[address], when_alone()).await;
            let program = program(2 << 20);
            let begun = world.runtime.now();
            assert_eq!(run(&node, &program, 10).await, Ok(10));
            assert!(world.runtime.now() - begun > 2 * PATIENCE);
            assert_eq!(node.status().tasks.done, 0, "{topology}: it ran here");
        });
    }
}

#[test]
fn a_node_that_is_alone_runs_its_own_program() {
    let world = World::new(402);
    world.run(async {
        let node = submitter(&world, &[], when_alone()).await;
        assert_eq!(run(&node, &program(10), 5).await, Ok(5));
    });
}

#[test]
fn a_job_whose_program_is_not_here_is_refused() {
    let world = World::new(403);
    world.run(async {
        let node = submitter(&world, &[], when_alone()).await;
        let hash = ProgramHash::of(b"nowhere");
        let refused = node.submit(spec(hash, 7)).err();
        assert!(matches!(refused, Some(SubmitError::MissingProgram { .. })));
    });
}

#[test]
fn a_worker_without_an_executor_for_it_fetches_nothing_and_says_so() {
    for topology in [Topology::Distributed, Topology::Emergent] {
        let world = World::of(topology, 404);
        world.run(async {
            let (_worker, address) = world.worker("worker", "room").await;
            let node = submitter(&world, &[address], never()).await;
            let program = program(10);
            let ended = world.runtime.timeout(60 * SECOND, run(&node, &program, 5));
            let ended = ended.await.expect("the job ends");
            let Err(JobError::Unsupported { message }) = ended else {
                panic!("{topology}: {ended:?}");
            };
            assert!(message.contains("WebAssembly"), "{message}");
        });
    }
}

#[test]
fn a_program_that_has_gone_is_missed_by_name() {
    let world = World::new(405);
    world.run(async {
        let (_worker, _, address) = worker(&world, "worker").await;
        let (builder, store) = able(&world, "submitter");
        let builder = builder.serves(false).local_fallback(never()).peer(address);
        let node = start(&world, builder).await;
        let program = program(10);
        let hash = node.add_program(program.clone());
        let job = node.submit(spec(hash, program.len())).unwrap();
        store.remove(&hash);
        let (mut sender, mut results) = job.split();
        sender.push(tasks(1)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        let ended = world
            .runtime
            .timeout(120 * SECOND, results.next_batch(&mut outcomes));
        let ended = ended.await.expect("the job ends");
        let reason = format!("{ended:?}");
        assert!(reason.contains(&hash.to_string()), "{reason}");
    });
}

/// Asks a node for a blob, as anybody in the room can. Gives what it answers.
async fn ask(net: &NetworkManager, node: &NodeKernel, frame: BlobFrame) -> Option<Frame> {
    let peer = node.status().peer.unwrap();
    let stream = net.open(peer, BLOBS_PROTOCOL).await.unwrap();
    let (mut reader, mut writer) = frames::<BlobFrame, BlobFrame>(stream);
    writer.send(&frame).await.unwrap();
    reader.next().await.ok().flatten()?.frame
}

fn request(room: &str, hash: ProgramHash, offset: u64, length: u64) -> BlobFrame {
    let scope = Scope::new("test", room).unwrap();
    let request = BlobRequest {
        blob: Some(blob(hash)),
        offset,
        length,
    };
    BlobFrame {
        binding: Some(StreamBinding::new(scope)),
        frame: Some(Frame::Request(request)),
    }
}

fn blob(hash: ProgramHash) -> BlobRef {
    BlobRef {
        hash: Bytes::copy_from_slice(hash.as_bytes()),
        size: 10,
    }
}

async fn stranger(world: &World, name: &str, at: Option<&Multiaddr>) -> NetworkManager {
    let mut network = NetworkConfig::in_room("test", "room").unwrap();
    network.bootstrap.extend(at.cloned());
    network.listen = vec!["/memory/0".parse().unwrap()];
    let transport = Arc::new(world.network.transport(name));
    let net = NetworkManager::start(world.runtime.clone(), transport, network);
    let net = net.await.unwrap();
    net.ready().await;
    net
}

#[test]
fn parts_are_given_and_what_is_not_here_or_beyond_the_end_is_missing() {
    let world = World::new(406);
    world.run(async {
        let (node, store, address) = worker(&world, "worker").await;
        let hash = store.insert(program(10));
        let net = stranger(&world, "stranger", Some(&address)).await;
        let part = ask(&net, &node, request("room", hash, 3, 4)).await;
        let expected = BlobChunk {
            blob: Some(blob(hash)),
            offset: 3,
            data: program(10).slice(3..7),
        };
        assert_eq!(part, Some(Frame::Chunk(expected)));
        let missing = |hash| {
            Some(Frame::Missing(BlobMissing {
                blob: Some(blob(hash)),
            }))
        };
        for (offset, length) in [(10, 0), (11, 1), (3, 8), (u64::MAX, u64::MAX)] {
            let answer = ask(&net, &node, request("room", hash, offset, length)).await;
            assert_eq!(answer, missing(hash), "{offset} {length}");
        }
        // Whoever was told a wrong length would take the right bytes for a lie.
        for size in [0, 9, 11] {
            let mut asked = request("room", hash, 0, 0);
            let Some(Frame::Request(wrong)) = &mut asked.frame else {
                unreachable!("it asks");
            };
            wrong.blob.as_mut().unwrap().size = size;
            let answer = ask(&net, &node, asked).await;
            assert!(
                matches!(answer, Some(Frame::Missing(_))),
                "{size}: {answer:?}"
            );
        }
        let other = ProgramHash::of(b"other");
        let answer = ask(&net, &node, request("room", other, 0, 0)).await;
        assert_eq!(answer, missing(other));
    });
}

#[test]
fn who_asks_in_another_room_is_cut_off() {
    let world = World::new(407);
    world.run(async {
        let (node, store, address) = worker(&world, "worker").await;
        let hash = store.insert(program(10));
        let net = stranger(&world, "stranger", Some(&address)).await;
        let answer = ask(&net, &node, request("other", hash, 0, 0)).await;
        assert_eq!(answer, None);
        let peer = node.status().peer.unwrap();
        let again = world
            .runtime
            .timeout(SECOND, net.open(peer, BLOBS_PROTOCOL));
        assert!(!matches!(again.await, Ok(Ok(_))));
    });
}

/// A stranger offers the node a job whose program it answers for as it likes. Gives what the node said of the job until it ended the stream, or until this time is over.
async fn false_job(
    world: &World,
    (node, address): (&NodeKernel, Multiaddr),
    size: usize,
    answer: impl AsyncFn(BlobRequest, &mut FrameWriter<BlobFrame>, StreamBinding),
    limit: Duration,
) -> Result<Vec<task_frame::Frame>, Vec<task_frame::Frame>> {
    let transport = Arc::new(world.network.transport("liar"));
    let mut incoming = transport.accept(BLOBS_PROTOCOL).unwrap();
    let mut network = NetworkConfig::in_room("test", "room").unwrap();
    network.bootstrap.push(address);
    let net = NetworkManager::start(world.runtime.clone(), transport, network);
    let net = net.await.unwrap();
    net.ready().await;
    let answers = async {
        while let Some((_, stream)) = incoming.next().await {
            let (mut reader, mut writer) = frames::<BlobFrame, BlobFrame>(stream);
            let asked = reader.next().await.unwrap().unwrap();
            let Some(Frame::Request(request)) = asked.frame else {
                panic!("it asks");
            };
            answer(request, &mut writer, asked.binding.unwrap()).await;
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let offers = async {
        let stream = net.open(node.status().peer.unwrap(), TASK_PROTOCOL);
        let (mut reader, mut writer) = frames::<TaskFrame, TaskFrame>(stream.await.unwrap());
        let scope = Scope::new("test", "room").unwrap();
        let hello = task_frame::Frame::Hello(TaskHello {
            binding: Some(StreamBinding::new(scope)),
            capabilities: None,
        });
        let offer = task_frame::Frame::Offer(TaskOffer {
            job: 1,
            spec: Some(spec(ProgramHash::of(&program(size)), size)),
            lease_ms: 10_000,
        });
        for frame in [hello, offer] {
            let frame = TaskFrame { frame: Some(frame) };
            writer.send(&frame).await.unwrap();
        }
        while let Ok(Some(frame)) = reader.next().await {
            said.extend(frame.frame);
        }
    };
    let ended = tokio::select! {
        () = answers => unreachable!("it goes on"),
        ended = world.runtime.timeout(limit, offers) => ended.is_ok(),
    };
    if ended { Ok(said) } else { Err(said) }
}

fn chunk(request: &BlobRequest, offset: u64, data: Bytes) -> Option<Frame> {
    Some(Frame::Chunk(BlobChunk {
        blob: request.blob.clone(),
        offset,
        data,
    }))
}

#[test]
fn who_sends_something_else_is_cut_off() {
    let world = World::new(408);
    world.run(async {
        let (node, store, address) = worker(&world, "worker").await;
        let lie = async |request: BlobRequest, writer: &mut FrameWriter<BlobFrame>, binding| {
            let frame = BlobFrame {
                binding: Some(binding),
                frame: chunk(&request, 0, Bytes::from_static(b"0123456789")),
            };
            let _ = writer.send(&frame).await;
        };
        let ended = false_job(&world, (&node, address), 10, lie, 60 * SECOND);
        ended.await.expect("it is cut off");
        assert!(store.is_empty());
    });
}

#[test]
fn who_sends_ever_so_slowly_is_given_up() {
    let world = World::new(409);
    world.run(async {
        let (node, store, address) = worker(&world, "worker").await;
        let runtime = world.runtime.clone();
        // Never silent, but it would take ten minutes.
        let drip = async |request: BlobRequest, writer: &mut FrameWriter<BlobFrame>, binding| {
            let mut binding = Some(binding);
            for second in 0..600 {
                runtime.sleep(SECOND).await;
                let at = second * 1024;
                let data = program(600 * 1024).slice(at..at + 1024);
                let frame = BlobFrame {
                    binding: binding.take(),
                    frame: chunk(&request, at as u64, data),
                };
                if writer.send(&frame).await.is_err() {
                    return;
                }
            }
        };
        let said = false_job(&world, (&node, address), 600 * 1024, drip, 300 * SECOND);
        let said = said.await.expect_err("it is slow, which is no crime");
        let gave_up = said.iter().any(|frame| {
            let task_frame::Frame::Failures(failures) = frame else {
                return false;
            };
            let mut failures = failures.failures.iter();
            failures.any(|it| it.task.is_none() && it.message.contains("has not sent it within"))
        });
        assert!(gave_up, "{said:?}");
        assert!(store.is_empty());
    });
}
