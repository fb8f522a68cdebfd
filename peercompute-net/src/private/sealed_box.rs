//! Boxes: bytes that only those open who have the key and know what they are for.

use bytes::{Bytes, BytesMut};
use chacha20poly1305::{AeadInPlace as _, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use prost::Message;

use super::KEY_SIZE;

const NONCE_SIZE: usize = 24;
const TAG_SIZE: usize = 16;

/// Bytes that a box has beyond what is in it.
pub(crate) const OVERHEAD: usize = NONCE_SIZE + TAG_SIZE;

/// Random bytes, other ones for each box.
pub(super) type Nonce = [u8; NONCE_SIZE];

/// A box of an encoded message.
pub(super) fn seal(
    key: &[u8; KEY_SIZE],
    nonce: Nonce,
    context: &[u8],
    message: &impl Message,
) -> Bytes {
    let mut sealed = BytesMut::with_capacity(message.encoded_len() + OVERHEAD);
    sealed.extend_from_slice(&nonce);
    message
        .encode(&mut sealed)
        .expect("the buffer grows as it must");
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_in_place_detached(
            XNonce::from_slice(&nonce),
            context,
            &mut sealed[NONCE_SIZE..],
        )
        .expect("nothing here is as long as the cipher's bound of 256 GiB");
    sealed.extend_from_slice(&tag);
    sealed.freeze()
}

/// What is in a box, if it opens. Copies it only if somebody else holds the same bytes.
pub(super) fn open(key: &[u8; KEY_SIZE], context: &[u8], sealed: Bytes) -> Option<Bytes> {
    if sealed.len() < OVERHEAD {
        return None;
    }
    let mut sealed = sealed
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let nonce = sealed.split_to(NONCE_SIZE);
    let tag = sealed.split_off(sealed.len() - TAG_SIZE);
    XChaCha20Poly1305::new(key.into())
        .decrypt_in_place_detached(
            XNonce::from_slice(&nonce),
            context,
            &mut sealed,
            Tag::from_slice(&tag),
        )
        .ok()?;
    Some(sealed.freeze())
}
