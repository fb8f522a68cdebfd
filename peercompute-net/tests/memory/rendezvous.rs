use std::time::Duration;

use futures::AsyncWriteExt as _;
use peercompute_net::{
    DirectoryLimits, FrameReader, FrameWriter, Multiaddr, PeerId, Presence, RENDEZVOUS_PROTOCOL,
    RendezvousServer, ServerConfig, Transport as _, frames, memory::MemoryTransport,
};
use peercompute_proto::{
    Scope,
    v1::{self, RendezvousRefusalReason as Reason, rendezvous_frame::Frame},
};

use crate::world::{RELAY, World, simulate};

type Reader = FrameReader<v1::RendezvousFrame>;
type Writer = FrameWriter<v1::RendezvousFrame>;

/// A peer that speaks the protocol by hand.
struct Hand {
    transport: MemoryTransport,
    relay: PeerId,
}

impl Hand {
    async fn new(world: &World, name: &str) -> Self {
        let transport = world.network.transport(name);
        let address: Multiaddr = RELAY.parse().unwrap();
        let relay = transport.dial(address).await.unwrap();
        Self { transport, relay }
    }

    async fn open(&self) -> (Reader, Writer) {
        frames(
            self.transport
                .open(self.relay, RENDEZVOUS_PROTOCOL)
                .await
                .unwrap(),
        )
    }

    fn register(&self, room: &str) -> v1::RendezvousFrame {
        register(self.transport.local_peer(), room)
    }

    async fn registered(&self, room: &str) -> (Reader, Writer) {
        let (mut reader, mut writer) = self.open().await;
        writer.send(&self.register(room)).await.unwrap();
        let members = members(&mut reader).await;
        assert!(members.complete);
        (reader, writer)
    }
}

fn register(peer: PeerId, room: &str) -> v1::RendezvousFrame {
    let register = v1::RendezvousRegister {
        scope: Scope::new("test", room).unwrap().to_bytes(),
        presence: Some(Presence::new(peer).to_wire(v1::PresenceState::Joined)),
        listing: None,
    };
    v1::RendezvousFrame {
        frame: Some(Frame::Register(register)),
    }
}

async fn members(reader: &mut Reader) -> v1::RendezvousMembers {
    match reader.next().await.unwrap().unwrap().frame {
        Some(Frame::Members(members)) => members,
        other => panic!("{other:?}"),
    }
}

/// The refusal, after which the stream ends.
async fn refusal(reader: &mut Reader) -> Reason {
    let Some(Frame::Refusal(refusal)) = reader.next().await.unwrap().unwrap().frame else {
        panic!("no refusal")
    };
    assert!(!refusal.message.is_empty());
    assert_eq!(reader.next().await.unwrap(), None);
    refusal.reason()
}

#[test]
fn a_registration_that_names_another_peer_is_refused() {
    simulate(1, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mallory = Hand::new(&world, "mallory").await;
        let (mut reader, mut writer) = mallory.open().await;
        writer
            .send(&register(PeerId::random(), "room"))
            .await
            .unwrap();
        assert_eq!(refusal(&mut reader).await, Reason::Invalid);
        assert_eq!(relay.server.size(), (0, 0));
    });
}

#[test]
fn a_stream_that_does_not_register_in_time_is_ended() {
    simulate(2, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let silent = Hand::new(&world, "silent").await;
        let (mut reader, _writer) = silent.open().await;
        let before = world.runtime.now();
        assert_eq!(reader.next().await.unwrap(), None);
        let took = world.runtime.now() - before;
        assert!(
            (Duration::from_secs(9)..Duration::from_secs(12)).contains(&took),
            "{took:?}"
        );
    });
}

#[test]
fn garbage_ends_the_stream_and_the_registration() {
    simulate(3, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mallory = Hand::new(&world, "mallory").await;
        let (mut reader, mut writer) = mallory.registered("room").await;
        assert_eq!(relay.server.size(), (1, 1));
        // A frame that only servers send.
        let members = Frame::Members(v1::RendezvousMembers::default());
        writer
            .send(&v1::RendezvousFrame {
                frame: Some(members),
            })
            .await
            .unwrap();
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!(relay.server.size(), (0, 0));

        let mut stream = mallory
            .transport
            .open(mallory.relay, RENDEZVOUS_PROTOCOL)
            .await
            .unwrap();
        stream.write_all(&[0xff; 100]).await.unwrap();
        let (mut reader, _writer) = frames::<v1::RendezvousFrame, v1::RendezvousFrame>(stream);
        assert_eq!(reader.next().await.unwrap(), None);
    });
}

