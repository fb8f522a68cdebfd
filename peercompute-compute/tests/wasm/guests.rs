//! The guests of `examples/guests`, in Rust and in C. `cargo xtask test` builds them first, and `cargo xtask guests` by itself; without them these tests fail.

use bytes::Bytes;
use peercompute_compute::{Limits, TaskError};

use crate::support::{executor, guests, run};

#[path = "../../../examples/guests/n-body/src/simulate.rs"]
mod simulate;

/// Gives the guest of this name each input, and its answers to `check`.
fn with_guest(name: &str, inputs: &[Vec<u8>], check: impl Fn(&[u8], Result<Bytes, TaskError>)) {
    let wanted = format!("the guest {name}");
    let mut guests = guests().into_iter();
    let guest = guests.find(|(known, _)| *known == wanted);
    let (_, module) = guest.expect("it is one of them");
    let executor = executor();
    for input in inputs {
        let limits = Limits::none().with_max_output(8 << 20);
        check(input, run(&executor, &module, input.clone(), limits));
    }
}

fn texts() -> Vec<Vec<u8>> {
    let long = "a word, and another\n".repeat(50_000);
    ["", "123456789", "one\n two\t\nthree", &long]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

#[test]
fn the_echo_gives_back_what_it_got() {
    with_guest("echo", &texts(), |input, answer| {
        assert_eq!(answer.as_deref(), Ok(input));
    });
}

#[test]
fn the_checksum_is_that_of_the_crate() {
    with_guest("crc32c", &texts(), |input, answer| {
        let expected = crc32c::crc32c(input).to_le_bytes();
        assert_eq!(answer.as_deref(), Ok(&expected[..]));
    });
}

#[test]
fn words_are_counted_in_c() {
    with_guest("word-count", &texts(), |input, answer| {
        let text = str::from_utf8(input).expect("they are texts");
        let lines = text.matches('\n').count();
        let counts = [lines, text.split_ascii_whitespace().count(), text.len()];
        let expected: Vec<u8> = counts
            .iter()
            .flat_map(|count| (*count as u64).to_le_bytes())
            .collect();
        assert_eq!(answer.as_deref(), Ok(&expected[..]));
    });
}

#[test]
fn what_is_no_text_is_refused_in_c() {
    with_guest("word-count", &[b"a\0b".to_vec()], |_, answer| {
        let message = "the input has a byte 0 in it, so it is no text".to_owned();
        assert_eq!(answer, Err(TaskError::GaveUp { message }));
    });
}

#[test]
fn results_are_added_number_by_number() {
    let part = |numbers: &[u64]| -> Vec<u8> {
        let length = (numbers.len() * 8) as u32;
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        length.to_le_bytes().into_iter().chain(numbers).collect()
    };
    let parts = [part(&[1, 2, 3]), part(&[]), part(&[10, 20])].concat();
    let inputs = [parts, Vec::new(), part(&[u64::MAX]).repeat(2), vec![9; 8]];
    with_guest("sum", &inputs, |input, answer| match input.len() {
        0 => assert_eq!(answer, Ok(Bytes::new())),
        52 => assert_eq!(answer.as_deref(), Ok(&part(&[11, 22, 3])[4..])),
        _ => assert!(
            matches!(answer, Err(TaskError::GaveUp { .. })),
            "{answer:?}"
        ),
    });
}

#[test]
fn bodies_move_as_they_do_natively() {
    let mut bodies: Vec<simulate::Body> = (0..5_u8)
        .map(|n| {
            let n = f64::from(n);
            [n, n * n, -n, 0.1 * n, 0.0, 0.3, 1.0 + n]
        })
        .collect();
    // Two in one place: their distance is 0, and what comes of it is no number.
    bodies.push(bodies[4]);
    let numbers = bodies.as_flattened().iter().flat_map(|x| x.to_le_bytes());
    let input: Vec<u8> = 1000_u32
        .to_le_bytes()
        .into_iter()
        .chain(0.001_f64.to_le_bytes())
        .chain(numbers)
        .collect();
    simulate::simulate(&mut bodies, 1000, 0.001);
    let expected: Vec<u8> = bodies
        .as_flattened()
        .iter()
        .flat_map(|x| {
            if x.is_nan() {
                f64::from_bits(0x7ff8 << 48)
            } else {
                *x
            }
            .to_le_bytes()
        })
        .collect();
    assert!(bodies.as_flattened().iter().any(|x| x.is_nan()));
    with_guest("n-body", &[input], |_, answer| {
        assert_eq!(answer.as_deref(), Ok(&expected[..]));
    });
}

#[test]
fn bodies_that_are_none_are_refused() {
    with_guest(
        "n-body",
        &[vec![], vec![0; 5], vec![0; 21], vec![0; 20]],
        |_, answer| {
            assert!(
                matches!(answer, Err(TaskError::GaveUp { .. })),
                "{answer:?}"
            );
        },
    );
}
