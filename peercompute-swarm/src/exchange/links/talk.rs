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
        flag(beacon.parent, IS_PARENT) | flag(beacon.spare, IS_SPARE),
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
mod tests {
    use peercompute_proto::{Scope, encode_frame};
    use proptest::prelude::*;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn talk() -> LinkTalk {
        LinkTalk::new(v1::StreamBinding::new(Scope::new("test", "room").unwrap()))
    }

    fn bytes(frames: &[v1::LinkFrame]) -> usize {
        let size = |frame| {
            let mut bytes = bytes::BytesMut::new();
            encode_frame(frame, &mut bytes);
            bytes.len()
        };
        frames.iter().map(size).sum()
    }

    fn note() -> impl Strategy<Value = Note> {
        let figures = (-2.0..2.0, -2.0..2.0, -1.0..9.0, -1.0..9.0, -1.0..1e9_f64).prop_map(
            |(input, output, up, down, room): (f64, f64, f64, f64, f64)| {
                Figures::new(PerItem([input, output]), [up, down], room)
            },
        );
        let rate = prop_oneof![0.0..1e5, 0.0..1e12_f64].prop_map(ByteRate);
        // Nobody's class is larger, and nobody counts so far.
        let beacon = (
            0..128_u8,
            any::<u64>(),
            0..1_u32 << 28,
            any::<(u8, u8, u16, bool, bool)>(),
        )
            .prop_map(|(class, id, sequence, (age, hops, tie, parent, spare))| {
                let mut beacon = Beacon::new(Rank::new(class, id));
                (beacon.sequence, beacon.age, beacon.hops) = (sequence, age, hops);
                (beacon.tie, beacon.parent, beacon.spare) = (tie, parent, spare);
                beacon
            });
        (0..12, figures, rate, beacon).prop_map(|(kind, figures, rate, beacon)| match kind {
            0 => Note::Probe,
            1 => Note::Echo { rate, figures },
            2 => Note::Measured { rate },
            3 => Note::Ask,
            4 => Note::Tell { figures },
            5 => Note::Offer { figures },
            6 => Note::Accept,
            7 => Note::Refuse,
            8 => Note::Leave,
            9 => Note::Stay,
            10 => Note::Beacon(beacon),
            _ => Note::Over,
        })
    }

    /// What has come of the notes that were said before.
    fn carry(from: &mut LinkTalk, to: &mut LinkTalk, note: &Note) -> (usize, Vec<HeardNote>) {
        let frames: Vec<_> = from.frames(note).collect();
        let heard = frames
            .iter()
            .filter_map(|frame| to.handle_frame(MS, frame.clone()).unwrap());
        let heard = heard.collect();
        (bytes(&frames), heard)
    }

