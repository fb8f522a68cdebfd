//! Items in transfer over one link.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use peercompute_proto::{
    limits::{MAX_FLOW_BUNDLE, MAX_FLOW_CHUNK},
    v1,
};

use super::store::{Held, Parcel, Store};

/// Pieces of at most this size are copied out of the frame that brought them, so that they do not keep it.
const COPIED: usize = 16 * 1024;

/// The least that is sent of an item at a time, unless less is left: what tokens are saved up to.
const LEAST_PIECE: f64 = 16.0 * 1024.0;

/// How much faster than the cell wants a transfer goes: links show what they carry by being used, and the cell reckons with what they show.
const GAIN: f64 = 1.25;

/// Seconds of its rate that a transfer can save up.
const BURST: f64 = 0.02;

/// Hops that are counted.
const MAX_HOPS: u32 = 1 << 16;

/// An item on its way to the neighbour.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Nothing yet at a submitter that has no tasks.
    pub(super) parcel: Option<Parcel>,
    begun: bool,
    sent: usize,
    /// Its last byte waits for a slot, and all others have gone.
    pub(super) held: bool,
    pub(super) waiting: bool,
    /// Bytes a second that the cell wants, and bytes saved up at `paced`.
    pub(super) rate: f64,
    tokens: f64,
    paced: Duration,
}

/// What can be sent of an item now.
#[derive(Debug)]
pub(super) enum Piece {
    /// Nothing.
    None,
    /// Nothing before this time.
    At(Duration),
    /// All has gone but the last byte.
    Held,
    /// This; and whether it was the last.
    Chunk {
        begin: Option<v1::FlowBegin>,
        bundle: u64,
        data: Bytes,
        last: bool,
    },
}

impl Outgoing {
    pub(super) fn new(now: Duration, parcel: Option<Parcel>, held: bool) -> Self {
        Self {
            parcel,
            begun: false,
            sent: 0,
            held,
            waiting: false,
            rate: 0.0,
            tokens: LEAST_PIECE,
            paced: now,
        }
    }

    /// Whether bytes of it could be sent if there was room.
    pub(super) fn moves(&self) -> bool {
        self.parcel.is_some() && !self.waiting
    }

    /// Takes the next piece, of at most `room` bytes.
    pub(super) fn next(&mut self, now: Duration, room: usize, is_paced: bool) -> Piece {
        let Some(parcel) = &self.parcel else {
            return Piece::None;
        };
        if self.waiting {
            return Piece::None;
        }
        let size = parcel.data.len();
        let end = if self.held {
            size.saturating_sub(1)
        } else {
            size
        };
        let left = end - self.sent;
        if self.held && left == 0 {
            self.waiting = true;
            return Piece::Held;
        }
        let mut count = left.min(room).min(MAX_FLOW_CHUNK);
        if count == 0 && size > 0 {
            return Piece::None;
        }
        if is_paced {
            let rate = self.rate * GAIN;
            let saved = rate * now.saturating_sub(self.paced).as_secs_f64();
            let most = (rate * BURST).max(2.0 * LEAST_PIECE);
            self.tokens = (self.tokens + saved).min(most);
            self.paced = now;
            let least = LEAST_PIECE.min(count as f64);
            if self.tokens < least {
                let wait = (least - self.tokens) / rate.max(1.0);
                return Piece::At(now + Duration::from_secs_f64(wait.clamp(1e-4, 1.0)));
            }
            count = count.min(self.tokens as usize);
            self.tokens -= count as f64;
        }
        let begin = (!self.begun).then(|| v1::FlowBegin {
            bundle: parcel.bundle,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            hops: parcel.hops + 1,
        });
        self.begun = true;
        let data = parcel.data.slice(self.sent..self.sent + count);
        self.sent += count;
        Piece::Chunk {
            begin,
            bundle: parcel.bundle,
            data,
            last: self.sent == size,
        }
    }
}

/// What goes to a neighbour of one kind.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) current: Option<Outgoing>,
    /// Last bytes whose cell counts them as gone already; bounded by the slots that the neighbour has granted.
    tails: VecDeque<Outgoing>,
}

