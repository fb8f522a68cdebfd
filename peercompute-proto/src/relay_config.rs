//! The JSON that relays serve as `relay-config.json` and clients read.

use serde_json::{Map, Value};

use crate::limits::{MAX_ADDRESS, MAX_BOOTSTRAP_PEERS, MAX_CONFIG_TEXT, MAX_RELAY_CONFIG};
use crate::v1::RelayConfig;

/// Why a text is no relay configuration. `field` is the key as it stands in the JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayConfigError {
    /// The text is larger than any configuration.
    #[error("a relay configuration of {size} bytes is larger than the {MAX_RELAY_CONFIG} allowed")]
    TooLarge {
        /// The text's length in bytes.
        size: usize,
    },
    /// The text is no JSON object.
    #[error("the relay configuration is no JSON object: {source}")]
    Syntax {
        /// What is wrong and where.
        #[from]
        source: serde_json::Error,
    },
    /// A value is of another type.
    #[error("{field} is {value}, which is not {expected}")]
    Type {
        /// The key.
        field: &'static str,
        /// The value, as JSON, cut when it is long.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A text is longer than it may be.
    #[error("{field} has {size} bytes; it may have {limit} at most")]
    TooLong {
        /// The key.
        field: &'static str,
        /// The text's length in bytes.
        size: usize,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// A list is longer than it may be.
    #[error("{field} lists {count}; it may list {limit} at most")]
    TooMany {
        /// The key.
        field: &'static str,
        /// The list's length.
        count: usize,
        /// The most that it may have.
        limit: usize,
    },
}

/// Characters of a wrong value that an error shows.
const SHOWN: usize = 40;

const TEXT: &str = "a text";
const PORT: &str = "a port: a number from 0 to 65535, or the same as a text";
const TEXTS: &str = "a list of texts";

impl RelayConfig {
    /// Reads a configuration. Keys are in camelCase (`relayHost`), ports numbers or texts; keys that are not known are ignored, those that are absent or `null`
    /// leave the field at its default.
    ///
    /// # Errors
    ///
    /// [`RelayConfigError`], which names the field.
    pub fn from_json(text: &str) -> Result<Self, RelayConfigError> {
        if text.len() > MAX_RELAY_CONFIG {
            return Err(RelayConfigError::TooLarge { size: text.len() });
        }
        let keys: Map<String, Value> = serde_json::from_str(text)?;
        let reader = Reader(keys);
        Ok(Self {
            relay_host: reader.text("relayHost")?,
            relay_port: reader.port("relayPort")?,
            relay_protocol: reader.text("relayProtocol")?,
            relay_peer_id: reader.text("relayPeerId")?,
            relay_identity_file: reader.text("relayIdentityFile")?,
            relay_config_url: reader.text("relayConfigUrl")?,
            relay_config_file: reader.text("relayConfigFile")?,
            listen_host: reader.text("listenHost")?,
            listen_port: reader.port("listenPort")?,
            public_host: reader.text("publicHost")?,
            public_port: reader.port("publicPort")?,
            bootstrap_peers: reader.texts("bootstrapPeers")?,
        })
    }

    /// The configuration as JSON, indented, with a line end. Ports are numbers; what is empty or 0 is left out.
    pub fn to_json(&self) -> String {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value, is_set: bool| {
            if is_set {
                keys.insert(key.to_owned(), value);
            }
        };
        for (key, text) in [
            ("relayHost", &self.relay_host),
            ("relayProtocol", &self.relay_protocol),
            ("relayPeerId", &self.relay_peer_id),
            ("relayIdentityFile", &self.relay_identity_file),
            ("relayConfigUrl", &self.relay_config_url),
            ("relayConfigFile", &self.relay_config_file),
            ("listenHost", &self.listen_host),
            ("publicHost", &self.public_host),
        ] {
            put(key, text.as_str().into(), !text.is_empty());
        }
        for (key, port) in [
            ("relayPort", self.relay_port),
            ("listenPort", self.listen_port),
            ("publicPort", self.public_port),
        ] {
            put(key, port.into(), port != 0);
        }
        let peers = &self.bootstrap_peers;
        put("bootstrapPeers", peers.as_slice().into(), !peers.is_empty());
        // The alternate form is the indented one.
        format!("{:#}\n", Value::Object(keys))
    }
}

struct Reader(Map<String, Value>);

impl Reader {
    fn value(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &'static str) -> Result<String, RelayConfigError> {
        match self.value(field) {
            None => Ok(String::new()),
            Some(Value::String(text)) => bounded(field, text, MAX_CONFIG_TEXT),
            Some(other) => Err(wrong(field, other, TEXT)),
        }
    }

    fn port(&self, field: &'static str) -> Result<u32, RelayConfigError> {
        let port = match self.value(field) {
            None => return Ok(0),
            Some(Value::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
            Some(Value::String(port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                port.parse().ok()
            }
            Some(_) => None,
        };
        let value = self.value(field).unwrap_or(&Value::Null);
        port.map(u32::from).ok_or_else(|| wrong(field, value, PORT))
    }

    fn texts(&self, field: &'static str) -> Result<Vec<String>, RelayConfigError> {
        let list = match self.value(field) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong(field, other, TEXTS)),
        };
        if list.len() > MAX_BOOTSTRAP_PEERS {
            return Err(RelayConfigError::TooMany {
                field,
                count: list.len(),
                limit: MAX_BOOTSTRAP_PEERS,
            });
        }
        list.iter()
            .map(|item| match item {
                Value::String(text) => bounded(field, text, MAX_ADDRESS),
                other => Err(wrong(field, other, TEXTS)),
            })
            .collect()
    }
}

fn bounded(field: &'static str, text: &str, limit: usize) -> Result<String, RelayConfigError> {
    if text.len() > limit {
        return Err(RelayConfigError::TooLong {
            field,
            size: text.len(),
            limit,
        });
    }
    Ok(text.to_owned())
}

fn wrong(field: &'static str, value: &Value, expected: &'static str) -> RelayConfigError {
    let mut value = value.to_string();
    if let Some((cut, _)) = value.char_indices().nth(SHOWN) {
        value.truncate(cut);
        value.push('…');
    }
    RelayConfigError::Type {
        field,
        value,
        expected,
    }
}