    proptest! {
        #[test]
        fn a_note_comes_as_it_was_said_and_takes_no_more_bytes_than_are_counted(notes in prop::collection::vec(note(), 1..9)) {
            let (mut here, mut there) = (talk(), talk());
            // The binding comes once.
            carry(&mut here, &mut there, &Note::Ask);
            for said in notes {
                if let Note::Echo { .. } = said {
                    carry(&mut there, &mut here, &Note::Probe);
                }
                let (bytes, heard) = carry(&mut here, &mut there, &said);
                prop_assert!(bytes <= said.wire_bytes(), "{bytes} for {said:?}");
                prop_assert_eq!(heard.len(), 1);
                let (bytes_again, again) = {
                    if let Note::Echo { .. } = said {
                        carry(&mut there, &mut here, &Note::Probe);
                    }
                    carry(&mut here, &mut there, &heard[0].note)
                };
                // What is heard is said again without loss.
                prop_assert_eq!(heard[0].note, again[0].note);
                prop_assert_eq!(bytes, bytes_again);
            }
        }

        #[test]
        fn nothing_that_comes_breaks_it_and_answers_are_no_larger(
            frames in prop::collection::vec((0..14_i32, prop::collection::vec(any::<i32>(), 0..6), any::<u32>(), 0..1025_usize, any::<bool>()), 0..40),
        ) {
            let mut talk = talk();
            let (mut came, mut went) = (0, 0);
            carry(&mut talk, &mut self::talk(), &Note::Ask);
            for (note, figures, rate, padding, bound) in frames {
                let frame = v1::LinkFrame {
                    binding: bound.then(|| talk.binding.clone()),
                    note,
                    beacon: figures.iter().map(|figure| figure.unsigned_abs()).collect(),
                    root: rate.into(),
                    figures,
                    rate,
                    padding: vec![1; padding].into(),
                };
                came += bytes(std::slice::from_ref(&frame));
                let Ok(heard) = talk.handle_frame(MS, frame) else { break };
                let Some(heard) = heard else { continue };
                prop_assert!(heard.rate.0.is_finite());
                if let Note::Echo { figures, .. } | Note::Tell { figures } | Note::Offer { figures } = heard.note {
                    prop_assert!((0.0..=1.0).contains(&figures.value[Item::Input]));
                    prop_assert!((-1.0..=0.0).contains(&figures.value[Item::Output]));
                    prop_assert!((0.0..=4.0).contains(&figures.up_price) && (0.0..=4.0).contains(&figures.down_price));
                    prop_assert!(figures.room >= 0.0 && figures.room.is_finite());
                }
                if heard.note == Note::Probe {
                    let echo = Note::Echo { rate: heard.rate, figures: Figures::default() };
                    let frames: Vec<_> = talk.frames(&echo).collect();
                    went += bytes(&frames);
                    prop_assert!(went <= came, "{went} for {came}");
                }
            }
        }
    }

    #[test]
    fn the_rate_of_a_probe_is_that_at_which_its_pieces_came() {
        let (mut here, mut there) = (talk(), talk());
        let mut rate = None;
        for (index, frame) in here.frames(&Note::Probe).enumerate() {
            let heard = there.handle_frame(MS * (index as u32 * 10), frame).unwrap();
            rate = heard.map(|heard| heard.rate.0);
        }
        assert_eq!(rate, Some(PIECE as f64 / 0.01));
    }

    #[test]
    fn an_echo_goes_only_where_its_probe_came_from() {
        let echo = Note::Echo {
            rate: ByteRate(1.0),
            figures: Figures::default(),
        };
        assert_eq!(talk().frames(&echo).count(), 0);
    }

    #[test]
    fn the_first_frame_says_for_which_room_it_is_and_no_other_does() {
        let other = v1::StreamBinding::new(Scope::new("test", "another room").unwrap());
        let bound = |binding: Option<v1::StreamBinding>| v1::LinkFrame {
            binding,
            note: v1::LinkNote::Ask.into(),
            ..v1::LinkFrame::default()
        };
        let ours = talk().binding;
        let mut talk = talk();
        assert_eq!(
            talk.handle_frame(MS, bound(None)),
            Err(LinkViolation::Binding { what: "missing" })
        );
        assert_eq!(
            talk.handle_frame(MS, bound(Some(other))),
            Err(LinkViolation::Scope)
        );
        let newer = v1::StreamBinding {
            version: 2,
            ..ours.clone()
        };
        assert_eq!(
            talk.handle_frame(MS, bound(Some(newer))),
            Err(LinkViolation::Version { theirs: 2, ours: 1 })
        );
        assert!(talk.handle_frame(MS, bound(Some(ours.clone()))).is_ok());
        assert_eq!(
            talk.handle_frame(MS, bound(Some(ours))),
            Err(LinkViolation::Binding { what: "repeated" })
        );
    }

    #[test]
    fn more_padding_than_a_probe_has_is_not_taken() {
        let mut talk = talk();
        let frame = |binding| v1::LinkFrame {
            binding,
            padding: vec![0; 1024].into(),
            ..v1::LinkFrame::default()
        };
        let mut outcome = talk.handle_frame(MS, frame(Some(talk.binding.clone())));
        for _ in 0..4 {
            assert_eq!(outcome, Ok(None));
            outcome = talk.handle_frame(MS, frame(None));
        }
        assert_eq!(outcome, Err(LinkViolation::Padding { bytes: 5120 }));
    }
}
