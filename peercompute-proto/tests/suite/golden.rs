//! The files in `golden/` are what this crate encodes and decodes, and their texts say the same. `PEERCOMPUTE_GOLDEN=write` writes them anew.

use std::fmt::Debug;

use bytes::Bytes;

use peercompute_proto::{Wire, decode};

use super::samples::{self, Visitor};
#[cfg(target_arch = "wasm32")]
use super::test;

#[cfg(not(target_arch = "wasm32"))]
mod files;

/// Encodes and decodes each sample and compares with its file.
#[derive(Default)]
struct Compare {
    seen: usize,
}

impl Visitor for Compare {
    fn visit<M: Wire + PartialEq + Debug>(
        &mut self,
        name: &'static str,
        golden: &[u8],
        message: M,
    ) {
        self.seen += 1;
        assert_eq!(
            message.encode_to_vec(),
            golden,
            "{name} is encoded otherwise"
        );
        assert_eq!(
            decode::<M>(Bytes::copy_from_slice(golden)),
            Ok(message),
            "{name}"
        );
    }
}

#[test]
fn golden_messages_are_encoded_and_decoded_as_ever() {
    // The test that writes them says what the samples look like as well.
    if cfg!(not(target_arch = "wasm32")) && std::env::var_os("PEERCOMPUTE_GOLDEN").is_some() {
        return;
    }
    let mut compare = Compare::default();
    samples::visit(&mut compare);
    assert!(compare.seen > 40, "{}", compare.seen);
}
