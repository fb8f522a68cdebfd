use std::collections::BTreeMap;

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use peercompute_proto::{DecodeError, check, limits, v1};
use thiserror::Error;

/// Who a peer of a room is, where it can be dialled and what it can do, as it says itself.
///
/// Of what others send, the peer id and the form of the addresses have been checked; the capabilities and the metadata are claims.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Presence {
    /// The peer.
    pub peer: PeerId,
    /// Full addresses, each ending in `/p2p/<peer>`, best first, 16 at most.
    pub addresses: Vec<Multiaddr>,
    /// What its machine can do; all zero where it did not say.
    pub capabilities: v1::Capabilities,
    /// The application's own: 32 entries at most, keys of at most 64 and values of at most 256 bytes.
    pub metadata: BTreeMap<String, String>,
    /// In a private room, on its way through a relay: capabilities and metadata for those who know the password. Empty elsewhere.
    pub sealed: Bytes,
}

impl Presence {
    /// A peer without addresses, capabilities or metadata.
    pub fn new(peer: PeerId) -> Self {
        Self {
            peer,
            addresses: Vec::new(),
            capabilities: v1::Capabilities::default(),
            metadata: BTreeMap::new(),
            sealed: Bytes::new(),
        }
    }

    /// The message. Of too many addresses the best 16 are in it, and of those the ones that fit.
    pub fn to_wire(&self, state: v1::PresenceState) -> v1::Presence {
        let addresses = self.addresses.iter().map(Multiaddr::to_string);
        v1::Presence {
            peer: Bytes::from(self.peer.to_bytes()),
            state: state.into(),
            addresses: addresses
                .filter(|address| address.len() <= limits::MAX_ADDRESS)
                .take(limits::MAX_ADDRESSES)
                .collect(),
            capabilities: Some(self.capabilities),
            metadata: self.metadata.clone(),
            sealed: self.sealed.clone(),
        }
    }

    /// Looks whether others will accept the metadata.
    ///
    /// # Errors
    ///
    /// What the receiver of the message would say.
    pub fn check(&self) -> Result<(), DecodeError> {
        check(&self.to_wire(v1::PresenceState::Alive))
    }
}

impl TryFrom<v1::Presence> for Presence {
    type Error = PresenceError;

    fn try_from(wire: v1::Presence) -> Result<Self, PresenceError> {
        let peer = peer_of(&wire)?;
        let addresses = wire
            .addresses
            .iter()
            .map(|address| vet_address(peer, address))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            peer,
            addresses,
            capabilities: wire.capabilities.unwrap_or_default(),
            metadata: wire.metadata,
            // Not the whole buffer that it came in.
            sealed: Bytes::copy_from_slice(&wire.sealed),
        })
    }
}

/// The peer that a presence is about.
pub(crate) fn peer_of(wire: &v1::Presence) -> Result<PeerId, PresenceError> {
    PeerId::from_bytes(&wire.peer).map_err(|_| PresenceError::Peer)
}

fn vet_address(peer: PeerId, text: &str) -> Result<Multiaddr, PresenceError> {
    let address: Multiaddr = text.parse().map_err(|_| PresenceError::Address {
        address: text.to_owned(),
    })?;
    match address.iter().last() {
        Some(Protocol::P2p(named)) if named == peer => Ok(address),
        _ => Err(PresenceError::AddressOfAnother { address, peer }),
    }
}

/// What is wrong with a presence that somebody sent. The sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The peer id is none.
    #[error("the presence names no valid peer id")]
    Peer,
    /// The presence is about another peer than the one that sent it.
    #[error("{sender} sent the presence of {named}; a peer may only speak for itself")]
    PeerOfAnother {
        /// Who sent it.
        sender: PeerId,
        /// Whom it names.
        named: PeerId,
    },
    /// An address is no multiaddress.
    #[error("{address:?} is no multiaddress")]
    Address {
        /// What was sent.
        address: String,
    },
    /// An address does not end in the peer's own id.
    #[error("{address} does not end in /p2p/{peer}")]
    AddressOfAnother {
        /// The address.
        address: Multiaddr,
        /// The peer it should end in.
        peer: PeerId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence() -> Presence {
        let peer = PeerId::random();
        let mut presence = Presence::new(peer);
        presence.addresses = vec![
            format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}")
                .parse()
                .unwrap(),
        ];
        presence.capabilities.workers = 3;
        presence.metadata.insert("name".into(), "left shelf".into());
        presence
    }

    #[test]
    fn a_presence_survives_the_way_over_the_wire() {
        let sent = presence();
        let received = Presence::try_from(sent.to_wire(v1::PresenceState::Joined));
        assert_eq!(received, Ok(sent));
    }

    #[test]
    fn addresses_of_another_peer_and_such_as_are_none_are_refused() {
        let mut wire = presence().to_wire(v1::PresenceState::Joined);
        wire.addresses = vec!["not an address".into()];
        assert!(matches!(
            Presence::try_from(wire.clone()),
            Err(PresenceError::Address { .. })
        ));
        for address in [
            format!("/ip4/127.0.0.1/tcp/1/p2p/{}", PeerId::random()),
            "/ip4/127.0.0.1/tcp/1".into(),
        ] {
            wire.addresses = vec![address];
            assert!(matches!(
                Presence::try_from(wire.clone()),
                Err(PresenceError::AddressOfAnother { .. })
            ));
        }
    }

    #[test]
    fn more_addresses_than_others_accept_are_cut_to_the_best() {
        let mut presence = presence();
        let best = presence.addresses[0].clone();
        presence.addresses = vec![best.clone(); 40];
        assert_eq!(presence.check(), Ok(()));
        let wire = presence.to_wire(v1::PresenceState::Alive);
        assert_eq!(
            wire.addresses,
            vec![best.to_string(); limits::MAX_ADDRESSES]
        );
    }

    #[test]
    fn metadata_that_others_would_refuse_is_found_before_it_is_sent() {
        let mut presence = presence();
        presence.metadata.insert("k".repeat(65), String::new());
        assert!(presence.check().is_err());
    }
}
