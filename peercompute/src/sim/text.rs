//! Outcomes for people: one in words, several as a table.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::outcome::{NoRatio, Outcome};
use crate::output::count;

/// The widest name in a table.
const MAX_NAME: usize = 40;
/// Of the columns after the name. What does not fit is written shorter.
const WIDTHS: [usize; 10] = [7, 8, 8, 6, 8, 6, 6, 5, 6, 6];

/// Text without what a terminal takes for a command: it comes from a file.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A number with three or four significant digits.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        1e8.. => format!("{value:.2e}"),
        100_000.0.. => format!("{value:.0}"),
        1000.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A number as it is, in as few digits as name it: those of very large and very small ones would fill lines.
pub(super) fn exact(value: f64) -> String {
    match value.abs() {
        0.0 | 1e-6..1e15 => value.to_string(),
        _ => format!("{value:e}"),
    }
}

/// A whole number.
pub(super) fn whole(value: f64) -> String {
    fit(value, 0, 15)
}

/// A share of the whole, which is 1.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", fit(share * 100.0, 2, 8))
}

/// A number with so many decimals, or with fewer where it would be wider than `width` otherwise; a very large one as a power of ten.
fn fit(value: f64, decimals: usize, width: usize) -> String {
    let fits = |text: &String| text.len() <= width;
    let mut plain = (0..=decimals).rev().map(|left| format!("{value:.left$}"));
    let mut power = (0..=2).rev().map(|left| format!("{value:.left$e}"));
    let fitting = plain.find(fits).or_else(|| power.find(fits));
    fitting.unwrap_or_else(|| format!("{value:.0e}"))
}

/// The width of a text on a terminal.
fn width(text: &str) -> usize {
    text.width()
}

/// The text without its middle if it is wider than `most`: names that begin alike mostly differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let (mut head, mut tail) = (String::new(), Vec::new());
    let mut used = 0;
    for c in text.chars().rev() {
        used += c.width().unwrap_or(0);
        if used > room / 2 {
            break;
        }
        tail.push(c);
    }
    let mut used = tail.iter().map(|c| c.width().unwrap_or(0)).sum::<usize>();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        head.push(c);
    }
    head.push('…');
    head.extend(tail.iter().rev());
    head
}

/// The text with spaces before or behind it.
fn padded(text: &str, to: usize, right: bool) -> String {
    let spaces = " ".repeat(to.saturating_sub(width(text)));
    if right {
        spaces + text
    } else {
        text.to_owned() + &spaces
    }
}

