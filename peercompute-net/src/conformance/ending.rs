use futures::{AsyncReadExt as _, StreamExt as _};

use super::bench::{Bench, Outcome, PROTOCOL, accept, ensure};
use crate::{DialError, Event, Events, ListenError, OpenError, conformance::Verdict::Passed};

pub(super) async fn a_disconnect_is_reported_to_both_and_ends_their_streams(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (mut near, mut far) = bench.stream(&alice, &bob).await?;
    let (mut at_alice, mut at_bob) = (alice.transport.events(), bob.transport.events());
    alice.transport.disconnect(bob.id);
    for (events, gone) in [(&mut at_alice, bob.id), (&mut at_bob, alice.id)] {
        bench
            .event(
                events,
                "Disconnected",
                |event| matches!(event, Event::Disconnected { peer } if *peer == gone),
            )
            .await?;
    }
    for peer in [&alice, &bob] {
        let left = peer.transport.connections();
        ensure!(left.is_empty(), "{left:?} are still listed");
    }
    for stream in [&mut near, &mut far] {
        let read = bench
            .within("reading after a disconnect", stream.read(&mut [0]))
            .await?;
        ensure!(!matches!(read, Ok(1..)), "bytes come out of nowhere");
    }
    let open = alice.transport.open(bob.id, PROTOCOL);
    let error = bench
        .must_fail("opening a stream after a disconnect", open)
        .await?;
    ensure!(
        matches!(error, OpenError::NotConnected { .. }),
        "the error is {error:?} and not NotConnected"
    );
    Ok(Passed)
}

pub(super) async fn peers_can_connect_again_after_a_disconnect(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    for _ in 0..3 {
        let mut events = bob.transport.events();
        alice.transport.disconnect(bob.id);
        bench
            .event(&mut events, "Disconnected", |event| {
                matches!(event, Event::Disconnected { .. })
            })
            .await?;
        bench.connect(&alice, &bob).await?;
        let (_near, _far) = bench.stream(&alice, &bob).await?;
    }
    Ok(Passed)
}

/// Reads to the end.
async fn ends(bench: &Bench<'_>, mut events: Events) -> Result<(), String> {
    bench
        .within("the end of the events", async {
            while events.next().await.is_some() {}
        })
        .await
}

pub(super) async fn closing_ends_everything(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let mut incoming = accept(&alice)?;
    let (mut near, _far) = bench.stream(&alice, &bob).await?;
    let (mut at_bob, at_alice) = (bob.transport.events(), alice.transport.events());
    bench.within("closing", alice.transport.close()).await?;

    bench
        .event(
            &mut at_bob,
            "Disconnected",
            |event| matches!(event, Event::Disconnected { peer } if *peer == alice.id),
        )
        .await?;
    ends(bench, at_alice).await?;
    ends(bench, alice.transport.events()).await?;
    let next = bench
        .within("the end of what comes in", incoming.next())
        .await?;
    ensure!(next.is_none(), "streams still come in");
    let read = bench
        .within("reading after the close", near.read(&mut [0]))
        .await?;
    ensure!(!matches!(read, Ok(1..)), "bytes come out of nowhere");
    let listening = alice.transport.listen_addresses();
    ensure!(listening.is_empty(), "{listening:?} are still listed");
    let connections = alice.transport.connections();
    ensure!(connections.is_empty(), "{connections:?} are still listed");

    let listen = alice.transport.listen(bench.listen_address());
    let error = bench.must_fail("listening after the close", listen).await?;
    ensure!(
        error == ListenError::Closed,
        "the listener's error is {error:?} and not Closed"
    );
    let dial = alice.transport.dial(bob.address.clone());
    let error = bench.must_fail("dialling after the close", dial).await?;
    ensure!(
        error == DialError::Closed,
        "the dial's error is {error:?} and not Closed"
    );
    let open = alice.transport.open(bob.id, PROTOCOL);
    let error = bench
        .must_fail("opening a stream after the close", open)
        .await?;
    ensure!(
        error == OpenError::Closed,
        "the stream's error is {error:?} and not Closed"
    );
    if let Ok(mut incoming) = alice.transport.accept(PROTOCOL) {
        let next = bench
            .within("accepting after the close", incoming.next())
            .await?;
        ensure!(next.is_none(), "streams come in after the close");
    }
    let dial = bob.transport.dial(alice.address.clone());
    bench.must_fail("dialling a closed transport", dial).await?;
    Ok(Passed)
}

pub(super) async fn closing_again_does_nothing(bench: &Bench<'_>) -> Outcome {
    let alice = bench.listening().await?;
    for _ in 0..3 {
        bench.within("closing", alice.transport.close()).await?;
    }
    Ok(Passed)
}
