//! The network of these tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use peercompute_net::PeerId;

/// Random numbers (splitmix64), the same for the same seed everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = (to - from).as_micros() as u64;
        from + Duration::from_micros(self.below(span + 1))
    }
}

/// A peer's id, made of random bytes as a key would be.
pub(crate) fn peer_id(random: &mut Random) -> PeerId {
    let mut id = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    for _ in 0..4 {
        id.extend(random.next().to_be_bytes());
    }
    PeerId::from_bytes(&id).unwrap()
}

/// The same four everywhere.
pub(crate) fn four_ids() -> Vec<PeerId> {
    let mut random = Random(7);
    (0..4).map(|_| peer_id(&mut random)).collect()
}

/// What links do to what they carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) latency: (Duration, Duration),
    /// Of a hundred.
    pub(crate) loss: u64,
    pub(crate) doubled: u64,
}

impl Weather {
    /// Nothing is lost, and nothing takes longer than this.
    pub(crate) const fn calm(most: Duration) -> Self {
        Self {
            latency: (Duration::from_millis(5), most),
            loss: 0,
            doubled: 0,
        }
    }

    /// Some of a hundred are lost, a few come twice, and most overtake each other.
    pub(crate) const fn rough(loss: u64) -> Self {
        Self {
            latency: (Duration::from_millis(5), Duration::from_millis(300)),
            loss,
            doubled: 5,
        }
    }
}

/// Places are the peers' numbers.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    /// From whom to whom nothing goes.
    cut: BTreeSet<(usize, usize)>,
    /// What is sent on a cut way stalls until it is whole again, as on a stream, and is not lost.
    pub(crate) stalls: bool,
    stalled: Vec<(usize, usize, Bytes)>,
    /// Bytes a second of each line, one way, for what is posted.
    pub(crate) bandwidth: Option<u64>,
    busy_until: BTreeMap<(usize, usize), Duration>,
    posted: BTreeMap<(Duration, u64), (usize, usize, Bytes)>,
    posts: u64,
    under_way: BTreeMap<(Duration, u64), (usize, usize, Bytes)>,
    sent: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            random: Random(seed),
            weather,
            cut: BTreeSet::new(),
            stalls: false,
            stalled: Vec::new(),
            bandwidth: None,
            busy_until: BTreeMap::new(),
            posted: BTreeMap::new(),
            posts: 0,
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(crate) fn send(&mut self, now: Duration, from: usize, to: usize, bytes: Bytes) {
        if self.stalls && self.cut.contains(&(from, to)) {
            self.stalled.push((from, to, bytes));
            return;
        }
        if self.cut.contains(&(from, to)) || self.random.chance(self.weather.loss) {
            return;
        }
        let copies = 1 + u64::from(self.random.chance(self.weather.doubled));
        for _ in 0..copies {
            let (least, most) = self.weather.latency;
            let arrival = now + self.random.between(least, most);
            self.sent += 1;
            self.under_way
                .insert((arrival, self.sent), (from, to, bytes.clone()));
        }
    }

    /// Sends it as soon as what was posted before it on this line is sent.
    pub(crate) fn post(&mut self, now: Duration, from: usize, to: usize, bytes: Bytes) {
        let Some(bandwidth) = self.bandwidth else {
            self.send(now, from, to, bytes);
            return;
        };
        let busy = self.busy_until.entry((from, to)).or_default();
        let takes = Duration::from_micros(bytes.len() as u64 * 1_000_000 / bandwidth);
        *busy = now.max(*busy) + takes;
        self.posts += 1;
        self.posted.insert((*busy, self.posts), (from, to, bytes));
    }

    /// When something arrives, or leaves its line.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let first = [self.under_way.keys().next(), self.posted.keys().next()];
        first.into_iter().flatten().map(|(at, _)| *at).min()
    }

    pub(crate) fn arrive(&mut self, now: Duration) -> Option<(usize, usize, Bytes)> {
        while let Some(next) = self.posted.first_entry()
            && next.key().0 <= now
        {
            let (from, to, bytes) = next.remove();
            self.send(now, from, to, bytes);
        }
        let next = self.under_way.first_entry()?;
        (next.key().0 <= now).then(|| next.remove())
    }

    pub(crate) fn set_cut(&mut self, from: usize, to: usize, is_cut: bool) {
        if is_cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Sends what has stalled on ways that are whole again.
    pub(crate) fn release(&mut self, now: Duration) {
        for (from, to, bytes) in std::mem::take(&mut self.stalled) {
            self.send(now, from, to, bytes);
        }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }
}
