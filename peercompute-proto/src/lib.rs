#![doc = include_str!("../README.md")]

mod binding;
mod decoder;
mod encoder;
mod error;
pub mod limits;
mod original;
#[cfg(feature = "json")]
mod relay_config;
mod rules;
mod scope;
mod tables;
/// The types that the schema `peercompute.v1` generates.
// A frame is decoded, looked at and gone; none is kept where its size would matter.
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
#[path = "generated/peercompute.v1.rs"]
pub mod v1;
mod wire;

pub use binding::BindingError;
pub use decoder::FrameDecoder;
pub use encoder::FrameEncoder;
pub use error::DecodeError;
pub use original::Original;
#[cfg(feature = "json")]
pub use relay_config::RelayConfigError;
pub use rules::Rules;
pub use scope::{Scope, ScopeError};
pub use wire::{Payload, Wire, check, decode, encode_frame};

/// The major version of the schema that this crate speaks, as in [`StreamBinding::version`](v1::StreamBinding::version).
pub const PROTOCOL_VERSION: u32 = 1;
