//! The password of a private room. It comes from a file or the environment and never from an argument, which every list of processes shows.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use peercompute_net::MAX_PASSWORD;

use crate::{cli::MeetArgs, failure::Failure, output};

/// The environment variable with the password, where no file is named.
pub(crate) const VARIABLE: &str = "PEERCOMPUTE_PASSWORD";

/// What whoever meets nobody in a private room is to look at, beside the rest.
pub(crate) const LOOKS_THE_SAME: &str = "a wrong password looks the same as nobody there: check that --password-file or PEERCOMPUTE_PASSWORD, and --game, are the same at both ends";

/// The argument that names the file.
const FIELD: &str = "password-file";

/// Whether a private room is asked for.
pub(crate) fn is_wanted(args: &MeetArgs) -> bool {
    args.password_file.is_some() || std::env::var_os(VARIABLE).is_some()
}

/// The password, if a private room is asked for.
pub(crate) fn of(args: &MeetArgs) -> Result<Option<String>, Failure> {
    if let Some(path) = &args.password_file {
        let refused = |why| {
            let name = output::name(path);
            Failure::usage(why)
                .at(format_args!("--{FIELD} {name}"))
                .about(path, FIELD)
        };
        return in_file(path).map(Some).map_err(refused);
    }
    let Some(value) = std::env::var_os(VARIABLE) else {
        return Ok(None);
    };
    let refused = |why: &str| {
        Failure::usage(format!(
            "{VARIABLE}: {why}, or unset {VARIABLE} for a room that is not private"
        ))
    };
    if args.room != crate::cli::DEFAULT_NAME {
        return Err(refused(
            "a private room has no name but its password; leave --room out",
        ));
    }
    let text = value
        .to_str()
        .ok_or_else(|| refused("is not UTF-8; set it to text"))?;
    let password = usable(text, "is empty; set it to the password");
    password.map(Some).map_err(|why| refused(&why))
}

fn in_file(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| {
        format!("cannot be read: {error}; check that it exists and belongs to this user")
    };
    // Before it is opened: a pipe would keep whoever opens it waiting.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!(
            "is no file; name one whose first line is the password, or set {VARIABLE}"
        ));
    }
    // What is longer than a password, with the end of its line, need not be known.
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PASSWORD as u64 + 3).read_to_end(&mut start))
        .map_err(unreadable)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or(&start);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_PASSWORD {
        return Err(too_long());
    }
    let text = std::str::from_utf8(line)
        .map_err(|_| "its first line is not UTF-8; write the password there as text".to_owned())?;
    usable(text, "its first line is empty; write the password there")
}

fn usable(text: &str, empty: &str) -> Result<String, String> {
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte-order mark, which is no part of a password; save it as UTF-8 without one".to_owned());
    }
    if text.contains('\0') {
        return Err("the password has a NUL byte in it; write it as text".to_owned());
    }
    match text.len() {
        0 => Err(empty.to_owned()),
        1..=MAX_PASSWORD => Ok(text.to_owned()),
        _ => Err(too_long()),
    }
}

fn too_long() -> String {
    format!("the password has more than {MAX_PASSWORD} bytes; choose a shorter one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, bytes).unwrap();
        in_file(&path)
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for bytes in [
            "open sesame",
            "open sesame\n",
            "open sesame\r\n",
            "open sesame\nmore\n",
        ] {
            assert_eq!(read(bytes.as_bytes()).unwrap(), "open sesame");
        }
        assert_eq!(read(b" a \n").unwrap(), " a ");
    }

    #[test]
    fn what_editors_add_and_no_keyboard_types_is_no_part_of_a_password() {
        let refused = |bytes| read(bytes).unwrap_err();
        assert!(refused(b"\xef\xbb\xbfopen sesame\n").contains("byte-order mark"));
        assert!(refused(b"\xef\xbb\xbf").contains("byte-order mark"));
        assert!(refused(b"open\0sesame\n").contains("NUL"));
        assert!(refused(b"open sesame\0").contains("NUL"));
        // In the middle it is a character like others.
        assert_eq!(read("a\u{feff}b".as_bytes()).unwrap(), "a\u{feff}b");
    }

    #[test]
    fn a_password_may_be_as_long_as_rooms_take_it_and_no_longer() {
        let longest = "ä".repeat(MAX_PASSWORD / 2);
        for end in ["", "\n", "\r\n", "\nmore"] {
            assert_eq!(read(format!("{longest}{end}").as_bytes()).unwrap(), longest);
            let refused = read(format!("{longest}a{end}").as_bytes()).unwrap_err();
            assert!(refused.contains("shorter"), "{refused}");
        }
        assert!(
            read("ä".repeat(1000).as_bytes())
                .unwrap_err()
                .contains("shorter")
        );
    }
}
