use std::ops::Range;

use bytes::Bytes;
use peercompute_proto::limits::{MAX_TASK_INPUT, MAX_TASK_VALUE};

use super::HEADER;

/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();

/// How large the matrices of a product are: A has `rows` × `inner` numbers, B `inner` × `columns`, and the product `rows` × `columns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MatmulShape {
    /// Rows of A and of the product.
    pub rows: usize,
    /// Columns of A, which are the rows of B.
    pub inner: usize,
    /// Columns of B and of the product.
    pub columns: usize,
}

impl MatmulShape {
    /// A product of `rows` × `inner` times `inner` × `columns`.
    pub const fn new(rows: usize, inner: usize, columns: usize) -> Self {
        Self {
            rows,
            inner,
            columns,
        }
    }

    /// The input of a [`Matmul`](crate::Matmul) task that multiplies `a` and `b`, both row by row.
    ///
    /// # Errors
    ///
    /// [`MatmulError::WrongLength`] if one of them is not of this shape, [`MatmulError::TooLarge`] for a dimension beyond 32 bits.
    pub fn encode(self, a: &[f32], b: &[f32]) -> Result<Bytes, MatmulError> {
        self.check(a, b)?;
        self.encode_tile(&self.whole(), a, b)
    }

    fn whole(self) -> MatmulTile {
        MatmulTile {
            rows: 0..self.rows,
            columns: 0..self.columns,
        }
    }

    fn check(self, a: &[f32], b: &[f32]) -> Result<(), MatmulError> {
        let matrices = [
            ("A", a.len(), self.rows, self.inner),
            ("B", b.len(), self.inner, self.columns),
        ];
        for (what, actual, rows, columns) in matrices {
            let expected = rows.checked_mul(columns).ok_or(self.too_large())?;
            if actual != expected {
                return Err(MatmulError::WrongLength {
                    what: what.to_owned(),
                    expected,
                    actual,
                });
            }
        }
        Ok(())
    }

    const fn too_large(self) -> MatmulError {
        MatmulError::TooLarge { shape: self }
    }

    /// Both matrices are of this shape, and the tile lies inside.
    fn encode_tile(self, tile: &MatmulTile, a: &[f32], b: &[f32]) -> Result<Bytes, MatmulError> {
        let (rows, columns) = (tile.rows.len(), tile.columns.len());
        // No overflow: so many numbers are in memory.
        let numbers = rows * self.inner + self.inner * columns;
        let mut input = Vec::with_capacity(HEADER + numbers * NUMBER);
        for dimension in [rows, self.inner, columns] {
            let dimension = u32::try_from(dimension).map_err(|_| self.too_large())?;
            input.extend_from_slice(&dimension.to_le_bytes());
        }
        put(
            &mut input,
            &a[tile.rows.start * self.inner..tile.rows.end * self.inner],
        );
        if columns == self.columns {
            put(&mut input, b);
        } else {
            for row in b.chunks_exact(self.columns) {
                put(&mut input, &row[tile.columns.clone()]);
            }
        }
        Ok(input.into())
    }
}

fn put(input: &mut Vec<u8>, numbers: &[f32]) {
    input.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The part of a product that one task computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatmulTile {
    /// Its rows.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
}

/// A matrix product of any size as tasks of [`Matmul`](crate::Matmul): cuts it into tiles whose input and result stay within a bound, and puts the tiles' results together, which may come in any
/// order.
///
/// The inner dimension is not cut, so that each number of the product is one sum, and the result the same however the product is cut. An empty product has no tiles.
///
/// ```
/// use peercompute_compute::{Control, Matmul, MatmulShape, MatmulTiles, Program, TaskInput};
///
/// let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
/// // One row of A and one column of B in a task.
/// let mut tiles = MatmulTiles::within(MatmulShape::new(2, 2, 2), 28)?;
/// assert_eq!(tiles.len(), 4);
/// for index in (0..tiles.len()).rev() {
///     let input = tiles.input(index, &a, &b)?;
///     let result = Matmul.run(TaskInput::new(input), &Control::unlimited())?;
///     tiles.put(index, &result)?;
/// }
/// assert_eq!(tiles.finish()?, [19.0, 22.0, 43.0, 50.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatmulTiles {
    shape: MatmulShape,
    /// Rows and columns of a tile; those at the end have less.
    height: usize,
    width: usize,
    /// Tiles below and beside each other.
    down: usize,
    across: usize,
    product: Vec<f32>,
    /// Which tiles' results are in it.
    there: Vec<bool>,
    missing: usize,
}

