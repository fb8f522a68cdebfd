use std::{collections::HashMap, hash::Hash, time::Duration};

use peercompute_rt::Instant;

use crate::{Event, Multiaddr, Path, PeerId};

/// Which connections to which peers are up. Pure: the swarm's events go in, what that means for the paths to the peers comes out.
///
/// `Id` names a connection. The number of entries is bounded by the limits on connections.
#[derive(Debug)]
pub(crate) struct Connections<Id> {
    peers: HashMap<PeerId, Vec<Connection<Id>>>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection<Id> {
    pub(crate) id: Id,
    pub(crate) path: Path,
    /// Where the other end is, as far as this one sees.
    pub(crate) address: Multiaddr,
    /// Whether this end dialled.
    pub(crate) outbound: bool,
    pub(crate) since: Instant,
    /// The round trip that the last answered ping took. `None` until the connection has proven that it carries traffic both ways.
    pub(crate) rtt: Option<Duration>,
}

impl<Id> Connection<Id> {
    pub(crate) fn new(
        id: Id,
        path: Path,
        address: Multiaddr,
        outbound: bool,
        since: Instant,
    ) -> Self {
        Self {
            id,
            path,
            address,
            outbound,
            since,
            rtt: None,
        }
    }
}

impl<Id> Default for Connections<Id> {
    fn default() -> Self {
        Self {
            peers: HashMap::new(),
        }
    }
}

impl<Id: Copy + Eq + Hash> Connections<Id> {
    /// A connection is up. Gives the event for the application, if it makes a difference there.
    pub(crate) fn handle_opened(
        &mut self,
        peer: PeerId,
        connection: Connection<Id>,
    ) -> Option<Event> {
        let before = self.path(&peer);
        let path = connection.path;
        self.peers.entry(peer).or_default().push(connection);
        match before {
            None => Some(Event::Connected { peer, path }),
            Some(before) if path < before => Some(Event::PathChanged { peer, path }),
            Some(_) => None,
        }
    }

    /// A connection has ended.
    pub(crate) fn handle_closed(&mut self, peer: PeerId, id: Id) -> Option<Event> {
        let before = self.path(&peer)?;
        let connections = self.peers.get_mut(&peer)?;
        connections.retain(|connection| connection.id != id);
        if connections.is_empty() {
            self.peers.remove(&peer);
        }
        match self.path(&peer) {
            None => Some(Event::Disconnected { peer }),
            Some(path) if path != before => Some(Event::PathChanged { peer, path }),
            Some(_) => None,
        }
    }

    /// All connections to `peer` have ended.
    pub(crate) fn forget(&mut self, peer: PeerId) -> Option<Event> {
        self.peers
            .remove(&peer)
            .map(|_| Event::Disconnected { peer })
    }

    /// A ping was answered. Gives the relayed connections that this makes superfluous: a direct one has carried traffic both ways.
    pub(crate) fn handle_pong(&mut self, peer: PeerId, id: Id, rtt: Duration) -> Vec<Id> {
        let Some(connection) = self.find(peer, id) else {
            return Vec::new();
        };
        connection.rtt = Some(rtt);
        if connection.path != Path::Direct {
            return Vec::new();
        }
        let relayed = |connection: &&Connection<Id>| connection.path == Path::Relayed;
        self.of(&peer)
            .iter()
            .filter(relayed)
            .map(|connection| connection.id)
            .collect()
    }

    /// The connection that streams to `peer` are opened on: the oldest of those with the best path.
    pub(crate) fn best(&self, peer: &PeerId) -> Option<&Connection<Id>> {
        // `min_by_key` gives the first of equals, and connections are kept in the order in which they came up.
        self.of(peer)
            .iter()
            .min_by_key(|connection| connection.path)
    }

    /// The best path to `peer`.
    pub(crate) fn path(&self, peer: &PeerId) -> Option<Path> {
        self.best(peer).map(|connection| connection.path)
    }

    /// Every connection to `peer`, oldest first.
    pub(crate) fn of(&self, peer: &PeerId) -> &[Connection<Id>] {
        self.peers.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Every connected peer.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// Every connected peer with the best path to it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (PeerId, Path)> {
        self.peers()
            .filter_map(|peer| Some((peer, self.path(&peer)?)))
    }

    /// Every connection.
    pub(crate) fn all(&self) -> impl Iterator<Item = (PeerId, &Connection<Id>)> {
        self.peers.iter().flat_map(|(peer, connections)| {
            connections
                .iter()
                .map(move |connection| (*peer, connection))
        })
    }

    fn find(&mut self, peer: PeerId, id: Id) -> Option<&mut Connection<Id>> {
        self.peers
            .get_mut(&peer)?
            .iter_mut()
            .find(|connection| connection.id == id)
    }
}

#[cfg(test)]
mod tests;
