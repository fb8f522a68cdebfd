use super::{source::REFUSED_RETRY, *};
use multiaddr::Protocol;

/// How a relay makes this node reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reservation {
    /// Not asked for yet.
    None,
    /// This transport or this relay has none to give.
    Impossible,
    Asked {
        asked: Multiaddr,
        failures: u32,
    },
    Up {
        asked: Multiaddr,
        at: Multiaddr,
    },
    /// Asked for again at that time.
    Waiting {
        asked: Multiaddr,
        until: Duration,
        failures: u32,
    },
}

impl Membership {
    /// What came of an [`Action::Reserve`].
    pub(crate) fn reservation(
        &mut self,
        now: Duration,
        id: SourceId,
        result: Result<Multiaddr, ListenError>,
    ) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        let Reservation::Asked { asked, failures } = &source.reservation else {
            return;
        };
        let (asked, failures) = (asked.clone(), *failures);
        match result {
            Ok(at) => source.reservation = Reservation::Up { asked, at },
            Err(error) => self.reservation_failed(now, id, asked, failures, error),
        }
    }

    /// Where relays make this node reachable.
    pub(super) fn reservations(&self) -> Vec<Multiaddr> {
        let reservations = self
            .sources
            .values()
            .filter_map(|source| match &source.reservation {
                Reservation::Up { at, .. } => Some(at.clone()),
                _ => None,
            });
        reservations.collect()
    }

    /// A listener has ended; perhaps it was a reservation.
    pub(crate) fn listener_closed(&mut self, now: Duration, address: &Multiaddr) {
        let lost = self
            .sources
            .iter()
            .find_map(|(id, source)| match &source.reservation {
                Reservation::Up { asked, at } if at == address => Some((*id, asked.clone())),
                _ => None,
            });
        if let Some((id, asked)) = lost {
            let reason = "it has ended the one that was given".to_owned();
            let error = ListenError::RelayRefused {
                address: address.clone(),
                reason,
            };
            self.reservation_failed(now, id, asked, 0, error);
        }
    }

    fn reservation_failed(
        &mut self,
        now: Duration,
        id: SourceId,
        asked: Multiaddr,
        failures: u32,
        error: ListenError,
    ) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        let relay = source.address.clone();
        // Only a relay that can be asked at all is asked again.
        let hopeless = matches!(error, ListenError::Unsupported { .. } | ListenError::Closed);
        let failures = failures.saturating_add(1);
        let until = now
            + self
                .backoff(FIRST_RETRY, LAST_RETRY, failures)
                .max(REFUSED_RETRY);
        if let Some(source) = self.sources.get_mut(&id) {
            source.reservation = if hopeless {
                Reservation::Impossible
            } else {
                Reservation::Waiting {
                    asked,
                    until,
                    failures,
                }
            };
        }
        self.events
            .push_back(NetworkEvent::ReservationFailed { relay, error });
    }
}

/// The address at which a relay that is `peer` makes this node reachable.
pub(super) fn circuit(relay: &Multiaddr, peer: PeerId) -> Multiaddr {
    let mut address: Multiaddr = relay
        .iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect();
    address.push(Protocol::P2p(peer));
    address.push(Protocol::P2pCircuit);
    address
}
