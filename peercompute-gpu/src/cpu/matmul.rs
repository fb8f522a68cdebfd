use super::Cpu;
use crate::{Matrix, ShapeError, f16, matrix::product_shape};

/// Multiplications below which threads cost more than they bring.
#[cfg(not(target_arch = "wasm32"))]
const SMALL: usize = 1 << 18;

pub(super) fn matmul(cpu: &Cpu, left: &Matrix, right: &Matrix) -> Result<Matrix, ShapeError> {
    let [rows, depth, columns] = product_shape(left, right)?;
    let mut product = Matrix::zeros(rows, columns)?;
    if rows > 0 && depth > 0 && columns > 0 {
        let mut values = product.into_values();
        multiply(
            cpu,
            [rows, depth, columns],
            left.values(),
            right.values(),
            &mut values,
        );
        product = Matrix::new(rows, columns, values)?;
    }
    Ok(product)
}

pub(super) fn matmul_f16(
    cpu: &Cpu,
    left: &Matrix<f16>,
    right: &Matrix<f16>,
) -> Result<Matrix, ShapeError> {
    product_shape(left, right)?;
    matmul(cpu, &widen(left)?, &widen(right)?)
}

fn widen(matrix: &Matrix<f16>) -> Result<Matrix, ShapeError> {
    let values = matrix.values().iter().map(|value| value.to_f32()).collect();
    Matrix::new(matrix.rows(), matrix.columns(), values)
}

/// `product` = `left` × `right`; no size is 0.
fn multiply(
    cpu: &Cpu,
    [rows, depth, columns]: [usize; 3],
    left: &[f32],
    right: &[f32],
    product: &mut [f32],
) {
    assert!(
        left.len() == rows * depth
            && right.len() == depth * columns
            && product.len() == rows * columns,
        "the matrices have the sizes that they say"
    );
    cpu.run(move |threads| {
        // SAFETY: the three slices hold what the sizes and strides reach, as was just checked, and the product overlaps neither of the
        // others, since it is borrowed mutably.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                depth,
                product.as_mut_ptr(),
                1,
                columns as isize,
                false,
                left.as_ptr(),
                1,
                depth as isize,
                right.as_ptr(),
                1,
                columns as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism(threads, rows.saturating_mul(depth).saturating_mul(columns)),
            );
        }
    });
}

#[cfg(not(target_arch = "wasm32"))]
fn parallelism(threads: usize, work: usize) -> gemm::Parallelism {
    if threads == 1 || work < SMALL {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(threads)
    }
}

#[cfg(target_arch = "wasm32")]
fn parallelism(_threads: usize, _work: usize) -> gemm::Parallelism {
    gemm::Parallelism::None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tolerance;

    fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Matrix> {
        prop::collection::vec(-1.0f32..1.0, rows * columns).prop_map(move |values| {
            Matrix::new(rows, columns, values).expect("as many as it needs")
        })
    }

    proptest! {
        #[test]
        fn a_product_is_the_sums_of_products(
            (left, right) in (0usize..40, 0usize..40, 0usize..40)
                .prop_flat_map(|(rows, depth, columns)| (matrix(rows, depth), matrix(depth, columns))),
            threads in 1usize..3,
        ) {
            let cpu = Cpu::with_threads(threads).expect("few");
            let product = cpu.matmul(&left, &right).expect("they fit");
            for row in 0..left.rows() {
                for column in 0..right.columns() {
                    let exact: f64 = (0..left.columns())
                        .map(|at| f64::from(left.at(row, at).expect("inside")) * f64::from(right.at(at, column).expect("inside")))
                        .sum();
                    let found = product.at(row, column).expect("inside");
                    prop_assert!((f64::from(found) - exact).abs() <= f64::from(tolerance::matmul(left.columns(), 1.0, 1.0)));
                }
            }
        }
    }

    #[test]
    fn matrices_that_do_not_fit_are_refused() {
        let error = Cpu::single()
            .matmul(
                &Matrix::zeros(2, 3).expect("small"),
                &Matrix::zeros(2, 3).expect("small"),
            )
            .expect_err("3 is not 2");
        assert_eq!(error, ShapeError::Inner { left: 3, right: 2 });
    }
}
