use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use peercompute_net::{Incoming, NetworkManager, PeerId};
use peercompute_rt::{BoxFuture, Runtime};

use super::{LinkEnd, Mesh};
use crate::{
    FLOW_PROTOCOL, LocalFallback, Topology,
    clock::now,
    error::LinkError,
    retries::Retries,
    submit::{Alone, Sight, Verdict},
    topology::{Candidate, DEGREE, choose},
};

/// How long the peer with the higher id waits for the other to open the stream.
const COURTESY: Duration = Duration::from_secs(1);

/// The most links at once, those that others have opened included.
const MAX_LINKS: usize = 4 * DEGREE;

/// How often to look what has changed without an event.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the links to neighbours, and has own jobs computed here when nobody else is there.
pub(crate) struct MeshSupervisor {
    pub(crate) runtime: Runtime,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) net: Arc<NetworkManager>,
    pub(crate) incoming: Incoming,
    pub(crate) topology: Topology,
    pub(crate) fallback: LocalFallback,
}

#[derive(Default)]
struct Links {
    running: FuturesUnordered<BoxFuture<'static, LinkEnd>>,
    /// Streams that are being opened or run, by their peer.
    to: BTreeMap<PeerId, u32>,
    /// Since when a peer is wanted.
    wanted: BTreeMap<PeerId, Duration>,
    /// Peers whose link broke.
    broken: Retries<PeerId>,
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
            let changed = mesh.changed();
            let (candidates, retry) = self.link_peers(&mut links);
            let sight = Sight {
                jobs: self.mesh.open_jobs() > 0,
                served: self.mesh.is_served(),
                search_done,
                trying: candidates > 0 || (search_done && self.searches_on()),
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
                Some((peer, stream)) = self.incoming.next() => self.accept(&mut links, peer, stream),
                _ = &mut search, if !search_done => search_done = true,
                Some(_event) = events.next() => {}
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

    fn accept(&self, links: &mut Links, peer: PeerId, stream: peercompute_net::Stream) {
        if links.running.len() >= MAX_LINKS {
            tracing::warn!(%peer, limit = MAX_LINKS, "too many neighbours; this one is refused");
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
        let candidates: Vec<Candidate> = peers
            .iter()
            .map(|it| Candidate {
                peer: it.presence.peer,
                reached: it.path.is_some(),
                linked: linked.contains(&it.presence.peer),
            })
            .collect();
        let choice = choose(self.topology, local, &candidates);
        self.mesh.set_role(choice.role);
        links
            .wanted
            .retain(|peer, _| choice.neighbours.contains(peer));
        let (mut hopes, mut retry) = (0, None::<Duration>);
        hopes += peers.iter().filter(|it| it.is_being_dialled).count();
        for peer in &choice.neighbours {
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
                retry = Some(retry.map_or(from, |retry| retry.min(from)));
                continue;
            }
            hopes += 1;
            *links.to.entry(*peer).or_default() += 1;
            let path = peers.iter().filter(|it| it.presence.peer == *peer);
            let path = path.into_iter().find_map(|it| it.path);
            let (net, mesh, peer) = (self.net.clone(), self.mesh.clone(), *peer);
            links.running.push(Box::pin(async move {
                match net.open(peer, FLOW_PROTOCOL).await {
                    Ok(stream) => mesh.drive(local, peer, path, true, stream).await,
                    Err(error) => (peer, Err(error.into())),
                }
            }));
        }
        (hopes, retry)
    }

    fn ended(&self, links: &mut Links, peer: PeerId, end: &Result<(), LinkError>) {
        if let Some(count) = links.to.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                links.to.remove(&peer);
            }
        }
        match end {
            // The other stream goes on.
            Err(LinkError::Doubled) => return,
            Ok(()) => tracing::debug!(%peer, "the neighbour has ended its stream"),
            Err(error) if error.is_violation() => {
                tracing::warn!(%peer, %error, "the neighbour is cut off");
                self.net.cut_off(peer);
            }
            Err(error) => tracing::debug!(%peer, %error, "a stream to a neighbour has ended"),
        }
        links.broken.fail(now(&self.runtime), peer);
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
