use proptest::{collection::vec, prelude::*};

use super::{kernels::CHECK_BYTES, *};
use crate::Limits;

fn run(operation: Operation, input: impl Into<TaskInput>) -> Result<Bytes, TaskError> {
    operation.run(input.into(), &Control::unlimited())
}

fn bytes(bytes: &[u8]) -> TaskInput {
    TaskInput::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn crc32c_gives_the_vectors_of_rfc_3720() {
    let crc = |input: &[u8]| {
        let value = run(Operation::Crc32c, bytes(input)).expect("crc32c takes any bytes");
        u32::from_le_bytes(value[..].try_into().expect("a CRC is 4 bytes"))
    };
    let ascending: Vec<u8> = (0..32).collect();
    let descending: Vec<u8> = (0..32).rev().collect();
    assert_eq!(crc(b"123456789"), 0xe306_9283);
    assert_eq!(crc(b""), 0);
    assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc(&ascending), 0x46dd_794e);
    assert_eq!(crc(&descending), 0x113f_db5c);
}

#[test]
fn fnv64_gives_the_vectors_of_the_draft() {
    let hash = |input: &[u8]| {
        let value = run(Operation::Fnv64, bytes(input)).expect("fnv64 takes any bytes");
        u64::from_le_bytes(value[..].try_into().expect("a hash is 8 bytes"))
    };
    assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(hash(b"b"), 0xaf63_df4c_8601_f1a5);
    assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    assert_eq!(hash(b"chongo was here!\n"), 0x4681_0940_eff5_f915);
}

#[test]
fn fnv64_goes_on_from_the_state_it_is_given() {
    let first = run(Operation::Fnv64, bytes(b"foo")).expect("fnv64 takes any bytes");
    let state = u64::from_le_bytes(first[..].try_into().expect("a hash is 8 bytes"));
    assert_eq!(
        run(Operation::Fnv64, bytes(b"bar").with_state(Some(state))),
        run(Operation::Fnv64, bytes(b"foobar"))
    );
}

#[test]
fn noop_gives_nothing() {
    assert_eq!(run(Operation::Noop, bytes(b"abc")), Ok(Bytes::new()));
}

#[test]
fn a_state_for_an_operation_without_one_is_invalid_input() {
    for operation in [
        Operation::Crc32c,
        Operation::CountEq(1),
        Operation::Xor(1),
        Operation::Noop,
    ] {
        let result = run(operation, bytes(b"abc").with_state(Some(0)));
        assert!(
            matches!(result, Err(TaskError::InvalidInput { .. })),
            "{operation}: {result:?}"
        );
    }
}

proptest! {
    #[test]
    fn counteq_xor_and_add_agree_with_their_definition(
        input in vec(prop_oneof![Just(7u8), any::<u8>()], 0..3000),
        from in 0..200usize,
        immediate in prop_oneof![Just(7u8), any::<u8>()],
    ) {
        let input = &input[from.min(input.len())..];
        let count = input.iter().filter(|&&b| b == immediate).count() as u64;
        prop_assert_eq!(&run(Operation::CountEq(immediate), bytes(input))?[..], count.to_le_bytes());
        let xored: Vec<_> = input.iter().map(|b| b ^ immediate).collect();
        prop_assert_eq!(run(Operation::Xor(immediate), bytes(input))?, xored);
        let added: Vec<_> = input.iter().map(|b| b.wrapping_add(immediate)).collect();
        prop_assert_eq!(run(Operation::Add(immediate), bytes(input))?, added);
    }

    #[test]
    fn any_name_and_immediate_parse_or_are_refused_with_the_name(
        name in "\\PC{0,100}",
        immediate in any::<Option<u32>>(),
    ) {
        if let Err(error) = Operation::parse(&name, immediate) {
            prop_assert!(error.to_string().len() < 1024);
        }
    }
}

#[test]
fn counteq_counts_more_equal_bytes_than_its_counters_hold() {
    for length in [
        255 * 64 - 1,
        255 * 64,
        255 * 64 + 1,
        CHECK_BYTES - 1,
        CHECK_BYTES * 2 + 13,
    ] {
        let value = run(Operation::CountEq(9), bytes(&vec![9; length]));
        assert_eq!(
            value,
            Ok(Bytes::copy_from_slice(&(length as u64).to_le_bytes()))
        );
    }
}

