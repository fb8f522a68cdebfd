//! The messages of PeerCompute.

#[allow(missing_docs, clippy::doc_markdown)]
#[path = "generated/peercompute.v1.rs"]
pub mod v1;
