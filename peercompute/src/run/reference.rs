//! The check: a plain pass over the whole file on this machine, which shares neither chunks nor code with the tasks.

use std::{fs::File, io::Read as _, path::Path};

use peercompute_compute::{Digest, Operation};

use super::report::{FileResult, Report};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// What a file's result, or its output, amounts to: a number that two passes can be compared by, and how long the file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) bytes: u64,
    pub(super) number: u64,
}

/// Checks every result, one file after the other.
pub(super) async fn verify(report: &mut Report) {
    for file in report
        .files
        .iter_mut()
        .filter(|file| file.failure.is_none())
    {
        verify_file(file).await;
    }
}

async fn verify_file(file: &mut FileResult) {
    let (path, operation) = (file.path.clone(), file.operation);
    let pass = tokio::task::spawn_blocking(move || whole_file(&path, operation)).await;
    match pass.map_err(std::io::Error::other).flatten() {
        Ok(expected) => file.verified = Some(file.summary == expected),
        Err(error) => file.failure = Some(format!("cannot be read again to verify: {error}")),
    }
}

/// One pass over the file.
fn whole_file(path: &Path, operation: Operation) -> std::io::Result<Summary> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK];
    let mut summary = Summary {
        bytes: 0,
        number: start(operation),
    };
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(summary);
        }
        summary.bytes += count as u64;
        summary.number = add(summary.number, operation, &mut block[..count]);
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

/// The number of an empty file.
fn start(operation: Operation) -> u64 {
    match operation {
        Operation::Fnv64 => 0xcbf2_9ce4_8422_2325,
        _ => 0,
    }
}

fn add(number: u64, operation: Operation, block: &mut [u8]) -> u64 {
    match operation {
        Operation::Crc32c => add_crc(number, block),
        Operation::Fnv64 => block.iter().fold(number, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }),
        Operation::CountEq(wanted) => {
            number + block.iter().filter(|byte| **byte == wanted).count() as u64
        }
        Operation::Xor(with) => {
            block.iter_mut().for_each(|byte| *byte ^= with);
            add_crc(number, block)
        }
        Operation::Add(with) => {
            block
                .iter_mut()
                .for_each(|byte| *byte = byte.wrapping_add(with));
            add_crc(number, block)
        }
        _ => number,
    }
}

/// Output is compared by its CRC, kept as it is written.
pub(super) fn add_crc(number: u64, block: &[u8]) -> u64 {
    let crc = u32::try_from(number).expect("a CRC has 32 bits");
    crc32c::crc32c_append(crc, block).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_of(operation: Operation, content: &[u8]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, content).unwrap();
        let summary = whole_file(&path, operation).unwrap();
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
}
