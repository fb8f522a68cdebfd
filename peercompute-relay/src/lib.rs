#![doc = include_str!("../README.md")]

mod args;
mod certificate;
mod config;
mod error;
mod http;
mod identity;
mod metrics;
mod published;
mod relay;
mod run;

pub use args::Args;
pub use certificate::{CertificateError, CertificateProblem, ServerCertificate};
pub use config::{
    Certificate, ConfigError, DEFAULT_DRAIN, DEFAULT_HTTP, DEFAULT_PORT, DEFAULT_WEB_SOCKET_PORT,
    Host, IdentitySource, InvalidHost, Layer, Limits, MAX_CONFIG_BYTES, Protocol, RelayOptions,
    default_identity_file,
};
pub use error::{RunError, StartError};
pub use http::{
    HTTP_CONNECTION_TIMEOUT, HTTP_HEAD_TIMEOUT, HTTP_STALL_TIMEOUT, HttpOptions, HttpServer,
    MAX_HTTP_CONNECTIONS, MAX_HTTP_CONNECTIONS_PER_ADDRESS, MAX_HTTP_HEAD,
};
pub use relay::{Relay, RelayFigures};
pub use run::run;
