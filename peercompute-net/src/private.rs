//! Rooms that only those find and understand who know a password. What is on the wire is written down in `private.proto`, for other languages.

mod incoming;
mod sealed_box;
mod stream;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::Bytes;
use libp2p_identity::PeerId;
use peercompute_proto::{Scope, decode, limits, v1};
use peercompute_rt::Runtime;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

pub(crate) use self::sealed_box::OVERHEAD;
use self::stream::{Role, SealedStream};
use crate::{Incoming, OpenError, Presence, Stream};

/// The most bytes that a password may have.
pub const MAX_PASSWORD: usize = 256;

/// What a password costs whoever tries one: Argon2id over 64 MiB, three times.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

const KEY_SIZE: usize = 32;

const SALT: &str = "peercompute private room 1: salt";
const SCOPE: &str = "peercompute private room 1: scope";
const MESSAGES: &str = "peercompute private room 1: messages";
const PRESENCES: &str = "peercompute private room 1: presences";
const TOPICS: &str = "peercompute private room 1: topics";
const STREAMS: &str = "peercompute private room 1: streams";

type Key = Zeroizing<[u8; KEY_SIZE]>;

/// The keys of a private room: known by a game's name and a password, and by nothing else. Those with the same two meet, and nobody else finds, reads or joins them.
///
/// Whoever sees the room's traffic, such as a relay, knows its [scope](Self::scope), the peer ids and addresses of its members, and how much they say when; not the game, the password, or
/// anything that is said. He can try passwords on the scope, at the price of an Argon2id over 64 MiB each, so the password should not be one that is on a list.
///
/// Cheap to clone; clones are the same keys, which are overwritten when the last one is dropped.
#[derive(Clone)]
pub struct PrivateRoom(Arc<Keys>);

struct Keys {
    scope: Scope,
    messages: Key,
    presences: Key,
    topics: Key,
    streams: Key,
}

/// Why there is no [`PrivateRoom`]. What was given is at fault, except for a lack of memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrivateRoomError {
    /// The password is empty.
    #[error("a private room needs a password; an empty one is none")]
    EmptyPassword,
    /// The password is longer than [`MAX_PASSWORD`].
    #[error("the password has {size} bytes; it may have {MAX_PASSWORD} at most")]
    PasswordTooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// The game's name is longer than a name may be.
    #[error(
        "the game's name has {size} bytes; it may have {} at most",
        limits::MAX_NAME
    )]
    GameTooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// There is no memory to compute the key in.
    #[error(
        "the key of a private room takes {MEMORY_KIB} KiB of memory to compute, which are not there; close something and try again"
    )]
    OutOfMemory,
}

impl PrivateRoom {
    /// The room of that password in that game: a name of at most 64 bytes, and 1 to 256 bytes, both as given, without normalisation.
    ///
    /// This computes for a tenth of a second on a desktop and up to about one in a phone's browser, takes 64 MiB meanwhile, and blocks the thread; on an executor that other tasks share, call it on
    /// a thread of its own.
    ///
    /// # Errors
    ///
    /// [`PrivateRoomError`].
    pub fn new(game: &str, password: &str) -> Result<Self, PrivateRoomError> {
        let key = room_key(game, password)?;
        Ok(Self::from_room_key(&key))
    }

    /// The room of 32 random bytes, as an invitation could carry them, in place of a game and a password. At once.
    pub fn from_key(mut key: [u8; KEY_SIZE]) -> Self {
        let room = Self::from_room_key(&key);
        key.zeroize();
        room
    }

    fn from_room_key(key: &[u8; KEY_SIZE]) -> Self {
        let derive = |label| Zeroizing::new(blake3::derive_key(label, key));
        Self(Arc::new(Keys {
            scope: Scope::from(*derive(SCOPE)),
            messages: derive(MESSAGES),
            presences: derive(PRESENCES),
            topics: derive(TOPICS),
            streams: derive(STREAMS),
        }))
    }

    /// What stands for the room where traffic is told apart. Not a secret, and not one that anybody can compute.
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// The topic on which a stream of messages is published. It says nothing to whoever has not the key.
    pub(crate) fn topic(&self, stream: &str) -> String {
        let hash = blake3::keyed_hash(&self.0.topics, stream.as_bytes());
        format!("peercompute/1/{}", hash.to_hex())
    }

    /// What is published in place of `envelope`.
    pub(crate) fn seal_message(
        &self,
        runtime: &Runtime,
        sender: &PeerId,
        stream: &str,
        envelope: &v1::Envelope,
    ) -> Bytes {
        let context = self.context(sender, stream.as_bytes());
        sealed_box::seal(&self.0.messages, nonce(runtime), &context, envelope)
    }

    /// The envelope that `sender` has published. `None` if it does not open: from an outsider, changed, of another stream, or of another sender.
    pub(crate) fn open_message(
        &self,
        sender: &PeerId,
        stream: &str,
        sealed: Bytes,
    ) -> Option<Bytes> {
        let context = self.context(sender, stream.as_bytes());
        sealed_box::open(&self.0.messages, &context, sealed)
    }

