#[cfg(not(target_arch = "wasm32"))]
use std::thread::JoinHandle;
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread::Thread,
};

use peercompute_rt::Runtime;

use super::{
    Bound, Full, PoolConfig, PoolStats, SubmitError, Throttle, Work,
    bell::Bell,
    client::Client,
    cooperative::Pump,
    fair::{Excess, FairQueue, FlowKey},
    isolates::Isolates,
    outbox::deliver,
    plan::Plan,
    seat::{Seat, TaskName},
    stats::Counters,
    work::Queued,
};

/// How many workers are woken at a time. Each then wakes as many if there is still something to do, so that all are awake after a logarithmic number of steps and nobody wakes
/// for nothing.
const WAKE_AT_ONCE: usize = 2;

/// The workers, what they have in common, and who gives them work.
///
/// Locks are taken in this order: the state, then a seat. A client's inbox is locked by itself. No foreign code (a program, a waker, a destructor of either) runs under a lock of the
/// state or of a seat.
pub(super) struct Crew {
    pub(super) clock: Runtime,
    pub(super) counters: Counters,
    /// Changes with everything that busy workers have to look at before they begin their next task.
    pub(super) orders: AtomicU64,
    pub(super) mode: Mode,
    config: PoolConfig,
    next_client: AtomicU64,
    state: Mutex<State>,
}

/// Who runs the tasks.
pub(super) enum Mode {
    #[cfg(not(target_arch = "wasm32"))]
    Threads,
    /// Whoever waits for results.
    Cooperative,
    /// Futures, which have them run elsewhere.
    Isolates(Arc<dyn Isolates>),
}

impl Mode {
    const fn is_cooperative(&self) -> bool {
        matches!(self, Self::Cooperative)
    }
}

pub(super) struct State {
    pub(super) queue: FairQueue<Queued>,
    pub(super) plan: Plan,
    pub(super) paused: bool,
    pub(super) stopped: bool,
    pub(super) pump: Pump,
    /// One for each worker, `None` where there is none now.
    pub(super) posts: Vec<Option<Post>>,
    /// The workers that wait. While there are any, nothing is on any shelf.
    pub(super) idle: Vec<usize>,
    /// Threads that are about to end or have ended, at most one for each change of the throttle and post.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) gone: Vec<JoinHandle<()>>,
    throttle: Throttle,
    /// How many tasks were submitted so far.
    submitted: u64,
    clients: Vec<Weak<Client>>,
    stop_wakers: Vec<Waker>,
}

pub(super) struct Post {
    pub(super) seat: Arc<Seat>,
    pub(super) hand: Hand,
}

/// What does a worker's work.
pub(super) enum Hand {
    /// Nothing of its own, in a cooperative pool.
    None,
    #[cfg(not(target_arch = "wasm32"))]
    Thread(JoinHandle<()>),
    /// A future, which looks again when the bell is rung.
    Future(Arc<Bell>),
}

/// What has one of them look again.
pub(super) enum Call {
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "there are no threads")
    )]
    Thread(Thread),
    Bell(Arc<Bell>),
}

impl Hand {
    fn call(&self) -> Option<Call> {
        match self {
            Self::None => None,
            #[cfg(not(target_arch = "wasm32"))]
            Self::Thread(thread) => Some(Call::Thread(thread.thread().clone())),
            Self::Future(bell) => Some(Call::Bell(bell.clone())),
        }
    }
}

