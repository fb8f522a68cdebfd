//! Outcomes for people: one in words, several as a table.

use std::fmt::{self, Write as _};

use super::outcome::Outcome;

/// The widest name in a table.
const MAX_NAME: usize = 40;
/// Of the columns after the name.
const WIDTHS: [usize; 10] = [6, 8, 8, 6, 7, 6, 6, 4, 5, 5];

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
        100_000.0.. => format!("{value:.0}"),
        1000.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
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
        "{}: {nodes} nodes, {links} links, {mode}\n",
        printable(name)
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
                "{achieved} tasks/s: {:.2} % of the bound, {}",
                ratio * 100.0,
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
                "{completed}: {:.2} % of the optimum, {optimum:.0}",
                ratio * 100.0
            ),
        );
    }
    if outcome.ratio.is_none() {
        row("ratio", format_args!("none: {}", why_no_ratio(outcome)));
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
        format_args!("{max_buffer} items at most at a node, {mean_buffer:.2} in the mean{over}"),
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

fn why_no_ratio(outcome: &Outcome) -> &'static str {
    if outcome.is_churn() {
        "the file has no optimum for this duration"
    } else {
        "the best possible is not known"
    }
}

/// A table that is printed as its rows come.
pub(super) struct Table {
    name_width: usize,
    ratios: Vec<(f64, String)>,
    rows: usize,
    lost: u64,
}

impl Table {
    /// For rows of these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        Self {
            name_width: width.clamp("network".len(), MAX_NAME),
            ratios: Vec::new(),
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
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let cells = [
            outcome.nodes.to_string(),
            figure(outcome.achieved_tasks_per_s),
            or_dash(outcome.best_possible().map(figure)),
            or_dash(outcome.ratio.map(|ratio| format!("{ratio:.4}"))),
            or_dash(outcome.t95_s.map(|t95| format!("{t95:.1} s"))),
            or_dash(
                outcome
                    .control_messages_per_task
                    .map(|count| format!("{count:.1}")),
            ),
            or_dash(
                outcome
                    .control_bytes_per_task
                    .map(|bytes| format!("{bytes:.0}")),
            ),
            outcome.max_buffer.to_string(),
            format!("{:.2}", outcome.mean_buffer),
            outcome.rerun_tasks.to_string(),
        ];
        self.line(name, cells.each_ref().map(String::as_str))
    }

    /// What all rows have in common.
    pub(super) fn foot(&self, setting: &str) -> String {
        let mut foot = format!("{} networks; {setting}", self.rows);
        if let Some((worst, name)) = self.ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            let sum: f64 = self.ratios.iter().map(|(ratio, _)| ratio).sum();
            let mean = sum / self.ratios.len() as f64;
            write!(
                foot,
                "; ratio {mean:.4} in the mean, {worst:.4} at worst ({name})"
            )
            .expect("a string takes everything");
        }
        if self.lost > 0 {
            write!(foot, "; {} tasks lost", self.lost).expect("a string takes everything");
        }
        foot
    }

    fn line(&self, name: &str, cells: [&str; 10]) -> String {
        let name: String = if name.chars().count() > self.name_width {
            name.chars()
                .take(self.name_width - 1)
                .chain(['…'])
                .collect()
        } else {
            name.to_owned()
        };
        let mut line = format!("{name:<width$}", width = self.name_width);
        for (cell, width) in cells.iter().zip(WIDTHS) {
            write!(line, " {cell:>width$}").expect("a string takes everything");
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
    fn the_columns_of_a_table_stand_under_their_titles() {
        let table =
            Table::new(["short", "a-very-long-name-that-is-cut-off-somewhere-in-it"].into_iter());
        let head = table.head();
        let lines: Vec<_> = head.lines().collect();
        let row = table.line("short", ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
        assert_eq!(lines[1].chars().count(), row.chars().count());
        assert!(lines[0].chars().count() <= row.chars().count());
        let cut = table.line("a-very-long-name-that-is-cut-off-somewhere-in-it", [""; 10]);
        assert!(
            cut.ends_with('…') && cut.chars().count() == MAX_NAME,
            "{cut}"
        );
    }
}
