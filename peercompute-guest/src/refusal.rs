use alloc::string::String;
#[cfg(any(target_arch = "wasm32", test))]
use alloc::vec::Vec;

/// Why a task gives up: a text for whoever sent it, of which the host reads the first [`Refusal::MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// The most bytes that a host reads.
    pub const MAX: usize = 512;

    /// Gives up and says why.
    pub fn new(why: impl Into<String>) -> Self {
        let mut why = why.into();
        why.truncate(why.floor_char_boundary(Self::MAX));
        Self(why)
    }

    /// What it says.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(any(target_arch = "wasm32", test))]
    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::new(why)
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::new(why)
    }
}
