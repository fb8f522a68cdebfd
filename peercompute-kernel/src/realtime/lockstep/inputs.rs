//! What a host hears.

use std::time::Duration;

use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::{
    Lockstep, Role, event::LockstepEvent, host::LinkError, link::Place, transfer::Outgoing,
};

impl Lockstep {
    pub(super) fn take_input(
        &mut self,
        now: Duration,
        from: PeerId,
        sequence: u64,
        input: v1::LockstepInput,
    ) {
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        if input.session == 0 || sequence == 0 {
            self.stats.nonsense += 1;
            return;
        }
        let is_collecting = host.is_collecting();
        let link = match host.link(now, from, input.session, sequence) {
            Ok(link) => link,
            Err(LinkError::Crowded) => {
                self.stats.crowded += 1;
                return;
            }
            Err(LinkError::Outdated) => {
                self.stats.outdated += 1;
                return;
            }
        };
        self.gone.remove(&from);
        let (tip, _) = self.history.tip();
        link.sealed = (input.sealed, input.chain);
        link.place = match self.history.chain_at(input.sealed) {
            Some(chain) if chain == input.chain => Place::InStep,
            None if input.sealed > tip && is_collecting => Place::Ahead,
            _ => Place::Astray,
        };
        link.through = input.through;
        if link.place == Place::InStep {
            link.look_at_lag(tip - input.sealed);
            let lag = u32::try_from(tip - input.sealed).unwrap_or(u32::MAX);
            link.lag.note(now, lag, self.rate);
        } else {
            // It may give earlier ones back when it goes on from a snapshot.
            link.clear_queue();
        }
        let sealed = self.roster.number_of(from, link.session);
        link.forget_through(sealed);
        let is_in_step = link.place == Place::InStep;
        for command in input.commands.into_iter().filter(|_| is_in_step) {
            if !link.queue(sealed, command) {
                self.stats.nonsense += 1;
            }
        }
        link.wants_snapshot = input.wants_snapshot;
        if let Some(transfer) = &mut link.transfer
            && input.snapshot_tick == transfer.offer.tick
            && transfer.acknowledge(now, input.snapshot_chunks, input.snapshot_later)
        {
            link.end_transfer();
        }
        self.compare(from, input.hashes_from, &input.hashes);
        self.begin_transfers(now);
    }

    /// Takes in ticks that the predecessor has sealed, from one who has them.
    pub(super) fn collect(&mut self, from: PeerId, seal: v1::LockstepSeal) {
        let is_asked = match &self.role {
            Role::Hosting(host) => host.is_collecting() && host.links.contains_key(&from),
            _ => false,
        };
        if !is_asked || self.history.chain_at(seal.base) != Some(seal.chain) {
            return;
        }
        for tick in seal.ticks {
            if tick.tick > self.history.tip().0 && !self.append(super::tick::detached(tick)) {
                break;
            }
        }
        // What the others have may be known by now.
        let history = &self.history;
        if let Role::Hosting(host) = &mut self.role {
            for link in host.links.values_mut() {
                let (sealed, chain) = link.sealed;
                if link.place == Place::Ahead
                    && let Some(known) = history.chain_at(sealed)
                {
                    link.place = if known == chain {
                        Place::InStep
                    } else {
                        Place::Astray
                    };
                }
            }
        }
    }

    /// Gives the offer to those who need it.
    pub(super) fn begin_transfers(&mut self, now: Duration) {
        let Some(offer) = &self.offer else { return };
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        // Ticks after it are needed, too.
        if self.history.chain_at(offer.tick).is_none() {
            return;
        }
        let tip = self.history.tip().0;
        let needy: Vec<PeerId> = host
            .links
            .iter()
            .filter(|(_, link)| {
                link.transfer.is_none() && host.needs_snapshot(link) && link.can_use(offer, tip)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in needy {
            if let Some(link) = host.links.get_mut(&peer) {
                link.transfer = Some(Outgoing::new(now, offer.clone()));
            }
        }
    }

    /// Compares a peer's hashes with this host's own, tick by tick.
    fn compare(&mut self, peer: PeerId, from: u64, hashes: &[u64]) {
        let width = self.config.namespaces.len();
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        let Some(link) = host.links.get_mut(&peer) else {
            return;
        };
        // States after different ticks say nothing.
        let can_compare = link.place == Place::InStep && link.desync.is_none();
        if !can_compare || from == 0 || hashes.is_empty() {
            return;
        }
        // Neither side can compare what one of them does not have any more.
        let first = from.max(self.hashes.first().unwrap_or(0));
        if first > link.compared + 1 && link.compared > 0 {
            self.stats.uncompared += first - link.compared - 1;
        }
        link.compared = link.compared.max(first.saturating_sub(1));
        let mut found = None;
        for (index, theirs) in hashes.chunks_exact(width).enumerate() {
            let tick = from.saturating_add(index as u64);
            if tick <= link.compared {
                continue;
            }
            let Some(own) = self.hashes.of(tick) else {
                break;
            };
            let differs = own.iter().zip(theirs).position(|(one, other)| one != other);
            if let Some(namespace) = differs {
                found = Some((tick, namespace));
                break;
            }
            link.compared = tick;
            self.stats.compared += 1;
        }
        let Some((tick, namespace)) = found else {
            return;
        };
        link.desync = Some(v1::LockstepDesync {
            tick,
            namespace: namespace as u32,
        });
        self.tell(LockstepEvent::Desync {
            peer,
            tick,
            namespace: self.config.namespaces[namespace].clone(),
        });
    }
}
