//! `cargo run -p peercompute-examples --example custom_transport`
//!
//! A transport of one's own: plain TCP inside this machine, with a connection of its own for each stream. The program runs the conformance suite over it, and then a room of
//! two nodes.
//!
//! It encrypts nothing and believes whatever peer id it is told. So it is for a network in which everybody trusts everybody, and no example of security: a transport for any
//! other network has to prove the ids that it reports.
#![allow(clippy::print_stdout, reason = "what a program is for")]

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _, StreamExt as _,
    channel::oneshot, future::Shared, stream,
};
use peercompute_net::{
    Acceptor, DialError, Event, EventHub, Events, Incoming, ListenError, MAX_LISTENERS, Multiaddr,
    NetworkConfig, NetworkManager, OpenError, Path, PeerId, ProtocolTaken, Stream, Transport,
    conformance, multiaddr::Protocol,
};
use peercompute_rt::{BoxFuture, Runtime, Task};
use tokio::net::{TcpListener, TcpStream};

/// How long the other end may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that may be in their first words at the same time; further ones wait to be accepted.
const MAX_GREETINGS: usize = 64;

/// The bytes of a peer id or of a protocol's name, at most.
const MAX_NAME: u8 = 128;

/// The answers to a request for a stream.
const YES: u8 = 0;
const UNSUPPORTED: u8 = 1;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::tokio();
    let report = conformance::run(&Loopback(runtime.clone())).await?;
    println!("{report}");

    let mut config = NetworkConfig::in_room("examples", "custom transport")?;
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    let transport = Arc::new(Tcp::start(runtime.clone()).await?);
    let alice = NetworkManager::start(runtime.clone(), transport, config.clone()).await?;
    config.bootstrap = alice.addresses();
    let transport = Arc::new(Tcp::start(runtime.clone()).await?);
    let bob = NetworkManager::start(runtime, transport, config).await?;
    println!(
        "one node found {} other in its room",
        bob.ready().await.joined
    );
    bob.stop().await;
    alice.stop().await;
    Ok(())
}

/// How the conformance suite gets its transports.
struct Loopback(Runtime);

impl conformance::Harness for Loopback {
    fn runtime(&self) -> Runtime {
        self.0.clone()
    }

    fn transport(&self, _name: String) -> BoxFuture<'_, Arc<dyn Transport>> {
        Box::pin(async {
            let tcp = Tcp::start(self.0.clone()).await;
            Arc::new(tcp.expect("this machine has a loopback interface")) as _
        })
    }

    fn listen_address(&self) -> Multiaddr {
        Multiaddr::empty()
            .with(Protocol::Ip4([127, 0, 0, 1].into()))
            .with(Protocol::Tcp(0))
    }
}

/// The transport. Every TCP connection begins with the opener's peer id, the port at which it takes streams, and what it wants: the name of a protocol, or nothing for the
/// connection that stands for all others and lives as long as the two are connected.
struct Tcp(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    id: PeerId,
    /// Where the other end opens streams, whether this one listens for new peers or not.
    port: u16,
    acceptor: Acceptor,
    events: EventHub,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Vec<(Option<Multiaddr>, Task<()>)>,
    peers: BTreeMap<PeerId, Peer>,
    closed: bool,
}

/// A connected peer. All its streams end when this is dropped.
struct Peer {
    port: u16,
    ended: Shared<oneshot::Receiver<()>>,
    _alive: oneshot::Sender<()>,
    /// Each holds a connection; there are two where both have dialled at the same time.
    watchers: Vec<Task<()>>,
}

