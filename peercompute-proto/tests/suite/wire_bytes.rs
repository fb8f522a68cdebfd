//! Wire bytes made by hand, for what no encoder makes.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

/// A chain of fields.
#[derive(Clone, Default)]
pub(crate) struct Wire(pub(crate) BytesMut);

impl Wire {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, tag: u32, value: &[u8]) -> Self {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        encode_varint(value.len() as u64, &mut self.0);
        self.0.put_slice(value);
        self
    }

    pub(crate) fn message(self, tag: u32, value: Wire) -> Self {
        self.bytes(tag, &value.0)
    }

    pub(crate) fn number(mut self, tag: u32, value: u64) -> Self {
        encode_key(tag, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
        self
    }

    pub(crate) fn fixed64(mut self, tag: u32, value: u64) -> Self {
        encode_key(tag, WireType::SixtyFourBit, &mut self.0);
        self.0.put_u64_le(value);
        self
    }

    pub(crate) fn fixed32(mut self, tag: u32, value: u32) -> Self {
        encode_key(tag, WireType::ThirtyTwoBit, &mut self.0);
        self.0.put_u32_le(value);
        self
    }

    pub(crate) fn group(mut self, tag: u32, inner: Wire) -> Self {
        encode_key(tag, WireType::StartGroup, &mut self.0);
        self.0.put_slice(&inner.0);
        encode_key(tag, WireType::EndGroup, &mut self.0);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    /// `count` times the same fields.
    pub(crate) fn repeat(mut self, count: usize, field: Wire) -> Self {
        for _ in 0..count {
            self.0.put_slice(&field.0);
        }
        self
    }

    /// The fields as a frame.
    pub(crate) fn framed(self) -> Self {
        let mut frame = Self::default();
        encode_varint(self.0.len() as u64, &mut frame.0);
        frame.0.put_slice(&self.0);
        frame
    }

    /// Groups that lie `levels` deep inside each other.
    pub(crate) fn groups(tag: u32, levels: usize) -> Self {
        (0..levels).fold(Self::new(), |inner, _| Self::new().group(tag, inner))
    }
}
