use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{BuiltinExecutor, Executor as _, Unsupported};

fn run(input: impl Into<Bytes>) -> Result<Bytes, TaskError> {
    Matmul.run(TaskInput::new(input), &Control::unlimited())
}

/// The definition: one sum after the other.
fn naive(shape: MatmulShape, a: &[f32], b: &[f32]) -> Vec<u32> {
    let mut product = Vec::new();
    for row in 0..shape.rows {
        for column in 0..shape.columns {
            let mut sum = 0.0_f32;
            for at in 0..shape.inner {
                let term = a[row * shape.inner + at] * b[at * shape.columns + column];
                sum += term;
            }
            product.push(if sum.is_nan() {
                0x7fc0_0000
            } else {
                sum.to_bits()
            });
        }
    }
    product
}

fn bits(result: &[u8]) -> Vec<u32> {
    let (numbers, rest) = result.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers
        .iter()
        .map(|number| u32::from_le_bytes(*number))
        .collect()
}

fn header(dimensions: [u32; 3]) -> Vec<u8> {
    dimensions
        .iter()
        .flat_map(|dimension| dimension.to_le_bytes())
        .collect()
}

/// Numbers whose sums depend on their order, and now and then something special.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -1000.0..1000.0_f32,
        4 => any::<u32>().prop_map(f32::from_bits),
        1 => Just(-0.0),
    ]
}

fn product(
    dimension: impl Strategy<Value = usize> + Clone,
) -> impl Strategy<Value = (MatmulShape, Vec<f32>, Vec<f32>)> {
    (dimension.clone(), dimension.clone(), dimension).prop_flat_map(|(rows, inner, columns)| {
        (
            Just(MatmulShape::new(rows, inner, columns)),
            vec(number(), rows * inner),
            vec(number(), inner * columns),
        )
    })
}

/// Cheap numbers for large matrices.
fn filled(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 20_001) as f32 / 100.0 - 100.0
    };
    std::iter::repeat_with(next).take(length).collect()
}

