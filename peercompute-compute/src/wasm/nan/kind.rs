//! What operators do with the bits of numbers.

use wasmparser::Operator;

/// What an operator does with the bits of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It takes so many numbers, whose NaNs are all alike to it, and gives one of which the bits are anybody's.
    Arithmetic(usize),
    /// It takes so many numbers, whose NaNs are all alike to it, and gives an integer.
    Blind(usize),
    /// It gives vectors of floating-point numbers of which the bits are anybody's.
    Vector(Lanes),
    /// It gives a number that is no NaN.
    Number,
    Get(u32),
    Set(u32),
    Tee(u32),
    Drop,
    Select,
    /// Anything else, which may look at bits.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    F32,
    F64,
}

#[rustfmt::skip]
pub(super) fn kind(operator: &Operator<'_>) -> Kind {
    use Operator as O;
    match operator {
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max
        | O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max => Kind::Arithmetic(2),
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt
        | O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt
        | O::F32DemoteF64 | O::F64PromoteF32 => Kind::Arithmetic(1),
        O::F32Eq | O::F32Ne | O::F32Lt | O::F32Gt | O::F32Le | O::F32Ge
        | O::F64Eq | O::F64Ne | O::F64Lt | O::F64Gt | O::F64Le | O::F64Ge => Kind::Blind(2),
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U
        | O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U
        | O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U
        | O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U => Kind::Blind(1),
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U
        | O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => Kind::Number,
        O::F32Const { value } if !f32::from_bits(value.bits()).is_nan() => Kind::Number,
        O::F64Const { value } if !f64::from_bits(value.bits()).is_nan() => Kind::Number,
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Min | O::F32x4Max
        | O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest | O::F32x4Sqrt
        | O::F32x4DemoteF64x2Zero => Kind::Vector(Lanes::F32),
        O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Min | O::F64x2Max
        | O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest | O::F64x2Sqrt
        | O::F64x2PromoteLowF32x4 => Kind::Vector(Lanes::F64),
        O::LocalGet { local_index } => Kind::Get(*local_index),
        O::LocalSet { local_index } => Kind::Set(*local_index),
        O::LocalTee { local_index } => Kind::Tee(*local_index),
        O::Drop => Kind::Drop,
        O::Select => Kind::Select,
        _ => Kind::Other,
    }
}
