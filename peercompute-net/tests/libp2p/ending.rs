//! Streams end with their connection, whatever the other end does or no longer does.

use std::{sync::mpsc, thread, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peercompute_net::{Event, Libp2pConfig, Multiaddr, PeerId, Stream, Transport};

use crate::support::{ECHO, config, echo, echoes, listening, node, run, start, until};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const WEBSOCKET: &str = "/ip4/127.0.0.1/tcp/0/ws";

/// A node in a thread of its own that can freeze: its sockets stay open, and nothing moves any more.
struct Freezer {
    peer: PeerId,
    address: Multiaddr,
    freeze: tokio::sync::oneshot::Sender<()>,
    end: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<()>,
}

impl Freezer {
    fn start(address: &'static str) -> Self {
        let (tell, told) = mpsc::sync_channel(1);
        let (freeze, frozen) = tokio::sync::oneshot::channel::<()>();
        let (end, ended) = mpsc::sync_channel::<()>(0);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let node = runtime.block_on(async {
                let (node, address) = listening(config(), address).await;
                echo(&node);
                tell.send((node.local_peer(), address)).unwrap();
                let _ = frozen.await;
                node
            });
            // Nobody drives the runtime now.
            let _ = ended.recv();
            drop((node, runtime));
        });
        let (peer, address) = told.recv().unwrap();
        Self {
            peer,
            address,
            freeze,
            end,
            thread,
        }
    }

    fn freeze(self) -> impl FnOnce() {
        self.freeze.send(()).unwrap();
        let (end, thread) = (self.end, self.thread);
        move || {
            drop(end);
            thread.join().unwrap();
        }
    }
}

/// Finds out soon that nobody answers.
fn attentive() -> Libp2pConfig {
    let mut config = config();
    config.ping_interval = Duration::from_millis(50);
    config.ping_timeout = Duration::from_millis(200);
    config
}

async fn ends(stream: &mut Stream) {
    let mut rest = Vec::new();
    // An error is as good as an end.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

/// Runs a test over each kind of transport, all at the same time: those that freeze a peer take as long as pings do.
fn over(addresses: &'static [&'static str], test: fn(&'static str)) {
    thread::scope(|scope| {
        for &address in addresses {
            scope.spawn(move || test(address));
        }
    });
}

#[test]
fn a_waiting_reader_learns_of_a_disconnection() {
    over(&[TCP, QUIC, WEBSOCKET], |address| {
        run(async move {
            let (alice, at) = listening(config(), address).await;
            let bob = node();
            echo(&alice);
            bob.dial(at).await.unwrap();
            let mut stream = echoes(&bob, alice.local_peer()).await;
            let disconnect = async { bob.disconnect(alice.local_peer()) };
            futures::join!(ends(&mut stream), disconnect);
        });
    });
}

#[test]
fn a_stream_that_is_opened_while_its_connection_ends_ends_with_it() {
    run(async {
        let (alice, at) = listening(config(), TCP).await;
        let bob = node();
        echo(&alice);
        bob.dial(at).await.unwrap();
        let open = bob.open(alice.local_peer(), ECHO);
        bob.disconnect(alice.local_peer());
        if let Ok(mut stream) = open.await {
            ends(&mut stream).await;
        }
    });
}

#[test]
fn a_waiting_reader_learns_that_the_other_end_has_frozen() {
    over(&[TCP, QUIC, WEBSOCKET], |address| {
        run(async move {
            let alice = Freezer::start(address);
            let peer = alice.peer;
            let bob = start(attentive());
            bob.dial(alice.address.clone()).await.unwrap();
            let mut stream = echoes(&bob, peer).await;
            let mut events = bob.events();
            let thaw = alice.freeze();
            ends(&mut stream).await;
            until(&mut events, |event| *event == Event::Disconnected { peer }).await;
            thaw();
        });
    });
}

#[test]
fn a_connection_to_a_frozen_peer_ends_although_it_takes_no_more_bytes() {
    over(&[TCP, WEBSOCKET], |address| {
        run(async move {
            let alice = Freezer::start(address);
            let peer = alice.peer;
            let bob = start(attentive());
            bob.dial(alice.address.clone()).await.unwrap();
            // Each stream has a window of its own; together they fill every buffer on the way.
            let mut streams = Vec::new();
            for _ in 0..64 {
                streams.push(echoes(&bob, peer).await);
            }
            let mut events = bob.events();
            let thaw = alice.freeze();
            let chunk = vec![0; 256 * 1024];
            let writes = streams.iter_mut().map(|stream| async {
                while stream.write_all(&chunk).await.is_ok() && stream.flush().await.is_ok() {}
            });
            futures::future::join_all(writes).await;
            until(&mut events, |event| *event == Event::Disconnected { peer }).await;
            thaw();
        });
    });
}
