//! Keeps time for the scheduler, and a way to everybody in the room.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use peercompute_net::{Incoming, NetworkManager, PeerId, Stream};
use peercompute_rt::BoxFuture;

use super::{
    Realtime,
    links::{self, Role},
};
use crate::{
    REALTIME_PROTOCOL, SNAPSHOTS_PROTOCOL, clock::now, error::LinkError, retries::Retries,
};

/// Peers of the room that take part at a time. Streams of further ones are not taken, and none are opened to them.
const MAX_PARTNERS: usize = 256;

/// How often to look for peers without an event.
const LOOK: Duration = Duration::from_secs(1);

/// What the two streams of a peer are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Control,
    Snapshots,
}

type LaneEnd = (PeerId, Lane, Result<(), LinkError>);

#[derive(Default)]
struct Lanes {
    running: FuturesUnordered<BoxFuture<'static, LaneEnd>>,
    /// Streams that are open, or being opened by this end.
    to: BTreeMap<(PeerId, Lane), u32>,
    broken: Retries<PeerId>,
}

/// Runs for as long as the node does.
pub(crate) async fn run(
    realtime: Realtime,
    net: Arc<NetworkManager>,
    mut control: Incoming,
    mut snapshots: Incoming,
) {
    let runtime = realtime.shared().runtime.clone();
    let mut lanes = Lanes::default();
    let mut events = net.events();
    let mut look = runtime.sleep(LOOK);
    let mut is_look_due = true;
    loop {
        if std::mem::take(&mut is_look_due) {
            open_missing(&realtime, &net, &mut lanes);
        }
        let shared = realtime.shared();
        let stirred = shared.stirred.notified();
        let due = shared.next_due();
        let wait = due.map_or(LOOK, |due| due.saturating_sub(now(&runtime)));
        tokio::select! {
            // In this order, so that a simulation repeats.
            biased;
            Some((peer, lane, end)) = lanes.running.next() => {
                ended(&realtime, &net, &mut lanes, (peer, lane), &end);
                is_look_due = true;
            }
            Some((peer, stream)) = control.next() => {
                accept(&realtime, &net, &mut lanes, (peer, Lane::Control), stream);
            }
            Some((peer, stream)) = snapshots.next() => {
                accept(&realtime, &net, &mut lanes, (peer, Lane::Snapshots), stream);
            }
            Some(_event) = events.next() => is_look_due = true,
            () = &mut look => {
                look = runtime.sleep(LOOK);
                is_look_due = true;
            }
            () = stirred => {}
            () = runtime.sleep(wait) => {}
        }
        shared.step(|state, now| state.scheduler.handle_timeout(now));
    }
}

/// Opens streams to those to whom there should be some: the lower of two ids opens them.
fn open_missing(realtime: &Realtime, net: &Arc<NetworkManager>, lanes: &mut Lanes) {
    let now = now(&realtime.shared().runtime);
    let local = net.local_peer();
    let reached = net.peers().into_iter().filter(|peer| peer.path.is_some());
    let reached: BTreeSet<PeerId> = reached.map(|peer| peer.presence.peer).collect();
    for peer in reached.range(local..).filter(|peer| **peer != local) {
        if lanes.broken.wait(now, peer).is_some() {
            continue;
        }
        for (lane, protocol) in [
            (Lane::Control, REALTIME_PROTOCOL),
            (Lane::Snapshots, SNAPSHOTS_PROTOCOL),
        ] {
            let is_full = lanes.to.len() >= MAX_PARTNERS * 2;
            if lanes.to.contains_key(&(*peer, lane)) || is_full {
                continue;
            }
            *lanes.to.entry((*peer, lane)).or_default() += 1;
            let (realtime, net, peer) = (realtime.clone(), net.clone(), *peer);
            lanes.running.push(Box::pin(async move {
                let end = match net.open(peer, protocol).await {
                    Ok(stream) => carry(&realtime, peer, lane, stream).await,
                    Err(error) => Err(error.into()),
                };
                (peer, lane, end)
            }));
        }
    }
}

fn accept(
    realtime: &Realtime,
    net: &NetworkManager,
    lanes: &mut Lanes,
    (peer, lane): (PeerId, Lane),
    stream: Stream,
) {
    if peer >= net.local_peer() || lanes.running.len() >= MAX_PARTNERS * 2 {
        tracing::debug!(%peer, "a stream that this end should have opened, or one too many, is refused");
        return;
    }
    *lanes.to.entry((peer, lane)).or_default() += 1;
    let realtime = realtime.clone();
    lanes.running.push(Box::pin(async move {
        let end = carry(&realtime, peer, lane, stream).await;
        (peer, lane, end)
    }));
}

async fn carry(
    realtime: &Realtime,
    peer: PeerId,
    lane: Lane,
    stream: Stream,
) -> Result<(), LinkError> {
    let role = match lane {
        Lane::Control => Role::Control,
        Lane::Snapshots => Role::Snapshots,
    };
    links::carry(realtime.shared(), peer, role, stream).await
}

fn ended(
    realtime: &Realtime,
    net: &NetworkManager,
    lanes: &mut Lanes,
    (peer, lane): (PeerId, Lane),
    end: &Result<(), LinkError>,
) {
    if let Some(count) = lanes.to.get_mut(&(peer, lane)) {
        *count -= 1;
        if *count == 0 {
            lanes.to.remove(&(peer, lane));
        }
    }
    match end {
        Ok(()) => tracing::debug!(%peer, ?lane, "a stream of a live room has ended"),
        Err(error) if error.is_violation() => {
            tracing::warn!(%peer, ?lane, %error, "the peer is cut off");
            net.cut_off(peer);
        }
        Err(error) => tracing::debug!(%peer, ?lane, %error, "a stream of a live room has broken"),
    }
    lanes.broken.fail(now(&realtime.shared().runtime), peer);
}
