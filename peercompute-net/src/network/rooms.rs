use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use multiaddr::Multiaddr;
use peercompute_map::SortedMap;
use peercompute_proto::{Scope, limits, v1, v1::rendezvous_frame::Frame};
use peercompute_rt::Runtime;
use thiserror::Error;

use super::{RendezvousError, shared::DIAL_TIMEOUT};
use crate::{
    DialError, FrameReader, FrameWriter, OpenError, RENDEZVOUS_PROTOCOL, RoomInfo, Transport,
    allowance::Allowance,
    frames,
    rendezvous::{ROOMS_BURST, ROOMS_REFILL},
};

/// Rooms that one question brings at most, those with the first scopes; a scope is as good as random.
pub const MAX_ROOMS: usize = 1024;

/// How long one relay or node may take for its whole list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why nobody says which rooms of a game there are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "errors are rare, and one that is boxed cannot be matched on"
)]
pub enum RoomsError {
    /// The game's name is longer than a name may be.
    #[error(
        "the game's name has {size} bytes; it may have {} at most",
        limits::MAX_NAME
    )]
    GameTooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// The configuration names neither a relay nor a bootstrap peer.
    #[error("there is nobody to ask; give a relay or a bootstrap peer")]
    NobodyToAsk,
    /// It was asked and gave no list; where several were asked, the first of them.
    #[error("{address} does not say which rooms there are: {error}")]
    NoAnswer {
        /// Who was asked.
        address: Multiaddr,
        /// Why it gave none.
        error: RendezvousError,
    },
}

/// Asks a relay, or another node, for the public rooms of a game that are listed there, for those who are not in a room yet. In one,
/// [`NetworkManager::rooms`](crate::NetworkManager::rooms) asks.
///
/// [`MAX_ROOMS`] at most, those with the most members first. Private rooms and such as nobody lists are not among them. Cancel safe.
///
/// # Errors
///
/// [`RoomsError`].
pub async fn find_rooms(
    runtime: &Runtime,
    transport: &dyn Transport,
    address: Multiaddr,
    game: &str,
) -> Result<Vec<RoomInfo>, RoomsError> {
    ask_all(runtime, transport, vec![address], game).await
}

/// Asks all of `addresses` at the same time. Their lists as one, if one of them gave any.
pub(super) async fn ask_all(
    runtime: &Runtime,
    transport: &dyn Transport,
    addresses: Vec<Multiaddr>,
    game: &str,
) -> Result<Vec<RoomInfo>, RoomsError> {
    if game.len() > limits::MAX_NAME {
        return Err(RoomsError::GameTooLong { size: game.len() });
    }
    let asked = addresses.into_iter().map(|address| async move {
        let list = list(runtime, transport, address.clone(), game);
        let list = runtime.timeout(LIST_TIMEOUT, list).await;
        let limit = LIST_TIMEOUT;
        let list = list.unwrap_or(Err(RendezvousError::TimedOut { limit }));
        list.map_err(|error| RoomsError::NoAnswer { address, error })
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut found: Option<SortedMap<Scope, RoomInfo>> = None;
    let mut failure = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(rooms) => {
                let found = found.get_or_insert_default();
                for room in rooms {
                    // Who knows of more members knows the room better.
                    let known = found.get(&room.scope);
                    if known.is_none_or(|known| known.members < room.members) {
                        found.insert(room.scope, room);
                    }
                }
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let Some(found) = found else {
        return Err(failure.unwrap_or(RoomsError::NobodyToAsk));
    };
    let mut rooms: Vec<_> = found.into_values().collect();
    rooms.sort_by(|one, other| {
        let by_name = || one.room.cmp(&other.room);
        other.members.cmp(&one.members).then_with(by_name)
    });
    rooms.truncate(MAX_ROOMS);
    Ok(rooms)
}

/// One relay's or node's whole list.
async fn list(
    runtime: &Runtime,
    transport: &dyn Transport,
    address: Multiaddr,
    game: &str,
) -> Result<Vec<RoomInfo>, RendezvousError> {
    let dial = runtime.timeout(DIAL_TIMEOUT, transport.dial(address.clone()));
    let peer = dial.await.unwrap_or(Err(DialError::TimedOut { address }))?;
    let open = runtime.timeout(DIAL_TIMEOUT, transport.open(peer, RENDEZVOUS_PROTOCOL));
    let protocol = RENDEZVOUS_PROTOCOL.to_owned();
    let opened = open.await;
    let stream = opened.unwrap_or(Err(OpenError::TimedOut { peer, protocol }))?;
    let (mut reader, mut writer): (FrameReader<v1::RendezvousFrame>, FrameWriter<_>) =
        frames(stream);

    let now = || runtime.now().since_start();
    // Less often than the other end bears.
    let mut questions = Allowance::new(now(), ROOMS_BURST / 2, ROOMS_REFILL * 2);
    let mut rooms: Vec<RoomInfo> = Vec::new();
    loop {
        let wait = questions.ready_at(now()).saturating_sub(now());
        if !wait.is_zero() {
            runtime.sleep(wait).await;
        }
        questions.take(now());
        let after = rooms.last().map(|room| room.scope);
        let request = v1::RendezvousRoomsRequest {
            game: game.to_owned(),
            after: after.map(|scope| scope.to_bytes()),
        };
        writer.feed(&v1::RendezvousFrame {
            frame: Some(Frame::RoomsRequest(request)),
        });
        // What the other end said before it ended the stream is still to be read, and says why.
        let _ = writer.flush().await;
        let page = page(&mut reader).await?;
        let empty = page.rooms.is_empty();
        for room in page.rooms {
            let room = vet(room, game, rooms.last().map(|room| room.scope))?;
            rooms.push(room);
            if rooms.len() == MAX_ROOMS {
                return Ok(rooms);
            }
        }
        if page.complete {
            return Ok(rooms);
        }
        if empty {
            return Err(invalid(
                "a list of rooms that does not go on and is not complete",
            ));
        }
    }
}

async fn page(
    reader: &mut FrameReader<v1::RendezvousFrame>,
) -> Result<v1::RendezvousRooms, RendezvousError> {
    let frame = reader.next().await.map_err(RendezvousError::from)?;
    match frame.ok_or(RendezvousError::Ended)?.frame {
        Some(Frame::Rooms(rooms)) => Ok(rooms),
        Some(Frame::Refusal(refusal)) => Err(RendezvousError::Refused {
            reason: refusal.reason(),
            message: refusal.message,
        }),
        _ => Err(invalid("it says something else than which rooms there are")),
    }
}

/// A room of the game, after the ones before.
fn vet(
    room: v1::ListedRoom,
    game: &str,
    after: Option<Scope>,
) -> Result<RoomInfo, RendezvousError> {
    let room = RoomInfo::try_from(room).map_err(|error| invalid(&error.to_string()))?;
    if room.game != game {
        return Err(invalid("it lists a room of another game"));
    }
    if after.is_some_and(|after| room.scope <= after) {
        return Err(invalid("it lists rooms twice, or out of their order"));
    }
    Ok(room)
}

fn invalid(reason: &str) -> RendezvousError {
    let reason = reason.to_owned();
    RendezvousError::Invalid { reason }
}
