//! A room of peers that only find their host.

pub(crate) mod operations;

use std::{collections::BTreeSet, time::Duration};

use peercompute_kernel::{Authority, AuthorityConfig, AuthorityEvent};
use peercompute_net::PeerId;
use peercompute_proto::{decode, v1};
use prost::Message as _;

use crate::{
    SECOND,
    net::{Net, Random, Weather, peer_id},
};

pub(crate) const HEARTBEAT: Duration = SECOND;

pub(crate) const CALM: Weather = Weather::calm(Duration::from_millis(50));

pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) authority: Authority,
    pub(crate) events: Vec<(Duration, AuthorityEvent)>,
    /// Its clock shows so much more than the room's.
    ahead: Duration,
    side: usize,
}

pub(crate) struct Room {
    pub(crate) now: Duration,
    pub(crate) net: Net,
    pub(crate) random: Random,
    pub(crate) peers: Vec<Option<Peer>>,
    ids: Vec<PeerId>,
    config: AuthorityConfig,
    /// When which link is whole again.
    mending: Vec<(Duration, usize, usize)>,
    /// Who may write at the same time as another: watched at every step.
    pub(crate) most_writers: usize,
}

impl Room {
    pub(crate) fn new(seed: u64, weather: Weather, places: usize, config: AuthorityConfig) -> Self {
        let mut random = Random(seed);
        let ids = (0..places).map(|_| peer_id(&mut random)).collect();
        Self {
            now: Duration::from_secs(1),
            net: Net::new(random.next(), weather),
            random,
            peers: (0..places).map(|_| None).collect(),
            ids,
            config,
            mending: Vec::new(),
            most_writers: 0,
        }
    }

    /// Lets a peer come, or come back after it was killed. It is on the side of those whom it can reach.
    pub(crate) fn join(&mut self, place: usize, side: usize) {
        if self.peers[place].is_some() {
            return;
        }
        let ahead = Duration::from_millis(self.random.below(1_000_000));
        let mut config = self.config;
        config.joined = self.now;
        config.session = self.now.as_micros() as u64;
        let id = self.ids[place];
        self.peers[place] = Some(Peer {
            id,
            authority: Authority::new(self.now + ahead, id, config),
            events: Vec::new(),
            ahead,
            side,
        });
        self.cut_by_sides();
    }

    /// Takes a peer away without a word. The others' networks notice it, or do not.
    pub(crate) fn kill(&mut self, place: usize, is_noticed: bool) {
        let Some(peer) = self.peers[place].take() else {
            return;
        };
        if is_noticed {
            for other in self.peers.iter_mut().flatten() {
                let now = self.now + other.ahead;
                other.authority.handle_left(now, peer.id);
            }
        }
    }

    pub(crate) fn stop(&mut self, place: usize) {
        if let Some(peer) = &mut self.peers[place] {
            peer.authority.stop(self.now + peer.ahead);
        }
        self.turn();
        self.peers[place] = None;
    }

    /// Splits the room: who is on which side, by place.
    pub(crate) fn split(&mut self, sides: impl Fn(usize) -> usize) {
        self.mending.clear();
        for (place, peer) in self.peers.iter_mut().enumerate() {
            if let Some(peer) = peer {
                peer.side = sides(place);
            }
        }
        self.cut_by_sides();
    }

