//! The task ABI from the host's side, for whatever engine runs the module: `peercompute-guest/README.md` has it in full.

use bytes::Bytes;

use crate::{TaskError, text::cut};

/// The version of the ABI that this host speaks: what a module's `abi_version` has to give.
pub const ABI_VERSION: i32 = 1;

/// Set in a returned length, it says that the program gave up and that the rest is the length of its message.
const GAVE_UP: u32 = 1 << 31;

/// What `run` returned: where in the module's memory its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The address of the first byte.
    pub pointer: u32,
    /// How many bytes.
    pub length: u32,
    /// Whether they say why the program gave up, instead of being its result.
    pub gave_up: bool,
}

impl Returned {
    /// Takes apart what `run` returned: the pointer in the high 32 bits, the length in the low ones, whose highest says that the program gave up.
    pub const fn decode(returned: i64) -> Self {
        let low = returned as u32;
        Self {
            pointer: (returned >> 32) as u32,
            length: low & !GAVE_UP,
            gave_up: low & GAVE_UP != 0,
        }
    }

    /// Reads the answer from the module's memory. Of a message, the first [`TaskError::MAX_MESSAGE`] bytes count; characters that are no text are replaced.
    ///
    /// # Errors
    ///
    /// [`TaskError::GaveUp`] if the program did, [`TaskError::OutputTooLarge`] for a result longer than `max_output`, and [`TaskError::AbiViolated`] for an answer that is not inside the
    /// memory.
    pub fn read(self, memory: &[u8], max_output: u64) -> Result<Bytes, TaskError> {
        let size = u64::from(self.length);
        if !self.gave_up && size > max_output {
            return Err(TaskError::OutputTooLarge {
                size,
                limit: max_output,
            });
        }
        let answer = part(memory, self.pointer, self.length).ok_or_else(|| TaskError::AbiViolated {
            reason: format!(
                "its answer of {} bytes at {} is not inside its memory of {} bytes; return a pointer in the high 32 bits and a length in the low ones",
                self.length,
                self.pointer,
                memory.len()
            ),
        })?;
        if self.gave_up {
            return Err(TaskError::GaveUp {
                message: message(answer),
            });
        }
        Ok(Bytes::copy_from_slice(answer))
    }
}

/// Where the host writes the input of `length` bytes: at what `alloc` returned for it, inside the module's memory.
///
/// # Errors
///
/// [`TaskError::AbiViolated`] if that is not inside the memory, or is 0 for an input that is not empty.
pub fn input_place(memory: &mut [u8], pointer: u32, length: u32) -> Result<&mut [u8], TaskError> {
    let size = memory.len();
    if length > 0 && pointer == 0 {
        return Err(TaskError::AbiViolated {
            reason: format!("its alloc gave 0, no room for {length} bytes of input"),
        });
    }
    range(size, pointer, length)
        .and_then(|range| memory.get_mut(range))
        .ok_or_else(|| TaskError::AbiViolated {
            reason: format!(
                "its alloc gave {pointer} for {length} bytes, which is not inside its memory of {size} bytes"
            ),
        })
}

fn part(memory: &[u8], pointer: u32, length: u32) -> Option<&[u8]> {
    range(memory.len(), pointer, length).and_then(|range| memory.get(range))
}

fn range(size: usize, pointer: u32, length: u32) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(pointer).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= size).then_some(start..end)
}

/// A stranger's text, fit to be shown.
fn message(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(TaskError::MAX_MESSAGE)];
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    cut(text, TaskError::MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn returned(pointer: u32, length: u32) -> Returned {
        Returned::decode((i64::from(pointer) << 32) | i64::from(length))
    }

    #[test]
    fn a_result_is_read_from_where_it_lies() {
        let memory = b"....result..";
        assert_eq!(
            returned(4, 6).read(memory, 6),
            Ok(Bytes::from_static(b"result"))
        );
        assert_eq!(returned(12, 0).read(memory, 0), Ok(Bytes::new()));
        assert_eq!(
            returned(4, 6).read(memory, 5),
            Err(TaskError::OutputTooLarge { size: 6, limit: 5 })
        );
    }

    #[test]
    fn an_answer_outside_the_memory_is_refused() {
        for (pointer, length) in [
            (13, 0),
            (12, 1),
            (4, 9),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
        ] {
            let error = returned(pointer, length).read(&[0; 12], u64::MAX);
            assert!(
                matches!(error, Err(TaskError::AbiViolated { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_program_that_gives_up_says_why_in_at_most_512_bytes_of_plain_text() {
        let gave_up = |memory: &[u8]| returned(0, (1 << 31) | memory.len() as u32).read(memory, 0);
        let message = |text: &str| {
            Err(TaskError::GaveUp {
                message: text.to_owned(),
            })
        };
        assert_eq!(gave_up(b"too few\nbodies"), message("too few\nbodies"));
        assert_eq!(gave_up(b"a\x1b[2Jb\xff"), message("a\u{fffd}[2Jb\u{fffd}"));
        assert_eq!(gave_up(&[b'x'; 2000]), message(&"x".repeat(512)));
        let Err(TaskError::GaveUp { message }) = gave_up(&[7; 512]) else {
            panic!("it gave up");
        };
        assert!(message.len() <= TaskError::MAX_MESSAGE);
    }

    #[test]
    fn an_allocation_of_nothing_may_be_anywhere_and_any_other_is_not_at_zero() {
        assert_eq!(input_place(&mut [1, 2], 0, 0), Ok(&mut [][..]));
        assert!(input_place(&mut [1, 2], 0, 1).is_err());
        assert_eq!(input_place(&mut [1, 2], 1, 1), Ok(&mut [2][..]));
        assert!(input_place(&mut [1, 2], 1, 2).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_host_read_outside(any in any::<i64>(), size in 0..4096_usize, max in 0..4096_u64) {
            let returned = Returned::decode(any);
            let again = (i64::from(returned.pointer) << 32)
                | i64::from(returned.length)
                | i64::from(returned.gave_up) << 31;
            prop_assert_eq!(again, any);
            if let Ok(value) = returned.read(&vec![0; size], max) {
                prop_assert!(value.len() as u64 <= max && value.len() <= size);
            }
        }
    }
}
