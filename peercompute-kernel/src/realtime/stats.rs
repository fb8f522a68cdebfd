//! What goes over the streams of a live room.

use peercompute_sched::Traffic;
use prost::length_delimiter_len;

use super::lane::{LANES, Lane};

/// What a node has sent and received in a live room, to and from all peers, those that have left included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RealtimeStats {
    /// What the scheduler says of its snapshots, events and commands, which go over the lanes of [`REALTIME_PROTOCOL`](crate::REALTIME_PROTOCOL) and [`SNAPSHOTS_PROTOCOL`](crate::SNAPSHOTS_PROTOCOL).
    pub scheduler: Traffic,
    pub(super) lanes: [LaneTraffic; LANES],
}

/// What went over the streams of one protocol, and as datagrams of it. Bytes are those of the frames with their lengths, as they are written to the streams: what sealing, encryption and packets add is
/// not in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneTraffic {
    /// Frames handed to the transport.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
}

impl RealtimeStats {
    /// What went over each lane, by its protocol, such as [`LOCKSTEP_PROTOCOL`](crate::LOCKSTEP_PROTOCOL).
    pub fn lanes(&self) -> impl Iterator<Item = (&'static str, LaneTraffic)> {
        Lane::ALL.map(Lane::protocol).into_iter().zip(self.lanes)
    }

    /// What went over all of them.
    pub fn total(&self) -> LaneTraffic {
        let mut total = LaneTraffic::default();
        for lane in self.lanes {
            total.add(lane);
        }
        total
    }
}

impl LaneTraffic {
    pub(super) fn add(&mut self, other: Self) {
        self.frames_sent += other.frames_sent;
        self.bytes_sent += other.bytes_sent;
        self.frames_received += other.frames_received;
        self.bytes_received += other.bytes_received;
    }

    /// A frame of so many bytes, without its length, is on its way.
    pub(super) fn sent(&mut self, size: usize) {
        self.frames_sent += 1;
        self.bytes_sent += (length_delimiter_len(size) + size) as u64;
    }

    /// One has come.
    pub(super) fn received(&mut self, size: usize) {
        self.frames_received += 1;
        self.bytes_received += (length_delimiter_len(size) + size) as u64;
    }
}
