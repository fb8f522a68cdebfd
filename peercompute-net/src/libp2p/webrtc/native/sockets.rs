//! The sockets of one connection: one for each address of this machine that a peer may reach.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use peercompute_proto::limits::MAX_ICE_CANDIDATES;
use tokio::{io::ReadBuf, net::UdpSocket};

use super::super::description::{Candidate, Host};
use super::session::Packet;
use crate::{Multiaddr, multiaddr::Protocol};

/// Sockets of one connection, at most. Half of what a peer takes, so that what others see of them can be told, too.
const MAX_SOCKETS: usize = MAX_ICE_CANDIDATES / 2;

/// The longest packet that is taken, in bytes. WebRTC sends none that are longer than Ethernet's.
const MAX_UDP: usize = 2048;

/// After so many failures a socket is no longer asked.
const MAX_FAILURES: u32 = 64;

/// What the kernel is asked to keep of what comes while nobody reads, in bytes for each socket. It may give less.
const RECEIVE_BUFFER: usize = 1024 * 1024;

pub(super) struct Sockets {
    sockets: Vec<Socket>,
    /// The one that is asked first.
    turn: usize,
    buffer: Box<[u8; MAX_UDP]>,
}

struct Socket {
    socket: UdpSocket,
    address: SocketAddr,
    failures: u32,
}

/// Where a packet was from, the address that it came to, and itself.
pub(super) type Received<'a> = (SocketAddr, SocketAddr, &'a [u8]);

impl Sockets {
    /// Binds a fresh port of each of these addresses.
    ///
    /// # Errors
    ///
    /// When none can be bound.
    pub(super) fn bind(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for ip in addresses.iter().take(MAX_SOCKETS) {
            match Socket::bind(*ip) {
                Ok(socket) => sockets.push(socket),
                Err(error) => failure = error,
            }
        }
        if sockets.is_empty() {
            return Err(failure);
        }
        Ok(Self {
            sockets,
            turn: 0,
            buffer: Box::new([0; MAX_UDP]),
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|it| it.address).collect()
    }

    /// Gives the next packet of any of them, in turns.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received<'_>> {
        let count = self.sockets.len();
        for offset in 0..count {
            let turn = (self.turn + offset) % count;
            let socket = &mut self.sockets[turn];
            while socket.failures < MAX_FAILURES {
                let mut buffer = ReadBuf::new(&mut self.buffer[..]);
                match socket.socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        let size = buffer.filled().len();
                        let to = socket.address;
                        self.turn = turn + 1;
                        return Poll::Ready((from, to, &self.buffer[..size]));
                    }
                    // Some systems tell here that nobody listens where a packet was sent.
                    Poll::Ready(Err(_)) => socket.failures += 1,
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }

    /// Sends a packet. Gives it back when the kernel's buffer is full; what cannot be sent at all is lost, as everything over UDP may be.
    pub(super) fn send(&self, packet: Packet) -> Option<Packet> {
        let sent = self
            .socket_of(&packet)?
            .try_send_to(&packet.data, packet.to);
        let is_full = sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        is_full.then_some(packet)
    }

    /// [Sends](Self::send) a packet as soon as the kernel has a place for it.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, packet: &Packet) -> Poll<()> {
        let Some(socket) = self.socket_of(packet) else {
            return Poll::Ready(());
        };
        let sent = socket.poll_send_to(cx, &packet.data, packet.to);
        sent.map(|_sent_or_lost| ())
    }

    fn socket_of(&self, packet: &Packet) -> Option<&UdpSocket> {
        let socket = self.sockets.iter().find(|it| it.address == packet.from);
        socket.map(|it| &it.socket)
    }
}

impl Socket {
    fn bind(ip: IpAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        // Less is slower, and nothing else.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let address = socket.local_addr()?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            address,
            failures: 0,
        })
    }
}

/// The addresses of this machine's interfaces.
pub(super) fn interfaces() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(|it| it.ip()).collect())
}

