use std::{
    collections::HashSet,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    crew::Crew,
    work::{Answer, Completion, Work},
};

pub(super) fn pair(crew: &Arc<Crew>) -> (PoolClient, Completions) {
    let client = crew.admit();
    let submitter = PoolClient {
        crew: crew.clone(),
        client: client.clone(),
    };
    (
        submitter,
        Completions {
            crew: crew.clone(),
            client,
        },
    )
}

/// Gives work to a [`Pool`](crate::Pool). Dropping it cancels what it has submitted; the [`Completions`] still tell so of each task.
pub struct PoolClient {
    crew: Arc<Crew>,
    client: Arc<Client>,
}

impl PoolClient {
    /// Submits all of `batch`, in order, and leaves it empty with its memory for the next one. One lock and at most two wake-ups, however many tasks.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; then nothing was submitted and `batch` is as it was. After [`SubmitError::Full`], collect completions and try again; [`PoolClient::room`] tells how
    /// much is accepted.
    pub fn submit(&self, batch: &mut Vec<Work>) -> Result<(), SubmitError> {
        self.crew.submit(&self.client, batch)
    }

    /// How much more [`PoolClient::submit`] takes now. Other clients may take the part of it that is the pool's.
    pub fn room(&self) -> Room {
        let (tasks, bytes) = self.client.room();
        let (pool_tasks, pool_bytes) = self.crew.room();
        Room {
            tasks: tasks.min(pool_tasks),
            bytes: bytes.min(pool_bytes),
        }
    }

    /// Cancels the task of this tag (or those, if there are several): one that waits is answered at once, one that runs is told to stop and answered when it does, with its
    /// result if it had it by then. Nothing happens if there is none.
    pub fn cancel(&self, tag: u64) {
        self.crew.cancel(self.client.id, |task| task == tag);
    }

    /// Cancels the tasks of all these tags, in one pass over what waits of this client.
    pub fn cancel_many(&self, tags: &[u64]) {
        let tags: HashSet<u64> = tags.iter().copied().collect();
        self.crew.cancel(self.client.id, |tag| tags.contains(&tag));
    }

    /// Takes back everything of this client that has not begun, in the order in which it was submitted; no completion tells of it. What runs goes on to its end.
    pub fn recall(&self) -> Vec<Work> {
        self.crew.recall(&self.client)
    }

    /// Cancels everything that this client has submitted.
    pub fn cancel_all(&self) {
        self.crew.cancel_client(self.client.id);
    }
}

impl Drop for PoolClient {
    fn drop(&mut self) {
        self.client.close();
        self.cancel_all();
    }
}

impl fmt::Debug for PoolClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolClient")
            .field("room", &self.room())
            .finish_non_exhaustive()
    }
}

/// Where the answers to the work of one [`PoolClient`] come out. Dropping it cancels that work.
pub struct Completions {
    crew: Arc<Crew>,
    client: Arc<Client>,
}

impl Completions {
    /// Waits until there is at least one completion, puts all that there are behind those in `batch` and gives `true`; or gives `false` when everything is answered and nothing
    /// can follow, because the client was dropped or the pool has stopped. They come in the order in which the tasks ended.
    ///
    /// On a [cooperative](crate::Pool::cooperative) pool this is what does the work.
    ///
    /// Cancel safe: completions are taken only when they are given out.
    pub async fn next_batch(&mut self, batch: &mut Vec<Completion>) -> bool {
        loop {
            if let Poll::Ready(more) = self.client.collect(batch, None) {
                return more;
            }
            if !self.crew.cooperate().await {
                let wait = poll_fn(|cx| match self.client.collect(batch, Some(cx)) {
                    Poll::Ready(more) => Poll::Ready(Some(more)),
                    // Looked at after the waker is in place, so that work that comes in between is not missed.
                    Poll::Pending if self.crew.can_cooperate() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                if let Some(more) = wait.await {
                    return more;
                }
            }
        }
    }
}

impl Drop for Completions {
    fn drop(&mut self) {
        self.client.abandon();
        self.crew.cancel_client(self.client.id);
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.client.lock().ready.len();
        f.debug_struct("Completions")
            .field("ready", &ready)
            .finish_non_exhaustive()
    }
}

/// How much more is accepted. A batch is accepted if it has at most as many tasks and at most as many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Room {
    /// Tasks.
    pub tasks: usize,
    /// Bytes of input.
    pub bytes: usize,
}

/// Why work was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// There is no room for it now.
    #[error(transparent)]
    Full(#[from] Full),
    /// The pool has stopped.
    #[error("the compute pool has stopped; start another one")]
    Stopped,
    /// The client's [`Completions`] were dropped, so nobody would learn the results.
    #[error(
        "nobody waits for the results, because the client's completions were dropped; open a new client"
    )]
    Abandoned,
}

