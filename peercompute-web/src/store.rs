//! The page's storage, as the place where a live room keeps what its next life needs.

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use peercompute_kernel::{RoomChange, RoomRecord, RoomStore, RoomStoreError};
use peercompute_proto::Scope;
use peercompute_rt::BoxFuture;
use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};

use crate::object::{bytes, list};

#[wasm_bindgen]
extern "C" {
    /// See `rooms.js`.
    pub(crate) type PageRooms;

    /// All records of a room: an array of keys and values.
    #[wasm_bindgen(method, catch)]
    async fn load(this: &PageRooms, scope: JsValue) -> Result<JsValue, JsValue>;

    /// Changes records: an array of keys, and values or null.
    #[wasm_bindgen(method, catch)]
    async fn write(this: &PageRooms, scope: JsValue, changes: JsValue) -> Result<JsValue, JsValue>;
}

/// Keeps records by an object of the page.
pub(crate) struct PageStore(pub(crate) PageRooms);

impl RoomStore for PageStore {
    fn load(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<RoomRecord>, RoomStoreError>> {
        Box::pin(async move {
            let records = self.0.load(bytes(scope.as_bytes())).await.map_err(failed)?;
            let records = records.dyn_into::<Array>().map_err(failed)?;
            Ok(records.iter().filter_map(|it| record(&it)).collect())
        })
    }

    fn write(
        &self,
        scope: Scope,
        changes: Vec<RoomChange>,
    ) -> BoxFuture<'_, Result<(), RoomStoreError>> {
        let changes = list(changes.into_iter().map(|RoomChange { key, value }| {
            let value = value.map_or(JsValue::NULL, |value| bytes(&value));
            list([bytes(&key), value])
        }));
        Box::pin(async move {
            let written = self.0.write(bytes(scope.as_bytes()), changes).await;
            written.map(drop).map_err(failed)
        })
    }
}

fn record(pair: &JsValue) -> Option<RoomRecord> {
    let pair = pair.dyn_ref::<Array>()?;
    let part = |at| Some(Bytes::from(pair.get(at).dyn_ref::<Uint8Array>()?.to_vec()));
    Some(RoomRecord {
        key: part(0)?,
        value: part(1)?,
    })
}

fn failed(failure: JsValue) -> RoomStoreError {
    let message = failure.dyn_ref::<js_sys::Error>().map(|it| it.message());
    RoomStoreError::new(message.map_or_else(|| format!("{failure:?}"), String::from))
}
