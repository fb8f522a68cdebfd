use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const START: Duration = Duration::ZERO;

fn scope(room: u8) -> Scope {
    Scope::new("test", &room.to_string()).unwrap()
}

/// A peer that is the same at every run.
fn peer(number: u8) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([number; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

fn register(number: u8, room: u8, workers: u32) -> v1::RendezvousRegister {
    let mut presence = Presence::new(peer(number));
    presence.capabilities.workers = workers;
    v1::RendezvousRegister {
        scope: scope(room).to_bytes(),
        presence: Some(presence.to_wire(v1::PresenceState::Joined)),
        listing: None,
    }
}

fn title(workers: u32) -> String {
    format!("room of one with {workers} workers")
}

fn perhaps_listed(number: u8, room: u8, workers: u32) -> v1::RendezvousRegister {
    let mut register = register(number, room, workers);
    if workers % 2 == 1 {
        register.listing = Some(listing(room, &title(workers)));
    }
    register
}

fn listing(room: u8, title: &str) -> v1::RoomListing {
    v1::RoomListing {
        game: "test".into(),
        room: room.to_string(),
        title: title.into(),
        metadata: BTreeMap::new(),
    }
}

fn asked(after: Option<Scope>) -> v1::RendezvousRoomsRequest {
    v1::RendezvousRoomsRequest {
        game: "test".into(),
        after: after.map(|scope| scope.to_bytes()),
    }
}

/// What one stream's other end knows.
#[derive(Debug, Default)]
struct View {
    members: BTreeMap<PeerId, u32>,
    complete: bool,
}

impl View {
    fn apply(&mut self, frame: v1::RendezvousMembers) {
        assert!(frame.members.len() <= limits::MAX_MEMBERS);
        for wire in frame.members {
            let left = wire.state() == v1::PresenceState::Left;
            let presence = Presence::try_from(wire).unwrap();
            if left {
                self.members.remove(&presence.peer);
            } else {
                self.members
                    .insert(presence.peer, presence.capabilities.workers);
            }
        }
        self.complete |= frame.complete;
    }
}

fn drain(directory: &mut Directory, id: RegistrationId, view: &mut View) {
    while let Some(frame) = directory.poll_transmit(id) {
        view.apply(frame);
    }
}

#[test]
fn a_newcomer_gets_the_list_and_the_others_get_the_newcomer() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let first = directory
        .register(START, peer(1), register(1, 0, 4))
        .unwrap();
    let empty = directory.poll_transmit(first).unwrap();
    assert!(
        empty.members.is_empty() && empty.complete,
        "nobody is there, and that is all"
    );

    let second = directory
        .register(START, peer(2), register(2, 0, 5))
        .unwrap();
    let list = directory.poll_transmit(second).unwrap();
    assert!(list.complete);
    assert_eq!(list.members.len(), 1);
    assert_eq!(list.members[0].state(), v1::PresenceState::Alive);
    let news = directory.poll_transmit(first).unwrap();
    assert_eq!(news.members[0].state(), v1::PresenceState::Joined);
    assert_eq!(directory.poll_transmit(first), None);
}

#[test]
fn the_end_of_a_registration_is_told_to_those_who_knew_of_it() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let first = directory
        .register(START, peer(1), register(1, 0, 4))
        .unwrap();
    let second = directory
        .register(START, peer(2), register(2, 0, 5))
        .unwrap();
    let (mut view, mut nobody) = (View::default(), View::default());
    drain(&mut directory, first, &mut view);
    assert!(view.members.contains_key(&peer(2)));
    directory.remove(second);
    drain(&mut directory, first, &mut view);
    assert!(view.members.is_empty());
    let third = directory
        .register(START, peer(3), register(3, 0, 0))
        .unwrap();
    let list = directory.poll_transmit(third).unwrap();
    assert_eq!(
        list.members.len(),
        1,
        "one that left before is not in the list"
    );
    nobody.apply(list);
    assert!(nobody.complete);
}

#[test]
fn rooms_do_not_see_each_other() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let here = directory
        .register(START, peer(1), register(1, 0, 4))
        .unwrap();
    let there = directory
        .register(START, peer(2), register(2, 1, 4))
        .unwrap();
    for id in [here, there] {
        assert!(directory.poll_transmit(id).unwrap().members.is_empty());
        assert_eq!(directory.poll_transmit(id), None);
    }
}

