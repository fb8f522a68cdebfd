//! Programs that jobs name by the hash of their bytes: where they are kept, fetched from those who have them, and given to those who ask.

mod answer;
mod fetch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{
    FutureExt as _,
    future::{Shared, WeakShared},
};
use peercompute_compute::{ProgramHash, ProgramStore};
use peercompute_map::SortedMap;
use peercompute_net::{NetworkManager, PeerId};
use peercompute_proto::{
    limits::{MAX_MODULE, MAX_SHADER},
    v1::{StreamBinding, TaskSpec, program::Program},
};
use peercompute_rt::{BoxFuture, Runtime};
use tokio::sync::Semaphore;

pub(crate) use fetch::FetchError;

/// Programs that are fetched at a time; further ones wait.
const MAX_FETCHES: usize = 4;

/// A program that a job names by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) hash: ProgramHash,
    pub(crate) size: u64,
}

impl Wanted {
    /// What a job needs, if its program has to be had before it can run. What is longer than any program may be is nothing to fetch.
    pub(crate) fn of(spec: &TaskSpec) -> Option<Self> {
        let (hash, size, most) = match spec.program.as_ref()?.program.as_ref()? {
            Program::Wasm(wasm) => (&wasm.hash, wasm.size, MAX_MODULE),
            Program::Wgsl(wgsl) => (&wgsl.hash, wgsl.size, MAX_SHADER),
            Program::Builtin(_) | Program::Native(_) => return None,
        };
        let hash = ProgramHash::from_slice(hash)?;
        (size <= most as u64).then_some(Self { hash, size })
    }
}

type Fetch = BoxFuture<'static, Result<(), FetchError>>;

/// The node's programs.
pub(crate) struct Programs {
    runtime: Runtime,
    binding: StreamBinding,
    store: ProgramStore,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    net: Option<Arc<NetworkManager>>,
    /// What is being fetched, for others who want the same. Whoever names another length for it wants something else. Bounded by the jobs that there are.
    fetches: SortedMap<Wanted, WeakShared<Fetch>>,
}

impl Programs {
    pub(crate) fn new(runtime: Runtime, binding: StreamBinding, store: ProgramStore) -> Self {
        Self {
            runtime,
            binding,
            store,
            permits: Semaphore::new(MAX_FETCHES),
            state: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &ProgramStore {
        &self.store
    }

    /// From now on programs can be fetched; not any more with `None`.
    pub(crate) fn set_network(&self, net: Option<Arc<NetworkManager>>) {
        self.state().net = net;
    }

    /// Sees to it that a program is in the store: it is asked of each of these peers in turn, a few times. Cancel safe.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        wanted: Wanted,
        from: Vec<PeerId>,
    ) -> Result<(), FetchError> {
        if self.store.bytes(&wanted.hash).is_some() {
            return Ok(());
        }
        self.shared_fetch(wanted, from).await
    }

    fn shared_fetch(self: &Arc<Self>, wanted: Wanted, from: Vec<PeerId>) -> Shared<Fetch> {
        let mut state = self.state();
        state.fetches.retain(|_, fetch| fetch.upgrade().is_some());
        let running = state.fetches.get(&wanted);
        if let Some(running) = running.and_then(WeakShared::upgrade) {
            return running;
        }
        let fetch: Fetch = Box::pin(fetch::from_any(self.clone(), wanted, from));
        let fetch = fetch.shared();
        if let Some(weak) = fetch.downgrade() {
            state.fetches.insert(wanted, weak);
        }
        fetch
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
