use std::{future::Future, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{
    Event, Events, Identity, Libp2pConfig, Libp2pTransport, Multiaddr, PeerId, Stream, Transport,
};
use peercompute_rt::Runtime;

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const ECHO: &str = "/peercompute-test/echo/1";

/// Runs a test on a runtime of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(LIMIT, test);
}

/// Runs a test that takes its time.
pub(crate) fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(limit, test)
            .await
            .expect("the test hangs");
    });
}

/// The defaults with a fresh identity.
pub(crate) fn config() -> Libp2pConfig {
    Libp2pConfig::new(Identity::generate(&Runtime::tokio()))
}

pub(crate) fn start(config: Libp2pConfig) -> Libp2pTransport {
    Libp2pTransport::start(config, &Runtime::tokio()).unwrap()
}

pub(crate) fn node() -> Libp2pTransport {
    start(config())
}

/// A relay that listens on TCP, and its address.
pub(crate) async fn relay() -> (Libp2pTransport, Multiaddr) {
    let mut config = config();
    config.relay = Some(Default::default());
    listening(config, "/ip4/127.0.0.1/tcp/0").await
}

pub(crate) async fn listening(config: Libp2pConfig, address: &str) -> (Libp2pTransport, Multiaddr) {
    let node = start(config);
    let address = node.listen(address.parse().unwrap()).await.unwrap();
    (node, address)
}

/// The address of whoever holds a reservation at `relay`.
pub(crate) fn circuit(relay: &Multiaddr) -> Multiaddr {
    relay.clone().with(multiaddr::Protocol::P2pCircuit)
}

/// The first event that `wanted` takes.
pub(crate) async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.next().await.expect("the transport is open");
        if wanted(&event) {
            return event;
        }
    }
}

/// Sends back whatever comes on streams of [`ECHO`].
pub(crate) fn echo(node: &Libp2pTransport) {
    let mut incoming = node.accept(ECHO).unwrap();
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await?;
                    stream.flush().await?;
                }
                stream.close().await
            });
        }
    });
}

/// Opens a stream to a peer that echoes and checks that it does.
pub(crate) async fn echoes(node: &Libp2pTransport, peer: PeerId) -> Stream {
    let mut stream = node.open(peer, ECHO).await.unwrap();
    echoes_on(&mut stream).await;
    stream
}

pub(crate) async fn echoes_on(stream: &mut Stream) {
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}