#[test]
fn a_newer_registration_of_the_same_peer_replaces_the_older() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let older = directory
        .register(START, peer(1), register(1, 0, 4))
        .unwrap();
    let newer = directory
        .register(START, peer(1), register(1, 0, 5))
        .unwrap();
    assert!(!directory.is_alive(older) && directory.is_alive(newer));
    let ready: Vec<_> = std::iter::from_fn(|| directory.poll_ready()).collect();
    assert!(
        ready.contains(&older),
        "its stream learns that it is to end"
    );
    directory.remove(older);
    assert!(
        directory.is_alive(newer),
        "the end of the older stream does not touch the newer"
    );
    assert_eq!(directory.size(), (1, 1));
}

#[test]
fn a_peer_speaks_for_itself_only() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let refused = directory
        .register(START, peer(2), register(1, 0, 4))
        .unwrap_err();
    assert!(
        matches!(
            refused,
            RefusedRegistration::Presence(PresenceError::PeerOfAnother { .. })
        ),
        "{refused}"
    );
    assert_eq!(directory.size(), (0, 0));
}

#[test]
fn every_bound_refuses_what_exceeds_it_and_says_which_it_is() {
    let limits = DirectoryLimits {
        rooms: 2,
        members_per_room: 2,
        members: 4,
        rooms_per_peer: 2,
        ..Default::default()
    };
    let mut directory = Directory::new(limits);
    directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    directory
        .register(START, peer(2), register(2, 0, 0))
        .unwrap();
    let refused = directory.register(START, peer(3), register(3, 0, 0));
    assert_eq!(refused, Err(RefusedRegistration::RoomFull { limit: 2 }));
    directory
        .register(START, peer(1), register(1, 1, 0))
        .unwrap();
    let refused = directory.register(START, peer(3), register(3, 2, 0));
    assert_eq!(
        refused,
        Err(RefusedRegistration::Full {
            limit: 2,
            what: "rooms"
        })
    );
    directory
        .register(START, peer(3), register(3, 1, 0))
        .unwrap();
    let refused = directory.register(START, peer(4), register(4, 1, 0));
    assert_eq!(
        refused,
        Err(RefusedRegistration::Full {
            limit: 4,
            what: "members"
        })
    );

    let mut directory = Directory::new(DirectoryLimits {
        rooms_per_peer: 1,
        ..limits
    });
    directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    let refused = directory.register(START, peer(1), register(1, 1, 0));
    assert_eq!(refused, Err(RefusedRegistration::TooManyRooms { limit: 1 }));

    let mut directory = Directory::new(DirectoryLimits {
        bytes: 60,
        ..limits
    });
    directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    let refused = directory.register(START, peer(2), register(2, 0, 0));
    assert_eq!(
        refused,
        Err(RefusedRegistration::Full {
            limit: 60,
            what: "bytes"
        })
    );
}

#[test]
fn a_presence_that_changes_without_pause_is_refused_and_one_that_changes_slowly_is_not() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let id = directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    let fast = (0..).find_map(|workers| {
        directory
            .update(START, id, register(1, 0, workers))
            .err()
            .map(|error| (workers, error))
    });
    let too_often = RefusedRegistration::TooOften {
        interval: UPDATE_REFILL,
    };
    assert_eq!(fast, Some((UPDATE_BURST, too_often)));
    for second in 1..200 {
        let now = UPDATE_REFILL * second;
        assert_eq!(directory.update(now, id, register(1, 0, second)), Ok(()));
    }
}

#[test]
fn a_stream_stays_in_the_room_it_registered_in() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let id = directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    let refused = directory.update(START, id, register(1, 1, 0));
    assert_eq!(refused, Err(RefusedRegistration::OtherRoom));
}

#[test]
fn a_draining_directory_keeps_its_members_and_takes_no_more() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let id = directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    directory.drain();
    assert!(directory.is_alive(id));
    let refused = directory
        .register(START, peer(2), register(2, 0, 0))
        .unwrap_err();
    assert_eq!(
        refused.to_wire().reason(),
        v1::RendezvousRefusalReason::Draining
    );
}

