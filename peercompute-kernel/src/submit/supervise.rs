use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use peercompute_net::{NetworkManager, PeerId};
use peercompute_rt::{BoxFuture, Runtime};

use super::{
    Engine, LocalFallback,
    alone::{Alone, Sight, Verdict},
    job::Host,
};
use crate::{TASK_PROTOCOL, clock::now, error::LinkError, link, retries::Retries, serve::Workshop};

/// Peers that jobs are given to at once. Further ones are passed over until one of them goes.
const MAX_LINKS: usize = 256;

/// How often to look whether every job is served: workers fall silent without an event.
const LOOK: Duration = Duration::from_secs(1);

/// The same without jobs.
const IDLE_LOOK: Duration = Duration::from_secs(3600);

/// Keeps links to the peers that run tasks while there are jobs, and runs the jobs here when nobody is there.
pub(crate) struct Supervisor {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<Engine>,
    pub(crate) net: Option<Arc<NetworkManager>>,
    /// Where the local fallback runs.
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) fallback: LocalFallback,
}

type LinkEnd = (Host, Result<(), LinkError>);

#[derive(Default)]
struct Links {
    running: FuturesUnordered<BoxFuture<'static, LinkEnd>>,
    to: BTreeSet<Host>,
    /// Peers whose link broke.
    broken: Retries<PeerId>,
}

impl Supervisor {
    /// Runs for as long as the node does.
    pub(crate) async fn run(self) {
        let patience = match self.fallback {
            LocalFallback::Never { patience } | LocalFallback::WhenAlone { patience } => patience,
        };
        let mut alone = Alone::new(patience);
        let mut links = Links::default();
        let mut events = self.net.as_ref().map(|net| net.events());
        let mut search = Box::pin(search(self.net.clone()));
        let mut search_done = false;
        loop {
            let changed = self.engine.changed();
            let jobs = self.engine.open_jobs() > 0;
            let (candidates, retry) = if jobs {
                self.link_peers(&mut links)
            } else {
                (0, None)
            };
            let served = self.engine.is_served();
            let sight = Sight {
                jobs,
                served,
                search_done,
                trying: candidates > 0
                    || links.to.contains(&Host::Local)
                    || (search_done && self.searches_on()),
                considering: !served && self.is_considered(&links),
                here: links.to.contains(&Host::Local),
            };
            let verdict = alone.look(now(&self.runtime), sight);
            let until = match verdict {
                Verdict::Fine => None,
                Verdict::WaitUntil(until) => Some(until),
                Verdict::GiveUp => {
                    self.give_up(&mut links);
                    // What was begun now has its own time.
                    alone = Alone::new(patience);
                    None
                }
            };
            let wake = [retry, until].into_iter().flatten().min();
            let look = if jobs { LOOK } else { IDLE_LOOK };
            let wait = wake.map_or(look, |at| at.saturating_sub(now(&self.runtime)).min(look));
            tokio::select! {
                () = changed => {}
                () = &mut search, if !search_done => search_done = true,
                Some(()) = next(&mut events) => {}
                Some((host, end)) = links.running.next() => self.ended(&mut links, host, &end),
                () = self.runtime.sleep(wait) => {}
            }
        }
    }

    /// Whether a relay or bootstrap node could not be reached and is tried again.
    fn searches_on(&self) -> bool {
        // Ready at once when it has been before.
        let readiness = self.net.as_ref().and_then(|net| net.ready().now_or_never());
        readiness.is_some_and(|readiness| readiness.lost.iter().any(|(_, why)| why.is_passing()))
    }

    /// Whether somebody who lends his machine, or this node itself, may be making a job's program ready.
    fn is_considered(&self, links: &Links) -> bool {
        let considers = |host| links.to.contains(&host) && self.engine.is_considering(host);
        let peers = self.net.iter().flat_map(|net| net.peers());
        let mut lenders = peers.filter(|peer| peer.presence.capabilities.workers > 0);
        considers(Host::Local) || lenders.any(|peer| considers(Host::Peer(peer.presence.peer)))
    }

