//! Sizes and durations on the command line carry a unit.

use std::time::Duration;

use bytesize::ByteSize;

/// Parses `64MiB`, `16 KiB` or `1GB`. A number without a unit is refused: nobody should have to guess.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(format!(
            "`{text}` has no unit; write for example {text}KiB or {text}MiB"
        ));
    }
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a size; write for example 64MiB"))
}

/// Parses `2s`, `500ms` or `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!("`{text}` is not a duration with a unit; write for example 2s or 500ms")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("16 KiB"), Ok(16 << 10));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert!(size("64").unwrap_err().contains("no unit"));
        assert!(size("many").unwrap_err().contains("not a size"));
        assert!(size("").is_err());
        assert!(size("-1KiB").is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("2").is_err());
        assert!(duration("-2s").is_err());
    }
}
