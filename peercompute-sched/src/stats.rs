use std::time::Duration;

/// What went to and came from one peer, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Frames sent.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames received, such that are no frames included.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames of others that never came, as far as the gaps in their numbers tell.
    pub frames_lost: u64,
    /// Snapshots sent.
    pub snapshots_sent: u64,
    /// Snapshots of these that the other end has applied.
    pub snapshots_acked: u64,
    /// Turns at which a snapshot would have been sent, had the transport had room, or were not as much under way as the link carries.
    pub snapshots_blocked: u64,
    /// Events sent for the first time.
    pub events_sent: u64,
    /// Events sent again.
    pub events_retried: u64,
    /// Reliable events that are known to have arrived.
    pub events_acked: u64,
    /// Reliable events that were given up, or that nothing will be known of as the peer has gone; those that waited for it and were never sent are among them.
    pub events_unknown: u64,
    /// Events that found no room in the queue.
    pub events_refused: u64,
    /// Events received and handed to the application.
    pub events_received: u64,
    /// Commands sent, each once for each peer.
    pub commands_sent: u64,
    /// Commands received and handed to the application.
    pub commands_received: u64,
    /// What came and was dropped, by reason.
    pub dropped: Dropped,
}

/// What came and was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Frames that are none.
    pub invalid: u64,
    /// Frames of an earlier life of the sender.
    pub stale_session: u64,
    /// Events, commands and snapshots that had come before.
    pub duplicate: u64,
    /// Snapshots that a newer one of the same provider had overtaken.
    pub overtaken: u64,
    /// Events whose number is far from what can be under way, or that had no room to wait for an earlier one.
    pub beyond: u64,
    /// Acknowledgements and clock readings that belong to nothing.
    pub unasked: u64,
    /// What came while more waited for the application than the settings allow.
    pub unread: u64,
    /// Snapshots of more providers than are kept for one peer.
    pub providers: u64,
    /// Snapshots of entities that are coded against what is not here, have another schema, or are broken. The sender is asked for a full one.
    pub unreadable: u64,
}

/// How a peer's link does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PeerStats {
    /// What went there and came from there.
    pub traffic: Traffic,
    /// The round trip, smoothed; `None` before the first exchange of clock readings.
    pub rtt: Option<Duration>,
    /// How much it varies.
    pub jitter: Duration,
    /// The part of the latest snapshots that was lost on the way there.
    pub loss: f64,
    /// Snapshots a second that it may get at present.
    pub snapshot_hertz: f64,
    /// Events that wait or are under way.
    pub events_queued: usize,
    /// When something was last heard of it, by one's own clock.
    pub last_received: Option<Duration>,
    /// When something was last sent to it.
    pub last_sent: Option<Duration>,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            frames_sent,
            bytes_sent,
            frames_received,
            bytes_received,
            frames_lost,
            snapshots_sent,
            snapshots_acked,
            snapshots_blocked,
            events_sent,
            events_retried,
            events_acked,
            events_unknown,
            events_refused,
            events_received,
            commands_sent,
            commands_received,
            dropped,
        } = other;
        self.frames_sent += frames_sent;
        self.bytes_sent += bytes_sent;
        self.frames_received += frames_received;
        self.bytes_received += bytes_received;
        self.frames_lost += frames_lost;
        self.snapshots_sent += snapshots_sent;
        self.snapshots_acked += snapshots_acked;
        self.snapshots_blocked += snapshots_blocked;
        self.events_sent += events_sent;
        self.events_retried += events_retried;
        self.events_acked += events_acked;
        self.events_unknown += events_unknown;
        self.events_refused += events_refused;
        self.events_received += events_received;
        self.commands_sent += commands_sent;
        self.commands_received += commands_received;
        self.dropped.add(dropped);
    }
}

impl Dropped {
    fn add(&mut self, other: &Self) {
        let Self {
            invalid,
            stale_session,
            duplicate,
            overtaken,
            beyond,
            unasked,
            unread,
            providers,
            unreadable,
        } = other;
        self.invalid += invalid;
        self.stale_session += stale_session;
        self.duplicate += duplicate;
        self.overtaken += overtaken;
        self.beyond += beyond;
        self.unasked += unasked;
        self.unread += unread;
        self.providers += providers;
        self.unreadable += unreadable;
    }
}
