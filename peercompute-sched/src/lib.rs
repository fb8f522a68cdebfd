//! crate docs
mod codec;
pub use codec::*;
