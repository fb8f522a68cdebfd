mod room;

use std::{collections::BTreeSet, time::Duration};

use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::{Scope, Wire as _, limits, v1};
use prost::Message as _;

use self::room::{Entry, Room};
use super::{RefusedQuestion, RefusedRegistration, listing::Listings};
use crate::{Presence, PresenceError, allowance::Allowance};

/// Changes of its presence that a peer may make at once; after them one each [`UPDATE_REFILL`].
pub(crate) const UPDATE_BURST: u32 = 32;

/// How long it takes until a peer that has used up its burst may change its presence again.
pub(crate) const UPDATE_REFILL: Duration = Duration::from_secs(1);

/// Bytes of a frame that are left for what is around the members.
const FRAME_OVERHEAD: usize = 1024;

/// The lists of who is in which room: what a rendezvous server knows. A state machine without I/O and without a clock.
///
/// Each stream [registers](Self::register), [updates](Self::update) its presence and is [removed](Self::remove) when it ends. After every call, those of
/// [`poll_ready`](Self::poll_ready) have something to send, which [`poll_transmit`](Self::poll_transmit) gives until it gives `None`. A registration that is no longer
/// [alive](Self::is_alive) has been replaced by a newer one of the same peer, or did not keep up; its stream is to be ended.
///
/// Each change is kept once for the whole room, so a room of n members takes O(n) memory however slowly they read.
#[derive(Debug)]
pub struct Directory {
    limits: DirectoryLimits,
    rooms: SortedMap<Scope, Room>,
    registrations: SortedMap<RegistrationId, Registration>,
    rooms_of: SortedMap<PeerId, usize>,
    /// Counts changes over all rooms.
    version: u64,
    next_id: u64,
    bytes: usize,
    ready: BTreeSet<RegistrationId>,
    listings: Listings,
    draining: bool,
}

/// How much a [`Directory`] holds at most. What exceeds a bound is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryLimits {
    /// Rooms. Default: 4096.
    pub rooms: usize,
    /// Members of one room. Default: 1024.
    pub members_per_room: usize,
    /// Members of all rooms together. Default: 16384.
    pub members: usize,
    /// Rooms that one peer is in. Default: 8.
    pub rooms_per_peer: usize,
    /// Bytes of all presences and listings together, as encoded. Default: 64 MiB.
    pub bytes: usize,
}