    /// Starts links to the peers that run tasks and have none. Returns how many peers may yet turn out to be reachable, and when to look again.
    fn link_peers(&self, links: &mut Links) -> (usize, Option<Duration>) {
        let Some(net) = &self.net else {
            return (0, None);
        };
        let now = now(&self.runtime);
        let (mut candidates, mut retry) = (0, None::<Duration>);
        for peer in net.peers() {
            let told = peer.presence.capabilities;
            if told.workers == 0 {
                // It may be paused for a moment.
                let may_lend = told.cores > 0 && (peer.path.is_some() || peer.is_being_dialled);
                candidates += usize::from(may_lend);
                continue;
            }
            let id = peer.presence.peer;
            let Some(path) = peer.path else {
                candidates += usize::from(peer.is_being_dialled);
                continue;
            };
            let host = Host::Peer(id);
            if links.to.contains(&host) || links.to.len() >= MAX_LINKS {
                candidates += usize::from(links.to.contains(&host));
                continue;
            }
            if let Some(again) = links.broken.wait(now, &id) {
                retry = Some(retry.map_or(again, |retry| retry.min(again)));
                continue;
            }
            candidates += 1;
            links.to.insert(host);
            let (net, engine) = (net.clone(), self.engine.clone());
            links.running.push(Box::pin(async move {
                let end = match net.open(id, TASK_PROTOCOL).await {
                    Ok(stream) => engine.drive(host, Some(path), link::over(stream)).await,
                    Err(error) => Err(error.into()),
                };
                (host, end)
            }));
        }
        (candidates, retry)
    }

    fn ended(&self, links: &mut Links, host: Host, end: &Result<(), LinkError>) {
        links.to.remove(&host);
        match end {
            Ok(()) => tracing::info!(%host, "the node has ended its stream of tasks"),
            Err(error) if is_loss(host, error, self.engine.open_jobs()) => {
                tracing::warn!(%host, %error, "the stream of tasks to the node has ended");
            }
            Err(error) => tracing::debug!(%host, %error, "a stream of tasks has ended"),
        }
        if let Host::Peer(peer) = host {
            links.broken.fail(now(&self.runtime), peer);
            if let (Some(net), Err(error)) = (&self.net, end)
                && error.is_violation()
            {
                net.cut_off(peer, error);
            }
        }
    }

    fn give_up(&self, links: &mut Links) {
        match self.fallback {
            LocalFallback::WhenAlone { .. } if !links.to.contains(&Host::Local) => {
                tracing::info!("no other node is there; the job runs on this machine");
                let (here, there) = link::local();
                let (engine, workshop) = (self.engine.clone(), self.workshop.clone());
                links.to.insert(Host::Local);
                links.running.push(Box::pin(async move {
                    let submit = engine.drive(Host::Local, None, here);
                    let serve = workshop.serve(None, there);
                    futures::pin_mut!(submit, serve);
                    let end = futures::future::select(submit, serve)
                        .await
                        .factor_first()
                        .0;
                    (Host::Local, end)
                }));
            }
            // Not here, or it was tried here too.
            _ => self.engine.fail_unserved(),
        }
    }
}

/// Whether somebody may miss the link: a job is open, and it is not just the workers of this process that stop with it.
fn is_loss(host: Host, error: &LinkError, open_jobs: usize) -> bool {
    let stopped = host == Host::Local && matches!(error, LinkError::Ended);
    (open_jobs > 0 && !stopped) || error.is_violation()
}

async fn search(net: Option<Arc<NetworkManager>>) {
    if let Some(net) = net {
        net.ready().await;
    }
}

async fn next<S: futures::Stream + Unpin>(events: &mut Option<S>) -> Option<()> {
    events.as_mut()?.next().await.map(|_event| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_link_is_a_loss_while_a_job_needs_it() {
        let peer = Host::Peer(PeerId::random());
        assert!(is_loss(peer, &LinkError::Ended, 1));
        assert!(!is_loss(peer, &LinkError::Ended, 0));
    }

    #[test]
    fn the_workers_of_this_process_stop_without_being_missed() {
        assert!(!is_loss(Host::Local, &LinkError::Ended, 1));
        assert!(!is_loss(Host::Local, &LinkError::Ended, 0));
    }

    #[test]
    fn a_breach_of_the_protocol_is_always_told() {
        let breach = peercompute_swarm::ProtocolViolation::JobTaken { job: 1 };
        assert!(is_loss(Host::Local, &LinkError::Violation(breach), 0));
    }
}
