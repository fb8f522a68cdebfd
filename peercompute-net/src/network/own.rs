use std::{
    future::poll_fn,
    mem,
    sync::Mutex,
    task::{Poll, Waker},
};

use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::membership::SourceId;
use crate::{Presence, toolkit::lock};

/// What this node says about itself and its room, and who tells others of it.
pub(super) struct Own(Mutex<State>);

struct State {
    presence: Presence,
    listing: Option<v1::RoomListing>,
    version: u64,
    /// Of those who tell others about it, one for each source.
    wakers: SortedMap<SourceId, Waker>,
}

impl Own {
    pub(super) fn new(presence: Presence, listing: Option<v1::RoomListing>) -> Self {
        Self(Mutex::new(State {
            presence,
            listing,
            version: 1,
            wakers: SortedMap::new(),
        }))
    }

    pub(super) fn presence(&self) -> Presence {
        lock(&self.0).presence.clone()
    }

    /// All of it, and which version of it that is.
    pub(super) fn latest(&self) -> (Presence, Option<v1::RoomListing>, u64) {
        let own = lock(&self.0);
        (own.presence.clone(), own.listing.clone(), own.version)
    }

    /// Waits until there is another version.
    pub(super) async fn changed_after(&self, who: SourceId, version: u64) {
        poll_fn(|cx| {
            let mut own = lock(&self.0);
            if own.version != version {
                return Poll::Ready(());
            }
            own.wakers.insert(who, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn change_presence(&self, change: impl FnOnce(&mut Presence)) {
        self.change(|own| {
            let before = own.presence.clone();
            change(&mut own.presence);
            own.presence != before
        });
    }

    pub(super) fn change_listing(&self, listing: Option<v1::RoomListing>) {
        self.change(|own| mem::replace(&mut own.listing, listing.clone()) != listing);
    }

    /// Has others told the same once more.
    pub(super) fn repeat(&self) {
        self.change(|_| true);
    }

    /// Tells others of it if `change` says that something has changed.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let wakers = {
            let mut own = lock(&self.0);
            if !change(&mut own) {
                return;
            }
            own.version += 1;
            mem::take(&mut own.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }
}
