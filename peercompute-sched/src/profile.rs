use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{Delivery, Rate, RetryPolicy, adapt::Adaptation};

/// How a kind of application wants its traffic: rates, and which events are reliable. Four are ready made; [`Profile::new`] begins one's own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Its name, for people. Default: `custom`.
    pub name: Arc<str>,
    /// How often states are sent at best. Default: 20 Hz.
    pub snapshots: Rate,
    /// How far, and by what, the rate of snapshots to a peer is lowered. Default: down to 10 Hz.
    pub adaptation: Adaptation,
    /// How often command providers are asked, and queued commands are sent. Default: 30 Hz.
    pub commands: Rate,
    /// How often events are sent. Default: on demand, which is at once, or with every tick of a clock that is not the scheduler's own.
    pub events: Rate,
    /// How events travel whose type is not among `event_types`. Default: [`Delivery::BestEffort`].
    pub default_delivery: Delivery,
    /// How events of these types travel. Default: none.
    pub event_types: BTreeMap<Arc<str>, EventPolicy>,
    /// How often a reliable event is sent. Default: five times in all, the first wait 500 ms.
    pub retry: RetryPolicy,
    /// When nothing was sent to a peer for so long, an empty frame is. Default: 1 s.
    pub keepalive: Duration,
    /// Events in one batch at most, at each tick or turn. Default: 20.
    pub batch: usize,
}

/// How events of one type travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPolicy {
    /// In which way.
    pub delivery: Delivery,
    /// How often, if not as the profile says.
    pub retry: Option<RetryPolicy>,
}

impl EventPolicy {
    /// Travels in this way, as often as the profile says.
    pub const fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            retry: None,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: Arc::from("custom"),
            snapshots: Rate::of(20.0),
            adaptation: Adaptation::down_to(Rate::of(10.0)),
            commands: Rate::of(30.0),
            events: Rate::ON_DEMAND,
            default_delivery: Delivery::BestEffort,
            event_types: BTreeMap::new(),
            retry: RetryPolicy::default(),
            keepalive: Duration::from_secs(1),
            batch: 20,
        }
    }
}

impl Profile {
    /// One with the defaults and this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            ..Self::default()
        }
    }

    /// Fast action: snapshots at 10 to 20 Hz; `spawn`, `join` and `attack` are reliable.
    pub fn action() -> Self {
        Self::ready_made("action", (10.0, 20.0), &["spawn", "join", "attack"])
    }

    /// Playing together: snapshots at 5 to 10 Hz; `spawn`, `join` and `revive` are reliable.
    pub fn coop() -> Self {
        Self::ready_made("coop", (5.0, 10.0), &["spawn", "join", "revive"])
    }

    /// Turn by turn: snapshots and commands on demand alone; `join`, `turn` and `commit` are reliable and come in their order.
    pub fn turn_based() -> Self {
        let mut profile = Self::ready_made("turn_based", (0.0, 0.0), &[]);
        profile.commands = Rate::ON_DEMAND;
        for event_type in ["join", "turn", "commit"] {
            profile = profile.with_event_type(event_type, EventPolicy::new(Delivery::Ordered));
        }
        profile
    }

    /// Building together: snapshots at 2 to 5 Hz; `place`, `delete`, `join` and `commit` are reliable.
    pub fn sandbox() -> Self {
        let reliable = ["place", "delete", "join", "commit"];
        Self::ready_made("sandbox", (2.0, 5.0), &reliable)
    }

    fn ready_made(name: &str, (least, most): (f64, f64), reliable: &[&str]) -> Self {
        let mut profile = Self::new(name);
        profile.snapshots = Rate::of(most);
        profile.adaptation = Adaptation::down_to(Rate::of(least));
        for event_type in reliable {
            profile = profile.with_event_type(event_type, EventPolicy::new(Delivery::Reliable));
        }
        profile
    }

    /// With a policy for one type of events.
    #[must_use]
    pub fn with_event_type(mut self, event_type: &str, policy: EventPolicy) -> Self {
        self.event_types.insert(Arc::from(event_type), policy);
        self
    }

    /// How events of this type travel, and how often.
    pub fn policy(&self, event_type: &str) -> (Delivery, RetryPolicy) {
        match self.event_types.get(event_type) {
            Some(policy) => (policy.delivery, policy.retry.unwrap_or(self.retry)),
            None => (self.default_delivery, self.retry),
        }
    }
}
