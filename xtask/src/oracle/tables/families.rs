//! Our rule beside those from the literature, by families of networks.

use std::collections::BTreeMap;

use super::{
    super::{
        measure::has_baselines,
        results::{BASELINES, Buffers, CELL},
    },
    markdown::{Align, Table, or_dash},
    select::{Selection, mean},
};

/// The means over the networks of one family on which all these rules were measured.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) networks: usize,
    pub(super) cell: f64,
    /// In the order of [`BASELINES`].
    pub(super) baselines: [f64; BASELINES.len()],
}

impl Family {
    /// The best of the baselines, and which one it is.
    fn best(&self) -> (f64, &'static str) {
        let named = self.baselines.into_iter().zip(BASELINES);
        named
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("there are baselines")
    }

    /// How much better we are than the best of them.
    pub(super) fn lead(&self) -> f64 {
        self.cell - self.best().0
    }
}

/// The families that were measured, by their names.
pub(super) fn families(selection: &Selection<'_>) -> Vec<Family> {
    let mut ratios: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for name in selection.instances().filter(|name| has_baselines(name)) {
        let ratio = |rule| {
            let figures = selection.figures(name, rule, Some(Buffers::Roomy));
            figures.and_then(|figures| figures.ratio)
        };
        let baselines: Vec<_> = BASELINES.into_iter().filter_map(ratio).collect();
        if let (Some(cell), Ok(baselines)) =
            (ratio(CELL), <[f64; BASELINES.len()]>::try_from(baselines))
        {
            let family = ratios.entry((name.group, name.kind.clone())).or_default();
            family.push((cell, baselines, name.family()));
        }
    }
    let family = |rows: Vec<(f64, [f64; BASELINES.len()], String)>| {
        let name = rows.first()?.2.clone();
        let mut baselines = [0.0; BASELINES.len()];
        for (index, baseline) in baselines.iter_mut().enumerate() {
            *baseline = mean(rows.iter().map(|row| row.1[index]))?;
        }
        Some(Family {
            name,
            networks: rows.len(),
            cell: mean(rows.iter().map(|row| row.0))?,
            baselines,
        })
    };
    ratios.into_values().filter_map(family).collect()
}

pub(super) fn table(selection: &Selection<'_>) -> String {
    let mut columns = vec![
        ("family", Align::Left),
        ("networks", Align::Right),
        (CELL, Align::Right),
        ("best baseline", Align::Right),
        ("which", Align::Left),
        ("lead", Align::Right),
    ];
    columns.extend(BASELINES.map(|rule| (rule, Align::Right)));
    let mut table = Table::new(&columns);
    let families = families(selection);
    let ratio = |ratio: f64| format!("{ratio:.4}");
    for family in &families {
        let (best, which) = family.best();
        let cells = [
            family.name.clone(),
            family.networks.to_string(),
            ratio(family.cell),
            ratio(best),
            which.to_owned(),
            format!("{:+.4}", family.lead()),
        ];
        table.row(cells.into_iter().chain(family.baselines.map(ratio)));
    }
    let networks: usize = families.iter().map(|family| family.networks).sum();
    let of = |value: fn(&Family) -> f64| mean(families.iter().map(value));
    let cells = [
        "**mean of families**".to_owned(),
        networks.to_string(),
        or_dash(of(|family| family.cell), ratio),
        or_dash(of(|family| family.best().0), ratio),
        "the best of each".to_owned(),
        or_dash(of(Family::lead), |lead| format!("{lead:+.4}")),
    ];
    let baselines = (0..BASELINES.len()).map(|index| {
        let values = families.iter().map(|family| family.baselines[index]);
        or_dash(mean(values), ratio)
    });
    table.row(cells.into_iter().chain(baselines));
    let note =
        "Mean ratios over the networks of a family on which every rule ran, roomy buffers.\n";
    format!("{}\n{note}", table.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{
        name::Name,
        results::{Line, tests::line},
    };

    #[test]
    fn a_family_is_compared_where_every_rule_was_measured() {
        let names: Vec<Name> = ["fixed-ba-36-100", "fixed-ba-144-101", "churn-ba-100-1"]
            .map(|name| name.parse().expect("a name"))
            .to_vec();
        let mut lines: Vec<Line> = Vec::new();
        for (name, ratio) in [("fixed-ba-36-100", 0.9), ("fixed-ba-144-101", 0.7)] {
            lines.push(line(name, CELL, Buffers::Roomy, ratio + 0.05));
            for (rule, less) in BASELINES.into_iter().zip([0.0, 0.1, 0.2, 0.3, 0.4]) {
                lines.push(line(name, rule, Buffers::Roomy, ratio - less));
            }
        }
        // Here only one was.
        lines.push(line("churn-ba-100-1", CELL, Buffers::Roomy, 0.1));
        let families = families(&Selection::new(&lines, &names));
        assert_eq!(families.len(), 1);
        let family = &families[0];
        assert_eq!((family.name.as_str(), family.networks), ("fixed ba", 2));
        assert!((family.cell - 0.85).abs() < 1e-12);
        assert!((family.lead() - 0.05).abs() < 1e-12);
        assert_eq!(family.best().1, "random-push");
        let table = table(&Selection::new(&lines, &names));
        assert!(
            table.contains(
                "| fixed ba | 2 | 0.8500 | 0.8000 | random-push | +0.0500 | 0.8000 | 0.7000 |"
            ),
            "{table}"
        );
    }
}