/// Which bound has no room for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the compute pool has room for {room} more of at most {limit} {bound}, and {asked} were submitted; collect completions first, or submit fewer at a time"
)]
#[non_exhaustive]
pub struct Full {
    /// Which bound.
    pub bound: Bound,
    /// What the batch takes of it.
    pub asked: usize,
    /// What is left of it.
    pub room: usize,
    /// How much it is.
    pub limit: usize,
}

/// A bound of a [`Pool`](crate::Pool), set in its [`PoolConfig`](crate::PoolConfig).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bound {
    /// Tasks that wait.
    QueueTasks,
    /// Bytes that wait.
    QueueBytes,
    /// Tasks that one client has in the pool.
    ClientTasks,
    /// Bytes that one client has in the pool.
    ClientBytes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueTasks => "waiting tasks",
            Self::QueueBytes => "waiting bytes",
            Self::ClientTasks => "tasks of one client",
            Self::ClientBytes => "bytes of one client",
        })
    }
}

/// What a client and its completions share with the workers.
pub(super) struct Client {
    pub(super) id: u64,
    max_tasks: usize,
    max_bytes: usize,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    ready: Vec<Completion>,
    waker: Option<Waker>,
    /// Tasks that were submitted and whose completion was not collected.
    tasks: usize,
    /// Their input or, once they are answered, their result.
    bytes: usize,
    /// Nothing will be submitted any more.
    closed: bool,
    /// Nobody will collect any more.
    abandoned: bool,
}

impl Client {
    pub(super) fn new(id: u64, max_tasks: usize, max_bytes: usize) -> Self {
        Self {
            id,
            max_tasks,
            max_bytes,
            inbox: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> (usize, usize) {
        self.room_in(&self.lock())
    }

    fn room_in(&self, inbox: &Inbox) -> (usize, usize) {
        // Long results may take more than the bound.
        (
            self.max_tasks - inbox.tasks,
            self.max_bytes.saturating_sub(inbox.bytes),
        )
    }

    /// Takes the room for this many tasks with this much input.
    pub(super) fn reserve(&self, tasks: usize, bytes: usize) -> Result<(), SubmitError> {
        let mut inbox = self.lock();
        let (room, room_bytes) = self.room_in(&inbox);
        if inbox.abandoned {
            return Err(SubmitError::Abandoned);
        }
        if tasks > room {
            let limit = self.max_tasks;
            return Err(Full {
                bound: Bound::ClientTasks,
                asked: tasks,
                room,
                limit,
            }
            .into());
        }
        if bytes > room_bytes {
            let (room, limit) = (room_bytes, self.max_bytes);
            return Err(Full {
                bound: Bound::ClientBytes,
                asked: bytes,
                room,
                limit,
            }
            .into());
        }
        inbox.tasks += tasks;
        inbox.bytes += bytes;
        Ok(())
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, tasks: usize, bytes: usize) {
        let mut inbox = self.lock();
        inbox.tasks -= tasks;
        inbox.bytes -= bytes;
        // Whoever waits for completions may wait for these tasks alone, after the end of the pool.
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes answers to tasks of this client and wakes who waits for them.
    pub(super) fn deliver(&self, answers: impl Iterator<Item = Answer>) {
        let mut inbox = self.lock();
        let Inbox { ready, bytes, .. } = &mut *inbox;
        ready.extend(answers.map(|answer| {
            *bytes = *bytes - answer.load + result_len(&answer.completion);
            answer.completion
        }));
        let waker = inbox.waker.take();
        let unwanted = if inbox.abandoned {
            inbox.take_ready()
        } else {
            Vec::new()
        };
        drop(inbox);
        drop(unwanted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves what is ready into `batch`; otherwise, where there is more to come, leaves the waker of `cx`.
    pub(super) fn collect(
        &self,
        batch: &mut Vec<Completion>,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<bool> {
        let mut inbox = self.lock();
        if !inbox.ready.is_empty() {
            if batch.is_empty() {
                // The caller's memory goes the other way, so that none is allocated for further batches.
                let empty = std::mem::take(batch);
                *batch = inbox.take_ready();
                inbox.ready = empty;
            } else {
                batch.append(&mut inbox.take_ready());
            }
            return Poll::Ready(true);
        }
        if inbox.closed && inbox.tasks == 0 {
            return Poll::Ready(false);
        }
        if let Some(cx) = cx {
            match &mut inbox.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }

    /// Nothing will be submitted any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Nobody will collect any more.
    fn abandon(&self) {
        let mut inbox = self.lock();
        inbox.abandoned = true;
        let unwanted = (inbox.take_ready(), inbox.waker.take());
        drop(inbox);
        drop(unwanted);
    }

    /// Has the completions look again.
    pub(super) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inbox {
    /// Takes what is ready, out of the account too.
    fn take_ready(&mut self) -> Vec<Completion> {
        self.tasks -= self.ready.len();
        self.bytes -= self.ready.iter().map(result_len).sum::<usize>();
        std::mem::take(&mut self.ready)
    }
}

fn result_len(completion: &Completion) -> usize {
    completion.result.as_ref().map_or(0, |bytes| bytes.len())
}