#[test]
fn a_list_longer_than_a_frame_comes_in_several_and_is_complete_with_the_last() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let many = 600_u16;
    for number in 0..many {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([0; 30]);
        bytes.extend(number.to_be_bytes());
        let peer = PeerId::from_bytes(&bytes).unwrap();
        let mut presence = Presence::new(peer);
        // 900 bytes each: the frame's bytes bound it, not only its members.
        presence.metadata = (0..4)
            .map(|key| (key.to_string(), "x".repeat(220)))
            .collect();
        let register = v1::RendezvousRegister {
            scope: scope(0).to_bytes(),
            presence: Some(presence.to_wire(v1::PresenceState::Joined)),
            listing: None,
        };
        directory.register(START, peer, register).unwrap();
    }
    let id = directory
        .register(START, peer(1), register(1, 0, 0))
        .unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| directory.poll_transmit(id)).collect();
    assert_eq!(
        frames
            .iter()
            .map(|frame| frame.members.len())
            .sum::<usize>(),
        usize::from(many)
    );
    let complete: Vec<_> = frames.iter().map(|frame| frame.complete).collect();
    let (last, others) = complete.split_last().unwrap();
    assert!(
        *last && others.len() >= 2 && !others.contains(&true),
        "{complete:?}"
    );
    for members in frames {
        let frame = v1::RendezvousFrame {
            frame: Some(v1::rendezvous_frame::Frame::Members(members)),
        };
        assert_eq!(peercompute_proto::check(&frame), Ok(()));
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Who has an odd number of workers lists the room.
    Register {
        peer: u8,
        room: u8,
        workers: u32,
    },
    Update {
        stream: usize,
        workers: u32,
    },
    Remove {
        stream: usize,
    },
    Read {
        stream: usize,
    },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        (0_u8..8, 0_u8..3, 0_u32..100).prop_map(|(peer, room, workers)| Operation::Register {
            peer,
            room,
            workers
        }),
        (0_usize..32, 0_u32..100)
            .prop_map(|(stream, workers)| Operation::Update { stream, workers }),
        (0_usize..32).prop_map(|stream| Operation::Remove { stream }),
        (0_usize..32).prop_map(|stream| Operation::Read { stream }),
    ];
    prop::collection::vec(operation, 0..200)
}

