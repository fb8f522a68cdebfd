//! Keeps time for a live room, and a way to everybody in it.

use std::{collections::BTreeSet, future::poll_fn, sync::Arc, time::Duration};

use futures::{
    StreamExt as _,
    stream::{FuturesUnordered, SelectAll},
};
use peercompute_map::SortedMap;
use peercompute_net::{NetworkManager, PeerId, ProtocolTaken, Stream};
use peercompute_rt::{BoxFuture, BoxStream};

use super::{
    Realtime, datagrams,
    lane::{LANES, Lane},
};
use crate::{clock::now, error::LinkError, retries::Retries};

/// Peers of the room that take part at a time. Streams of further ones are not taken, and none are opened to them.
const MAX_PARTNERS: usize = 256;

/// How often to look for peers, and at the time, without being told to.
const LOOK: Duration = Duration::from_secs(1);

/// The protocols of the streams of a live room.
pub(crate) fn protocols() -> impl Iterator<Item = &'static str> {
    Lane::ALL.into_iter().map(Lane::protocol)
}

/// The streams of live rooms that others open.
pub(crate) struct IncomingLanes {
    streams: SelectAll<BoxStream<'static, (PeerId, Lane, Stream)>>,
    datagrams: datagrams::Receiver,
    sender: Option<datagrams::Sender>,
}

impl IncomingLanes {
    /// Takes them from now on.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`] if something else does already.
    pub(crate) fn accept(net: &NetworkManager) -> Result<Self, ProtocolTaken> {
        let mut all = SelectAll::new();
        for lane in Lane::ALL {
            let incoming = net.accept(lane.protocol())?;
            let named = incoming.map(move |(peer, stream)| (peer, lane, stream));
            all.push(Box::pin(named) as BoxStream<'static, _>);
        }
        let (sender, datagrams) = datagrams::open(net)?;
        Ok(Self {
            streams: all,
            datagrams,
            sender,
        })
    }
}

/// How long streams may take to carry what is left when the node stops, all together.
const FAREWELL: Duration = Duration::from_secs(1);

/// Wakes the room up whenever something is due, for as long as the node runs.
pub(crate) async fn keep_time(realtime: Realtime) {
    let shared = realtime.shared();
    let runtime = &shared.runtime;
    loop {
        let stirred = shared.stirred.notified();
        let due = shared.next_due();
        let wait = due.map_or(LOOK, |due| due.saturating_sub(now(runtime)));
        tokio::select! {
            // In this order, so that a simulation repeats.
            biased;
            () = stirred => {}
            () = runtime.sleep(wait) => {}
        }
        shared.handle_timeout();
    }
}

type LaneEnd = (PeerId, Lane, Result<(), LinkError>);

/// The streams to everybody.
struct Lanes {
    realtime: Realtime,
    net: Arc<NetworkManager>,
    running: FuturesUnordered<BoxFuture<'static, LaneEnd>>,
    /// Streams that are open, or being opened by this end.
    to: SortedMap<(PeerId, Lane), u32>,
    broken: Retries<PeerId>,
}

/// Keeps streams to everybody in the room until it stops, and ends them then.
pub(crate) async fn keep_lanes(
    realtime: Realtime,
    net: Arc<NetworkManager>,
    mut incoming: IncomingLanes,
) {
    let runtime = realtime.shared().runtime.clone();
    let mut events = net.events();
    let mut look = runtime.sleep(LOOK);
    let mut lanes = Lanes {
        realtime,
        net,
        running: FuturesUnordered::new(),
        to: SortedMap::new(),
        broken: Retries::default(),
    };
    let shared = lanes.realtime.clone();
    let shared = shared.shared();
    shared.lock().set_datagrams(incoming.sender.take());
    loop {
        lanes.open_missing();
        loop {
            tokio::select! {
                biased;
                () = shared.stopped.notified() => {
                    let farewell = async { while lanes.running.next().await.is_some() {} };
                    // What does not end by then ends with this task.
                    let _ = runtime.timeout(FAREWELL, farewell).await;
                    return;
                }
                Some(end) = lanes.running.next() => {
                    lanes.ended(&end);
                    break;
                }
                Some((peer, lane, stream)) = incoming.streams.next() => lanes.accept(peer, lane, stream),
                message = poll_fn(|cx| incoming.datagrams.poll_next(cx)) => {
                    let from = message.from;
                    if let Err(error) = datagrams::take(shared, message) {
                        tracing::warn!(peer = %from, %error, "the peer is cut off");
                        lanes.net.cut_off(from, &error);
                    }
                }
                Some(_event) = events.next() => break,
                () = &mut look => {
                    look = runtime.sleep(LOOK);
                    break;
                }
            }
        }
    }
}

impl Lanes {
    /// Opens streams to those to whom there should be some: the lower of two ids opens them.
    fn open_missing(&mut self) {
        let now = now(&self.realtime.shared().runtime);
        let local = self.net.local_peer();
        let known = self.net.peers().into_iter();
        let reached = known.filter(|peer| peer.path.is_some() && peer.presence.peer > local);
        let reached: BTreeSet<PeerId> = reached.map(|peer| peer.presence.peer).collect();
        for peer in reached {
            if self.broken.wait(now, &peer).is_some() {
                continue;
            }
            for lane in Lane::ALL {
                let is_full = self.to.len() >= MAX_PARTNERS * LANES;
                if self.to.contains_key(&(peer, lane)) || is_full {
                    continue;
                }
                let net = self.net.clone();
                self.run(peer, lane, async move {
                    Ok(net.open(peer, lane.protocol()).await?)
                });
            }
        }
    }

    fn accept(&mut self, peer: PeerId, lane: Lane, stream: Stream) {
        if peer >= self.net.local_peer() || self.running.len() >= MAX_PARTNERS * LANES {
            tracing::debug!(%peer, ?lane, "a stream that this end should have opened, or one too many, is refused");
            return;
        }
        self.run(peer, lane, async { Ok(stream) });
    }

    fn run(
        &mut self,
        peer: PeerId,
        lane: Lane,
        stream: impl Future<Output = Result<Stream, LinkError>> + peercompute_rt::MaybeSend + 'static,
    ) {
        *self.to.entry((peer, lane)).or_default() += 1;
        let realtime = self.realtime.clone();
        self.running.push(Box::pin(async move {
            let end = match stream.await {
                Ok(stream) => lane.carry(realtime.shared(), peer, stream).await,
                Err(error) => Err(error),
            };
            (peer, lane, end)
        }));
    }

    fn ended(&mut self, (peer, lane, end): &LaneEnd) {
        if let Some(count) = self.to.get_mut(&(*peer, *lane)) {
            *count -= 1;
            if *count == 0 {
                self.to.remove(&(*peer, *lane));
            }
        }
        match end {
            Ok(()) => tracing::debug!(%peer, ?lane, "a stream of a live room has ended"),
            Err(error) if error.is_violation() => {
                tracing::warn!(%peer, ?lane, %error, "the peer is cut off");
                self.net.cut_off(*peer, error);
            }
            Err(error) => {
                tracing::debug!(%peer, ?lane, %error, "a stream of a live room has broken");
            }
        }
        self.broken
            .fail(now(&self.realtime.shared().runtime), *peer);
    }
}
