use std::time::Duration;

use super::SimRng;

/// Sending times of one message that was lost in a stream, at most; the next one arrives for certain. Only [`LinkConfig::loss`] near 1 gets there.
const MAX_TRIES: u32 = 12;

/// The shortest and the longest wait before a stream sends a lost segment again.
const MIN_RETRY: Duration = Duration::from_millis(10);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// A message that is overtaken is held back by up to this much, beside the link's latency and jitter.
const MIN_HOLD: Duration = Duration::from_millis(5);

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// So many bytes a second, at least one.
    pub const fn bytes_per_second(bytes: u64) -> Self {
        Self(if bytes == 0 { 1 } else { bytes })
    }

    /// Bytes a second.
    pub const fn as_bytes_per_second(self) -> u64 {
        self.0
    }

    /// How long `bytes` take.
    pub fn time_for(self, bytes: usize) -> Duration {
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one direction of a link does to what is sent over it. The default is a perfect link: no delay, no fault, no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkConfig {
    /// The time every message is under way. Default: none.
    pub latency: Duration,
    /// Up to so much is added, equally distributed. Default: none.
    pub jitter: Duration,
    /// The probability that a message is lost, from 0 to 1; in a stream, that a segment has to be sent again. Default: 0.
    pub loss: f64,
    /// The probability that a message comes twice; not seen in streams. Default: 0.
    pub duplication: f64,
    /// The probability that a message is held back so that later ones may overtake it; not seen in streams. Default: 0.
    pub reordering: f64,
    /// Default: unbounded.
    pub bandwidth: Option<Bandwidth>,
    /// Messages that would wait longer than this for the bandwidth are lost. Streams are held back by their window instead. Default: 1 second.
    pub queue: Duration,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            bandwidth: None,
            queue: Duration::from_secs(1),
        }
    }
}

impl LinkConfig {
    /// With a [`latency`](Self::latency).
    #[must_use]
    pub const fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// With a [`jitter`](Self::jitter).
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// With a probability of [`loss`](Self::loss).
    #[must_use]
    pub const fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// With a probability of [`duplication`](Self::duplication).
    #[must_use]
    pub const fn with_duplication(mut self, duplication: f64) -> Self {
        self.duplication = duplication;
        self
    }

    /// With a probability of [`reordering`](Self::reordering).
    #[must_use]
    pub const fn with_reordering(mut self, reordering: f64) -> Self {
        self.reordering = reordering;
        self
    }

    /// With a [`bandwidth`](Self::bandwidth).
    #[must_use]
    pub const fn with_bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.bandwidth = Some(bandwidth);
        self
    }

    /// With a longest wait in the [`queue`](Self::queue).
    #[must_use]
    pub const fn with_queue(mut self, queue: Duration) -> Self {
        self.queue = queue;
        self
    }
}

/// One direction of a link: says when what is sent arrives. Pure: no clock, no randomness of its own.
///
/// ```
/// use std::time::Duration;
/// use peercompute_net::memory::{Bandwidth, LinkConfig, LinkModel, SimRng};
///
/// let config = LinkConfig::default()
///     .with_latency(Duration::from_millis(20))
///     .with_bandwidth(Bandwidth::bytes_per_second(1_000_000));
/// let (mut link, mut rng) = (LinkModel::new(config), SimRng::new(7));
/// // Two messages of 1000 bytes, sent at once: a millisecond each on the wire.
/// let start = Duration::ZERO;
/// assert_eq!(link.send(start, 1000, &mut rng).as_slice(), [Duration::from_millis(21)]);
/// assert_eq!(link.send(start, 1000, &mut rng).as_slice(), [Duration::from_millis(22)]);
/// ```
#[derive(Clone, Debug)]
pub struct LinkModel {
    config: LinkConfig,
    /// When everything that was sent so far is on the wire.
    free_at: Duration,
    /// When the latest message that was not held back arrives.
    latest: Duration,
    /// When the latest segment of a stream arrives.
    latest_segment: Duration,
}

impl LinkModel {
    /// A link at rest.
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            free_at: Duration::ZERO,
            latest: Duration::ZERO,
            latest_segment: Duration::ZERO,
        }
    }

    /// What the link does.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Changes what the link does to what is sent from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        if config.bandwidth.is_none() {
            self.free_at = Duration::ZERO;
        }
        self.config = config;
    }

    /// Sends a message of `len` bytes: when it arrives, not at all if it is lost, twice if it is doubled. `now` never runs backwards.
    ///
    /// Without [`reordering`](LinkConfig::reordering) messages arrive in the order they were sent.
    pub fn send(&mut self, now: Duration, len: usize, rng: &mut SimRng) -> Deliveries {
        let mut deliveries = Deliveries::default();
        if self.config.bandwidth.is_some() && self.free_at.saturating_sub(now) > self.config.queue {
            return deliveries;
        }
        let departed = self.depart(now, len);
        if rng.chance(self.config.loss) {
            return deliveries;
        }
        deliveries.push(self.arrive(departed, rng));
        if rng.chance(self.config.duplication) {
            deliveries.push(self.arrive(departed, rng));
        }
        deliveries
    }

    /// Sends a segment of `len` bytes of a stream: when it arrives. A loss shows as the time until it has been sent again; segments arrive in the order they were sent.
    pub fn transfer(&mut self, now: Duration, len: usize, rng: &mut SimRng) -> Duration {
        let round_trip = (self.config.latency + self.config.jitter) * 2;
        let mut retry = round_trip.max(MIN_RETRY);
        let mut departed = self.depart(now, len);
        for _ in 1..MAX_TRIES {
            if !rng.chance(self.config.loss) {
                break;
            }
            // The second sending takes bandwidth now, so that what others send meanwhile does not wait for it.
            self.depart(now, len);
            departed += retry;
            retry = (retry * 2).min(MAX_RETRY);
        }
        let arrival = departed + self.config.latency + rng.up_to(self.config.jitter);
        self.latest_segment = self.latest_segment.max(arrival);
        self.latest_segment
    }

    /// When the last of `len` bytes has left.
    fn depart(&mut self, at: Duration, len: usize) -> Duration {
        match self.config.bandwidth {
            Some(bandwidth) => {
                self.free_at = self.free_at.max(at) + bandwidth.time_for(len);
                self.free_at
            }
            None => at,
        }
    }

    fn arrive(&mut self, departed: Duration, rng: &mut SimRng) -> Duration {
        let arrival = departed + self.config.latency + rng.up_to(self.config.jitter);
        if rng.chance(self.config.reordering) {
            let hold = self.config.latency + self.config.jitter + MIN_HOLD;
            return arrival.max(self.latest) + rng.up_to(hold);
        }
        self.latest = self.latest.max(arrival);
        self.latest
    }
}

/// When the copies of one message arrive: none, one or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    times: [Duration; 2],
    count: usize,
}

impl Deliveries {
    fn push(&mut self, time: Duration) {
        self.times[self.count] = time;
        self.count += 1;
    }

    /// The times.
    pub fn as_slice(&self) -> &[Duration] {
        &self.times[..self.count]
    }

    /// Whether the message is lost.
    pub fn is_lost(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
#[path = "link/tests.rs"]
mod tests;
