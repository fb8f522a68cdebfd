use std::{collections::VecDeque, time::Duration};

use crate::ProviderId;

/// Snapshots under way that are remembered; of more the oldest are taken for lost.
const MAX_UNDER_WAY: usize = 64;

/// How much longer than at best snapshots may take before fewer are sent: what they wait in queues below.
const TARGET: Duration = Duration::from_millis(150);

/// The quickest of so much time counts, so that jitter is not taken for a queue.
const RECENT: Duration = Duration::from_millis(500);

/// As many count at least.
const FEW: usize = 8;

/// Bytes that may be under way before it is known how long they take.
const FIRST_WINDOW: usize = 32 * 1024;

/// The quickest way there and back is that of this time and as much before it; after each, it is looked at anew with one snapshot under way alone.
const BASE_SPAN: Duration = Duration::from_secs(15);

/// No look keeps snapshots back for longer.
const LOOK: Duration = Duration::from_millis(300);

/// What was sent so long before one that has come, and has not, is taken for lost.
const OVERTAKING: Duration = Duration::from_millis(100);

/// How much longer than a quarter more than the quickest trip nothing may be heard until what is under way is taken for lost.
const PATIENCE: Duration = Duration::from_millis(300);

/// The least between two snapshots while nothing is heard.
const RETRY: Duration = Duration::from_millis(250);

/// The bytes of a snapshot of entities are not cut below this.
const LEAST_BUDGET: usize = 1024;

/// Which snapshots are under way to a peer, and how many may be.
///
/// Queues below take what they are given, and what waits in them is old when it arrives. So it is delay that tells how much a link carries, as with FAST TCP (Jin, Wei, Low, 2004) and LEDBAT (RFC 6817): when even
/// the quickest of the latest snapshots took much longer than the quickest of the last while, only so much may be under way as fits into the time that it should take. Loss alone slows nothing.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// In the order of their sending.
    under_way: VecDeque<Sent>,
    /// Of those that are not taken for lost.
    bytes: usize,
    /// Bytes that may be under way; `None`: twice as many as lately were, without a queue.
    window: Option<usize>,
    /// The most bytes that were under way with one of the latest that have come.
    proven: usize,
    /// When something was last acknowledged.
    heard_at: Duration,
    /// Since then what was under way has been taken for lost.
    is_silent: bool,
    /// The quickest of this span and of the one before, and when this one began.
    quickest: [Option<Duration>; 2],
    span_began: Duration,
    /// Since when nothing more is sent, so that the next snapshot goes alone and shows how long it takes without others.
    looking: Option<Duration>,
    /// The latest round trips, with when they ended and what was under way.
    recent: VecDeque<Trip>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    provider: ProviderId,
    version: u64,
    bytes: usize,
    at: Duration,
    /// What was under way then, itself included.
    in_all: usize,
    is_lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trip {
    ended: Duration,
    time: Duration,
    in_all: usize,
}

impl Trip {
    /// What the link carries at least, in bytes a second.
    fn rate(&self) -> f64 {
        self.in_all as f64 / self.time.as_secs_f64().max(1e-3)
    }
}

impl Flight {
    /// Whether nothing may be sent before something under way is acknowledged. What is late has to be [given up](Self::give_up) before.
    pub(super) fn is_full(&self) -> bool {
        // The next one is taken to be as large as the last one.
        let next = self.under_way.back().map_or(0, |sent| sent.bytes);
        match self.window {
            _ if self.bytes == 0 => false,
            Some(window) => self.looking.is_some() || self.bytes + next > window,
            None => self.bytes + next > FIRST_WINDOW.max(2 * self.proven),
        }
    }

    /// The bytes that a snapshot of entities may have.
    pub(super) fn budget(&self) -> usize {
        self.window
            .map_or(usize::MAX, |window| window.max(LEAST_BUDGET))
    }

    pub(super) fn sent(&mut self, now: Duration, provider: ProviderId, version: u64, bytes: usize) {
        if self.under_way.len() >= MAX_UNDER_WAY {
            self.remove(0);
        }
        self.bytes += bytes;
        self.under_way.push_back(Sent {
            provider,
            version,
            bytes,
            at: now,
            in_all: self.bytes,
            is_lost: false,
        });
    }

    /// The peer has this version, and of the 64 before it those whose bits are set.
    pub(super) fn acknowledge(
        &mut self,
        now: Duration,
        provider: ProviderId,
        version: u64,
        earlier: u64,
    ) {
        let mut at = 0;
        while let Some(sent) = self.under_way.get(at).copied() {
            let behind = version.checked_sub(sent.version);
            let has_come = sent.provider == provider
                && match behind {
                    Some(0) => true,
                    Some(behind) => behind <= 64 && earlier & (1 << (behind - 1)) != 0,
                    None => false,
                };
            if !has_come {
                at += 1;
                continue;
            }
            self.remove(at);
            (self.heard_at, self.is_silent) = (now, false);
            // Only of the newest it is known that the acknowledgement left when it came.
            if behind == Some(0) {
                self.took(now, &sent);
            }
        }
    }

