//! Streams that come in, until it is known whether they are a member's.

use libp2p_identity::PeerId;
use peercompute_rt::Runtime;

use super::stream::{HELLO_TIMEOUT, SealedStream};
use crate::Stream;

/// Waits for the first record of a stream. `None` if it does not open or does not come: the stream has been dropped, without a byte to the other end.
pub(super) async fn admit(
    runtime: Runtime,
    peer: PeerId,
    mut stream: SealedStream<Stream>,
) -> Option<Stream> {
    let greeted = runtime.timeout(HELLO_TIMEOUT, stream.greeted()).await;
    match greeted {
        Ok(Ok(())) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a stream is not from the room");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(%peer, "a stream does not begin");
            None
        }
    }
}
