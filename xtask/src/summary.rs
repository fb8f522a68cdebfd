//! The table at the end of a test run.

use std::{fmt::Write as _, time::Duration};

/// How one step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// With the reason.
    Failed(String),
    /// Not run, with the reason.
    Skipped(String),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) step: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) duration: Duration,
}

/// The table, and below it the count.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes
        .iter()
        .map(|outcome| outcome.step.len())
        .max()
        .unwrap_or(0)
        .max("step".len());
    let mut text = format!("{:width$}  {:7}  {:>9}\n", "step", "result", "time");
    for outcome in outcomes {
        let (word, reason) = match &outcome.verdict {
            Verdict::Passed => ("passed", ""),
            Verdict::Failed(reason) => ("FAILED", reason.as_str()),
            Verdict::Skipped(reason) => ("skipped", reason.as_str()),
        };
        // The rest of a long reason stands above, where the step ended.
        let reason = reason.lines().next().unwrap_or_default();
        let time = clock(outcome.duration);
        let line = format!("{:width$}  {word:7}  {time:>9}  {reason}", outcome.step);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let total: Duration = outcomes.iter().map(|outcome| outcome.duration).sum();
    let _ = writeln!(text, "{:width$}  {:7}  {:>9}", "total", "", clock(total));
    text
}

/// The closing line: how many steps passed, failed and were skipped.
pub(crate) fn count(outcomes: &[Outcome]) -> String {
    let number = |wanted: fn(&Verdict) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.verdict))
            .count()
    };
    let passed = number(|verdict| matches!(verdict, Verdict::Passed));
    let failed = number(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = number(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let tail = if skipped > 0 {
        format!(", {skipped} skipped")
    } else {
        String::new()
    };
    format!("steps: {passed} passed, {failed} failed{tail}")
}

/// A duration as `12.3 s` or `4 min 05 s`.
pub(crate) fn clock(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        let seconds = (duration.as_millis() + 500) / 1000;
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<Outcome> {
        vec![
            Outcome {
                step: "fmt",
                verdict: Verdict::Passed,
                duration: Duration::from_millis(1234),
            },
            Outcome {
                step: "clippy",
                verdict: Verdict::Failed("`cargo clippy` failed\nwith details".to_owned()),
                duration: Duration::from_secs(125),
            },
            Outcome {
                step: "package",
                verdict: Verdict::Skipped("build failed".to_owned()),
                duration: Duration::ZERO,
            },
        ]
    }

    #[test]
    fn the_table_shows_every_step_with_its_time_and_reason() {
        let expected = "\
step     result        time
fmt      passed       1.2 s
clippy   FAILED   2 min 05 s  `cargo clippy` failed
package  skipped      0.0 s  build failed
total             2 min 06 s
";
        assert_eq!(table(&outcomes()), expected);
    }

    #[test]
    fn the_count_names_what_was_skipped_only_if_something_was() {
        assert_eq!(count(&outcomes()), "steps: 1 passed, 1 failed, 1 skipped");
        assert_eq!(count(&outcomes()[..1]), "steps: 1 passed, 0 failed");
    }

    #[test]
    fn times_round_without_running_over() {
        assert_eq!(clock(Duration::from_millis(59_949)), "59.9 s");
        assert_eq!(clock(Duration::from_millis(59_950)), "1 min 00 s");
        assert_eq!(clock(Duration::from_secs(3_599)), "59 min 59 s");
    }
}
