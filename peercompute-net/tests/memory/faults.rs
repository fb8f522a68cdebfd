//! The conformance suite finds what is wrong with a transport.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use peercompute_net::{
    Broadcast, DialError, Events, Incoming, ListenError, Messages, Multiaddr, OpenError, Path,
    PeerId, ProtocolTaken, PublishError, Stream, Transport,
    conformance::{self, Harness},
    memory::{MemoryNetwork, MemoryTransport},
    multiaddr::Protocol,
};
use peercompute_rt::{BoxFuture, Runtime, Simulation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Takes whoever answers for the peer that was asked for.
    BelievesAnyPeer,
    HidesItsConnections,
    /// Forgets to say in its address who it is.
    AnonymousAddress,
    CorruptsBytes,
    /// Takes in everything that is written.
    NoBackPressure,
    /// Opens streams of any protocol.
    AcceptsEverything,
    NeverDisconnects,
    StaysOpen,
    PublishesAnySize,
    DeliversToItself,
}

struct Faulty {
    inner: MemoryTransport,
    fault: Fault,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Transport for Faulty {
    fn local_peer(&self) -> PeerId {
        self.inner.local_peer()
    }

    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>> {
        Box::pin(async move {
            let mut address = self.inner.listen(address).await?;
            if self.has(Fault::AnonymousAddress) {
                address.pop();
            }
            Ok(address)
        })
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.inner.listen_addresses()
    }

    fn dial(&self, mut address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>> {
        if self.has(Fault::BelievesAnyPeer)
            && matches!(address.iter().last(), Some(Protocol::P2p(peer)) if peer != self.local_peer())
        {
            address.pop();
        }
        self.inner.dial(address)
    }

    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>> {
        Box::pin(async move {
            match self.inner.open(peer, protocol).await {
                Err(OpenError::Unsupported { .. }) if self.has(Fault::AcceptsEverything) => {
                    Ok(Box::new(futures::io::Cursor::new(Vec::new())) as Stream)
                }
                Ok(stream) => Ok(Box::new(FaultyStream {
                    inner: stream,
                    fault: self.fault,
                    held: Vec::new(),
                    written: 0,
                    closing: false,
                }) as Stream),
                error => error,
            }
        })
    }

    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        self.inner.accept(protocol)
    }

    fn events(&self) -> Events {
        if self.has(Fault::HidesItsConnections) {
            let mut silent = self.inner.events();
            while silent.try_next().is_some() {}
            return silent;
        }
        self.inner.events()
    }

    fn connections(&self) -> Vec<(PeerId, Path)> {
        self.inner.connections()
    }

    fn disconnect(&self, peer: PeerId) {
        if !self.has(Fault::NeverDisconnects) {
            self.inner.disconnect(peer);
        }
    }

    fn broadcast(&self) -> Option<Arc<dyn Broadcast>> {
        let inner = self.inner.broadcast()?;
        Some(Arc::new(FaultyBroadcast {
            inner,
            own: self.local_peer(),
            fault: self.fault,
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !self.has(Fault::StaysOpen) {
                self.inner.close().await;
            }
        })
    }
}

struct FaultyStream {
    inner: Stream,
    fault: Fault,
    /// What was taken in and not handed on.
    held: Vec<u8>,
    written: usize,
    closing: bool,
}

impl FaultyStream {
    fn hand_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            self.held.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.fault == Fault::NoBackPressure {
            self.held.extend_from_slice(bytes);
            if self.held.len() < 1_000_000 {
                let _ = self.hand_on(cx)?;
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let mut bytes = bytes.to_vec();
        if self.fault == Fault::CorruptsBytes && self.written > 100_000 {
            bytes[0] ^= 1;
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.written += count;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.hand_on(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fault == Fault::NoBackPressure && !self.closing {
            self.closing = true;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

struct FaultyBroadcast {
    inner: Arc<dyn Broadcast>,
    own: PeerId,
    fault: Fault,
}

impl Broadcast for FaultyBroadcast {
    fn subscribe(&self, topic: &str) -> Messages {
        if self.fault == Fault::DeliversToItself {
            let (sender, messages) = peercompute_net::message_queue(8);
            sender.send(peercompute_net::BroadcastMessage::new(
                self.own,
                Bytes::new(),
            ));
            return messages.keep((sender, self.inner.subscribe(topic)));
        }
        self.inner.subscribe(topic)
    }

    fn publish(&self, topic: &str, data: Bytes) -> Result<(), PublishError> {
        match self.inner.publish(topic, data) {
            Err(PublishError::TooLarge { .. }) if self.fault == Fault::PublishesAnySize => Ok(()),
            result => result,
        }
    }
}

struct Workshop {
    runtime: Runtime,
    network: MemoryNetwork,
    fault: Fault,
}

impl Harness for Workshop {
    fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    fn transport(&self, name: String) -> BoxFuture<'_, Arc<dyn Transport>> {
        Box::pin(async move {
            let inner = self.network.transport(&name);
            Arc::new(Faulty {
                inner,
                fault: self.fault,
            }) as _
        })
    }

    fn listen_address(&self) -> Multiaddr {
        "/memory/0".parse().unwrap()
    }
}

/// Whether the check of that name finds something wrong.
fn finds(name: &str, fault: Fault) -> bool {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let network = MemoryNetwork::new(runtime.clone(), 1);
    let workshop = Workshop {
        runtime,
        network,
        fault,
    };
    let check = conformance::CHECKS
        .iter()
        .find(|check| check.name() == name)
        .unwrap();
    simulation.run(check.run(&workshop)).unwrap().is_err()
}

#[test]
fn each_fault_is_found_by_the_check_that_is_made_for_it() {
    for (fault, check) in [
        (
            Fault::BelievesAnyPeer,
            "another_peer_than_the_address_names_is_refused",
        ),
        (
            Fault::HidesItsConnections,
            "events_begin_with_the_connections_that_are_there",
        ),
        (
            Fault::AnonymousAddress,
            "an_address_that_was_listened_at_names_the_peer_and_the_port",
        ),
        (Fault::CorruptsBytes, "a_large_transfer_arrives_unchanged"),
        (
            Fault::NoBackPressure,
            "a_writer_waits_for_its_reader_while_other_streams_go_on",
        ),
        (
            Fault::AcceptsEverything,
            "a_protocol_that_nobody_accepts_is_unsupported",
        ),
        (
            Fault::NeverDisconnects,
            "a_disconnect_is_reported_to_both_and_ends_their_streams",
        ),
        (Fault::StaysOpen, "closing_ends_everything"),
        (
            Fault::PublishesAnySize,
            "a_message_as_large_as_allowed_arrives_and_a_larger_one_is_refused",
        ),
        (
            Fault::DeliversToItself,
            "a_message_reaches_those_who_subscribe_to_its_topic_and_nobody_else",
        ),
    ] {
        assert!(finds(check, fault), "{check} does not find {fault:?}");
    }
}