    /// The presence as everybody may see it, with what only members may sealed.
    pub(crate) fn seal_presence(&self, runtime: &Runtime, presence: &Presence) -> Presence {
        let private = v1::PrivatePresence {
            capabilities: Some(presence.capabilities),
            metadata: presence.metadata.clone(),
        };
        let context = self.context(&presence.peer, &[]);
        let mut sealed = Presence::new(presence.peer);
        sealed.addresses.clone_from(&presence.addresses);
        sealed.sealed = sealed_box::seal(&self.0.presences, nonce(runtime), &context, &private);
        sealed
    }

    /// The presence as members see it. `None` if it does not open: whoever made it has not the key, or made it for another peer.
    pub(crate) fn open_presence(&self, mut presence: Presence) -> Option<Presence> {
        let context = self.context(&presence.peer, &[]);
        let sealed = std::mem::take(&mut presence.sealed);
        let private = sealed_box::open(&self.0.presences, &context, sealed)?;
        let private: v1::PrivatePresence = decode(private).ok()?;
        presence.capabilities = private.capabilities.unwrap_or_default();
        presence.metadata = private.metadata;
        Some(presence)
    }

    /// Whether a presence that `peer` has sent is that of a member.
    pub(crate) fn admits(&self, peer: &PeerId, presence: Option<&v1::Presence>) -> bool {
        presence.is_some_and(|presence| {
            let context = self.context(peer, &[]);
            let sealed = Bytes::copy_from_slice(&presence.sealed);
            sealed_box::open(&self.0.presences, &context, sealed)
                .is_some_and(|private| decode::<v1::PrivatePresence>(private).is_ok())
        })
    }

    /// Seals a stream that this end has opened.
    pub(crate) async fn opened(
        &self,
        runtime: &Runtime,
        (local, peer): (PeerId, PeerId),
        protocol: &'static str,
        stream: Stream,
    ) -> Result<Stream, OpenError> {
        let mut sealed = self.sealed(runtime, (local, peer), Role::Opener, protocol, stream);
        let greeted = runtime.timeout(stream::HELLO_TIMEOUT, sealed.greet()).await;
        let protocol = protocol.to_owned();
        match greeted {
            Ok(Ok(())) => Ok(Box::new(sealed)),
            Ok(Err(error)) => Err(OpenError::Failed {
                peer,
                protocol,
                reason: error.to_string(),
            }),
            Err(_elapsed) => Err(OpenError::TimedOut { peer, protocol }),
        }
    }

    /// Of the streams that come in, those of members; the others end without a word.
    pub(crate) fn accepted(
        &self,
        runtime: &Runtime,
        local: PeerId,
        protocol: &'static str,
        incoming: Incoming,
    ) -> Incoming {
        let (room, runtime) = (self.clone(), runtime.clone());
        incoming.vetted(move |peer, stream| {
            let sealed = room.sealed(&runtime, (peer, local), Role::Acceptor, protocol, stream);
            incoming::admit(runtime.clone(), peer, sealed)
        })
    }

    fn sealed(
        &self,
        runtime: &Runtime,
        (opener, acceptor): (PeerId, PeerId),
        role: Role,
        protocol: &str,
        stream: Stream,
    ) -> SealedStream<Stream> {
        let mut salt = [0; stream::SALT_SIZE];
        runtime.fill_random(&mut salt);
        let context = stream::Context::new(&opener, &acceptor, protocol);
        SealedStream::new(stream, self.0.streams.clone(), context, role, salt)
    }

    /// What goes with a box and is not in it: the room, whose it is, and what else it is for.
    fn context(&self, peer: &PeerId, what: &[u8]) -> Vec<u8> {
        let mut context = self.0.scope.as_bytes().to_vec();
        push_peer(&mut context, peer);
        context.extend_from_slice(what);
        context
    }
}

impl fmt::Debug for PrivateRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateRoom").field(&self.0.scope).finish()
    }
}

fn room_key(game: &str, password: &str) -> Result<Key, PrivateRoomError> {
    if game.len() > limits::MAX_NAME {
        return Err(PrivateRoomError::GameTooLong { size: game.len() });
    }
    if password.is_empty() {
        return Err(PrivateRoomError::EmptyPassword);
    }
    if password.len() > MAX_PASSWORD {
        let size = password.len();
        return Err(PrivateRoomError::PasswordTooLong { size });
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(KEY_SIZE))
        .expect("the parameters are in Argon2's bounds");
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| PrivateRoomError::OutOfMemory)?;
    memory.resize(params.block_count(), Block::default());
    let salt = blake3::derive_key(SALT, game.as_bytes());
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut *key, &mut memory)
        .expect("the lengths of password, salt and key are in Argon2's bounds");
    memory.zeroize();
    Ok(key)
}

fn nonce(runtime: &Runtime) -> sealed_box::Nonce {
    let mut nonce = sealed_box::Nonce::default();
    runtime.fill_random(&mut nonce);
    nonce
}

/// Appends a peer id behind its length.
fn push_peer(context: &mut Vec<u8>, peer: &PeerId) {
    let id = peer.to_bytes();
    let length = u8::try_from(id.len()).expect("a peer id has at most 64 bytes");
    context.push(length);
    context.extend_from_slice(&id);
}