    /// Takes what was sent so long ago for lost.
    pub(super) fn give_up(&mut self, now: Duration, wait: Duration) {
        let (wait, heard_at) = (self.patience(wait), self.heard_at);
        let are_lost = self.lose(|sent| now >= sent.at.max(heard_at) + wait);
        self.is_silent |= are_lost;
        self.looking = self.looking.filter(|began| now < *began + LOOK);
    }

    /// Says whether there were some.
    fn lose(&mut self, is_lost: impl Fn(&Sent) -> bool) -> bool {
        let before = self.bytes;
        for sent in self.under_way.iter_mut().take_while(|sent| is_lost(sent)) {
            if !std::mem::replace(&mut sent.is_lost, true) {
                self.bytes -= sent.bytes;
            }
        }
        self.bytes < before
    }

    /// When the next one is taken for lost.
    pub(super) fn next_loss(&self, wait: Duration) -> Option<Duration> {
        let next = self.under_way.iter().find(|sent| !sent.is_lost)?;
        Some(next.at.max(self.heard_at) + self.patience(wait))
    }

    /// Nothing more will be heard of a provider's.
    pub(super) fn forget(&mut self, provider: ProviderId) {
        while let Some(at) = self.under_way.iter().position(|it| it.provider == provider) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(sent) = self.under_way.remove(at)
            && !sent.is_lost
        {
            self.bytes -= sent.bytes;
        }
    }

    /// How long nothing may be heard until what is under way is taken for lost; `wait` before any trip is known.
    fn patience(&self, wait: Duration) -> Duration {
        // While there is a queue something is heard all the time, so that its length does not count.
        let quickest = self.quickest.into_iter().flatten().min();
        let patience = quickest.map_or(wait, |quickest| quickest * 5 / 4 + PATIENCE);
        // Once it is silent, one goes now and then, so that a few losses in a row are no long pause.
        match self.is_silent {
            true => (patience / 4).max(RETRY),
            false => patience,
        }
    }

    /// A snapshot took so long there and its acknowledgement back.
    fn took(&mut self, now: Duration, sent: &Sent) {
        let time = now.saturating_sub(sent.at);
        if now >= self.span_began + BASE_SPAN {
            self.span_began = now;
            self.quickest = [None, self.quickest[0]];
            self.looking = self.window.map(|_| now);
        }
        self.quickest[0] = Some(self.quickest[0].map_or(time, |quickest| quickest.min(time)));
        let base = self.quickest.into_iter().flatten().min().unwrap_or(time);
        if sent.in_all == sent.bytes {
            self.looking = None;
        }
        self.lose(|earlier| earlier.at + OVERTAKING < sent.at);
        while let Some(first) = self.recent.front()
            && self.recent.len() >= FEW
            && (first.ended + RECENT < now || self.recent.len() >= MAX_UNDER_WAY)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(Trip {
            ended: now,
            time,
            in_all: sent.in_all,
        });
        let in_all = self.recent.iter().map(|trip| trip.in_all);
        self.proven = in_all.max().unwrap_or_default();
        let Some(best) = self.recent.iter().min_by_key(|trip| trip.time).copied() else {
            return;
        };
        let waited = best.time.saturating_sub(base);
        if waited > TARGET {
            // So much was carried in that time.
            let part = (base + TARGET / 2).as_secs_f64() / best.time.as_secs_f64();
            let fits = (best.in_all as f64 * part) as usize;
            self.window = Some(self.window.map_or(fits, |window| window.min(fits)));
        } else if let Some(window) = self.window {
            // By one snapshot in each round trip, and less the longer this one waited.
            let waited = time.saturating_sub(base);
            let part = 1.0 - waited.as_secs_f64() / TARGET.as_secs_f64();
            let bytes = sent.bytes as f64;
            let more = bytes * bytes / window.max(sent.bytes) as f64 * part.max(0.0);
            // No further than such a queue allows, as far as it is known how much the link carries.
            let rates = self.recent.iter().map(Trip::rate);
            let carried = rates.fold(0.0, f64::max) * (base + TARGET).as_secs_f64();
            let window = window.max((window + more as usize).min(carried as usize));
            // One that is never used up bounds nothing.
            self.window = (window < 8 * sent.in_all).then_some(window);
        }
    }
}