impl Default for DirectoryLimits {
    fn default() -> Self {
        Self {
            rooms: 4096,
            members_per_room: 1024,
            members: 16 * 1024,
            rooms_per_peer: 8,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// Names one registration at a [`Directory`], never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(u64);

#[derive(Debug)]
struct Registration {
    peer: PeerId,
    scope: Scope,
    /// The change that the registration itself was: everything before it is the list that it begins with.
    joined: u64,
    /// It has been told of every change up to this one.
    seen: u64,
    complete: bool,
    updates: Allowance,
}

impl Directory {
    /// A directory of empty rooms.
    pub fn new(limits: DirectoryLimits) -> Self {
        Self {
            limits,
            rooms: SortedMap::new(),
            registrations: SortedMap::new(),
            rooms_of: SortedMap::new(),
            version: 0,
            next_id: 0,
            bytes: 0,
            ready: BTreeSet::new(),
            listings: Listings::default(),
            draining: false,
        }
    }

    /// Enters `peer`, which the transport has authenticated, into the room it asks for. An earlier registration of the same peer in the same room is replaced.
    ///
    /// `now` is any clock that does not run backwards, the same at each call.
    ///
    /// # Errors
    ///
    /// [`RefusedRegistration`]; the directory is unchanged then.
    pub fn register(
        &mut self,
        now: Duration,
        peer: PeerId,
        register: v1::RendezvousRegister,
    ) -> Result<RegistrationId, RefusedRegistration> {
        if self.draining {
            return Err(RefusedRegistration::Draining);
        }
        let (scope, presence, listing) = vet(peer, register)?;
        let room = self.rooms.get(&scope);
        let replaced = room.and_then(|room| room.entry(&peer));
        let size = size_of(&presence, listing.as_ref());
        let freed = replaced.map_or(0, |entry| entry.size);
        if self.bytes - freed + size > self.limits.bytes {
            return Err(RefusedRegistration::Full {
                limit: self.limits.bytes,
                what: "bytes",
            });
        }
        if replaced.is_none() {
            if self.registrations.len() >= self.limits.members {
                let limit = self.limits.members;
                return Err(RefusedRegistration::Full {
                    limit,
                    what: "members",
                });
            }
            if room.is_none() && self.rooms.len() >= self.limits.rooms {
                return Err(RefusedRegistration::Full {
                    limit: self.limits.rooms,
                    what: "rooms",
                });
            }
            if room.is_some_and(|room| room.size() >= self.limits.members_per_room) {
                return Err(RefusedRegistration::RoomFull {
                    limit: self.limits.members_per_room,
                });
            }
            if self
                .rooms_of
                .get(&peer)
                .is_some_and(|rooms| *rooms >= self.limits.rooms_per_peer)
            {
                return Err(RefusedRegistration::TooManyRooms {
                    limit: self.limits.rooms_per_peer,
                });
            }
        }

        let replaced = replaced.map(|entry| entry.registration);
        if let Some(old) = replaced {
            self.registrations.remove(&old);
            self.ready.insert(old);
        } else {
            *self.rooms_of.entry(peer).or_default() += 1;
        }
        let id = RegistrationId(self.next_id);
        self.next_id += 1;
        let entry = Entry {
            registration: id,
            presence,
            listing,
            size,
        };
        let joined = self.change(scope, peer, Some(entry));
        self.registrations.insert(
            id,
            Registration {
                peer,
                scope,
                joined,
                seen: 0,
                complete: false,
                updates: Allowance::new(now, UPDATE_BURST, UPDATE_REFILL),
            },
        );
        self.ready.insert(id);
        Ok(id)
    }

    /// Replaces the presence of a registration.
    ///
    /// # Errors
    ///
    /// [`RefusedRegistration`]: the peer breaks the protocol or changes too often, and its stream is to be ended.
    pub fn update(
        &mut self,
        now: Duration,
        id: RegistrationId,
        register: v1::RendezvousRegister,
    ) -> Result<(), RefusedRegistration> {
        let Some(registration) = self.registrations.get_mut(&id) else {
            return Err(RefusedRegistration::Replaced);
        };
        let (peer, scope) = (registration.peer, registration.scope);
        if !registration.updates.take(now) {
            let interval = UPDATE_REFILL;
            return Err(RefusedRegistration::TooOften { interval });
        }
        let (asked, presence, listing) = vet(peer, register)?;
        if asked != scope {
            return Err(RefusedRegistration::OtherRoom);
        }
        self.replace(id, presence, listing)
    }

    /// As [`update`](Self::update), for the server's own presence, which may change as often as it likes.
    pub(crate) fn replace(
        &mut self,
        id: RegistrationId,
        presence: v1::Presence,
        listing: Option<v1::RoomListing>,
    ) -> Result<(), RefusedRegistration> {
        let registration = self
            .registrations
            .get(&id)
            .ok_or(RefusedRegistration::Replaced)?;
        let (peer, scope) = (registration.peer, registration.scope);
        let size = size_of(&presence, listing.as_ref());
        let room = self.rooms.get(&scope);
        let before = room.and_then(|room| room.entry(&peer));
        if self.bytes - before.map_or(0, |entry| entry.size) + size > self.limits.bytes {
            return Err(RefusedRegistration::Full {
                limit: self.limits.bytes,
                what: "bytes",
            });
        }
        let entry = Entry {
            registration: id,
            presence,
            listing,
            size,
        };
        self.change(scope, peer, Some(entry));
        Ok(())
    }

    /// The next rooms of a game that are listed, for anybody, in a room or not.
    ///
    /// # Errors
    ///
    /// [`RefusedQuestion`]: the peer breaks the protocol or asks too often, and its stream is to be ended.
    pub fn rooms(
        &mut self,
        now: Duration,
        asker: PeerId,
        request: &v1::RendezvousRoomsRequest,
    ) -> Result<v1::RendezvousRooms, RefusedQuestion> {
        self.listings.asked(now, asker)?;
        let after = match request.after.as_deref() {
            Some(after) => Some(Scope::try_from(after).map_err(|_| RefusedQuestion::NoScope)?),
            None => None,
        };
        let mut rooms = Vec::new();
        let mut size = FRAME_OVERHEAD;
        for scope in self.listings.after(&request.game, after) {
            let listed = self.listed(scope);
            let length = listed.encoded_len() + 8;
            if rooms.len() == limits::MAX_LISTED_ROOMS
                || size + length > v1::RendezvousFrame::MAX_SIZE
            {
                let complete = false;
                return Ok(v1::RendezvousRooms { rooms, complete });
            }
            size += length;
            rooms.push(listed);
        }
        let complete = true;
        Ok(v1::RendezvousRooms { rooms, complete })
    }

    fn listed(&self, scope: Scope) -> v1::ListedRoom {
        let room = self.rooms.get(&scope);
        let listing = room.and_then(|room| room.listing().cloned());
        let members = room.map_or(0, Room::size);
        v1::ListedRoom {
            listing: Some(listing.expect("a room is in the listings while a member lists it")),
            members: u32::try_from(members).unwrap_or(u32::MAX),
        }
    }

    /// Forgets a registration: its stream has ended. Does nothing if it is gone already.
    pub fn remove(&mut self, id: RegistrationId) {
        self.ready.remove(&id);
        if let Some(scope) = self.take_out(id) {
            self.trim(scope);
        }
    }

    fn take_out(&mut self, id: RegistrationId) -> Option<Scope> {
        let registration = self.registrations.remove(&id)?;
        if let Some(rooms) = self.rooms_of.get_mut(&registration.peer) {
            *rooms -= 1;
            if *rooms == 0 {
                self.rooms_of.remove(&registration.peer);
            }
        }
        self.change(registration.scope, registration.peer, None);
        Some(registration.scope)
    }

    /// Refuses new registrations from now on; those that exist stay.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether the registration still stands. If not, its stream is to be ended.
    pub fn is_alive(&self, id: RegistrationId) -> bool {
        self.registrations.contains_key(&id)
    }

    /// A registration that has something to send, or that no longer stands; each once for every change.
    pub fn poll_ready(&mut self) -> Option<RegistrationId> {
        self.ready.pop_first()
    }

    /// The next frame to send to a registration, `None` when it has been told everything.
    pub fn poll_transmit(&mut self, id: RegistrationId) -> Option<v1::RendezvousMembers> {
        let registration = self.registrations.get_mut(&id)?;
        let room = self
            .rooms
            .get(&registration.scope)
            .expect("a registration's room exists");
        let mut members = Vec::new();
        let mut size = FRAME_OVERHEAD;
        let mut more = false;
        let who = (registration.peer, registration.joined);
        for (version, presence) in room.news(who, registration.seen) {
            if let Some(presence) = presence {
                let length = presence.encoded_len() + 8;
                if members.len() == limits::MAX_MEMBERS
                    || size + length > v1::RendezvousFrame::MAX_SIZE
                {
                    more = true;
                    break;
                }
                size += length;
                members.push(presence);
            }
            registration.seen = version;
        }
        if !more {
            registration.seen = self.version;
        }
        let completes = !registration.complete && registration.seen >= registration.joined;
        registration.complete |= completes;
        if members.is_empty() && !completes {
            return None;
        }
        if more {
            self.ready.insert(id);
        }
        Some(v1::RendezvousMembers {
            members,
            complete: registration.complete,
        })
    }

    /// Rooms with members, and members of all rooms.
    pub fn size(&self) -> (usize, usize) {
        (self.rooms.len(), self.registrations.len())
    }

    /// Rooms that are listed.
    pub fn listed_rooms(&self) -> usize {
        self.listings.len()
    }

    /// Enters a change of one member, of which `None` is its leaving, and marks those who have to hear of it.
    fn change(&mut self, scope: Scope, peer: PeerId, present: Option<Entry>) -> u64 {
        self.version += 1;
        let version = self.version;
        let room = self.rooms.entry(scope).or_default();
        self.bytes += present.as_ref().map_or(0, |entry| entry.size);
        let before = room.change(version, peer, present);
        self.bytes -= before.map_or(0, |entry| entry.size);
        let others = room.registrations().filter(|(other, _)| *other != peer);
        self.ready
            .extend(others.map(|(_, registration)| registration));
        self.list(scope);
        let room = self.rooms.get(&scope);
        if room.is_some_and(|room| room.size() == 0) {
            self.rooms.remove(&scope);
        }
        version
    }

    /// Finds out who lists the room now.
    fn list(&mut self, scope: Scope) {
        let Some(room) = self.rooms.get_mut(&scope) else {
            return;
        };
        let was_listed = room.is_listed();
        room.find_lister();
        match room.listing() {
            Some(listing) if !was_listed => self.listings.insert(&listing.game, scope),
            None if was_listed => self.listings.remove(scope),
            _ => {}
        }
    }

    /// Forgets the oldest leavings beyond the bound, and with each those who have not heard of it: they come again and get the whole list.
    fn trim(&mut self, scope: Scope) {
        while let Some(room) = self.rooms.get_mut(&scope)
            && let Some(version) = room.forget_leaving(self.limits.members_per_room)
        {
            let is_behind = |id: &RegistrationId| {
                let registration = self.registrations.get(id);
                registration.is_some_and(|registration| registration.knows() < version)
            };
            let all = room.registrations().map(|(_, id)| id);
            let behind: Vec<_> = all.filter(is_behind).collect();
            for id in behind {
                self.take_out(id);
                self.ready.insert(id);
            }
        }
    }
}

impl Registration {
    /// It knows of every leaving up to this change.
    fn knows(&self) -> u64 {
        self.seen.max(self.joined)
    }
}

fn size_of(presence: &v1::Presence, listing: Option<&v1::RoomListing>) -> usize {
    presence.encoded_len() + listing.map_or(0, v1::RoomListing::encoded_len)
}

/// Checks what a peer says about itself and its room, and copies it out of the buffer it came in.
fn vet(
    sender: PeerId,
    register: v1::RendezvousRegister,
) -> Result<(Scope, v1::Presence, Option<v1::RoomListing>), RefusedRegistration> {
    let scope = Scope::try_from(&register.scope[..]).map_err(|_| RefusedRegistration::NoScope)?;
    let wire = register.presence.ok_or(RefusedRegistration::NoPresence)?;
    let presence = Presence::try_from(wire)?;
    if presence.peer != sender {
        return Err(PresenceError::PeerOfAnother {
            sender,
            named: presence.peer,
        }
        .into());
    }
    if let Some(listing) = &register.listing
        && Scope::new(&listing.game, &listing.room) != Ok(scope)
    {
        return Err(RefusedRegistration::OtherListing);
    }
    let presence = presence.to_wire(v1::PresenceState::Alive);
    Ok((scope, presence, register.listing))
}

#[cfg(test)]
#[path = "directory/tests.rs"]
mod tests;