#[test]
fn a_flood_of_changes_is_cut_off() {
    simulate(4, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mallory = Hand::new(&world, "mallory").await;
        let (mut reader, mut writer) = mallory.registered("room").await;
        for _ in 0..1000 {
            writer.feed(&mallory.register("room"));
        }
        writer.flush().await.unwrap();
        assert_eq!(refusal(&mut reader).await, Reason::TooOften);
        assert_eq!(relay.server.size(), (0, 0));
    });
}

#[test]
fn a_member_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    simulate(5, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let lazy = Hand::new(&world, "lazy").await;
        let (_unread, _writer) = lazy.registered("room").await;
        let busy = Hand::new(&world, "busy").await;
        let (mut reader, mut writer) = busy.registered("room").await;
        let mut large = busy.register("room");
        if let Some(Frame::Register(register)) = &mut large.frame {
            let presence = register.presence.as_mut().unwrap();
            presence.metadata = (0..32)
                .map(|key| (key.to_string(), "x".repeat(250)))
                .collect();
        }
        // Slowly enough for the server, but more in the end than an unread stream takes.
        for _ in 0..100 {
            writer.send(&large).await.unwrap();
            world.sleep(2).await;
        }
        assert_eq!(relay.server.size(), (1, 1));
        let news = members(&mut reader).await;
        assert_eq!(news.members[0].state(), v1::PresenceState::Left);
    });
}

#[test]
fn one_peer_cannot_take_all_the_streams() {
    simulate(6, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let mallory = Hand::new(&world, "mallory").await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(mallory.open().await);
        }
        // Those beyond the bound are ended at once, long before the time to register is over.
        let before = world.runtime.now();
        let (mut last, _writer) = streams.pop().unwrap();
        assert_eq!(last.next().await.unwrap(), None);
        assert!(world.runtime.now() - before < Duration::from_secs(1));
        let honest = Hand::new(&world, "honest").await;
        honest.registered("room").await;
    });
}

#[test]
fn a_server_that_drains_refuses_newcomers_and_keeps_its_members() {
    simulate(7, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let early = Hand::new(&world, "early").await;
        let (_reader, _writer) = early.registered("room").await;
        relay.server.drain();
        let late = Hand::new(&world, "late").await;
        let (mut reader, mut writer) = late.open().await;
        writer.send(&late.register("room")).await.unwrap();
        assert_eq!(refusal(&mut reader).await, Reason::Draining);
        assert_eq!(relay.server.size(), (1, 1));
    });
}

#[test]
fn a_server_of_one_room_refuses_the_others() {
    simulate(8, |world| async move {
        let transport = world.network.transport("node");
        transport.listen(RELAY.parse().unwrap()).await.unwrap();
        let config = ServerConfig::only(Scope::new("test", "room").unwrap());
        let server = RendezvousServer::start(&world.runtime, &transport, config).unwrap();
        let peer = Hand::new(&world, "peer").await;
        let (mut reader, mut writer) = peer.open().await;
        writer.send(&peer.register("another room")).await.unwrap();
        assert_eq!(refusal(&mut reader).await, Reason::Invalid);
        peer.registered("room").await;
        drop(server);
    });
}

#[test]
fn a_peer_that_registers_again_replaces_its_old_registration() {
    simulate(9, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let peer = Hand::new(&world, "peer").await;
        let (mut old, _old_writer) = peer.registered("room").await;
        let (_new, _new_writer) = peer.registered("room").await;
        assert_eq!(refusal(&mut old).await, Reason::Invalid);
        assert_eq!(relay.server.size(), (1, 1));
    });
}

#[test]
fn a_full_room_is_refused_as_such() {
    simulate(10, |world| async move {
        let transport = world.network.transport("relay");
        transport.listen(RELAY.parse().unwrap()).await.unwrap();
        let mut limits = DirectoryLimits::default();
        limits.members_per_room = 1;
        let config = ServerConfig::every_room(limits);
        let _server = RendezvousServer::start(&world.runtime, &transport, config).unwrap();
        let first = Hand::new(&world, "first").await;
        let (_reader, _writer) = first.registered("room").await;
        let second = Hand::new(&world, "second").await;
        let (mut reader, mut writer) = second.open().await;
        writer.send(&second.register("room")).await.unwrap();
        assert_eq!(refusal(&mut reader).await, Reason::RoomFull);
    });
}

#[test]
fn dropping_the_server_ends_all_registrations() {
    simulate(11, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let peer = Hand::new(&world, "peer").await;
        let (mut reader, _writer) = peer.registered("room").await;
        drop(relay.server);
        assert_eq!(reader.next().await.unwrap(), None);
    });
}
