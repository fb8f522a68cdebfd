//! What the rule is asked to reach, and what it has reached.

use super::{
    super::{
        name::{Group, Name},
        results::{Buffers, CELL, Line},
    },
    families::families,
    markdown::{Align, Table, or_dash, percent},
    seconds,
    select::{Ratios, Selection, mean, median, t95s, worst},
};

/// A figure and its limit.
struct Asked {
    what: String,
    limit: Limit,
    reached: Option<f64>,
    show: fn(f64) -> String,
    /// How many networks it is over, and how many there are.
    networks: (usize, usize),
}

#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    Above(f64),
}

impl Limit {
    fn words(self, show: fn(f64) -> String) -> String {
        match self {
            Self::AtLeast(limit) => format!("at least {}", show(limit)),
            Self::AtMost(limit) => format!("at most {}", show(limit)),
            Self::Below(limit) => format!("below {}", show(limit)),
            Self::Above(limit) => format!("above {}", show(limit)),
        }
    }

    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::Above(limit) => value > limit,
        }
    }
}

pub(super) fn table(selection: &Selection<'_>) -> String {
    let mut table = Table::new(&[
        ("what", Align::Left),
        ("asked", Align::Right),
        ("reached", Align::Right),
        ("met", Align::Left),
        ("networks", Align::Right),
    ]);
    for asked in all(selection) {
        let (measured, there) = asked.networks;
        let networks = if measured == there {
            there.to_string()
        } else {
            format!("{measured} of {there}")
        };
        let met = asked.reached.map(|value| asked.limit.is_met_by(value));
        table.row([
            asked.what,
            asked.limit.words(asked.show),
            or_dash(asked.reached, asked.show),
            or_dash(met, |met| if met { "yes" } else { "**no**" }.to_owned()),
            networks,
        ]);
    }
    table.finish()
}

fn all(selection: &Selection<'_>) -> Vec<Asked> {
    let mut all = Vec::new();
    for (buffers, mean, worst) in [(Buffers::Roomy, 0.997, 0.98), (Buffers::Tight, 0.985, 0.94)] {
        let part = Part::new(selection, buffers, |name| name.group == Group::Fixed);
        let what = |figure| format!("fixed, {} buffers: {figure} ratio", buffers.word());
        let ratios = Ratios::of(&part.rows);
        all.push(part.asked(what("mean"), Limit::AtLeast(mean), ratios.mean(), ratio));
        all.push(part.asked(what("worst"), Limit::AtLeast(worst), lowest(&ratios), ratio));
        if buffers == Buffers::Roomy {
            let times = t95s(&part.rows);
            let what = |figure| format!("fixed: time to 95 %, {figure}");
            let middle = median(&times);
            all.push(part.asked(what("median"), Limit::AtMost(30.0), middle, seconds));
            let longest = self::worst(times);
            all.push(part.asked(what("worst"), Limit::AtMost(120.0), longest, seconds));
        }
    }
    for (kind, limit) in [("full", 0.985), ("candidates", 0.92)] {
        let part = Part::new(selection, Buffers::Roomy, |name| {
            name.group == Group::Overlay && name.kind == kind
        });
        let what = format!("overlay, {kind}: worst ratio");
        let reached = lowest(&Ratios::of(&part.rows));
        all.push(part.asked(what, Limit::AtLeast(limit), reached, ratio));
    }
    let part = Part::new(selection, Buffers::Roomy, |name| name.group == Group::Churn);
    let reached = lowest(&Ratios::of(&part.rows));
    all.push(part.asked("churn: worst ratio", Limit::AtLeast(0.965), reached, ratio));
    let lost = part
        .rows
        .iter()
        .filter_map(|(_, line)| line.figures.lost_tasks);
    let lost = worst(lost.map(|count| count as f64));
    all.push(
        part.asked("churn: tasks lost", Limit::AtMost(0.0), lost, |lost| {
            format!("{lost:.0}")
        }),
    );
    for buffers in [Buffers::Roomy, Buffers::Tight] {
        let part = Part::new(selection, buffers, |name| name.group != Group::Scale);
        let control = part
            .rows
            .iter()
            .filter_map(|(_, line)| line.figures.control_share);
        let what = format!("control share, {} buffers: worst", buffers.word());
        all.push(part.asked(what, Limit::Below(0.01), worst(control), percent));
    }
    all.extend(beside_baselines(selection));
    all
}

fn beside_baselines(selection: &Selection<'_>) -> [Asked; 2] {
    let families = families(selection);
    let measured = families.iter().map(|family| family.networks).sum();
    let there = selection
        .instances()
        .filter(|name| super::super::measure::has_baselines(name))
        .count();
    let leads = || families.iter().map(super::families::Family::lead);
    let asked = |what: &str, limit, reached| Asked {
        what: what.to_owned(),
        limit,
        reached,
        show: |lead| format!("{lead:+.4}"),
        networks: (measured, there),
    };
    [
        asked(
            "lead over the best baseline of a family: worst",
            Limit::AtLeast(-0.002),
            leads().min_by(f64::total_cmp),
        ),
        asked(
            "lead over the best baseline of a family: mean",
            Limit::Above(0.0),
            mean(leads()),
        ),
    ]
}

/// The networks that a figure is over.
struct Part<'a> {
    rows: Vec<(&'a Name, &'a Line)>,
    there: usize,
}

impl<'a> Part<'a> {
    fn new(selection: &'a Selection<'a>, buffers: Buffers, takes: impl Fn(&Name) -> bool) -> Self {
        Self {
            rows: selection.of(CELL, Some(buffers), &takes),
            there: selection.instances().filter(|name| takes(name)).count(),
        }
    }

    fn asked(
        &self,
        what: impl Into<String>,
        limit: Limit,
        reached: Option<f64>,
        show: fn(f64) -> String,
    ) -> Asked {
        Asked {
            what: what.into(),
            limit,
            reached,
            show,
            networks: (self.rows.len(), self.there),
        }
    }
}

fn lowest(ratios: &Ratios<'_>) -> Option<f64> {
    ratios.worst().map(|(ratio, _)| ratio)
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::results::tests::line;

    #[test]
    fn what_was_reached_stands_beside_what_is_asked() {
        let names: Vec<Name> = ["fixed-ba-36-100", "fixed-tree-36-106", "fixed-star-36-115"]
            .map(|name| name.parse().expect("a name"))
            .to_vec();
        let lines = [
            line("fixed-ba-36-100", CELL, Buffers::Roomy, 1.0),
            line("fixed-tree-36-106", CELL, Buffers::Roomy, 0.97),
        ];
        let table = table(&Selection::new(&lines, &names));
        for row in [
            "| fixed, roomy buffers: mean ratio | at least 0.9970 | 0.9850 | **no** | 2 of 3 |",
            "| fixed, roomy buffers: worst ratio | at least 0.9800 | 0.9700 | **no** | 2 of 3 |",
            "| fixed: time to 95 %, median | at most 30.0 s | 12.0 s | yes | 2 of 3 |",
            "| fixed, tight buffers: mean ratio | at least 0.9850 | – | – | 0 of 3 |",
            "| control share, roomy buffers: worst | below 1.00 % | 0.40 % | yes | 2 of 3 |",
        ] {
            assert!(table.contains(row), "{row}\n{table}");
        }
    }
}
