//! Objects of JavaScript, written and read by name.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

/// An object with these properties; what is undefined is left out.
pub(crate) fn object<const N: usize>(properties: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        if !value.is_undefined() {
            // Only frozen objects and proxies refuse.
            let _ = Reflect::set(&object, &name.into(), &value);
        }
    }
    object.into()
}

pub(crate) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

pub(crate) fn list(values: impl IntoIterator<Item = JsValue>) -> JsValue {
    values.into_iter().collect::<Array>().into()
}

pub(crate) fn optional(value: Option<impl Into<JsValue>>) -> JsValue {
    value.map_or(JsValue::UNDEFINED, Into::into)
}

/// An error of this name, which is its `code` too.
pub(crate) fn error(code: &str, message: impl std::fmt::Display) -> JsValue {
    let error = js_sys::Error::new(&message.to_string());
    error.set_name(code);
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// What is wrong with what the page gives.
pub(crate) fn invalid(message: impl std::fmt::Display) -> JsValue {
    error("INVALID_ARGUMENT", message)
}

/// Properties that the page gives, by name.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a JsValue);

impl Given<'_> {
    /// What is there; nothing for null, too.
    pub(crate) fn get(&self, name: &str) -> Option<JsValue> {
        let value = Reflect::get(self.0, &name.into()).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, JsValue> {
        self.read(name, "a string", |value| value.as_string())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, JsValue> {
        self.read(name, "a number", |value| value.as_f64())
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, JsValue> {
        let whole = |number: &f64| number.fract() == 0.0 && (0.0..=9e15).contains(number);
        self.read(name, "a whole number that is not negative", |value| {
            value.as_f64().filter(whole).map(|number| number as u64)
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, JsValue> {
        self.read(name, "true or false", |value| value.as_bool())
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
        self.read(name, "a Uint8Array", |value| {
            Some(value.dyn_ref::<Uint8Array>()?.to_vec())
        })
    }

    /// Three whole numbers of 32 bits.
    pub(crate) fn counts(&self, name: &str) -> Result<Option<[u32; 3]>, JsValue> {
        self.read(name, "an array of three whole numbers", |value| {
            let array = value.dyn_ref::<Array>()?;
            let whole = |it: JsValue| {
                let number = it.as_f64()?;
                (f64::from(number as u32) == number).then_some(number as u32)
            };
            let counts: Option<Vec<u32>> = array.iter().map(whole).collect();
            counts?.try_into().ok()
        })
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, JsValue> {
        let texts = self.read(name, "an array of strings", |value| {
            let array = value.dyn_ref::<Array>()?;
            array.iter().map(|text| text.as_string()).collect()
        });
        Ok(texts?.unwrap_or_default())
    }

    fn read<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&JsValue) -> Option<T>,
    ) -> Result<Option<T>, JsValue> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match read(&value) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(format!(
                "{name} is {}; give {kind}",
                shown(&value, kind)
            ))),
        }
    }
}

/// A number where one is wanted as it is; of anything else its kind alone, as it may be a password.
fn shown(value: &JsValue, wanted: &str) -> String {
    if Array::is_array(value) {
        return format!("an array of {}", Array::from(value).length());
    }
    let number = value.as_f64().filter(|_| wanted.contains("number"));
    match (number, value.js_typeof().as_string()) {
        (Some(number), _) => number.to_string(),
        (None, Some(kind)) => format!("of the type {kind}"),
        (None, None) => "of no type".to_owned(),
    }
}
