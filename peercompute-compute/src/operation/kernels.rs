//! The loops of the built-in operations. Each works through its input in blocks and asks its [`Control`] before each, so that it stops soon after it is cancelled.

use bytes::Bytes;

use crate::{Control, TaskError};

/// How many bytes are worked through between two looks at the control: at the slowest operation's 4 cycles a byte about a fifth of a millisecond.
/// A multiple of the 24 KiB that `crc32c` takes at a time on x86-64.
pub(crate) const CHECK_BYTES: usize = 5 * 24 * 1024;

/// One counter for each byte of four 128-bit registers: enough chains for the adds to overlap.
const LANES: usize = 64;

/// How many rows of lanes a counter of 8 bits can take without overflow.
const ROWS: usize = u8::MAX as usize;

const FNV64_PRIME: u64 = 0x0000_0100_0000_01b3;

pub(super) fn crc32c(bytes: &[u8], control: &Control) -> Result<u32, TaskError> {
    fold(bytes, control, 0, crc32c::crc32c_append)
}

pub(super) fn fnv64(state: u64, bytes: &[u8], control: &Control) -> Result<u64, TaskError> {
    fold(bytes, control, state, |state, block| {
        block.iter().fold(state, |state, &byte| {
            (state ^ u64::from(byte)).wrapping_mul(FNV64_PRIME)
        })
    })
}

pub(super) fn count_eq(bytes: &[u8], byte: u8, control: &Control) -> Result<u64, TaskError> {
    fold(bytes, control, 0, |count, block| {
        count + count_block(block, byte)
    })
}

/// Every byte through `f`: in place when nobody else holds the input, else written once into a buffer of its own.
pub(super) fn map(
    bytes: Bytes,
    control: &Control,
    f: impl Fn(u8) -> u8 + Copy,
) -> Result<Bytes, TaskError> {
    match bytes.try_into_mut() {
        Ok(mut own) => {
            for block in own.chunks_mut(CHECK_BYTES) {
                control.check()?;
                for byte in block {
                    *byte = f(*byte);
                }
            }
            Ok(own.freeze())
        }
        Err(shared) => {
            let mut output = Vec::with_capacity(shared.len());
            for block in shared.chunks(CHECK_BYTES) {
                control.check()?;
                output.extend(block.iter().map(|&byte| f(byte)));
            }
            Ok(output.into())
        }
    }
}

fn fold<T>(
    bytes: &[u8],
    control: &Control,
    start: T,
    mut step: impl FnMut(T, &[u8]) -> T,
) -> Result<T, TaskError> {
    let mut result = start;
    for block in bytes.chunks(CHECK_BYTES) {
        control.check()?;
        result = step(result, block);
    }
    Ok(result)
}

/// Sums comparisons in counters of 8 bits, side by side as the vector unit has them, and empties those into the total before they overflow.
fn count_block(block: &[u8], byte: u8) -> u64 {
    let mut total = 0;
    for rows in block.chunks(LANES * ROWS) {
        let mut lanes = [0u8; LANES];
        let (whole, rest) = rows.as_chunks::<LANES>();
        for row in whole {
            for (lane, &b) in lanes.iter_mut().zip(row) {
                *lane += u8::from(b == byte);
            }
        }
        total += lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>();
        total += rest.iter().map(|&b| u64::from(b == byte)).sum::<u64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_cancelled_digest_stops_at_the_next_block() {
        let (control, canceller) = Control::with_canceller();
        let blocks = Cell::new(0);
        let result = fold(&vec![0; CHECK_BYTES * 5], &control, (), |(), block| {
            assert!(block.len() <= CHECK_BYTES);
            blocks.set(blocks.get() + 1);
            if blocks.get() == 2 {
                canceller.cancel();
            }
        });
        assert_eq!(result, Err(TaskError::Cancelled));
        assert_eq!(blocks.get(), 2);
    }

    #[test]
    fn a_cancelled_map_stops_at_the_next_block() {
        let input = Bytes::from(vec![0; CHECK_BYTES * 5]);
        for held in [None, Some(input.clone())] {
            let (control, canceller) = Control::with_canceller();
            let seen = Cell::new(0);
            let input = held
                .clone()
                .unwrap_or_else(|| Bytes::from(vec![0; CHECK_BYTES * 5]));
            let result = map(input, &control, |byte| {
                seen.set(seen.get() + 1);
                if seen.get() == CHECK_BYTES + 1 {
                    canceller.cancel();
                }
                byte
            });
            assert_eq!(result, Err(TaskError::Cancelled));
            assert_eq!(seen.get(), CHECK_BYTES * 2);
        }
    }
}
