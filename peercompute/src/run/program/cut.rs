//! Inputs, cut into tasks as they are read: no more of one is in memory than is read ahead.

use std::{
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use peercompute_proto::limits::MAX_TASK_INPUT;
use tokio::sync::mpsc;

use super::{STANDARD_INPUT, regular_file};
use crate::output;

/// Pieces of one input that are read ahead. Reading waits while they are not taken.
const READ_AHEAD: usize = 4;

/// How an input becomes tasks. An empty one is one task, whose input is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// One task.
    Whole,
    /// Tasks of so many bytes, the last one shorter.
    Bytes(usize),
    /// Tasks of at most so many bytes, each of which ends with a line.
    Lines(usize),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CutError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(
        "is too long for one task, which has {} at most; cut it into several with --chunk 1MiB",
        output::bytes(MAX_TASK_INPUT as u64)
    )]
    TooLong,
    #[error(
        "the line that begins at byte {offset} is longer than the {} of --chunk; raise it, or cut between any two bytes with --split bytes",
        output::bytes(*chunk as u64)
    )]
    LineTooLong { offset: u64, chunk: usize },
}

/// Reads on a thread of its own.
pub(super) fn pieces(path: &Path, cut: Cut) -> mpsc::Receiver<Result<Bytes, String>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let read = open(&path).and_then(|source| {
            let mut pieces = Pieces::new(source, cut);
            while let Some(piece) = pieces.next().map_err(|error| error.to_string())? {
                if sender.blocking_send(Ok(piece)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        if let Err(error) = read {
            // Nobody listens any more if the run has ended meanwhile.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn open(path: &Path) -> Result<Box<dyn Read>, String> {
    Ok(if path.as_os_str().is_empty() {
        Box::new(io::empty())
    } else if path.as_os_str() == STANDARD_INPUT {
        Box::new(io::stdin().lock())
    } else {
        Box::new(regular_file(path)?.0)
    })
}

/// The pieces of what `source` gives.
struct Pieces<R> {
    source: R,
    cut: Cut,
    /// What was read and belongs to the next piece.
    rest: Vec<u8>,
    /// Where in the input that begins.
    offset: u64,
    pieces: u64,
}

impl<R: Read> Pieces<R> {
    fn new(source: R, cut: Cut) -> Self {
        Self {
            source,
            cut,
            rest: Vec::new(),
            offset: 0,
            pieces: 0,
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, CutError> {
        let mut piece = std::mem::take(&mut self.rest);
        match self.cut {
            Cut::Whole if self.pieces > 0 => {}
            Cut::Whole => {
                self.fill(&mut piece, MAX_TASK_INPUT + 1)?;
                if piece.len() > MAX_TASK_INPUT {
                    return Err(CutError::TooLong);
                }
            }
            Cut::Bytes(chunk) => self.fill(&mut piece, chunk)?,
            Cut::Lines(chunk) => {
                self.fill(&mut piece, chunk)?;
                if piece.len() == chunk {
                    self.cut_line(&mut piece, chunk)?;
                }
            }
        }
        if piece.is_empty() && self.pieces > 0 {
            return Ok(None);
        }
        self.offset += piece.len() as u64;
        self.pieces += 1;
        // Many short inputs do not take the memory of as many long ones.
        piece.shrink_to_fit();
        Ok(Some(piece.into()))
    }

    /// Keeps what follows the last end of a line for the next piece.
    fn cut_line(&mut self, piece: &mut Vec<u8>, chunk: usize) -> Result<(), CutError> {
        if let Some(end) = piece.iter().rposition(|byte| *byte == b'\n') {
            let mut rest = Vec::with_capacity(chunk);
            rest.extend_from_slice(&piece[end + 1..]);
            piece.truncate(end + 1);
            self.rest = rest;
            return Ok(());
        }
        // The last line may do without its end.
        let mut more = Vec::new();
        self.fill(&mut more, 1)?;
        if more.is_empty() {
            return Ok(());
        }
        Err(CutError::LineTooLong {
            offset: self.offset,
            chunk,
        })
    }

    /// Reads until `piece` has `length` bytes or there are no more.
    fn fill(&mut self, piece: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let missing = length - piece.len();
        if self.cut != Cut::Whole {
            piece.reserve_exact(missing);
        }
        let source = self.source.by_ref();
        source.take(missing as u64).read_to_end(piece).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn all(source: impl Read, cut: Cut) -> Result<Vec<Bytes>, CutError> {
        let mut pieces = Pieces::new(source, cut);
        let mut all = Vec::new();
        while let Some(piece) = pieces.next()? {
            all.push(piece);
        }
        Ok(all)
    }

    /// Gives a few bytes at a time, as pipes do.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let few = into.len().min(self.1);
            self.0.read(&mut into[..few])
        }
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_input_and_none_is_longer_than_the_chunk(
            input in vec(prop_oneof![Just(b'\n'), Just(b'a')], 0..300),
            chunk in 1..40_usize,
            few in 1..50_usize,
        ) {
            for cut in [Cut::Whole, Cut::Bytes(chunk), Cut::Lines(chunk)] {
                let longest = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).max();
                match all(Trickle(&input, few), cut) {
                    Ok(pieces) => {
                        prop_assert_eq!(pieces.concat(), &input[..]);
                        prop_assert!(cut == Cut::Whole || pieces.iter().all(|piece| piece.len() <= chunk));
                        prop_assert!(!pieces.is_empty());
                        prop_assert!(input.is_empty() || pieces.iter().all(|piece| !piece.is_empty()));
                        if cut == Cut::Lines(chunk) {
                            let (_, others) = pieces.split_last().expect("there is one");
                            prop_assert!(others.iter().all(|piece| piece.ends_with(b"\n")));
                        }
                    }
                    Err(CutError::LineTooLong { offset, .. }) => {
                        prop_assert_eq!(cut, Cut::Lines(chunk));
                        let line = input[offset as usize..].split_inclusive(|byte| *byte == b'\n').next();
                        prop_assert!(line.is_some_and(|line| line.len() > chunk));
                        prop_assert!(offset == 0 || input[offset as usize - 1] == b'\n');
                        prop_assert!(longest > Some(chunk));
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
        }
    }

    #[test]
    fn an_input_beyond_one_task_is_refused_with_the_remedy_and_read_no_further() {
        let read = Rc::new(Cell::new(0_u64));
        let error = all(Endless(read.clone()), Cut::Whole)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--chunk") && error.contains("8.0 MiB"),
            "{error}"
        );
        assert!(read.get() <= MAX_TASK_INPUT as u64 + 1);
    }

    /// Zeros without an end, counted.
    struct Endless(Rc<Cell<u64>>);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            into.fill(0);
            self.0.set(self.0.get() + into.len() as u64);
            Ok(into.len())
        }
    }

    #[test]
    fn no_more_is_read_than_the_pieces_that_were_taken() {
        let read = Rc::new(Cell::new(0));
        let mut pieces = Pieces::new(Endless(read.clone()), Cut::Bytes(1000));
        for taken in 1..=5_u64 {
            assert_eq!(pieces.next().unwrap().unwrap().len(), 1000);
            assert_eq!(read.get(), taken * 1000);
        }
        let mut lines = Pieces::new(Endless(Rc::default()), Cut::Lines(1000));
        let error = lines.next().unwrap_err();
        assert!(matches!(
            error,
            CutError::LineTooLong {
                offset: 0,
                chunk: 1000
            }
        ));
    }
}
