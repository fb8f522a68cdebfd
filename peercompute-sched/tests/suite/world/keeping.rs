//! Nodes that keep what the next life needs, streams that break, and lives that end at any moment.

use std::time::Duration;

use bytes::Bytes;
use peercompute_sched::{Change, EventId, KeptKey, Scheduler, SchedulerConfig};

use super::World;

/// How long a write takes.
const WRITE: Duration = Duration::from_millis(4);

/// What one node keeps.
#[derive(Debug, Default)]
pub(crate) struct Store {
    records: std::collections::BTreeMap<(usize, KeptKey), Bytes>,
    writing: Option<Writing>,
    /// Of the events that the application has seen, those that are noted.
    noted: usize,
}

#[derive(Debug)]
struct Writing {
    ends: Duration,
    changes: Vec<(usize, Change)>,
    seen: usize,
}

impl Store {
    pub(super) fn ends(&self) -> Option<Duration> {
        self.writing.as_ref().map(|writing| writing.ends)
    }

    fn write(&mut self, writing: Writing) {
        for (of, change) in writing.changes {
            match change.record {
                Some(record) => drop(self.records.insert((of, change.key), record)),
                None => drop(self.records.remove(&(of, change.key))),
            }
        }
        self.noted = writing.seen;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.values().map(Bytes::len).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

impl World {
    /// The streams between two nodes break: what is under way on them is lost.
    pub(crate) fn part(&mut self, one: usize, other: usize) {
        let is_between = |from, to| (from, to) == (one, other) || (from, to) == (other, one);
        self.arrivals.retain(|it| !is_between(it.from, it.to));
        for (at, of) in [(one, other), (other, one)] {
            let now = self.local(at);
            let peer = self.peer(at, of);
            self.nodes[at].scheduler.suspend_peer(now, peer);
            self.drain(at);
        }
        self.parted.insert((one.min(other), one.max(other)));
    }

    /// And are there again.
    pub(crate) fn meet(&mut self, one: usize, other: usize) {
        if !self.parted.remove(&(one.min(other), one.max(other))) {
            return;
        }
        for (at, of) in [(one, other), (other, one)] {
            let now = self.local(at);
            let peer = self.peer(at, of);
            let node = &mut self.nodes[at];
            let back = match node.scheduler.return_peer(now, peer) {
                Some(back) => back,
                None => node.scheduler.add_peer(now).unwrap(),
            };
            node.peers.insert(of, back);
        }
        self.drain(one);
        self.drain(other);
    }

    /// A life ends, with whatever it was about to write, and another begins with what was kept; its streams are broken. Gives the events that are under way again.
    pub(crate) fn reload(
        &mut self,
        node: usize,
        change: impl Fn(&mut SchedulerConfig),
    ) -> Vec<(EventId, Bytes)> {
        let others: Vec<usize> = self.nodes[node].peers.keys().copied().collect();
        for other in &others {
            if !self.parted.contains(&(node.min(*other), node.max(*other))) {
                self.part(node, *other);
            }
        }
        let is_written = self.chance() < 0.5;
        let (now, wall) = (self.local(node), self.now);
        let it = &mut self.nodes[node];
        if let Some(writing) = it.store.writing.take().filter(|_| is_written) {
            it.store.write(writing);
        }
        // Whoever has seen them is gone.
        it.seen.events.truncate(it.store.noted);
        it.seen.settled.clear();
        let mut config = SchedulerConfig::new(it.session + 1000);
        change(&mut config);
        // The world's time, whatever the node's own clock says.
        config.unix = wall.saturating_sub(now);
        it.session = config.session;
        it.scheduler = Scheduler::new(now, config);
        let mut under_way = Vec::new();
        for other in others {
            let of = it.store.records.iter().filter(|((of, _), _)| *of == other);
            let (mut note, mut events) = (None, Vec::new());
            for ((_, key), record) in of {
                match key {
                    KeptKey::Peer => note = Some(record.clone()),
                    _ => events.push(record.clone()),
                }
            }
            let restored = it.scheduler.restore_peer(now, note, events).unwrap();
            it.peers.insert(other, restored.peer);
            let events = restored.events.into_iter();
            under_way.extend(events.map(|(event, _, payload)| (event, payload)));
        }
        self.drain(node);
        under_way
    }

    /// Begins to write what has changed, if nothing is being written.
    pub(super) fn keep(&mut self, node: usize) {
        let (now, ends) = (self.local(node), self.now + WRITE);
        let it = &mut self.nodes[node];
        if it.store.writing.is_some() || !it.scheduler.has_changes() {
            return;
        }
        let changes = it.scheduler.take_changes(now);
        let changes = changes.into_iter().filter_map(|change| {
            let found = it.peers.iter().find(|(_, peer)| **peer == change.peer);
            found.map(|(of, _)| (*of, change))
        });
        it.store.writing = Some(Writing {
            ends,
            changes: changes.collect(),
            seen: it.seen.events.len(),
        });
    }

    pub(super) fn finish_writing(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        let Some(writing) = it.store.writing.take_if(|writing| writing.ends <= now) else {
            return;
        };
        it.store.write(writing);
        it.scheduler.changes_kept();
        self.drain(node);
    }
}
