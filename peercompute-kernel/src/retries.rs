//! When to try a peer again whose link broke. Pure: no I/O, no clock.

use std::time::Duration;

use peercompute_map::SortedMap;

/// How long a peer is left alone after the first failure; doubles each time, up to [`MAX_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest that a peer is left alone.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// How long after it may be tried again a peer's failures are forgotten.
const MEMORY: Duration = Duration::from_secs(300);

/// Peers whose failures are remembered. Beyond that, the one that may be tried again first is forgotten.
const MAX_REMEMBERED: usize = 1024;

/// Failures in a row, by peer.
#[derive(Debug)]
pub(crate) struct Retries<P>(SortedMap<P, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    in_a_row: u32,
    again: Duration,
}

impl<P> Default for Retries<P> {
    fn default() -> Self {
        Self(SortedMap::new())
    }
}

impl<P: Ord + Copy> Retries<P> {
    /// The link to a peer broke, or did not come about.
    pub(crate) fn fail(&mut self, now: Duration, peer: P) {
        self.0
            .retain(|_, failures| now.saturating_sub(failures.again) < MEMORY);
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&peer) {
            let soonest = self.0.iter().min_by_key(|(_, failures)| failures.again);
            if let Some(soonest) = soonest.map(|(peer, _)| *peer) {
                self.0.remove(&soonest);
            }
        }
        let before = self.0.get(&peer).map_or(0, |failures| failures.in_a_row);
        let wait = FIRST_RETRY.saturating_mul(1 << before.min(16));
        let failures = Failures {
            in_a_row: before.saturating_add(1),
            again: now + wait.min(MAX_RETRY),
        };
        self.0.insert(peer, failures);
    }

    /// Until when a peer is left alone; `None` if it may be tried now.
    pub(crate) fn wait(&self, now: Duration, peer: &P) -> Option<Duration> {
        let again = self.0.get(peer)?.again;
        (again > now).then_some(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_that_never_failed_is_tried_at_once() {
        assert_eq!(Retries::default().wait(Duration::ZERO, &1), None);
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_the_longest() {
        let mut retries = Retries::default();
        let mut waits = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..40 {
            retries.fail(now, 1);
            let again = retries.wait(now, &1).unwrap();
            waits.push(again - now);
            now = again;
            assert_eq!(retries.wait(now, &1), None);
        }
        assert_eq!(waits[..3], [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4]);
        assert_eq!(waits.last(), Some(&MAX_RETRY));
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let mut retries = Retries::default();
        for _ in 0..9 {
            retries.fail(Duration::ZERO, 1);
        }
        let later = MAX_RETRY + MEMORY + SECOND;
        retries.fail(later, 2);
        assert_eq!(retries.0.len(), 1, "what nobody asks for is forgotten");
        retries.fail(later, 1);
        assert_eq!(retries.wait(later, &1), Some(later + FIRST_RETRY));
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut retries = Retries::default();
        for peer in 0..3 * MAX_REMEMBERED {
            retries.fail(SECOND, peer);
            retries.fail(SECOND, peer);
        }
        assert_eq!(retries.0.len(), MAX_REMEMBERED);
        let last = 3 * MAX_REMEMBERED - 1;
        assert_eq!(retries.wait(SECOND, &last), Some(SECOND + 2 * FIRST_RETRY));
    }
}
