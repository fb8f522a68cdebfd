//! What is wrong with the arguments of a kernel, and what can go wrong when one runs.

use thiserror::Error;

/// Arguments that do not fit together.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ShapeError {
    /// The number of values is not the product of the sizes.
    #[error("{what} of {size} needs {expected} values and has {found}; give exactly {expected}")]
    WrongCount {
        /// What the values are of.
        what: &'static str,
        /// Its size, as text.
        size: String,
        /// How many values that makes.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The sizes multiply to more than an address has.
    #[error("{what} of {size} has more elements than memory can hold; make it smaller")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size, as text.
        size: String,
    },
    /// The left matrix has not as many columns as the right one has rows.
    #[error(
        "a matrix with {left} columns cannot be multiplied by one with {right} rows; the two must be equal"
    )]
    Inner {
        /// Columns of the left matrix.
        left: usize,
        /// Rows of the right matrix.
        right: usize,
    },
    /// A stencil of a plane for a volume.
    #[error(
        "the stencil is for one plane and the grid has {depth} of them; use a stencil for volumes"
    )]
    PlaneStencil {
        /// The number of the grid's planes.
        depth: usize,
    },
    /// The automaton runs on a plane.
    #[error(
        "the automaton runs on one plane and the grid has {depth} of them; give a grid of depth 1"
    )]
    NotAPlane {
        /// The number of the grid's planes.
        depth: usize,
    },
    /// A setting that must be a finite number, or a positive one.
    #[error("{name} is {value}; it must be {must}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: f32,
        /// What it must be.
        must: &'static str,
    },
}

/// Why a kernel gave no result.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// The arguments do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The device.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] crate::GpuError),
}

/// The product of `sizes`, if that many elements of four bytes can be addressed.
pub(crate) fn count(what: &'static str, sizes: &[usize]) -> Result<usize, ShapeError> {
    sizes
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
        .filter(|count| *count <= isize::MAX as usize / 16)
        .ok_or_else(|| ShapeError::TooLarge {
            what,
            size: times(sizes),
        })
}

/// Sizes as people write them: `3 × 4`.
pub(crate) fn times(sizes: &[usize]) -> String {
    sizes
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(" × ")
}
