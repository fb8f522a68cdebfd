use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use peercompute_proto::v1;

use crate::lru::Lru;

/// How many bytes of programs a [`ProgramStore`] keeps unless it is told otherwise.
pub const STORE_BYTES: u64 = 256 << 20;

/// What a program that nobody but its bytes names is called: their BLAKE3 hash. As text it is lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramHash([u8; 32]);

impl ProgramHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// The hash that a message names, none if it has not 32 bytes.
    pub fn from_slice(hash: &[u8]) -> Option<Self> {
        hash.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The WebAssembly module of this hash and length, as a job names it.
    pub fn wasm(&self, size: u64) -> v1::Program {
        let wasm = v1::WasmProgram {
            hash: Bytes::copy_from_slice(&self.0),
            size,
        };
        v1::Program {
            program: Some(v1::program::Program::Wasm(wasm)),
        }
    }
}

impl From<[u8; 32]> for ProgramHash {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for ProgramHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProgramHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgramHash({self})")
    }
}

/// The bytes of programs by their hash, in memory: where executors find modules and shaders, and where a node puts those that it was given or has fetched.
///
/// Clones share what is in it. It holds so many bytes and no more: what was used longest ago goes, and whoever needs it again fetches it again.
#[derive(Clone)]
pub struct ProgramStore(Arc<Mutex<Lru<ProgramHash, Bytes>>>);

impl ProgramStore {
    /// An empty store of [`STORE_BYTES`].
    pub fn new() -> Self {
        Self::with_bound(STORE_BYTES)
    }

    /// An empty store of at most so many bytes.
    pub fn with_bound(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Lru::new(bytes))))
    }

    /// Keeps a copy of a program and tells what it is called. What was used longest ago goes where room is needed; a program longer than the whole store is not kept.
    pub fn insert(&self, program: Bytes) -> ProgramHash {
        let hash = ProgramHash::of(&program);
        let mut programs = self.lock();
        if programs.touch(&hash).is_none() {
            // A copy, because these bytes may be a part of something longer, which would be kept and not be counted.
            let copy = Bytes::copy_from_slice(&program);
            programs.insert(hash, copy, program.len() as u64);
        }
        hash
    }

    /// The bytes of a program, which counts as a use; none if they are not here (any more).
    pub fn bytes(&self, hash: &ProgramHash) -> Option<Bytes> {
        self.lock().touch(hash).cloned()
    }

    /// Lets go of a program.
    pub fn remove(&self, hash: &ProgramHash) {
        self.lock().remove(hash);
    }

    /// How many programs it has.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they have together.
    pub fn size(&self) -> u64 {
        self.lock().weight()
    }

    fn lock(&self) -> MutexGuard<'_, Lru<ProgramHash, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ProgramStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProgramStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramStore")
            .field("programs", &self.len())
            .field("bytes", &self.size())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_hash_in_every_clone() {
        let store = ProgramStore::new();
        let hash = store.clone().insert(Bytes::from_static(b"abc"));
        assert_eq!(
            hash.to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(store.bytes(&hash), Some(Bytes::from_static(b"abc")));
        assert_eq!(ProgramHash::from_slice(hash.as_bytes()), Some(hash));
        assert_eq!(ProgramHash::from_slice(&[0; 31]), None);
    }

    #[test]
    fn what_was_used_longest_ago_goes_where_room_is_needed() {
        let store = ProgramStore::with_bound(8);
        let [a, b] = [b"aaaa", b"bbbb"].map(|bytes| store.insert(Bytes::from_static(bytes)));
        assert!(store.bytes(&a).is_some());
        let c = store.insert(Bytes::from_static(b"cc"));
        assert_eq!(store.bytes(&b), None);
        assert!(store.bytes(&a).is_some() && store.bytes(&c).is_some());
        assert_eq!((store.len(), store.size()), (2, 6));
    }

    #[test]
    fn a_program_longer_than_the_store_is_not_kept_and_drives_nothing_out() {
        let store = ProgramStore::with_bound(8);
        let small = store.insert(Bytes::from_static(b"small"));
        let long = store.insert(Bytes::from_static(b"much too long"));
        assert_eq!(store.bytes(&long), None);
        assert!(store.bytes(&small).is_some());
    }
}