impl Tcp {
    async fn start(runtime: Runtime) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let inner = Arc::new(Inner {
            runtime,
            id: PeerId::random(),
            port: listener.local_addr()?.port(),
            acceptor: Acceptor::new(),
            events: EventHub::new(),
            state: Mutex::default(),
        });
        inner.serve(listener, None);
        Ok(Self(inner))
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: TcpListener, address: Option<Multiaddr>) {
        let sockets = stream::unfold(listener, |listener| async {
            let (socket, _) = listener.accept().await.ok()?;
            Some((socket, listener))
        });
        // The tasks must not keep alive what keeps them.
        let (inner, runtime) = (Arc::downgrade(self), self.runtime.clone());
        let greet = sockets.for_each_concurrent(MAX_GREETINGS, move |socket| {
            let (inner, runtime) = (inner.clone(), runtime.clone());
            async move {
                let _broken_or_silent = runtime.timeout(PATIENCE, welcome(inner, socket)).await;
            }
        });
        let task = self.runtime.spawn(greet);
        self.state().listeners.push((address, task));
    }

    /// The first words of a connection to the other end.
    async fn greet(&self, port: u16, protocol: &str) -> io::Result<Socket> {
        let mut socket = Socket::new(TcpStream::connect(("127.0.0.1", port)).await?);
        let mut words = Vec::new();
        for name in [&self.id.to_bytes()[..], protocol.as_bytes()] {
            words.push(u8::try_from(name.len()).map_err(io::Error::other)?);
            words.extend_from_slice(name);
        }
        words.extend(self.port.to_be_bytes());
        socket.write_all(&words).await?;
        Ok(socket)
    }

    /// Takes a connection into account that both ends have agreed on, and only then sends the last word of the greeting.
    fn connected(
        self: &Arc<Self>,
        id: PeerId,
        port: u16,
        mut socket: Socket,
        last_word: &'static [u8],
    ) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        let new = !state.peers.contains_key(&id);
        let peer = state.peers.entry(id).or_insert_with(|| {
            let (alive, ended) = oneshot::channel();
            Peer {
                port,
                ended: ended.shared(),
                _alive: alive,
                watchers: Vec::new(),
            }
        });
        let ended = peer.ended.clone();
        let inner = Arc::downgrade(self);
        peer.watchers.push(self.runtime.spawn(async move {
            let _ended_or_broken = socket.write_all(last_word).await;
            // Nothing comes but the end.
            let _ended_or_broken = socket.read(&mut [0]).await;
            if let Some(inner) = inner.upgrade() {
                inner.disconnected(id, Some(&ended));
            }
        }));
        if new {
            self.events.send(Event::Connected {
                peer: id,
                path: Path::Direct,
            });
        }
    }

    /// Ends the connections to a peer, if they are those that `which` belongs to.
    fn disconnected(&self, id: PeerId, which: Option<&Shared<oneshot::Receiver<()>>>) {
        let mut state = self.state();
        let peer = state.peers.get(&id);
        if peer.is_some_and(|peer| which.is_none_or(|which| which.ptr_eq(&peer.ended))) {
            let peer = state.peers.remove(&id);
            self.events.send(Event::Disconnected { peer: id });
            drop(state);
            drop(peer);
        }
    }

    fn close(&self) {
        let (listeners, peers) = {
            let mut state = self.state();
            state.closed = true;
            (
                std::mem::take(&mut state.listeners),
                std::mem::take(&mut state.peers),
            )
        };
        for peer in peers.into_keys() {
            self.events.send(Event::Disconnected { peer });
        }
        for address in listeners.into_iter().filter_map(|(address, _task)| address) {
            self.events.send(Event::ListenerClosed { address });
        }
        self.events.close();
        self.acceptor.close();
    }
}

/// Answers a connection that has come in.
async fn welcome(inner: Weak<Inner>, socket: TcpStream) -> io::Result<()> {
    let mut socket = Socket::new(socket);
    let id = PeerId::from_bytes(&socket.name().await?).map_err(io::Error::other)?;
    let protocol = String::from_utf8(socket.name().await?).map_err(io::Error::other)?;
    let mut port = [0; 2];
    socket.read_exact(&mut port).await?;
    let Some(inner) = inner.upgrade() else {
        return Ok(());
    };
    if protocol.is_empty() {
        let own = inner.id.to_bytes();
        socket
            .write_all(&[&[own.len() as u8], &own[..], &inner.port.to_be_bytes()].concat())
            .await?;
        // The one that dialled may have looked for somebody else.
        socket.read_exact(&mut [0]).await?;
        inner.connected(id, u16::from_be_bytes(port), socket, &[YES]);
        return Ok(());
    }
    let ended = inner.state().peers.get(&id).map(|peer| peer.ended.clone());
    let accepted = ended.is_some() && inner.acceptor.accepts(&protocol);
    socket
        .write_all(&[if accepted { YES } else { UNSUPPORTED }])
        .await?;
    socket.ended = ended;
    if accepted {
        // Where the queue is full after all, the other end sees its stream end at once.
        let _taken_or_refused = inner.acceptor.deliver(&protocol, id, Box::new(socket));
    }
    Ok(())
}

/// The port of `/ip4/127.0.0.1/tcp/<port>`, and the peer id behind it.
fn parse(address: &Multiaddr) -> Option<(u16, Option<PeerId>)> {
    let mut parts = address.iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else {
        return None;
    };
    let peer = match parts.next() {
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
        None => None,
    };
    (ip.is_loopback() && parts.next().is_none()).then_some((port, peer))
}

const KNOWN: &str = "only /ip4/127.0.0.1/tcp/<port> is known, with or without /p2p/<peer>";

