//! What is stored here on its way, and how many bytes that is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

/// Counts the bytes of all items that a node stores.
#[derive(Clone, Debug)]
pub(super) struct Store {
    used: Arc<AtomicUsize>,
    bound: usize,
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    store: Store,
    bytes: usize,
}

impl Store {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            used: Arc::default(),
            bound,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self) -> Held {
        Held {
            store: self.clone(),
            bytes: 0,
        }
    }
}

impl Held {
    /// Counts more bytes, if they fit.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        if self.store.used() + bytes > self.store.bound {
            return false;
        }
        self.bytes += bytes;
        self.store.used.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    pub(super) fn clear(&mut self) {
        self.store.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

/// An item: a bundle of tasks, or of results.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The submitter's number for the bundle.
    pub(super) bundle: u64,
    /// Hops that it has made.
    pub(super) hops: u32,
    /// Since when it is here.
    pub(super) since: Duration,
    pub(super) data: Bytes,
    /// Counts its bytes. Nothing for what a node has packed itself.
    pub(super) _held: Option<Held>,
}

impl Parcel {
    /// One that was packed here.
    pub(super) fn packed(now: Duration, bundle: u64, data: Bytes) -> Self {
        Self {
            bundle,
            hops: 0,
            since: now,
            data,
            _held: None,
        }
    }
}
