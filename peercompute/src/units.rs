//! Sizes and durations on the command line carry a unit.

use std::time::Duration;

use bytesize::ByteSize;
use peercompute_swarm::limits::MAX_TASK_INPUT;

use crate::output;

/// Parses `64MiB`, `16 KiB` or `1GB`. A number without a unit is refused: nobody should have to guess.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        let number = match text.parse::<f64>() {
            Ok(number) if number > 0.0 => text,
            _ => "64",
        };
        return Err(format!(
            "`{text}` has no unit; write for example {number}B or {number}MiB"
        ));
    }
    match text.parse::<ByteSize>() {
        // Where it ends up when it does not fit.
        Ok(ByteSize(u64::MAX)) => Err(format!("`{text}` is more than any file has")),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(format!("`{text}` is not a size; write for example 64MiB")),
    }
}

/// Parses a size that is not nothing.
pub(crate) fn some(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err(format!("`{text}` is nothing; write for example 64MiB")),
        size => Ok(size),
    }
}

/// Parses the size of a task's input, of one byte at least.
pub(crate) fn chunk(text: &str) -> Result<usize, String> {
    match task(text)? {
        0 => Err(format!("`{text}` is nothing; a task has 1B at least")),
        size => Ok(size),
    }
}

/// Parses the size of a task's input, which may be nothing.
pub(crate) fn task(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?)
        .ok()
        .filter(|size| *size <= MAX_TASK_INPUT)
        .ok_or_else(|| {
            format!(
                "`{text}` is too much; a task has {} at most",
                output::bytes(MAX_TASK_INPUT as u64)
            )
        })
}

/// Parses `2s`, `500ms` or `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!("`{text}` is not a duration with a unit; write for example 2s or 500ms")
    })
}

/// Parses a duration that is not nothing.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("`{text}` is nothing; write for example 2s")),
        time => Ok(time),
    }
}

/// Parses `64`, `64,8` or `64,8,2`: numbers of workgroups.
pub(crate) fn groups(text: &str) -> Result<[u32; 3], String> {
    let mut groups = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    let refused =
        || format!("`{text}` is not one to three numbers above 0; write for example 64,8");
    if parts.len() > groups.len() {
        return Err(refused());
    }
    for (group, part) in groups.iter_mut().zip(parts) {
        let number = part.trim().parse().ok();
        *group = number.filter(|number| *number > 0).ok_or_else(refused)?;
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("16 KiB"), Ok(16 << 10));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert!(size("64").unwrap_err().contains("write for example 64B"));
        assert!(size("many").unwrap_err().contains("not a size"));
        assert!(size("").is_err());
        assert!(size("-1KiB").is_err());
    }

    #[test]
    fn the_example_is_one_that_is_taken() {
        assert!(size("0").unwrap_err().contains("64B"));
        assert!(size("...").unwrap_err().contains("64B"));
    }

    #[test]
    fn sizes_without_a_use_are_refused_in_the_words_they_were_given() {
        let refused = size("99999999999GiB").unwrap_err();
        assert!(refused.contains("99999999999GiB"), "{refused}");
        assert_eq!(chunk("8MiB"), Ok(8 << 20));
        let refused = chunk("8388609B").unwrap_err();
        assert!(
            refused.contains("8388609B") && refused.contains("8.0 MiB"),
            "{refused}"
        );
        assert!(chunk("0KiB").is_err());
        assert_eq!(task("0B"), Ok(0));
        assert!(some("0B").is_err());
        assert_eq!(some("1B"), Ok(1));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("2").is_err());
        assert!(duration("-2s").is_err());
    }
}
