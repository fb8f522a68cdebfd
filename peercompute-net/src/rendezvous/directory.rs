use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use libp2p_identity::PeerId;
use peercompute_proto::{Scope, Wire as _, limits, v1};
use prost::Message as _;

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
    rooms: BTreeMap<Scope, Room>,
    registrations: BTreeMap<RegistrationId, Registration>,
    rooms_of: BTreeMap<PeerId, usize>,
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

#[derive(Debug, Default)]
struct Room {
    members: BTreeMap<PeerId, Member>,
    /// The last change of every member and of those that have left, oldest first.
    log: BTreeMap<u64, PeerId>,
    /// When those left whose leaving is in the log: at most [`DirectoryLimits::members_per_room`].
    gone: BTreeMap<PeerId, u64>,
    /// Whose word counts of those who list the room: the one who has been there the longest.
    lister: Option<PeerId>,
}

#[derive(Debug)]
struct Member {
    entry: Entry,
    version: u64,
    /// Nothing has changed since it came.
    fresh: bool,
}

/// What a registration has entered.
#[derive(Debug)]
struct Entry {
    registration: RegistrationId,
    presence: v1::Presence,
    listing: Option<v1::RoomListing>,
    size: usize,
}

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
            rooms: BTreeMap::new(),
            registrations: BTreeMap::new(),
            rooms_of: BTreeMap::new(),
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
        let replaced = room.and_then(|room| room.members.get(&peer));
        let size = size_of(&presence, listing.as_ref());
        let freed = replaced.map_or(0, |member| member.entry.size);
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
            if room.is_some_and(|room| room.members.len() >= self.limits.members_per_room) {
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

        let replaced = replaced.map(|member| member.entry.registration);
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
        let before = self
            .rooms
            .get(&scope)
            .and_then(|room| room.members.get(&peer));
        if self.bytes - before.map_or(0, |member| member.entry.size) + size > self.limits.bytes {
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
        let lister = room.and_then(|room| room.members.get(&room.lister?));
        let listing = lister.and_then(|lister| lister.entry.listing.clone());
        let members = room.map_or(0, |room| room.members.len());
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
        let unseen = (Bound::Excluded(registration.seen), Bound::Unbounded);
        for (version, peer) in room.log.range(unseen) {
            let presence = match room.members.get(peer) {
                _ if *peer == registration.peer => None,
                Some(member) => {
                    let mut presence = member.entry.presence.clone();
                    if member.fresh && *version > registration.joined {
                        presence.state = v1::PresenceState::Joined.into();
                    }
                    Some(presence)
                }
                // It had left before this registration began.
                None if *version < registration.joined => None,
                None => Some(goodbye(*peer)),
            };
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
            registration.seen = *version;
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
        if let Some(gone) = room.gone.remove(&peer) {
            room.log.remove(&gone);
        }
        let left = present.is_none();
        let before = match present {
            Some(entry) => {
                self.bytes += entry.size;
                let fresh = !room.members.contains_key(&peer);
                let member = Member {
                    entry,
                    version,
                    fresh,
                };
                room.members.insert(peer, member)
            }
            None => room.members.remove(&peer),
        };
        if let Some(before) = before {
            self.bytes -= before.entry.size;
            room.log.remove(&before.version);
        }
        room.log.insert(version, peer);
        if left {
            room.gone.insert(peer, version);
        }
        for (other, member) in &room.members {
            if *other != peer {
                self.ready.insert(member.entry.registration);
            }
        }
        self.list(scope);
        let room = self.rooms.get(&scope);
        if room.is_some_and(|room| room.members.is_empty()) {
            self.rooms.remove(&scope);
        }
        version
    }

    /// Finds out who lists the room now.
    fn list(&mut self, scope: Scope) {
        let Some(room) = self.rooms.get_mut(&scope) else {
            return;
        };
        let listers = room.members.iter().filter_map(|(peer, member)| {
            let listing = member.entry.listing.as_ref()?;
            Some((member.entry.registration, *peer, listing))
        });
        let first = listers.min_by_key(|(registration, ..)| *registration);
        let was_listed = room.lister.is_some();
        room.lister = first.map(|(_, peer, _)| peer);
        match first {
            Some((_, _, listing)) if !was_listed => self.listings.insert(&listing.game, scope),
            None if was_listed => self.listings.remove(scope),
            _ => {}
        }
    }

    /// Forgets the oldest leavings beyond the bound, and with each those who have not heard of it: they come again and get the whole list.
    fn trim(&mut self, scope: Scope) {
        loop {
            let Some(room) = self.rooms.get_mut(&scope) else {
                return;
            };
            if room.gone.len() <= self.limits.members_per_room {
                return;
            }
            let oldest = room
                .log
                .iter()
                .find(|(_, peer)| room.gone.contains_key(peer));
            let (version, peer) = oldest
                .map(|(version, peer)| (*version, *peer))
                .expect("every leaving is in the log");
            room.log.remove(&version);
            room.gone.remove(&peer);
            let registrations = &self.registrations;
            let behind: Vec<_> = room
                .members
                .values()
                .map(|member| member.entry.registration)
                .filter(|id| {
                    registrations
                        .get(id)
                        .is_some_and(|registration| registration.knows() < version)
                })
                .collect();
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

fn goodbye(peer: PeerId) -> v1::Presence {
    v1::Presence {
        peer: peer.to_bytes().into(),
        state: v1::PresenceState::Left.into(),
        ..v1::Presence::default()
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
