//! Private rooms: those with the password meet, and whoever has it not finds, reads and says nothing.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use peercompute_net::{
    FrameReader, FrameWriter, NetworkConfig, NetworkEvent, NetworkManager, Outgoing, PeerId,
    Presence, PrivateRoom, RENDEZVOUS_PROTOCOL, RendezvousError, Transport as _, frames,
    memory::MemoryTransport,
};
use peercompute_proto::v1::{self, Kind, rendezvous_frame::Frame};
use prost::Message as _;

use crate::world::{RELAY, World, at, connected, simulate};

const PROTOCOL: &str = "/test/1";

const SECRET: &str = "the treasure is under the oak";

const KEY: [u8; 32] = [7; 32];

/// Of the usual room.
fn config() -> NetworkConfig {
    NetworkConfig::in_private_room(PrivateRoom::from_key(KEY))
}

fn message() -> Outgoing {
    Outgoing::new(Kind::EventBatch, SECRET.into())
}

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("name".into(), SECRET.into())])
}

fn tells_the_secret(bytes: &[u8]) -> bool {
    bytes
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
}

async fn start(world: &World, name: &str, mut config: NetworkConfig) -> NetworkManager {
    config.listen = at("/memory/0");
    config.relays = at(RELAY);
    world.start(name, config).await
}

async fn pair(world: &World) -> (NetworkManager, NetworkManager) {
    let mut first = config();
    first.metadata = metadata();
    first.capabilities.workers = 3;
    let alice = start(world, "alice", first).await;
    let bob = start(world, "bob", config()).await;
    world.joined(&alice, bob.local_peer()).await;
    world.joined(&bob, alice.local_peer()).await;
    (alice, bob)
}