#[test]
fn results_do_not_depend_on_where_the_control_is_asked() {
    let input: Vec<u8> = (0..CHECK_BYTES * 2 + 77)
        .map(|i| ((i * 31) >> 3) as u8)
        .collect();
    assert_eq!(
        run(Operation::Crc32c, bytes(&input)),
        Ok(Bytes::copy_from_slice(
            &crc32c::crc32c(&input).to_le_bytes()
        ))
    );
    let xored: Vec<_> = input.iter().map(|b| b ^ 0x5a).collect();
    assert_eq!(
        run(Operation::Xor(0x5a), bytes(&input)),
        Ok(xored.clone().into())
    );
    let shared = Bytes::from(input);
    assert_eq!(run(Operation::Xor(0x5a), shared.clone()), Ok(xored.into()));
    drop(shared);
}

#[test]
fn xor_works_in_place_on_memory_that_nobody_else_holds() {
    let input = Bytes::from(vec![1u8; 100]);
    let address = input.as_ptr();
    let output = run(Operation::Xor(1), input).expect("xor takes any bytes");
    assert_eq!(output.as_ptr(), address);
}

#[test]
fn xor_leaves_memory_alone_that_somebody_else_holds() {
    let input = Bytes::from(vec![1u8; 100]);
    let held = input.clone();
    let output = run(Operation::Xor(1), input).expect("xor takes any bytes");
    assert_eq!(held, vec![1u8; 100]);
    assert_eq!(output, vec![0u8; 100]);
}

#[test]
fn every_operation_stops_when_it_is_cancelled() {
    let (control, canceller) = Control::with_canceller();
    canceller.cancel();
    for name in Operation::NAMES {
        let operation = Operation::parse(name, None)
            .or_else(|_| Operation::parse(name, Some(1)))
            .expect("a known name parses");
        assert_eq!(
            operation.run(bytes(b"abc"), &control),
            Err(TaskError::Cancelled),
            "{name}"
        );
        let shared = Bytes::from_static(b"abc");
        assert_eq!(
            operation.run(shared.into(), &control),
            Err(TaskError::Cancelled),
            "{name}"
        );
    }
}

#[test]
fn a_result_over_the_limit_is_refused_before_it_is_made() {
    let clock = peercompute_rt::Simulation::new(1).runtime();
    let control = Control::limited(Limits::none().with_max_output(4), &clock);
    assert_eq!(
        Operation::Xor(1).run(bytes(b"12345"), &control),
        Err(TaskError::OutputTooLarge { size: 5, limit: 4 })
    );
    assert!(Operation::Crc32c.run(bytes(b"12345"), &control).is_ok());
}

#[test]
fn every_operation_survives_the_wire_and_text() {
    for operation in [
        Operation::Crc32c,
        Operation::Fnv64,
        Operation::CountEq(0),
        Operation::CountEq(255),
        Operation::Xor(1),
        Operation::Add(7),
        Operation::Noop,
    ] {
        assert_eq!(
            Operation::try_from(&v1::Program::from(operation)),
            Ok(operation)
        );
        assert_eq!(operation.to_string().parse(), Ok(operation));
    }
}

#[test]
fn what_is_wrong_with_an_operation_is_said_with_its_name_and_the_remedy() {
    let message = |result: Result<Operation, OperationError>| {
        result.expect_err("this is no operation").to_string()
    };
    assert_eq!(
        message(Operation::parse("sha1", None)),
        "there is no operation \"sha1\"; known are crc32c, fnv64, counteq, xor, add, noop, and matmul for matrices"
    );
    assert_eq!(
        message(Operation::parse("counteq", None)),
        "the operation counteq needs an immediate; give a number from 0 to 255"
    );
    assert_eq!(
        message(Operation::parse("add", Some(256))),
        "the immediate 256 of the operation add is out of range; give a number from 0 to 255"
    );
    assert_eq!(
        message(Operation::parse("crc32c", Some(1))),
        "the operation crc32c takes no immediate, but 1 was given; leave it out"
    );
    assert_eq!(
        message("xor:ten".parse()),
        "the operation \"xor:ten\" has something else than a number after its colon; give a number from 0 to 255"
    );
    assert_eq!(
        message("sha1:ten".parse()),
        message(Operation::parse("sha1", None))
    );
}

#[test]
fn an_immediate_on_the_wire_is_checked_like_one_in_text() {
    let on_wire = |operation: &str, immediate| {
        Operation::try_from(&v1::BuiltinProgram {
            operation: operation.to_owned(),
            immediate,
        })
    };
    assert_eq!(on_wire("counteq", 0), Ok(Operation::CountEq(0)));
    assert_eq!(on_wire("crc32c", 0), Ok(Operation::Crc32c));
    assert!(matches!(
        on_wire("crc32c", 3),
        Err(OperationError::UnexpectedImmediate { .. })
    ));
    assert!(matches!(
        on_wire("xor", 256),
        Err(OperationError::ImmediateOutOfRange { .. })
    ));
    assert!(matches!(
        on_wire("", 0),
        Err(OperationError::Unknown { .. })
    ));
}
