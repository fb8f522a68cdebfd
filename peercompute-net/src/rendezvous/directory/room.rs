use std::ops::Bound;

use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::RegistrationId;

/// Who is in a room, and what has changed in it, so that each change is kept once for all who have to hear of it.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: SortedMap<PeerId, Member>,
    /// The last change of every member and of those that have left, oldest first.
    log: SortedMap<u64, PeerId>,
    /// When those left whose leaving is in the log, as many as [`forget_leaving`](Self::forget_leaving) leaves.
    pub(super) gone: SortedMap<PeerId, u64>,
    /// Whose word counts of those who list the room: the one who has been there the longest.
    lister: Option<PeerId>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) entry: Entry,
    version: u64,
    /// Nothing has changed since it came.
    fresh: bool,
}

/// What a registration has entered.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) registration: RegistrationId,
    pub(super) presence: v1::Presence,
    pub(super) listing: Option<v1::RoomListing>,
    pub(super) size: usize,
}

impl Room {
    /// How many members it has.
    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    pub(super) fn entry(&self, peer: &PeerId) -> Option<&Entry> {
        Some(&self.members.get(peer)?.entry)
    }

    pub(super) fn registrations(&self) -> impl Iterator<Item = (PeerId, RegistrationId)> {
        let members = self.members.iter();
        members.map(|(peer, member)| (*peer, member.entry.registration))
    }

    /// Enters a change of one member, of which `None` is its leaving, and gives what it had entered before.
    pub(super) fn change(
        &mut self,
        version: u64,
        peer: PeerId,
        present: Option<Entry>,
    ) -> Option<Entry> {
        if let Some(gone) = self.gone.remove(&peer) {
            self.log.remove(&gone);
        }
        let before = match present {
            Some(entry) => {
                let fresh = !self.members.contains_key(&peer);
                let member = Member {
                    entry,
                    version,
                    fresh,
                };
                self.members.insert(peer, member)
            }
            None => {
                self.gone.insert(peer, version);
                self.members.remove(&peer)
            }
        };
        if let Some(before) = &before {
            self.log.remove(&before.version);
        }
        self.log.insert(version, peer);
        Some(before?.entry)
    }

    pub(super) fn is_listed(&self) -> bool {
        self.lister.is_some()
    }

    /// What the one says who lists it.
    pub(super) fn listing(&self) -> Option<&v1::RoomListing> {
        self.members.get(&self.lister?)?.entry.listing.as_ref()
    }

    /// Finds out who lists it now.
    pub(super) fn find_lister(&mut self) {
        let entries = self
            .members
            .iter()
            .map(|(peer, member)| (peer, &member.entry));
        let listers = entries.filter(|(_, entry)| entry.listing.is_some());
        let first = listers.min_by_key(|(_, entry)| entry.registration);
        self.lister = first.map(|(peer, _)| *peer);
    }

    /// The changes after one that somebody has seen, oldest first, and what is to be said about each to `peer`, who came at `joined`.
    pub(super) fn news(
        &self,
        (peer, joined): (PeerId, u64),
        seen: u64,
    ) -> impl Iterator<Item = (u64, Option<v1::Presence>)> {
        let unseen = (Bound::Excluded(seen), Bound::Unbounded);
        self.log.range(unseen).map(move |(version, of)| {
            let presence = match self.members.get(of) {
                _ if *of == peer => None,
                Some(member) => {
                    let mut presence = member.entry.presence.clone();
                    if member.fresh && *version > joined {
                        presence.state = v1::PresenceState::Joined.into();
                    }
                    Some(presence)
                }
                // It had left before.
                None if *version < joined => None,
                None => Some(goodbye(*of)),
            };
            (*version, presence)
        })
    }

    /// Forgets the oldest leaving if there are more than so many, and gives which change it was.
    pub(super) fn forget_leaving(&mut self, most: usize) -> Option<u64> {
        if self.gone.len() <= most {
            return None;
        }
        let mut log = self.log.iter();
        let oldest = log.find(|(_, peer)| self.gone.contains_key(peer));
        let (version, peer) = oldest
            .map(|(version, peer)| (*version, *peer))
            .expect("every leaving is in the log");
        self.log.remove(&version);
        self.gone.remove(&peer);
        Some(version)
    }
}

fn goodbye(peer: PeerId) -> v1::Presence {
    v1::Presence {
        peer: peer.to_bytes().into(),
        state: v1::PresenceState::Left.into(),
        ..v1::Presence::default()
    }
}
