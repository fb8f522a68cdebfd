//! The tables in `BENCHMARKS.md`, written from the results.

mod asked;
mod families;
mod markdown;
mod select;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use self::{
    markdown::{Align, Table, or_dash, percent},
    select::{Ratios, Selection, median, worst},
};
use super::{
    measure::SCALE_SECONDS,
    name::{Group, Name},
    results::{Buffers, CELL, Line, PLANNER},
};

/// Between these two lines stands what is written here.
const BEGIN: &str = "<!-- bench-oracle: from here on written by `cargo xtask bench-oracle` -->";
const END: &str = "<!-- bench-oracle: up to here -->";

/// Puts the tables between the two lines of `document` that say where they belong.
pub(super) fn place(document: &str, tables: &str) -> Result<String> {
    let missing = |marker: &str| format!("has no line `{marker}`");
    let (before, rest) = document.split_once(BEGIN).with_context(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).with_context(|| missing(END))?;
    if after.contains(BEGIN) || after.contains(END) {
        bail!("says more than once where the tables belong");
    }
    Ok(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

/// All tables. `instances` are the networks that there are, measured or not.
pub(super) fn render(lines: &[Line], instances: &[Name]) -> String {
    let selection = Selection::new(lines, instances);
    let mut sections = vec![
        stamp(&selection),
        section("Asked and reached", &asked::table(&selection)),
        section("Groups", &groups(&selection)),
        section(
            "Families, beside the baselines",
            &families::table(&selection),
        ),
        section("Overlays, beside a planner", &overlays(&selection)),
        section("What size costs", &scale(&selection)),
    ];
    for buffers in [Buffers::Roomy, Buffers::Tight] {
        let title = format!("Each network, {} buffers", buffers.word());
        sections.push(section(&title, &networks(&selection, buffers)));
    }
    if selection.has_short() {
        sections.push("† not the usual simulated time; counts for no other table than that of each network.\n".to_owned());
    }
    sections.join("\n")
}

fn section(title: &str, body: &str) -> String {
    format!("### {title}\n\n{body}")
}

/// Where, when and from which code the lines are.
fn stamp(selection: &Selection<'_>) -> String {
    let all = |field: fn(&Line) -> &String| -> Vec<&str> {
        let distinct: BTreeSet<_> = selection.lines().map(|line| field(line).as_str()).collect();
        distinct.into_iter().collect()
    };
    let dates = match all(|line| &line.date)[..] {
        [] => return "Nothing was measured yet.\n".to_owned(),
        [one] => one.to_owned(),
        [first, .., last] => format!("{first} to {last}"),
    };
    let machines = all(|line| &line.machine).join("; ");
    let commits = all(|line| &line.commit).join(", ");
    format!("`cargo xtask bench-oracle`, {machines}, {dates}, at {commits}.\n")
}

/// What a network is called in a row.
fn title(line: &Line, name: &Name) -> String {
    let mark = if is_short(line, name) { " †" } else { "" };
    format!("{name}{mark}")
}

/// Whether it was simulated for another time than others of its kind.
fn is_short(line: &Line, name: &Name) -> bool {
    match name.group {
        Group::Scale => line.seconds != Some(SCALE_SECONDS),
        _ => line.seconds.is_some(),
    }
}

fn groups(selection: &Selection<'_>) -> String {
    let mut table = Table::new(&[
        ("group", Align::Left),
        ("buffers", Align::Left),
        ("networks", Align::Right),
        ("ratio, mean", Align::Right),
        ("worst", Align::Right),
        ("on", Align::Left),
        ("t95, median", Align::Right),
        ("worst", Align::Right),
        ("control, worst", Align::Right),
        ("most buffered", Align::Right),
        ("wall", Align::Right),
    ]);
    for group in [
        Group::Fixed,
        Group::Unseen,
        Group::Heavy,
        Group::Overlay,
        Group::Churn,
    ] {
        for buffers in [Buffers::Roomy, Buffers::Tight] {
            let rows = selection.of(CELL, Some(buffers), |name| name.group == group);
            let ratios = Ratios::of(&rows);
            let t95s = select::t95s(&rows);
            let control = worst(
                rows.iter()
                    .filter_map(|(_, line)| line.figures.control_share),
            );
            let buffered = rows.iter().filter_map(|(_, line)| line.figures.max_buffer);
            // A sum of nothing would be less than zero.
            let wall = rows.iter().map(|(_, line)| line.figures.wall_s);
            let wall = wall.fold(0.0, |sum, wall| sum + wall);
            let (lowest, on) = ratios.worst().unzip();
            table.row([
                group.word().to_owned(),
                buffers.word().to_owned(),
                rows.len().to_string(),
                or_dash(ratios.mean(), |ratio| format!("{ratio:.4}")),
                or_dash(lowest, |ratio| format!("{ratio:.4}")),
                or_dash(on, ToString::to_string),
                or_dash(median(&t95s), seconds),
                or_dash(worst(t95s), seconds),
                or_dash(control, percent),
                or_dash(buffered.max(), |count| count.to_string()),
                format!("{wall:.0} s"),
            ]);
        }
    }
    table.finish()
}

fn overlays(selection: &Selection<'_>) -> String {
    let mut table = Table::new(&[
        ("network", Align::Left),
        ("bound", Align::Right),
        ("bound for whole links", Align::Right),
        ("planner", Align::Right),
        ("its ratio", Align::Right),
        ("cell, roomy", Align::Right),
        ("tight", Align::Right),
        ("cell over planner", Align::Right),
    ]);
    for name in selection.instances() {
        if name.group != Group::Overlay {
            continue;
        }
        let planner = selection.figures(name, PLANNER, None);
        let [roomy, tight] = [Buffers::Roomy, Buffers::Tight]
            .map(|buffers| selection.figures(name, CELL, Some(buffers)));
        let bound = [planner, roomy, tight]
            .into_iter()
            .flatten()
            .find_map(|figures| figures.bound_tasks_per_s);
        let whole = planner.and_then(|planner| planner.whole_bound_tasks_per_s);
        let ratio = |ratio: Option<f64>| or_dash(ratio, |ratio| format!("{ratio:.4}"));
        let beside = roomy
            .zip(planner)
            .map(|(cell, planner)| cell.achieved_tasks_per_s / planner.achieved_tasks_per_s);
        table.row([
            name.to_string(),
            or_dash(bound, rate),
            or_dash(whole, rate),
            or_dash(planner, |planner| rate(planner.achieved_tasks_per_s)),
            ratio(planner.and_then(|planner| planner.ratio)),
            ratio(roomy.and_then(|cell| cell.ratio)),
            ratio(tight.and_then(|cell| cell.ratio)),
            ratio(beside),
        ]);
    }
    let note = "Rates in tasks a second. The planner (`cargo xtask plan-overlay`) knows everything, holds whole links and moves work as the linear program says. The bound is the file's, which lets links have shares; no whole links reach more than the second bound.\n";
    format!("{}\n{note}", table.finish())
}

fn scale(selection: &Selection<'_>) -> String {
    let mut table = Table::new(&[
        ("made network", Align::Left),
        ("nodes", Align::Right),
        ("simulated", Align::Right),
        ("wall", Align::Right),
        ("tasks a second", Align::Right),
        ("control bytes a node and second", Align::Right),
        ("control", Align::Right),
        ("most buffered", Align::Right),
    ]);
    let rows = selection.of(CELL, Some(Buffers::Roomy), |name| {
        name.group == Group::Scale
    });
    for (name, line) in rows {
        let figures = &line.figures;
        let bytes = figures
            .control_bytes_per_task
            .map(|bytes| bytes * figures.achieved_tasks_per_s / name.nodes as f64);
        table.row([
            name.kind.clone(),
            name.nodes.to_string(),
            or_dash(line.seconds, |seconds| format!("{seconds} s")),
            format!("{:.1} s", figures.wall_s),
            rate(figures.achieved_tasks_per_s),
            or_dash(bytes, |bytes| format!("{bytes:.0}")),
            or_dash(figures.control_share, percent),
            or_dash(figures.max_buffer, |count| count.to_string()),
        ]);
    }
    let note = "`peercompute sim --generate KIND --nodes N --seconds S`, in one thread. Control bytes a node and second are those of a task times the tasks a second, over the nodes.\n";
    format!("{}\n{note}", table.finish())
}

fn networks(selection: &Selection<'_>, buffers: Buffers) -> String {
    let mut table = Table::new(&[
        ("network", Align::Left),
        ("ratio", Align::Right),
        ("t95", Align::Right),
        ("control", Align::Right),
        ("most buffered", Align::Right),
        ("in the mean", Align::Right),
        ("most links", Align::Right),
        ("run twice", Align::Right),
        ("lost", Align::Right),
        ("wall", Align::Right),
    ]);
    for name in selection.instances() {
        let Some(line) = selection.line(name, CELL, Some(buffers)) else {
            continue;
        };
        let figures = &line.figures;
        let count = |count: Option<u64>| or_dash(count, |count| count.to_string());
        table.row([
            title(line, name),
            or_dash(figures.ratio, |ratio| format!("{ratio:.4}")),
            or_dash(figures.t95_s, seconds),
            or_dash(figures.control_share, percent),
            count(figures.max_buffer.map(u64::from)),
            or_dash(figures.mean_buffer, |mean| format!("{mean:.2}")),
            count(figures.max_links.map(u64::from)),
            count(figures.rerun_tasks),
            count(figures.lost_tasks),
            format!("{:.1} s", figures.wall_s),
        ]);
    }
    table.finish()
}

fn seconds(seconds: f64) -> String {
    if seconds.is_finite() {
        format!("{seconds:.1} s")
    } else {
        "never".to_owned()
    }
}

fn rate(rate: f64) -> String {
    format!("{rate:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::results::tests::line;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts
            .iter()
            .map(|text| text.parse().expect("a name"))
            .collect()
    }

    #[test]
    fn the_tables_take_the_place_between_the_two_lines_again_and_again() {
        let document = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n");
        let once = place(&document, "new\n").expect("both lines are there");
        assert_eq!(
            once,
            format!("# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nMore.\n")
        );
        assert_eq!(place(&once, "new\n").expect("they still are"), once);
    }

    #[test]
    fn a_document_without_the_two_lines_is_refused() {
        let error = place("# Title\n", "new").expect_err("no lines");
        assert!(error.to_string().contains(BEGIN), "{error}");
        assert!(place(&format!("{BEGIN}\n"), "new").is_err());
        assert!(place(&format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n"), "new").is_err());
    }

    #[test]
    fn a_row_for_each_network_has_what_was_measured() {
        let names = names(&["fixed-ba-36-100", "fixed-tree-36-106"]);
        let lines = [
            line("fixed-ba-36-100", CELL, Buffers::Roomy, 0.9876),
            line("fixed-tree-36-106", "diffusion", Buffers::Roomy, 0.5),
        ];
        let table = networks(&Selection::new(&lines, &names), Buffers::Roomy);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            ["| fixed-ba-36-100 | 0.9876 | 12.0 s | 0.40 % | 9 | 1.25 | 6 | 0 | 0 | 0.5 s |"]
        );
    }

    #[test]
    fn what_ran_for_a_shorter_time_is_marked_and_counts_for_no_group() {
        let names = names(&["fixed-ba-36-100"]);
        let mut short = line("fixed-ba-36-100", CELL, Buffers::Roomy, 0.5);
        short.seconds = Some(120);
        let lines = [short];
        let text = render(&lines, &names);
        assert!(text.contains("| fixed-ba-36-100 † | 0.5000 |"), "{text}");
        assert!(text.contains("† not the usual simulated time"), "{text}");
        assert!(text.contains("| fixed | roomy | 0 | – | – |"), "{text}");
    }

    #[test]
    fn what_size_costs_is_bytes_for_each_node_and_second() {
        let mut made = line("scale-ba-1000", CELL, Buffers::Roomy, 50.0);
        made.seconds = Some(SCALE_SECONDS);
        let lines = [made];
        let table = scale(&Selection::new(&lines, &[]));
        // 400 bytes a task, 500 tasks a second, 1000 nodes.
        assert!(
            table.contains("| ba | 1000 | 60 s | 0.5 s | 500.00 | 200 | 0.40 % | 9 |"),
            "{table}"
        );
    }

    #[test]
    fn an_overlay_stands_beside_the_planner() {
        let names = names(&["overlay-full-40-129"]);
        let mut planner = line("overlay-full-40-129", PLANNER, Buffers::Roomy, 0.95);
        planner.buffers = None;
        planner.figures.whole_bound_tasks_per_s = Some(9.9);
        let lines = [
            planner,
            line("overlay-full-40-129", CELL, Buffers::Roomy, 0.912),
        ];
        let table = overlays(&Selection::new(&lines, &names));
        assert!(
            table.contains(
                "| overlay-full-40-129 | 10.00 | 9.90 | 9.50 | 0.9500 | 0.9120 | – | 0.9600 |"
            ),
            "{table}"
        );
    }

    #[test]
    fn without_any_result_the_tables_say_so() {
        let text = render(&[], &names(&["fixed-ba-36-100"]));
        assert!(text.starts_with("Nothing was measured yet."), "{text}");
    }
}
