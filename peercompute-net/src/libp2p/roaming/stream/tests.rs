use std::collections::VecDeque;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use proptest::prelude::*;

use super::*;
use crate::libp2p::roaming::Table;

/// One direction between two ends, whose bytes come when they are let.
#[derive(Default)]
struct Wire {
    /// Written, and not let through yet.
    held: VecDeque<u8>,
    arrived: VecDeque<u8>,
    is_closed: bool,
    end_arrived: bool,
    is_cut: bool,
    reader: Option<std::task::Waker>,
}

type Shared = Arc<Mutex<Wire>>;

struct End {
    incoming: Shared,
    outgoing: Shared,
}

fn pair() -> (Stream, Stream, [Shared; 2]) {
    let wires = [Shared::default(), Shared::default()];
    let [there, back] = wires.clone();
    let one = End {
        incoming: back.clone(),
        outgoing: there.clone(),
    };
    let other = End {
        incoming: there,
        outgoing: back,
    };
    (Box::new(one), Box::new(other), wires)
}

/// Lets through what was written.
fn let_through(wires: &[Shared], count: usize) {
    for wire in wires {
        let mut wire = lock(wire);
        let count = count.min(wire.held.len());
        let bytes: Vec<u8> = wire.held.drain(..count).collect();
        wire.arrived.extend(bytes);
        wire.end_arrived = wire.is_closed && wire.held.is_empty();
        if let Some(reader) = wire.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.incoming);
        if wire.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = buffer.len().min(wire.arrived.len());
        if count == 0 && !wire.end_arrived {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buffer.iter_mut().zip(wire.arrived.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.outgoing);
        if wire.is_cut || wire.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        wire.held.extend(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.outgoing);
        if wire.is_cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        wire.is_closed = true;
        Poll::Ready(Ok(()))
    }
}

/// Two ends of a stream that can be taken along, as its two slots.
fn roaming() -> ([Roaming; 2], [Arc<Slot>; 2], [Shared; 2]) {
    let (one, other, wires) = pair();
    let ends = [one, other].map(|stream| {
        let (table, peer) = (Table::default(), crate::PeerId::random());
        let roaming = table.add(peer, [0; 16], stream).unwrap();
        (roaming, table.get(peer, [0; 16]).unwrap())
    });
    let [(one, slot), (other, other_slot)] = ends;
    ([one, other], [slot, other_slot], wires)
}

fn read_some(stream: &mut Roaming, into: &mut Vec<u8>) -> Option<io::Result<usize>> {
    let mut buffer = [0; 3];
    let read = stream.read(&mut buffer).now_or_never()?;
    if let Ok(count) = read {
        into.extend_from_slice(&buffer[..count]);
    }
    Some(read)
}

#[test]
fn what_was_on_the_old_path_is_read_before_what_is_on_the_new_one() {
    let ([mut one, mut other], [slot, other_slot], old) = roaming();
    one.write_all(b"old ").now_or_never().unwrap().unwrap();
    let (second, other_second, new) = pair();
    other_slot.begin().unwrap().go_on(other_second);
    slot.begin().unwrap().go_on(second);
    one.write_all(b"new").now_or_never().unwrap().unwrap();
    let_through(&new, 20);
    let mut read = Vec::new();
    assert!(read_some(&mut other, &mut read).is_none());
    let_through(&old, 9);
    while let Some(Ok(1..)) = read_some(&mut other, &mut read) {}
    assert_eq!(read, b"old new");
}

#[test]
fn an_end_that_may_be_that_of_the_old_path_only_is_none_yet() {
    let ([mut one, _other], [slot, _], old) = roaming();
    let moving = slot.begin().unwrap();
    // The other end has gone on already.
    lock(&old[1]).is_closed = true;
    let_through(&old, 0);
    let mut read = Vec::new();
    assert!(read_some(&mut one, &mut read).is_none());
    moving.stay();
    assert!(matches!(read_some(&mut one, &mut read), Some(Ok(0))));
}

#[test]
fn where_nobody_knows_whether_the_other_end_has_gone_on_an_end_is_an_error() {
    let ([mut one, _other], [slot, _], old) = roaming();
    drop(slot.begin());
    lock(&old[1]).is_closed = true;
    let_through(&old, 0);
    assert!(matches!(read_some(&mut one, &mut Vec::new()), Some(Err(_))));
}

/// Breaks a path as yamux does: it looks like an end, and closing works.
fn tear(wires: &[Shared]) {
    for wire in wires {
        let mut wire = lock(wire);
        wire.held.clear();
        wire.is_closed = true;
        wire.end_arrived = true;
        if let Some(reader) = wire.reader.take() {
            reader.wake();
        }
    }
}

