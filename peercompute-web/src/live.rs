//! The live room, as the page sees it.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Function, Uint8Array};
use peercompute_kernel::{
    Moment, Realtime, RealtimeError, RealtimeEvent, Recipients, StateProvider,
    sched::{Delivery, Outcome, Profile, Rate},
};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::object::{Given, bytes, error, invalid, object};

/// Rates and policies: those of a ready-made profile, changed where the page says so.
pub(crate) fn profile(given: Given<'_>) -> Result<Profile, JsValue> {
    let mut profile = match given.text("profile")?.as_deref() {
        None | Some("action") => Profile::action(),
        Some("coop") => Profile::coop(),
        Some("turn_based") => Profile::turn_based(),
        Some("sandbox") => Profile::sandbox(),
        Some(other) => {
            return Err(invalid(format!(
                "there is no profile {other:?}; known are action, coop, turn_based and sandbox"
            )));
        }
    };
    let rate = |name, rate: &mut Rate| -> Result<(), JsValue> {
        if let Some(hertz) = given.number(name)? {
            *rate = Rate::hertz(hertz).map_err(|error| invalid(format!("{name}: {error}")))?;
        }
        Ok(())
    };
    rate("snapshotHz", &mut profile.snapshots)?;
    rate("leastSnapshotHz", &mut profile.adaptation.least)?;
    rate("commandHz", &mut profile.commands)?;
    rate("eventHz", &mut profile.events)?;
    if let Some(millis) = given.count("firstRetryMs")? {
        profile.retry.first = Duration::from_millis(millis);
    }
    if let Some(sends) = given.count("sends")? {
        profile.retry.sends = u32::try_from(sends).unwrap_or(u32::MAX);
    }
    Ok(profile)
}

/// A function of the page that gives a state: bytes, or nothing if it is as it was.
pub(crate) struct PageState(pub(crate) Function);

impl StateProvider for PageState {
    fn state(&mut self, moment: Moment) -> Option<Bytes> {
        let moment = object([
            ("timeMs", (moment.time.as_secs_f64() * 1e3).into()),
            ("tick", (moment.tick as f64).into()),
        ]);
        // What it throws is reported to the page by the wrapper that calls it.
        let state = self.0.call1(&JsValue::NULL, &moment).ok()?;
        Some(Bytes::from(state.dyn_ref::<Uint8Array>()?.to_vec()))
    }
}

/// Queues an event: to all unless `to` names a peer, in the profile's way unless `reliable` or `ordered` says otherwise. Gives its number.
pub(crate) fn queue_event(
    realtime: &Realtime,
    event_type: &str,
    payload: Bytes,
    options: Given<'_>,
) -> Result<f64, JsValue> {
    let to = match options.text("to")? {
        Some(peer) => Recipients::Peer(
            peer.parse()
                .map_err(|error| invalid(format!("to: {peer:?} is no peer id: {error}")))?,
        ),
        None => Recipients::All,
    };
    let delivery = match (options.flag("ordered")?, options.flag("reliable")?) {
        (Some(true), _) => Some(Delivery::Ordered),
        (_, Some(true)) => Some(Delivery::Reliable),
        (_, Some(false)) => Some(Delivery::BestEffort),
        _ => None,
    };
    let sent = match delivery {
        Some(delivery) => realtime.send_event_by(to, event_type, payload, delivery),
        None => realtime.send_event(to, event_type, payload),
    };
    sent.map(|event| event.as_u64() as f64).map_err(refused)
}

pub(crate) fn refused(refusal: RealtimeError) -> JsValue {
    let code = match refusal {
        RealtimeError::UnknownPeer { .. } => "UNKNOWN_PEER",
        RealtimeError::UnknownProvider { .. } => "UNKNOWN_PROVIDER",
        _ => "REFUSED",
    };
    error(code, refusal)
}

/// An event as an object; nothing for one that a page has no use for.
pub(crate) fn event(event: RealtimeEvent) -> Option<JsValue> {
    let peer = |kind: &str, peer: peercompute_net::PeerId| {
        object([("type", kind.into()), ("peer", peer.to_string().into())])
    };
    Some(match event {
        RealtimeEvent::Joined { peer: it } => peer("joined", it),
        RealtimeEvent::Left { peer: it } => peer("left", it),
        RealtimeEvent::Restarted { peer: it } => peer("restarted", it),
        RealtimeEvent::Event {
            from,
            event_type,
            payload,
        } => object([
            ("type", "event".into()),
            ("from", from.to_string().into()),
            ("eventType", event_type.into()),
            ("payload", bytes(&payload)),
        ]),
        RealtimeEvent::Settled {
            event,
            peer,
            outcome,
        } => object([
            ("type", "settled".into()),
            ("event", (event.as_u64() as f64).into()),
            ("peer", peer.to_string().into()),
            ("outcome", name(outcome).into()),
        ]),
        RealtimeEvent::Resumed {
            event,
            peer,
            event_type,
            payload,
        } => object([
            ("type", "resumed".into()),
            ("event", (event.as_u64() as f64).into()),
            ("peer", peer.to_string().into()),
            ("eventType", event_type.into()),
            ("payload", bytes(&payload)),
        ]),
        RealtimeEvent::State {
            from,
            provider,
            version,
            tick,
            time,
            payload,
        } => object([
            ("type", "snapshot".into()),
            ("from", from.to_string().into()),
            ("provider", provider.into()),
            ("version", (version as f64).into()),
            ("tick", (tick as f64).into()),
            ("timeMs", (time.as_secs_f64() * 1e3).into()),
            ("payload", bytes(&payload)),
        ]),
        RealtimeEvent::Command {
            from,
            sequence,
            tick,
            provider,
            payload,
        } => object([
            ("type", "command".into()),
            ("from", from.to_string().into()),
            ("sequence", (sequence as f64).into()),
            ("tick", (tick as f64).into()),
            ("provider", provider.into()),
            ("payload", bytes(&payload)),
        ]),
        RealtimeEvent::ProviderFailed { provider, failure } => object([
            ("type", "providerFailed".into()),
            ("provider", provider.into()),
            ("message", failure.to_string().into()),
        ]),
        RealtimeEvent::Lagged { missed } => object([
            ("type", "lagged".into()),
            ("missed", (missed as f64).into()),
        ]),
        _ => return None,
    })
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Acked => "acked",
        Outcome::NotSent => "notSent",
        _ => "unknown",
    }
}
