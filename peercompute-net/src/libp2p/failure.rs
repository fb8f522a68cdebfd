use std::{convert::Infallible, error::Error, io};

use libp2p::{
    TransportError,
    multiaddr::Protocol,
    noise,
    swarm::{self, ConnectionDenied, StreamUpgradeError},
};
use thiserror::Error;

use super::gate::TurnedAway;
#[cfg(not(target_arch = "wasm32"))]
use super::transports::named::NameFailure;
use crate::{DialError, ListenError, Multiaddr, OpenError, PeerId};

/// Why a transport does not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The identity cannot be used for encryption.
    #[error("the identity cannot secure connections: {reason}; generate another one")]
    Security {
        /// What is wrong.
        reason: String,
    },
    /// The certificate for secure WebSocket cannot be used.
    #[error(
        "the TLS certificate cannot be used: {reason}; give a certificate chain and its private key, both in DER form"
    )]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// The limits of publish/subscribe contradict each other.
    #[error("publish/subscribe cannot be set up: {reason}; use the default limits")]
    Gossip {
        /// What is wrong.
        reason: String,
    },
}

/// What became of a dial, in the application's terms.
pub(crate) fn dial_error(address: &Multiaddr, error: &swarm::DialError) -> DialError {
    let address = address.clone();
    match error {
        swarm::DialError::LocalPeerId { .. } => DialError::SelfDial { address },
        swarm::DialError::WrongPeerId { obtained, .. } => match peer_of(&address) {
            Some(expected) => DialError::WrongPeer {
                address,
                expected,
                found: *obtained,
            },
            None => DialError::Handshake {
                address,
                reason: "it changes its key".into(),
            },
        },
        swarm::DialError::Denied { cause } => denied(address, cause),
        swarm::DialError::Transport(tried) => match tried.first() {
            Some((_, error)) => transport_error(address, error),
            None => DialError::Unreachable {
                address,
                reason: "there is nothing to try".into(),
            },
        },
        swarm::DialError::NoAddresses => DialError::Unsupported {
            address,
            reason: "it names no place".into(),
        },
        swarm::DialError::DialPeerConditionFalse(_) | swarm::DialError::Aborted => {
            DialError::Unreachable {
                address,
                reason: "the dial was given up".into(),
            }
        }
    }
}

fn denied(address: Multiaddr, cause: &ConnectionDenied) -> DialError {
    match cause.downcast_ref::<TurnedAway>() {
        Some(TurnedAway::TooMany { limit, .. }) => DialError::TooMany {
            address,
            limit: *limit,
        },
        Some(TurnedAway::NotAllowed) => DialError::Refused {
            address,
            reason: "this node does not allow the peer".into(),
        },
        None => DialError::Refused {
            address,
            reason: cause.to_string(),
        },
    }
}

fn transport_error(address: Multiaddr, error: &TransportError<io::Error>) -> DialError {
    let error = match error {
        TransportError::MultiaddrNotSupported(_) => {
            let reason = "this node has no transport for such addresses".into();
            return DialError::Unsupported { address, reason };
        }
        TransportError::Other(error) => error,
    };
    #[cfg(not(target_arch = "wasm32"))]
    if let Some(failure) = find::<NameFailure>(error) {
        let reason = failure.to_string();
        return match failure {
            NameFailure::Unsupported(_) => DialError::Unsupported { address, reason },
            NameFailure::Unknown(_) => DialError::Unreachable { address, reason },
        };
    }
    let reason = describe(error);
    let relayed = is_circuit(&address);
    match kind(error) {
        Some(io::ErrorKind::TimedOut) => DialError::TimedOut { address },
        // Whoever closes in the middle of the handshake has too many connections already, or does not want this one.
        Some(
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe,
        ) if !relayed => DialError::Refused { address, reason },
        Some(io::ErrorKind::InvalidData) | None if !relayed => {
            DialError::Handshake { address, reason }
        }
        Some(_) | None => DialError::Unreachable { address, reason },
    }
}

/// Why nobody can be reached at an address, in the application's terms.
pub(crate) fn listen_error(address: Multiaddr, error: &TransportError<io::Error>) -> ListenError {
    match error {
        TransportError::MultiaddrNotSupported(_) => ListenError::Unsupported {
            address,
            reason: "this node has no transport for such addresses".into(),
        },
        TransportError::Other(error) => listener_failure(address, error),
    }
}

/// Why a listener ended before it was up.
pub(crate) fn listener_failure(address: Multiaddr, error: &io::Error) -> ListenError {
    let reason = describe(error);
    if is_circuit(&address) {
        return match kind(error) {
            Some(io::ErrorKind::TimedOut) => ListenError::TimedOut { address },
            _ => ListenError::RelayRefused { address, reason },
        };
    }
    match kind(error) {
        Some(io::ErrorKind::AddrInUse) => ListenError::AddressInUse { address },
        _ => ListenError::System { address, reason },
    }
}

/// Why a stream was not opened, in the application's terms.
pub(crate) fn open_error(
    peer: PeerId,
    protocol: &str,
    error: StreamUpgradeError<Infallible>,
) -> OpenError {
    let protocol = protocol.to_owned();
    match error {
        StreamUpgradeError::NegotiationFailed => OpenError::Unsupported { peer, protocol },
        StreamUpgradeError::Timeout => OpenError::TimedOut { peer, protocol },
        StreamUpgradeError::Io(error) => OpenError::Failed {
            peer,
            protocol,
            reason: describe(&error),
        },
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// The peer at the end of `address`, if it names one.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

/// Whether `address` leads through a relay.
pub(crate) fn is_circuit(address: &Multiaddr) -> bool {
    address
        .iter()
        .any(|protocol| protocol == Protocol::P2pCircuit)
}

/// The relay that a circuit address leads through.
pub(crate) fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let mut relay = None;
    for protocol in address {
        match protocol {
            Protocol::P2p(peer) => relay = Some(peer),
            Protocol::P2pCircuit => return relay,
            _ => {}
        }
    }
    None
}

/// The kind of the system's error at the bottom of `error`, under however many layers of libp2p's.
fn kind(error: &io::Error) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|cause| {
            // Noise's error stands for the one that it is made of, and leaves it out of the causes.
            match cause.downcast_ref::<noise::Error>() {
                Some(noise::Error::Io(error)) => Some(error),
                _ => cause.downcast_ref::<io::Error>(),
            }
        })
        .map(io::Error::kind)
        .filter(|kind| *kind != io::ErrorKind::Other)
        .last()
}

#[cfg(not(target_arch = "wasm32"))]
fn find<T: Error + 'static>(error: &io::Error) -> Option<&T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What `error` says, and below it each cause that says more: most of libp2p's layers only repeat the one below.
fn describe(error: &io::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    text
}

/// `error` and all that caused it.
fn causes(error: &io::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&cause| {
        match cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            // An error made of another one names the causes of that one as its own, and leaves the one itself out.
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => cause.source(),
        }
    })
}
