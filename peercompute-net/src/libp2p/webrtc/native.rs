//! WebRTC natively: str0m over UDP sockets.

mod link;
mod session;
mod sockets;

use futures::channel::oneshot;
use peercompute_rt::Runtime;

use self::{
    link::{Clock, Link, Work},
    session::Session,
    sockets::Sockets,
};
use super::{
    agent::Tools,
    channel::{ByteChannel, byte_channel},
    description::{Candidate, Description, Role},
    failure::Failure,
};
use crate::{PeerId, toolkit::lock};

pub(super) fn is_supported() -> bool {
    true
}

/// A connection that is being made.
pub(super) struct Attempt {
    link: Link,
    channel: ByteChannel,
}

impl Attempt {
    /// Begins a connection, and gives what the peer is to be told.
    pub(super) async fn offer(tools: &Tools, peer: PeerId) -> Result<(Self, Description), Failure> {
        Self::begin(tools, peer, Role::Offer, &[])
    }

    /// Takes up an offer, and gives what the peer is to be told.
    pub(super) async fn answer(
        tools: &Tools,
        peer: PeerId,
        offer: &Description,
    ) -> Result<(Self, Description), Failure> {
        let (mut attempt, description) = Self::begin(tools, peer, Role::Answer, &offer.candidates)?;
        attempt.set_remote(offer)?;
        Ok((attempt, description))
    }

    /// The peer has answered.
    pub(super) async fn accept(&mut self, answer: &Description) -> Result<(), Failure> {
        self.set_remote(answer)
    }

    /// Waits until both channels are open. What carries them runs from then on.
    pub(super) async fn open(self, runtime: &Runtime) -> Result<ByteChannel, Failure> {
        let (opened, open) = oneshot::channel();
        // It ends when nobody waits any more.
        let work = runtime.spawn(Work::new(self.link).run(opened));
        let outcome = open.await.unwrap_or_else(|_| {
            let reason = "what carries it broke".to_owned();
            Err(failed("the connection", reason))
        });
        outcome?;
        work.detach();
        Ok(self.channel)
    }

    fn begin(
        tools: &Tools,
        peer: PeerId,
        role: Role,
        candidates: &[Candidate],
    ) -> Result<(Self, Description), Failure> {
        let what = "finding this machine's addresses";
        let interfaces = sockets::interfaces().map_err(|error| failed(what, error.to_string()))?;
        let (reachable, outside) = {
            let state = lock(&tools.opener.shared.state);
            let reachable = sockets::reachable(&interfaces, &state.listening, candidates);
            (reachable, sockets::outside(&interfaces, &state.external))
        };
        let sockets = Sockets::bind(&reachable)
            .map_err(|error| failed("opening a UDP socket", error.to_string()))?;
        let clock = Clock::new(&tools.runtime);
        let mut session = Session::new(role, &sockets.addresses(), clock.now());
        let description = session.describe(&outside)?;
        let (channel, carried) = byte_channel();
        let link = Link {
            session,
            sockets,
            clock,
            peer,
            hub: tools.datagrams.clone(),
            carried,
            way: None,
        };
        Ok((Self { link, channel }, description))
    }

    fn set_remote(&mut self, description: &Description) -> Result<(), Failure> {
        let session = &mut self.link.session;
        let set = session.set_remote(description);
        set.map_err(|error| failed("taking the peer's description", error.to_string()))
    }
}

fn failed(what: &'static str, reason: String) -> Failure {
    Failure::Engine { what, reason }
}
