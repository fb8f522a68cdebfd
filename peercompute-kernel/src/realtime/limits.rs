//! How much of everything the cores of real-time rooms keep, and what they do when there is no more room.

use std::time::Duration;

/// Peers of a room that an [`Authority`](crate::Authority) knows at a time. A further one takes the place of one that has been silent for two heartbeats, the longest silent first; where there is none, its notes are
/// ignored and counted.
pub const MAX_MEMBERS: usize = 1024;

/// Events of an [`Authority`](crate::Authority) that were not taken. The oldest makes way and is counted.
pub const MAX_AUTHORITY_EVENTS: usize = 256;

/// The shortest and the longest heartbeat. Settings beyond are taken as these.
pub const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Notes that each heartbeat is told in, at most. Settings beyond are taken as this.
pub const MAX_NOTES: u32 = 16;

/// Notes of its own whose time of sending a host remembers, so that it knows from when on it is supported. Support for an older one does not count.
pub const MAX_BEATS: usize = 64;

/// A beat that is so far ahead of the last one known, and that somebody else than the host tells of, is ignored.
pub const MAX_BEAT_STEP: u64 = 4096;

/// Ticks that a [`Lockstep`](crate::Lockstep) keeps after it has applied them, so that others can catch up. Who is further behind takes a snapshot. While somebody takes one, or catches up after it, up to [`MAX_BACKLOG`] are kept.
pub const MAX_HISTORY: usize = 1024;

/// Sealed ticks that the application has not applied yet. While there are so many, no further ones are taken in, and a host seals none.
pub const MAX_BACKLOG: usize = 16 * 1024;

/// Bytes of these. Beyond it, the same.
pub const MAX_BACKLOG_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of one's own commands that are not sealed yet, together. [`Lockstep::command`](crate::Lockstep::command) refuses further ones.
pub const MAX_UNSEALED_BYTES: usize = 64 * 1024;

/// Bytes of commands in one tick. What does not fit is sealed into the next.
pub const MAX_TICK_BYTES: usize = 64 * 1024;

/// Bytes of ticks in one frame, but for the first, which always fits.
pub const MAX_SEAL_BYTES: usize = 60 * 1024;

/// How many ticks ahead commands can be stamped.
pub const MAX_INPUT_DELAY: u32 = 240;

/// The slowest and the fastest pace, in ticks in a thousand seconds.
pub const TICK_RATES: (u32, u32) = (1_000, 120_000);

/// Ticks that a host seals at once when it was kept from it. What it is further behind is left out: the room's ticks come later then.
pub const MAX_BURST: u32 = 32;

/// Ticks whose hashes are kept. The oldest makes way, and is not compared then.
pub const MAX_HASH_TICKS: usize = 1024;

/// Bytes of a snapshot.
pub const MAX_SNAPSHOT: usize = 64 * 1024 * 1024;

/// A host asks for no further snapshot before so long after the last one.
pub const SNAPSHOT_PACE: Duration = Duration::from_secs(1);

/// Snapshots that a host keeps for those who are receiving them. Who needs another waits for one of these to be taken.
pub const MAX_SNAPSHOTS: usize = 2;

/// Chunks of a snapshot that are under way to a peer at a time.
pub const SNAPSHOT_WINDOW: u64 = 64;

/// Chunks that a peer is sent for each tick.
pub const CHUNKS_PER_TICK: usize = 4;

/// After so long a chunk that was not acknowledged is sent again.
pub const CHUNK_PATIENCE: Duration = Duration::from_millis(700);

/// A snapshot of which a peer has taken no further chunk for so long makes way for another.
pub const TRANSFER_PATIENCE: Duration = Duration::from_secs(10);

/// Events of a [`Lockstep`](crate::Lockstep) that were not taken. The oldest makes way and is counted.
pub const MAX_LOCKSTEP_EVENTS: usize = 256;

/// Ticks that a [`Rollback`](crate::Rollback) runs ahead at most, unless the settings say fewer. It waits for the host then.
pub const MAX_AHEAD: usize = 120;
