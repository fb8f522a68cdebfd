//! Replaces relayed paths by WebRTC: decides by [`Upgrades`], talks over the relayed path, and hands over what comes of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    SinkExt as _, Stream as _,
    channel::{mpsc, oneshot},
    future::{AbortHandle, Aborted, abortable},
    stream::FuturesUnordered,
};
use peercompute_map::SortedMap;
use peercompute_proto::v1::{
    SignalFrame, SignalRefusal, SignalRefusalReason as Refusal, signal_frame::Frame,
};
use peercompute_rt::{BoxFuture, Runtime};

use super::{
    WEBRTC_PROTOCOL,
    carrier::{self, Doorway},
    datagrams::DatagramHub,
    description::{Description, InvalidDescription, Role, Session, verify},
    engine::Attempt,
    failure::Failure,
    upgrades::{self, AttemptId, Upgrades},
};
use crate::{
    FrameReader, FrameWriter, Identity, Incoming, Path, PeerId, Stream, frames,
    libp2p::{Opener, swarm_task::Command},
    toolkit::lock,
};

/// How long an attempt may take, from the first word to a connection that libp2p has.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);

/// How often to look at all peers without being told to.
const LOOK: Duration = Duration::from_secs(30);

/// What attempts are made with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) identity: Identity,
    pub(super) runtime: Runtime,
    pub(super) opener: Opener,
    pub(super) doorway: Doorway,
    pub(super) datagrams: Arc<DatagramHub>,
    /// Servers that tell a browser how others see it, as URLs.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "only browsers ask them")
    )]
    pub(super) ice_servers: Vec<String>,
}

pub(super) struct Agent {
    tools: Tools,
    upgrades: Upgrades,
    attempts: FuturesUnordered<BoxFuture<'static, End>>,
    /// Ends the attempt that is under way with a peer.
    reins: SortedMap<PeerId, (AttemptId, AbortHandle)>,
    incoming: Incoming,
    /// Paths have changed.
    stirred: mpsc::Receiver<()>,
}

struct End {
    peer: PeerId,
    id: AttemptId,
    outcome: Result<(), Failure>,
}

enum Wake {
    Stirred,
    Offered(PeerId, Stream),
    Ended(End),
    Closed,
}

impl Agent {
    pub(super) fn new(
        tools: Tools,
        offers: bool,
        incoming: Incoming,
        stirred: mpsc::Receiver<()>,
    ) -> Self {
        Self {
            upgrades: Upgrades::new(tools.identity.peer(), offers),
            tools,
            attempts: FuturesUnordered::new(),
            reins: SortedMap::new(),
            incoming,
            stirred,
        }
    }

    /// Runs until the transport closes.
    pub(super) async fn run(mut self) {
        loop {
            let now = self.tools.runtime.now();
            self.upgrades.look(now, self.tools.relayed());
            while let Some((peer, id)) = self.upgrades.next(now) {
                let tools = self.tools.clone();
                self.begin(peer, id, async move { tools.offer(peer, id).await });
            }
            let wait = self.upgrades.next_due().map_or(LOOK, |due| due - now);
            let mut alarm = self.tools.runtime.sleep(wait.min(LOOK));
            let wake = std::future::poll_fn(|cx| self.poll(cx, &mut alarm)).await;
            match wake {
                Wake::Stirred => {}
                Wake::Offered(peer, stream) => self.answer(peer, stream),
                Wake::Ended(end) => self.ended(&end),
                Wake::Closed => return,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, alarm: &mut BoxFuture<'_, ()>) -> Poll<Wake> {
        if let Poll::Ready(Some(end)) = Pin::new(&mut self.attempts).poll_next(cx) {
            return Poll::Ready(Wake::Ended(end));
        }
        match Pin::new(&mut self.incoming).poll_next(cx) {
            Poll::Ready(Some((peer, stream))) => return Poll::Ready(Wake::Offered(peer, stream)),
            Poll::Ready(None) => return Poll::Ready(Wake::Closed),
            Poll::Pending => {}
        }
        match Pin::new(&mut self.stirred).poll_next(cx) {
            Poll::Ready(Some(())) => return Poll::Ready(Wake::Stirred),
            Poll::Ready(None) => return Poll::Ready(Wake::Closed),
            Poll::Pending => {}
        }
        alarm.as_mut().poll(cx).map(|()| Wake::Stirred)
    }

    fn answer(&mut self, peer: PeerId, stream: Stream) {
        let now = self.tools.runtime.now();
        let mut tools = self.tools.clone();
        match self.upgrades.handle_offer(now, peer) {
            Ok(id) => self.begin(peer, id, async move { tools.answer(peer, stream).await }),
            Err(reason) => {
                let refusing = async move {
                    let (_, mut writer) = frames::<SignalFrame, SignalFrame>(stream);
                    let _ = tools
                        .runtime
                        .timeout(ATTEMPT_LIMIT, refuse(&mut writer, reason))
                        .await;
                };
                // Bounded by the streams that a peer may have open, and by the time.
                self.tools.runtime.spawn(refusing).detach();
            }
        }
    }

    fn begin(
        &mut self,
        peer: PeerId,
        id: AttemptId,
        attempt: impl Future<Output = Result<(), Failure>> + peercompute_rt::MaybeSend + 'static,
    ) {
        let runtime = self.tools.runtime.clone();
        let (attempt, rein) = abortable(attempt);
        if let Some((_, superseded)) = self.reins.insert(peer, (id, rein)) {
            superseded.abort();
        }
        self.attempts.push(Box::pin(async move {
            let outcome = match runtime.timeout(ATTEMPT_LIMIT, attempt).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(Aborted)) => Err(Failure::Superseded),
                Err(_) => Err(Failure::TimedOut),
            };
            End { peer, id, outcome }
        }));
    }

