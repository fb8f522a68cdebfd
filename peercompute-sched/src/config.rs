use std::time::Duration;

use crate::{
    Profile,
    limits::{MAX_QUEUED_BYTES, MAX_QUEUED_EVENTS, MAX_WAITING},
};

/// Who says when a turn is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clocking {
    /// The scheduler itself: call [`Scheduler::handle_timeout`](crate::Scheduler::handle_timeout) when [`Scheduler::poll_timeout`](crate::Scheduler::poll_timeout) says. Events leave at once.
    #[default]
    Internal,
    /// The application, with [`Scheduler::handle_tick`](crate::Scheduler::handle_tick): nothing is sent between two ticks but answers.
    External,
}

/// The settings of a [`Scheduler`](crate::Scheduler). Start from [`new`](Self::new) and change what should differ.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SchedulerConfig {
    /// Names this life of the peer: has to be higher than in all earlier ones, and not 0. The Unix time at the start in microseconds does.
    pub session: u64,
    /// The room's time at the scheduler's time zero, until an anchor's is known. Default: that of `session` as Unix time in microseconds.
    pub origin: Duration,
    /// Who says when a turn is there. Default: the scheduler itself.
    pub clocking: Clocking,
    /// Rates, and which events are reliable. Default: [`Profile::action`].
    pub profile: Profile,
    /// Bytes from which a frame gets no more events or commands; one alone may be larger. Default: 16 KiB. Snapshots have frames of their own, which this does not
    /// bind: a state of bytes goes whole, and entities have [`EntityConfig::budget`](crate::EntityConfig::budget).
    pub frame_bytes: usize,
    /// Events to one peer that wait or are under way at most. Default: [`MAX_QUEUED_EVENTS`].
    pub queued_events: usize,
    /// Bytes of such events at most; one alone may be larger. Default: [`MAX_QUEUED_BYTES`].
    pub queued_bytes: usize,
    /// What has happened and waits to be taken, at most. Default: [`MAX_WAITING`].
    pub waiting: usize,
    /// In how many batches each command is sent, 1 to 8, for transports that lose frames. Default: 3. Over streams 1 does.
    pub command_copies: u32,
    /// Whether events that wait, and which were delivered, are kept for the next life: see [`Scheduler::take_changes`](crate::Scheduler::take_changes). Default: no.
    pub keeps: bool,
    /// The Unix time at the scheduler's time zero, for the age of what is kept. Default: that of `session` in microseconds.
    pub unix: Duration,
}

impl SchedulerConfig {
    /// The defaults.
    pub fn new(session: u64) -> Self {
        Self {
            session: session.max(1),
            origin: Duration::from_micros(session),
            clocking: Clocking::default(),
            profile: Profile::action(),
            frame_bytes: 16 * 1024,
            queued_events: MAX_QUEUED_EVENTS,
            queued_bytes: MAX_QUEUED_BYTES,
            waiting: MAX_WAITING,
            command_copies: 3,
            keeps: false,
            unix: Duration::from_micros(session),
        }
    }

    /// With a profile.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// With a clock.
    #[must_use]
    pub fn with_clocking(mut self, clocking: Clocking) -> Self {
        self.clocking = clocking;
        self
    }
}
