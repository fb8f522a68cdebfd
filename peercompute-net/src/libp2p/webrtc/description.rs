//! What one end of a WebRTC connection has to know of the other: read, checked and signed. Pure.

use std::{fmt, net::IpAddr};

use libp2p_identity::PublicKey;
use peercompute_proto::{
    limits::{MAX_ICE_ADDRESS, MAX_ICE_CANDIDATES, MAX_ICE_TEXT},
    v1,
};
use thiserror::Error;

use crate::{Identity, PeerId};

/// What names a session, drawn by whoever offers.
pub(super) type Session = [u8; 16];

/// The shortest texts that ICE allows, in bytes.
const MIN_UFRAG: usize = 4;
const MIN_PASSWORD: usize = 22;

const DOMAIN: &[u8] = b"peercompute/webrtc/1";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Offer,
    Answer,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The SHA-256 of the certificate.
    pub(super) fingerprint: [u8; 32],
    pub(super) candidates: Vec<Candidate>,
}

/// Where that end may be reached over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) priority: u32,
    pub(super) is_reflexive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    /// A name of multicast DNS, which hides a browser's address from pages.
    Local(String),
}

impl Host {
    /// Nothing if `text` is neither an address nor a plain name under `.local`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse() {
            return Some(Self::Ip(ip));
        }
        let name = text.strip_suffix(".local")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_name = !name.is_empty() && text.len() <= MAX_ICE_ADDRESS;
        (is_name && name.bytes().all(is_plain)).then(|| Self::Local(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Local(name) => name.fmt(f),
        }
    }
}

/// Why a description is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidDescription {
    #[error("{field} is not what ICE allows")]
    Ice { field: &'static str },
    #[error("the peer's key cannot be told from its id, so its signature cannot be checked")]
    UnknownKey,
    #[error("the signature is not the peer's")]
    Signature,
    #[error("it answers another offer")]
    Session,
    #[cfg(any(target_arch = "wasm32", test))]
    #[error("the browser's description of itself has no usable {field}")]
    Sdp { field: &'static str },
}

impl Description {
    /// Checks what a peer has sent. Candidates that are none are left out: other kinds may come to be.
    pub(super) fn read(sent: &v1::SessionDescription) -> Result<Self, InvalidDescription> {
        check_ice("ice_ufrag", &sent.ice_ufrag, MIN_UFRAG)?;
        check_ice("ice_pwd", &sent.ice_pwd, MIN_PASSWORD)?;
        let fingerprint =
            <[u8; 32]>::try_from(&*sent.fingerprint).map_err(|_| InvalidDescription::Ice {
                field: "fingerprint",
            })?;
        let candidates = sent.candidates.iter().filter_map(|sent| {
            Some(Candidate {
                host: Host::parse(&sent.address)?,
                port: u16::try_from(sent.port).ok().filter(|port| *port > 0)?,
                priority: sent.priority,
                is_reflexive: sent.is_reflexive,
            })
        });
        Ok(Self {
            ufrag: sent.ice_ufrag.clone(),
            password: sent.ice_pwd.clone(),
            fingerprint,
            candidates: candidates.take(MAX_ICE_CANDIDATES).collect(),
        })
    }

    /// What is sent to `to`, signed.
    pub(super) fn sign(
        self,
        identity: &Identity,
        to: PeerId,
        role: Role,
        session: Session,
    ) -> v1::SessionDescription {
        let candidates = self.candidates.into_iter().take(MAX_ICE_CANDIDATES);
        let mut description = v1::SessionDescription {
            session: session.to_vec().into(),
            ice_ufrag: self.ufrag,
            ice_pwd: self.password,
            fingerprint: self.fingerprint.to_vec().into(),
            candidates: candidates
                .map(|candidate| v1::IceCandidate {
                    address: candidate.host.to_string(),
                    port: candidate.port.into(),
                    priority: candidate.priority,
                    is_reflexive: candidate.is_reflexive,
                })
                .collect(),
            signature: Vec::new().into(),
        };
        let signed = signed_bytes(&description, identity.peer(), to, role);
        let signature = identity.keypair().sign(&signed);
        // Ed25519 signs whatever it is given.
        description.signature = signature.unwrap_or_default().into();
        description
    }
}

/// Whether `description` was signed by `from`, for `to`.
pub(super) fn verify(
    description: &v1::SessionDescription,
    from: PeerId,
    to: PeerId,
    role: Role,
) -> Result<(), InvalidDescription> {
    let key = public_key(from).ok_or(InvalidDescription::UnknownKey)?;
    let signed = signed_bytes(description, from, to, role);
    if key.verify(&signed, &description.signature) {
        Ok(())
    } else {
        Err(InvalidDescription::Signature)
    }
}

/// The key of which an id is made, where it is short enough to be the id itself, as keys of Ed25519 are.
fn public_key(peer: PeerId) -> Option<PublicKey> {
    /// The code of a multihash that is what it hashes.
    const IDENTITY: u8 = 0;
    let id = peer.to_bytes();
    let ([code, length], key) = id.split_first_chunk()?;
    let is_whole = *code == IDENTITY && usize::from(*length) == key.len();
    is_whole.then(|| PublicKey::try_decode_protobuf(key).ok())?
}

fn signed_bytes(
    description: &v1::SessionDescription,
    from: PeerId,
    to: PeerId,
    role: Role,
) -> Vec<u8> {
    let mut bytes = DOMAIN.to_vec();
    bytes.push(match role {
        Role::Offer => 1,
        Role::Answer => 2,
    });
    let parts: [&[u8]; 6] = [
        &description.session,
        &from.to_bytes(),
        &to.to_bytes(),
        description.ice_ufrag.as_bytes(),
        description.ice_pwd.as_bytes(),
        &description.fingerprint,
    ];
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn check_ice(field: &'static str, text: &str, shortest: usize) -> Result<(), InvalidDescription> {
    let is_ice = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    if (shortest..=MAX_ICE_TEXT).contains(&text.len()) && text.bytes().all(is_ice) {
        Ok(())
    } else {
        Err(InvalidDescription::Ice { field })
    }
}

#[cfg(test)]
mod tests;
