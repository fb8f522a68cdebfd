use std::time::Duration;

use crate::cell::{PerItem, TaskRate};

/// The width of the bins in which completions are counted over time.
const BIN: Duration = Duration::from_millis(100);

/// The window over which the rate is looked at, for the time until it is steady: this long or this many tasks, whichever is longer.
const WINDOW_SECONDS: f64 = 10.0;
const WINDOW_TASKS: f64 = 50.0;

/// What a run of the simulator measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Tasks whose result came home, over the whole run.
    pub completed: u64,
    /// The same a second, over the second half of the run.
    pub steady: TaskRate,
    /// When the rate over a trailing window (10 s or 50 tasks, the longer) first reached 95 % of the steady rate; `None` if it never did.
    pub settled: Option<Duration>,
    /// Bytes of inputs and outputs, summed over hops.
    pub payload_bytes: f64,
    /// Frames between neighbours, and their bytes.
    pub frames: u64,
    /// See `frames`.
    pub frame_bytes: f64,
    /// The most items that waited at any node at any time, together with held transfers.
    pub max_buffer: u32,
    /// The most by which any node exceeded its bound; 0 if none did.
    pub over_buffer: u32,
    /// Items that waited, in the mean over nodes and time.
    pub mean_buffer: f64,
    /// The most links that any node had at a time.
    pub max_links: u32,
    /// Tasks that were given out again.
    pub rerun_tasks: u64,
    /// Tasks that were given out, are not done and will never be.
    pub lost_tasks: u64,
    /// Events that were simulated.
    pub events: u64,
    /// Completions a second over the run, for plots.
    pub rate: Vec<Sample>,
    /// Tasks that each node computed.
    pub computed: Vec<u64>,
    /// Items that each link carried: from its first to its second end, and back.
    pub carried: Vec<[PerItem<u64>; 2]>,
}

/// The rate of completions at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The end of the interval.
    pub at: Duration,
    /// Completions a second in it.
    pub rate: TaskRate,
}

/// Counts completions over time.
#[derive(Debug, Default)]
pub(super) struct Completions {
    bins: Vec<u32>,
    total: u64,
}

impl Completions {
    pub(super) fn count(&mut self, now: u64) {
        let bin = (now / BIN.as_nanos() as u64) as usize;
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += 1;
        self.total += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Tasks a second from `from` to `to`.
    pub(super) fn rate(&self, from: Duration, to: Duration) -> f64 {
        let bin = |at: Duration| (at.as_nanos() / BIN.as_nanos()) as usize;
        let last = bin(to).min(self.bins.len());
        let first = bin(from).min(last);
        let count: u64 = self.bins[first..last]
            .iter()
            .map(|count| u64::from(*count))
            .sum();
        count as f64 / (to - from).as_secs_f64()
    }

    pub(super) fn settled(&self, steady: f64) -> Option<Duration> {
        if steady <= 0.0 {
            return None;
        }
        let window = WINDOW_SECONDS.max(WINDOW_TASKS / steady);
        let width = (window / BIN.as_secs_f64()).round() as usize;
        let enough = 0.95 * steady * window;
        let mut inside = 0_u64;
        for (bin, count) in self.bins.iter().enumerate() {
            inside += u64::from(*count);
            if bin >= width {
                inside -= u64::from(self.bins[bin - width]);
            }
            if inside as f64 >= enough {
                return Some(BIN * (bin as u32 + 1));
            }
        }
        None
    }

    /// The rate over time, in at most `most` samples.
    pub(super) fn samples(&self, length: Duration, most: usize) -> Vec<Sample> {
        let bins = (length.as_nanos() / BIN.as_nanos()).max(1) as usize;
        let each = bins.div_ceil(most);
        let width = BIN * each as u32;
        let count = |first: usize| -> u64 {
            let end = (first + each).min(self.bins.len());
            self.bins[first.min(end)..end]
                .iter()
                .map(|count| u64::from(*count))
                .sum()
        };
        (0..bins / each)
            .map(|index| Sample {
                at: width * (index as u32 + 1),
                rate: TaskRate(count(index * each) as f64 / width.as_secs_f64()),
            })
            .collect()
    }
}
