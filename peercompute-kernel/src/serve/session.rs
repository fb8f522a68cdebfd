//! One stream of tasks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::select_all;
use peercompute_compute::{Completion, Completions, Limits, PoolClient, Work};
use peercompute_net::PeerId;
use peercompute_proto::v1::TaskSpec;
use peercompute_rt::BoxFuture;
use peercompute_swarm::{Assignment, JobId, Ticket, Worker, WorkerConfig, WorkerEvent};
use tokio::sync::Notify;

use super::{Preparations, Prepared, Preparing, Runnable, Workshop, failure, work};
use crate::{
    clock::now,
    error::LinkError,
    link::{FrameSink, FrameSource},
};

/// How often a stream that found the pool full looks again.
const POOL_RETRY: Duration = Duration::from_millis(5);

/// One stream that is served.
pub(super) struct Session {
    state: Mutex<SessionState>,
    /// Who may have the programs of its jobs.
    submitter: Option<PeerId>,
    client: PoolClient,
    /// There may be something to send.
    ready: Notify,
    preparations: Preparations,
}

struct SessionState {
    core: Worker,
    programs: HashMap<JobId, Runnable>,
    /// Kept between steps for its memory.
    batch: Vec<Work>,
    /// The pool had no room; there may be some without a completion of this stream telling of it.
    stalled: bool,
}

impl Workshop {
    /// Serves one stream until either end ends it. Without a submitter it is this node's own.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        submitter: Option<PeerId>,
        (mut source, mut sink): (FrameSource, FrameSink),
    ) -> Result<(), LinkError> {
        let pool = self.pool()?;
        let (client, mut completions) = pool.client();
        let session = self.open_session(submitter, client);
        let read: BoxFuture<'_, Result<(), LinkError>> = Box::pin(async {
            while let Some(frame) = source.next().await? {
                let now = now(&self.runtime);
                self.step(&session, |state| state.core.handle_frame(now, frame))?;
            }
            Ok(())
        });
        let write = Box::pin(self.send(&session, &mut sink));
        let complete = Box::pin(self.collect(&session, &mut completions));
        let prepare = Box::pin(self.prepare_all(&session));
        select_all([read, write, complete, prepare]).await.0
    }

    fn open_session(&self, submitter: Option<PeerId>, client: PoolClient) -> Arc<Session> {
        let mut config = self.worker_config();
        let mut state = self.state();
        config.window = self.window(&state);
        let session = Arc::new(Session {
            state: Mutex::new(SessionState {
                core: Worker::new(config),
                programs: HashMap::new(),
                batch: Vec::new(),
                stalled: false,
            }),
            submitter,
            client,
            ready: Notify::new(),
            preparations: Preparations::default(),
        });
        state.sessions.retain(|session| session.strong_count() > 0);
        state.sessions.push(Arc::downgrade(&session));
        session
    }

    fn worker_config(&self) -> WorkerConfig {
        WorkerConfig::new(self.binding.clone(), self.capabilities())
    }

    async fn send(
        self: &Arc<Self>,
        session: &Session,
        sink: &mut FrameSink,
    ) -> Result<(), LinkError> {
        loop {
            loop {
                let frame = session.lock().core.poll_transmit(now(&self.runtime));
                let Some(frame) = frame else { break };
                sink.feed(frame).await?;
            }
            sink.flush().await?;
            let wait = {
                let state = session.lock();
                let timeout = state.core.poll_timeout();
                let timeout = timeout.map(|due| due.saturating_sub(now(&self.runtime)));
                if state.stalled {
                    Some(timeout.map_or(POOL_RETRY, |wait| wait.min(POOL_RETRY)))
                } else {
                    timeout
                }
            };
            let Some(wait) = wait else {
                session.ready.notified().await;
                continue;
            };
            tokio::select! {
                () = session.ready.notified() => {}
                () = self.runtime.sleep(wait) => {
                    let now = now(&self.runtime);
                    self.step(session, |state| state.core.handle_timeout(now));
                }
            }
        }
    }

    async fn collect(
        self: &Arc<Self>,
        session: &Session,
        completions: &mut Completions,
    ) -> Result<(), LinkError> {
        let mut batch = Vec::new();
        while completions.next_batch(&mut batch).await {
            self.step(session, |state| {
                for Completion {
                    tag, result, run, ..
                } in batch.drain(..)
                {
                    let result = result.map_err(|error| failure(&error));
                    state.core.handle_done(Ticket::from_u64(tag), result, run);
                }
            });
        }
        Err(LinkError::Ended)
    }

    /// One step of a session's core, and everything that follows from it.
    fn step<R>(
        self: &Arc<Self>,
        session: &Session,
        step: impl FnOnce(&mut SessionState) -> R,
    ) -> R {
        session.step(|state| {
            let result = step(state);
            while let Some(event) = state.core.poll_event() {
                self.handle_event(session, state, event);
            }
            let cancelled = std::iter::from_fn(|| state.core.poll_cancelled());
            let cancelled: Vec<_> = cancelled.map(Ticket::as_u64).collect();
            if !cancelled.is_empty() {
                session.client.cancel_many(&cancelled);
            }
            session.hand_to_pool(state);
            result
        })
    }

    fn handle_event(
        self: &Arc<Self>,
        session: &Session,
        state: &mut SessionState,
        event: WorkerEvent,
    ) {
        match event {
            WorkerEvent::JobOpened { job, spec } => {
                let from = session.submitter.into_iter().collect();
                match self.prepare(&spec, from) {
                    Preparing::Done(result) => state.prepared(job, &spec, result),
                    Preparing::Under(future) => session.preparations.begin(job, spec, future),
                }
            }
            WorkerEvent::JobClosed { job } => {
                state.programs.remove(&job);
                session.preparations.cancel(job);
            }
            _ => {}
        }
    }

    /// Prepares what takes time.
    async fn prepare_all(self: &Arc<Self>, session: &Session) -> Result<(), LinkError> {
        let prepared = session.preparations.run(|job, spec, prepared| {
            self.step(session, |state| state.prepared(job, spec, prepared));
        });
        match prepared.await {}
    }
}

