//! Grids of cells, in one plane or several.

use crate::error::{ShapeError, count, times};

/// A grid of cells: planes of rows of cells. The cell at (x, y, z) is number `(z × height + y) × width + x`. It may be empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<T = f32> {
    size: [usize; 3],
    values: Vec<T>,
}

impl<T: Copy> Grid<T> {
    /// One plane of `height` rows of `width` cells.
    ///
    /// # Errors
    ///
    /// [`ShapeError::WrongCount`] unless there are `width × height` values.
    pub fn plane(width: usize, height: usize, values: Vec<T>) -> Result<Self, ShapeError> {
        Self::volume(width, height, 1, values)
    }

    /// `depth` planes of `height` rows of `width` cells.
    ///
    /// # Errors
    ///
    /// [`ShapeError::WrongCount`] unless there are `width × height × depth` values.
    pub fn volume(
        width: usize,
        height: usize,
        depth: usize,
        values: Vec<T>,
    ) -> Result<Self, ShapeError> {
        let size = [width, height, depth];
        let expected = count("a grid", &size)?;
        if values.len() != expected {
            return Err(ShapeError::WrongCount {
                what: "a grid",
                size: times(&size),
                expected,
                found: values.len(),
            });
        }
        Ok(Self { size, values })
    }

    /// Cells in a row, rows in a plane, planes.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// The cells, row by row and plane by plane.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The cells, row by row and plane by plane.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The cell there, or `None` outside the grid.
    pub fn at(&self, x: usize, y: usize, z: usize) -> Option<T> {
        let [width, height, depth] = self.size;
        (x < width && y < height && z < depth).then(|| self.values[(z * height + y) * width + x])
    }
}

/// What lies beyond the edge of a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// The cells on the edge keep the values that they have, and only those inside change: fixed temperatures on the border, say.
    #[default]
    Keep,
    /// Zeros.
    Zero,
    /// The opposite edge.
    Wrap,
}

impl Edge {
    /// The coordinate `offset` cells from `at`, or `None` where zeros are.
    #[inline]
    pub(crate) fn step(self, at: usize, offset: isize, size: usize) -> Option<usize> {
        let there = at as isize + offset;
        if (0..size as isize).contains(&there) {
            Some(there as usize)
        } else if self == Self::Wrap {
            Some(there.rem_euclid(size as isize) as usize)
        } else {
            None
        }
    }

    /// The number by which kernels know it.
    #[cfg(feature = "gpu")]
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Keep => 0,
            Self::Zero => 1,
            Self::Wrap => 2,
        }
    }
}
