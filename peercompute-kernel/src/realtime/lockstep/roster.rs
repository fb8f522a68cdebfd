use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::{
    limits::{MAX_LOCKSTEP_ROSTER, MAX_LOCKSTEP_SEATS},
    v1,
};

use super::tick::SealedTick;

/// Who takes part after a tick. It follows from the ticks alone, so it is the same on every peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    seats: SortedMap<u32, Seat>,
    by_peer: SortedMap<PeerId, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) peer: PeerId,
    pub(crate) session: u64,
    /// The highest number of its commands that is sealed.
    pub(crate) number: u64,
    pub(crate) is_absent: bool,
}

impl Roster {
    /// Reads the roster of a snapshot. `None` if it makes no sense.
    pub(crate) fn read(seats: &[v1::LockstepSeat]) -> Option<Self> {
        let mut roster = Self::default();
        for entry in seats {
            let seat = Seat::read(entry)?;
            let fits = (entry.seat as usize) < MAX_LOCKSTEP_ROSTER;
            if !fits || roster.seats.insert(entry.seat, seat).is_some() {
                return None;
            }
            if roster.by_peer.insert(seat.peer, entry.seat).is_some() {
                return None;
            }
        }
        Some(roster)
    }

    pub(crate) fn write(&self) -> Vec<v1::LockstepSeat> {
        let seats = self.seats.iter();
        seats.map(|(number, seat)| seat.write(*number)).collect()
    }

    pub(crate) fn seat_of(&self, peer: PeerId) -> Option<(u32, &Seat)> {
        let number = *self.by_peer.get(&peer)?;
        self.seats.get(&number).map(|seat| (number, seat))
    }

    /// The peer's commands up to this number are sealed, in this life of it.
    pub(crate) fn number_of(&self, peer: PeerId, session: u64) -> u64 {
        self.seat_of(peer)
            .filter(|(_, seat)| seat.session == session)
            .map_or(0, |(_, seat)| seat.number)
    }

    /// Those who take part, by rising seat.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, &Seat)> {
        self.seats
            .iter()
            .map(|(number, seat)| (*number, seat))
            .filter(|(_, seat)| !seat.is_absent)
    }

    /// The entry of a tick by which a peer comes in; `None` where all seats are taken.
    pub(crate) fn seat_for(&self, peer: PeerId, session: u64) -> Option<v1::LockstepSeat> {
        let known = self.seat_of(peer);
        let number = match known {
            Some((number, _)) => number,
            None if self.present().count() >= MAX_LOCKSTEP_SEATS => return None,
            None => {
                let limit = MAX_LOCKSTEP_ROSTER as u32;
                let free = (0..limit).find(|number| !self.seats.contains_key(number));
                let absent = || self.seats.iter().find(|(_, seat)| seat.is_absent);
                free.or_else(|| absent().map(|(number, _)| *number))?
            }
        };
        let seat = Seat {
            peer,
            session,
            number: self.number_of(peer, session),
            is_absent: false,
        };
        Some(seat.write(number))
    }

    /// Advances by a tick and says what it is to the application. `None`, and nothing is changed, if the tick makes no sense here.
    pub(crate) fn apply(&mut self, tick: &v1::LockstepTick) -> Option<SealedTick> {
        let mut next = self.clone();
        let sealed = next.advance(tick)?;
        *self = next;
        Some(sealed)
    }

    fn advance(&mut self, tick: &v1::LockstepTick) -> Option<SealedTick> {
        let mut sealed = SealedTick {
            tick: tick.tick,
            ..SealedTick::default()
        };
        for entry in &tick.joined {
            let seat = Seat::read(entry).filter(|seat| !seat.is_absent)?;
            if entry.seat as usize >= MAX_LOCKSTEP_ROSTER {
                return None;
            }
            if let Some(before) = self.seats.insert(entry.seat, seat)
                && before.peer != seat.peer
            {
                if !before.is_absent {
                    return None;
                }
                self.by_peer.remove(&before.peer);
            }
            if let Some(before) = self.by_peer.insert(seat.peer, entry.seat)
                && before != entry.seat
            {
                return None;
            }
            sealed.joined.push(seat.peer);
        }
        for number in &tick.left {
            let seat = self.seats.get_mut(number).filter(|seat| !seat.is_absent)?;
            seat.is_absent = true;
            sealed.left.push(seat.peer);
        }
        let mut last = None;
        for share in &tick.shares {
            if last.is_some_and(|last| last >= share.seat) {
                return None;
            }
            last = Some(share.seat);
            let seat = self
                .seats
                .get_mut(&share.seat)
                .filter(|seat| !seat.is_absent)?;
            let mut payloads = Vec::with_capacity(share.commands.len());
            for command in &share.commands {
                if command.number <= seat.number {
                    return None;
                }
                seat.number = command.number;
                payloads.push(command.payload.clone());
            }
            sealed.inputs.push((seat.peer, payloads));
        }
        Some(sealed)
    }
}

impl Seat {
    fn read(entry: &v1::LockstepSeat) -> Option<Self> {
        let peer = PeerId::from_bytes(&entry.peer).ok()?;
        (entry.session > 0).then_some(Self {
            peer,
            session: entry.session,
            number: entry.number,
            is_absent: entry.absent,
        })
    }

    fn write(&self, number: u32) -> v1::LockstepSeat {
        v1::LockstepSeat {
            seat: number,
            peer: self.peer.to_bytes().into(),
            session: self.session,
            number: self.number,
            absent: self.is_absent,
        }
    }
}
