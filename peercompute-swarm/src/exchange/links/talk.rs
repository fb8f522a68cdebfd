//! Notes about links as they travel: what [`v1::LinkFrame`] carries, and how fast it comes.

use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::{limits::MAX_LINK_FIGURES, v1};

use crate::cell::{Beacon, ByteRate, Figures, Item, Note, PROBE_BYTES, PerItem, Rank};

/// Steps of one in which values and prices travel.
const VALUE_STEPS: f64 = 2048.0;

/// The largest price that travels: far more than anybody pays.
const MAX_PRICE_STEPS: f64 = 8191.0;

/// Steps of one in which the inputs a second travel that a node could take.
const ROOM_STEPS: f64 = 64.0;

/// The most of it that is told: no node takes more, and it is short.
const MAX_ROOM_STEPS: f64 = 1_048_575.0;

/// Bytes a second in one step of a rate.
const RATE_STEP: f64 = 100.0;

/// The fastest rate that is told, likewise.
const MAX_RATE_STEPS: f64 = 268_435_455.0;

/// Frames that a probe and an echo travel in: what comes after the first is measured.
const PIECES: usize = 4;

/// Bytes that a piece may cost beside its padding, all else of the note included.
const PIECE_OVERHEAD: usize = 24;

/// Bytes of padding in a piece of a probe.
const PIECE: usize = PROBE_BYTES / PIECES - PIECE_OVERHEAD;

/// Bytes that a probe has at least to be answered: an answer is no larger than it.
const LEAST_PROBE: usize = PROBE_BYTES / 2;

/// The flags of a beacon.
const IS_PARENT: u32 = 1;
const IS_SPARE: u32 = 2;
const IS_AWAY: u32 = 4;
const IS_TREE_ONLY: u32 = 8;

/// The least time that a rate is measured over: clocks and reads are no finer.
const LEAST_TIME: Duration = Duration::from_micros(50);

/// What is padded with.
static ZEROS: [u8; PIECE] = [0; PIECE];

/// Why a stream of notes is of no more use: the other end broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkViolation {
    /// The first frame has to say for which room it is, and no other may.
    #[error("the peer's binding is {what}")]
    Binding {
        /// Missing or repeated.
        what: &'static str,
    },
    /// Another version of the protocol.
    #[error("the peer speaks version {theirs} of the protocol and this node version {ours}")]
    Version {
        /// The peer's.
        theirs: u32,
        /// This node's.
        ours: u32,
    },
    /// Another room.
    #[error("the peer is of another room")]
    Scope,
    /// More padding than a probe has.
    #[error("the peer sends {bytes} bytes of padding; a probe has at most {PROBE_BYTES}")]
    Padding {
        /// So many.
        bytes: usize,
    },
}

/// A note that has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeardNote {
    /// What was said.
    pub note: Note,
    /// The rate with which it came, where it had several pieces.
    pub rate: ByteRate,
}

/// One end of a stream of notes between two peers: a state machine without I/O and without a clock.
#[derive(Clone, Debug)]
pub struct LinkTalk {
    binding: v1::StreamBinding,
    greeted: bool,
    heard: bool,
    /// When the first piece of padding came, and the bytes of padding since then, with it and without it.
    first: Option<Duration>,
    padding: usize,
    after: usize,
    /// Bytes of a probe that has not been answered.
    probe: usize,
}

impl LinkTalk {
    /// One at the start of its stream.
    pub fn new(binding: v1::StreamBinding) -> Self {
        Self {
            binding,
            greeted: false,
            heard: false,
            first: None,
            padding: 0,
            after: 0,
            probe: 0,
        }
    }

