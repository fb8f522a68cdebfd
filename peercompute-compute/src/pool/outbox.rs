use std::sync::Arc;

use peercompute_rt::Instant;

use super::{stats::Counters, work::Answer};

/// The most answers that wait for others before they are handed over.
const GATHER_TASKS: usize = 64;

/// The longest that an answer waits for others, in microseconds, while further brief tasks run.
const GATHER_MICROS: u128 = 50;

/// The answers that a worker has not handed over yet. It gathers those of brief tasks, so that their client is woken once for many.
#[derive(Default)]
pub(super) struct Outbox {
    answers: Vec<Answer>,
    since: Instant,
}

impl Outbox {
    pub(super) fn push(&mut self, answer: Answer, now: Instant) {
        if self.answers.is_empty() {
            self.since = now;
        }
        self.answers.push(answer);
    }

    /// Whether they have waited long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.answers.len() >= GATHER_TASKS
            || (!self.answers.is_empty() && (now - self.since).as_micros() >= GATHER_MICROS)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Hands all of them over.
    pub(super) fn flush(&mut self, counters: &Counters) {
        deliver(&mut self.answers, counters);
    }
}

/// Counts `answers` and hands them to their clients, those of one client in a row at once.
pub(super) fn deliver(answers: &mut Vec<Answer>, counters: &Counters) {
    counters.count(answers);
    let mut answers = answers.drain(..).peekable();
    while let Some(first) = answers.next() {
        let client = first.client.clone();
        let others =
            std::iter::from_fn(|| answers.next_if(|next| Arc::ptr_eq(&next.client, &client)));
        client.deliver(std::iter::once(first).chain(others));
    }
}
