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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{
        Completion, TaskError,
        pool::{Work, client::Client, work::Queued},
    };

    fn client(id: u64) -> Arc<Client> {
        let client = Arc::new(Client::new(id, 1000, 1000));
        client.reserve(1000, 0).expect("it has nothing yet");
        client
    }

    fn answer(client: &Arc<Client>, tag: u64) -> Answer {
        let noop = Arc::new(crate::Operation::Noop);
        Queued {
            work: Work::new(tag, noop, Bytes::new()),
            client: client.clone(),
            number: tag,
        }
        .cancelled()
    }

    #[test]
    fn answers_wait_for_others_for_a_bounded_time_and_number() {
        let client = client(1);
        let at = |micros| Instant::from_start(Duration::from_micros(micros));
        let mut outbox = Outbox::default();
        assert!(!outbox.is_due(at(1000)), "there is nothing to hand over");
        outbox.push(answer(&client, 0), at(1000));
        outbox.push(answer(&client, 1), at(1040));
        assert!(!outbox.is_due(at(1049)));
        assert!(
            outbox.is_due(at(1050)),
            "the first one has waited long enough"
        );
        outbox.flush(&Counters::default());
        assert!(outbox.is_empty());
        for tag in 0..GATHER_TASKS as u64 {
            assert!(!outbox.is_due(at(2000)));
            outbox.push(answer(&client, tag), at(2000));
        }
        assert!(outbox.is_due(at(2000)));
    }

    #[test]
    fn every_client_gets_its_own_answers_in_order() {
        let (one, other) = (client(1), client(2));
        let of = |client: &Arc<Client>, tags: &[u64]| {
            tags.iter()
                .map(|&tag| answer(client, tag))
                .collect::<Vec<_>>()
        };
        let mut answers = of(&one, &[1, 2]);
        answers.extend(of(&other, &[3]));
        answers.extend(of(&one, &[4]));
        let counters = Counters::default();
        deliver(&mut answers, &counters);
        assert_eq!(counters.snapshot().cancelled, 4);
        let collected = |client: &Client| {
            let mut batch: Vec<Completion> = Vec::new();
            assert!(client.collect(&mut batch, None).is_ready());
            assert!(
                batch
                    .iter()
                    .all(|done| done.result == Err(TaskError::Cancelled))
            );
            batch.iter().map(|done| done.tag).collect::<Vec<_>>()
        };
        assert_eq!(collected(&one), [1, 2, 4]);
        assert_eq!(collected(&other), [3]);
    }
}
