mod kernel;
mod tiles;

use bytes::Bytes;
use peercompute_proto::{limits::MAX_TASK_VALUE, v1};

pub use tiles::{MatmulError, MatmulShape, MatmulTile, MatmulTiles};

use crate::{Control, OperationError, Portable, Program, TaskError, TaskInput, text::quote};

/// The built-in operation `matmul`: the product of two matrices of `f32`.
///
/// A task's input is three `u32`, rows, inner and columns, then A (rows × inner) and B (inner × columns) row by row; its result is C (rows × columns) row by row, all little endian. Any of the
/// three may be 0. [`MatmulTiles`] cuts a product of any size into such tasks.
///
/// The result is the same on every machine, natively and in a browser: each sum begins with 0 and runs in the order of the inner index, each product is rounded before it is added, and each NaN is
/// the canonical one (0x7fc00000).
///
/// ```
/// use peercompute_compute::{Control, Matmul, MatmulShape, Program, TaskInput};
///
/// let input = MatmulShape::new(1, 2, 1).encode(&[1.0, 2.0], &[3.0, 4.0])?;
/// let result = Matmul.run(TaskInput::new(input), &Control::unlimited())?;
/// assert_eq!(result[..], 11.0_f32.to_le_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Matmul;

/// Bytes in front of the matrices.
const HEADER: usize = 12;

impl Matmul {
    /// What a job calls it.
    pub const NAME: &'static str = "matmul";
}

impl Program for Matmul {
    /// Asks its control about every millisecond. A result beyond [`MAX_TASK_VALUE`] is refused before there is memory for it, whatever the limit.
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        let invalid = |reason| TaskError::InvalidInput {
            program: Self::NAME.to_owned(),
            reason,
        };
        let TaskInput { state, bytes } = input;
        if state.is_some() {
            let reason = "it takes no starting state; leave the state out";
            return Err(invalid(reason.to_owned()));
        }
        control.check()?;
        let (shape, matrices) = MatmulShape::decode(&bytes).map_err(invalid)?;
        // No overflow: each is 32 bits.
        let size = (shape.rows as u64 * shape.columns as u64).saturating_mul(4);
        control.check_output(size)?;
        let limit = MAX_TASK_VALUE as u64;
        if size > limit {
            return Err(TaskError::OutputTooLarge { size, limit });
        }
        let (a, b) = matrices.split_at(shape.rows * shape.inner);
        kernel::multiply(shape, a, b, control).map(Bytes::from)
    }

    fn portable(&self) -> Option<Portable> {
        Some(Portable::Builtin(Self.into()))
    }
}

impl TryFrom<&v1::BuiltinProgram> for Matmul {
    type Error = OperationError;

    fn try_from(program: &v1::BuiltinProgram) -> Result<Self, OperationError> {
        match (program.operation.as_str(), program.immediate) {
            (Self::NAME, 0) => Ok(Self),
            (Self::NAME, immediate) => Err(OperationError::UnexpectedImmediate {
                operation: Self::NAME,
                immediate,
            }),
            (name, _) => Err(OperationError::Unknown { name: quote(name) }),
        }
    }
}

impl From<Matmul> for v1::Program {
    fn from(_: Matmul) -> Self {
        Self {
            program: Some(v1::program::Program::Builtin(v1::BuiltinProgram {
                operation: Matmul::NAME.to_owned(),
                immediate: 0,
            })),
        }
    }
}

impl From<Matmul> for v1::TaskSpec {
    /// A job of products without limits of its own.
    fn from(matmul: Matmul) -> Self {
        Self {
            program: Some(matmul.into()),
            limits: None,
        }
    }
}

impl MatmulShape {
    /// What the input of a task says, and the numbers of A and then of B as they lie there; or what is wrong with it.
    fn decode(input: &[u8]) -> Result<(Self, &[[u8; 4]]), String> {
        let Some((header, numbers)) = input.split_first_chunk::<HEADER>() else {
            return Err(format!(
                "{} bytes are too short; it begins with rows, inner and columns, 4 bytes each",
                input.len()
            ));
        };
        let [rows, inner, columns] = [0, 4, 8].map(|at| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_le_bytes(bytes)
        });
        let wide = [rows, inner, columns].map(u128::from);
        let expected = 4 * (wide[0] * wide[1] + wide[1] * wide[2]);
        let actual = numbers.len();
        if actual as u128 != expected {
            return Err(format!(
                "{rows} x {inner} times {inner} x {columns} has {expected} bytes of numbers, and there are {actual}"
            ));
        }
        // Whoever cannot count so far has not been given as many numbers either, unless there are none.
        let dimension = |number: u32| {
            usize::try_from(number).map_err(|_| format!("{number} is too much for this machine"))
        };
        let shape = Self::new(dimension(rows)?, dimension(inner)?, dimension(columns)?);
        Ok((shape, numbers.as_chunks().0))
    }
}

#[cfg(test)]
mod tests;
