//! Which public rooms of a game there are: what members list and what strangers find.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use peercompute_net::{
    FrameReader, FrameWriter, Listing, ListingError, MAX_ROOMS, NetworkConfig, NetworkManager,
    NetworkStartError, PrivateRoom, RENDEZVOUS_PROTOCOL, RendezvousError, RoomInfo, RoomsError,
    Transport as _, find_rooms, frames,
};
use peercompute_proto::{
    Scope,
    v1::{self, RendezvousRefusalReason as Reason, rendezvous_frame::Frame},
};

use crate::world::{RELAY, World, at, simulate};

async fn node(world: &World, name: &str, mut config: NetworkConfig) -> NetworkManager {
    config.listen = at("/memory/0");
    config.relays = at(RELAY);
    let node = world.start(name, config).await;
    node.ready().await;
    node
}

fn in_room(room: &str) -> NetworkConfig {
    NetworkConfig::in_room("chess", room).unwrap()
}

fn names(rooms: &[RoomInfo]) -> Vec<(&str, &str, usize)> {
    let rooms = rooms.iter();
    rooms
        .map(|room| (&room.room[..], &room.title[..], room.members))
        .collect()
}

#[test]
fn strangers_find_the_rooms_that_are_listed_and_no_others() {
    simulate(1, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let open = Listing::new("Come in").with("level", "3");
        let alice = node(&world, "alice", in_room("hall").listed(open)).await;
        let bob = node(&world, "bob", in_room("hall")).await;
        let carol = node(&world, "carol", in_room("attic").listed(Listing::new(""))).await;
        let dave = node(&world, "dave", in_room("cellar")).await;
        let private = NetworkConfig::in_private_room(PrivateRoom::from_key([1; 32]));
        let eve = node(&world, "eve", private).await;
        let mut go = NetworkConfig::in_room("go", "hall").unwrap();
        go.listing = Some(Listing::new("Another game"));
        let frank = node(&world, "frank", go).await;
        assert_eq!(relay.server.size(), (5, 6));
        assert_eq!(relay.server.listed_rooms(), 3);

        let stranger = world.network.transport("stranger");
        let ask = async |address: &str, game: &str| {
            let address = address.parse().unwrap();
            find_rooms(&world.runtime, &stranger, address, game).await
        };
        let rooms = ask(RELAY, "chess").await.unwrap();
        assert_eq!(names(&rooms), [("hall", "Come in", 2), ("attic", "", 1)]);
        assert_eq!(
            rooms[0].metadata,
            BTreeMap::from([("level".into(), "3".into())])
        );
        assert_eq!(rooms[0].scope, alice.scope());
        assert_eq!(
            names(&ask(RELAY, "go").await.unwrap()),
            [("hall", "Another game", 1)]
        );
        assert_eq!(ask(RELAY, "checkers").await, Ok(vec![]));
        // Any node answers for its own room, a private one does not.
        let rooms = ask(&alice.addresses()[0].to_string(), "chess")
            .await
            .unwrap();
        assert_eq!(
            names(&rooms),
            [("hall", "Come in", 1)],
            "bob is at the relay"
        );
        assert_eq!(
            ask(&dave.addresses()[0].to_string(), "chess").await,
            Ok(vec![])
        );
        let silence = ask(&eve.addresses()[0].to_string(), "chess")
            .await
            .unwrap_err();
        assert!(matches!(
            silence,
            RoomsError::NoAnswer {
                error: RendezvousError::Ended,
                ..
            }
        ));
        // And who is in a room may ask as well.
        let rooms = eve.rooms("chess").await.unwrap();
        assert_eq!(names(&rooms), [("hall", "Come in", 2), ("attic", "", 1)]);

        alice
            .set_listing(Some(&Listing::new("Match under way")))
            .unwrap();
        carol.set_listing(None).unwrap();
        world.sleep(5).await;
        assert_eq!(
            names(&ask(RELAY, "chess").await.unwrap()),
            [("hall", "Match under way", 2)]
        );
        alice.stop().await;
        world.sleep(5).await;
        assert_eq!(
            ask(RELAY, "chess").await,
            Ok(vec![]),
            "who listed it has gone"
        );
        assert_eq!(relay.server.listed_rooms(), 1);
        for node in [bob, carol, dave, eve, frank] {
            node.stop().await;
        }
    });
}