/// Sends over a stream in both directions and ends it properly.
async fn exchange(from: &NetworkManager, to: &NetworkManager) {
    let mut incoming = to.accept(PROTOCOL).unwrap();
    let mut near = from.open(to.local_peer(), PROTOCOL).await.unwrap();
    let question = SECRET.repeat(4000);
    let asking = async {
        near.write_all(question.as_bytes()).await.unwrap();
        near.close().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answering = async {
        let (peer, mut far) = incoming.next().await.unwrap();
        assert_eq!(peer, from.local_peer());
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        far.write_all(b"yes").await.unwrap();
        far.close().await.unwrap();
        asked
    };
    let (answer, asked) = futures::join!(asking, answering);
    assert_eq!((asked == question, &answer[..]), (true, "yes"));
}

#[test]
fn those_with_the_same_password_meet_and_talk() {
    for broadcast in [true, false] {
        simulate(1, |world| async move {
            world.network.set_broadcast(broadcast);
            let relay = world.relay("relay", RELAY).await;
            let mut first = NetworkConfig::private_room("chess", "four knights").unwrap();
            first.metadata = metadata();
            first.capabilities.workers = 3;
            let alice = start(&world, "alice", first).await;
            let second = NetworkConfig::private_room("chess", "four knights").unwrap();
            let bob = start(&world, "bob", second).await;
            world.joined(&alice, bob.local_peer()).await;
            world.joined(&bob, alice.local_peer()).await;
            assert_eq!(relay.server.size(), (1, 2));

            let seen = &bob.peers()[0].presence;
            assert_eq!(
                (&seen.metadata, seen.capabilities.workers),
                (&metadata(), 3)
            );
            assert!(seen.sealed.is_empty());
            let mut events = bob.events();
            let changed = BTreeMap::from([("name".to_owned(), "Alice".to_owned())]);
            alice.set_metadata(changed.clone()).unwrap();
            world
                .event(&mut events, |event| match event {
                    NetworkEvent::Updated { presence } if presence.metadata == changed => Some(()),
                    _ => None,
                })
                .await;

            let mut messages = bob.subscribe("chat");
            alice.publish("chat", message()).unwrap();
            let received = messages.next().await.unwrap();
            assert_eq!(
                (received.from, &received.payload[..]),
                (alice.local_peer(), SECRET.as_bytes())
            );
            let header = received.header;
            assert_eq!(
                (&header.game[..], &header.room[..], header.sequence),
                ("", "", 1)
            );
            assert_eq!(messages.rejected(), 0);

            exchange(&alice, &bob).await;
            exchange(&bob, &alice).await;
            for node in [alice, bob] {
                node.stop().await;
            }
        });
    }
}

#[test]
fn a_stream_that_is_dropped_and_not_closed_reads_as_cut() {
    simulate(2, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mut incoming = bob.accept(PROTOCOL).unwrap();
        let mut near = alice.open(bob.local_peer(), PROTOCOL).await.unwrap();
        near.write_all(b"half a").await.unwrap();
        drop(near);
        let (_, mut far) = incoming.next().await.unwrap();
        let mut read = Vec::new();
        let error = far.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(
            (error.kind(), &read[..]),
            (io::ErrorKind::UnexpectedEof, &b"half a"[..])
        );
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn who_accepts_may_speak_first() {
    simulate(3, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mut incoming = bob.accept(PROTOCOL).unwrap();
        let mut near = alice.open(bob.local_peer(), PROTOCOL).await.unwrap();
        let (_, mut far) = incoming.next().await.unwrap();
        far.write_all(b"welcome").await.unwrap();
        let mut heard = [0; 7];
        near.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"welcome");
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn those_with_another_password_never_meet_and_both_go_on() {
    simulate(4, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mut wrong = NetworkConfig::in_private_room(PrivateRoom::from_key([8; 32]));
        // Even if she knows where one of them listens.
        wrong.bootstrap = alice.addresses();
        let eve = start(&world, "eve", wrong.clone()).await;
        let ready = eve.ready().await;
        assert_eq!(ready.joined, 0);
        let [(_, error)] = &ready.lost[..] else {
            panic!("{ready:?}")
        };
        assert_eq!(*error, RendezvousError::Ended, "no word, whatever she says");
        let mut overheard = eve.subscribe("chat");
        let mut incoming = eve.accept(PROTOCOL).unwrap();
        world.sleep(300).await;
        assert_eq!(eve.peers(), []);
        for member in [&alice, &bob] {
            assert_eq!(member.peers().len(), 1);
        }
        assert_eq!(relay.server.size(), (2, 3));

        let mut messages = bob.subscribe("chat");
        alice.publish("chat", message()).unwrap();
        assert_eq!(messages.next().await.unwrap().payload, SECRET);
        exchange(&alice, &bob).await;
        // And she goes on with those of her own room.
        let frank = start(&world, "frank", wrong).await;
        world.joined(&eve, frank.local_peer()).await;
        frank.publish("chat", message()).unwrap();
        let heard = overheard.next().await.unwrap();
        assert_eq!(heard.from, frank.local_peer());
        assert!(incoming.next().now_or_never().is_none());
        for node in [alice, bob, eve, frank] {
            node.stop().await;
        }
    });
}

#[test]
fn a_stream_between_two_rooms_ends_without_a_byte() {
    simulate(5, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let alice = start(&world, "alice", config()).await;
        let wrong = NetworkConfig::in_private_room(PrivateRoom::from_key([8; 32]));
        let eve = start(&world, "eve", wrong).await;
        // A dial beside the rooms, as a bootstrap would make it.
        let mallory = Outsider::new(&world, &alice, "mallory").await;
        let mut incoming = alice.accept(PROTOCOL).unwrap();
        for salt in [vec![], vec![1; 32], vec![1; 1000]] {
            let mut stream = mallory
                .transport
                .open(alice.local_peer(), PROTOCOL)
                .await
                .unwrap();
            stream.write_all(&salt).await.unwrap();
            let before = world.runtime.now();
            let mut read = Vec::new();
            let reading = stream.read_to_end(&mut read);
            let next = incoming.next();
            futures::pin_mut!(reading);
            // Nobody hears of the stream.
            let end = futures::future::select(reading, next).await;
            assert!(matches!(end, futures::future::Either::Left((Ok(0), _))));
            assert!(world.runtime.now() - before < Duration::from_secs(11));
            assert!(read.is_empty());
        }
        for node in [alice, eve] {
            node.stop().await;
        }
    });
}

/// Somebody who has not the password, but knows all that a relay does: the room's scope, the topics that members subscribe to, and everything that they send.
struct Outsider {
    transport: MemoryTransport,
    room: PrivateRoom,
}

type Reader = FrameReader<v1::RendezvousFrame>;
type Writer = FrameWriter<v1::RendezvousFrame>;

impl Outsider {
    /// Connected to a member.
    async fn new(world: &World, member: &NetworkManager, name: &str) -> Self {
        let transport = world.network.transport(name);
        transport.dial(member.addresses()[0].clone()).await.unwrap();
        Self {
            transport,
            room: PrivateRoom::from_key(KEY),
        }
    }

    /// What a neighbour in the members' mesh is told.
    fn topic(&self, stream: &str) -> String {
        let topics = blake3::derive_key("peercompute private room 1: topics", &KEY);
        let hash = blake3::keyed_hash(&topics, stream.as_bytes());
        format!("peercompute/1/{}", hash.to_hex())
    }

    async fn register(
        &self,
        server: PeerId,
        scope: Bytes,
        presence: v1::Presence,
    ) -> (Reader, Writer) {
        let stream = self.transport.open(server, RENDEZVOUS_PROTOCOL);
        let (reader, mut writer): (Reader, Writer) = frames(stream.await.unwrap());
        let register = v1::RendezvousRegister {
            scope,
            presence: Some(presence),
            listing: None,
        };
        let frame = Some(Frame::Register(register));
        writer.send(&v1::RendezvousFrame { frame }).await.unwrap();
        (reader, writer)
    }

    fn presence(&self) -> v1::Presence {
        let mut presence = Presence::new(self.transport.local_peer());
        presence.addresses = self.transport.listen_addresses();
        presence.to_wire(v1::PresenceState::Joined)
    }
}

#[test]
fn an_outsider_at_the_relay_sees_no_more_than_addresses_and_is_seen_by_nobody() {
    simulate(6, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mallory = Outsider::new(&world, &alice, "mallory").await;
        mallory
            .transport
            .listen("/memory/66".parse().unwrap())
            .await
            .unwrap();
        mallory
            .transport
            .dial(RELAY.parse().unwrap())
            .await
            .unwrap();
        let server = relay.transport.local_peer();
        let scope = mallory.room.scope().to_bytes();
        let (mut reader, _writer) = mallory
            .register(server, scope.clone(), mallory.presence())
            .await;
        let Some(Frame::Members(list)) = reader.next().await.unwrap().unwrap().frame else {
            panic!("the relay does not know whom it serves")
        };
        let found = list
            .members
            .iter()
            .find(|member| member.peer[..] == alice.local_peer().to_bytes()[..]);
        let found = found.unwrap();
        assert_eq!(found.addresses, [alice.addresses()[0].to_string()]);
        assert_eq!(
            found.capabilities.unwrap_or_default(),
            v1::Capabilities::default()
        );
        assert!(found.metadata.is_empty() && !found.sealed.is_empty());
        assert!(!tells_the_secret(&found.encode_to_vec()));

        // A forged presence, and what alice says of herself as if it were his.
        let mut stolen = mallory.presence();
        stolen.sealed = found.sealed.clone();
        let mut forged = mallory.presence();
        forged.sealed = Bytes::from(vec![1; 100]);
        for presence in [stolen, forged] {
            let _registered = mallory.register(server, scope.clone(), presence).await;
            world.sleep(60).await;
            assert_eq!(relay.server.size(), (1, 3));
            for (member, other) in [(&alice, &bob), (&bob, &alice)] {
                let peers = member.peers();
                assert_eq!(peers.len(), 1, "{peers:?}");
                assert_eq!(connected(member), [other.local_peer()]);
                assert_eq!(member.ready().await.lost, [], "it is not the relay's fault");
            }
        }
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn a_member_answers_no_outsider_that_asks_for_its_list() {
    simulate(7, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mallory = Outsider::new(&world, &alice, "mallory").await;
        let scope = mallory.room.scope();
        let alices = {
            let mut presence = Presence::new(mallory.transport.local_peer());
            presence.sealed = Bytes::from(vec![1; 100]);
            presence.to_wire(v1::PresenceState::Joined)
        };
        let other = peercompute_proto::Scope::new("test", "room").unwrap();
        for (scope, presence) in [
            (other, mallory.presence()),
            (scope, mallory.presence()),
            (scope, alices),
            (scope, v1::Presence::default()),
        ] {
            let before = world.runtime.now();
            let (mut reader, _writer) = mallory
                .register(alice.local_peer(), scope.to_bytes(), presence)
                .await;
            assert_eq!(reader.next().await.unwrap(), None);
            let took = world.runtime.now() - before;
            // A way there to open, the way back, and a way there and back.
            assert_eq!(took, Duration::from_millis(80), "the same for all");
        }
        assert_eq!(alice.peers().len(), 1);
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn an_outsider_on_the_topic_reads_nothing_and_is_not_heard() {
    simulate(8, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mallory = Outsider::new(&world, &alice, "mallory").await;
        mallory
            .transport
            .dial(bob.addresses()[0].clone())
            .await
            .unwrap();
        let broadcast = mallory.transport.broadcast().unwrap();
        let topic = mallory.topic("chat");
        let mut overheard = broadcast.subscribe(&topic);
        let mut messages = bob.subscribe("chat");
        alice.publish("chat", message()).unwrap();
        let sealed = overheard.next().await.unwrap();
        assert_eq!(sealed.from, alice.local_peer());
        assert!(!tells_the_secret(&sealed.data));
        assert_eq!(messages.next().await.unwrap().payload, SECRET);

        let header = v1::Header {
            kind: Kind::EventBatch.into(),
            sender: mallory.transport.local_peer().to_bytes().into(),
            ..v1::Header::default()
        };
        let plain = v1::Envelope {
            header: Some(header),
            payload: "listen to me".into(),
        };
        let mut flipped = sealed.data.to_vec();
        flipped[30] ^= 1;
        let attempts = [
            sealed.data,
            flipped.into(),
            plain.encode_to_vec().into(),
            Bytes::new(),
            Bytes::from(vec![0; 39]),
            Bytes::from(vec![0; 40]),
        ];
        let count = u64::try_from(attempts.len()).unwrap();
        for attempt in attempts {
            broadcast.publish(&topic, attempt).unwrap();
        }
        // The topic of a public room of that scope, too.
        let public = format!("peercompute/1/{}/chat", mallory.room.scope());
        broadcast
            .publish(&public, plain.encode_to_vec().into())
            .unwrap();
        world.sleep(1).await;
        bob.publish("chat", message()).unwrap();
        alice.publish("chat", message()).unwrap();
        let next = messages.next().await.unwrap();
        assert_eq!((next.from, next.header.sequence), (alice.local_peer(), 2));
        assert_eq!(messages.rejected(), count);
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn a_relay_that_forges_a_members_word_is_not_believed() {
    simulate(9, |world| async move {
        // The relay's operator changes what alice has said.
        let transport = world.network.transport("mallory");
        transport.listen(RELAY.parse().unwrap()).await.unwrap();
        let mut asked = transport.accept(RENDEZVOUS_PROTOCOL).unwrap();
        let alice = start(&world, "alice", {
            let mut config = config();
            config.metadata = metadata();
            config
        })
        .await;
        let (_, stream) = asked.next().await.unwrap();
        let (mut reader, _writer): (Reader, Writer) = frames(stream);
        let Some(Frame::Register(register)) = reader.next().await.unwrap().unwrap().frame else {
            panic!("alice does not register")
        };
        let genuine = register.presence.unwrap();
        let bob = start(&world, "bob", config()).await;
        let (_, stream) = asked.next().await.unwrap();
        let (_reader, mut writer): (Reader, Writer) = frames(stream);
        let mut news = bob.events();
        let mut tell = async |presence: v1::Presence| {
            let members = v1::RendezvousMembers {
                members: vec![presence],
                complete: true,
            };
            let frame = Some(Frame::Members(members));
            writer.send(&v1::RendezvousFrame { frame }).await.unwrap();
            world.sleep(1).await;
        };
        let mut stripped = genuine.clone();
        stripped.sealed = Bytes::new();
        stripped.metadata = BTreeMap::from([("name".into(), "Mallory".into())]);
        tell(stripped.clone()).await;
        assert_eq!(bob.peers(), []);
        tell(genuine).await;
        assert_eq!(bob.peers()[0].presence.metadata, metadata());
        tell(stripped).await;
        assert_eq!(bob.peers()[0].presence.metadata, metadata());
        let changed = std::iter::from_fn(|| news.try_next())
            .any(|event| matches!(event, NetworkEvent::Updated { .. }));
        assert!(!changed);
        for node in [alice, bob] {
            node.stop().await;
        }
        transport.close().await;
    });
}
