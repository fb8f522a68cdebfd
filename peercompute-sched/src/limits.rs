//! How much of everything a scheduler keeps, and what it does when there is no more room.

use std::time::Duration;

/// Peers that a scheduler talks to at a time. Further ones are refused with an error.
pub const MAX_PEERS: usize = 4096;

/// Reliable events to one peer that are under way at a time: sent, and neither acknowledged nor given up. Further ones wait in the queue.
pub const MAX_UNSETTLED: u64 = 1024;

/// Events to one peer that wait or are under way, unless the settings say otherwise. Further ones are refused with an error.
pub const MAX_QUEUED_EVENTS: usize = 4096;

/// Bytes of such events, unless the settings say otherwise.
pub const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of ordered events of one peer that wait for an earlier one. What comes beyond it is dropped, and so not acknowledged: the sender sends it again.
pub const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// What has happened and was not taken with `poll_event` yet, unless the settings say otherwise. While it is full nothing that others send is acknowledged or applied: they send it again.
pub const MAX_WAITING: usize = 8192;

/// Bytes of an event's or command's payload, so that it fits into a frame with its names.
pub const MAX_EVENT_PAYLOAD: usize = peercompute_proto::limits::MAX_PAYLOAD - 1024;

/// Commands that wait for their tick. The oldest makes way.
pub const MAX_QUEUED_COMMANDS: usize = 1024;

/// Providers of states, and of commands, each. Further ones are refused with an error.
pub const MAX_PROVIDERS: usize = 16;

/// Exchanges of clock readings that were begun and not answered. The oldest makes way.
pub const MAX_CLOCK_EXCHANGES: usize = 8;

/// No wait between two sends of an event is longer.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Peers that cannot be reached and may come back, with what waits for them. The one that has been away for longest makes way: what waits for it is settled.
pub const MAX_AWAY: usize = 256;

/// For so long events to all are for a peer that is away, too.
pub const EXPECTED_FOR: Duration = Duration::from_secs(30);

/// After so long nobody is waited for.
pub const MAX_AWAY_TIME: Duration = Duration::from_secs(3600);

/// Bytes of events for one peer that are kept for the next life. What comes beyond is sent, and not kept.
pub const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Numbers of delivered events of a peer's earlier lives that are remembered one by one. Beyond it the earliest life is forgotten, and what was sent first in it is not taken any more.
pub const MAX_REMEMBERED: usize = 1024;