#[test]
fn hundreds_of_rooms_come_whole() {
    simulate(2, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let mut nodes = Vec::new();
        for number in 0..300 {
            let room = format!("room {number:03}");
            let mut config = in_room(&room).listed(Listing::new(format!("number {number:03}")));
            config.relays = at(RELAY);
            nodes.push(world.start(&room, config).await);
        }
        for node in &nodes {
            node.ready().await;
        }
        let rooms = nodes[7].rooms("chess").await.unwrap();
        assert_eq!(rooms.len(), 300);
        let sorted = (0..300).map(|number| format!("room {number:03}"));
        assert!(rooms.iter().map(|room| room.room.clone()).eq(sorted));
        for node in nodes {
            node.stop().await;
        }
    });
}

#[test]
fn a_list_that_one_relay_does_not_give_another_may() {
    simulate(3, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mut config = in_room("hall").listed(Listing::new("Come in"));
        config.relays = [at("/memory/901"), at(RELAY)].concat();
        let alice = world.start("alice", config).await;
        alice.ready().await;
        assert_eq!(
            names(&alice.rooms("chess").await.unwrap()),
            [("hall", "Come in", 1)]
        );
        relay.transport.close().await;
        let error = alice.rooms("chess").await.unwrap_err();
        assert!(matches!(error, RoomsError::NoAnswer { .. }), "{error}");
        let error = alice.rooms(&"g".repeat(65)).await.unwrap_err();
        assert_eq!(error, RoomsError::GameTooLong { size: 65 });
        let hermit = world.start("hermit", in_room("hall")).await;
        assert_eq!(hermit.rooms("chess").await, Err(RoomsError::NobodyToAsk));
        for node in [alice, hermit] {
            node.stop().await;
        }
    });
}

#[test]
fn only_a_public_room_with_a_name_is_listed() {
    simulate(4, |world| async move {
        let listed = |config: NetworkConfig| config.listed(Listing::new("Come in"));
        let private = NetworkConfig::in_private_room(PrivateRoom::from_key([1; 32]));
        let nameless = NetworkConfig::new(Scope::new("chess", "hall").unwrap());
        let mut large = Listing::new("t".repeat(129));
        for (config, wanted) in [
            (listed(private), ListingError::Private),
            (listed(nameless), ListingError::NoName),
        ] {
            let error = world.try_start("alice", config).await.unwrap_err();
            assert_eq!(error, NetworkStartError::Listing(wanted));
        }
        let error = world
            .try_start("bob", in_room("hall").listed(large.clone()))
            .await;
        assert!(matches!(
            error,
            Err(NetworkStartError::Listing(ListingError::TooLarge(_)))
        ));
        let alice = world.start("carol", in_room("hall")).await;
        assert!(alice.set_listing(Some(&large)).is_err());
        large.title.truncate(128);
        assert_eq!(alice.set_listing(Some(&large)), Ok(()));
        alice.stop().await;
    });
}

type Reader = FrameReader<v1::RendezvousFrame>;
type Writer = FrameWriter<v1::RendezvousFrame>;