    /// Makes the room whole again, each direction of each link at a time of its own within half a second.
    pub(crate) fn heal(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            peer.side = 0;
        }
        self.mending.clear();
        let places = self.peers.len();
        for from in 0..places {
            for to in 0..places {
                if self.net.is_cut(from, to) {
                    let wait = Duration::from_millis(self.random.below(500));
                    self.mending.push((self.now + wait, from, to));
                }
            }
        }
    }

    fn cut_by_sides(&mut self) {
        for from in 0..self.peers.len() {
            for to in 0..self.peers.len() {
                if let (Some(one), Some(other)) = (&self.peers[from], &self.peers[to]) {
                    let mends = self.mending.iter().any(|(_, f, t)| (*f, *t) == (from, to));
                    self.net.set_cut(from, to, one.side != other.side || mends);
                }
            }
        }
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.turn();
            let mut next = end;
            for peer in self.peers.iter().flatten() {
                let wake = peer.authority.poll_timeout();
                next = next.min(wake.map_or(end, |wake| wake.saturating_sub(peer.ahead)));
            }
            next = next.min(self.net.poll_timeout().unwrap_or(end));
            next = self
                .mending
                .iter()
                .map(|(at, ..)| *at)
                .fold(next, Duration::min);
            if next >= end {
                self.now = end;
                self.turn();
                return;
            }
            assert!(next >= self.now, "time goes back");
            // Real timers are a little late.
            self.now = next.max(self.now) + Duration::from_micros(50);
        }
    }

    /// Everything that happens now.
    fn turn(&mut self) {
        let now = self.now;
        self.mending.retain(|(at, from, to)| {
            let waits = *at > now;
            if !waits {
                self.net.set_cut(*from, *to, false);
                self.net.release(now);
            }
            waits
        });
        while let Some((from, to, bytes)) = self.net.arrive(now) {
            let from = self.ids[from];
            if let Some(peer) = &mut self.peers[to] {
                let note: v1::AuthorityNote = decode(bytes).unwrap();
                peer.authority.handle_note(now + peer.ahead, from, &note);
            }
            self.watch();
        }
        for place in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[place] else {
                continue;
            };
            let local = now + peer.ahead;
            if peer.authority.poll_timeout().is_some_and(|at| at <= local) {
                peer.authority.handle_timeout(local);
            }
            if let Some(note) = peer.authority.poll_transmit(local) {
                for to in (0..self.ids.len()).filter(|to| *to != place) {
                    let note = peer.authority.addressed(note.clone(), self.ids[to]);
                    self.net.send(now, place, to, note.encode_to_vec().into());
                }
            }
            let peer = self.peers[place].as_mut().unwrap();
            while let Some(event) = peer.authority.poll_event() {
                peer.events.push((now, event));
            }
        }
        self.watch();
    }

    fn watch(&mut self) {
        let writers = self.writers(|_| true).len();
        self.most_writers = self.most_writers.max(writers);
    }

    fn writers(&self, on: impl Fn(&Peer) -> bool) -> Vec<usize> {
        let peers = self.peers.iter().enumerate();
        peers
            .filter_map(|(place, peer)| Some((place, peer.as_ref()?)))
            .filter(|(_, peer)| on(peer) && peer.authority.is_writer(self.now + peer.ahead))
            .map(|(place, _)| place)
            .collect()
    }

    pub(crate) fn sides(&self) -> BTreeSet<usize> {
        self.peers.iter().flatten().map(|peer| peer.side).collect()
    }

    pub(crate) fn size_of(&self, side: usize) -> usize {
        let peers = self.peers.iter().flatten();
        peers.filter(|peer| peer.side == side).count()
    }

    /// Who writes on a side; all of that side have to agree.
    pub(crate) fn writer(&self, side: usize) -> Result<Option<usize>, String> {
        let writers = self.writers(|peer| peer.side == side);
        if writers.len() > 1 {
            return Err(format!(
                "{writers:?} write at {:?}\n{}",
                self.now,
                self.tale()
            ));
        }
        let Some(writer) = writers.first().copied() else {
            return Ok(None);
        };
        for (place, peer) in self.peers.iter().enumerate() {
            if let Some(peer) = peer
                && peer.side == side
                && peer.authority.host() != Some(self.ids[writer])
            {
                return Err(format!(
                    "{place} does not follow {writer} at {:?}\n{}",
                    self.now,
                    self.tale()
                ));
            }
        }
        Ok(Some(writer))
    }

    /// What has happened, for people.
    pub(crate) fn tale(&self) -> String {
        let mut lines = Vec::new();
        for (place, peer) in self.peers.iter().enumerate() {
            let Some(peer) = peer else { continue };
            for (at, event) in &peer.events {
                lines.push((*at, format!("{at:?} {place}: {event:?}")));
            }
        }
        lines.sort();
        let mut tale: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        for (place, id) in self.ids.iter().enumerate() {
            tale = tale.replace(&format!("PeerId(\"{id}\")"), &format!("#{place}"));
        }
        tale
    }

    pub(crate) fn id(&self, place: usize) -> PeerId {
        self.ids[place]
    }

    pub(crate) fn peer(&mut self, place: usize) -> &mut Peer {
        self.peers[place].as_mut().unwrap()
    }

    pub(crate) fn hand_over(&mut self, from: usize, to: usize) -> bool {
        let id = self.ids[to];
        let now = self.now;
        self.peers[from]
            .as_mut()
            .is_some_and(|peer| peer.authority.hand_over(now + peer.ahead, id).is_ok())
    }

    /// The time of an event by the room's clock.
    pub(crate) fn room_time(&self, place: usize, local: Duration) -> Duration {
        local - self.peers[place].as_ref().unwrap().ahead
    }
}
