use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    fair::{Item as _, remove},
    work::Queued,
};
use crate::Control;

/// One worker's place: what it runs, and the few brief tasks of one flow that it has taken to run next.
///
/// The others can still cancel those tasks and, when they have nothing to do, take them away.
#[derive(Default)]
pub(super) struct Seat {
    shelf: Mutex<Shelf>,
    /// Tells the running task to stop.
    cancelled: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shelf {
    next: VecDeque<Queued>,
    running: Option<TaskName>,
}

/// Names a task in the pool: its client, and the client's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TaskName {
    pub(super) client: u64,
    pub(super) tag: u64,
}

impl Queued {
    pub(super) fn name(&self) -> TaskName {
        TaskName {
            client: self.client.id,
            tag: self.work.tag(),
        }
    }
}

impl Seat {
    /// The control for the tasks that run here, one after the other.
    pub(super) fn control(&self) -> Control {
        Control::with_flag(self.cancelled.clone())
    }

    /// Ends the task that ran and begins the next one on the shelf, none if the orders have changed since `seen`.
    pub(super) fn begin_next(&self, orders: &AtomicU64, seen: u64) -> Option<Queued> {
        let mut shelf = self.lock();
        shelf.running = None;
        // Inside the lock: whoever changes the orders and then takes the lock knows that nothing begins under the old ones.
        if orders.load(Ordering::Relaxed) != seen {
            return None;
        }
        let next = shelf.next.pop_front()?;
        shelf.begin(&next, &self.cancelled);
        Some(next)
    }

    /// Ends the task that ran.
    pub(super) fn end(&self) {
        self.lock().running = None;
    }

    /// Has `fill` put tasks on the shelf if it is empty, and tells whether it now has any.
    pub(super) fn fill(&self, fill: impl FnOnce(&mut VecDeque<Queued>)) -> bool {
        let mut shelf = self.lock();
        if shelf.next.is_empty() {
            fill(&mut shelf.next);
        }
        !shelf.next.is_empty()
    }

    /// Takes the later half of the shelf, one if there is only one.
    pub(super) fn steal(&self) -> VecDeque<Queued> {
        let mut shelf = self.lock();
        let kept = shelf.next.len() / 2;
        shelf.next.split_off(kept)
    }

    /// Takes everything from the shelf.
    pub(super) fn clear(&self) -> VecDeque<Queued> {
        std::mem::take(&mut self.lock().next)
    }

    /// Takes the tasks that `unwanted` picks from the shelf, and tells the running one to stop if it picks that.
    pub(super) fn cancel(
        &self,
        mut unwanted: impl FnMut(TaskName) -> bool,
        cancelled: &mut Vec<Queued>,
    ) {
        let mut shelf = self.lock();
        if shelf.running.is_some_and(&mut unwanted) {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        shelf.take(unwanted, cancelled);
    }

    /// Takes the tasks that `unwanted` picks from the shelf.
    pub(super) fn recall(
        &self,
        unwanted: impl FnMut(TaskName) -> bool,
        recalled: &mut Vec<Queued>,
    ) {
        self.lock().take(unwanted, recalled);
    }

    /// How many tasks are on the shelf, how many bytes of input they have, and whether one runs.
    pub(super) fn load(&self) -> (usize, usize, bool) {
        let shelf = self.lock();
        let bytes = shelf.next.iter().map(Queued::load).sum();
        (shelf.next.len(), bytes, shelf.running.is_some())
    }

    /// Returns when no [`Seat::begin_next`] is under way that has seen the orders before.
    pub(super) fn settle(&self) {
        drop(self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn take(&mut self, mut unwanted: impl FnMut(TaskName) -> bool, taken: &mut Vec<Queued>) {
        taken.extend(remove(&mut self.next, |task| unwanted(task.name())));
    }

    fn begin(&mut self, task: &Queued, cancelled: &AtomicBool) {
        self.running = Some(task.name());
        cancelled.store(false, Ordering::Relaxed);
    }
}