impl MatmulTiles {
    /// Cuts it into tasks that are as large as any may be: [`MAX_TASK_INPUT`] bytes of input and [`MAX_TASK_VALUE`] bytes of result.
    ///
    /// # Errors
    ///
    /// As [`MatmulTiles::within`].
    pub fn new(shape: MatmulShape) -> Result<Self, MatmulError> {
        Self::within(shape, MAX_TASK_INPUT.min(MAX_TASK_VALUE))
    }

    /// Cuts it into tasks of which neither input nor result has more than `bytes` bytes, of which those count that are no more than any task may have. Tiles are as near to squares as the bound and
    /// the shape let them be: these move the fewest bytes.
    ///
    /// # Errors
    ///
    /// [`MatmulError::InnerTooLong`] where one row of A and one column of B are too much for a task, [`MatmulError::TooLarge`] where the product has more numbers than memory.
    pub fn within(shape: MatmulShape, bytes: usize) -> Result<Self, MatmulError> {
        let MatmulShape {
            rows,
            inner,
            columns,
        } = shape;
        let limit = bytes.min(MAX_TASK_INPUT).min(MAX_TASK_VALUE);
        let numbers = rows
            .checked_mul(columns)
            .filter(|numbers| numbers.checked_mul(NUMBER).is_some())
            .ok_or(shape.too_large())?;
        let mut tiles = Self {
            shape,
            height: 0,
            width: 0,
            down: 0,
            across: 0,
            product: Vec::new(),
            there: Vec::new(),
            missing: 0,
        };
        if numbers == 0 {
            return Ok(tiles);
        }
        let too_long = MatmulError::InnerTooLong { inner, limit };
        // How many rows of A and columns of B go into a task together, and how many numbers come out of it.
        let lines = limit
            .checked_sub(HEADER)
            .map(|room| (room / NUMBER).checked_div(inner).unwrap_or(usize::MAX))
            .filter(|lines| *lines >= 2)
            .ok_or_else(|| too_long.clone())?;
        let (height, width) = fit(rows, columns, lines, limit / NUMBER).ok_or(too_long)?;
        // The same number of tiles, all about as large.
        tiles.down = rows.div_ceil(height);
        tiles.across = columns.div_ceil(width);
        tiles.height = rows.div_ceil(tiles.down);
        tiles.width = columns.div_ceil(tiles.across);
        tiles.down = rows.div_ceil(tiles.height);
        tiles.across = columns.div_ceil(tiles.width);
        tiles.missing = tiles.down * tiles.across;
        let reserved = tiles.product.try_reserve_exact(numbers);
        let reserved = reserved.and_then(|()| tiles.there.try_reserve_exact(tiles.missing));
        reserved.map_err(|_| shape.too_large())?;
        tiles.product.resize(numbers, 0.0);
        tiles.there.resize(tiles.missing, false);
        Ok(tiles)
    }

    /// How many tasks the product is.
    pub fn len(&self) -> usize {
        self.there.len()
    }

