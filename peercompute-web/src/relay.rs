//! Which relay a page uses.

use peercompute_net::resolve_relay as resolve;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::object::{error, list, object};

/// Chooses the relay out of texts that the page has fetched: the first that is there decides. Gives `origin` and `addresses`.
///
/// # Errors
///
/// What is wrong with that text, or that there is none.
#[wasm_bindgen(js_name = resolveRelay)]
pub fn resolve_relay(
    query: Option<String>,
    source: Option<String>,
    fallback: Option<String>,
) -> Result<JsValue, JsValue> {
    let resolved = resolve(query.as_deref(), source.as_deref(), fallback.as_deref());
    let resolved = resolved.map_err(|failure| error("NO_RELAY", failure))?;
    let addresses = resolved.addresses.iter().map(|it| it.to_string().into());
    Ok(object([
        ("origin", resolved.origin.to_string().into()),
        ("addresses", list(addresses)),
    ]))
}
