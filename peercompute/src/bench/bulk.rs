//! Many bytes: `crc32c` over a file, and one bare stream of the transport as the measure of what can be reached.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_compute::{Combiner, Operation};
use peercompute_kernel::NewTask;
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr, Transport as _};
use peercompute_rt::Runtime;
use tokio::sync::mpsc;

use super::{
    process::{Node, Sink, say_listening},
    tasks::submitter,
};
use crate::{failure::Failure, stop::StopSignal};

/// The protocol of the bare stream: bytes one way until its end, then their number as 8 bytes, little endian.
const BENCH_PROTOCOL: &str = "/peercompute/bench/1";

/// Bytes in a task, as `run` has them by default.
const CHUNK: usize = 1 << 20;

/// Bytes in a write to the bare stream.
const BLOCK: usize = 256 << 10;

/// Chunks read ahead of the job.
const READ_AHEAD: usize = 4;

/// `crc32c` over a file of so many bytes by one worker, which must give what a local pass gives.
pub(super) async fn crc32c(
    workers: &[Node],
    topology: peercompute_kernel::Topology,
    bytes: u64,
) -> Result<Duration, Failure> {
    let failed = |error: std::io::Error| Failure::run(format!("the file to measure with: {error}"));
    let (file, expected) = make_file(bytes).map_err(failed)?;
    let node = submitter(workers, topology).await?;
    let begun = Instant::now();
    let (mut sender, mut results) = node
        .submit(Operation::Crc32c.into())
        .map_err(Failure::run)?
        .split();
    let (chunks, mut read) = mpsc::channel::<Bytes>(READ_AHEAD);
    let reader = tokio::task::spawn_blocking(move || read_file(file, &chunks));
    let mut lengths = Vec::new();
    let feed = async {
        while let Some(input) = read.recv().await {
            lengths.push(input.len() as u64);
            sender
                .push(vec![NewTask { state: None, input }])
                .await
                .map_err(Failure::run)?;
        }
        sender.finish();
        Ok::<_, Failure>(())
    };
    let collect = async {
        let (mut outcomes, mut values) = (Vec::new(), Vec::new());
        while results
            .next_batch(&mut outcomes)
            .await
            .map_err(Failure::run)?
        {
            for outcome in outcomes.drain(..) {
                values.push((outcome.task, outcome.result.map_err(Failure::run)?));
            }
        }
        Ok::<_, Failure>(values)
    };
    let ((), mut values) = tokio::try_join!(feed, collect)?;
    let time = begun.elapsed();
    reader.await.map_err(Failure::run)?.map_err(failed)?;
    node.stop().await;

    values.sort_by_key(|(task, _)| *task);
    let mut combiner = Combiner::new(Operation::Crc32c);
    for (length, (_, value)) in lengths.into_iter().zip(values) {
        combiner.push(length, value).map_err(Failure::run)?;
    }
    let found = combiner.digest().expect("crc32c has a digest").to_string();
    if found != format!("{expected:08x}") {
        return Err(Failure::run(format!(
            "the worker's crc32c is {found}, here it is {expected:08x}"
        )));
    }
    Ok(time)
}

/// A temporary file of bytes that do not compress, and their crc32c.
fn make_file(bytes: u64) -> std::io::Result<(std::fs::File, u32)> {
    let mut file = tempfile::tempfile()?;
    let (mut crc, mut left, mut state) = (0, bytes, 1_u64);
    let mut block = vec![0; CHUNK];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // xorshift64 (Marsaglia, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(&block[..count])?;
        crc = crc32c::crc32c_append(crc, &block[..count]);
        left -= count as u64;
    }
    std::io::Seek::rewind(&mut file)?;
    Ok((file, crc))
}

fn read_file(mut file: std::fs::File, chunks: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() || chunks.blocking_send(chunk.into()).is_err() {
            return Ok(());
        }
    }
}

/// The same number of bytes over one stream of the transport, with nothing of ours around them.
pub(super) async fn stream(sink: &Sink, bytes: u64) -> Result<Duration, Failure> {
    let transport = transport()?;
    let peer = transport
        .dial(sink.address().clone())
        .await
        .map_err(Failure::run)?;
    let mut stream = transport
        .open(peer, BENCH_PROTOCOL)
        .await
        .map_err(Failure::run)?;
    let block = vec![0x5a; BLOCK];
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        stream
            .write_all(&block[..count])
            .await
            .map_err(Failure::run)?;
        left -= count as u64;
    }
    stream.close().await.map_err(Failure::run)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.map_err(Failure::run)?;
    let time = begun.elapsed();
    transport.close().await;
    match u64::from_le_bytes(answer) {
        count if count == bytes => Ok(time),
        count => Err(Failure::run(format!(
            "the sink has read {count} of {bytes} bytes"
        ))),
    }
}

/// Reads bare streams until it is asked to stop.
pub(super) async fn sink(listen: Multiaddr, mut stop: StopSignal) -> Result<(), Failure> {
    let transport = transport()?;
    let mut incoming = transport.accept(BENCH_PROTOCOL).map_err(Failure::run)?;
    let address = transport.listen(listen).await.map_err(Failure::run)?;
    say_listening(transport.local_peer(), vec![address])?;
    loop {
        tokio::select! {
            Some((_, mut stream)) = incoming.next() => {
                let (mut block, mut total) = (vec![0; BLOCK], 0_u64);
                loop {
                    match stream.read(&mut block).await.map_err(Failure::run)? {
                        0 => break,
                        count => total += count as u64,
                    }
                }
                stream.write_all(&total.to_le_bytes()).await.map_err(Failure::run)?;
                stream.close().await.map_err(Failure::run)?;
            }
            () = stop.next() => break,
        }
    }
    transport.close().await;
    Ok(())
}

fn transport() -> Result<Libp2pTransport, Failure> {
    let config = Libp2pConfig::new(Identity::generate(&Runtime::tokio()));
    Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)
}
