use super::schema::{FieldKind, MAX_QUANTUM};

/// The largest that one of the smallest three components of a rotation is: as large as the one left out.
pub(crate) const ROTATION_LIMIT: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// What a field holds, as an application has it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Of a [`FieldKind::Flag`].
    Flag(bool),
    /// Of a [`FieldKind::Integer`].
    Integer(i32),
    /// Of a [`FieldKind::Scalar`].
    Scalar(f32),
    /// Of a [`FieldKind::Vector2`].
    Vector2([f32; 2]),
    /// Of a [`FieldKind::Vector3`].
    Vector3([f32; 3]),
    /// Of a [`FieldKind::Rotation`]: x, y, z, w. It need not have a length of exactly 1, and comes back with the sign that makes its largest component positive.
    Rotation([f32; 4]),
}

/// Why a row and a value do not go together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The field is not this schema's.
    #[error("field {index} is not of this schema; use the one that its builder gave out")]
    UnknownField {
        /// Its index.
        index: u8,
    },
    /// The value is of another kind than the field.
    #[error("field {field} is {kind:?}; {value:?} is of another kind")]
    Kind {
        /// The field.
        field: String,
        /// What it holds.
        kind: FieldKind,
        /// What was given.
        value: Value,
    },
    /// The row has another length.
    #[error("a row of this schema has {columns} columns, not {length}")]
    Length {
        /// Of the row.
        length: usize,
        /// Of the schema.
        columns: usize,
    },
    /// A value of the row is out of its column's range.
    #[error("column {column} holds {min} to {max}, not {value}")]
    Range {
        /// Which column.
        column: usize,
        /// What it has.
        value: i32,
        /// The smallest that it may have.
        min: i32,
        /// The largest that it may have.
        max: i32,
    },
}

/// Puts a value into its columns; nothing where it is of another kind.
pub(crate) fn quantise(kind: FieldKind, value: Value, row: &mut [i32]) -> Option<()> {
    match (kind, value) {
        (FieldKind::Flag, Value::Flag(value)) => row[0] = i32::from(value),
        (FieldKind::Integer { min, max }, Value::Integer(value)) => row[0] = value.clamp(min, max),
        (FieldKind::Scalar { step }, Value::Scalar(value)) => row[0] = steps(value, step),
        (FieldKind::Vector2 { step }, Value::Vector2(values)) => {
            row.copy_from_slice(&values.map(|value| steps(value, step)));
        }
        (FieldKind::Vector3 { step }, Value::Vector3(values)) => {
            row.copy_from_slice(&values.map(|value| steps(value, step)));
        }
        (FieldKind::Rotation { step }, Value::Rotation(values)) => {
            row.copy_from_slice(&smallest_three(values, step));
        }
        _ => return None,
    }
    Some(())
}

/// The value that columns hold.
pub(crate) fn dequantise(kind: FieldKind, row: &[i32]) -> Value {
    let scale = |value: i32, step: f64| (f64::from(value) * step) as f32;
    match kind {
        FieldKind::Flag => Value::Flag(row[0] != 0),
        FieldKind::Integer { .. } => Value::Integer(row[0]),
        FieldKind::Scalar { step } => Value::Scalar(scale(row[0], step)),
        FieldKind::Vector2 { step } => Value::Vector2([0, 1].map(|i| scale(row[i], step))),
        FieldKind::Vector3 { step } => Value::Vector3([0, 1, 2].map(|i| scale(row[i], step))),
        FieldKind::Rotation { step } => {
            Value::Rotation(unit(row, step).map(|component| component as f32))
        }
    }
}

/// The unit quaternion that four columns stand for.
#[inline]
fn unit(row: &[i32], step: f64) -> [f64; 4] {
    let largest = (row[0] & 3) as usize;
    let mut quaternion = [0.0; 4];
    let mut rest = 1.0;
    let mut from = 1;
    for (index, component) in quaternion.iter_mut().enumerate() {
        if index != largest {
            *component = f64::from(row[from]) * step;
            rest -= *component * *component;
            from += 1;
        }
    }
    // Three components that are together longer than 1 are no rotation's; what is left of the fourth makes them one nonetheless.
    quaternion[largest] = rest.max(0.0).sqrt();
    if rest < 0.0 {
        let length = (1.0 - rest).sqrt();
        quaternion = quaternion.map(|component| component / length);
    }
    quaternion
}