/// Those at which a peer may reach this machine. Loopback is for peers on this machine: those that name an address of it themselves, or where there is no other
/// one, and for nodes that listen there only.
pub(super) fn reachable(
    interfaces: &[IpAddr],
    listening: &[Multiaddr],
    peer: &[Candidate],
) -> Vec<IpAddr> {
    let is_loopback = |ip: &IpAddr| ip.is_loopback();
    let listeners: Vec<_> = listening.iter().filter_map(direct_ip).collect();
    let is_shut = !listeners.is_empty() && listeners.iter().all(is_loopback);
    let of_the_network = |ip: &&IpAddr| {
        let is_of_a_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !is_loopback(ip) && !is_of_a_link && !ip.is_unspecified()
    };
    let mut addresses: Vec<IpAddr> = if is_shut {
        Vec::new()
    } else {
        interfaces.iter().filter(of_the_network).copied().collect()
    };
    let is_here = |it: &Candidate| matches!(it.host, Host::Ip(ip) if ip.is_loopback());
    if addresses.is_empty() || peer.iter().any(is_here) {
        // In front: they are few, and the others may be many.
        let loopback = interfaces.iter().copied().filter(is_loopback);
        addresses = loopback.chain(addresses).collect();
    }
    addresses.truncate(MAX_SOCKETS);
    addresses
}

/// Where others see this machine although no interface has that address.
pub(super) fn outside(interfaces: &[IpAddr], external: &[Multiaddr]) -> Vec<IpAddr> {
    let mut outside: Vec<IpAddr> = Vec::new();
    for ip in external.iter().filter_map(direct_ip) {
        if !interfaces.contains(&ip) && !outside.contains(&ip) && !ip.is_loopback() {
            outside.push(ip);
        }
    }
    outside
}

/// The IP address that `address` begins with, if it leads here and not to a relay.
fn direct_ip(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|it| it == Protocol::P2pCircuit) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn candidate(ip: &str) -> Candidate {
        Candidate {
            host: Host::parse(ip).unwrap(),
            port: 1,
            priority: 1,
            is_reflexive: false,
        }
    }

    const MACHINE: [&str; 5] = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1", "fe80::1"];

    #[test]
    fn a_peer_is_told_of_the_addresses_of_the_network_and_not_of_loopback_or_a_link() {
        let found = reachable(&ips(&MACHINE), &[], &[candidate("198.51.100.1")]);
        assert_eq!(found, ips(&["192.0.2.1", "2001:db8::1"]));
    }

    #[test]
    fn loopback_is_for_machines_without_a_network_and_peers_and_nodes_that_are_there_only() {
        let loopback = ips(&["127.0.0.1", "::1"]);
        assert_eq!(reachable(&loopback, &[], &[]), loopback);
        let shut = addresses(&["/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(reachable(&ips(&MACHINE), &shut, &[]), loopback);
        let open = addresses(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1"]);
        assert_eq!(
            reachable(&ips(&MACHINE), &open, &[]),
            ips(&["192.0.2.1", "2001:db8::1"])
        );
        let found = reachable(&ips(&MACHINE), &[], &[candidate("127.0.0.1")]);
        assert_eq!(
            found,
            ips(&["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"])
        );
    }

    #[test]
    fn a_reservation_at_a_relay_on_this_machine_does_not_shut_a_node_in() {
        let reserved = addresses(&[
            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWMxRAxVYX5zpTFSMcyiiuAAVzzFcTfP5uuJy4hmpJYxVQ/p2p-circuit",
        ]);
        assert_eq!(
            reachable(&ips(&MACHINE), &reserved, &[]),
            ips(&["192.0.2.1", "2001:db8::1"])
        );
        assert_eq!(outside(&ips(&MACHINE), &reserved), ips(&[]));
    }

    #[test]
    fn a_machine_with_many_addresses_has_so_many_sockets_and_no_more() {
        let many: Vec<IpAddr> = (0..100u8).map(|it| IpAddr::from([192, 0, 2, it])).collect();
        assert_eq!(reachable(&many, &[], &[]).len(), MAX_SOCKETS);
    }

    #[test]
    fn an_external_address_counts_where_no_interface_has_it() {
        let external = addresses(&[
            "/ip4/203.0.113.9/tcp/1",
            "/ip4/203.0.113.9/udp/2/quic-v1",
            "/ip4/192.0.2.1/tcp/1",
            "/dns/node.example.org/tcp/1",
        ]);
        assert_eq!(outside(&ips(&MACHINE), &external), ips(&["203.0.113.9"]));
    }
}
