use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut as _, Bytes, BytesMut};
use peercompute_proto::limits::MAX_TASK_INPUT;

/// Results that one task of a [`Reduction`] combines at most.
pub const REDUCE_FAN_IN: usize = 64;

/// Bytes in front of each result in the input of such a task: its length.
const PREFIX: usize = size_of::<u32>();

/// Combines the results of many tasks into one, by tasks: a tree, whose order is that of the results.
///
/// The input of each task is a row of results, each with its length in front (`u32`, little endian), as many as there are up to [`REDUCE_FAN_IN`] and [`MAX_TASK_INPUT`] bytes; what it gives is a
/// result of the same kind, which is combined further with its neighbours. A single result is given to one task, too, and if there is none, one task gets an empty input. **What combines them has
/// to be associative**: which results come together depends on how many there are and how long they are. It does not depend on when they come, so the same results are combined the same way each
/// time, and it need not be commutative.
///
/// Results come in any order, by their index: [`Reduction::put`], and [`Reduction::end`] once it is known how many there are. [`Reduction::poll_task`] gives the tasks, [`Reduction::handle_result`]
/// takes what came of them, in any order, and [`Reduction::result`] is there at the end. Where results come in order, each level of the tree holds no more than what goes into one task; those that
/// come early wait, so whoever puts them bounds how early they may be.
///
/// ```
/// use bytes::Bytes;
/// use peercompute_compute::Reduction;
///
/// let mut words = Reduction::new();
/// words.put(1, Bytes::from("b"))?;
/// words.put(0, Bytes::from("a"))?;
/// words.end(2)?;
/// let task = words.poll_task().unwrap();
/// assert_eq!(task.input, "\x01\0\0\0a\x01\0\0\0b");
/// words.handle_result(task.id, Bytes::from("ab"))?;
/// assert_eq!(words.result().unwrap(), "ab");
/// # Ok::<(), peercompute_compute::ReduceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reduction {
    fan_in: usize,
    limit: usize,
    /// The results that were put, and above them those of tasks, level by level.
    levels: Vec<Level>,
    ready: VecDeque<ReduceTask>,
    /// Where the result of a task that was made goes.
    made: BTreeMap<u64, (usize, u64)>,
    next_task: u64,
    result: Option<Bytes>,
}

/// A task that combines results.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReduceTask {
    /// Names it. Tasks are counted from 0 in the order in which they are given out.
    pub id: u64,
    /// Its input.
    pub input: Bytes,
}

/// The results of one height of the tree.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Those that came early.
    early: BTreeMap<u64, Bytes>,
    /// The one that comes next.
    next: u64,
    /// Those that come together, so far.
    run: Vec<Bytes>,
    /// Bytes of input that they make.
    run_bytes: usize,
    /// How many runs there were.
    runs: u64,
    /// The length of the last of them if that was a single result.
    single: Option<usize>,
    /// How many results there are, once that is known.
    total: Option<u64>,
    is_done: bool,
}

impl Reduction {
    /// Nothing so far.
    pub fn new() -> Self {
        Self {
            fan_in: REDUCE_FAN_IN,
            limit: MAX_TASK_INPUT,
            levels: vec![Level::default()],
            ready: VecDeque::new(),
            made: BTreeMap::new(),
            next_task: 0,
            result: None,
        }
    }

    /// At most so many results in a task, 2 at least and [`REDUCE_FAN_IN`] at most, and so many bytes, at most [`MAX_TASK_INPUT`]. Both are set before the first result comes.
    #[must_use]
    pub fn with_bounds(mut self, fan_in: usize, bytes: usize) -> Self {
        self.fan_in = fan_in.clamp(2, REDUCE_FAN_IN);
        self.limit = bytes.clamp(PREFIX, MAX_TASK_INPUT);
        self
    }

    /// Takes the result `index`, counted from 0.
    ///
    /// # Errors
    ///
    /// [`ReduceError::Twice`], [`ReduceError::BeyondEnd`] and [`ReduceError::TooLong`], after which nothing has changed; [`ReduceError::NeighboursTooLong`], after which this reduction has failed.
    pub fn put(&mut self, index: u64, result: Bytes) -> Result<(), ReduceError> {
        let level = &self.levels[0];
        if level.total.is_some_and(|total| index >= total) {
            return Err(ReduceError::BeyondEnd { index });
        }
        if index < level.next || level.early.contains_key(&index) {
            return Err(ReduceError::Twice { index });
        }
        if result.len() > self.limit.saturating_sub(PREFIX) {
            return Err(ReduceError::TooLong {
                size: result.len(),
                limit: self.limit.saturating_sub(PREFIX),
            });
        }
        self.put_at(0, index, result)
    }

    /// Says how many results there are.
    ///
    /// # Errors
    ///
    /// [`ReduceError::BeyondEnd`] for fewer than were put, or another number than before; [`ReduceError::NeighboursTooLong`] as with [`Reduction::put`].
    pub fn end(&mut self, results: u64) -> Result<(), ReduceError> {
        let level = &self.levels[0];
        let seen = level
            .early
            .last_key_value()
            .map_or(level.next, |(last, _)| last + 1);
        if seen > results || level.total.is_some_and(|total| total != results) {
            return Err(ReduceError::BeyondEnd { index: results });
        }
        self.levels[0].total = Some(results);
        self.advance(0)
    }