proptest! {
    /// The model is a map of who is in which room; whatever the order of changes and reads, who has read to the end knows exactly the model.
    #[test]
    fn whoever_has_read_everything_knows_exactly_who_is_there(operations in operations(), per_room in 1_usize..6) {
        let limits = DirectoryLimits { members_per_room: per_room, ..Default::default() };
        let mut directory = Directory::new(limits);
        let mut model: BTreeMap<(u8, u8), (RegistrationId, u32)> = BTreeMap::new();
        let mut streams: Vec<(RegistrationId, u8, u8, View)> = Vec::new();
        let mut now = START;
        for operation in operations {
            now += UPDATE_REFILL;
            match operation {
                Operation::Register { peer: number, room, workers } => {
                    match directory.register(now, peer(number), perhaps_listed(number, room, workers)) {
                        Ok(id) => {
                            model.insert((room, number), (id, workers));
                            streams.push((id, number, room, View::default()));
                        }
                        Err(refused) => {
                            prop_assert_eq!(refused, RefusedRegistration::RoomFull { limit: per_room });
                            prop_assert_eq!(model.keys().filter(|(other, _)| *other == room).count(), per_room);
                        }
                    }
                }
                Operation::Update { stream, workers } => {
                    let Some((id, number, room, _)) = streams.get(stream) else { continue };
                    let updated = directory.update(now, *id, perhaps_listed(*number, *room, workers));
                    if directory.is_alive(*id) {
                        prop_assert_eq!(updated, Ok(()));
                        model.get_mut(&(*room, *number)).unwrap().1 = workers;
                    } else {
                        prop_assert_eq!(updated, Err(RefusedRegistration::Replaced));
                    }
                }
                Operation::Remove { stream } => {
                    let Some((id, number, room, _)) = streams.get(stream) else { continue };
                    if directory.is_alive(*id) {
                        model.remove(&(*room, *number));
                    }
                    directory.remove(*id);
                }
                Operation::Read { stream } => {
                    let Some((id, _, _, view)) = streams.get_mut(stream) else { continue };
                    if let Some(frame) = directory.poll_transmit(*id) {
                        view.apply(frame);
                    }
                }
            }
            // Those who did not keep up have been taken out.
            model.retain(|_, (id, _)| directory.is_alive(*id));
        }
        for (id, number, room, view) in &mut streams {
            if !directory.is_alive(*id) {
                prop_assert_eq!(directory.poll_transmit(*id), None);
                continue;
            }
            drain(&mut directory, *id, view);
            let expected: BTreeMap<_, _> = model
                .iter()
                .filter(|((other_room, other), _)| other_room == room && other != number)
                .map(|((_, other), (_, workers))| (peer(*other), *workers))
                .collect();
            prop_assert_eq!(&view.members, &expected);
            prop_assert!(view.complete);
        }
        let rooms: BTreeSet<_> = model.keys().map(|(room, _)| room).collect();
        prop_assert_eq!(directory.size(), (rooms.len(), model.len()));
        prop_assert_eq!(directory.rooms.values().map(|room| room.gone.len()).max().unwrap_or(0).saturating_sub(per_room), 0);
        let bytes: usize = directory.rooms.values().flat_map(|room| room.members.values()).map(|member| member.entry.size).sum();
        prop_assert_eq!(directory.bytes, bytes);

        // The one who has been there the longest of those who list a room says what it is called.
        let mut listed: BTreeMap<Scope, (RegistrationId, String, u32)> = BTreeMap::new();
        for ((room, _), (id, workers)) in model.iter().filter(|(_, (_, workers))| workers % 2 == 1) {
            let members = model.keys().filter(|(other, _)| other == room).count().try_into().unwrap();
            let entry = (*id, title(*workers), members);
            let known = listed.entry(scope(*room)).or_insert_with(|| entry.clone());
            if entry.0 < known.0 {
                *known = entry;
            }
        }
        let expected: Vec<_> = listed.into_values().map(|(_, title, members)| (title, members)).collect();
        let page = directory.rooms(now, peer(0), &asked(None)).unwrap();
        let rooms: Vec<_> = page.rooms.into_iter().map(|room| (room.listing.unwrap().title, room.members)).collect();
        prop_assert_eq!(directory.listed_rooms(), rooms.len());
        prop_assert_eq!(rooms, expected);
        prop_assert!(page.complete);
    }

    #[test]
    fn everybody_in_a_room_is_ready_after_a_change_in_it(others in 1_u8..20) {
        let mut directory = Directory::new(DirectoryLimits::default());
        let ids: Vec<_> = (0..others)
            .map(|number| directory.register(START, peer(number), register(number, 0, 0)).unwrap())
            .collect();
        while directory.poll_ready().is_some() {}
        directory.register(START, peer(100), register(100, 0, 0)).unwrap();
        let ready: BTreeSet<_> = std::iter::from_fn(|| directory.poll_ready()).collect();
        prop_assert!(ids.iter().all(|id| ready.contains(id)));
        prop_assert_eq!(ready.len(), ids.len() + 1);
    }
}

fn titles(directory: &mut Directory, now: Duration) -> Vec<(String, u32)> {
    let page = directory.rooms(now, peer(0), &asked(None)).unwrap();
    let rooms = page.rooms.into_iter();
    rooms
        .map(|room| (room.listing.unwrap().title, room.members))
        .collect()
}

#[test]
fn a_room_is_listed_as_the_one_says_who_has_been_there_the_longest() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let enter = |directory: &mut Directory, number, listed: Option<&str>| {
        let mut register = register(number, 0, 0);
        register.listing = listed.map(|title| listing(0, title));
        directory.register(START, peer(number), register).unwrap()
    };
    enter(&mut directory, 9, None);
    assert_eq!(titles(&mut directory, START), []);
    let first = enter(&mut directory, 8, Some("first"));
    let second = enter(&mut directory, 1, Some("second"));
    assert_eq!(titles(&mut directory, START), [("first".into(), 3)]);
    let mut changed = register(8, 0, 0);
    changed.listing = Some(listing(0, "changed"));
    directory.update(START, first, changed).unwrap();
    assert_eq!(titles(&mut directory, START), [("changed".into(), 3)]);
    directory.remove(first);
    assert_eq!(titles(&mut directory, START), [("second".into(), 2)]);
    directory.update(START, second, register(1, 0, 0)).unwrap();
    assert_eq!(titles(&mut directory, START), []);
    assert_eq!(directory.listed_rooms(), 0);
    enter(&mut directory, 8, Some("again"));
    assert_eq!(titles(&mut directory, START), [("again".into(), 3)]);
    let mut other_game = asked(None);
    other_game.game = "tes".into();
    let page = directory.rooms(START, peer(0), &other_game).unwrap();
    assert_eq!((page.rooms.len(), page.complete), (0, true));
}