    /// A frame has come. Gives a note when it is the end of one that this version knows.
    ///
    /// # Errors
    ///
    /// [`LinkViolation`]; the stream is to be ended.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        frame: v1::LinkFrame,
    ) -> Result<Option<HeardNote>, LinkViolation> {
        self.greet(frame.binding.as_ref())?;
        match self.first {
            Some(_) => self.after += frame.padding.len(),
            None if !frame.padding.is_empty() => self.first = Some(now),
            None => {}
        }
        self.padding += frame.padding.len();
        if self.padding > PROBE_BYTES {
            let bytes = self.padding;
            return Err(LinkViolation::Padding { bytes });
        }
        let note = match v1::LinkNote::try_from(frame.note) {
            Ok(v1::LinkNote::Unspecified) => return Ok(None),
            Ok(note) => read(note, &frame),
            Err(_) => None,
        };
        let rate = self.rate(now);
        let padding = std::mem::take(&mut self.padding);
        (self.first, self.after) = (None, 0);
        let Some(note) = note else {
            return Ok(None);
        };
        if note == Note::Probe {
            if padding < LEAST_PROBE {
                // The answer would be larger.
                return Ok(None);
            }
            self.probe = padding;
        }
        Ok(Some(HeardNote { note, rate }))
    }

    fn greet(&mut self, binding: Option<&v1::StreamBinding>) -> Result<(), LinkViolation> {
        let theirs = match (binding, self.heard) {
            (Some(theirs), false) => theirs,
            (None, true) => return Ok(()),
            (None, false) => return Err(LinkViolation::Binding { what: "missing" }),
            (Some(_), true) => return Err(LinkViolation::Binding { what: "repeated" }),
        };
        if theirs.version != self.binding.version {
            return Err(LinkViolation::Version {
                theirs: theirs.version,
                ours: self.binding.version,
            });
        }
        if theirs.scope != self.binding.scope {
            return Err(LinkViolation::Scope);
        }
        self.heard = true;
        Ok(())
    }

    fn rate(&self, now: Duration) -> ByteRate {
        let time = self.first.map(|first| now.saturating_sub(first));
        let time = time.unwrap_or_default().max(LEAST_TIME);
        ByteRate(self.after as f64 / time.as_secs_f64())
    }

    /// The frames of a note, in their order. Each is to be flushed by itself, so that the other end can measure. None for an echo of a probe that did not come over
    /// this stream.
    pub fn frames(&mut self, note: &Note) -> impl Iterator<Item = v1::LinkFrame> + use<> {
        let mut last = write(note);
        let piece = match note {
            Note::Probe => PIECE,
            Note::Echo { .. } => {
                // No larger than what it answers.
                (std::mem::take(&mut self.probe) / PIECES).saturating_sub(PIECE_OVERHEAD)
            }
            _ => 0,
        };
        let mut pieces = if piece > 0 { PIECES - 1 } else { 0 };
        let padding = Bytes::from_static(&ZEROS[..piece]);
        last.padding = padding.clone();
        let is_lost = piece == 0 && matches!(note, Note::Echo { .. });
        let mut last = (!is_lost).then_some(last);
        let mut binding = None;
        if last.is_some() && !std::mem::replace(&mut self.greeted, true) {
            binding = Some(self.binding.clone());
        }
        std::iter::from_fn(move || {
            let mut frame = if pieces > 0 {
                pieces -= 1;
                v1::LinkFrame {
                    padding: padding.clone(),
                    ..v1::LinkFrame::default()
                }
            } else {
                last.take()?
            };
            frame.binding = binding.take();
            Some(frame)
        })
    }
}

fn read(note: v1::LinkNote, frame: &v1::LinkFrame) -> Option<Note> {
    let figures = || figures(&frame.figures);
    let rate = ByteRate(f64::from(frame.rate) * RATE_STEP);
    Some(match note {
        v1::LinkNote::Unspecified => return None,
        v1::LinkNote::Probe => Note::Probe,
        v1::LinkNote::Echo => Note::Echo {
            rate,
            figures: figures(),
        },
        v1::LinkNote::Measured => Note::Measured { rate },
        v1::LinkNote::Ask => Note::Ask,
        v1::LinkNote::Tell => Note::Tell { figures: figures() },
        v1::LinkNote::Offer => Note::Offer { figures: figures() },
        v1::LinkNote::Accept => Note::Accept,
        v1::LinkNote::Refuse => Note::Refuse,
        v1::LinkNote::Leave => Note::Leave,
        v1::LinkNote::Stay => Note::Stay,
        v1::LinkNote::Beacon => Note::Beacon(beacon(frame)),
        v1::LinkNote::Over => Note::Over,
    })
}

