use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use peercompute_map::SortedMap;
use peercompute_net::{Incoming, NetworkManager, OpenError, Path, PeerId, PeerInfo, Stream};
use peercompute_rt::{BoxFuture, Runtime};

use super::{LinkEnd, Mesh, Order, TalkEnd};
use crate::{
    FLOW_PROTOCOL, LINKS_PROTOCOL, LocalFallback, Topology,
    clock::now,
    error::LinkError,
    retries::Retries,
    submit::{Alone, Sight, Verdict},
    topology::{Candidate, FIRST, LAST, straight},
};

/// How long the peer with the higher id waits for the other to open the stream.
const COURTESY: Duration = Duration::from_secs(1);

/// The most links at once, those that others have opened included, and such that are about to end.
const MAX_LINKS: usize = 48;

/// The most streams of notes at once that others have opened, and as many that this node has. Those of peers that come on top are not taken; what there was to say to
/// them is said another time.
const MAX_TALKS: usize = 64;

/// How long a peer that has opened a stream of notes may open no other.
const TALK_PAUSE: Duration = Duration::from_millis(500);

/// How often to look what has changed without an event.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the links to neighbours, and has own jobs computed here when nobody else is there.
pub(crate) struct MeshSupervisor {
    pub(crate) runtime: Runtime,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) net: Arc<NetworkManager>,
    pub(crate) incoming: Incoming,
    /// Streams of notes, in a node that chooses its neighbours.
    pub(crate) talks: Option<Incoming>,
    pub(crate) topology: Topology,
    pub(crate) neighbours: usize,
    pub(crate) fallback: LocalFallback,
}

#[derive(Default)]
struct Links {
    running: FuturesUnordered<BoxFuture<'static, LinkEnd>>,
    /// Streams that are being opened or run, by their peer.
    to: SortedMap<PeerId, u32>,
    /// Since when a peer is wanted.
    wanted: SortedMap<PeerId, Duration>,
    /// Peers whose link broke.
    broken: Retries<PeerId>,
    /// The node has had its first neighbours.
    settled: bool,
    talks: Talks,
}

/// Streams of notes.
#[derive(Default)]
struct Talks {
    running: FuturesUnordered<BoxFuture<'static, TalkEnd>>,
    /// Peers to whom one is being opened, or was by this end.
    opened: BTreeSet<PeerId>,
    /// When a peer opened its last.
    accepted: SortedMap<PeerId, Duration>,
    accepted_now: usize,
    broken: Retries<PeerId>,
    /// Connected peers that do not speak the protocol.
    mute: BTreeSet<PeerId>,
}

impl MeshSupervisor {
    /// Runs for as long as the node does.
    pub(crate) async fn run(mut self) {
        let patience = match self.fallback {
            LocalFallback::Never { patience } | LocalFallback::WhenAlone { patience } => patience,
        };
        let mut alone = Alone::new(patience);
        let mut links = Links::default();
        let mut events = self.net.events();
        let net = self.net.clone();
        let mut search = Box::pin(async move { net.ready().await });
        let mut search_done = false;
        loop {
            let mesh = self.mesh.clone();
            let (changed, ordered) = (mesh.changed(), mesh.ordered());
            let (candidates, retry) = self.link_peers(&mut links);
            self.carry_out(&mut links);
            let sight = Sight {
                jobs: self.mesh.open_jobs() > 0,
                served: self.mesh.is_served(),
                search_done,
                trying: candidates > 0 || (search_done && self.searches_on()),
                // Who makes a program ready counts for one who has it.
                considering: false,
                // They are there as soon as they are asked.
                here: false,
            };
            let until = match alone.look(now(&self.runtime), sight) {
                Verdict::Fine => None,
                Verdict::WaitUntil(until) => Some(until),
                Verdict::GiveUp => {
                    self.give_up();
                    alone = Alone::new(patience);
                    None
                }
            };
            let wake = [retry, until].into_iter().flatten().min();
            let wait = wake.map_or(LOOK, |at| at.saturating_sub(now(&self.runtime)).min(LOOK));
            tokio::select! {
                // In this order, so that a simulation repeats.
                biased;
                Some((peer, end)) = links.running.next() => self.ended(&mut links, peer, &end),
                Some((peer, opened, end)) = links.talks.running.next() => {
                    self.talk_ended(&mut links.talks, peer, opened, &end);
                }
                Some((peer, stream)) = self.incoming.next() => self.accept(&mut links, peer, stream),
                Some((peer, stream)) = next(&mut self.talks) => {
                    self.accept_talk(&mut links.talks, peer, stream);
                }
                _ = &mut search, if !search_done => search_done = true,
                Some(_event) = events.next() => {}
                () = ordered => {}
                () = changed => {}
                () = self.runtime.sleep(wait) => {}
            }
        }
    }

