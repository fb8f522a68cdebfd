//! What the program prints: results on standard output, everything else on standard error.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, Write as _},
    path::Path,
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

/// A line on standard output, or several. Who has closed it does not want it; anything else that keeps it from arriving is a failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    print(&shown(text))
}

/// An object on a line of its own on standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    print(&to_json(value))
}

/// A line for people on standard error.
pub(crate) fn note(text: &str) {
    print_note(&shown(text));
}

/// An object on standard error, for what is progress and not result.
pub(crate) fn json_note(value: &impl Serialize) {
    print_note(&to_json(value));
}

/// Says why the command has failed: to people, and with `json` to programs.
pub(crate) fn failure(failure: &Failure, json: bool) {
    note(&format!("error: {failure}"));
    if json && !failure.is_told() {
        let (file, field) = failure.input().unzip();
        // Where standard output is what failed there is nobody left to tell.
        let _ = self::json(&JsonFailure {
            file: file.map(json_name),
            field,
            error: failure.reason(),
        });
    }
}

/// What a program is told of what failed, a command or one of its inputs.
#[derive(Serialize)]
pub(crate) struct JsonFailure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<&'static str>,
    pub(crate) error: &'a str,
}

/// So many of something, such as `1 task` or `12 tasks`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Seconds for programs, to the microsecond: what is finer is noise.
pub(crate) fn seconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// Bytes for people, in powers of 1024.
pub(crate) fn bytes(count: u64) -> impl fmt::Display {
    bytesize::ByteSize(count).display().iec()
}

/// A file's name for people: on one line, without what a terminal takes for a command, and with `\xNN` for a byte that is no text.
pub(crate) fn name(path: &Path) -> String {
    spell(path, |c, name| {
        if c.is_control() {
            name.extend(c.escape_default());
        } else {
            name.push(c);
        }
    })
}

/// A file's name for programs: as it is, with `\xNN` for a byte that is no text.
pub(crate) fn json_name(path: &Path) -> Cow<'_, str> {
    match path.to_str() {
        Some(name) => name.into(),
        None => spell(path, |c, name| name.push(c)).into(),
    }
}

fn spell(path: &Path, put: impl Fn(char, &mut String)) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        chunk.valid().chars().for_each(|c| put(c, &mut name));
        for byte in chunk.invalid() {
            write!(name, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    name
}

/// Text without what a terminal takes for a command: some of it is other nodes' words.
fn shown(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_command) {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_command(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(format!(
            "standard output: cannot be written: {error}"
        ))),
        _ => Ok(()),
    }
}

fn print_note(text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what the program prints has string keys")
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use super::*;

    fn path(bytes: &[u8]) -> &Path {
        Path::new(OsStr::from_bytes(bytes))
    }

    #[test]
    fn names_for_people_stay_on_their_line_and_command_no_terminal() {
        assert_eq!(name(path("dir/Größe 1".as_bytes())), "dir/Größe 1");
        assert_eq!(name(path(b"a\n\x1b[2Jb\x7f")), "a\\n\\u{1b}[2Jb\\u{7f}");
        assert_eq!(name(path("\u{9b}2J".as_bytes())), "\\u{9b}2J");
        assert_eq!(name(path(b"\xff\xfea")), "\\xff\\xfea");
    }

    #[test]
    fn names_for_programs_tell_apart_what_is_no_text() {
        assert_eq!(json_name(path(b"a\nb")), "a\nb");
        assert_eq!(json_name(path(b"a\xff")), "a\\xff");
        assert_ne!(json_name(path(b"a\xff")), json_name(path(b"a\xfe")));
    }

    #[test]
    fn text_keeps_its_lines_and_loses_its_commands() {
        assert_eq!(shown("one\n\ttwo"), "one\n\ttwo");
        assert_eq!(shown("\x1b]0;title\x07"), "\\u{1b}]0;title\\u{7}");
    }
}