impl Crew {
    pub(super) fn new(config: PoolConfig, clock: Runtime, mode: Mode) -> Self {
        let cooperative = Post {
            seat: Arc::default(),
            hand: Hand::None,
        };
        let state = State {
            queue: FairQueue::new(config.queue_tasks, config.queue_bytes),
            plan: Plan::new(config.cores, config.throttle),
            paused: false,
            stopped: false,
            pump: Pump::default(),
            posts: if mode.is_cooperative() {
                vec![Some(cooperative)]
            } else {
                Vec::new()
            },
            idle: Vec::new(),
            #[cfg(not(target_arch = "wasm32"))]
            gone: Vec::new(),
            throttle: config.throttle,
            submitted: 0,
            clients: Vec::new(),
            stop_wakers: Vec::new(),
        };
        Self {
            clock,
            counters: Counters::default(),
            orders: AtomicU64::new(0),
            mode,
            config,
            next_client: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    pub(super) const fn is_cooperative(&self) -> bool {
        self.mode.is_cooperative()
    }

    /// Whether busy workers have to come back, who have seen the orders before.
    pub(super) fn have_changed(&self, seen: u64) -> bool {
        self.orders.load(Ordering::Relaxed) != seen
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client. There are as many as the pool's owner holds.
    pub(super) fn admit(&self) -> Arc<Client> {
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(
            id,
            self.config.client_tasks,
            self.config.client_bytes,
        ));
        let mut state = self.lock();
        state.clients.retain(|client| client.strong_count() > 0);
        state.clients.push(Arc::downgrade(&client));
        let stopped = state.stopped;
        drop(state);
        if stopped {
            client.close();
        }
        client
    }

    pub(super) fn submit(
        &self,
        client: &Arc<Client>,
        batch: &mut Vec<Work>,
    ) -> Result<(), SubmitError> {
        let tasks = batch.len();
        let (mut bytes, mut alike) = (0usize, true);
        for work in batch.iter() {
            bytes = bytes.saturating_add(work.input_len());
            alike &= work.flow() == batch[0].flow();
        }
        client.reserve(tasks, bytes)?;
        let mut state = self.lock();
        if let Err(refused) = self.check_room(&state, tasks, bytes) {
            drop(state);
            client.release(tasks, bytes);
            return Err(refused);
        }
        state.accept(client, batch, alike, &self.clock);
        let woken = state.call_idle();
        drop(state);
        wake(woken);
        if self.is_cooperative() {
            client.wake();
        }
        Ok(())
    }

    fn check_room(&self, state: &State, tasks: usize, bytes: usize) -> Result<(), SubmitError> {
        if state.stopped {
            return Err(SubmitError::Stopped);
        }
        state.queue.check_room(tasks, bytes).map_err(|excess| {
            let full = match excess {
                Excess::Items { room } => {
                    let limit = self.config.queue_tasks;
                    Full {
                        bound: Bound::QueueTasks,
                        asked: tasks,
                        room,
                        limit,
                    }
                }
                Excess::Bytes { room } => {
                    let limit = self.config.queue_bytes;
                    Full {
                        bound: Bound::QueueBytes,
                        asked: bytes,
                        room,
                        limit,
                    }
                }
            };
            full.into()
        })
    }

    /// How many more tasks and bytes may wait.
    pub(super) fn room(&self) -> (usize, usize) {
        self.lock().queue.room()
    }

    /// Cancels the tasks of `client` whose tag `unwanted` picks.
    pub(super) fn cancel(&self, client: u64, mut unwanted: impl FnMut(u64) -> bool) {
        let mut unwanted = |task: TaskName| task.client == client && unwanted(task.tag);
        let mut state = self.lock();
        let mut cancelled = state.queue.remove(client, |task| unwanted(task.name()));
        for post in state.posts.iter().flatten() {
            post.seat.cancel(&mut unwanted, &mut cancelled);
        }
        let bells = state.bells();
        drop(state);
        wake(bells);
        self.answer_cancelled(cancelled);
    }

    pub(super) fn cancel_client(&self, client: u64) {
        self.cancel(client, |_| true);
    }

    /// Takes back what waits of a client, and leaves what runs.
    pub(super) fn recall(&self, client: &Client) -> Vec<Work> {
        let mut state = self.lock();
        let mut recalled = Vec::new();
        for post in state.posts.iter().flatten() {
            post.seat
                .recall(|task| task.client == client.id, &mut recalled);
        }
        recalled.extend(state.queue.remove(client.id, |_| true));
        drop(state);
        recalled.sort_unstable_by_key(|task| task.number);
        let recalled: Vec<_> = recalled.into_iter().map(|task| task.work).collect();
        let bytes = recalled.iter().map(Work::input_len).sum();
        client.release(recalled.len(), bytes);
        recalled
    }

    fn answer_cancelled(&self, tasks: Vec<Queued>) {
        deliver(
            &mut tasks.into_iter().map(Queued::cancelled).collect(),
            &self.counters,
        );
    }

    pub(super) fn set_paused(&self, paused: bool) {
        let mut state = self.lock();
        state.paused = paused;
        self.change_orders();
        if paused {
            for post in state.posts.iter().flatten() {
                post.seat.settle();
            }
        }
        let woken = state.call_idle();
        drop(state);
        wake(woken);
        self.wake_clients();
    }

    pub(super) fn throttle(&self) -> Throttle {
        self.lock().throttle
    }

    /// Changes the plan; hiring is left to the caller.
    pub(super) fn set_throttle(&self, throttle: Throttle) {
        let mut state = self.lock();
        state.throttle = throttle;
        state.plan = Plan::new(self.config.cores, throttle);
        self.change_orders();
        let everybody = state.call_all();
        drop(state);
        wake(everybody);
        self.wake_clients();
    }

    pub(super) fn stop(&self) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        state.stopped = true;
        self.change_orders();
        let mut cancelled = state.queue.clear();
        for post in state.posts.iter().flatten() {
            post.seat.cancel(|_| true, &mut cancelled);
        }
        let everybody = state.call_all();
        let clients = std::mem::take(&mut state.clients);
        drop(state);
        wake(everybody);
        self.answer_cancelled(cancelled);
        for client in clients.iter().filter_map(Weak::upgrade) {
            client.close();
        }
    }

    /// Waits until everybody has left their post.
    pub(super) async fn all_gone(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state
                .posts
                .iter()
                .flatten()
                .all(|post| matches!(post.hand, Hand::None))
            {
                return Poll::Ready(());
            }
            if !state
                .stop_wakers
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.stop_wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits for the threads that have left their posts: for the moment until the operating system says so too.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn join(&self) {
        let gone = std::mem::take(&mut self.lock().gone);
        for thread in gone {
            if thread.join().is_err() {
                tracing::error!("a compute worker had panicked outside of its tasks");
            }
        }
    }

    /// Empties the post of a worker that ends, after what `tally` tells, and has others do what is on its shelf.
    pub(super) fn leave(
        mut state: MutexGuard<'_, State>,
        index: usize,
        tally: super::fair::Tally,
        now: peercompute_rt::Instant,
    ) {
        state.idle.retain(|&idle| idle != index);
        if let Some(post) = state.posts.get_mut(index).and_then(Option::take) {
            state.queue.put_back(post.seat.clear(), now);
            state.queue.settle(index, tally);
            #[cfg(not(target_arch = "wasm32"))]
            if let Hand::Thread(thread) = post.hand {
                state.gone.push(thread);
            }
        }
        let woken = state.call_idle();
        let is_last = state.posts.iter().flatten().next().is_none();
        let wakers = if is_last {
            std::mem::take(&mut state.stop_wakers)
        } else {
            Vec::new()
        };
        drop(state);
        wake(woken);
        for waker in wakers {
            waker.wake();
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let mut stats = PoolStats {
            workers: state.posts.iter().flatten().count(),
            queued: state.queue.len(),
            queued_bytes: state.queue.bytes(),
            paused: state.paused,
            stopped: state.stopped,
            ..self.counters.snapshot()
        };
        if self.is_cooperative() {
            stats.workers = if state.stopped { 0 } else { state.plan.workers };
        }
        for post in state.posts.iter().flatten() {
            let (queued, bytes, running) = post.seat.load();
            stats.queued += queued;
            stats.queued_bytes += bytes;
            stats.running += usize::from(running);
        }
        stats
    }

    /// Has busy workers come back for new orders after the task they are at.
    fn change_orders(&self) {
        self.orders.fetch_add(1, Ordering::Relaxed);
    }

    /// In a cooperative pool, has those look again who do the work.
    pub(super) fn wake_clients(&self) {
        if self.is_cooperative() {
            let clients: Vec<_> = self
                .lock()
                .clients
                .iter()
                .filter_map(Weak::upgrade)
                .collect();
            for client in clients {
                client.wake();
            }
        }
    }
}

impl State {
    /// Puts `batch`, for which there is room, into the queue. `alike` tells whether all of it is of the same group and priority.
    fn accept(
        &mut self,
        client: &Arc<Client>,
        batch: &mut Vec<Work>,
        alike: bool,
        clock: &Runtime,
    ) {
        let mut batch = batch.drain(..);
        while let Some(flow) = batch.as_slice().first().map(Work::flow) {
            let rest = batch.as_slice();
            let count = if alike {
                rest.len()
            } else {
                let same = rest.iter().take_while(|work| work.flow() == flow);
                same.count()
            };
            let submitted = &mut self.submitted;
            let tasks = batch.by_ref().take(count).map(|work| {
                *submitted += 1;
                Queued {
                    work,
                    client: client.clone(),
                    number: *submitted,
                }
            });
            let (group, priority) = flow;
            let flow = FlowKey {
                client: client.id,
                group,
                priority,
            };
            self.queue.push_all(flow, tasks, || clock.now());
        }
    }

    /// Whether a task may begin now.
    pub(super) fn is_on(&self) -> bool {
        !self.paused && !self.stopped && self.plan.workers > 0
    }

    /// Picks idle workers for what waits, the last ones to become idle first because their memory is still in their core's cache. To be woken without the lock.
    pub(super) fn call_idle(&mut self) -> [Option<Call>; WAKE_AT_ONCE] {
        let wanted = if self.is_on() { self.queue.len() } else { 0 };
        let mut called = [const { None }; WAKE_AT_ONCE];
        for slot in called.iter_mut().take(wanted) {
            *slot = self.idle.pop().and_then(|index| self.call(index));
        }
        called
    }

    /// Picks everybody, for orders that concern also who waits or rests.
    fn call_all(&mut self) -> Vec<Option<Call>> {
        self.idle.clear();
        (0..self.posts.len())
            .map(|index| self.call(index))
            .collect()
    }

    /// Picks those who do not ask for themselves whether the task that runs is still wanted.
    fn bells(&self) -> Vec<Option<Call>> {
        let hands = self.posts.iter().flatten().map(|post| &post.hand);
        let futures = hands.filter(|hand| matches!(hand, Hand::Future(_)));
        futures.map(Hand::call).collect()
    }

    fn call(&self, index: usize) -> Option<Call> {
        self.posts.get(index)?.as_ref()?.hand.call()
    }

    /// The posts that the plan has and where nobody is.
    pub(super) fn vacancies(&self) -> Vec<usize> {
        let workers = if self.stopped { 0 } else { self.plan.workers };
        let is_vacant = |index: &usize| !matches!(self.posts.get(*index), Some(Some(_)));
        (0..workers).filter(is_vacant).collect()
    }

    pub(super) fn fill_post(&mut self, index: usize, post: Post) {
        if self.posts.len() <= index {
            self.posts.resize_with(index + 1, || None);
        }
        self.posts[index] = Some(post);
    }
}

/// Has those look again who were called.
pub(super) fn wake(called: impl IntoIterator<Item = Option<Call>>) {
    for call in called.into_iter().flatten() {
        match call {
            Call::Thread(thread) => thread.unpark(),
            Call::Bell(bell) => bell.ring(),
        }
    }
}
