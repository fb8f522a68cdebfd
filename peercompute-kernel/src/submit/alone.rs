//! When to stop waiting for other nodes. Pure: no I/O, no clock.

use std::time::Duration;

/// How long a job waits for another node when the last one has gone, unless its patience is shorter.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How long to wait for a node that was offered a job and may be making its program ready, if patience is shorter: about what that takes at most.
pub(crate) const CONSIDERATION: Duration = Duration::from_secs(45);

/// What is known of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Jobs are open.
    pub(crate) jobs: bool,
    /// Every job has somebody who runs it.
    pub(crate) served: bool,
    /// Every relay and bootstrap node has answered or failed.
    pub(crate) search_done: bool,
    /// There are nodes, relays or bootstrap nodes of which it is not yet known whether they can be reached, or that are tried again.
    pub(crate) trying: bool,
    /// Some node that lends its machine was offered a job and has said nothing of it yet.
    pub(crate) considering: bool,
    /// This node's own workers were asked: they have some time in any case.
    pub(crate) here: bool,
}

/// Follows how long the node has been alone with a job.
#[derive(Debug)]
pub(crate) struct Alone {
    patience: Duration,
    since: Option<Duration>,
    /// Whether this job had company before.
    had_company: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well, or there is nothing to do.
    Fine,
    /// Look again at this time, or when something changes.
    WaitUntil(Duration),
    /// Nobody will come.
    GiveUp,
}

impl Alone {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: None,
            had_company: false,
        }
    }

    pub(crate) fn look(&mut self, now: Duration, sight: Sight) -> Verdict {
        if !sight.jobs {
            self.since = None;
            self.had_company = false;
            return Verdict::Fine;
        }
        if sight.served {
            self.since = None;
            self.had_company = true;
            return Verdict::Fine;
        }
        let since = *self.since.get_or_insert(now);
        let patience = if sight.here {
            self.patience.max(GRACE)
        } else {
            self.patience
        };
        let wait = if self.had_company {
            GRACE.min(patience)
        } else if sight.search_done && !sight.trying {
            Duration::ZERO
        } else {
            patience
        };
        let wait = if sight.considering {
            wait.max(CONSIDERATION)
        } else {
            wait
        };
        let until = since.saturating_add(wait);
        if until <= now {
            Verdict::GiveUp
        } else {
            Verdict::WaitUntil(until)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn searching() -> Sight {
        Sight {
            jobs: true,
            ..Sight::default()
        }
    }

    #[test]
    fn a_node_without_jobs_waits_for_nobody() {
        let mut alone = Alone::new(PATIENCE);
        assert_eq!(alone.look(SECOND, Sight::default()), Verdict::Fine);
    }

    #[test]
    fn a_search_that_found_nobody_ends_the_wait_at_once() {
        let mut alone = Alone::new(PATIENCE);
        assert_eq!(
            alone.look(SECOND, searching()),
            Verdict::WaitUntil(SECOND + PATIENCE)
        );
        let done = Sight {
            search_done: true,
            ..searching()
        };
        assert_eq!(alone.look(2 * SECOND, done), Verdict::GiveUp);
    }

    #[test]
    fn patience_ends_a_search_that_does_not() {
        let mut alone = Alone::new(PATIENCE);
        alone.look(SECOND, searching());
        assert_eq!(alone.look(11 * SECOND, searching()), Verdict::GiveUp);
    }

    #[test]
    fn nodes_that_are_being_tried_are_waited_for() {
        let mut alone = Alone::new(PATIENCE);
        let trying = Sight {
            search_done: true,
            trying: true,
            ..searching()
        };
        assert_eq!(
            alone.look(SECOND, trying),
            Verdict::WaitUntil(SECOND + PATIENCE)
        );
    }

    #[test]
    fn a_node_that_makes_the_program_ready_is_waited_for_longer_than_patience_lasts() {
        let mut alone = Alone::new(PATIENCE);
        let considering = Sight {
            search_done: true,
            trying: true,
            considering: true,
            ..searching()
        };
        assert_eq!(
            alone.look(SECOND, considering),
            Verdict::WaitUntil(SECOND + CONSIDERATION)
        );
        // It has refused.
        let trying = Sight {
            considering: false,
            ..considering
        };
        assert_eq!(alone.look(20 * SECOND, trying), Verdict::GiveUp);
        let mut alone = Alone::new(PATIENCE);
        alone.look(SECOND, considering);
        let late = SECOND + CONSIDERATION;
        assert_eq!(alone.look(late, considering), Verdict::GiveUp);
    }

    #[test]
    fn the_loss_of_the_last_node_gives_others_a_grace() {
        let mut alone = Alone::new(PATIENCE);
        let done = Sight {
            search_done: true,
            ..searching()
        };
        assert_eq!(
            alone.look(
                SECOND,
                Sight {
                    served: true,
                    ..done
                }
            ),
            Verdict::Fine
        );
        assert_eq!(
            alone.look(5 * SECOND, done),
            Verdict::WaitUntil(5 * SECOND + GRACE)
        );
        assert_eq!(alone.look(5 * SECOND + GRACE, done), Verdict::GiveUp);
    }

    #[test]
    fn who_waits_for_nobody_still_waits_for_this_node() {
        let mut alone = Alone::new(Duration::ZERO);
        assert_eq!(alone.look(SECOND, searching()), Verdict::GiveUp);
        let mut alone = Alone::new(Duration::ZERO);
        let here = Sight {
            trying: true,
            here: true,
            ..searching()
        };
        assert_eq!(alone.look(SECOND, here), Verdict::WaitUntil(SECOND + GRACE));
    }

    #[test]
    fn a_new_job_starts_with_full_patience() {
        let mut alone = Alone::new(PATIENCE);
        alone.look(
            SECOND,
            Sight {
                served: true,
                ..searching()
            },
        );
        alone.look(2 * SECOND, Sight::default());
        assert_eq!(
            alone.look(3 * SECOND, searching()),
            Verdict::WaitUntil(3 * SECOND + PATIENCE)
        );
    }
}
