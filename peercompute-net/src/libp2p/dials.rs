use std::collections::{HashMap, VecDeque};

use futures::channel::oneshot;
use libp2p::swarm::ConnectionId;

use super::failure::{is_circuit, peer_of, relay_of};
use crate::{DialError, ListenError, Multiaddr, Path, PeerId};

/// The most circuits that are being dialled through one relay at the same time; libp2p drops what goes beyond ten. Further ones wait.
const MAX_CIRCUIT_DIALS: usize = 8;

/// The most addresses of one peer that are being tried at the same time. Further ones wait.
const MAX_DIALS_PER_PEER: usize = 3;

/// The most callers that wait for a dial; further ones fail at once.
pub(crate) const MAX_DIALS: usize = 1024;

/// The dials under way and who waits for them.
///
/// A dial of an address that is being dialled already joins that dial. The first address of a peer that answers satisfies all who wait for that peer.
#[derive(Default)]
pub(crate) struct Dials {
    under_way: HashMap<ConnectionId, Attempt>,
    // At most `MAX_DIALS`, together with those who have joined an attempt.
    waiting: VecDeque<Dial>,
}

struct Attempt {
    address: Multiaddr,
    joined: Vec<Dial>,
}

/// One caller's wish.
pub(crate) struct Dial {
    pub(crate) address: Multiaddr,
    pub(crate) then: Then,
}

/// What happens when the peer is connected, or is not.
pub(crate) enum Then {
    /// The caller learns it.
    Tell(oneshot::Sender<Result<PeerId, DialError>>),
    /// The peer is a relay, through which another one is dialled.
    Circuit {
        /// The other one's address.
        address: Multiaddr,
        /// Who wants to reach it.
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    },
    /// The peer is a relay, which is asked for a reservation.
    Reserve {
        /// Its circuit address.
        circuit: Multiaddr,
        /// Who wants to listen there.
        reply: oneshot::Sender<Result<Multiaddr, ListenError>>,
    },
}

impl Dial {
    fn peer(&self) -> Option<PeerId> {
        peer_of(&self.address)
    }

    /// The worst path that satisfies it.
    pub(crate) fn path(&self) -> Path {
        path_of(&self.address)
    }

    fn is_wanted(&self) -> bool {
        match &self.then {
            Then::Tell(reply) | Then::Circuit { reply, .. } => !reply.is_canceled(),
            Then::Reserve { reply, .. } => !reply.is_canceled(),
        }
    }

    /// Ends it without a connection.
    pub(crate) fn fail(self, error: DialError) {
        match self.then {
            // Nobody may wait any more.
            Then::Tell(reply) => drop(reply.send(Err(error))),
            Then::Circuit { address, reply } => {
                let error = match error {
                    DialError::Closed => DialError::Closed,
                    error => DialError::Unreachable {
                        address,
                        reason: error.to_string(),
                    },
                };
                drop(reply.send(Err(error)));
            }
            Then::Reserve {
                circuit: address,
                reply,
            } => {
                let error = match error {
                    DialError::Closed => ListenError::Closed,
                    error => ListenError::RelayUnreachable { address, error },
                };
                drop(reply.send(Err(error)));
            }
        }
    }
}

/// The path that a dial of `address` leads to.
pub(crate) fn path_of(address: &Multiaddr) -> Path {
    if is_circuit(address) {
        Path::Relayed
    } else {
        Path::Direct
    }
}

impl Dials {
    /// Takes a dial, which waits until [`next`](Self::next) gives it.
    pub(crate) fn add(&mut self, dial: Dial) {
        for attempt in self.under_way.values_mut() {
            attempt.joined.retain(Dial::is_wanted);
        }
        let joined: usize = self
            .under_way
            .values()
            .map(|attempt| attempt.joined.len())
            .sum();
        if self.waiting.len() + joined >= MAX_DIALS {
            let address = dial.address.clone();
            dial.fail(DialError::TooMany {
                address,
                limit: MAX_DIALS,
            });
        } else {
            self.waiting.push_back(dial);
        }
    }

    /// The next dial to start, if any. The caller reports it by [`started`](Self::started), or fails it.
    pub(crate) fn next(&mut self) -> Option<Dial> {
        let mut next = None;
        for dial in std::mem::take(&mut self.waiting) {
            let same = |attempt: &&mut Attempt| attempt.address == dial.address;
            if !dial.is_wanted() {
            } else if let Some(attempt) = self.under_way.values_mut().find(same) {
                attempt.joined.push(dial);
            } else if next.is_none() && self.may_start(&dial) {
                next = Some(dial);
            } else {
                self.waiting.push_back(dial);
            }
        }
        next
    }

    fn may_start(&self, dial: &Dial) -> bool {
        let count = |like: &dyn Fn(&Multiaddr) -> bool| {
            self.under_way
                .values()
                .filter(|attempt| like(&attempt.address))
                .count()
        };
        let (peer, path, relay) = (dial.peer(), dial.path(), relay_of(&dial.address));
        let of_peer = |address: &Multiaddr| peer_of(address) == peer && path_of(address) == path;
        let over_relay = |address: &Multiaddr| relay_of(address) == relay;
        (peer.is_none() || count(&of_peer) < MAX_DIALS_PER_PEER)
            && (relay.is_none() || count(&over_relay) < MAX_CIRCUIT_DIALS)
    }

    /// The dial is under way as `connection`.
    pub(crate) fn started(&mut self, connection: ConnectionId, dial: Dial) {
        let attempt = Attempt {
            address: dial.address.clone(),
            joined: vec![dial],
        };
        self.under_way.insert(connection, attempt);
    }

    /// Whether `connection` comes from a dial in which nobody is interested any more, because another address was faster.
    pub(crate) fn is_superfluous(&self, connection: ConnectionId) -> bool {
        self.under_way
            .get(&connection)
            .is_some_and(|attempt| attempt.joined.is_empty())
    }

    /// A connection to `peer` is up. Gives the dials that this satisfies.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        path: Path,
    ) -> Vec<Dial> {
        let mut satisfied = self
            .under_way
            .remove(&connection)
            .map_or_else(Vec::new, |attempt| attempt.joined);
        let satisfies = |dial: &Dial| dial.peer() == Some(peer) && path <= dial.path();
        for attempt in self.under_way.values_mut() {
            satisfied.extend(attempt.joined.extract_if(.., |dial| satisfies(dial)));
        }
        for dial in std::mem::take(&mut self.waiting) {
            if satisfies(&dial) {
                satisfied.push(dial);
            } else {
                self.waiting.push_back(dial);
            }
        }
        satisfied
    }

    /// A dial has failed. Gives those who waited for it.
    pub(crate) fn failed(&mut self, connection: ConnectionId) -> Vec<Dial> {
        self.under_way
            .remove(&connection)
            .map_or_else(Vec::new, |attempt| attempt.joined)
    }

    /// Ends every dial.
    pub(crate) fn close(&mut self) {
        let under_way = self
            .under_way
            .drain()
            .flat_map(|(_, attempt)| attempt.joined);
        for dial in under_way.chain(self.waiting.drain(..)) {
            dial.fail(DialError::Closed);
        }
    }
}

#[cfg(test)]
mod tests;