    /// Whether the product is empty, so that there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.there.is_empty()
    }

    /// The tasks whose results are not there yet.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// Where the tile of the task `index` lies in the product. Tasks are counted row by row of tiles.
    ///
    /// # Errors
    ///
    /// [`MatmulError::NoSuchTile`].
    pub fn tile(&self, index: usize) -> Result<MatmulTile, MatmulError> {
        let tiles = self.len();
        if index >= tiles {
            return Err(MatmulError::NoSuchTile { index, tiles });
        }
        let (top, left) = (
            index / self.across * self.height,
            index % self.across * self.width,
        );
        Ok(MatmulTile {
            rows: top..self.shape.rows.min(top + self.height),
            columns: left..self.shape.columns.min(left + self.width),
        })
    }

    /// The input of the task `index`, made from the whole of A and B, row by row.
    ///
    /// # Errors
    ///
    /// [`MatmulError::NoSuchTile`], and [`MatmulError::WrongLength`] if A or B is not of the shape.
    pub fn input(&self, index: usize, a: &[f32], b: &[f32]) -> Result<Bytes, MatmulError> {
        let tile = self.tile(index)?;
        self.shape.check(a, b)?;
        self.shape.encode_tile(&tile, a, b)
    }

    /// Takes the result of the task `index`. After an error nothing has changed.
    ///
    /// # Errors
    ///
    /// [`MatmulError::NoSuchTile`], [`MatmulError::TileTwice`], and [`MatmulError::WrongLength`] for what no run of the task gives.
    pub fn put(&mut self, index: usize, result: &[u8]) -> Result<(), MatmulError> {
        let MatmulTile { rows, columns } = self.tile(index)?;
        if self.there[index] {
            return Err(MatmulError::TileTwice { index });
        }
        let expected = rows.len() * columns.len();
        let (numbers, rest) = result.as_chunks::<NUMBER>();
        if numbers.len() != expected || !rest.is_empty() {
            return Err(MatmulError::WrongLength {
                what: format!("the result of tile {index}"),
                expected,
                actual: numbers.len(),
            });
        }
        for (row, numbers) in rows.zip(numbers.chunks_exact(columns.len())) {
            let start = row * self.shape.columns;
            let places = &mut self.product[start + columns.start..start + columns.end];
            for (place, number) in places.iter_mut().zip(numbers) {
                *place = f32::from_le_bytes(*number);
            }
        }
        self.there[index] = true;
        self.missing -= 1;
        Ok(())
    }

    /// The product, row by row.
    ///
    /// # Errors
    ///
    /// [`MatmulError::Incomplete`] while results are missing; [`MatmulTiles::missing`] says how many before.
    pub fn finish(self) -> Result<Vec<f32>, MatmulError> {
        match self.missing {
            0 => Ok(self.product),
            missing => Err(MatmulError::Incomplete { missing }),
        }
    }
}

/// Rows and columns of a tile: together no more than `lines`, and no more than `numbers` numbers.
fn fit(rows: usize, columns: usize, lines: usize, numbers: usize) -> Option<(usize, usize)> {
    if numbers == 0 {
        return None;
    }
    let height = rows.min(lines / 2);
    let width = columns.min(lines - height);
    let height = rows.min(lines - width);
    let side = numbers.isqrt();
    Some(
        match (height.checked_mul(width), height <= side, width <= side) {
            (Some(product), ..) if product <= numbers => (height, width),
            (_, true, _) => (height, width.min(numbers / height)),
            (_, _, true) => (height.min(numbers / width), width),
            _ => (side, side),
        },
    )
}

/// Why a product cannot be cut into tasks, or put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatmulError {
    /// One row of A and one column of B are too much for a task.
    #[error(
        "an inner dimension of {inner} is too long for tasks of {limit} bytes; allow more, or cut the inner dimension and add the products"
    )]
    InnerTooLong {
        /// The inner dimension.
        inner: usize,
        /// Bytes of a task.
        limit: usize,
    },
    /// The product has more numbers than there is memory, or a task a dimension beyond 32 bits.
    #[error(
        "a product of {} x {} times {} x {} is too large for this machine; cut it into smaller ones",
        shape.rows, shape.inner, shape.inner, shape.columns
    )]
    TooLarge {
        /// The product.
        shape: MatmulShape,
    },
    /// Numbers are missing, or there are too many.
    #[error("{what} has {actual} numbers where the shape of the product asks for {expected}")]
    WrongLength {
        /// Whose numbers.
        what: String,
        /// How many there have to be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// The product has fewer tiles.
    #[error("there is no tile {index}; the product has {tiles}, counted from 0")]
    NoSuchTile {
        /// The tile.
        index: usize,
        /// How many there are.
        tiles: usize,
    },
    /// Its result is there already.
    #[error("the result of tile {index} is there already; each is put in once")]
    TileTwice {
        /// The tile.
        index: usize,
    },
    /// The results of some tiles are not there.
    #[error("the results of {missing} tiles are missing; put them in first")]
    Incomplete {
        /// How many.
        missing: usize,
    },
}
