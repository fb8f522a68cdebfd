use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{ConfigError, key::Key};

/// Bytes of a configuration file that are read at most.
pub const MAX_CONFIG_BYTES: u64 = 256 * 1024;

/// Entries of a list in a configuration at most.
const MAX_LIST: usize = 64;

/// The object in the file that holds the limits.
const LIMITS: &str = "limits";

/// Settings that come from one place and are not checked yet. Later layers win over earlier ones, setting by setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    values: BTreeMap<Key, Given>,
    unknown: Vec<String>,
}

/// What was given for a setting, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) origin: Origin,
    pub(crate) raw: Raw,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    One(String),
    Many(Vec<String>),
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Environment,
    Flag,
}

impl Origin {
    /// The name under which the user knows the setting there.
    pub(crate) fn place(&self, key: Key) -> String {
        match self {
            Self::File(file) => format!("{}: {}", file.display(), key.json()),
            Self::Environment => key.environment().unwrap_or(key.json()).to_owned(),
            Self::Flag => key.flag().unwrap_or(key.json()).to_owned(),
        }
    }
}

impl Layer {
    /// The settings in the text of a `relay.json`. `file` names it in errors, and relative paths in it count from its folder.
    ///
    /// Empty texts, `null` and a port of 0 where a client is to dial it count as not given. Keys that the relay does not know are kept for [`unknown`](Self::unknown).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] where the text is not a JSON object, [`ConfigError::Invalid`] where a value is neither text, number nor list of texts.
    pub fn from_json(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let syntax = |message: String| ConfigError::Syntax {
            file: file.to_owned(),
            message,
        };
        let value: Value = serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?;
        let Value::Object(object) = value else {
            return Err(syntax(
                "expected a JSON object such as {\"listenPort\": 4002}".to_owned(),
            ));
        };
        let mut layer = Self::default();
        for (name, value) in object {
            if name != LIMITS {
                layer.add_json(file, &name, value)?;
                continue;
            }
            let limits = match value {
                Value::Null => continue,
                Value::Object(limits) => limits,
                other => {
                    return Err(syntax(format!(
                        "{LIMITS}: expected an object, found {other}"
                    )));
                }
            };
            for (name, value) in limits {
                layer.add_json(file, &format!("{LIMITS}.{name}"), value)?;
            }
        }
        Ok(layer)
    }

    /// The settings in the environment, which `lookup` reads. Empty variables count as not given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where a variable of ours is not Unicode.
    pub fn from_environment(
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut layer = Self::default();
        for key in Key::ALL.iter().copied() {
            let Some(value) = key.environment().and_then(&lookup) else {
                continue;
            };
            let text = value.into_string().map_err(|value| ConfigError::Invalid {
                place: Origin::Environment.place(key),
                value: value.to_string_lossy().into_owned(),
                problem: "is not Unicode",
                remedy: "set it to plain text or unset it",
            })?;
            layer.add(key, Origin::Environment, Raw::One(text));
        }
        Ok(layer)
    }

    /// Adds what a flag said.
    pub(crate) fn add_flag(&mut self, key: Key, value: Option<&str>) {
        if let Some(text) = value {
            self.add(key, Origin::Flag, Raw::One(text.to_owned()));
        }
    }

    /// Adds what a repeatable flag said.
    pub(crate) fn add_flags(&mut self, key: Key, values: &[String]) {
        self.add(key, Origin::Flag, Raw::Many(values.to_owned()));
    }

    /// This layer under `other`, which wins.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.values.extend(other.values);
        self.unknown.extend(other.unknown);
        self
    }

    /// Keys of the file that the relay does not know: it goes on without them, but a misspelt key should not pass unseen.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    pub(crate) fn value(&self, key: Key) -> Option<&Given> {
        self.values.get(&key)
    }

    fn add_json(&mut self, file: &Path, name: &str, value: Value) -> Result<(), ConfigError> {
        let Some(key) = Key::from_json(name) else {
            self.unknown.push(format!("{}: {name}", file.display()));
            return Ok(());
        };
        let origin = Origin::File(file.to_owned());
        let invalid = |value: &Value| ConfigError::Invalid {
            place: origin.place(key),
            value: value.to_string(),
            problem: "is neither text nor a number",
            remedy: "give a text, a number or, for addresses, a list of at most 64 texts",
        };
        let raw = match &value {
            Value::Null => return Ok(()),
            Value::String(text) => Raw::One(text.clone()),
            Value::Number(number) => Raw::One(number.to_string()),
            Value::Array(items) if items.len() <= MAX_LIST => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map(str::to_owned)
                        .ok_or_else(|| invalid(item))
                })
                .collect::<Result<_, _>>()
                .map(Raw::Many)?,
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(invalid(&value)),
        };
        self.add(key, origin, raw);
        Ok(())
    }

    fn add(&mut self, key: Key, origin: Origin, raw: Raw) {
        if !raw.is_empty() {
            self.values.insert(key, Given { origin, raw });
        }
    }
}

impl Raw {
    fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.trim().is_empty(),
            Self::Many(texts) => texts.is_empty(),
        }
    }

    /// The single texts: a text may hold several, separated by commas.
    pub(crate) fn items(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts.as_slice(),
        };
        texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text.trim()),
            Self::Many(texts) => f.write_str(&texts.join(", ")),
        }
    }
}
