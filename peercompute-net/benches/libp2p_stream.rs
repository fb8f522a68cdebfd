//! What one stream between two threads on loopback carries, with a current-thread runtime on each: bytes in bulk, small messages, and round trips.
//!
//! The bare stream is libp2p with `libp2p-stream` and nothing else: what the transport is judged against. Run with
//! `cargo bench -p peercompute-net --bench libp2p_stream`; give `tcp`, `quic`, `ws`, `webrtc` or `bare` to run only that. For `webrtc` the two meet at a relay and
//! are measured once they have a direct path.

#![allow(clippy::print_stdout, reason = "the figures are the point")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails says so")]
#![cfg_attr(target_arch = "wasm32", allow(unused))]

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{
        future::Future,
        sync::mpsc::{Receiver, SyncSender, sync_channel},
        thread,
        time::{Duration, Instant},
    };

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
    use libp2p::{Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
    use peercompute_net::{
        Duplex, Event, Identity, Libp2pConfig, Libp2pTransport, Multiaddr, Path, PeerId,
        RelayLimits, Stream, Transport, multiaddr::Protocol,
    };
    use peercompute_rt::Runtime;

    const PROTOCOL: &str = "/peercompute-bench/1";
    /// How much is sent in bulk, in bytes.
    const BULK: u64 = 2 << 30;
    /// How large a write is.
    const CHUNK: usize = 256 * 1024;
    /// The size of a small message, in bytes.
    const MESSAGE: usize = 64;
    /// How many small messages are sent in batches of [`CHUNK`].
    const BATCHED: u64 = 16 << 20;
    /// How many small messages are flushed one by one.
    const FLUSHED: u64 = 200_000;
    /// How many messages go there and back.
    const ROUND_TRIPS: u32 = 20_000;

    pub(crate) fn main() {
        let only: Vec<String> = std::env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with('-'))
            .collect();
        let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
        println!(
            "{:6} {:>10} {:>16} {:>16} {:>12}",
            "", "bulk MB/s", "batched msg/s", "flushed msg/s", "round trip"
        );
        for (name, address) in [
            ("tcp", "/ip4/127.0.0.1/tcp/0"),
            ("quic", "/ip4/127.0.0.1/udp/0/quic-v1"),
            ("ws", "/ip4/127.0.0.1/tcp/0/ws"),
        ] {
            if wanted(name) {
                let (tell, told) = sync_channel(1);
                let server = on_a_thread(move || transport_server(address, tell));
                on_a_thread(move || transport_client(name, told))
                    .join()
                    .unwrap();
                server.join().unwrap();
            }
        }
        if wanted("webrtc") {
            let (tell, told) = sync_channel(1);
            let server = on_a_thread(move || webrtc_server(tell));
            on_a_thread(move || webrtc_client(told)).join().unwrap();
            server.join().unwrap();
        }
        if wanted("bare") {
            let (tell, told) = sync_channel(1);
            let server = on_a_thread(move || bare_server(tell));
            on_a_thread(move || bare_client(told)).join().unwrap();
            server.join().unwrap();
        }
    }

    fn on_a_thread<F: Future<Output = ()>>(
        task: impl FnOnce() -> F + Send + 'static,
    ) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(task());
        })
    }

    async fn transport_server(address: &str, tell: SyncSender<Multiaddr>) {
        let runtime = Runtime::tokio();
        let config = Libp2pConfig::new(Identity::generate(&runtime));
        let node = Libp2pTransport::start(config, &runtime).unwrap();
        let mut incoming = node.accept(PROTOCOL).unwrap();
        tell.send(node.listen(address.parse().unwrap()).await.unwrap())
            .unwrap();
        let (_, stream) = incoming.next().await.unwrap();
        serve(stream).await;
        node.close().await;
    }

    async fn transport_client(name: &str, told: Receiver<Multiaddr>) {
        let runtime = Runtime::tokio();
        let config = Libp2pConfig::new(Identity::generate(&runtime));
        let node = Libp2pTransport::start(config, &runtime).unwrap();
        let peer = node.dial(told.recv().unwrap()).await.unwrap();
        measure(name, node.open(peer, PROTOCOL).await.unwrap()).await;
        node.close().await;
    }

    async fn webrtc_server(tell: SyncSender<Multiaddr>) {
        let runtime = Runtime::tokio();
        let mut config = Libp2pConfig::new(Identity::generate(&runtime));
        config.relay = Some(RelayLimits::default());
        let relay = Libp2pTransport::start(config, &runtime).unwrap();
        let at_relay = relay.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
        let circuit = at_relay.unwrap().with(Protocol::P2pCircuit);
        let config = Libp2pConfig::new(Identity::generate(&runtime));
        let node = Libp2pTransport::start(config, &runtime).unwrap();
        let mut incoming = node.accept(PROTOCOL).unwrap();
        tell.send(node.listen(circuit).await.unwrap()).unwrap();
        let (_, stream) = incoming.next().await.unwrap();
        serve(stream).await;
        node.close().await;
        relay.close().await;
    }

    async fn webrtc_client(told: Receiver<Multiaddr>) {
        let runtime = Runtime::tokio();
        let mut config = Libp2pConfig::new(Identity::generate(&runtime));
        config.webrtc_offers = true;
        let node = Libp2pTransport::start(config, &runtime).unwrap();
        let mut events = node.events();
        let peer = node.dial(told.recv().unwrap()).await.unwrap();
        let direct = Event::PathChanged {
            peer,
            path: Path::Direct,
        };
        while events.next().await.unwrap() != direct {}
        measure("webrtc", node.open(peer, PROTOCOL).await.unwrap()).await;
        node.close().await;
    }

    fn bare_swarm() -> Swarm<libp2p_stream::Behaviour> {
        SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(600))
            })
            .build()
    }

    async fn bare_server(tell: SyncSender<(PeerId, Multiaddr)>) {
        let mut swarm = bare_swarm();
        let mut incoming = swarm
            .behaviour()
            .new_control()
            .accept(libp2p::StreamProtocol::new(PROTOCOL))
            .unwrap();
        swarm
            .listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .unwrap();
        let peer = *swarm.local_peer_id();
        let driver = tokio::spawn(async move {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    tell.send((peer, address)).unwrap();
                }
            }
        });
        let (_, stream) = incoming.next().await.unwrap();
        serve(Box::new(stream)).await;
        driver.abort();
    }

    async fn bare_client(told: Receiver<(PeerId, Multiaddr)>) {
        let mut swarm = bare_swarm();
        let (peer, address) = told.recv().unwrap();
        swarm.dial(address).unwrap();
        while !swarm.is_connected(&peer) {
            swarm.select_next_some().await;
        }
        let mut control = swarm.behaviour().new_control();
        let driver = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        let stream = control
            .open_stream(peer, libp2p::StreamProtocol::new(PROTOCOL))
            .await
            .unwrap();
        measure("bare", Box::new(stream)).await;
        driver.abort();
    }

    /// Takes what [`measure`] sends: three times as many bytes as announced, each answered by one byte, and then echoes.
    async fn serve(mut stream: Stream) {
        let mut buffer = vec![0; CHUNK];
        for amount in [BULK, BATCHED * MESSAGE as u64, FLUSHED * MESSAGE as u64] {
            let mut left = amount;
            while left > 0 {
                let most = buffer
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let count = stream.read(&mut buffer[..most]).await.unwrap();
                assert!(count > 0, "the stream ends early");
                left -= count as u64;
            }
            answer(&mut stream).await;
        }
        let mut message = [0; MESSAGE];
        while stream.read_exact(&mut message).await.is_ok() {
            stream.write_all(&message).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    async fn answer(stream: &mut Stream) {
        stream.write_all(&[1]).await.unwrap();
        stream.flush().await.unwrap();
    }

    async fn measure(name: &str, mut stream: Stream) {
        let bulk = timed(async {
            let chunk = vec![7; CHUNK];
            for _ in 0..BULK / CHUNK as u64 {
                stream.write_all(&chunk).await.unwrap();
            }
            answered(&mut stream).await;
        })
        .await;
        let batched = timed(async {
            let message = [7; MESSAGE];
            let mut batch = Vec::with_capacity(CHUNK);
            for _ in 0..BATCHED {
                batch.extend_from_slice(&message);
                if batch.len() == CHUNK {
                    stream.write_all(&batch).await.unwrap();
                    batch.clear();
                }
            }
            stream.write_all(&batch).await.unwrap();
            answered(&mut stream).await;
        })
        .await;
        let flushed = timed(async {
            for _ in 0..FLUSHED {
                stream.write_all(&[7; MESSAGE]).await.unwrap();
                stream.flush().await.unwrap();
            }
            answered(&mut stream).await;
        })
        .await;
        let round_trips = timed(async {
            let mut message = [7; MESSAGE];
            for _ in 0..ROUND_TRIPS {
                stream.write_all(&message).await.unwrap();
                stream.flush().await.unwrap();
                stream.read_exact(&mut message).await.unwrap();
            }
        })
        .await;
        stream.close().await.unwrap();
        println!(
            "{name:6} {:10.0} {:16.0} {:16.0} {:9.1} µs",
            BULK as f64 / bulk.as_secs_f64() / 1e6,
            BATCHED as f64 / batched.as_secs_f64(),
            FLUSHED as f64 / flushed.as_secs_f64(),
            round_trips.as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS),
        );
    }

    async fn answered(stream: &mut (impl Duplex + ?Sized)) {
        stream.flush().await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    }

    async fn timed(work: impl Future<Output = ()>) -> Duration {
        let start = Instant::now();
        work.await;
        start.elapsed()
    }
}

fn main() {
    #[cfg(not(target_arch = "wasm32"))]
    native::main();
}