#[test]
fn who_asks_without_pause_is_refused_with_the_reason() {
    simulate(5, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mallory = world.network.transport("mallory");
        let peer = mallory.dial(RELAY.parse().unwrap()).await.unwrap();
        let mut answers = 0;
        // Another stream makes no difference.
        'streams: for _ in 0..5 {
            let stream = mallory.open(peer, RENDEZVOUS_PROTOCOL).await.unwrap();
            let (mut reader, mut writer): (Reader, Writer) = frames(stream);
            for _ in 0..20 {
                let request = v1::RendezvousRoomsRequest::default();
                let frame = Some(Frame::RoomsRequest(request));
                writer.send(&v1::RendezvousFrame { frame }).await.unwrap();
                match reader.next().await.unwrap().unwrap().frame {
                    Some(Frame::Rooms(rooms)) => assert!(rooms.complete),
                    Some(Frame::Refusal(refusal)) => {
                        assert_eq!(refusal.reason(), Reason::TooOften);
                        assert_eq!(reader.next().await.unwrap(), None);
                        break 'streams;
                    }
                    other => panic!("{other:?}"),
                }
                answers += 1;
            }
        }
        // Two seconds have passed meanwhile.
        assert!((32..36).contains(&answers), "{answers}");
        assert_eq!(relay.server.size(), (0, 0));
    });
}

/// A relay that answers every question with `answer`.
fn answer_of(
    seed: u64,
    answer: fn(u32) -> v1::RendezvousRooms,
) -> Result<Vec<RoomInfo>, RoomsError> {
    crate::world::simulate_on(seed, Default::default(), |world: World| async move {
        let mallory = world.network.transport("mallory");
        mallory.listen(RELAY.parse().unwrap()).await.unwrap();
        let mut incoming = mallory.accept(RENDEZVOUS_PROTOCOL).unwrap();
        let serving = world.runtime.spawn(async move {
            let Some((_, stream)) = incoming.next().await else {
                return;
            };
            let (mut reader, mut writer): (Reader, Writer) = frames(stream);
            let mut number = 0;
            while let Ok(Some(_)) = reader.next().await {
                let frame = Some(Frame::Rooms(answer(number)));
                number += 1;
                if writer.send(&v1::RendezvousFrame { frame }).await.is_err() {
                    return;
                }
            }
        });
        let stranger = world.network.transport("stranger");
        let before = world.runtime.now();
        let address = RELAY.parse().unwrap();
        let found = find_rooms(&world.runtime, &stranger, address, "chess").await;
        assert!(world.runtime.now() - before < Duration::from_secs(31));
        drop(serving);
        found
    })
}

fn listed(game: &str, room: String) -> v1::ListedRoom {
    v1::ListedRoom {
        listing: Some(v1::RoomListing {
            game: game.into(),
            room,
            ..v1::RoomListing::default()
        }),
        members: 1,
    }
}

#[test]
fn a_relay_that_lies_about_rooms_is_not_believed_and_one_without_end_is_left() {
    let invalid: [fn(u32) -> v1::RendezvousRooms; 4] = [
        |_| v1::RendezvousRooms::default(),
        |_| v1::RendezvousRooms {
            rooms: vec![listed("go", "hall".into())],
            complete: true,
        },
        |_| v1::RendezvousRooms {
            rooms: vec![
                listed("chess", "r".repeat(64)),
                listed("chess", "r".repeat(64)),
            ],
            complete: true,
        },
        |_| v1::RendezvousRooms {
            rooms: vec![listed("chess", "hall".into())],
            complete: false,
        },
    ];
    for (seed, answer) in (1..).zip(invalid) {
        let error = answer_of(seed, answer).unwrap_err();
        assert!(
            matches!(
                error,
                RoomsError::NoAnswer {
                    error: RendezvousError::Invalid { .. },
                    ..
                }
            ),
            "{error}"
        );
    }
    // A list that never ends, of rooms in their order.
    let endless = |number: u32| {
        let mut rooms: Vec<_> = (0..128_u32 * 16)
            .map(|room| listed("chess", room.to_string()))
            .collect();
        let scope = |room: &v1::ListedRoom| {
            let listing = room.listing.as_ref().unwrap();
            Scope::new(&listing.game, &listing.room).unwrap()
        };
        rooms.sort_by_key(scope);
        let from = usize::try_from(number).unwrap() * 128;
        v1::RendezvousRooms {
            rooms: rooms[from..from + 128].to_vec(),
            complete: false,
        }
    };
    let rooms = answer_of(9, endless).unwrap();
    assert_eq!(rooms.len(), MAX_ROOMS);
}
