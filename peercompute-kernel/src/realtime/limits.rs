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

/// The least time from one sync point to the next. A setup with less is taken as this.
pub const SYNC_SPACING: Duration = Duration::from_millis(500);

/// States after sync points that a [`Hybrid`](crate::Hybrid) keeps: the latest ones, and beside them the one that it takes over from the host. A point that comes after its state was forgotten is missed.
pub const MAX_SAVES: usize = 2;

/// Ticks that a takeover goes back at most. What takes longer is given up, and begun anew from a later point.
pub const MAX_SYNC_LOG: u64 = 4096;

/// Where the room's clock has jumped and ticks are left out, a [`Hybrid`](crate::Hybrid) goes on from the last sync point, if that is so many ticks ago at most; and with the present tick if it is longer ago.
pub const MAX_LANDING: u64 = 128;

/// Commands of one peer that were carried out and are kept, so that a takeover can carry them out again. The oldest makes way: a takeover from before it lacks it until the next one.
pub const MAX_DONE_COMMANDS: usize = 1024;

/// Bytes of these. Beyond it, the same.
pub const MAX_DONE_BYTES: usize = 128 * 1024;

/// Commands of one's own that not all others have acknowledged. [`Hybrid::command`](crate::Hybrid::command) refuses further ones while it is the host who has not; otherwise the oldest is given up.
pub const MAX_OUTBOX: usize = 1024;

/// Bytes of these. Beyond it, the same.
pub const MAX_OUTBOX_BYTES: usize = 256 * 1024;

/// A command that a peer has not acknowledged after so long is given up for that peer.
pub const SYNC_PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two frames to a peer that has something to acknowledge. Each that is not answered doubles the time to the next, from a tick on.
pub const SYNC_REPEAT: Duration = Duration::from_millis(200);

/// The longest time that acknowledgements and chunks wait for the next tick where ticks are slow.
pub const SYNC_PACE: Duration = Duration::from_millis(50);

/// Points that are further ahead of a peer's ticks than so many intervals are not heard yet: the host says them again.
pub const MAX_POINTS_AHEAD: u64 = 8;

/// Bytes of states that a host keeps for those who are taking them over, beside its latest. Who needs another waits for a later point.
pub const MAX_OFFERED_BYTES: usize = 2 * MAX_SNAPSHOT;

/// The longest time after which a chunk of a state that was not acknowledged is sent again, on a link that is slow.
pub const MAX_CHUNK_PATIENCE: Duration = Duration::from_secs(3);

/// Events of a [`Hybrid`](crate::Hybrid) that were not taken. The oldest makes way and is counted.
pub const MAX_HYBRID_EVENTS: usize = 256;