/// One outcome in words. `setting` is what all outcomes of a call share.
pub(super) fn block(outcome: &Outcome, setting: &str) -> String {
    let Outcome {
        name,
        mode,
        nodes,
        links,
        achieved_tasks_per_s: achieved,
        max_buffer,
        mean_buffer,
        max_links,
        seconds,
        wall_s,
        ..
    } = outcome;
    let mut text = format!(
        "{}: {}, {}, {mode}\n",
        printable(name),
        count(*nodes as u64, "node"),
        count(*links as u64, "link")
    );
    let mut row = |title: &str, value: fmt::Arguments<'_>| {
        writeln!(text, "  {title:<12}{value}").expect("a string takes everything");
    };
    row(
        "run",
        format_args!("{setting}; {seconds} s simulated in {wall_s:.1} s"),
    );
    let achieved = figure(*achieved);
    match (outcome.bound_tasks_per_s, outcome.ratio) {
        (Some(bound), Some(ratio)) if !outcome.is_churn() => row(
            "throughput",
            format_args!(
                "{achieved} tasks/s: {} of the bound, {}",
                percent(ratio),
                figure(bound)
            ),
        ),
        _ => row("throughput", format_args!("{achieved} tasks/s")),
    }
    if let (Some(optimum), Some(ratio)) = (outcome.optimum_tasks, outcome.ratio) {
        let completed = outcome.completed;
        row(
            "tasks",
            format_args!(
                "{completed}: {} of the optimum, {}",
                percent(ratio),
                whole(optimum)
            ),
        );
    }
    if let Some(why) = outcome.no_ratio {
        row("ratio", format_args!("none: {}", why_no_ratio(why)));
    }
    match outcome.t95_s {
        Some(t95) => row(
            "start",
            format_args!("95 % of the steady rate after {t95:.1} s"),
        ),
        None => row("start", format_args!("never steady")),
    }
    if let (Some(messages), Some(bytes)) = (
        outcome.control_messages_per_task,
        outcome.control_bytes_per_task,
    ) {
        let share = outcome.control_share.unwrap_or(0.0) * 100.0;
        row(
            "control",
            format_args!(
                "{messages:.2} messages and {bytes:.0} bytes a task, {share:.2} % of the payload"
            ),
        );
    }
    let over = match outcome.over_buffer {
        0 => String::new(),
        over => format!("; {over} more than it may hold"),
    };
    row(
        "buffers",
        format_args!(
            "{} at most at a node, {mean_buffer:.2} in the mean{over}",
            count((*max_buffer).into(), "item")
        ),
    );
    row("links", format_args!("{max_links} at most at a node"));
    if outcome.is_churn() || outcome.rerun_tasks > 0 || outcome.lost_tasks > 0 {
        let (rerun, lost) = (outcome.rerun_tasks, outcome.lost_tasks);
        row(
            "tasks again",
            format_args!("{rerun} run twice, {lost} lost"),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn why_no_ratio(why: NoRatio) -> &'static str {
    match why {
        NoRatio::NoBound => "the best possible is not known (the file has no optimum_tasks_per_s)",
        NoRatio::NoOptimum => "the best possible is not known (the file has no optimum_tasks)",
        NoRatio::OtherDuration => {
            "optimum_tasks is for the file's duration, and --seconds asks for another"
        }
        NoRatio::Made => "the best possible is not known of a network made here",
    }
}

/// A table that is printed as its rows come.
pub(super) struct Table {
    name_width: usize,
    ratios: Vec<(f64, String)>,
    /// Why rows have no ratio, and how many.
    without: BTreeMap<NoRatio, usize>,
    never_steady: usize,
    rows: usize,
    lost: u64,
}

impl Table {
    /// For rows of these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(|name| width(&printable(name))).max().unwrap_or(0);
        Self {
            name_width: width.clamp("network".len(), MAX_NAME),
            ratios: Vec::new(),
            without: BTreeMap::new(),
            never_steady: 0,
            rows: 0,
            lost: 0,
        }
    }

    pub(super) fn head(&self) -> String {
        let columns = |of: &[usize]| of.iter().sum::<usize>() + of.len();
        let before = self.name_width + columns(&WIDTHS[..5]);
        let (control, buffer) = (columns(&WIDTHS[5..7]), columns(&WIDTHS[7..9]));
        let above = format!(
            "{:before$}{:>control$}{:>buffer$}",
            "", "control/task", "buffer"
        );
        let titles = self.line(
            "network",
            [
                "nodes", "tasks/s", "bound", "ratio", "95 %", "msgs", "bytes", "max", "mean",
                "rerun",
            ],
        );
        format!("{above}\n{titles}")
    }

    /// The row of an outcome, under the name of its file.
    pub(super) fn row(&mut self, name: &str, outcome: &Outcome) -> String {
        self.rows += 1;
        self.lost += outcome.lost_tasks;
        if let Some(ratio) = outcome.ratio {
            self.ratios.push((ratio, name.to_owned()));
        }
        if let Some(why) = outcome.no_ratio {
            *self.without.entry(why).or_default() += 1;
        }
        self.never_steady += usize::from(outcome.t95_s.is_none());
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let cells = [
            outcome.nodes.to_string(),
            figure(outcome.achieved_tasks_per_s),
            or_dash(outcome.best_possible().map(figure)),
            or_dash(outcome.ratio.map(|ratio| fit(ratio, 4, WIDTHS[3]))),
            or_dash(
                outcome
                    .t95_s
                    .map(|t95| format!("{} s", fit(t95, 1, WIDTHS[4] - 2))),
            ),
            or_dash(
                outcome
                    .control_messages_per_task
                    .map(|count| fit(count, 1, WIDTHS[5])),
            ),
            or_dash(
                outcome
                    .control_bytes_per_task
                    .map(|bytes| fit(bytes, 0, WIDTHS[6])),
            ),
            fit(outcome.max_buffer.into(), 0, WIDTHS[7]),
            fit(outcome.mean_buffer, 2, WIDTHS[8]),
            fit(outcome.rerun_tasks as f64, 0, WIDTHS[9]),
        ];
        self.line(name, cells.each_ref().map(String::as_str))
    }

    /// What all rows have in common, and why figures are missing in some.
    pub(super) fn foot(&self, setting: &str) -> String {
        let mut foot = format!("{} networks; {setting}", self.rows);
        if let Some((worst, name)) = self.ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            let sum: f64 = self.ratios.iter().map(|(ratio, _)| ratio).sum();
            let mean = fit(sum / self.ratios.len() as f64, 4, WIDTHS[3]);
            let worst = fit(*worst, 4, WIDTHS[3]);
            write!(
                foot,
                "; ratio {mean} in the mean, {worst} at worst ({name})"
            )
            .expect("a string takes everything");
        }
        if self.lost > 0 {
            write!(foot, "; {} tasks lost", self.lost).expect("a string takes everything");
        }
        for (why, rows) in &self.without {
            let why = why_no_ratio(*why);
            write!(
                foot,
                "\n-  no ratio in {}: {why}",
                count(*rows as u64, "row")
            )
            .expect("a string takes everything");
        }
        if self.never_steady > 0 {
            let rows = count(self.never_steady as u64, "row");
            write!(foot, "\n-  no 95 % in {rows}: the rate never was steady")
                .expect("a string takes everything");
        }
        foot
    }

    fn line(&self, name: &str, cells: [&str; 10]) -> String {
        let mut line = padded(&shortened(name, self.name_width), self.name_width, false);
        for (cell, width) in cells.iter().zip(WIDTHS) {
            write!(line, " {}", padded(cell, width, true)).expect("a string takes everything");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_files_commands_no_terminal() {
        assert_eq!(printable("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
    }

    #[test]
    fn figures_are_as_wide_as_their_columns_at_most() {
        for value in [
            0.0, 0.12345, 9.99996, 12.3456, 1234.5, 99_999.96, 1e7, 1.5e12, 1e300,
        ] {
            for (decimals, width) in [(4, 6), (1, 6), (0, 6), (2, 6), (0, 5)] {
                let text = fit(value, decimals, width);
                assert!(text.len() <= width, "{value} in {width}: {text}");
                let read: f64 = text.parse().unwrap();
                let near = (read - value).abs() <= 0.5 * value.abs().max(1.0);
                assert!(near, "{value} in {width}: {text}");
            }
            assert!(figure(value).len() <= 8, "{value}: {}", figure(value));
            assert!(percent(value).len() <= 10, "{value}: {}", percent(value));
        }
        assert_eq!(fit(0.99789, 4, 6), "0.9979");
        assert_eq!(fit(12.3456, 4, 6), "12.346");
        assert_eq!(fit(1e300, 2, 8), "1.00e300");
    }

    #[test]
    fn very_large_and_very_small_numbers_are_named_exactly_in_a_few_digits() {
        assert_eq!(exact(-5.5), "-5.5");
        assert_eq!(exact(1e12), "1000000000000");
        assert_eq!(exact(-1e300), "-1e300");
        assert_eq!(exact(2.5e-300), "2.5e-300");
        assert_eq!(exact(0.0), "0");
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("fixed-ba-36", 11), "fixed-ba-36");
        assert_eq!(shortened("a-very-long-name-7036", 11), "a-ver…-7036");
        // Each of these takes two columns.
        let wide = shortened("ネットワーク", 8);
        assert!(width(&wide) <= 8 && wide.contains('…'), "{wide}");
    }

    #[test]
    fn the_columns_of_a_table_stand_under_their_titles() {
        let names = [
            "short",
            "ネットワーク",
            "a-very-long-name-that-is-cut-off-somewhere-in-it",
        ];
        let table = Table::new(names.into_iter());
        let head = table.head();
        let lines: Vec<_> = head.lines().collect();
        for name in names {
            let row = table.line(name, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
            assert_eq!(width(lines[1]), width(&row), "{row}");
            assert!(width(lines[0]) <= width(&row), "{row}");
        }
        let cut = table.line(names[2], [""; 10]);
        assert!(cut.contains('…') && width(&cut) == MAX_NAME, "{cut}");
    }
}
