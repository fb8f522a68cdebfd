use crate::Refusal;

/// Bytes in front of each part: its length.
const PREFIX: usize = size_of::<u32>();

/// The parts of the input of a task that combines results (`peercompute run --reduce`): what is in it, in order, are results of other tasks, or of this one, each with its length in front as a
/// `u32`, little endian.
///
/// A part that is not whole is a refusal, after which there are no more.
///
/// ```
/// use peercompute_guest::{Output, Refusal, parts, task};
///
/// task!(sum);
///
/// /// The sum of numbers of 8 bytes.
/// fn sum(input: &'static mut [u8], output: &mut Output) -> Result<(), Refusal> {
///     let mut sum = 0;
///     for part in parts(input) {
///         let number = part?.try_into().map_err(|_| "a part is no number of 8 bytes")?;
///         sum += u64::from_le_bytes(number);
///     }
///     output.u64(sum);
///     Ok(())
/// }
/// ```
pub const fn parts(input: &[u8]) -> Parts<'_> {
    Parts { rest: input }
}

/// Iterates over [`parts`].
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a [u8], Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let whole = rest
            .split_first_chunk::<PREFIX>()
            .and_then(|(length, behind)| {
                behind.split_at_checked(u32::from_le_bytes(*length) as usize)
            });
        let Some((part, behind)) = whole else {
            return Some(Err(
                "the input is not a row of results, each with its length in 4 bytes in front of it"
                    .into(),
            ));
        };
        self.rest = behind;
        Some(Ok(part))
    }
}

impl core::iter::FusedIterator for Parts<'_> {}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn parts_come_in_order_and_may_be_empty() {
        let whole: Result<Vec<_>, _> = parts(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c").collect();
        assert_eq!(whole.unwrap(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(parts(b"").count(), 0);
    }

    #[test]
    fn what_is_not_whole_is_refused_once() {
        for torn in [&b"\x01\0\0"[..], b"\x01\0\0\0", b"\xff\xff\xff\xffabc"] {
            let mut parts = parts(torn);
            assert!(parts.next().unwrap().is_err());
            assert!(parts.next().is_none());
        }
    }
}
