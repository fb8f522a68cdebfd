//! Which entities a receiver is to know, and which of them matter most.

mod attention;
mod grid;

pub use attention::{Attention, Sight};
pub use grid::Grid;
