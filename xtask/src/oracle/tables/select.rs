//! The lines that a table is about, and figures over several of them.

use std::collections::HashMap;

use super::{
    super::{
        name::{Group, Name},
        results::{Buffers, Figures, Line},
    },
    is_short,
};

/// Lines by network, rule and buffers.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    lines: HashMap<(&'a str, &'a str, Option<Buffers>), &'a Line>,
    /// Every network that there is or was measured, in order.
    names: Vec<Name>,
}

impl<'a> Selection<'a> {
    /// Lines of networks that are there no more are left out.
    pub(super) fn new(lines: &'a [Line], instances: &[Name]) -> Self {
        let made = lines
            .iter()
            .filter_map(|line| line.name.parse::<Name>().ok())
            .filter(|name| name.group == Group::Scale);
        let mut names: Vec<_> = instances.iter().cloned().chain(made).collect();
        names.sort();
        names.dedup();
        let lines = lines
            .iter()
            .filter(|line| names.iter().any(|name| name.as_str() == line.name))
            .map(|line| ((line.name.as_str(), line.rule.as_str(), line.buffers), line))
            .collect();
        Self { lines, names }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &'a Line> {
        self.lines.values().copied()
    }

    /// The networks that have files.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(|name| name.group != Group::Scale)
    }

    pub(super) fn line(
        &self,
        name: &Name,
        rule: &str,
        buffers: Option<Buffers>,
    ) -> Option<&'a Line> {
        self.lines.get(&(name.as_str(), rule, buffers)).copied()
    }

    /// What was measured for the usual time.
    pub(super) fn figures(
        &self,
        name: &Name,
        rule: &str,
        buffers: Option<Buffers>,
    ) -> Option<&'a Figures> {
        let line = self.line(name, rule, buffers)?;
        (!is_short(line, name)).then_some(&line.figures)
    }

    /// The lines of a rule on some networks, where they were simulated for the usual time.
    pub(super) fn of(
        &self,
        rule: &str,
        buffers: Option<Buffers>,
        takes: impl Fn(&Name) -> bool,
    ) -> Vec<(&Name, &'a Line)> {
        self.names
            .iter()
            .filter(|name| takes(name))
            .filter_map(|name| Some((name, self.line(name, rule, buffers)?)))
            .filter(|(name, line)| !is_short(line, name))
            .collect()
    }

    pub(super) fn has_short(&self) -> bool {
        self.names.iter().any(|name| {
            let mut lines = self.lines.values();
            lines.any(|line| line.name == name.as_str() && is_short(line, name))
        })
    }
}

/// The ratios of some lines.
#[derive(Debug)]
pub(super) struct Ratios<'a>(Vec<(f64, &'a Name)>);

impl<'a> Ratios<'a> {
    pub(super) fn of(rows: &[(&'a Name, &Line)]) -> Self {
        let ratios = rows
            .iter()
            .filter_map(|(name, line)| Some((line.figures.ratio?, *name)));
        Self(ratios.collect())
    }

    pub(super) fn mean(&self) -> Option<f64> {
        mean(self.0.iter().map(|(ratio, _)| *ratio))
    }

    pub(super) fn worst(&self) -> Option<(f64, &'a Name)> {
        let worst = self.0.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        worst.copied()
    }
}

/// When the rows became steady, in seconds; never is infinite.
pub(super) fn t95s(rows: &[(&Name, &Line)]) -> Vec<f64> {
    rows.iter()
        .map(|(_, line)| line.figures.t95_s.unwrap_or(f64::INFINITY))
        .collect()
}

pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The one in the middle; of an even number the mean of the two there.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(sorted[low], sorted[high]))
}

/// The largest.
pub(super) fn worst(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    values.into_iter().max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, f64::INFINITY]), Some(3.0));
        assert_eq!(
            median(&[1.0, f64::INFINITY, f64::INFINITY]),
            Some(f64::INFINITY)
        );
    }

    #[test]
    fn nothing_has_no_mean_and_no_worst() {
        assert_eq!(mean([]), None);
        assert_eq!(worst([]), None);
        assert_eq!(mean([1.0, 2.0]), Some(1.5));
        assert_eq!(worst([1.0, 3.0, 2.0]), Some(3.0));
    }
}