proptest! {
    #[test]
    fn a_product_has_the_bits_of_its_definition((shape, a, b) in product(0..40_usize)) {
        let result = run(shape.encode(&a, &b)?)?;
        prop_assert_eq!(bits(&result), naive(shape, &a, &b));
    }

    #[test]
    fn tiles_in_any_order_give_the_bits_of_the_whole(
        (shape, a, b) in product(0..14_usize),
        room in 0..600_usize,
        order in any::<u64>(),
    ) {
        let mut tiles = match MatmulTiles::within(shape, room) {
            Ok(tiles) => tiles,
            Err(error) => {
                let least = (HEADER + 8 * shape.inner).max(4);
                prop_assert_eq!(error, MatmulError::InnerTooLong { inner: shape.inner, limit: room });
                prop_assert!(room < least, "{} would do of {}", least, room);
                return Ok(());
            }
        };
        let mut indices: Vec<usize> = (0..tiles.len()).collect();
        indices.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(order | 1));
        for index in indices {
            let input = tiles.input(index, &a, &b)?;
            prop_assert!(input.len() <= room);
            let result = run(input)?;
            prop_assert!(result.len() <= room);
            tiles.put(index, &result)?;
            prop_assert_eq!(tiles.put(index, &result), Err(MatmulError::TileTwice { index }));
        }
        let product: Vec<u32> = tiles.finish()?.into_iter().map(f32::to_bits).collect();
        prop_assert_eq!(product, naive(shape, &a, &b));
    }

    #[test]
    fn tiles_of_any_shape_stay_within_the_bound_and_cover_every_row_and_column(
        shape in (0..1_200_usize, 0..1_200_000_usize, 0..3_000_usize)
            .prop_map(|(rows, inner, columns)| MatmulShape::new(rows, inner, columns)),
        room in 1..MAX_TASK_VALUE * 2,
    ) {
        let Ok(tiles) = MatmulTiles::within(shape, room) else {
            return Ok(());
        };
        let mut covered = 0;
        for index in 0..tiles.len() {
            let MatmulTile { rows, columns } = tiles.tile(index)?;
            prop_assert!(!rows.is_empty() && !columns.is_empty());
            let input = HEADER + 4 * shape.inner * (rows.len() + columns.len());
            prop_assert!(input <= room.min(MAX_TASK_VALUE) && 4 * rows.len() * columns.len() <= room);
            covered += rows.len() * columns.len();
        }
        prop_assert_eq!(covered, shape.rows * shape.columns);
        prop_assert_eq!(tiles.missing(), tiles.len());
    }

    #[test]
    fn no_input_makes_it_panic_or_answer_wrongly(
        dimensions in any::<[u32; 3]>(),
        small in any::<bool>(),
        rest in vec(any::<u8>(), 0..200),
    ) {
        let dimensions = if small { dimensions.map(|it| it % 4) } else { dimensions };
        let [rows, inner, columns] = dimensions.map(u128::from);
        let suits = 4 * (rows * inner + inner * columns) == rest.len() as u128;
        let ran = run([header(dimensions), rest].concat());
        match ran {
            Ok(result) => prop_assert!(suits && result.len() as u128 == 4 * rows * columns),
            Err(TaskError::OutputTooLarge { .. }) => prop_assert!(suits),
            Err(TaskError::InvalidInput { .. }) => prop_assert!(!suits),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn products_larger_than_a_block_have_the_bits_of_their_definition() {
    for shape in [(33, 300, 515), (70, 513, 3), (1, 1000, 1), (65, 1, 1025)] {
        let shape = MatmulShape::new(shape.0, shape.1, shape.2);
        let (a, b) = (
            filled(shape.rows * shape.inner, 1),
            filled(shape.inner * shape.columns, 2),
        );
        let result = run(shape.encode(&a, &b).unwrap()).unwrap();
        assert_eq!(bits(&result), naive(shape, &a, &b), "{shape:?}");
    }
}

#[test]
fn how_wide_the_vectors_are_changes_no_bit() {
    let shape = MatmulShape::new(37, 270, 45);
    let (a, b) = (filled(37 * 270, 3), filled(270 * 45, 4));
    let input = shape.encode(&a, &b).unwrap();
    let (_, matrices) = MatmulShape::decode(&input).unwrap();
    let (left, right) = matrices.split_at(37 * 270);
    let control = Control::unlimited();
    let product = |multiply: fn(kernel::Multiplication<'_>) -> Result<(), TaskError>| {
        let mut product = vec![0.0; 37 * 45];
        let multiplication = kernel::Multiplication {
            shape,
            a: left,
            b: right,
            c: &mut product,
            control: &control,
        };
        multiply(multiplication).unwrap();
        product.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let narrow = product(kernel::in_blocks::<4, 8>);
    let odd = product(kernel::in_blocks::<3, 5>);
    assert_eq!(narrow, naive(shape, &a, &b));
    assert_eq!(narrow, odd);
    assert_eq!(narrow, bits(&run(input).unwrap()));
}

#[test]
fn products_are_rounded_before_they_are_added() {
    // 1 + 2^-12, squared, minus its rounding: what is left with a fused addition.
    let x = 1.0 + f32::EPSILON * 2048.0;
    let input = MatmulShape::new(1, 2, 1)
        .encode(&[-1.0, x], &[x * x, x])
        .unwrap();
    assert_eq!(bits(&run(input).unwrap()), [0]);
}

#[test]
fn every_nan_is_the_canonical_one() {
    let odd = f32::from_bits(0xffc1_2345);
    let input = MatmulShape::new(2, 1, 1)
        .encode(&[odd, f32::INFINITY], &[0.0])
        .unwrap();
    assert_eq!(bits(&run(input).unwrap()), [0x7fc0_0000; 2]);
}

#[test]
fn empty_dimensions_give_empty_products_or_zeros() {
    for (dimensions, bytes) in [
        ([0, 0, 0], 0),
        ([2, 0, 3], 24),
        ([u32::MAX, 0, 0], 0),
        ([0, u32::MAX, 0], 0),
    ] {
        assert_eq!(run(header(dimensions)), Ok(vec![0; bytes].into()));
    }
}

#[test]
fn a_result_beyond_the_limit_is_refused_before_it_is_made() {
    let error = run(header([u32::MAX, 0, u32::MAX])).unwrap_err();
    assert!(matches!(error, TaskError::OutputTooLarge { .. }), "{error}");
    let limits = crate::Limits {
        max_output: Some(3),
        ..Default::default()
    };
    let runtime = peercompute_rt::Simulation::new(1).runtime();
    let control = Control::limited(limits, &runtime);
    let input = MatmulShape::new(1, 1, 1).encode(&[1.0], &[1.0]).unwrap();
    assert_eq!(
        Matmul.run(TaskInput::new(input), &control),
        Err(TaskError::OutputTooLarge { size: 4, limit: 3 })
    );
}

#[test]
fn a_cancelled_product_stops() {
    let (control, canceller) = Control::with_canceller();
    canceller.cancel();
    let input = MatmulShape::new(1, 1, 1).encode(&[1.0], &[1.0]).unwrap();
    assert_eq!(
        Matmul.run(TaskInput::new(input), &control),
        Err(TaskError::Cancelled)
    );
}

#[test]
fn an_input_of_another_length_is_refused_with_what_it_should_be() {
    let refused = |input: Vec<u8>| run(input).unwrap_err().to_string();
    assert!(refused(vec![0; 11]).contains("11 bytes are too short"));
    let short = refused([header([2, 3, 4]), vec![0; 71]].concat());
    assert!(
        short.contains("2 x 3 times 3 x 4 has 72 bytes of numbers, and there are 71"),
        "{short}"
    );
    let huge = refused(header([u32::MAX; 3]));
    assert!(huge.contains("147573952520956936200"), "{huge}");
    let state = TaskInput::new(header([0; 3])).with_state(Some(1));
    assert!(Matmul.run(state, &Control::unlimited()).is_err());
}

#[test]
fn matrices_of_another_shape_are_refused_by_name() {
    let shape = MatmulShape::new(1, 2, 3);
    let error = shape.encode(&[0.0; 3], &[0.0; 6]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "A has 3 numbers where the shape of the product asks for 2"
    );
    let mut tiles = MatmulTiles::new(shape).unwrap();
    assert!(matches!(
        tiles.input(0, &[0.0; 2], &[0.0; 5]),
        Err(MatmulError::WrongLength { .. })
    ));
    assert!(matches!(
        tiles.put(0, &[0; 13]),
        Err(MatmulError::WrongLength { .. })
    ));
    assert_eq!(
        tiles.put(1, &[0; 12]),
        Err(MatmulError::NoSuchTile { index: 1, tiles: 1 })
    );
    assert_eq!(tiles.finish(), Err(MatmulError::Incomplete { missing: 1 }));
}

#[test]
fn products_beyond_memory_are_refused_and_not_tried() {
    for shape in [
        (usize::MAX, 1, 2),
        (usize::MAX / 8, 1, 4),
        (1 << 40, 1, 1 << 10),
    ] {
        let shape = MatmulShape::new(shape.0, shape.1, shape.2);
        assert_eq!(
            MatmulTiles::new(shape).unwrap_err(),
            MatmulError::TooLarge { shape }
        );
    }
}

#[test]
fn it_is_a_built_in_program_and_takes_no_immediate() {
    let mut spec = v1::TaskSpec::from(Matmul);
    let program = BuiltinExecutor.prepare(&spec).expect("it is known");
    let input = MatmulShape::new(1, 1, 1).encode(&[2.0], &[4.0]).unwrap();
    let result = program.run(TaskInput::new(input), &Control::unlimited());
    assert_eq!(result, Ok(Bytes::copy_from_slice(&8.0_f32.to_le_bytes())));
    let Some(v1::Program {
        program: Some(v1::program::Program::Builtin(builtin)),
    }) = &mut spec.program
    else {
        unreachable!("it is built in");
    };
    builtin.immediate = 7;
    let refused = BuiltinExecutor.prepare(&spec).err().expect("it takes none");
    assert!(
        matches!(
            refused,
            Unsupported::Operation(OperationError::UnexpectedImmediate { .. })
        ),
        "{refused}"
    );
}