impl Transport for Tcp {
    fn local_peer(&self) -> PeerId {
        self.0.id
    }

    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>> {
        Box::pin(async move {
            let Some((port, None)) = parse(&address) else {
                return Err(ListenError::Unsupported {
                    address,
                    reason: KNOWN.into(),
                });
            };
            if self.0.state().closed {
                return Err(ListenError::Closed);
            }
            if self.0.state().listeners.len() > MAX_LISTENERS {
                return Err(ListenError::TooMany {
                    address,
                    limit: MAX_LISTENERS,
                });
            }
            let bound = TcpListener::bind(("127.0.0.1", port)).await;
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
            let (port, listener) = match bound {
                Ok(bound) => bound,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(ListenError::AddressInUse { address });
                }
                Err(error) => {
                    return Err(ListenError::System {
                        address,
                        reason: error.to_string(),
                    });
                }
            };
            let full = Multiaddr::empty()
                .with(Protocol::Ip4([127, 0, 0, 1].into()))
                .with(Protocol::Tcp(port))
                .with(Protocol::P2p(self.0.id));
            self.0.serve(listener, Some(full.clone()));
            self.0.events.send(Event::Listening {
                address: full.clone(),
            });
            Ok(full)
        })
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        let state = self.0.state();
        state
            .listeners
            .iter()
            .filter_map(|(address, _)| address.clone())
            .collect()
    }

    fn dial(&self, address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>> {
        Box::pin(async move {
            let Some((port, expected)) = parse(&address) else {
                return Err(DialError::Unsupported {
                    address,
                    reason: KNOWN.into(),
                });
            };
            let (closed, known) = {
                let state = self.0.state();
                (
                    state.closed,
                    expected.filter(|peer| state.peers.contains_key(peer)),
                )
            };
            match known {
                _ if closed => return Err(DialError::Closed),
                Some(peer) => return Ok(peer),
                None if expected == Some(self.0.id) => return Err(DialError::SelfDial { address }),
                None => {}
            }
            let answer = async {
                let mut socket = self.0.greet(port, "").await?;
                let id = PeerId::from_bytes(&socket.name().await?).map_err(io::Error::other)?;
                let mut port = [0; 2];
                socket.read_exact(&mut port).await?;
                Ok::<_, io::Error>((id, u16::from_be_bytes(port), socket))
            };
            let (found, port, mut socket) = match self.0.runtime.timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    return Err(DialError::Unreachable {
                        address,
                        reason: error.to_string(),
                    });
                }
                Err(_elapsed) => return Err(DialError::TimedOut { address }),
            };
            if found == self.0.id {
                return Err(DialError::SelfDial { address });
            }
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(DialError::WrongPeer {
                    address,
                    expected,
                    found,
                });
            }
            // The other end knows of the connection before the first stream comes.
            let agreed = async {
                socket.write_all(&[YES]).await?;
                socket.read_exact(&mut [0]).await
            };
            match self.0.runtime.timeout(PATIENCE, agreed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return Err(DialError::Unreachable {
                        address,
                        reason: error.to_string(),
                    });
                }
                Err(_elapsed) => return Err(DialError::TimedOut { address }),
            }
            self.0.connected(found, port, socket, &[]);
            Ok(found)
        })
    }

    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>> {
        Box::pin(async move {
            let (closed, known) = {
                let state = self.0.state();
                (
                    state.closed,
                    state
                        .peers
                        .get(&peer)
                        .map(|peer| (peer.port, peer.ended.clone())),
                )
            };
            let (port, ended) = match known {
                _ if closed => return Err(OpenError::Closed),
                Some(known) => known,
                None => return Err(OpenError::NotConnected { peer }),
            };
            let answer = async {
                let mut socket = self.0.greet(port, protocol).await?;
                let mut answer = [0];
                socket.read_exact(&mut answer).await?;
                Ok::<_, io::Error>((answer, socket))
            };
            let protocol = protocol.to_owned();
            match self.0.runtime.timeout(PATIENCE, answer).await {
                Ok(Ok(([YES], mut socket))) => {
                    socket.ended = Some(ended);
                    Ok(Box::new(socket) as Stream)
                }
                Ok(Ok(_)) => Err(OpenError::Unsupported { peer, protocol }),
                Ok(Err(error)) => Err(OpenError::Failed {
                    peer,
                    protocol,
                    reason: error.to_string(),
                }),
                Err(_elapsed) => Err(OpenError::TimedOut { peer, protocol }),
            }
        })
    }

    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        self.0.acceptor.register(protocol)
    }

    fn events(&self) -> Events {
        // Under the lock, so that no change comes in between.
        let state = self.0.state();
        let peers = state.peers.keys();
        self.0.events.subscribe(peers.map(|peer| Event::Connected {
            peer: *peer,
            path: Path::Direct,
        }))
    }

    fn connections(&self) -> Vec<(PeerId, Path)> {
        self.0
            .state()
            .peers
            .keys()
            .map(|peer| (*peer, Path::Direct))
            .collect()
    }

    fn disconnect(&self, peer: PeerId) {
        self.0.disconnected(peer, None);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.0.close() })
    }
}

/// A TCP connection as a stream, which ends with the connection to its peer.
struct Socket {
    tcp: TcpStream,
    ended: Option<Shared<oneshot::Receiver<()>>>,
}

impl Socket {
    fn new(tcp: TcpStream) -> Self {
        Self { tcp, ended: None }
    }

    /// Reads a length and so many bytes.
    async fn name(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0];
        self.read_exact(&mut len).await?;
        if len[0] > MAX_NAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; usize::from(len[0])];
        self.read_exact(&mut name).await?;
        Ok(name)
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let ended = self
            .ended
            .as_mut()
            .is_some_and(|ended| ended.poll_unpin(cx).is_ready());
        if ended {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.tcp), cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.tcp), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.tcp), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.tcp), cx)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_transport_conforms_and_two_nodes_meet_over_it() {
        super::main().expect("the example runs to its end");
    }
}
