use std::time::Duration;

use crate::limits::{SYNC_PATIENCE, SYNC_REPEAT};

use super::transfer::Outgoing;

/// What is known of another peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// When it has left; `None` while it is there.
    pub(super) left: Option<Duration>,
    /// Its present life; 0 while that is not known.
    pub(super) session: u64,
    /// Of its latest frame.
    pub(super) sequence: u64,
    /// The highest number of its commands that has come.
    pub(super) taken: u64,
    /// The highest number of this peer's commands that it has, or that was given up.
    pub(super) acked: u64,
    /// Some were given up, and it has acknowledged nothing since.
    pub(super) lags: bool,
    /// The latest point of this host's that it has heard of.
    pub(super) heard: u64,
    pub(super) transfer: Option<Outgoing>,
    /// There is something new to tell it.
    pub(super) has_news: bool,
    /// Before this time it is told nothing.
    pub(super) speaks_at: Duration,
    /// When it is told again what it has not acknowledged, and how long after that once more.
    pub(super) repeats_at: Duration,
    repeat: Duration,
}

impl Peer {
    pub(super) fn new(now: Duration, acked: u64) -> Self {
        Self {
            left: None,
            session: 0,
            sequence: 0,
            taken: 0,
            acked,
            lags: false,
            heard: 0,
            transfer: None,
            has_news: false,
            speaks_at: now,
            repeats_at: now,
            repeat: SYNC_REPEAT,
        }
    }

    pub(super) fn is_here(&self) -> bool {
        self.left.is_none()
    }

    /// Whether it is there, or has gone so short a time ago that it may be back.
    pub(super) fn may_come(&self, now: Duration) -> bool {
        self.left.is_none_or(|left| now < left + SYNC_PATIENCE)
    }

    /// When it is to be told something.
    pub(super) fn due(&self, lacks: bool) -> Option<Duration> {
        if self.has_news {
            Some(self.speaks_at)
        } else {
            lacks.then(|| self.repeats_at.max(self.speaks_at))
        }
    }

    /// It is told now.
    pub(super) fn note_told(&mut self, now: Duration, pace: Duration) {
        let was_new = std::mem::take(&mut self.has_news);
        self.repeat = if was_new { 2 * pace } else { 2 * self.repeat };
        self.repeat = self.repeat.min(SYNC_REPEAT);
        self.speaks_at = now + pace;
        self.repeats_at = now + self.repeat;
    }
}
