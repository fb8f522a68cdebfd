//! Trouble that lasts is told once. Pure.

use std::collections::{BTreeMap, btree_map::Entry};

use peercompute_net::{Multiaddr, NetworkEvent};

/// What is wrong with relays and other nodes, so that it is told once and not with every attempt that ends alike. As many entries as the node was given addresses,
/// at most two for each.
#[derive(Default)]
pub(super) struct Troubles(BTreeMap<(Multiaddr, Trouble), String>);

/// Kinds of trouble with one address, which come and go apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Lost,
    NoReservation,
}

impl Troubles {
    /// Takes note of an event. Says whether it is news.
    pub(super) fn is_news(&mut self, event: &NetworkEvent) -> bool {
        let (address, trouble, reason) = match event {
            NetworkEvent::RelayUp { relay: address } | NetworkEvent::BootstrapUp { address } => {
                self.0.remove(&(address.clone(), Trouble::Lost));
                return true;
            }
            NetworkEvent::RelayLost { relay, reason, .. } => {
                // Without the relay there is no reservation; the next attempt is another one.
                self.0.remove(&(relay.clone(), Trouble::NoReservation));
                (relay, Trouble::Lost, reason.to_string())
            }
            NetworkEvent::BootstrapFailed { address, error, .. } => {
                (address, Trouble::Lost, error.to_string())
            }
            NetworkEvent::ReservationFailed { relay, error } => {
                (relay, Trouble::NoReservation, error.to_string())
            }
            _ => return true,
        };
        match self.0.entry((address.clone(), trouble)) {
            Entry::Occupied(known) if *known.get() == reason => false,
            Entry::Occupied(mut known) => {
                known.insert(reason);
                true
            }
            Entry::Vacant(new) => {
                new.insert(reason);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peercompute_net::RendezvousError;

    use super::*;

    fn relay() -> Multiaddr {
        "/ip4/192.0.2.7/tcp/4001".parse().unwrap()
    }

    fn lost(reason: &str) -> NetworkEvent {
        NetworkEvent::RelayLost {
            relay: relay(),
            reason: RendezvousError::Broken {
                reason: reason.to_owned(),
            },
            retry_in: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_same_trouble_is_news_once() {
        let mut troubles = Troubles::default();
        assert!(troubles.is_news(&lost("frozen")));
        assert!(!troubles.is_news(&lost("frozen")));
        assert!(troubles.is_news(&lost("refused")));
        assert!(!troubles.is_news(&lost("refused")));
    }

    #[test]
    fn trouble_after_better_times_is_news_again() {
        let mut troubles = Troubles::default();
        assert!(troubles.is_news(&lost("frozen")));
        assert!(troubles.is_news(&NetworkEvent::RelayUp { relay: relay() }));
        assert!(troubles.is_news(&lost("frozen")));
    }
}