    /// Whether a relay or bootstrap node could not be reached and is tried again.
    fn searches_on(&self) -> bool {
        let readiness = self.net.ready().now_or_never();
        readiness.is_some_and(|readiness| readiness.lost.iter().any(|(_, why)| why.is_passing()))
    }

    fn accept(&self, links: &mut Links, peer: PeerId, stream: Stream) {
        if links.running.len() >= MAX_LINKS {
            tracing::warn!(%peer, limit = MAX_LINKS, "too many neighbours; this one is refused");
            return;
        }
        if !self.mesh.accepts(now(&self.runtime), peer) {
            tracing::debug!(%peer, "a link that nobody has asked for is refused");
            return;
        }
        *links.to.entry(peer).or_default() += 1;
        let path = self.net.peers().into_iter();
        let path = path
            .filter(|it| it.presence.peer == peer)
            .find_map(|it| it.path);
        let local = self.net.local_peer();
        let drive = self.mesh.clone().drive(local, peer, path, false, stream);
        links.running.push(Box::pin(drive));
    }

    /// Starts links to the peers that should be neighbours and are not. Returns how many peers may yet turn out to be neighbours, and when to look again.
    fn link_peers(&self, links: &mut Links) -> (usize, Option<Duration>) {
        let now = now(&self.runtime);
        let local = self.net.local_peer();
        let linked: BTreeSet<PeerId> = self.mesh.linked().into_iter().collect();
        let peers = self.net.peers();
        let reached = peers.iter().filter(|it| it.path.is_some());
        let mut reached: BTreeSet<PeerId> = reached.map(|it| it.presence.peer).collect();
        // Who comes back may have learnt it.
        links.talks.mute.retain(|peer| reached.contains(peer));
        let candidates: Vec<Candidate> = peers
            .iter()
            .map(|it| Candidate {
                peer: it.presence.peer,
                reached: it.path.is_some(),
                linked: linked.contains(&it.presence.peer),
                chooses: !links.talks.mute.contains(&it.presence.peer),
                failed: links.broken.wait(now, &it.presence.peer).is_some(),
            })
            .collect();
        reached.retain(|peer| !links.talks.mute.contains(peer));
        self.mesh.set_candidates(&reached);
        self.leave_relays(links, now, &peers);
        links.settled |= linked.len() >= FIRST;
        let few = if links.settled { LAST } else { FIRST };
        let wanted = if self.topology.chooses() {
            straight(local, [few, self.neighbours], &candidates)
        } else {
            BTreeSet::new()
        };
        links.wanted.retain(|peer, _| wanted.contains(peer));
        let (mut hopes, mut retry) = (0, None::<Duration>);
        hopes += peers.iter().filter(|it| it.is_being_dialled).count();
        for peer in &wanted {
            let since = *links.wanted.entry(*peer).or_insert(now);
            if links.to.contains_key(peer) {
                hopes += 1;
                continue;
            }
            let mut from = links.broken.wait(now, peer).unwrap_or_default();
            if local > *peer {
                hopes += usize::from(now < since + COURTESY);
                from = from.max(since + COURTESY);
            }
            if from > now {
                hopes += 1;
                retry = Some(retry.map_or(from, |retry| retry.min(from)));
                continue;
            }
            hopes += 1;
            self.open_link(links, *peer);
        }
        (hopes, retry)
    }

    /// Opens links anew that go through a relay though there is a direct way by now: a stream stays on the connection that it was opened on. The new stream takes the
    /// place of the old one at both ends.
    fn leave_relays(&self, links: &mut Links, now: Duration, peers: &[PeerInfo]) {
        for peer in self.mesh.relayed() {
            let mut direct = peers.iter().filter(|it| it.path == Some(Path::Direct));
            let is_direct = direct.any(|it| it.presence.peer == peer);
            let is_being_opened = links.to.get(&peer).is_some_and(|streams| *streams > 1);
            if is_direct && !is_being_opened && links.broken.wait(now, &peer).is_none() {
                self.open_link(links, peer);
            }
        }
    }

