use super::*;

fn listen(listeners: &mut Listeners, requested: &str) -> (ListenerId, Answer) {
    let (reply, answer) = oneshot::channel();
    let id = ListenerId::next();
    listeners.started(id, requested.parse().unwrap(), reply);
    (id, answer)
}

type Answer = oneshot::Receiver<Result<Multiaddr, ListenError>>;

fn parse(address: &str) -> Multiaddr {
    address.parse().unwrap()
}

#[test]
fn a_listener_on_all_interfaces_is_answered_with_the_address_that_reaches_furthest() {
    let local = PeerId::random();
    let mut listeners = Listeners::new(local);
    let (id, mut answer) = listen(&mut listeners, "/ip4/0.0.0.0/tcp/0");
    listeners.handle_address(id, parse("/ip4/127.0.0.1/tcp/7"));
    listeners.handle_address(id, parse("/ip4/192.0.2.1/tcp/7"));
    assert_eq!(answer.try_recv(), Ok(None));
    listeners.answer();
    let best = full(parse("/ip4/192.0.2.1/tcp/7"), local);
    assert_eq!(answer.try_recv(), Ok(Some(Ok(best.clone()))));
    assert_eq!(
        listeners.addresses(),
        [best, full(parse("/ip4/127.0.0.1/tcp/7"), local)]
    );
}

#[test]
fn a_reservation_is_announced_by_the_way_that_led_to_the_relay_first() {
    let (local, relay) = (PeerId::random(), PeerId::random());
    let mut listeners = Listeners::new(local);
    let requested = format!("/dns4/relay.example/tcp/1/p2p/{relay}/p2p-circuit");
    let (id, mut answer) = listen(&mut listeners, &requested);
    let told = parse(&format!(
        "/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{local}"
    ));
    let by_name = full(parse(&requested), local);
    assert_eq!(
        listeners.handle_address(id, told.clone()),
        [by_name.clone(), told.clone()]
    );
    // A renewal tells the same again.
    assert_eq!(listeners.handle_address(id, told), Vec::<Multiaddr>::new());
    listeners.answer();
    assert_eq!(answer.try_recv(), Ok(Some(Ok(by_name))));
}

#[test]
fn sockets_come_before_reservations() {
    let (local, relay) = (PeerId::random(), PeerId::random());
    let mut listeners = Listeners::new(local);
    let circuit = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit");
    let (at_relay, _answer) = listen(&mut listeners, &circuit);
    let (socket, _other) = listen(&mut listeners, "/ip4/192.0.2.2/tcp/2");
    listeners.handle_address(at_relay, full(parse(&circuit), local));
    listeners.handle_address(socket, parse("/ip4/192.0.2.2/tcp/2"));
    assert_eq!(
        listeners.addresses()[0],
        full(parse("/ip4/192.0.2.2/tcp/2"), local)
    );
    assert_eq!(listeners.addresses().len(), 2);
}

#[test]
fn a_second_wish_for_a_reservation_at_the_same_relay_joins_the_first() {
    let (local, relay) = (PeerId::random(), PeerId::random());
    let mut listeners = Listeners::new(local);
    let circuit = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit");
    let (id, _answer) = listen(&mut listeners, &circuit);
    let (reply, mut joined) = oneshot::channel();
    assert!(listeners.join(&parse(&circuit), reply).is_none());
    listeners.handle_address(id, full(parse(&circuit), local));
    listeners.answer();
    assert_eq!(
        joined.try_recv(),
        Ok(Some(Ok(full(parse(&circuit), local))))
    );
    let (reply, mut late) = oneshot::channel();
    let by_name = format!("/dns4/relay.example/tcp/1/p2p/{relay}/p2p-circuit");
    assert!(listeners.join(&parse(&by_name), reply).is_none());
    assert!(matches!(late.try_recv(), Ok(Some(Ok(_)))));
    assert_eq!(listeners.len(), 1);
    let elsewhere = format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
    assert!(
        listeners
            .join(&parse(&elsewhere), oneshot::channel().0)
            .is_some()
    );
    assert!(
        listeners
            .join(&parse("/ip4/0.0.0.0/tcp/0"), oneshot::channel().0)
            .is_some()
    );
}

#[test]
fn a_listener_that_fails_tells_those_who_wait_and_one_that_ends_gives_its_addresses() {
    let mut listeners = Listeners::new(PeerId::random());
    let (id, mut answer) = listen(&mut listeners, "/ip4/192.0.2.1/tcp/1");
    let timed_out = |address| ListenError::TimedOut { address };
    assert_eq!(
        listeners.handle_closed(id, timed_out),
        Vec::<Multiaddr>::new()
    );
    assert!(matches!(
        answer.try_recv(),
        Ok(Some(Err(ListenError::TimedOut { .. })))
    ));
    let (id, _answer) = listen(&mut listeners, "/ip4/192.0.2.1/tcp/1");
    let new = listeners.handle_address(id, parse("/ip4/192.0.2.1/tcp/1"));
    assert_eq!(listeners.handle_closed(id, timed_out), new);
    assert_eq!(listeners.len(), 0);
}

#[test]
fn an_interface_that_goes_away_takes_its_address_along() {
    let mut listeners = Listeners::new(PeerId::random());
    let (id, _answer) = listen(&mut listeners, "/ip4/0.0.0.0/tcp/1");
    let new = listeners.handle_address(id, parse("/ip4/192.0.2.1/tcp/1"));
    assert_eq!(
        listeners.handle_expired(id, parse("/ip4/192.0.2.1/tcp/1")),
        new
    );
    assert_eq!(
        listeners.handle_expired(id, parse("/ip4/192.0.2.1/tcp/1")),
        Vec::<Multiaddr>::new()
    );
    assert_eq!(listeners.addresses(), Vec::<Multiaddr>::new());
}