    /// The next task, if there are results to be combined.
    pub fn poll_task(&mut self) -> Option<ReduceTask> {
        self.ready.pop_front()
    }

    /// Takes what came of the task `id`.
    ///
    /// # Errors
    ///
    /// [`ReduceError::NoSuchTask`], after which nothing has changed; [`ReduceError::NeighboursTooLong`] as with [`Reduction::put`].
    pub fn handle_result(&mut self, id: u64, result: Bytes) -> Result<(), ReduceError> {
        let (level, index) = self
            .made
            .remove(&id)
            .ok_or(ReduceError::NoSuchTask { id })?;
        self.put_at(level, index, result)
    }

    /// What all results together are, once it is there.
    pub fn result(&self) -> Option<&Bytes> {
        self.result.as_ref()
    }

    /// How many tasks there were so far.
    pub const fn tasks(&self) -> u64 {
        self.next_task
    }

    /// Bytes of results that wait for their neighbours.
    pub fn waiting_bytes(&self) -> usize {
        let levels = self.levels.iter();
        levels
            .map(|level| {
                level
                    .run
                    .iter()
                    .chain(level.early.values())
                    .map(Bytes::len)
                    .sum::<usize>()
            })
            .sum()
    }

    fn put_at(&mut self, at: usize, index: u64, result: Bytes) -> Result<(), ReduceError> {
        self.level(at).early.insert(index, result);
        self.advance(at)
    }

    /// Makes runs of the results that are there.
    fn advance(&mut self, at: usize) -> Result<(), ReduceError> {
        while let Some(result) = self.levels[at].take_next() {
            let bytes = PREFIX + result.len();
            let level = &self.levels[at];
            if !level.run.is_empty() && level.run_bytes + bytes > self.limit {
                self.close(at, false)?;
            }
            let level = &mut self.levels[at];
            level.run_bytes += bytes;
            level.run.push(result);
            if level.run.len() == self.fan_in {
                self.close(at, false)?;
            }
        }
        let level = &mut self.levels[at];
        if level.is_done || level.total != Some(level.next) {
            return Ok(());
        }
        level.is_done = true;
        if at > 0 && level.total == Some(1) {
            self.result = level.run.pop();
            return Ok(());
        }
        if !level.run.is_empty() || level.next == 0 {
            self.close(at, true)?;
        }
        let runs = self.levels[at].runs;
        self.level(at + 1).total = Some(runs);
        self.advance(at + 1)
    }

    /// Makes a task of a run. A single result goes up as it is, unless it is all that there is.
    fn close(&mut self, at: usize, is_end: bool) -> Result<(), ReduceError> {
        let limit = self.limit;
        let level = &mut self.levels[at];
        let run = std::mem::take(&mut level.run);
        let bytes = std::mem::take(&mut level.run_bytes);
        let place = level.runs;
        level.runs += 1;
        let is_everything = is_end && at == 0 && place == 0;
        if let [single] = run.as_slice()
            && !is_everything
        {
            let second = single.len();
            // Two in a row: the first does not go with the second, nor the second with the third. Neither gets any shorter.
            if let Some(first) = level.single.replace(second) {
                return Err(ReduceError::NeighboursTooLong {
                    first,
                    second,
                    limit,
                });
            }
            return self.put_at(at + 1, place, single.clone());
        }
        level.single = None;
        let mut input = BytesMut::with_capacity(bytes);
        for part in run {
            let length = u32::try_from(part.len()).expect("it is within the limit of a task");
            input.put_u32_le(length);
            input.put(part);
        }
        let id = self.next_task;
        self.next_task += 1;
        self.made.insert(id, (at + 1, place));
        self.ready.push_back(ReduceTask {
            id,
            input: input.freeze(),
        });
        Ok(())
    }

    fn level(&mut self, at: usize) -> &mut Level {
        if at == self.levels.len() {
            self.levels.push(Level::default());
        }
        &mut self.levels[at]
    }
}

impl Default for Reduction {
    fn default() -> Self {
        Self::new()
    }
}

impl Level {
    fn take_next(&mut self) -> Option<Bytes> {
        let result = self.early.remove(&self.next)?;
        self.next += 1;
        Some(result)
    }
}

/// Why results cannot be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// A result is longer than what one task can be given.
    #[error(
        "a result of {size} bytes is too long to be combined, {limit} is the most; give each task less to do, or shorten what it gives"
    )]
    TooLong {
        /// Its length in bytes.
        size: usize,
        /// The most.
        limit: usize,
    },
    /// Results beside each other are together longer than what one task can be given, so that none can be combined with another.
    #[error(
        "neighbouring results of {first} and {second} bytes are too long to be combined, {limit} bytes is what one task takes; have what combines them give shorter ones"
    )]
    NeighboursTooLong {
        /// The length of one in bytes.
        first: usize,
        /// The length of the next.
        second: usize,
        /// The most that go together, with 4 bytes in front of each.
        limit: usize,
    },
    /// The result is there already.
    #[error("the result {index} is there already; each is put in once")]
    Twice {
        /// Which.
        index: u64,
    },
    /// There are fewer results, or more, than was said.
    #[error("the result {index} is not among those that were announced")]
    BeyondEnd {
        /// Which.
        index: u64,
    },
    /// No such task waits for its result.
    #[error("no task {id} waits for its result")]
    NoSuchTask {
        /// Which.
        id: u64,
    },
}

#[cfg(test)]
mod tests;