    fn open_link(&self, links: &mut Links, peer: PeerId) {
        *links.to.entry(peer).or_default() += 1;
        let peers = self.net.peers().into_iter();
        let mut peers = peers.filter(|it| it.presence.peer == peer);
        let path = peers.find_map(|it| it.path);
        let local = self.net.local_peer();
        let (net, mesh) = (self.net.clone(), self.mesh.clone());
        links.running.push(Box::pin(async move {
            match net.open(peer, FLOW_PROTOCOL).await {
                Ok(stream) => mesh.drive(local, peer, path, true, stream).await,
                Err(error) => (peer, Err(error.into())),
            }
        }));
    }

    fn ended(&self, links: &mut Links, peer: PeerId, end: &Result<(), LinkError>) {
        if let Some(count) = links.to.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                links.to.remove(&peer);
                self.mesh.link_failed(peer);
            }
        }
        match end {
            // The other stream goes on.
            Err(LinkError::Doubled) => return,
            Err(LinkError::Parted) => {
                tracing::debug!(%peer, "the link has been given up");
                return;
            }
            Ok(()) => tracing::debug!(%peer, "the neighbour has ended its stream"),
            Err(error) if error.is_violation() => {
                tracing::warn!(%peer, %error, "the neighbour is cut off");
                self.net.cut_off(peer, error);
            }
            Err(error) => tracing::debug!(%peer, %error, "a stream to a neighbour has ended"),
        }
        links.broken.fail(now(&self.runtime), peer);
    }

    /// Does what the choice of neighbours wants done.
    fn carry_out(&self, links: &mut Links) {
        let now = now(&self.runtime);
        while let Some(order) = self.mesh.next_order() {
            match order {
                Order::Link(peer) if !links.to.contains_key(&peer) => self.open_link(links, peer),
                // It is being opened, or is there.
                Order::Link(_) => {}
                Order::Talk(peer) => {
                    let talks = &mut links.talks;
                    if talks.opened.contains(&peer) {
                        continue;
                    }
                    if talks.opened.len() >= MAX_TALKS || talks.broken.wait(now, &peer).is_some() {
                        self.mesh.talk_failed(peer);
                        continue;
                    }
                    talks.opened.insert(peer);
                    let (net, mesh) = (self.net.clone(), self.mesh.clone());
                    talks.running.push(Box::pin(async move {
                        match net.open(peer, LINKS_PROTOCOL).await {
                            Ok(stream) => mesh.talk(peer, true, stream).await,
                            Err(error) => (peer, true, Err(error.into())),
                        }
                    }));
                }
            }
        }
    }

    fn accept_talk(&self, talks: &mut Talks, peer: PeerId, stream: Stream) {
        let now = now(&self.runtime);
        talks
            .accepted
            .retain(|_, at| now.saturating_sub(*at) < TALK_PAUSE);
        if talks.accepted_now >= MAX_TALKS || talks.accepted.contains_key(&peer) {
            tracing::debug!(%peer, limit = MAX_TALKS, "a stream of notes about links is refused");
            return;
        }
        talks.accepted.insert(peer, now);
        talks.accepted_now += 1;
        let talk = self.mesh.clone().talk(peer, false, stream);
        talks.running.push(Box::pin(talk));
    }

    fn talk_ended(
        &self,
        talks: &mut Talks,
        peer: PeerId,
        opened: bool,
        end: &Result<(), LinkError>,
    ) {
        if opened {
            talks.opened.remove(&peer);
            if !self.mesh.talks_to(peer) {
                self.mesh.talk_failed(peer);
            }
        } else {
            talks.accepted_now -= 1;
        }
        match end {
            Ok(()) => return,
            Err(LinkError::Open(OpenError::Unsupported { .. })) => {
                tracing::debug!(%peer, "the peer does not choose its neighbours");
                talks.mute.insert(peer);
                return;
            }
            Err(error) if error.is_violation() => {
                tracing::warn!(%peer, %error, "the peer is cut off");
                self.net.cut_off(peer, error);
            }
            Err(error) => tracing::debug!(%peer, %error, "a stream of notes has ended"),
        }
        talks.broken.fail(now(&self.runtime), peer);
    }

    fn give_up(&self) {
        let here = matches!(self.fallback, LocalFallback::WhenAlone { .. });
        if here && self.mesh.set_local() && self.mesh.is_served() {
            tracing::info!("no other node is there; the job runs on this machine");
        } else {
            // Not here, or it was tried here too.
            self.mesh.fail_unserved();
        }
    }
}

async fn next(incoming: &mut Option<Incoming>) -> Option<(PeerId, Stream)> {
    incoming.as_mut()?.next().await
}