impl Sending {
    /// The last byte may go.
    pub(super) fn release(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.held = false;
        if current.waiting {
            current.waiting = false;
            self.tails.extend(self.current.take());
        }
    }

    /// Takes the next piece. The flag says whether the cell is to be told when it is the last.
    pub(super) fn next(&mut self, now: Duration, room: usize, is_paced: bool) -> (Piece, bool) {
        if let Some(tail) = self.tails.front_mut() {
            let piece = tail.next(now, room.max(1), false);
            if matches!(piece, Piece::Chunk { last: true, .. }) {
                self.tails.pop_front();
            }
            return (piece, false);
        }
        let Some(current) = &mut self.current else {
            return (Piece::None, false);
        };
        let piece = current.next(now, room, is_paced);
        if matches!(piece, Piece::Chunk { last: true, .. }) {
            self.current = None;
        }
        (piece, true)
    }

    /// What has not gone: the current item, if it has begun to be one, comes first.
    pub(super) fn into_parcels(self) -> (Option<Parcel>, impl Iterator<Item = Parcel>) {
        let current = self.current.and_then(|outgoing| outgoing.parcel);
        let tails = self.tails.into_iter();
        (current, tails.filter_map(|outgoing| outgoing.parcel))
    }

    /// Items that are here on their way.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        let all = self.current.iter().chain(&self.tails);
        all.filter_map(|outgoing| outgoing.parcel.as_ref())
    }
}

/// An item that comes.
#[derive(Debug)]
pub(super) struct Incoming {
    begin: v1::FlowBegin,
    /// One piece, or several put together.
    whole: Bytes,
    parts: BytesMut,
    received: usize,
    held: Held,
    /// Of what its neighbour may leave unfinished.
    share: Held,
    /// There was no room for it: what comes of it is dropped.
    lost: bool,
}

impl Incoming {
    /// Takes in a piece. Gives the item with its last. Its bytes count in `store` for as long as it is here, and in `share` until it is whole.
    pub(super) fn take(
        slot: &mut Option<Self>,
        now: Duration,
        chunk: v1::FlowChunk,
        store: &Store,
        share: &Store,
    ) -> Result<Option<Parcel>, &'static str> {
        match (&slot, chunk.begin) {
            (None, Some(begin)) => {
                if begin.size as usize > MAX_FLOW_BUNDLE {
                    return Err("an item that is too large");
                }
                *slot = Some(Self {
                    begin,
                    whole: Bytes::new(),
                    parts: BytesMut::new(),
                    received: 0,
                    held: store.hold(),
                    share: share.hold(),
                    lost: false,
                });
            }
            (Some(_), None) => {}
            (None, None) => return Err("a piece of an item that has not begun"),
            (Some(_), Some(_)) => return Err("an item amid another"),
        }
        let Some(incoming) = slot else {
            return Ok(None);
        };
        let size = incoming.begin.size as usize;
        if incoming.received + chunk.data.len() > size {
            return Err("more of an item than its size");
        }
        incoming.put(chunk.data);
        if incoming.received < size {
            return Ok(None);
        }
        Ok(slot.take().map(|incoming| incoming.into_parcel(now)))
    }

    fn put(&mut self, data: Bytes) {
        self.received += data.len();
        let mut fits = || self.share.grow(data.len()) && self.held.grow(data.len());
        if !self.lost && !fits() {
            self.lost = true;
            self.held.clear();
            self.share.clear();
            (self.whole, self.parts) = (Bytes::new(), BytesMut::new());
        }
        if self.lost {
            return;
        }
        if self.received == data.len() && data.len() > COPIED {
            self.whole = data;
            return;
        }
        if !self.whole.is_empty() {
            self.parts.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
        self.parts.extend_from_slice(&data);
    }

    fn into_parcel(self, now: Duration) -> Parcel {
        let data = if self.whole.is_empty() {
            self.parts.freeze()
        } else {
            self.whole
        };
        Parcel {
            bundle: self.begin.bundle,
            hops: self.begin.hops.min(MAX_HOPS),
            since: now,
            data,
            _held: Some(self.held),
        }
    }
}