#[test]
fn a_listing_that_does_not_give_the_scope_is_refused() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let mut forged = register(1, 0, 0);
    forged.listing = Some(listing(1, "not this room"));
    let refused = directory.register(START, peer(1), forged).unwrap_err();
    assert_eq!(refused, RefusedRegistration::OtherListing);
    let mut too_long = register(1, 0, 0);
    let mut named = listing(0, "");
    named.game = "g".repeat(65);
    too_long.listing = Some(named);
    let refused = directory.register(START, peer(1), too_long).unwrap_err();
    assert_eq!(refused, RefusedRegistration::OtherListing);
    assert_eq!(directory.size(), (0, 0));
}

#[test]
fn many_rooms_come_in_pages_each_once_and_in_order() {
    let mut directory = Directory::new(DirectoryLimits::default());
    for number in 0..300_u32 {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([1; 28]);
        bytes.extend(number.to_be_bytes());
        let peer = PeerId::from_bytes(&bytes).unwrap();
        let room = format!("room {number}");
        let mut listing = listing(0, "x");
        listing.room.clone_from(&room);
        // The first hundred are so large that the frame's bytes bound the page.
        if number < 100 {
            listing.metadata = (0..16)
                .map(|key| (key.to_string(), "x".repeat(256)))
                .collect();
        }
        let register = v1::RendezvousRegister {
            scope: Scope::new("test", &room).unwrap().to_bytes(),
            presence: Some(Presence::new(peer).to_wire(v1::PresenceState::Joined)),
            listing: Some(listing),
        };
        directory.register(START, peer, register).unwrap();
    }
    let (mut after, mut scopes, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = directory.rooms(START, peer(1), &asked(after)).unwrap();
        pages += 1;
        scopes.extend(page.rooms.iter().map(|room| {
            let listing = room.listing.as_ref().unwrap();
            Scope::new(&listing.game, &listing.room).unwrap()
        }));
        after = scopes.last().copied();
        let complete = page.complete;
        let frame = v1::RendezvousFrame {
            frame: Some(v1::rendezvous_frame::Frame::Rooms(page)),
        };
        assert_eq!(peercompute_proto::check(&frame), Ok(()));
        if complete {
            break;
        }
    }
    assert_eq!(scopes.len(), 300);
    assert!(scopes.is_sorted_by(|one, other| one < other));
    assert!((3..8).contains(&pages), "{pages}");
}

#[test]
fn who_asks_too_often_is_refused_and_others_are_not() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let mut answered = |now, asker| {
        let questions = std::iter::repeat_with(|| directory.rooms(now, asker, &asked(None)));
        questions.take(100).filter(Result::is_ok).count()
    };
    assert_eq!(answered(START, peer(1)), 32);
    assert_eq!(answered(START, peer(2)), 32);
    assert_eq!(answered(START + Duration::from_secs(3), peer(1)), 3);
    let mut odd = asked(None);
    odd.after = Some(bytes::Bytes::from_static(b"no scope"));
    let refused = directory.rooms(START, peer(3), &odd).unwrap_err();
    assert_eq!(refused, RefusedQuestion::NoScope);
}

#[test]
fn strangers_without_number_that_ask_take_no_memory_without_bound() {
    let mut directory = Directory::new(DirectoryLimits::default());
    let stranger = |number: u32| {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([1; 28]);
        bytes.extend(number.to_be_bytes());
        PeerId::from_bytes(&bytes).unwrap()
    };
    let mut answered = |now, range: std::ops::Range<u32>| {
        range
            .filter(|number| {
                directory
                    .rooms(now, stranger(*number), &asked(None))
                    .is_ok()
            })
            .count()
    };
    assert_eq!(answered(START, 0..10_000), 4096);
    // Those that have not asked again are forgotten.
    assert_eq!(
        answered(START + Duration::from_secs(1), 10_000..12_000),
        2000
    );
}
