use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use libp2p::relay;

use super::RelayLimits;
use crate::{PeerId, toolkit::lock};

/// What a relay has done since it started, and does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Reservations that hold now.
    pub reservations: u64,
    /// Reservations given so far, renewals not counted.
    pub reservations_accepted: u64,
    /// Reservations renewed so far.
    pub reservations_renewed: u64,
    /// Requests for a reservation that were refused so far.
    pub reservations_denied: u64,
    /// Circuits that are open now.
    pub circuits: u64,
    /// Circuits opened so far.
    pub circuits_accepted: u64,
    /// Requests for a circuit that were refused so far.
    pub circuits_denied: u64,
}

/// Counts what a relay does, and says how many reservations there may be.
///
/// libp2p's own limit on reservations also refuses to renew those that exist once it is reached, which would throw peers off a full relay one by one;
/// this one refuses newcomers only.
#[derive(Clone, Default)]
pub(crate) struct RelayLedger(Arc<Ledger>);

#[derive(Default)]
struct Ledger {
    // One entry for each peer with a reservation: bounded by the limit on them.
    reservations: Mutex<HashMap<PeerId, u64>>,
    accepted: AtomicU64,
    renewed: AtomicU64,
    reservations_denied: AtomicU64,
    circuits: AtomicU64,
    circuits_accepted: AtomicU64,
    circuits_denied: AtomicU64,
    draining: AtomicBool,
}

impl super::Libp2pTransport {
    /// Refuses reservations, their renewals and circuits from now on, as before a shutdown; those that hold go on. Nothing without a relay server.
    pub fn drain_relay(&self) {
        self.ledger.0.draining.store(true, Ordering::Relaxed);
    }
}

impl RelayLedger {
    /// The relay server for these limits.
    pub(crate) fn server(&self, peer: PeerId, limits: &RelayLimits) -> relay::Behaviour {
        let unlimited = |bytes| if bytes == 0 { u64::MAX } else { bytes };
        let longest = std::time::Duration::from_secs(u32::MAX.into());
        let mut config = relay::Config {
            max_reservations: usize::MAX,
            // libp2p lets one more through than it is told.
            max_reservations_per_peer: limits.reservations_per_peer.saturating_sub(1),
            reservation_duration: limits.reservation_duration,
            reservation_rate_limiters: Vec::new(),
            max_circuits: limits.circuits,
            max_circuits_per_peer: limits.circuits_per_peer.saturating_sub(1),
            max_circuit_duration: limits.circuit_duration.min(longest),
            max_circuit_bytes: unlimited(limits.circuit_bytes),
            circuit_src_rate_limiters: Vec::new(),
        };
        if let Some(rate) = std::num::NonZeroU32::new(limits.requests_per_minute) {
            let minute = std::time::Duration::from_secs(60);
            config = config
                .reservation_rate_per_peer(rate, minute)
                .circuit_src_per_peer(rate, minute);
        }
        let total = NewcomersOnly {
            ledger: self.clone(),
            limit: limits.reservations,
        };
        config.reservation_rate_limiters.push(Box::new(total));
        config
            .circuit_src_rate_limiters
            .push(Box::new(UnlessDraining(self.clone())));
        relay::Behaviour::new(peer, config)
    }

    /// Keeps the books. `connections` is how many connections to a peer are up.
    pub(crate) fn record(&self, event: &relay::Event, connections: impl Fn(&PeerId) -> usize) {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let ledger = &*self.0;
        match event {
            relay::Event::ReservationReqAccepted { renewed: true, .. } => {
                count(&ledger.renewed);
            }
            relay::Event::ReservationReqAccepted {
                src_peer_id,
                renewed: false,
            } => {
                count(&ledger.accepted);
                *lock(&ledger.reservations).entry(*src_peer_id).or_default() += 1;
            }
            relay::Event::ReservationReqDenied { .. } => {
                count(&ledger.reservations_denied);
            }
            relay::Event::ReservationTimedOut { src_peer_id } => {
                let left = lock(&ledger.reservations)
                    .get(src_peer_id)
                    .map_or(0, |&held| held - 1);
                self.keep(src_peer_id, left);
            }
            // Comes for every connection that ends, with or without a reservation.
            relay::Event::ReservationClosed { src_peer_id } => {
                let up = u64::try_from(connections(src_peer_id)).unwrap_or(u64::MAX);
                self.keep(src_peer_id, up);
            }
            relay::Event::CircuitReqAccepted { .. } => {
                count(&ledger.circuits_accepted);
                count(&ledger.circuits);
            }
            relay::Event::CircuitReqDenied { .. } => {
                count(&ledger.circuits_denied);
            }
            relay::Event::CircuitClosed { .. } => {
                let _ =
                    ledger
                        .circuits
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                            Some(open.saturating_sub(1))
                        });
            }
            _ => {}
        }
    }

    pub(crate) fn stats(&self) -> RelayStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ledger = &*self.0;
        RelayStats {
            reservations: lock(&ledger.reservations).values().sum(),
            reservations_accepted: read(&ledger.accepted),
            reservations_renewed: read(&ledger.renewed),
            reservations_denied: read(&ledger.reservations_denied),
            circuits: read(&ledger.circuits),
            circuits_accepted: read(&ledger.circuits_accepted),
            circuits_denied: read(&ledger.circuits_denied),
        }
    }

    fn keep(&self, peer: &PeerId, at_most: u64) {
        let mut reservations = lock(&self.0.reservations);
        if let Some(held) = reservations.get_mut(peer) {
            *held = (*held).min(at_most);
            if *held == 0 {
                reservations.remove(peer);
            }
        }
    }
}

