//! The built-in operations against what the machine can do: `cargo bench -p peercompute-compute --bench operations`.

use bytes::Bytes;
use divan::{
    Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use peercompute_compute::{Combiner, Control, Matmul, MatmulShape, Operation, Program, TaskInput};

fn main() {
    divan::main();
}

/// In a core's own cache, and in none.
const SIZES: [usize; 2] = [1 << 20, 512 << 20];

fn input(size: usize) -> Bytes {
    (0..size)
        .map(|i| ((i * 31) >> 3) as u8)
        .collect::<Vec<_>>()
        .into()
}

fn run(bencher: Bencher<'_, '_>, size: usize, operation: Operation) {
    // A second handle, as the frame that a task came in has.
    let input = input(size);
    let control = Control::unlimited();
    bencher.counter(BytesCount::new(size)).bench(|| {
        operation
            .run(TaskInput::new(black_box(&input).clone()), &control)
            .expect("it runs")
    });
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn crc32c(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, size, Operation::Crc32c);
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn crc32c_of_the_bare_crate(bencher: Bencher<'_, '_>, size: usize) {
    let input = input(size);
    bencher
        .counter(BytesCount::new(size))
        .bench(|| crc32c::crc32c(black_box(&input)));
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn counteq(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, size, Operation::CountEq(7));
}

/// How fast the memory can be read: the least that can be done with every byte.
#[divan::bench(args = SIZES, sample_count = 20)]
fn sum_of_words(bencher: Bencher<'_, '_>, size: usize) {
    let input = input(size);
    bencher.counter(BytesCount::new(size)).bench(|| {
        let (words, _) = black_box(&input).as_chunks::<8>();
        words.iter().fold(0u64, |sum, word| {
            sum.wrapping_add(u64::from_ne_bytes(*word))
        })
    });
}

#[divan::bench(args = [1 << 20, 64 << 20], sample_count = 20)]
fn xor(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, size, Operation::Xor(0x5a));
}

#[divan::bench(args = [1 << 20, 64 << 20], sample_count = 20)]
fn xor_in_place(bencher: Bencher<'_, '_>, size: usize) {
    let control = Control::unlimited();
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| input(size))
        .bench_values(|input| Operation::Xor(0x5a).run(TaskInput::new(input), &control));
}

/// What `xor` into new memory is up against.
#[divan::bench(args = [1 << 20, 64 << 20], sample_count = 20)]
fn copy(bencher: Bencher<'_, '_>, size: usize) {
    let input = input(size);
    bencher
        .counter(BytesCount::new(size))
        .bench(|| black_box(&input).to_vec());
}

#[divan::bench(args = [1 << 20, 64 << 20], sample_count = 20)]
fn fnv64(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, size, Operation::Fnv64);
}

/// Joining the result of one more chunk, all of the same length or never.
#[divan::bench(args = [false, true])]
fn combine_crc32c(bencher: Bencher<'_, '_>, lengths_differ: bool) {
    let mut combiner = Combiner::new(Operation::Crc32c);
    let mut length = 1 << 20;
    bencher.bench_local(move || {
        length += u64::from(lengths_differ);
        combiner
            .push(length, Bytes::from_static(&[1, 2, 3, 4]))
            .expect("a CRC has 4 bytes")
    });
}

/// A square product, counted in multiplications and additions.
#[divan::bench(args = [64, 512, 1024], sample_count = 20)]
fn matmul(bencher: Bencher<'_, '_>, side: usize) {
    let numbers: Vec<f32> = (0..side * side).map(|i| (i % 1000) as f32).collect();
    let input = MatmulShape::new(side, side, side)
        .encode(&numbers, &numbers)
        .expect("both are square");
    let control = Control::unlimited();
    bencher
        .counter(ItemsCount::new(2 * side * side * side))
        .bench(|| Matmul.run(TaskInput::new(black_box(&input).clone()), &control));
}
