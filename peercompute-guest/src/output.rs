use alloc::vec::Vec;

use crate::{canonical_f32, canonical_f64};

/// The result of a task, as it grows.
///
/// Numbers are little endian, and NaNs are made canonical: the same input then gives the same bytes on every machine, in a browser, too.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output(Vec<u8>);

impl Output {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes room for so many bytes more, which saves copying what is there when the length is known.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve_exact(bytes);
    }

    /// Adds these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a number of 4 bytes.
    pub fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds a number of 8 bytes.
    pub fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds a floating-point number of 4 bytes.
    pub fn f32(&mut self, number: f32) -> &mut Self {
        self.bytes(&canonical_f32(number).to_le_bytes())
    }

    /// Adds a floating-point number of 8 bytes.
    pub fn f64(&mut self, number: f64) -> &mut Self {
        self.bytes(&canonical_f64(number).to_le_bytes())
    }

    /// Makes `bytes` the result, without copying them, in the place of what was there.
    pub fn replace(&mut self, bytes: Vec<u8>) {
        self.0 = bytes;
    }

    /// What is there.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// What is there, taken out.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}
