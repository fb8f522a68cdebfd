//! Sizes and durations on the command line carry a unit.

use std::time::Duration;

use bytesize::ByteSize;
use peercompute_proto::limits::MAX_TASK_VALUE;
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

/// Parses the bytes of an event to measure with.
pub(crate) fn event(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    match usize::try_from(size) {
        Ok(size) if size <= MAX_EVENT => Ok(size),
        _ => Err(format!(
            "`{text}` is too much; measure with {MAX_EVENT} bytes at most"
        )),
    }
}

/// The largest event that is measured.
const MAX_EVENT: usize = 4096;

/// Parses how long a task's result may be.
pub(crate) fn value(text: &str) -> Result<u64, String> {
    match some(text)? {
        size if size > MAX_TASK_VALUE as u64 => Err(format!(
            "`{text}` is too much; the result of a task has {} at most",
            output::bytes(MAX_TASK_VALUE as u64)
        )),
        size => Ok(size),
    }
}

/// Parses `50` or `50%`, 0 to 100.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let number: i64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no number of per cent; write for example 50"))?;
    u8::try_from(number)
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| format!("{number} is not in 0..=100"))
}

/// Parses a part that is lost: 0 to 0.9.
pub(crate) fn loss(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().ok();
    part.filter(|part| (0.0..=0.9).contains(part))
        .ok_or_else(|| format!("`{text}` is no part from 0 to 0.9; write for example 0.05"))
}

/// Parses an amount of fuel: a whole number, written out.
pub(crate) fn fuel(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse::<i128>() {
        return u64::try_from(number)
            .ok()
            .filter(|fuel| *fuel > 0)
            .ok_or_else(|| format!("{number} is not in 1..={}", u64::MAX));
    }
    let whole = |number: &f64| number.fract() == 0.0 && (1.0..u64::MAX as f64).contains(number);
    let example = match text.parse::<f64>().ok().filter(whole) {
        Some(number) => format!("write {}", number as u64),
        None => "write for example 1000000000".to_owned(),
    };
    Err(format!("`{text}` is no whole number; {example}"))
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

/// Parses how often something is told that is known anew each second: from a second to a day.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    match duration(text)? {
        time if (shortest..=longest).contains(&time) => Ok(time),
        _ => Err(format!("`{text}` is not in 1s to 24h")),
    }
}

/// Workgroups in one dimension at most: what every device takes.
const MAX_GROUPS: u32 = 65_535;

/// Parses `64`, `64,8` or `64,8,2`: numbers of workgroups.
pub(crate) fn groups(text: &str) -> Result<[u32; 3], String> {
    let mut groups = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    let refused = || {
        format!(
            "`{text}` is not one to three numbers from 1 to {MAX_GROUPS}; write for example 64,8"
        )
    };
    if parts.len() > groups.len() {
        return Err(refused());
    }
    for (group, part) in groups.iter_mut().zip(parts) {
        let number = part.trim().parse().ok();
        let number = number.filter(|number| (1..=MAX_GROUPS).contains(number));
        *group = number.ok_or_else(refused)?;
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
    fn results_and_workgroups_have_a_maximum_that_is_named() {
        assert_eq!(value("8MiB"), Ok(8 << 20));
        let refused = value("8388609B").unwrap_err();
        assert!(refused.contains("8.0 MiB at most"), "{refused}");
        assert_eq!(groups("65535,2"), Ok([65_535, 2, 1]));
        assert!(groups("65536").unwrap_err().contains("to 65535"));
        assert!(groups("1,1,1,1").is_err() && groups("0").is_err());
    }

    #[test]
    fn per_cent_may_have_their_sign() {
        assert_eq!(percent("50"), Ok(50));
        assert_eq!(percent("50%"), Ok(50));
        assert!(percent("101%").unwrap_err().contains("101 is not in"));
        assert!(percent("-1").unwrap_err().contains("-1 is not in"));
        assert!(percent("half").unwrap_err().contains("write for example"));
    }

    #[test]
    fn fuel_is_written_out() {
        assert_eq!(fuel("1000"), Ok(1000));
        assert!(fuel("1e9").unwrap_err().ends_with("write 1000000000"));
        for none in ["0", "-1", "99999999999999999999"] {
            assert!(fuel(none).unwrap_err().contains("is not in 1..="), "{none}");
        }
        for none in ["much", "1.5", "nan", "1e30"] {
            assert!(fuel(none).unwrap_err().contains("for example"), "{none}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("2").is_err());
        assert!(duration("-2s").is_err());
    }
}
