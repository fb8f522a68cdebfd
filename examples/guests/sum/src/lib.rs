//! Combines results that are rows of numbers of 8 bytes, as those of `word-count` are: the first numbers of all are added, and the second, and so on. For `peercompute run --reduce`.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;

use peercompute_guest::{Output, Refusal, parts, runtime, task};

runtime!();
task!(sum);

fn sum(input: &'static mut [u8], output: &mut Output) -> Result<(), Refusal> {
    let mut sums = Vec::new();
    for part in parts(input) {
        let (numbers, []) = part?.as_chunks::<8>() else {
            return Err("a result is not a row of numbers of 8 bytes".into());
        };
        if sums.len() < numbers.len() {
            sums.resize(numbers.len(), 0_u64);
        }
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum
                .checked_add(u64::from_le_bytes(*number))
                .ok_or("a sum is too large for 8 bytes")?;
        }
    }
    for sum in sums {
        output.u64(sum);
    }
    Ok(())
}
