use peercompute_sched::Profile;

use super::{AuthorityConfig, ClockMode};

/// How a node takes part in a live room. Start from a profile (`Profile::action().into()`) or [`default`](Self::default), and change what should differ.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RealtimeConfig {
    /// Rates, and which events are reliable; [`Profile::action`] unless set. [`Realtime::set_profile`](crate::Realtime::set_profile) changes it.
    pub profile: Profile,
    /// Who says how time passes; each peer for itself unless set. [`Realtime::set_clock_mode`](crate::Realtime::set_clock_mode) changes it.
    pub clock: ClockMode,
    /// Who may write, and whose clock is the room's; a host, who is the first that has come, unless set. The node fills in its session and when it has joined. Without one nobody is told apart, there are no ticks, and the
    /// room's time is each peer's own.
    pub authority: Option<AuthorityConfig>,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Profile::action().into()
    }
}

impl From<Profile> for RealtimeConfig {
    fn from(profile: Profile) -> Self {
        Self {
            profile,
            clock: ClockMode::default(),
            authority: Some(AuthorityConfig::default()),
        }
    }
}

impl RealtimeConfig {
    /// With a clock mode.
    #[must_use]
    pub fn with_clock(self, clock: ClockMode) -> Self {
        Self { clock, ..self }
    }

    /// With an authority, or without.
    #[must_use]
    pub fn with_authority(self, authority: impl Into<Option<AuthorityConfig>>) -> Self {
        Self {
            authority: authority.into(),
            ..self
        }
    }
}
