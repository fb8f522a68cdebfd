use std::io;

use futures::{
    AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _,
    future::{join, join_all},
};

use super::bench::{Bench, Outcome, PROTOCOL, UNKNOWN, accept, ensure, pattern};
use crate::{OpenError, Stream, conformance::Verdict::Passed};

/// Bytes that no transport takes in without a reader: more than any sane window and buffer together.
const MORE_THAN_ANY_WINDOW: usize = 64 * 1024 * 1024;

const LARGE: usize = 16 * 1024 * 1024;

/// Writes in pieces of many sizes.
async fn write_all(
    stream: &mut (impl futures::AsyncWrite + Unpin),
    bytes: &[u8],
) -> io::Result<()> {
    let mut rest = bytes;
    let mut size = 1;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        stream.write_all(piece).await?;
        rest = later;
        size = size * 3 % 70_001;
    }
    stream.close().await
}

async fn read_to_end(stream: &mut (impl futures::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub(super) async fn bytes_arrive_in_order_and_complete_in_both_directions(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (near, far) = bench.stream(&alice, &bob).await?;
    let (there, back) = (pattern(1_000_000, 1), pattern(700_000, 2));
    let exchange = |stream: Stream, sent: Vec<u8>| async move {
        let (mut reader, mut writer) = stream.split();
        let (written, read) = join(write_all(&mut writer, &sent), read_to_end(&mut reader)).await;
        written.and(read)
    };
    let (near, far) = join(
        exchange(near, there.clone()),
        bench.within("exchanging", exchange(far, back.clone())),
    )
    .await;
    let (got_back, got_there) = (near, far?);
    for (got, sent) in [(got_there, there), (got_back, back)] {
        let got = got.map_err(|error| format!("the exchange fails: {error}"))?;
        ensure!(
            got.len() == sent.len(),
            "{} bytes arrive of {}",
            got.len(),
            sent.len()
        );
        ensure!(got == sent, "the bytes arrive changed or in another order");
    }
    Ok(Passed)
}

pub(super) async fn a_stream_comes_with_the_peer_that_opened_it(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let carol = bench.listening().await?;
    bench.connect(&carol, &bob).await?;
    let mut incoming = accept(&bob)?;
    for opener in [&alice, &carol] {
        let open = opener.transport.open(bob.id, PROTOCOL);
        let mut near = bench.must("opening a stream", open).await?;
        bench.must("writing", near.write_all(b"hello")).await?;
        bench.must("flushing", near.flush()).await?;
        let accepted = bench.within("accepting a stream", incoming.next()).await?;
        let (from, mut far) = accepted.ok_or("the streams that come in have ended")?;
        ensure!(
            from == opener.id,
            "{from} is named and {} opened it",
            opener.id
        );
        let mut hello = [0; 5];
        bench.must("reading", far.read_exact(&mut hello)).await?;
        ensure!(hello == *b"hello", "another stream's bytes arrive");
    }
    Ok(Passed)
}

pub(super) async fn the_end_of_one_direction_is_seen_and_leaves_the_other_open(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (mut near, mut far) = bench.stream(&alice, &bob).await?;
    bench.must("writing", near.write_all(b"question")).await?;
    bench.must("ending one direction", near.close()).await?;
    let question = bench
        .must("reading to the end", read_to_end(&mut far))
        .await?;
    ensure!(
        question == b"question",
        "{question:?} arrives before the end"
    );
    bench.must("writing back", far.write_all(b"answer")).await?;
    bench
        .must("ending the other direction", far.close())
        .await?;
    let answer = bench
        .must("reading the answer", read_to_end(&mut near))
        .await?;
    ensure!(answer == b"answer", "{answer:?} comes back");
    Ok(Passed)
}

pub(super) async fn a_dropped_stream_ends_at_the_other_end(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (near, mut far) = bench.stream(&alice, &bob).await?;
    drop(near);
    let read = bench
        .within("reading from a dropped stream", far.read(&mut [0; 8]))
        .await?;
    ensure!(!matches!(read, Ok(1..)), "bytes come out of nowhere");
    let write = async {
        loop {
            if far.write_all(&[0; 1024]).await.is_err() || far.flush().await.is_err() {
                return;
            }
        }
    };
    bench.within("writing into a dropped stream", write).await?;
    Ok(Passed)
}

pub(super) async fn a_writer_waits_for_its_reader_while_other_streams_go_on(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let mut incoming = accept(&bob)?;
    let (mut stuck, mut unread) = bench.stream_to(&alice, &bob, &mut incoming).await?;
    let (mut near, mut far) = bench.stream_to(&alice, &bob, &mut incoming).await?;
    let mut writer = bench.spawn(async move {
        let block = vec![7; 64 * 1024];
        for _ in 0..MORE_THAN_ANY_WINDOW / block.len() {
            stuck.write_all(&block).await?;
        }
        stuck.close().await
    });
    for round in 0..50_u8 {
        let mut byte = [0];
        bench
            .must("writing beside a stuck stream", near.write_all(&[round]))
            .await?;
        bench
            .must("flushing beside a stuck stream", near.flush())
            .await?;
        bench
            .must("reading beside a stuck stream", far.read_exact(&mut byte))
            .await?;
        bench
            .must("answering beside a stuck stream", far.write_all(&byte))
            .await?;
        bench.must("flushing the answer", far.flush()).await?;
        bench
            .must("reading the answer", near.read_exact(&mut byte))
            .await?;
        ensure!(byte == [round], "another stream's byte comes back");
    }
    ensure!(
        (&mut writer).now_or_never().is_none(),
        "{MORE_THAN_ANY_WINDOW} bytes are taken in though nobody reads them"
    );
    let mut read = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Each read on its own, so that a slow link is not taken for a stuck one.
        match bench
            .must("reading what was held back", unread.read(&mut buffer))
            .await?
        {
            0 => break,
            count => read += count,
        }
    }
    ensure!(
        read == MORE_THAN_ANY_WINDOW,
        "{read} bytes arrive of {MORE_THAN_ANY_WINDOW}"
    );
    let written = bench
        .within("the writer", writer)
        .await?
        .ok_or("the writer panicked")?;
    written.map_err(|error| format!("the writer fails once it is read: {error}"))?;
    Ok(Passed)
}

pub(super) async fn a_protocol_that_nobody_accepts_is_unsupported(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let _incoming = accept(&bob)?;
    let open = alice.transport.open(bob.id, UNKNOWN);
    let error = bench.must_fail("opening an unknown protocol", open).await?;
    ensure!(
        matches!(&error, OpenError::Unsupported { peer, protocol } if *peer == bob.id && protocol == UNKNOWN),
        "the error is {error:?} and not Unsupported with peer and protocol"
    );
    let (_near, _far) = {
        drop(_incoming);
        bench.stream(&alice, &bob).await?
    };
    Ok(Passed)
}

pub(super) async fn a_peer_that_is_not_connected_gets_no_stream(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = (bench.listening().await?, bench.listening().await?);
    let _incoming = accept(&bob)?;
    let open = alice.transport.open(bob.id, PROTOCOL);
    let error = bench
        .must_fail("opening a stream to a peer that is not connected", open)
        .await?;
    ensure!(
        matches!(error, OpenError::NotConnected { peer } if peer == bob.id),
        "the error is {error:?} and not NotConnected with the peer"
    );
    Ok(Passed)
}

pub(super) async fn a_protocol_is_accepted_once_at_a_time(bench: &Bench<'_>) -> Outcome {
    let alice = bench.listening().await?;
    let first = accept(&alice)?;
    let taken = alice
        .transport
        .accept(PROTOCOL)
        .err()
        .ok_or("a protocol is accepted twice")?;
    ensure!(
        taken.protocol == PROTOCOL,
        "the error names {}",
        taken.protocol
    );
    drop(first);
    accept(&alice).map_err(|error| format!("not after the first receiver is dropped: {error}"))?;
    Ok(Passed)
}

pub(super) async fn a_protocol_is_refused_once_its_receiver_is_dropped(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    drop(bench.stream(&alice, &bob).await?);
    // The receiver of `stream` is gone. A transport may learn of it with the next stream only.
    let opened = bench
        .within(
            "opening a refused stream",
            alice.transport.open(bob.id, PROTOCOL),
        )
        .await?;
    if let Ok(mut stream) = opened {
        let read = bench
            .within("reading from a refused stream", stream.read(&mut [0]))
            .await?;
        ensure!(
            !matches!(read, Ok(1..)),
            "somebody answers though nobody accepts"
        );
    }
    let open = alice.transport.open(bob.id, PROTOCOL);
    let error = bench
        .must_fail("opening a stream that nobody accepts", open)
        .await?;
    ensure!(
        matches!(
            error,
            OpenError::Unsupported { .. } | OpenError::Refused { .. }
        ),
        "the error is {error:?} and not Unsupported or Refused"
    );
    Ok(Passed)
}

pub(super) async fn many_streams_run_at_once(bench: &Bench<'_>) -> Outcome {
    const STREAMS: u64 = 100;
    const BYTES: usize = 20_000;
    let (alice, bob) = bench.pair().await?;
    let mut incoming = accept(&bob)?;
    let echo = bench.spawn(async move {
        let mut echoes = Vec::new();
        while let Some((_, stream)) = incoming.next().await {
            echoes.push(async move {
                let (mut reader, mut writer) = stream.split();
                futures::io::copy(&mut reader, &mut writer).await?;
                writer.close().await
            });
            if echoes.len() as u64 == STREAMS {
                break;
            }
        }
        join_all(echoes).await.len()
    });
    let round = |seed| {
        let alice = &alice;
        async move {
            let open = alice.transport.open(bob.id, PROTOCOL);
            let stream = bench.must("opening one of many streams", open).await?;
            let (mut reader, mut writer) = stream.split();
            let sent = pattern(BYTES, seed);
            let (written, read) = bench
                .within(
                    "the exchange over one of many streams",
                    join(write_all(&mut writer, &sent), read_to_end(&mut reader)),
                )
                .await?;
            written.map_err(|error| format!("writing to one of many streams fails: {error}"))?;
            let got = read.map_err(|error| format!("reading from one of many fails: {error}"))?;
            ensure!(
                got == sent,
                "what comes back over one of many streams is not what was sent"
            );
            Ok(())
        }
    };
    for result in join_all((0..STREAMS).map(round)).await {
        result?;
    }
    let echoed = bench.within("the echo", echo).await?;
    ensure!(
        echoed == Some(100),
        "{echoed:?} streams were accepted of {STREAMS}"
    );
    Ok(Passed)
}

pub(super) async fn a_large_transfer_arrives_unchanged(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (mut near, mut far) = bench.stream(&alice, &bob).await?;
    let writer = bench.spawn(async move {
        near.write_all(&pattern(LARGE, 3)).await?;
        near.close().await?;
        Ok::<_, io::Error>(near)
    });
    let expected = pattern(LARGE, 3);
    let mut got = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = bench
            .must("reading a large transfer", far.read(&mut buffer))
            .await?;
        if count == 0 {
            break;
        }
        ensure!(
            expected.get(got..got + count) == Some(&buffer[..count]),
            "the bytes from {got} to {} are not what was sent",
            got + count
        );
        got += count;
    }
    ensure!(got == LARGE, "{got} bytes arrive of {LARGE}");
    let written = bench
        .within("the writer", writer)
        .await?
        .ok_or("the writer panicked")?;
    written.map_err(|error| format!("the writer fails: {error}"))?;
    Ok(Passed)
}
