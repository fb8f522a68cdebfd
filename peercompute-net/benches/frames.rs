//! Frames and streams without a network below them: what this crate itself costs. `cargo bench -p peercompute-net --no-default-features --bench frames`

#![cfg_attr(target_arch = "wasm32", allow(unused))]

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::sync::Arc;

    use bytes::Bytes;
    use divan::{
        Bencher,
        counter::{BytesCount, ItemsCount},
    };
    use futures::{
        AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _, io::Cursor,
    };
    use peercompute_net::{
        FrameReader, FrameWriter, NetworkConfig, NetworkManager, PrivateRoom, Stream,
        Transport as _, memory::MemoryNetwork,
    };
    use peercompute_proto::v1::{TaskFrame, TaskLease, TaskLeases, task_frame::Frame};
    use peercompute_rt::{Runtime, Simulation};

    /// Tasks in one frame.
    const BATCH: usize = 64;
    /// Frames in one go.
    const FRAMES: usize = 256;

    fn frame(tasks: usize, input: usize) -> TaskFrame {
        let tasks = (0..tasks)
            .map(|task| TaskLease {
                task: task as u64,
                state: None,
                input: Bytes::from(vec![7; input]),
            })
            .collect();
        TaskFrame {
            frame: Some(Frame::Leases(TaskLeases { job: 1, tasks })),
        }
    }

    fn bytes_of(frames: usize, frame: &TaskFrame) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::<TaskFrame, _>::new(&mut bytes);
        for _ in 0..frames {
            writer.feed(frame);
        }
        writer
            .flush()
            .now_or_never()
            .expect("memory is ready")
            .expect("memory takes all");
        bytes
    }

    #[divan::bench(args = [64, 4096, 65536])]
    fn write_batches_of_tasks(bencher: Bencher<'_, '_>, input: usize) {
        let frame = frame(BATCH, input);
        let mut out = bytes_of(1, &frame);
        bencher
            .counter(ItemsCount::new(BATCH))
            .counter(BytesCount::new(BATCH * input))
            .bench_local(move || {
                out.clear();
                let mut writer = FrameWriter::new(&mut out);
                writer.feed(divan::black_box(&frame));
                writer.flush().now_or_never()
            });
    }

    #[divan::bench(args = [64, 4096, 65536])]
    fn read_batches_of_tasks(bencher: Bencher<'_, '_>, input: usize) {
        let bytes = bytes_of(4, &frame(BATCH, input));
        bencher
            .counter(ItemsCount::new(4 * BATCH))
            .counter(BytesCount::new(4 * BATCH * input))
            .bench_local(move || {
                let mut reader = FrameReader::<TaskFrame, _>::new(Cursor::new(&bytes[..]));
                while let Some(Ok(Some(frame))) = reader.next().now_or_never() {
                    divan::black_box(frame);
                }
            });
    }

    #[divan::bench]
    fn read_frames_of_one_small_task(bencher: Bencher<'_, '_>) {
        let bytes = bytes_of(FRAMES, &frame(1, 64));
        bencher
            .counter(ItemsCount::new(FRAMES))
            .bench_local(move || {
                let mut reader = FrameReader::<TaskFrame, _>::new(Cursor::new(&bytes[..]));
                while let Some(Ok(Some(frame))) = reader.next().now_or_never() {
                    divan::black_box(frame);
                }
            });
    }

    const BULK: usize = 16 * 1024 * 1024;

    /// Writes [`BULK`] bytes at one end of a stream and reads them at the other.
    async fn carry(runtime: &Runtime, mut near: Stream, mut far: Stream) {
        let writer = runtime.spawn(async move {
            let block = vec![7; 64 * 1024];
            for _ in 0..BULK / block.len() {
                near.write_all(&block).await.expect("it is read");
            }
            near.close().await
        });
        let mut buffer = vec![0; 64 * 1024];
        while far.read(&mut buffer).await.expect("it is written") > 0 {}
        writer.await.expect("it ends").expect("it is read");
    }

    #[divan::bench(sample_count = 10)]
    fn the_key_of_a_password(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| PrivateRoom::new("chess", divan::black_box("four knights")));
    }

    /// What sealing costs is the difference between the two.
    #[divan::bench(args = ["public", "private"])]
    fn stream_between_members_of_a_room(bencher: Bencher<'_, '_>, kind: &str) {
        let config = match kind {
            "private" => NetworkConfig::in_private_room(PrivateRoom::from_key([1; 32])),
            _ => NetworkConfig::in_room("chess", "table 5").expect("short names"),
        };
        bencher.counter(BytesCount::new(BULK)).bench_local(|| {
            let simulation = Simulation::new(1);
            let runtime = simulation.runtime();
            let network = MemoryNetwork::new(runtime.clone(), 1);
            let config = config.clone();
            simulation.run(async move {
                let mut first = config.clone();
                first.listen = vec!["/memory/1".parse().expect("an address")];
                let alice = Arc::new(network.transport("alice"));
                let alice = NetworkManager::start(runtime.clone(), alice, first).await?;
                let mut second = config;
                second.bootstrap = alice.addresses();
                let bob = Arc::new(network.transport("bob"));
                let bob = NetworkManager::start(runtime.clone(), bob, second).await?;
                bob.ready().await;
                let mut incoming = alice.accept("/bench/1").expect("free");
                let near = bob
                    .open(alice.local_peer(), "/bench/1")
                    .await
                    .expect("it accepts");
                let (_, far) = incoming.next().await.expect("it was opened");
                carry(&runtime, near, far).await;
                Ok::<_, peercompute_net::NetworkStartError>(())
            })
        });
    }

    #[divan::bench]
    fn stream_through_the_memory_transport(bencher: Bencher<'_, '_>) {
        bencher.counter(BytesCount::new(BULK)).bench_local(|| {
            let simulation = Simulation::new(1);
            let runtime = simulation.runtime();
            let network = MemoryNetwork::new(runtime.clone(), 1);
            simulation.run(async move {
                let (alice, bob) = (
                    network.transport("alice"),
                    Arc::new(network.transport("bob")),
                );
                let mut incoming = bob.accept("/bench/1").expect("free");
                let address = bob
                    .listen("/memory/1".parse().expect("an address"))
                    .await
                    .expect("free");
                alice.dial(address).await.expect("it listens");
                let near = alice
                    .open(bob.local_peer(), "/bench/1")
                    .await
                    .expect("it accepts");
                let (_, far) = incoming.next().await.expect("it was opened");
                carry(&runtime, near, far).await;
            })
        });
    }
}

fn main() {
    #[cfg(not(target_arch = "wasm32"))]
    divan::main();
}