impl SessionState {
    fn prepared(&mut self, job: JobId, spec: &TaskSpec, result: Prepared) {
        match result {
            Ok(program) => {
                self.programs.insert(job, (program, Limits::from(spec)));
                self.core.accept_job(job);
            }
            Err(failure) => self.core.reject_job(job, failure),
        }
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step<R>(&self, step: impl FnOnce(&mut SessionState) -> R) -> R {
        let result = step(&mut self.lock());
        self.ready.notify_one();
        result
    }

    /// Claims so much from now on. With nothing, what has not begun goes back to the submitter.
    pub(super) fn set_window(&self, window: u32) {
        self.step(|state| {
            state.core.set_window(window);
            if window == 0 {
                self.give_back(state);
            }
        });
    }

    /// Claims nothing any more, and gives back what has not begun.
    pub(super) fn stop(&self) {
        self.step(|state| {
            state.core.stop();
            self.give_back(state);
        });
    }

    fn give_back(&self, state: &mut SessionState) {
        for work in self
            .client
            .recall()
            .into_iter()
            .chain(state.batch.drain(..))
        {
            state.core.give_back(Ticket::from_u64(work.tag()));
        }
    }

    /// Gives the pool what it has room for. The rest stays with the core, which holds no more than the window that it claimed.
    fn hand_to_pool(&self, state: &mut SessionState) {
        let mut room = self.client.room();
        while state.batch.len() < room.tasks && room.bytes > 0 {
            let Some(assignment) = state.core.poll_task() else {
                break;
            };
            let Assignment {
                ticket,
                job,
                state: start,
                input,
                ..
            } = assignment;
            let Some(program) = state.programs.get(&job) else {
                continue;
            };
            room.bytes = room.bytes.saturating_sub(input.len());
            let is_own = self.submitter.is_none();
            state
                .batch
                .push(work(ticket, program, start, input, is_own));
        }
        if !state.batch.is_empty() && self.client.submit(&mut state.batch).is_err() {
            // Other streams have taken the room meanwhile, or the pool is stopping and nothing matters any more.
            state.stalled = true;
        } else {
            state.stalled = state.batch.len() == room.tasks || room.bytes == 0;
        }
    }
}
