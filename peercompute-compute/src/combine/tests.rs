use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Control, Program as _, TaskInput};

fn run(operation: Operation, bytes: &[u8], state: Option<u64>) -> Bytes {
    let input = TaskInput::new(Bytes::copy_from_slice(bytes)).with_state(state);
    operation
        .run(input, &Control::unlimited())
        .expect("the input suits the operation")
}

/// `whole`, cut at these places (taken modulo what is possible), some of them equal.
fn split<'a>(whole: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (whole.len() + 1)).collect();
    cuts.sort_unstable();
    let mut rest = whole;
    let mut pieces = Vec::new();
    for cut in cuts {
        let done = whole.len() - rest.len();
        let (piece, next) = rest.split_at(cut - done);
        pieces.push(piece);
        rest = next;
    }
    pieces.push(rest);
    pieces
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Crc32c),
        Just(Operation::Fnv64),
        any::<u8>().prop_map(Operation::CountEq),
        any::<u8>().prop_map(Operation::Xor),
        any::<u8>().prop_map(Operation::Add),
        Just(Operation::Noop),
    ]
}

proptest! {
    #[test]
    fn any_split_gives_what_the_whole_gives(
        operation in operation(),
        whole in vec(prop_oneof![Just(0u8), any::<u8>()], 0..2000),
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let mut combiner = Combiner::new(operation);
        let mut output = Vec::new();
        for piece in split(&whole, &cuts) {
            let value = run(operation, piece, combiner.next_state());
            output.extend(combiner.push(piece.len() as u64, value).expect("the result is right"));
        }
        let expected = run(operation, &whole, None);
        match combiner.digest() {
            Some(Digest::Crc32c(crc)) => prop_assert_eq!(&crc.to_le_bytes()[..], expected),
            Some(Digest::Fnv64(number) | Digest::Count(number)) => {
                prop_assert_eq!(&number.to_le_bytes()[..], expected);
            }
            None => prop_assert_eq!(output, expected),
        }
        prop_assert_eq!(combiner.bytes(), whole.len() as u64);
        prop_assert_eq!(combiner.chunks(), cuts.len() as u64 + 1);
    }

    #[test]
    fn the_shift_of_a_crc_agrees_with_the_crate_for_any_length(
        first in any::<u32>(),
        second in any::<u32>(),
        lengths in vec(0..=u64::from(u32::MAX), 1..4),
    ) {
        let mut shift = crc::Shift::none();
        for length in lengths {
            prop_assert_eq!(
                shift.over(first, length) ^ second,
                // With a length of 0 the crate forgets the second CRC, which is 0 for any real piece.
                if length == 0 { first ^ second } else { crc32c::crc32c_combine(first, second, length as usize) }
            );
        }
    }

    #[test]
    fn a_result_of_another_length_is_refused_and_changes_nothing(
        operation in operation(),
        length in 0..100u64,
        value in vec(any::<u8>(), 0..100),
    ) {
        prop_assume!(value.len() as u64 != operation.result_len(length));
        let mut combiner = Combiner::new(operation);
        let before = combiner.digest();
        let refused = combiner.push(length, value.into());
        prop_assert!(matches!(refused, Err(WrongResult::Length { .. })), "{:?}", refused);
        prop_assert_eq!(combiner.digest(), before);
        prop_assert_eq!(combiner.chunks(), 0);
    }
}

#[test]
fn a_count_beyond_the_length_is_refused() {
    let mut combiner = Combiner::new(Operation::CountEq(1));
    let count = |count: u64| Bytes::copy_from_slice(&count.to_le_bytes());
    assert_eq!(
        combiner.push(10, count(11)),
        Err(WrongResult::Count {
            count: 11,
            length: 10
        })
    );
    assert_eq!(combiner.push(10, count(10)), Ok(Bytes::new()));
    assert_eq!(combiner.digest(), Some(Digest::Count(10)));
}

#[test]
fn a_whole_without_chunks_has_the_digest_of_no_bytes() {
    let print = |operation| {
        Combiner::new(operation)
            .digest()
            .map(|digest| digest.to_string())
    };
    assert_eq!(print(Operation::Crc32c).as_deref(), Some("00000000"));
    assert_eq!(print(Operation::Fnv64).as_deref(), Some("cbf29ce484222325"));
    assert_eq!(print(Operation::CountEq(0)).as_deref(), Some("0"));
    assert_eq!(print(Operation::Xor(0)), None);
}

#[test]
fn hashes_print_in_lower_case_with_leading_zeros_and_counts_as_decimals() {
    assert_eq!(Digest::Crc32c(0xe306_9283).to_string(), "e3069283");
    assert_eq!(Digest::Crc32c(0xab).to_string(), "000000ab");
    assert_eq!(Digest::Fnv64(0xab).to_string(), "00000000000000ab");
    assert_eq!(Digest::Count(171).to_string(), "171");
}
