use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p::{core::transport::ListenerId, multiaddr::Protocol};

use super::failure::{is_circuit, relay_of};
use crate::{ListenError, Multiaddr, PeerId};

/// Who waits for a listener to come up.
pub(crate) type ListenReply = oneshot::Sender<Result<Multiaddr, ListenError>>;

/// The listeners of this end, and the addresses that they have. At most [`MAX_LISTENERS`](crate::MAX_LISTENERS).
pub(crate) struct Listeners {
    local: PeerId,
    // In the order in which they were asked for: ids count up.
    listeners: std::collections::BTreeMap<u64, Listener>,
    numbers: HashMap<ListenerId, u64>,
    next: u64,
}

struct Listener {
    requested: Multiaddr,
    /// With the local peer at the end, best first.
    addresses: Vec<Multiaddr>,
    waiting: Vec<ListenReply>,
}

impl Listeners {
    pub(crate) fn new(local: PeerId) -> Self {
        let (listeners, numbers) = Default::default();
        Self {
            local,
            listeners,
            numbers,
            next: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Joins the reservation at the same relay, if there is one. Gives `reply` back if there is none.
    pub(crate) fn join(&mut self, address: &Multiaddr, reply: ListenReply) -> Option<ListenReply> {
        // libp2p holds one reservation for each connection to a relay; a second one would end the first.
        let relay = relay_of(address);
        let same = |listener: &&mut Listener| relay_of(&listener.requested) == relay;
        let Some(listener) = relay.and_then(|_| self.listeners.values_mut().find(same)) else {
            return Some(reply);
        };
        match listener.addresses.first() {
            Some(address) => drop(reply.send(Ok(address.clone()))),
            None => {
                listener.waiting.retain(|reply| !reply.is_canceled());
                listener.waiting.push(reply);
            }
        }
        None
    }

    /// A listener has been asked for.
    pub(crate) fn started(&mut self, id: ListenerId, requested: Multiaddr, reply: ListenReply) {
        let listener = Listener {
            requested,
            addresses: Vec::new(),
            waiting: vec![reply],
        };
        self.listeners.insert(self.next, listener);
        self.numbers.insert(id, self.next);
        self.next += 1;
    }

    /// A listener has an address. Gives the addresses to announce.
    pub(crate) fn handle_address(&mut self, id: ListenerId, address: Multiaddr) -> Vec<Multiaddr> {
        let local = self.local;
        let Some(listener) = self.find(id) else {
            return Vec::new();
        };
        let mut new = Vec::new();
        // The way that led to the relay is known to work; the relay's own idea of its addresses comes after it.
        if is_circuit(&listener.requested) && listener.addresses.is_empty() {
            new.push(full(listener.requested.clone(), local));
        }
        let address = full(address, local);
        if !new.contains(&address) && !listener.addresses.contains(&address) {
            new.push(address);
        }
        listener.addresses.extend(new.iter().cloned());
        // A stable sort: among equals the order of arrival stays.
        if !is_circuit(&listener.requested) {
            listener.addresses.sort_by_key(is_loopback);
        }
        new
    }

    /// A listener has lost an address. Gives what to announce.
    pub(crate) fn handle_expired(&mut self, id: ListenerId, address: Multiaddr) -> Vec<Multiaddr> {
        let address = full(address, self.local);
        let Some(listener) = self.find(id) else {
            return Vec::new();
        };
        let before = listener.addresses.len();
        listener.addresses.retain(|known| *known != address);
        if listener.addresses.len() < before {
            vec![address]
        } else {
            Vec::new()
        }
    }

    /// A listener has ended. Gives the addresses that are gone; those who still wait for it get `error`.
    pub(crate) fn handle_closed(
        &mut self,
        id: ListenerId,
        error: impl Fn(Multiaddr) -> ListenError,
    ) -> Vec<Multiaddr> {
        let Some(listener) = self
            .numbers
            .remove(&id)
            .and_then(|number| self.listeners.remove(&number))
        else {
            return Vec::new();
        };
        for reply in listener.waiting {
            // Nobody may wait any more.
            let _ = reply.send(Err(error(listener.requested.clone())));
        }
        listener.addresses
    }

    /// Answers those whose listener has come up. Called when the swarm has nothing more to say, so that a listener on all interfaces is answered with the
    /// best of its addresses.
    pub(crate) fn answer(&mut self) {
        for listener in self.listeners.values_mut() {
            if let Some(best) = listener.addresses.first() {
                for reply in listener.waiting.drain(..) {
                    let _ = reply.send(Ok(best.clone()));
                }
            }
        }
    }

    /// Every address, those of sockets before those of reservations.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<_> = self
            .listeners
            .values()
            .flat_map(|listener| listener.addresses.clone())
            .collect();
        addresses.sort_by_key(|address| (is_circuit(address), is_loopback(address)));
        addresses
    }

    /// Ends the waiting.
    pub(crate) fn close(&mut self) {
        for listener in self.listeners.values_mut() {
            for reply in listener.waiting.drain(..) {
                let _ = reply.send(Err(ListenError::Closed));
            }
        }
    }

    fn find(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(self.numbers.get(&id)?)
    }
}

/// `address` with `peer` at its end.
pub(crate) fn full(address: Multiaddr, peer: PeerId) -> Multiaddr {
    match address.iter().last() {
        Some(Protocol::P2p(end)) if end == peer => address,
        _ => address.with(Protocol::P2p(peer)),
    }
}

/// Whether only this machine can reach `address`.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
