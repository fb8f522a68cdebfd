//! What the program prints: results on standard output, everything else on standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// The environment variable that sets what is logged where `--log` does not.
const LOG_VARIABLE: &str = "PEERCOMPUTE_LOG";

/// Starts logging to standard error.
pub(crate) fn start_logging(level: Option<&str>) -> Result<(), Failure> {
    let variable = std::env::var(LOG_VARIABLE).ok();
    let (source, directives) = match (level, variable.as_deref()) {
        (Some(level), _) => ("--log", level),
        (None, Some(variable)) => (LOG_VARIABLE, variable),
        (None, None) => ("the default", "warn"),
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        Failure::usage(format!(
            "{source}: `{directives}` is no log level or filter ({error}); use error, warn, info, debug or trace"
        ))
    })?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .init();
    Ok(())
}

/// A line on standard output. Who has closed it does not want it.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line for people on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(crate) fn error(failure: &Failure) {
    note(&format!("error: {failure}"));
}

/// An object on a line of its own on standard output.
pub(crate) fn json(value: &impl Serialize) {
    line(&to_json(value));
}

/// The same on standard error, for what is progress and not result.
pub(crate) fn json_note(value: &impl Serialize) {
    note(&to_json(value));
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what the program prints has string keys")
}

/// Bytes for people, in powers of 1024.
pub(crate) fn bytes(count: u64) -> impl fmt::Display {
    bytesize::ByteSize(count).display().iec()
}
