//! Matrices in row-major order.

use crate::error::{ShapeError, count, times};

/// A matrix in row-major order: the value in row `r` and column `c` is number `r × columns + c`. It may be empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T = f32> {
    rows: usize,
    columns: usize,
    values: Vec<T>,
}

impl<T: Copy> Matrix<T> {
    /// A matrix of these values.
    ///
    /// # Errors
    ///
    /// [`ShapeError::WrongCount`] unless there are `rows × columns` values.
    pub fn new(rows: usize, columns: usize, values: Vec<T>) -> Result<Self, ShapeError> {
        let expected = count("a matrix", &[rows, columns])?;
        if values.len() != expected {
            return Err(ShapeError::WrongCount {
                what: "a matrix",
                size: times(&[rows, columns]),
                expected,
                found: values.len(),
            });
        }
        Ok(Self {
            rows,
            columns,
            values,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The values, row by row.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The value there, or `None` outside the matrix.
    pub fn at(&self, row: usize, column: usize) -> Option<T> {
        (column < self.columns)
            .then(|| self.values.get(row * self.columns + column).copied())
            .flatten()
    }
}

impl Matrix {
    /// A matrix of zeros.
    ///
    /// # Errors
    ///
    /// [`ShapeError::TooLarge`] if no memory can hold it.
    pub fn zeros(rows: usize, columns: usize) -> Result<Self, ShapeError> {
        let count = count("a matrix", &[rows, columns])?;
        Ok(Self {
            rows,
            columns,
            values: vec![0.0; count],
        })
    }
}

/// Checks that `left` × `right` exists and gives its size: rows, inner size, columns.
pub(crate) fn product_shape<T: Copy>(
    left: &Matrix<T>,
    right: &Matrix<T>,
) -> Result<[usize; 3], ShapeError> {
    if left.columns != right.rows {
        return Err(ShapeError::Inner {
            left: left.columns,
            right: right.rows,
        });
    }
    count("a product", &[left.rows, right.columns])?;
    Ok([left.rows, left.columns, right.columns])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_with_too_few_values_is_refused_with_the_number_it_needs() {
        let error = Matrix::new(2, 3, vec![0.0; 5]).expect_err("five values");
        assert_eq!(
            error.to_string(),
            "a matrix of 2 × 3 needs 6 values and has 5; give exactly 6"
        );
    }

    #[test]
    fn a_matrix_that_no_memory_holds_is_refused() {
        assert!(matches!(
            Matrix::zeros(usize::MAX, 2),
            Err(ShapeError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_column_outside_is_not_read_from_the_next_row() {
        let matrix = Matrix::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]).expect("four values");
        assert_eq!(matrix.at(0, 2), None);
        assert_eq!(matrix.at(1, 0), Some(3.0));
        assert_eq!(matrix.at(2, 0), None);
    }
}
