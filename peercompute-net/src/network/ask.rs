use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures::future::{Either, select};
use multiaddr::Multiaddr;
use peercompute_proto::{v1, v1::rendezvous_frame::Frame};

use super::{
    RendezvousError,
    membership::SourceId,
    shared::{DIAL_TIMEOUT, Shared},
};
use crate::{
    DialError, FrameReader, FrameWriter, OpenError, RENDEZVOUS_PROTOCOL, ReadError,
    allowance::Allowance,
    frames,
    rendezvous::{UPDATE_BURST, UPDATE_REFILL},
};

/// How long the other end may take to open the stream, to read, and to give its whole list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Registers at `address`, follows its list of the room, and tells the membership all of it. Ends when the other end does.
pub(super) async fn ask(shared: Arc<Shared>, source: SourceId, address: Multiaddr) {
    let error = match follow(&shared, source, address.clone()).await {
        Ok(Known) => return,
        Err(error) => error,
    };
    tracing::debug!(%address, %error, "the registration has ended");
    shared.input(|membership, now| membership.source_ended(now, source, error));
}

/// The other end is asked already, by another address.
struct Known;

async fn follow(
    shared: &Arc<Shared>,
    source: SourceId,
    address: Multiaddr,
) -> Result<Known, RendezvousError> {
    let runtime = &shared.runtime;
    let dial = runtime.timeout(DIAL_TIMEOUT, shared.transport.dial(address.clone()));
    let peer = dial.await.unwrap_or(Err(DialError::TimedOut { address }))?;
    if !shared.input(|membership, now| membership.source_connected(now, source, peer)) {
        return Ok(Known);
    }

    let open = shared.transport.open(peer, RENDEZVOUS_PROTOCOL);
    let protocol = RENDEZVOUS_PROTOCOL.to_owned();
    let opened = runtime.timeout(ANSWER_TIMEOUT, open).await;
    let stream = opened.unwrap_or(Err(OpenError::TimedOut { peer, protocol }))?;
    let (mut reader, mut writer) = frames(stream);

    let (registration, mut told) = shared.registration();
    register(shared, &mut writer, registration).await?;
    let give_up = runtime.now() + ANSWER_TIMEOUT;
    loop {
        let frame = runtime
            .timeout(give_up - runtime.now(), reader.next())
            .await;
        let frame = frame.map_err(|_| RendezvousError::TimedOut {
            limit: ANSWER_TIMEOUT,
        })?;
        if handle(shared, source, frame)? {
            break;
        }
    }

    // Less often than the other end bears.
    let mut updates = Allowance::new(shared.now(), UPDATE_BURST / 2, UPDATE_REFILL * 2);
    loop {
        match next(shared, source, &mut reader, told, &mut updates).await {
            Turn::Heard(frame) => {
                handle(shared, source, frame)?;
            }
            Turn::Tell(registration, version) => {
                updates.take(shared.now());
                told = version;
                register(shared, &mut writer, registration).await?;
            }
        }
    }
}

enum Turn {
    Heard(Result<Option<v1::RendezvousFrame>, ReadError>),
    Tell(v1::RendezvousRegister, u64),
}

async fn next(
    shared: &Shared,
    source: SourceId,
    reader: &mut FrameReader<v1::RendezvousFrame>,
    told: u64,
    updates: &mut Allowance,
) -> Turn {
    let changed = async {
        shared.own.changed_after(source, told).await;
        let wait = updates.ready_at(shared.now()).saturating_sub(shared.now());
        if !wait.is_zero() {
            shared.runtime.sleep(wait).await;
        }
        // What it is by now.
        shared.registration()
    };
    let heard = poll_fn(|cx| -> Poll<_> { reader.poll_next(cx) });
    match select(heard, std::pin::pin!(changed)).await {
        Either::Left((frame, _)) => Turn::Heard(frame),
        Either::Right(((registration, version), _)) => Turn::Tell(registration, version),
    }
}

async fn register(
    shared: &Shared,
    writer: &mut FrameWriter<v1::RendezvousFrame>,
    register: v1::RendezvousRegister,
) -> Result<(), RendezvousError> {
    writer.feed(&v1::RendezvousFrame {
        frame: Some(Frame::Register(register)),
    });
    match shared.runtime.timeout(ANSWER_TIMEOUT, writer.flush()).await {
        Ok(Ok(())) => Ok(()),
        // What the other end said before it ended the stream is still to be read, and says why.
        Ok(Err(_)) => Ok(()),
        Err(_elapsed) => Err(RendezvousError::TimedOut {
            limit: ANSWER_TIMEOUT,
        }),
    }
}

/// Takes in one frame. Says whether the list is complete.
fn handle(
    shared: &Arc<Shared>,
    source: SourceId,
    frame: Result<Option<v1::RendezvousFrame>, ReadError>,
) -> Result<bool, RendezvousError> {
    match frame?.ok_or(RendezvousError::Ended)?.frame {
        Some(Frame::Members(members)) => {
            let complete = members.complete;
            shared.input(|membership, now| {
                membership.source_members(now, source, members.members, complete)
            })?;
            Ok(complete)
        }
        Some(Frame::Refusal(refusal)) => Err(RendezvousError::Refused {
            reason: refusal.reason(),
            message: refusal.message,
        }),
        Some(Frame::Register(_) | Frame::RoomsRequest(_) | Frame::Rooms(_)) => {
            let reason = "it says what nobody asked for".to_owned();
            Err(RendezvousError::Invalid { reason })
        }
        // A later version's frame.
        None => Ok(false),
    }
}
