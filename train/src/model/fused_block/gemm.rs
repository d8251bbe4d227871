//! Matrix products (GEMM) of row-major matrices and their transposes, by the crate `gemm`.

/// A row-major matrix or the transpose of one, borrowed.
#[derive(Clone, Copy)]
pub struct MatrixRef<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Values from one row to the next.
    row_stride: usize,
    /// Values from one column to the next.
    column_stride: usize,
}

impl<'a> MatrixRef<'a> {
    /// A row-major matrix, `[values.len() / columns, columns]`.
    ///
    /// # Panics
    /// If the last row is incomplete.
    pub fn from_rows(values: &'a [f32], columns: usize) -> Self {
        assert_eq!(values.len() % columns, 0, "rows must be whole");
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `sum += left * right`, on the calling thread.
///
/// # Shapes
/// - left: `[m, k]`
/// - right: `[k, n]`
/// - sum, row-major: `[m, n]`
///
/// # Panics
/// If the shapes do not match.
pub fn add_product(left: MatrixRef, right: MatrixRef, sum: &mut [f32]) {
    assert_eq!(left.columns, right.rows, "the matrices must fit");
    assert_eq!(sum.len(), left.rows * right.columns, "the sum must fit");
    // SAFETY: `MatrixRef::from_rows` and `transposed` are the only constructors, so every row and column of both matrices
    // lies inside their slices. `sum` has `left.rows * right.columns` values, by the assertion above, and its exclusive
    // borrow overlaps neither matrix.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            sum.as_mut_ptr(),
            1,
            right.columns as isize,
            true,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every order of additions gives the same sum.
    fn integers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|index| ((index * 7 + seed * 3) % 11) as f32 - 5.0).collect()
    }

    fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
    }

    #[test]
    fn products_agree_with_their_definition_in_every_layout() {
        for (m, k, n) in [(1, 1, 1), (2, 3, 4), (5, 1, 7), (17, 24, 9), (64, 33, 48)] {
            let (left, right, start) = (integers(m * k, 1), integers(k * n, 2), integers(m * n, 3));
            let mut expected = start.clone();
            for (index, sum) in expected.iter_mut().enumerate() {
                *sum += (0..k).map(|inner| left[index / n * k + inner] * right[inner * n + index % n]).sum::<f32>();
            }
            let (left_transposed, right_transposed) = (transpose(&left, k), transpose(&right, n));
            let lefts = [MatrixRef::from_rows(&left, k), MatrixRef::from_rows(&left_transposed, m).transposed()];
            let rights = [MatrixRef::from_rows(&right, n), MatrixRef::from_rows(&right_transposed, k).transposed()];
            for (index, (left, right)) in lefts.iter().flat_map(|l| rights.iter().map(move |r| (*l, *r))).enumerate() {
                let mut sum = start.clone();
                add_product(left, right, &mut sum);
                assert_eq!(sum, expected, "[{m}, {k}] x [{k}, {n}], layout {index}");
            }
        }
    }

    #[test]
    fn shapes_that_do_not_match_panic() {
        let values = [0.0; 6];
        let cases: [(&str, usize, usize, usize, usize); 3] =
            [("an incomplete row", 4, 3, 4, 3), ("inner sizes", 3, 2, 4, 4), ("the sum", 3, 2, 6, 5)];
        for (what, left, right_columns, right_len, sum_len) in cases {
            let panicked = std::panic::catch_unwind(|| {
                let left = MatrixRef::from_rows(&values, left);
                let right = MatrixRef::from_rows(&values[..right_len], right_columns);
                add_product(left, right, &mut vec![0.0; sum_len]);
            });
            assert!(panicked.is_err(), "{what}");
        }
    }
}
