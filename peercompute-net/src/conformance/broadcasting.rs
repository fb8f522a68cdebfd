use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::select};

use super::bench::{Bench, Outcome, Peer, ensure, pattern};
use crate::{
    Broadcast, BroadcastMessage, MAX_MESSAGE, Messages, PublishError,
    conformance::Verdict::{NotOffered, Passed},
};

/// What is published may be lost, for one while those who subscribe are not known yet. So it is published again in this interval.
const AGAIN: Duration = Duration::from_millis(100);

const TOPIC: &str = "conformance/one";
const OTHER_TOPIC: &str = "conformance/other";

fn broadcast(peer: &Peer) -> Option<Arc<dyn Broadcast>> {
    peer.transport.broadcast()
}

/// Publishes until somebody gets it.
async fn publish_until_it_arrives(
    bench: &Bench<'_>,
    from: &dyn Broadcast,
    to: &mut Messages,
    data: Bytes,
) -> Result<BroadcastMessage, String> {
    let runtime = bench.runtime();
    let publish = async {
        loop {
            match from.publish(TOPIC, data.clone()) {
                Ok(()) | Err(PublishError::QueueFull) => {}
                Err(error) => return error,
            }
            runtime.sleep(AGAIN).await;
        }
    };
    let arrives = async {
        loop {
            match to.next().await {
                Some(message) if message.data == data => return Some(message),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let (publish, arrives) = (std::pin::pin!(publish), std::pin::pin!(arrives));
    let first = bench
        .within("what was published to arrive", select(publish, arrives))
        .await?;
    match first {
        futures::future::Either::Left((error, _)) => Err(format!("publishing fails: {error}")),
        futures::future::Either::Right((message, _)) => {
            message.ok_or_else(|| "the subscription ends".to_owned())
        }
    }
}

pub(super) async fn a_message_reaches_those_who_subscribe_to_its_topic_and_nobody_else(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (Some(from), Some(to)) = (broadcast(&alice), broadcast(&bob)) else {
        return Ok(NotOffered);
    };
    let mut own = from.subscribe(TOPIC);
    let mut wanted = to.subscribe(TOPIC);
    let mut other = to.subscribe(OTHER_TOPIC);
    let data = Bytes::from_static(b"to whom it may concern");
    let message = publish_until_it_arrives(bench, from.as_ref(), &mut wanted, data.clone()).await?;
    ensure!(
        message.from == alice.id,
        "{} is named and {} published",
        message.from,
        alice.id
    );
    ensure!(
        own.try_next().is_none(),
        "a message comes back to the one who published it"
    );
    ensure!(
        other.try_next().is_none(),
        "a message arrives on another topic"
    );
    Ok(Passed)
}

pub(super) async fn a_message_as_large_as_allowed_arrives_and_a_larger_one_is_refused(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let (Some(from), Some(to)) = (broadcast(&alice), broadcast(&bob)) else {
        return Ok(NotOffered);
    };
    let mut wanted = to.subscribe(TOPIC);
    let large = Bytes::from(pattern(MAX_MESSAGE, 1));
    publish_until_it_arrives(bench, from.as_ref(), &mut wanted, large).await?;
    let too_large = Bytes::from(pattern(MAX_MESSAGE + 1, 1));
    let result = from.publish(TOPIC, too_large);
    let size = MAX_MESSAGE + 1;
    ensure!(
        result == Err(PublishError::TooLarge { size }),
        "publishing {size} bytes gives {result:?} and not TooLarge"
    );
    Ok(Passed)
}

pub(super) async fn a_subscription_ends_with_the_transport(bench: &Bench<'_>) -> Outcome {
    let (alice, _bob) = bench.pair().await?;
    let Some(broadcast) = broadcast(&alice) else {
        return Ok(NotOffered);
    };
    let mut messages = broadcast.subscribe(TOPIC);
    bench.within("closing", alice.transport.close()).await?;
    bench
        .within("the end of the subscription", async {
            while messages.next().await.is_some() {}
        })
        .await?;
    let result = broadcast.publish(TOPIC, Bytes::from_static(b"too late"));
    ensure!(
        result == Err(PublishError::Closed),
        "publishing after the close gives {result:?} and not Closed"
    );
    Ok(Passed)
}
