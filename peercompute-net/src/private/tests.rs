use std::{io, pin::Pin, sync::OnceLock, task::Poll};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _};
use peercompute_rt::Simulation;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    sealed_box::Nonce,
    stream::{Context, MAX_DATA, SALT_SIZE},
    *,
};

const PROTOCOL: &str = "/peercompute/task/1";

/// Of a key that costs nothing to compute.
fn room(number: u8) -> PrivateRoom {
    PrivateRoom::from_key([number; KEY_SIZE])
}

fn peer(number: u8) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([number; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

/// One end of a stream of bytes in memory, which takes and gives at most so many at a time and is not ready every other time.
#[derive(Debug)]
struct Bytewise {
    input: Vec<u8>,
    output: Vec<u8>,
    step: usize,
    ready: bool,
}

impl Bytewise {
    fn new(input: &[u8], step: usize) -> Self {
        Self {
            input: input.to_vec(),
            output: Vec::new(),
            step,
            ready: true,
        }
    }

    /// Of no step nothing is ever taken or given.
    fn pause(&mut self) -> bool {
        self.ready = !self.ready;
        self.ready || self.step == 0
    }
}

impl AsyncRead for Bytewise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.pause() {
            return Poll::Pending;
        }
        let count = self.step.min(out.len()).min(self.input.len());
        out[..count].copy_from_slice(&self.input[..count]);
        self.input.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Bytewise {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.pause() {
            return Poll::Pending;
        }
        let count = self.step.min(bytes.len());
        self.output.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a new future each time: every wait is cancelled, as a `select` would.
fn cancelled<T>(mut step: impl FnMut() -> Option<T>) -> T {
    (0..1_000_000).find_map(|_| step()).expect("it never ends")
}

/// Who is at the ends of a stream, and which.
struct Ends {
    room: PrivateRoom,
    opener: PeerId,
    acceptor: PeerId,
    protocol: &'static str,
}

impl Ends {
    fn usual() -> Self {
        Self {
            room: room(1),
            opener: peer(1),
            acceptor: peer(2),
            protocol: PROTOCOL,
        }
    }

    fn end(&self, role: Role, bytes: Bytewise, salt: u8) -> SealedStream<Bytewise> {
        let context = Context::new(&self.opener, &self.acceptor, self.protocol);
        let key = self.room.0.streams.clone();
        SealedStream::new(bytes, key, context, role, [salt; SALT_SIZE])
    }

    /// The bytes of one whole direction.
    fn sent(&self, from: Role, pieces: &[Vec<u8>], step: usize) -> Vec<u8> {
        let mut stream = self.end(from, Bytewise::new(&[], step), 7);
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let count = cancelled(|| stream.write(rest).now_or_never()).unwrap();
                rest = &rest[count..];
            }
        }
        cancelled(|| stream.flush().now_or_never()).unwrap();
        cancelled(|| stream.close().now_or_never()).unwrap();
        cancelled(|| stream.close().now_or_never()).unwrap();
        stream.into_inner().output
    }

    /// What the other end reads of a direction, how it ends, and what it has written until then.
    fn received(&self, by: Role, bytes: &[u8], step: usize) -> (Vec<u8>, io::Result<()>, Vec<u8>) {
        let mut stream = self.end(by, Bytewise::new(bytes, step), 8);
        let mut data = Vec::new();
        let mut buffer = vec![0; step.clamp(1, 50_000)];
        let end = loop {
            match cancelled(|| stream.read(&mut buffer).now_or_never()) {
                Ok(0) => break Ok(()),
                Ok(count) => data.extend_from_slice(&buffer[..count]),
                Err(error) => break Err(error),
            }
        };
        (data, end, stream.into_inner().output)
    }
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let size = prop_oneof![0_usize..100, Just(MAX_DATA), 0_usize..40_000];
    let piece = (any::<u8>(), size).prop_map(|(byte, size)| vec![byte; size]);
    prop::collection::vec(piece, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_whatever_the_pieces_and_however_often_the_waits_are_cancelled(
        pieces in pieces(), there in 100_usize..50_000, back in 100_usize..50_000,
    ) {
        let ends = Ends::usual();
        for (from, to) in [(Role::Opener, Role::Acceptor), (Role::Acceptor, Role::Opener)] {
            let bytes = ends.sent(from, &pieces, there);
            let (data, end, written) = ends.received(to, &bytes, back);
            prop_assert_eq!(data, pieces.concat());
            prop_assert!(end.is_ok());
            prop_assert!(written.is_empty(), "who only reads says nothing");
        }
    }

    #[test]
    fn one_changed_bit_is_seen_and_nothing_from_there_on_is_believed(
        pieces in pieces(), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let ends = Ends::usual();
        let mut bytes = ends.sent(Role::Opener, &pieces, usize::MAX);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let (data, end, _) = ends.received(Role::Acceptor, &bytes, usize::MAX);
        prop_assert!(end.is_err());
        let sent = pieces.concat();
        prop_assert!(data.len() <= at && sent.starts_with(&data));
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_says_so(pieces in pieces(), at in any::<prop::sample::Index>()) {
        let ends = Ends::usual();
        let bytes = ends.sent(Role::Opener, &pieces, usize::MAX);
        let at = at.index(bytes.len());
        let (data, end, _) = ends.received(Role::Acceptor, &bytes[..at], usize::MAX);
        prop_assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
        prop_assert!(pieces.concat().starts_with(&data));
    }

    #[test]
    fn whatever_a_stranger_sends_opens_nothing(bytes in prop::collection::vec(any::<u8>(), 0..60_000)) {
        let (data, end, written) = Ends::usual().received(Role::Acceptor, &bytes, usize::MAX);
        prop_assert!(data.is_empty() && end.is_err() && written.is_empty());
    }

    #[test]
    fn a_box_opens_only_with_the_key_for_the_peer_and_the_stream_it_was_made_for(
        payload in prop::collection::vec(any::<u8>(), 0..2000), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let runtime = Simulation::new(1).runtime();
        let envelope = v1::Envelope { header: None, payload: payload.into() };
        let sealed = room(1).seal_message(&runtime, &peer(1), "state", &envelope);
        prop_assert_eq!(sealed.len(), prost::Message::encoded_len(&envelope) + OVERHEAD);
        let open = |room: PrivateRoom, sender, stream, bytes: Bytes| room.open_message(&sender, stream, bytes);
        let opened = open(room(1), peer(1), "state", sealed.clone());
        prop_assert_eq!(opened.map(decode::<v1::Envelope>), Some(Ok(envelope)));
        prop_assert!(open(room(2), peer(1), "state", sealed.clone()).is_none());
        prop_assert!(open(room(1), peer(2), "state", sealed.clone()).is_none());
        prop_assert!(open(room(1), peer(1), "chat", sealed.clone()).is_none());
        let mut flipped = sealed.to_vec();
        let place = at.index(flipped.len());
        flipped[place] ^= 1_u8 << bit;
        prop_assert!(open(room(1), peer(1), "state", flipped.into()).is_none());
        prop_assert!(open(room(1), peer(1), "state", sealed.slice(..place)).is_none());
    }
}

#[test]
fn a_stream_opens_only_with_the_key_between_the_two_peers_by_its_opener_and_of_its_protocol() {
    let bytes = Ends::usual().sent(Role::Opener, &[b"hello".to_vec()], usize::MAX);
    let with = |change: fn(&mut Ends)| {
        let mut ends = Ends::usual();
        change(&mut ends);
        ends
    };
    let others = [
        with(|ends| ends.room = room(2)),
        with(|ends| ends.opener = peer(3)),
        with(|ends| ends.acceptor = peer(3)),
        with(|ends| std::mem::swap(&mut ends.opener, &mut ends.acceptor)),
        with(|ends| ends.protocol = "/peercompute/task/2"),
    ];
    for other in others {
        let (data, end, written) = other.received(Role::Acceptor, &bytes, usize::MAX);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(data.is_empty() && written.is_empty());
    }
    // What the opener itself has sent, back to it.
    let (_, end, _) = Ends::usual().received(Role::Opener, &bytes, usize::MAX);
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

/// Cuts a direction into its salt and its records.
fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (salt, mut rest) = bytes.split_at(SALT_SIZE);
    let mut records = vec![salt.to_vec()];
    while let Some(header) = rest.first_chunk::<2>() {
        let length = 2 + usize::from(u16::from_be_bytes(*header) & 0x7fff);
        let (record, after) = rest.split_at(length);
        records.push(record.to_vec());
        rest = after;
    }
    records
}

#[test]
fn records_that_come_twice_in_another_order_or_not_at_all_are_refused() {
    let ends = Ends::usual();
    let pieces = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let records = records(&ends.sent(Role::Opener, &pieces, usize::MAX));
    assert_eq!(records.len(), 6, "salt, hello, three and the end");
    for order in [
        vec![0, 1, 2, 2, 3, 4, 5],
        vec![0, 1, 3, 2, 4, 5],
        vec![0, 1, 2, 4, 5],
        vec![0, 2, 3, 4, 5],
        vec![0, 1, 5],
        vec![0, 1, 1, 2, 3, 4, 5],
    ] {
        let bytes: Vec<u8> = order.iter().flat_map(|at| records[*at].clone()).collect();
        let (_, end, _) = ends.received(Role::Acceptor, &bytes, usize::MAX);
        let kind = end.unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::InvalidData, "{order:?}");
    }
    let bytes: Vec<u8> = records.concat().into_iter().chain([1, 2, 3]).collect();
    let (data, end, _) = ends.received(Role::Acceptor, &bytes, usize::MAX);
    assert_eq!(data, b"onetwothree", "what comes after the end is left");
    end.unwrap();
}

#[test]
fn a_stream_that_does_not_flow_takes_one_record_and_then_makes_its_writer_wait() {
    let mut stream = Ends::usual().end(Role::Opener, Bytewise::new(&[], 0), 1);
    let block = vec![1; 1024 * 1024];
    assert_eq!(
        stream.write(&block).now_or_never().unwrap().unwrap(),
        MAX_DATA
    );
    for _ in 0..100 {
        assert!(stream.write(&block).now_or_never().is_none());
    }
    assert!(stream.flush().now_or_never().is_none());
}

#[test]
fn nothing_can_be_written_after_the_end() {
    let mut stream = Ends::usual().end(Role::Opener, Bytewise::new(&[], usize::MAX), 1);
    cancelled(|| stream.close().now_or_never()).unwrap();
    let error = stream.write(b"late").now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_presence_is_read_by_members_only_and_only_for_its_peer() {
    let runtime = Simulation::new(1).runtime();
    let mut presence = Presence::new(peer(1));
    presence.capabilities.workers = 3;
    presence.metadata.insert("name".into(), "Žofie".into());
    presence.addresses = vec![format!("/memory/1/p2p/{}", peer(1)).parse().unwrap()];
    let sealed = room(1).seal_presence(&runtime, &presence);
    assert_eq!(sealed.addresses, presence.addresses);
    assert!(sealed.metadata.is_empty() && sealed.capabilities == v1::Capabilities::default());
    let wire = sealed.to_wire(v1::PresenceState::Joined);
    let name = "Žofie".as_bytes();
    assert!(!wire.sealed.windows(name.len()).any(|part| part == name));
    let received = Presence::try_from(wire.clone()).unwrap();
    assert_eq!(room(1).open_presence(received.clone()), Some(presence));
    assert_eq!(room(2).open_presence(received.clone()), None);
    let mut of_another = received;
    of_another.peer = peer(2);
    assert_eq!(room(1).open_presence(of_another), None);
    assert!(room(1).admits(&peer(1), Some(&wire)));
    assert!(!room(1).admits(&peer(2), Some(&wire)));
    assert!(!room(2).admits(&peer(1), Some(&wire)));
    assert!(!room(1).admits(&peer(1), None));
}

#[test]
fn the_largest_presence_fits_sealed() {
    let runtime = Simulation::new(1).runtime();
    let mut presence = Presence::new(peer(1));
    presence.capabilities.memory_bytes = u64::MAX;
    presence.capabilities.ops_score = u64::MAX;
    for key in 0..limits::MAX_METADATA {
        let key = format!("{key:0>64}");
        presence
            .metadata
            .insert(key, "v".repeat(limits::MAX_METADATA_VALUE));
    }
    presence.check().unwrap();
    let sealed = room(1).seal_presence(&runtime, &presence);
    sealed.check().unwrap();
    assert_eq!(room(1).open_presence(sealed), Some(presence));
}

#[test]
fn topics_tell_neither_the_room_nor_the_stream() {
    let topic = room(1).topic("the votes");
    assert_eq!(topic, room(1).topic("the votes"));
    assert_ne!(topic, room(1).topic("the vote"));
    assert_ne!(topic, room(2).topic("the votes"));
    assert!(!topic.contains("vote"));
    assert!(!topic.contains(&room(1).scope().to_string()));
    assert_eq!(topic.len(), room(1).topic("").len());
}

#[test]
fn what_is_no_password_or_no_name_is_refused_before_any_work() {
    assert_eq!(
        PrivateRoom::new("game", "").unwrap_err(),
        PrivateRoomError::EmptyPassword
    );
    assert_eq!(
        PrivateRoom::new("game", &"p".repeat(257)).unwrap_err(),
        PrivateRoomError::PasswordTooLong { size: 257 }
    );
    assert_eq!(
        PrivateRoom::new(&"g".repeat(65), "password").unwrap_err(),
        PrivateRoomError::GameTooLong { size: 65 }
    );
}

#[test]
fn the_keys_are_not_shown() {
    let room = room(0xab);
    let shown = format!("{room:?}");
    assert_eq!(shown, format!("PrivateRoom(Scope({}))", room.scope()));
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Game, password.
const KNOWN: &[(&str, &str)] = &[
    ("cubechat", "correct horse battery staple"),
    ("", "p"),
    ("größe", "пароль 部屋"),
];

/// The vectors that another implementation compares itself with.
fn vectors() -> Value {
    static VECTORS: OnceLock<Value> = OnceLock::new();
    VECTORS.get_or_init(make_vectors).clone()
}

fn make_vectors() -> Value {
    let rooms: Vec<Value> = KNOWN
        .iter()
        .map(|(game, password)| {
            let key = room_key(game, password).unwrap();
            let room = PrivateRoom::from_room_key(&key);
            json!({
                "game": game,
                "password": password,
                "salt": hex(blake3::derive_key(SALT, game.as_bytes())),
                "room_key": hex(*key),
                "scope": room.scope().to_string(),
                "messages": hex(*room.0.messages),
                "presences": hex(*room.0.presences),
                "topics": hex(*room.0.topics),
                "streams": hex(*room.0.streams),
            })
        })
        .collect();
    let (room, alice, bob) = (room(1), peer(1), peer(2));
    let nonce: Nonce = std::array::from_fn(|at| u8::try_from(at).unwrap());

    let envelope = v1::Envelope {
        header: Some(v1::Header {
            kind: v1::Kind::EventBatch.into(),
            sequence: 1,
            sender: alice.to_bytes().into(),
            ..v1::Header::default()
        }),
        payload: Bytes::from_static(b"hello"),
    };
    let context = room.context(&alice, b"chat");
    let message = sealed_box::seal(&room.0.messages, nonce, &context, &envelope);

    let private = v1::PrivatePresence {
        capabilities: None,
        metadata: [("name".to_owned(), "Žofie".to_owned())].into(),
    };
    let presence_context = room.context(&alice, &[]);
    let presence = sealed_box::seal(&room.0.presences, nonce, &presence_context, &private);

    let ends = Ends::usual();
    let pieces = [b"one".to_vec(), vec![0xee; 3]];
    json!({
        "rooms": rooms,
        "boxes_and_streams": {
            "room_key": hex([1; KEY_SIZE]),
            "scope": room.scope().to_string(),
            "message": {
                "sender": hex(alice.to_bytes()),
                "stream": "chat",
                "topic": room.topic("chat"),
                "nonce": hex(nonce),
                "associated_data": hex(context),
                "envelope": hex(prost::Message::encode_to_vec(&envelope)),
                "box": hex(message),
            },
            "presence": {
                "peer": hex(alice.to_bytes()),
                "nonce": hex(nonce),
                "associated_data": hex(presence_context),
                "private_presence": hex(prost::Message::encode_to_vec(&private)),
                "box": hex(presence),
            },
            "stream": {
                "opener": hex(alice.to_bytes()),
                "acceptor": hex(bob.to_bytes()),
                "protocol": PROTOCOL,
                "salt": hex([7; SALT_SIZE]),
                "data": pieces.iter().map(hex).collect::<Vec<_>>(),
                "from_opener": hex(ends.sent(Role::Opener, &pieces, usize::MAX)),
                "from_acceptor": hex(ends.sent(Role::Acceptor, &pieces, usize::MAX)),
            },
        },
    })
}

#[test]
fn golden_vectors_are_as_ever() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/private_room.json");
    let text = format!("{:#}\n", vectors());
    if std::env::var_os("PEERCOMPUTE_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn the_same_password_of_another_game_and_another_password_are_other_rooms() {
    let vectors = vectors();
    let rooms = vectors["rooms"].as_array().unwrap();
    let (game, password) = KNOWN[0];
    let again = PrivateRoom::new(game, password).unwrap();
    assert_eq!(rooms[0]["scope"], again.scope().to_string());
    for (game, password) in [
        ("cubechat", "correct horse battery stapl"),
        ("cubecha", KNOWN[0].1),
    ] {
        let other = PrivateRoom::new(game, password).unwrap();
        assert_ne!(other.scope(), again.scope());
    }
}
