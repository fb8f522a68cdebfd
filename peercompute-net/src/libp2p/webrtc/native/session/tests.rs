use std::{collections::VecDeque, time::Duration};

use super::*;

/// Two ends and what is between them, on virtual time.
struct World {
    ends: [Session; 2],
    now: Instant,
    /// Whether the packet of this number arrives.
    passes: fn(u64) -> bool,
    sent: u64,
    under_way: VecDeque<(usize, SocketAddr, SocketAddr, Vec<u8>)>,
    due: [Option<Instant>; 2],
    messages: [Vec<Bytes>; 2],
    datagrams: [Vec<Bytes>; 2],
    over: [Option<String>; 2],
}

const OFFERER: usize = 0;
const ANSWERER: usize = 1;

fn everything(_: u64) -> bool {
    true
}

impl World {
    /// Two ends that know of each other what `change` leaves of it.
    fn changed(change: impl FnOnce(&mut [Description; 2])) -> Self {
        let now = Instant::now();
        let address = |last| [SocketAddr::from(([192, 0, 2, last], 1000))];
        let mut ends = [
            Session::new(Role::Offer, &address(1), now),
            Session::new(Role::Answer, &address(2), now),
        ];
        let mut descriptions = [0, 1].map(|end: usize| ends[end].describe(&[]).unwrap());
        change(&mut descriptions);
        for (end, description) in ends.iter_mut().zip(descriptions.iter().rev()) {
            end.set_remote(description).unwrap();
            end.handle_timeout(now);
        }
        Self {
            ends,
            now,
            passes: everything,
            sent: 0,
            under_way: VecDeque::new(),
            due: [None; 2],
            messages: Default::default(),
            datagrams: Default::default(),
            over: [None, None],
        }
    }

    fn new() -> Self {
        Self::changed(|_| {})
    }

    fn open() -> Self {
        let mut world = Self::new();
        world.run_until(|world| world.ends.iter_mut().all(Session::is_open));
        world
    }

    fn poll(&mut self, end: usize) {
        self.due[end] = loop {
            match self.ends[end].poll() {
                Step::Transmit(Packet { from, to, data }) => {
                    self.sent += 1;
                    if (self.passes)(self.sent) {
                        self.under_way.push_back((1 - end, from, to, data.to_vec()));
                    }
                }
                Step::Message(message) => self.messages[end].push(message),
                Step::Datagram(datagram) => self.datagrams[end].push(datagram),
                Step::Wait(until) => break Some(until),
                Step::Over(reason) => {
                    self.over[end] = Some(reason);
                    break None;
                }
            }
        };
    }

    /// Delivers what is under way, or lets time pass.
    fn step(&mut self) {
        for end in [OFFERER, ANSWERER] {
            self.poll(end);
        }
        if let Some((end, from, to, packet)) = self.under_way.pop_front() {
            self.ends[end].handle_packet(self.now, from, to, &packet);
            return;
        }
        if let Some(next) = self.due.iter().flatten().min() {
            self.now = self.now.max(*next);
        }
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
    }

    fn run_until(&mut self, mut is_reached: impl FnMut(&mut Self) -> bool) {
        let limit = self.now + Duration::from_secs(60);
        while !is_reached(self) {
            assert!(self.now < limit, "it takes more than a minute");
            self.step();
        }
    }
}

#[test]
fn two_ends_find_each_other_and_carry_messages_and_datagrams_both_ways() {
    let mut world = World::open();
    for end in [OFFERER, ANSWERER] {
        world.ends[end].write(world.now, b"a message");
        world.ends[end].write_datagram(world.now, b"a datagram");
    }
    world.run_until(|world| {
        let has = |got: &[Vec<Bytes>; 2]| got.iter().all(|it| it.len() == 1);
        has(&world.messages) && has(&world.datagrams)
    });
    for end in [OFFERER, ANSWERER] {
        assert_eq!(world.messages[end][0], &b"a message"[..]);
        assert_eq!(world.datagrams[end][0], &b"a datagram"[..]);
    }
}

#[test]
fn what_is_lost_is_sent_again_in_order_and_the_writer_waits_meanwhile() {
    let mut world = World::open();
    world.passes = |number| number % 10 != 0;
    let messages: Vec<_> = (0..128u8).map(|it| vec![it; MAX_MESSAGE]).collect();
    let mut unwritten = messages.iter();
    let mut most = 0;
    world.run_until(|world| {
        let writer = &mut world.ends[ANSWERER];
        while writer.has_room()
            && let Some(message) = unwritten.next()
        {
            writer.write(world.now, message);
        }
        most = most.max(writer.unacknowledged());
        world.messages[OFFERER].len() == messages.len()
    });
    assert!(
        (MAX_BUFFERED..MAX_BUFFERED + MAX_MESSAGE).contains(&most),
        "{most}"
    );
    assert_eq!(world.messages[OFFERER], messages);
    world.run_until(|world| world.ends[ANSWERER].unacknowledged() == 0);
}

