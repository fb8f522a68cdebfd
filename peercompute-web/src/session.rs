//! How a peer is reached, for pages.

use std::time::Duration;

use peercompute_net::{Path, PathChange, PathReport, SessionReport, StreamReport};
use peercompute_rt::Instant;
use wasm_bindgen::JsValue;

use crate::object::{list, object, optional};

pub(crate) fn session(report: &SessionReport, now: Instant) -> JsValue {
    let paths = report.paths.iter().map(|it| connection(it, now));
    let history = report.history.iter().map(|it| change(it, now));
    object([
        ("paths", list(paths)),
        ("obstacle", optional(report.obstacle.clone())),
        ("history", list(history)),
    ])
}

fn connection(report: &PathReport, now: Instant) -> JsValue {
    object([
        ("path", path(report.path).into()),
        ("carrier", report.carrier.into()),
        ("address", report.address.to_string().into()),
        ("outbound", report.outbound.into()),
        ("ageMs", millis(now - report.since)),
        ("roundTripMs", optional(report.rtt.map(millis))),
        ("streams", list(report.streams.iter().map(stream))),
    ])
}

fn stream(report: &StreamReport) -> JsValue {
    object([
        ("protocol", report.protocol.clone().into()),
        ("opened", (report.opened as f64).into()),
        ("sent", (report.sent as f64).into()),
        ("received", (report.received as f64).into()),
    ])
}

fn change(change: &PathChange, now: Instant) -> JsValue {
    object([
        ("agoMs", millis(now - change.at)),
        ("path", optional(change.path.map(path))),
        ("carrier", change.carrier.into()),
    ])
}

pub(crate) fn path(path: Path) -> &'static str {
    match path {
        Path::Relayed => "relayed",
        _ => "direct",
    }
}

fn millis(duration: Duration) -> JsValue {
    (duration.as_secs_f64() * 1e3).into()
}