/// The nearest multiple. Not a number is 0, as `as` has it.
fn steps(value: f32, step: f64) -> i32 {
    let limit = f64::from(MAX_QUANTUM);
    (f64::from(value) / step).round().clamp(-limit, limit) as i32
}

/// The index of the largest component, the first of equals, and the others as multiples, with the sign that makes the largest positive.
fn smallest_three(quaternion: [f32; 4], step: f64) -> [i32; 4] {
    let wide = quaternion.map(f64::from);
    let length = wide
        .iter()
        .map(|component| component * component)
        .sum::<f64>()
        .sqrt();
    if !(length > 1e-9 && length.is_finite()) {
        return [3, 0, 0, 0];
    }
    let mut largest = 0;
    for index in 1..4 {
        if wide[index].abs() > wide[largest].abs() {
            largest = index;
        }
    }
    let scale = length * step * wide[largest].signum();
    let limit = (ROTATION_LIMIT / step).round();
    let mut row = [largest as i32, 0, 0, 0];
    let others = (0..4).filter(|index| *index != largest);
    for (to, index) in row[1..].iter_mut().zip(others) {
        *to = (wide[index] / scale).round().clamp(-limit, limit) as i32;
    }
    row
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_scalar_is_off_by_half_a_step_at_most(value in -1e5f32..1e5, step in 0.001f64..10.0) {
            let mut row = [0];
            quantise(FieldKind::Scalar { step }, Value::Scalar(value), &mut row).unwrap();
            let Value::Scalar(back) = dequantise(FieldKind::Scalar { step }, &row) else { panic!() };
            // And by what an f32 of that size cannot tell.
            let slack = f64::from(value.abs()) * 1e-7;
            prop_assert!((f64::from(back) - f64::from(value)).abs() <= step / 2.0 + slack);
        }

        #[test]
        fn a_rotation_is_off_by_three_and_a_half_steps_at_most(
            quaternion in proptest::array::uniform4(-1.0f32..1.0),
            step in 0.0001f64..0.01,
        ) {
            let length = quaternion.iter().map(|c| c * c).sum::<f32>().sqrt();
            prop_assume!(length > 0.01);
            let mut row = [0; 4];
            quantise(FieldKind::Rotation { step }, Value::Rotation(quaternion), &mut row).unwrap();
            let back = unit(&row, step);
            let sign = if (0..4).map(|i| back[i] * f64::from(quaternion[i])).sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
            let apart = |i: usize| back[i] - sign * f64::from(quaternion[i]) / f64::from(length);
            // Half the chord between the quaternions is the sine of a quarter of the angle.
            let chord = (0..4).map(|i| apart(i) * apart(i)).sum::<f64>().sqrt();
            let angle = 4.0 * (chord / 2.0).asin();
            prop_assert!(angle <= 3.5 * step + 1e-5, "{angle} > {step}");
        }
    }

    #[test]
    fn what_is_no_number_has_an_answer() {
        let scalar = |value| {
            let mut row = [7];
            quantise(
                FieldKind::Scalar { step: 0.5 },
                Value::Scalar(value),
                &mut row,
            )
            .unwrap();
            row[0]
        };
        assert_eq!(scalar(f32::NAN), 0);
        assert_eq!(scalar(f32::INFINITY), MAX_QUANTUM);
        assert_eq!(scalar(f32::NEG_INFINITY), -MAX_QUANTUM);
        assert_eq!(scalar(f32::MAX), MAX_QUANTUM);
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(smallest_three([bad, 0.0, 0.0, 1.0], 0.001), [3, 0, 0, 0]);
        }
        assert_eq!(smallest_three([0.0; 4], 0.001), [3, 0, 0, 0]);
    }

    #[test]
    fn a_quaternion_and_its_opposite_are_one_rotation() {
        let quaternion = [0.1, -0.7, 0.5, 0.3];
        let rows = [1.0, -1.0].map(|sign| smallest_three(quaternion.map(|c| c * sign), 0.001));
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0][0], 1);
    }
}
