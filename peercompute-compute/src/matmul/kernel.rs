//! The product itself: in blocks that stay in the caches, each of which is a row of small tiles that stay in registers. What the compiler makes vectors of are the columns of a tile, side by side:
//! every sum still runs in the order of the inner index, alone in its lane.

use super::MatmulShape;
use crate::{Control, TaskError};

/// Rows of A in a block, columns of B in it, and how deep it is. A block of A then has 32 KiB and one of B 512 KiB. Between two looks at the control are 4 million multiplications.
const BLOCK_ROWS: usize = 32;
const BLOCK_COLUMNS: usize = 512;
const BLOCK_DEPTH: usize = 256;

const CANONICAL_NAN: f32 = f32::from_bits(0x7fc0_0000);

/// What the loops work on: A times B is added to C.
pub(super) struct Multiplication<'a> {
    pub(super) shape: MatmulShape,
    /// Row by row, as `b` and `c` are. Each is as long as the shape says.
    pub(super) a: &'a [[u8; 4]],
    pub(super) b: &'a [[u8; 4]],
    /// To which their product is added.
    pub(super) c: &'a mut [f32],
    pub(super) control: &'a Control,
}

/// A times B, as little-endian bytes. Both are as long as the shape says.
pub(super) fn multiply(
    shape: MatmulShape,
    a: &[[u8; 4]],
    b: &[[u8; 4]],
    control: &Control,
) -> Result<Vec<u8>, TaskError> {
    let mut c = vec![0.0; shape.rows * shape.columns];
    if !c.is_empty() {
        widest(Multiplication {
            shape,
            a,
            b,
            c: &mut c,
            control,
        })?;
    }
    let mut result = Vec::with_capacity(c.len() * 4);
    for number in c {
        let number = if number.is_nan() {
            CANONICAL_NAN
        } else {
            number
        };
        result.extend_from_slice(&number.to_le_bytes());
    }
    Ok(result)
}

/// Adds A times B to C with the widest vectors that there are. How wide they are changes nothing in the result: lanes know nothing of each other, and none of these instructions adds and
/// multiplies at once.
#[cfg(target_arch = "x86_64")]
fn widest(multiplication: Multiplication<'_>) -> Result<(), TaskError> {
    #[target_feature(enable = "avx512f")]
    fn with_avx512(multiplication: Multiplication<'_>) -> Result<(), TaskError> {
        in_blocks::<4, 16>(multiplication)
    }

    #[target_feature(enable = "avx2")]
    fn with_avx2(multiplication: Multiplication<'_>) -> Result<(), TaskError> {
        in_blocks::<4, 16>(multiplication)
    }

    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has it.
        unsafe { with_avx512(multiplication) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has it.
        unsafe { with_avx2(multiplication) }
    } else {
        in_blocks::<3, 8>(multiplication)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn widest(multiplication: Multiplication<'_>) -> Result<(), TaskError> {
    in_blocks::<3, 8>(multiplication)
}

/// Adds A times B to C with tiles of `R` rows and `N` columns. Which sizes the compiler makes vectors of along the columns, and not along the rows at a tenth of the speed, is found by trying:
/// `cargo bench --bench operations matmul`.
#[inline(always)]
pub(super) fn in_blocks<const R: usize, const N: usize>(
    multiplication: Multiplication<'_>,
) -> Result<(), TaskError> {
    let Multiplication {
        shape,
        a,
        b,
        c,
        control,
    } = multiplication;
    let MatmulShape {
        rows,
        inner,
        columns,
    } = shape;
    let mut strips = Vec::new();
    let mut bands = Vec::new();
    for left in (0..columns).step_by(BLOCK_COLUMNS) {
        let width = BLOCK_COLUMNS.min(columns - left);
        for first in (0..inner).step_by(BLOCK_DEPTH) {
            let depth = BLOCK_DEPTH.min(inner - first);
            control.check()?;
            lay_out::<N>(&mut strips, width, depth, |along, across| {
                number(b[(first + along) * columns + left + across])
            });
            for top in (0..rows).step_by(BLOCK_ROWS) {
                control.check()?;
                let height = BLOCK_ROWS.min(rows - top);
                lay_out::<R>(&mut bands, height, depth, |along, across| {
                    number(a[(top + across) * inner + first + along])
                });
                for (strip, x) in strips.chunks_exact(depth).zip((0..width).step_by(N)) {
                    for (band, y) in bands.chunks_exact(depth).zip((0..height).step_by(R)) {
                        let corner = (top + y) * columns + left + x;
                        let size = (R.min(height - y), N.min(width - x));
                        tile::<R, N>(band, strip, &mut c[corner..], columns, size);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Lays a block out as tiles read it: strips of `W`, each step of the inner index beside the next. What the last strip has beyond `width` is 0, and nobody looks at what comes of it.
#[inline(always)]
fn lay_out<const W: usize>(
    strips: &mut Vec<[f32; W]>,
    width: usize,
    depth: usize,
    at: impl Fn(usize, usize) -> f32,
) {
    strips.clear();
    for x in (0..width).step_by(W) {
        let some = W.min(width - x);
        for along in 0..depth {
            let mut step = [0.0; W];
            for (across, place) in step[..some].iter_mut().enumerate() {
                *place = at(along, x + across);
            }
            strips.push(step);
        }
    }
}

/// Adds a band of A times a strip of B to the tile at the beginning of `c`, of which `size` rows and columns are there.
#[inline(always)]
fn tile<const R: usize, const N: usize>(
    band: &[[f32; R]],
    strip: &[[f32; N]],
    c: &mut [f32],
    columns: usize,
    (height, width): (usize, usize),
) {
    let mut sums = [[0.0; N]; R];
    for (row, sums) in sums.iter_mut().enumerate().take(height) {
        let start = row * columns;
        sums[..width].copy_from_slice(&c[start..start + width]);
    }
    for (a, b) in band.iter().zip(strip) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (row, sums) in sums.iter().enumerate().take(height) {
        let start = row * columns;
        c[start..start + width].copy_from_slice(&sums[..width]);
    }
}

#[inline(always)]
fn number(bytes: [u8; 4]) -> f32 {
    f32::from_le_bytes(bytes)
}