#[test]
fn a_datagram_that_is_lost_is_not_sent_again_and_those_that_come_too_fast_are_dropped() {
    let mut world = World::open();
    world.passes = |_| false;
    world.ends[OFFERER].write_datagram(world.now, b"lost");
    world.poll(OFFERER);
    world.passes = everything;
    for _ in 0..100 {
        world.ends[OFFERER].write_datagram(world.now, &[7; MAX_PACKET]);
    }
    world.ends[OFFERER].write(world.now, b"after");
    world.run_until(|world| !world.messages[ANSWERER].is_empty());
    assert!(world.datagrams[ANSWERER].iter().all(|it| it[0] == 7));
    let most = MAX_BUFFERED_DATAGRAMS.div_ceil(MAX_PACKET);
    let arrived = world.datagrams[ANSWERER].len();
    assert!((1..=most).contains(&arrived), "{arrived}");
}

#[test]
fn an_end_with_another_certificate_than_was_signed_for_is_not_connected() {
    for liar in [OFFERER, ANSWERER] {
        let mut world = World::changed(|descriptions| descriptions[liar].fingerprint[0] ^= 1);
        let deceived = 1 - liar;
        world.run_until(|world| world.over[deceived].is_some());
        assert!(!world.ends[deceived].is_open());
        let reason = world.over[deceived].take().unwrap();
        assert!(reason.contains("fingerprint"), "{reason}");
    }
}

#[test]
fn an_end_without_the_password_that_was_signed_for_finds_no_path() {
    let mut world = World::changed(|descriptions| {
        descriptions[ANSWERER].password = "0".repeat(24);
        descriptions[OFFERER].password = "0".repeat(24);
    });
    let until = world.now + Duration::from_secs(30);
    world.run_until(|world| world.now >= until);
    assert!(!world.ends.iter().any(Session::has_path));
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    let mut world = World::open();
    world.passes = |_| false;
    world.run_until(|world| world.over.iter().all(Option::is_some));
}

#[test]
fn when_one_end_closes_the_other_learns_of_it_at_once() {
    let mut world = World::open();
    let before = world.now;
    world.ends[ANSWERER].close();
    world.run_until(|world| world.over[OFFERER].is_some());
    assert!(world.now < before + Duration::from_secs(1));
}

#[test]
fn texts_and_channels_that_were_not_agreed_upon_end_it() {
    let mut world = World::open();
    let bytes = world.ends[OFFERER].bytes;
    let mut channel = world.ends[OFFERER].rtc.channel(bytes).unwrap();
    assert!(channel.write(false, b"text").unwrap());
    world.run_until(|world| world.over[ANSWERER].is_some());

    let mut world = World::open();
    let mut api = world.ends[OFFERER].rtc.direct_api();
    api.create_data_channel(ChannelConfig::default());
    world.run_until(|world| world.over[ANSWERER].is_some());
    assert!(world.messages[ANSWERER].is_empty());
}

#[test]
fn packets_of_strangers_change_nothing() {
    let mut world = World::open();
    let stranger = SocketAddr::from(([198, 51, 100, 1], 9));
    let (peer, here) = (
        SocketAddr::from(([192, 0, 2, 1], 1000)),
        SocketAddr::from(([192, 0, 2, 2], 1000)),
    );
    for from in [stranger, peer] {
        for first in 0..=255u8 {
            for length in [0, 1, 19, 20, 64, 2000] {
                let packet = vec![first; length];
                world.ends[ANSWERER].handle_packet(world.now, from, here, &packet);
                world.poll(ANSWERER);
            }
        }
    }
    world.ends[OFFERER].write(world.now, b"still here");
    world.run_until(|world| !world.messages[ANSWERER].is_empty());
    assert_eq!(world.over, [None, None]);
}

#[test]
fn what_others_see_is_told_with_the_ports_of_the_sockets_and_counts_less() {
    let address = SocketAddr::from(([192, 0, 2, 1], 1000));
    let mut session = Session::new(Role::Offer, &[address], Instant::now());
    let outside = [
        "203.0.113.9".parse().unwrap(),
        "2001:db8::9".parse().unwrap(),
    ];
    let description = session.describe(&outside).unwrap();
    let [host, seen] = &description.candidates[..] else {
        panic!("{:?}", description.candidates);
    };
    assert_eq!((host.port, host.is_reflexive), (1000, false));
    assert_eq!(seen.host, Host::Ip(outside[0]));
    assert_eq!((seen.port, seen.is_reflexive), (1000, true));
    assert!(seen.priority < host.priority);
}

#[test]
fn addresses_that_are_of_no_single_machine_are_not_sent_to() {
    for text in [
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "ff02::1",
        "fe80::1",
        "::ffff:192.0.2.1",
    ] {
        assert!(!may_be_sent_to(text.parse().unwrap()), "{text}");
    }
    for text in ["192.0.2.1", "127.0.0.1", "10.0.0.1", "2001:db8::1", "::1"] {
        assert!(may_be_sent_to(text.parse().unwrap()), "{text}");
    }
}
