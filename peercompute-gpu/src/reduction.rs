//! What many values are reduced to.

/// What many values are reduced to. The values are numbers: with a NaN among them the result is any number or NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their sum; 0 without values.
    Sum,
    /// The least of them; +∞ without values.
    Min,
    /// The greatest of them; −∞ without values.
    Max,
}

impl Reduction {
    /// What no values reduce to.
    pub fn identity(self) -> f32 {
        match self {
            Self::Sum => 0.0,
            Self::Min => f32::INFINITY,
            Self::Max => f32::NEG_INFINITY,
        }
    }
}