    fn ended(&mut self, End { peer, id, outcome }: &End) {
        let now = self.tools.runtime.now();
        if self.reins.get(peer).is_some_and(|(it, _)| it == id) {
            self.reins.remove(peer);
        }
        let end = match outcome {
            Ok(()) => upgrades::End::Connected,
            Err(failure) if failure.is_crossing() => upgrades::End::Crossed,
            Err(_) => upgrades::End::Failed,
        };
        self.upgrades.ended(now, *peer, *id, end);
        match outcome {
            Ok(()) => tracing::debug!(%peer, "connected over WebRTC"),
            Err(failure) if failure.is_crossing() => {
                tracing::debug!(%peer, %failure, "an offer was given up for another one");
            }
            Err(failure) => {
                tracing::debug!(%peer, %failure, "no connection over WebRTC");
                let reason = failure.to_string();
                let mut state = lock(&self.tools.opener.shared.state);
                // It may have gone meanwhile.
                if state.connections.path(peer).is_some() {
                    state.no_webrtc.insert(*peer, reason);
                }
            }
        }
    }
}

impl Tools {
    /// The peers that speak WebRTC and are reached through relays only.
    fn relayed(&self) -> Vec<PeerId> {
        let state = lock(&self.opener.shared.state);
        let speakers = state.speak_webrtc.iter().copied();
        speakers
            .filter(|peer| state.connections.path(peer) == Some(Path::Relayed))
            .collect()
    }

    async fn offer(&self, peer: PeerId, id: AttemptId) -> Result<(), Failure> {
        let (mut attempt, description) = Attempt::offer(self, peer).await?;
        let mut session = Session::default();
        self.runtime.fill_random(&mut session);
        let offer = description.sign(&self.identity, peer, Role::Offer, session);
        let (mut reader, mut writer) =
            frames::<SignalFrame, SignalFrame>(self.opener.open(peer, WEBRTC_PROTOCOL).await?);
        send(&mut writer, Frame::Offer(offer)).await?;
        let answer = match read(&mut reader).await? {
            Frame::Answer(answer) => answer,
            Frame::Refusal(refusal) => {
                let reason = refusal.reason();
                return Err(Failure::Refused { reason });
            }
            Frame::Offer(_) => return Err(out_of_turn()),
        };
        verify(&answer, peer, self.identity.peer(), Role::Answer)?;
        if *answer.session != session {
            return Err(InvalidDescription::Session.into());
        }
        attempt.accept(&Description::read(&answer)?).await?;
        let channel = attempt.open(&self.runtime).await?;
        let waiting = self.doorway.offer(peer, id, channel);
        self.dial(peer).await?;
        drop(waiting);
        Ok(())
    }

    async fn answer(&mut self, peer: PeerId, stream: Stream) -> Result<(), Failure> {
        let (mut reader, mut writer) = frames::<SignalFrame, SignalFrame>(stream);
        let Frame::Offer(offer) = read(&mut reader).await? else {
            return Err(out_of_turn());
        };
        let local = self.identity.peer();
        let checked = verify(&offer, peer, local, Role::Offer)
            .and_then(|()| Description::read(&offer))
            .and_then(|description| {
                let session = Session::try_from(&*offer.session);
                Ok((
                    description,
                    session.map_err(|_| InvalidDescription::Session)?,
                ))
            });
        let (description, session) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                refuse(&mut writer, Refusal::Invalid).await?;
                return Err(error.into());
            }
        };
        let (attempt, description) = match Attempt::answer(self, peer, &description).await {
            Ok(begun) => begun,
            Err(failure) => {
                refuse(&mut writer, Refusal::Unsupported).await?;
                return Err(failure);
            }
        };
        let answer = description.sign(&self.identity, peer, Role::Answer, session);
        send(&mut writer, Frame::Answer(answer)).await?;
        let channel = attempt.open(&self.runtime).await?;
        if self.doorway.answer(peer, channel) {
            Ok(())
        } else {
            Err(Failure::NotTaken { peer })
        }
    }

    /// Has libp2p take the connection that waits in the doorway.
    async fn dial(&self, peer: PeerId) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        let address = carrier::address(peer);
        let command = Command::Dial { address, reply };
        let not_taken = || Failure::NotTaken { peer };
        let sent = self.opener.commands.clone().send(command).await;
        sent.map_err(|_| not_taken())?;
        answer.await.map_err(|_| not_taken())??;
        Ok(())
    }
}

async fn send(writer: &mut FrameWriter<SignalFrame>, frame: Frame) -> Result<(), Failure> {
    writer.send(&SignalFrame { frame: Some(frame) }).await?;
    Ok(())
}

async fn refuse(writer: &mut FrameWriter<SignalFrame>, reason: Refusal) -> Result<(), Failure> {
    let reason = reason.into();
    send(writer, Frame::Refusal(SignalRefusal { reason })).await?;
    // What is still under way is to arrive.
    writer.close().await?;
    Ok(())
}

async fn read(reader: &mut FrameReader<SignalFrame>) -> Result<Frame, Failure> {
    let frame = reader.next().await?.and_then(|frame| frame.frame);
    frame.ok_or_else(|| Failure::Broken {
        reason: "it ended the talk".to_owned(),
    })
}

fn out_of_turn() -> Failure {
    Failure::Broken {
        reason: "it spoke out of turn".to_owned(),
    }
}