fn write(note: &Note) -> v1::LinkFrame {
    let mut frame = v1::LinkFrame::default();
    let kind = match note {
        Note::Probe => v1::LinkNote::Probe,
        Note::Echo { rate, figures } => {
            frame.rate = steps_of_rate(*rate);
            frame.figures = steps(figures);
            v1::LinkNote::Echo
        }
        Note::Measured { rate } => {
            frame.rate = steps_of_rate(*rate);
            v1::LinkNote::Measured
        }
        Note::Ask => v1::LinkNote::Ask,
        Note::Tell { figures } => {
            frame.figures = steps(figures);
            v1::LinkNote::Tell
        }
        Note::Offer { figures } => {
            frame.figures = steps(figures);
            v1::LinkNote::Offer
        }
        Note::Accept => v1::LinkNote::Accept,
        Note::Refuse => v1::LinkNote::Refuse,
        Note::Leave => v1::LinkNote::Leave,
        Note::Stay => v1::LinkNote::Stay,
        Note::Beacon(beacon) => {
            frame.root = beacon.root.id;
            frame.beacon = numbers(beacon);
            v1::LinkNote::Beacon
        }
        Note::Over => v1::LinkNote::Over,
    };
    frame.note = kind.into();
    frame
}

fn steps_of_rate(rate: ByteRate) -> u32 {
    // A rate that was measured is not nothing. Casts of floats saturate.
    (rate.0 / RATE_STEP).ceil().min(MAX_RATE_STEPS) as u32
}

/// What [`v1::LinkFrame::beacon`] says.
fn beacon(frame: &v1::LinkFrame) -> Beacon {
    let number = |index: usize| frame.beacon.get(index).copied().unwrap_or_default();
    let byte = |index: usize| u8::try_from(number(index)).unwrap_or(u8::MAX);
    let mut beacon = Beacon::new(Rank::new(byte(1), frame.root));
    beacon.sequence = number(0);
    beacon.age = byte(2);
    beacon.hops = byte(3);
    beacon.tie = u16::try_from(number(4)).unwrap_or(u16::MAX);
    beacon.class = byte(5);
    beacon.parent = number(6) & IS_PARENT != 0;
    beacon.spare = number(6) & IS_SPARE != 0;
    beacon.away = number(6) & IS_AWAY != 0;
    beacon.tree_only = number(6) & IS_TREE_ONLY != 0;
    beacon
}

fn numbers(beacon: &Beacon) -> Vec<u32> {
    let flag = |is: bool, flag: u32| if is { flag } else { 0 };
    vec![
        beacon.sequence,
        beacon.root.class.into(),
        beacon.age.into(),
        beacon.hops.into(),
        beacon.tie.into(),
        beacon.class.into(),
        flag(beacon.parent, IS_PARENT)
            | flag(beacon.spare, IS_SPARE)
            | flag(beacon.away, IS_AWAY)
            | flag(beacon.tree_only, IS_TREE_ONLY),
    ]
}

/// What [`v1::LinkFrame::figures`] says, each within its bounds.
fn figures(steps: &[i32]) -> Figures {
    let step = |index: usize| f64::from(steps.get(index).copied().unwrap_or_default());
    let value = |index, low, high| (step(index) / VALUE_STEPS).clamp(low, high);
    let price = |index| step(index).clamp(0.0, MAX_PRICE_STEPS) / VALUE_STEPS;
    Figures::new(
        PerItem([value(0, 0.0, 1.0), value(1, -1.0, 0.0)]),
        [price(2), price(3)],
        step(4).max(0.0) / ROOM_STEPS,
    )
}

fn steps(figures: &Figures) -> Vec<i32> {
    let value = |item, low: f64, high: f64| {
        (figures.value[item].clamp(low, high) * VALUE_STEPS).round() as i32
    };
    let price = |price: f64| (price * VALUE_STEPS).round().clamp(0.0, MAX_PRICE_STEPS) as i32;
    let mut steps = vec![
        value(Item::Input, 0.0, 1.0),
        value(Item::Output, -1.0, 0.0),
        price(figures.up_price),
        price(figures.down_price),
        (figures.room * ROOM_STEPS).round().min(MAX_ROOM_STEPS) as i32,
    ];
    debug_assert_eq!(steps.len(), MAX_LINK_FIGURES);
    let told = steps.iter().rposition(|step| *step != 0);
    steps.truncate(told.map_or(0, |last| last + 1));
    steps
}

#[cfg(test)]
mod tests;