struct NewcomersOnly {
    ledger: RelayLedger,
    limit: usize,
}

impl relay::RateLimiter for NewcomersOnly {
    fn try_next(&mut self, peer: PeerId, _: &crate::Multiaddr, _: std::time::Instant) -> bool {
        if self.ledger.0.draining.load(Ordering::Relaxed) {
            return false;
        }
        let reservations = lock(&self.ledger.0.reservations);
        reservations.contains_key(&peer) || reservations.len() < self.limit
    }
}

struct UnlessDraining(RelayLedger);

impl relay::RateLimiter for UnlessDraining {
    fn try_next(&mut self, _: PeerId, _: &crate::Multiaddr, _: std::time::Instant) -> bool {
        !self.0.0.draining.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::relay::RateLimiter as _;

    use super::*;

    fn accepted(peer: PeerId, renewed: bool) -> relay::Event {
        relay::Event::ReservationReqAccepted {
            src_peer_id: peer,
            renewed,
        }
    }

    fn may_reserve(ledger: &RelayLedger, limit: usize, peer: PeerId) -> bool {
        let mut newcomers = NewcomersOnly {
            ledger: ledger.clone(),
            limit,
        };
        newcomers.try_next(peer, &crate::Multiaddr::empty(), std::time::Instant::now())
    }

    #[test]
    fn a_full_relay_renews_and_refuses_newcomers_until_somebody_leaves() {
        let (ledger, alice, bob) = (RelayLedger::default(), PeerId::random(), PeerId::random());
        ledger.record(&accepted(alice, false), |_| 1);
        assert!(may_reserve(&ledger, 1, alice));
        assert!(!may_reserve(&ledger, 1, bob));
        ledger.record(&accepted(alice, true), |_| 1);
        assert_eq!(ledger.stats().reservations, 1);
        assert_eq!(ledger.stats().reservations_renewed, 1);
        ledger.record(
            &relay::Event::ReservationClosed { src_peer_id: alice },
            |_| 0,
        );
        assert!(may_reserve(&ledger, 1, bob));
    }

    #[test]
    fn the_end_of_a_connection_without_a_reservation_counts_for_nothing() {
        let (ledger, alice, bob) = (RelayLedger::default(), PeerId::random(), PeerId::random());
        ledger.record(&accepted(alice, false), |_| 2);
        ledger.record(
            &relay::Event::ReservationClosed { src_peer_id: alice },
            |_| 1,
        );
        ledger.record(&relay::Event::ReservationClosed { src_peer_id: bob }, |_| 0);
        assert_eq!(ledger.stats().reservations, 1);
    }

    #[test]
    fn a_reservation_that_runs_out_is_counted_off_once() {
        let (ledger, alice) = (RelayLedger::default(), PeerId::random());
        ledger.record(&accepted(alice, false), |_| 1);
        for _ in 0..2 {
            ledger.record(
                &relay::Event::ReservationTimedOut { src_peer_id: alice },
                |_| 1,
            );
        }
        assert_eq!(ledger.stats().reservations, 0);
    }

    #[test]
    fn circuits_are_counted_on_and_off() {
        let (ledger, src_peer_id, dst_peer_id) =
            (RelayLedger::default(), PeerId::random(), PeerId::random());
        ledger.record(
            &relay::Event::CircuitReqAccepted {
                src_peer_id,
                dst_peer_id,
            },
            |_| 1,
        );
        assert_eq!(ledger.stats().circuits, 1);
        for _ in 0..2 {
            let closed = relay::Event::CircuitClosed {
                src_peer_id,
                dst_peer_id,
                error: None,
            };
            ledger.record(&closed, |_| 1);
        }
        assert_eq!(
            (ledger.stats().circuits, ledger.stats().circuits_accepted),
            (0, 1)
        );
    }
}
