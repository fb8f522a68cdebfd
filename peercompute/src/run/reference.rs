//! The pass: a plain run over the whole file on this machine, which shares neither chunks nor code with the tasks.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use bytes::Bytes;
use peercompute_compute::{Combiner, Digest, Operation};

use super::input::Stamp;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// What a file's result, or its output, amounts to: a number that two passes can be compared by, and how long the file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) bytes: u64,
    pub(super) number: u64,
}

/// What a pass over a file has found, and what it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) summary: Summary,
    pub(super) stamp: Stamp,
}

/// One pass over the file. `take` gets block after block as the operation leaves it: its output, or where it has none the file itself.
pub(super) fn pass<E: From<io::Error>>(
    path: &Path,
    operation: Operation,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Pass, E> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK];
    let mut summary = Summary {
        bytes: 0,
        number: start(operation),
    };
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            let stamp = Stamp::of(&file.metadata()?);
            return Ok(Pass { summary, stamp });
        }
        let block = &mut block[..count];
        change(operation, block);
        summary.bytes += count as u64;
        summary.number = add(summary.number, operation, block);
        take(block)?;
    }
}

/// A digest as a number to compare.
pub(super) fn number(digest: Digest) -> u64 {
    match digest {
        Digest::Crc32c(crc) => crc.into(),
        Digest::Fnv64(number) | Digest::Count(number) => number,
        _ => unreachable!("this program names every operation that it runs"),
    }
}

/// The digest that a number stands for; none for operations whose result is not a number.
pub(super) fn digest(operation: Operation, number: u64) -> Option<Digest> {
    match operation {
        Operation::Crc32c => Some(Digest::Crc32c(crc(number))),
        Operation::Fnv64 => Some(Digest::Fnv64(number)),
        Operation::CountEq(_) => Some(Digest::Count(number)),
        _ => None,
    }
}

/// The result of one task as a number to compare; none for a value that no run of the operation over `length` bytes gives.
pub(super) fn number_of_value(operation: Operation, length: u64, value: &Bytes) -> Option<u64> {
    operation.check_result(length, value).ok()?;
    Some(match operation {
        Operation::Xor(_) | Operation::Add(_) => add_crc(0, value),
        _ => value
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    })
}

/// The number of an empty file.
pub(super) fn start(operation: Operation) -> u64 {
    match operation {
        Operation::Fnv64 => 0xcbf2_9ce4_8422_2325,
        _ => 0,
    }
}

/// Makes the operation's output of a block of its input.
fn change(operation: Operation, block: &mut [u8]) {
    match operation {
        Operation::Xor(with) => block.iter_mut().for_each(|byte| *byte ^= with),
        Operation::Add(with) => block
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(with)),
        _ => {}
    }
}

/// The number with what the operation left of one more block.
pub(super) fn add(number: u64, operation: Operation, block: &[u8]) -> u64 {
    match operation {
        Operation::Crc32c | Operation::Xor(_) | Operation::Add(_) => add_crc(number, block),
        Operation::Fnv64 => block.iter().fold(number, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }),
        Operation::CountEq(wanted) => {
            number + block.iter().filter(|byte| **byte == wanted).count() as u64
        }
        _ => number,
    }
}

/// Output is compared by its CRC, kept as it is written: that of a task's output behind those before.
pub(super) fn append_crc(whole: &mut Combiner, length: u64, number: u64) {
    let crc = Bytes::copy_from_slice(&crc(number).to_le_bytes());
    let pushed = whole.push(length, crc);
    pushed.expect("a CRC has 4 bytes");
}

fn add_crc(number: u64, block: &[u8]) -> u64 {
    crc32c::crc32c_append(crc(number), block).into()
}

fn crc(number: u64) -> u32 {
    u32::try_from(number).expect("a CRC has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_of(operation: Operation, content: &[u8]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, content).unwrap();
        let Pass { summary, .. } = pass(&path, operation, |_| io::Result::Ok(())).unwrap();
        assert_eq!(summary.bytes, content.len() as u64);
        summary.number
    }

    #[test]
    fn the_pass_gives_the_published_check_values() {
        assert_eq!(number_of(Operation::Crc32c, b"123456789"), 0xe306_9283);
        assert_eq!(
            number_of(Operation::Fnv64, b"foobar"),
            0x8594_4171_f739_67e8
        );
        assert_eq!(number_of(Operation::CountEq(b'o'), b"foobar"), 2);
        assert_eq!(number_of(Operation::Fnv64, b""), 0xcbf2_9ce4_8422_2325);
    }

    #[test]
    fn output_is_summed_up_as_it_would_be_written() {
        let plain = number_of(Operation::Crc32c, &[1 ^ 255, 2 ^ 255]);
        assert_eq!(number_of(Operation::Xor(255), &[1, 2]), plain);
        let plain = number_of(Operation::Crc32c, &[0, 1]);
        assert_eq!(number_of(Operation::Add(1), &[255, 0]), plain);
    }

    #[test]
    fn a_number_prints_as_the_digest_that_it_stands_for() {
        for digest in [Digest::Crc32c(7), Digest::Fnv64(u64::MAX), Digest::Count(7)] {
            let operation = match digest {
                Digest::Crc32c(_) => Operation::Crc32c,
                Digest::Fnv64(_) => Operation::Fnv64,
                _ => Operation::CountEq(1),
            };
            assert_eq!(super::digest(operation, number(digest)), Some(digest));
        }
        assert_eq!(digest(Operation::Xor(1), 7), None);
    }

    #[test]
    fn a_value_that_no_run_gives_has_no_number() {
        let value = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let count = Operation::CountEq(1);
        let two = value(&2_u64.to_le_bytes());
        assert_eq!(number_of_value(count, 2, &two), Some(2));
        assert_eq!(number_of_value(count, 1, &two), None);
        assert_eq!(number_of_value(Operation::Xor(1), 2, &value(b"a")), None);
        assert_eq!(
            number_of_value(Operation::Xor(1), 9, &value(b"123456789")),
            Some(0xe306_9283)
        );
    }
}