#[test]
fn a_hole_on_the_old_path_is_an_error_and_nothing_is_read_after_it() {
    let ([mut one, mut other], [slot, other_slot], old) = roaming();
    one.write_all(b"lost").now_or_never().unwrap().unwrap();
    tear(&old);
    let (second, other_second, new) = pair();
    other_slot.begin().unwrap().go_on(other_second);
    slot.begin().unwrap().go_on(second);
    one.write_all(b"more").now_or_never().unwrap().unwrap();
    let_through(&new, 20);
    let mut read = Vec::new();
    assert!(matches!(read_some(&mut other, &mut read), Some(Err(_))));
    assert_eq!(read, b"");
}

#[test]
fn a_path_that_breaks_after_all_has_arrived_costs_nothing() {
    let ([mut one, mut other], [slot, other_slot], old) = roaming();
    one.write_all(b"old ").now_or_never().unwrap().unwrap();
    let_through(&old, 9);
    let mut read = Vec::new();
    while let Some(Ok(1..)) = read_some(&mut other, &mut read) {}
    for wire in &old {
        lock(wire).is_cut = true;
    }
    let (second, other_second, new) = pair();
    other_slot.begin().unwrap().go_on(other_second);
    slot.begin().unwrap().go_on(second);
    one.write_all(b"new").now_or_never().unwrap().unwrap();
    let_through(&new, 20);
    while let Some(Ok(1..)) = read_some(&mut other, &mut read) {}
    assert_eq!(read, b"old new");
}

#[test]
fn a_stream_is_taken_along_once() {
    let (_ends, [slot, _], _) = roaming();
    let moving = slot.begin().unwrap();
    assert!(slot.begin().is_none());
    moving.stay();
    slot.begin().unwrap().go_on(pair().0);
    assert!(slot.begin().is_none());
}

#[test]
fn a_stream_that_has_ended_is_known_no_more() {
    let table = Table::default();
    let peer = crate::PeerId::random();
    let roaming = table.add(peer, [1; 16], pair().0).unwrap();
    assert!(table.add(peer, [1; 16], pair().0).is_none());
    drop(roaming);
    assert!(table.get(peer, [1; 16]).is_none());
}

proptest! {
    /// Whenever the two ends go on, and whatever is under way then, each reads what the other has written, and the end after it.
    #[test]
    fn nothing_is_lost_doubled_or_in_another_order(
        moves in [0usize..60, 0usize..60],
        closes in [0usize..60, 0usize..60],
        steps in prop::collection::vec((0usize..2, 0usize..4, 0usize..5), 60..120),
    ) {
        let (mut ends, slots, old) = roaming();
        let (second, other_second, new) = pair();
        let mut seconds = [Some(second), Some(other_second)];
        let mut begun = [None, None];
        let (mut written, mut read, mut ended, mut closed) = ([0u8; 2], [Vec::new(), Vec::new()], [false; 2], [false; 2]);
        for (step, (end, action, amount)) in steps.iter().copied().enumerate() {
            // As it is agreed upon: both begin before either goes on.
            if step == moves[0].min(moves[1]) {
                begun = [slots[0].begin(), slots[1].begin()];
            }
            for side in 0..2 {
                if step == moves[side] {
                    let second = seconds[side].take().unwrap();
                    begun[side].take().unwrap().go_on(second);
                }
                if step == closes[side] {
                    closed[side] = true;
                    let _ = ends[side].close().now_or_never();
                }
            }
            match action {
                0 if !closed[end] => {
                    let data: Vec<u8> = (0..amount).map(|_| { written[end] = written[end].wrapping_add(1); written[end] }).collect();
                    prop_assert!(matches!(ends[end].write_all(&data).now_or_never(), Some(Ok(()))));
                }
                1 => let_through(&old[end..=end], amount),
                2 => let_through(&new[end..=end], amount),
                _ => {
                    if let Some(Ok(0)) = read_some(&mut ends[end], &mut read[end]) {
                        ended[end] = true;
                    }
                }
            }
        }
        for (moving, second) in begun.iter_mut().zip(&mut seconds) {
            if let (Some(moving), Some(second)) = (moving.take(), second.take()) {
                moving.go_on(second);
            }
        }
        for end in &mut ends {
            let _ = end.close().now_or_never();
        }
        for _ in 0..400 {
            let_through(&old, 9);
            let_through(&new, 9);
            for side in 0..2 {
                if let Some(Ok(0)) = read_some(&mut ends[side], &mut read[side]) {
                    ended[side] = true;
                }
            }
        }
        for side in 0..2 {
            let expected: Vec<u8> = (1..=written[1 - side]).collect();
            prop_assert_eq!(&read[side], &expected);
            prop_assert!(ended[side]);
        }
    }
}
