use std::fmt;

use bytes::Bytes;

use crate::{FNV64_START, Operation};

/// Joins the results of consecutive chunks into the result of the whole.
///
/// The chunks are pushed in order; how long each is does not matter. `crc32c` and `counteq` run on chunks independently of each other; each chunk of `fnv64` starts from
/// [`Combiner::next_state`], so it needs the result of the one before; `xor` and `add` give pieces to be put one behind the other.
///
/// ```
/// use bytes::Bytes;
/// use peercompute_compute::{Combiner, Operation};
///
/// let mut combiner = Combiner::new(Operation::CountEq(0));
/// combiner.push(10, Bytes::copy_from_slice(&3u64.to_le_bytes()))?;
/// combiner.push(10, Bytes::copy_from_slice(&4u64.to_le_bytes()))?;
/// assert_eq!(combiner.digest().unwrap().to_string(), "7");
/// # Ok::<(), peercompute_compute::WrongResult>(())
/// ```
#[derive(Clone, Debug)]
pub struct Combiner {
    operation: Operation,
    /// The digest so far; for operations without one it stays 0.
    digest: u64,
    bytes: u64,
    chunks: u64,
    shift: crc::Shift,
}

impl Combiner {
    /// A whole without any chunks so far.
    pub const fn new(operation: Operation) -> Self {
        let digest = match operation {
            Operation::Fnv64 => FNV64_START,
            _ => 0,
        };
        Self {
            operation,
            digest,
            bytes: 0,
            chunks: 0,
            shift: crc::Shift::none(),
        }
    }

    /// Takes the result `value` of the next chunk, which was `length` bytes long, and gives back what is to be appended to the output of the whole: all of it for `xor` and
    /// `add`, nothing for the others.
    ///
    /// # Errors
    ///
    /// [`WrongResult`] when no run of the operation gives such a value. The chunk then counts as not pushed.
    pub fn push(&mut self, length: u64, value: Bytes) -> Result<Bytes, WrongResult> {
        self.operation.check_result(length, &value)?;
        self.chunks += 1;
        self.bytes = self.bytes.saturating_add(length);
        match self.operation {
            Operation::Crc32c => {
                let chunk = number(&value) as u32;
                self.digest = (self.shift.over(self.digest as u32, length) ^ chunk).into();
            }
            Operation::CountEq(_) => self.digest = self.digest.saturating_add(number(&value)),
            Operation::Fnv64 => self.digest = number(&value),
            Operation::Xor(_) | Operation::Add(_) => return Ok(value),
            Operation::Noop => {}
        }
        Ok(Bytes::new())
    }

    /// The state that the next chunk starts from, for operations that hand it on.
    pub const fn next_state(&self) -> Option<u64> {
        if self.operation.is_chained() {
            Some(self.digest)
        } else {
            None
        }
    }

    /// The digest of all chunks so far; none for operations whose result is not a number.
    pub const fn digest(&self) -> Option<Digest> {
        match self.operation {
            Operation::Crc32c => Some(Digest::Crc32c(self.digest as u32)),
            Operation::Fnv64 => Some(Digest::Fnv64(self.digest)),
            Operation::CountEq(_) => Some(Digest::Count(self.digest)),
            Operation::Xor(_) | Operation::Add(_) | Operation::Noop => None,
        }
    }

    /// The length of all chunks so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many chunks there were so far.
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }
}

impl Operation {
    /// Whether some input of `length` bytes can have this result: what a submitter can tell without running it itself.
    ///
    /// # Errors
    ///
    /// [`WrongResult`] names the difference.
    pub fn check_result(self, length: u64, value: &[u8]) -> Result<(), WrongResult> {
        let expected = self.result_len(length);
        if value.len() as u64 != expected {
            let actual = value.len() as u64;
            return Err(WrongResult::Length {
                operation: self,
                expected,
                actual,
            });
        }
        match self {
            Self::CountEq(_) if number(value) > length => Err(WrongResult::Count {
                count: number(value),
                length,
            }),
            _ => Ok(()),
        }
    }
}

/// The little-endian number in at most 8 bytes.
fn number(value: &[u8]) -> u64 {
    value
        .iter()
        .rev()
        .fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

/// The result of a whole, where it is a number. It prints as people compare it: hashes as lower-case hexadecimal digits with leading zeros, counts as decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Digest {
    /// Of `crc32c`.
    Crc32c(u32),
    /// Of `fnv64`.
    Fnv64(u64),
    /// Of `counteq`.
    Count(u64),
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc32c(crc) => write!(f, "{crc:08x}"),
            Self::Fnv64(hash) => write!(f, "{hash:016x}"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// A result that no run of the operation gives: whoever sent it is broken or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongResult {
    /// It is too short or too long.
    #[error(
        "a result of {operation} has {actual} bytes where it must have {expected}; run the task again on another worker"
    )]
    Length {
        /// The operation.
        operation: Operation,
        /// The length that it gives, in bytes.
        expected: u64,
        /// The length of what came, in bytes.
        actual: u64,
    },
    /// It counts more bytes than there were.
    #[error(
        "a result of counteq says {count} of {length} bytes; run the task again on another worker"
    )]
    Count {
        /// What it counts.
        count: u64,
        /// How many bytes there were.
        length: u64,
    },
}

/// CRCs as polynomials over GF(2): the CRC of two pieces is the first one's times x^(8 × length of the second), plus the second one's (zlib's `crc32_combine_op`).
mod crc {
    /// Castagnoli's polynomial without its leading term; the highest power is in the lowest bit.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    const ONE: u32 = 1 << 31;
    const X_TO_8: u32 = 1 << 23;

    /// The power of x that moves a CRC past a piece, kept because nearly all pieces are equally long.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Shift {
        length: u64,
        power: u32,
    }

    impl Shift {
        pub(super) const fn none() -> Self {
            Self {
                length: 0,
                power: ONE,
            }
        }

        /// `crc`, moved past `length` more bytes.
        pub(super) fn over(&mut self, crc: u32, length: u64) -> u32 {
            if self.length != length {
                *self = Self {
                    length,
                    power: power(length),
                };
            }
            multiply(self.power, crc)
        }
    }

    /// x^(8 × length), by repeated squaring.
    fn power(mut length: u64) -> u32 {
        let (mut power, mut square) = (ONE, X_TO_8);
        while length > 0 {
            if length & 1 == 1 {
                power = multiply(power, square);
            }
            square = multiply(square, square);
            length >>= 1;
        }
        power
    }

    fn multiply(a: u32, mut b: u32) -> u32 {
        let mut product = 0;
        for bit in (0..u32::BITS).rev() {
            product ^= b & 0u32.wrapping_sub((a >> bit) & 1);
            b = (b >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(b & 1));
        }
        product
    }
}

#[cfg(test)]
mod tests;
