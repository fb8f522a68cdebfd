//! What was measured, as lines of JSON in a file that is committed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::name::Name;

/// The rule that is measured against the others.
pub(super) const CELL: &str = "cell";

/// The rules from the literature.
pub(super) const BASELINES: [&str; 5] = [
    "random-push",
    "shortest-queue",
    "diffusion",
    "work-stealing",
    "bandwidth-tree",
];

/// Somebody who knows everything and chooses whole links.
pub(super) const PLANNER: &str = "planner";

/// How much may wait at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Buffers {
    Roomy,
    Tight,
}

impl Buffers {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Tight => "tight",
        }
    }
}

/// What one run has shown, by the names that `peercompute sim --json` has for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) achieved_tasks_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bound_tasks_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) t95_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) control_bytes_per_task: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) control_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_buffer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mean_buffer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rerun_tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost_tasks: Option<u64>,
    /// The planner's: a bound for whole links, which is below the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) whole_bound_tasks_per_s: Option<f64>,
    pub(super) wall_s: f64,
}

/// One network, rule and size of buffers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) rule: String,
    /// `None` for the planner, which moves no tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) buffers: Option<Buffers>,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Simulated seconds, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<u64>,
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) commit: String,
}

impl Line {
    fn key(&self) -> (&str, &str, Option<Buffers>) {
        (&self.name, &self.rule, self.buffers)
    }

    fn place(&self) -> (Option<Name>, usize, Option<Buffers>) {
        let rules = [CELL, PLANNER].into_iter().chain(BASELINES);
        let rule = rules.take_while(|rule| *rule != self.rule).count();
        (self.name.parse().ok(), rule, self.buffers)
    }
}

/// All lines there are.
#[derive(Debug)]
pub(super) struct Results {
    path: PathBuf,
    lines: Vec<Line>,
}

impl Results {
    /// Reads the file; where there is none, nothing was measured yet.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let lines = text.lines().enumerate().map(|(index, line)| {
            serde_json::from_str(line).with_context(|| {
                let (path, number) = (path.display(), index + 1);
                format!("{path}, line {number}: is no result; take the line out")
            })
        });
        Ok(Self {
            path: path.to_owned(),
            lines: lines.collect::<Result<_>>()?,
        })
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds a line, in place of the one for the same network, rule and buffers, and writes the file: a run that is interrupted keeps what it has measured.
    pub(super) fn put(&mut self, line: Line) -> Result<()> {
        self.lines.retain(|other| other.key() != line.key());
        self.lines.push(line);
        self.lines.sort_by_key(Line::place);
        let mut text = String::new();
        for line in &self.lines {
            text += &serde_json::to_string(line).context("a result is always JSON")?;
            text.push('\n');
        }
        write(&self.path, &text)
    }
}

/// Writes a file so that at each moment either the old or the new one is there.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    let written = || -> io::Result<()> {
        let mut beside = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut beside, text.as_bytes())?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode());
            fs::set_permissions(beside.path(), fs::Permissions::from_mode(mode))?;
        }
        beside.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A line with a ratio, and everything else plausible.
    pub(in super::super) fn line(name: &str, rule: &str, buffers: Buffers, ratio: f64) -> Line {
        Line {
            name: name.to_owned(),
            rule: rule.to_owned(),
            buffers: Some(buffers),
            figures: Figures {
                achieved_tasks_per_s: ratio * 10.0,
                bound_tasks_per_s: Some(10.0),
                ratio: Some(ratio),
                t95_s: Some(12.0),
                control_bytes_per_task: Some(400.0),
                control_share: Some(0.004),
                max_buffer: Some(9),
                mean_buffer: Some(1.25),
                max_links: Some(6),
                rerun_tasks: Some(0),
                lost_tasks: Some(0),
                whole_bound_tasks_per_s: None,
                wall_s: 0.5,
            },
            seconds: None,
            date: "2026-11-21".to_owned(),
            machine: "2 cores of a machine".to_owned(),
            commit: "abcdef0".to_owned(),
        }
    }

    #[test]
    fn a_line_takes_the_place_of_the_one_for_the_same_network_rule_and_buffers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.jsonl");
        let mut results = Results::load(&path).expect("nothing yet");
        for (buffers, ratio) in [
            (Buffers::Tight, 0.5),
            (Buffers::Roomy, 0.6),
            (Buffers::Tight, 0.7),
        ] {
            let line = line("fixed-ba-36-100", CELL, buffers, ratio);
            results.put(line).expect("written");
        }
        let read = Results::load(&path).expect("readable");
        assert_eq!(read.lines(), results.lines());
        let ratios: Vec<_> = read.lines().iter().map(|line| line.figures.ratio).collect();
        assert_eq!(ratios, [Some(0.6), Some(0.7)]);
    }

    #[test]
    fn lines_stand_in_the_order_of_networks_and_rules() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.jsonl");
        let mut results = Results::load(&path).expect("nothing yet");
        for (name, rule) in [
            ("churn-regular-300-134", CELL),
            ("fixed-ba-144-101", CELL),
            ("fixed-ba-36-100", "diffusion"),
            ("fixed-ba-36-100", CELL),
        ] {
            let line = line(name, rule, Buffers::Roomy, 0.9);
            results.put(line).expect("written");
        }
        let order: Vec<_> = results
            .lines()
            .iter()
            .map(|line| (line.name.as_str(), line.rule.as_str()))
            .collect();
        assert_eq!(
            order,
            [
                ("fixed-ba-36-100", CELL),
                ("fixed-ba-36-100", "diffusion"),
                ("fixed-ba-144-101", CELL),
                ("churn-regular-300-134", CELL),
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_result_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.jsonl");
        fs::write(&path, "{}\n").expect("written");
        let error = format!("{:#}", Results::load(&path).expect_err("no result"));
        assert!(error.contains("results.jsonl, line 1"), "{error}");
    }

    #[test]
    fn what_the_program_prints_is_understood() {
        let printed = r#"{"name":"a","mode":"fixed","rule":"cell","nodes":3,"achieved_tasks_per_s":2.5,"bound_tasks_per_s":null,
            "ratio":null,"t95_s":7.5,"control_bytes_per_task":1.0,"control_share":0.1,"max_buffer":4,"mean_buffer":0.5,"max_links":2,
            "rerun_tasks":0,"lost_tasks":0,"wall_s":0.25}"#;
        let figures: Figures = serde_json::from_str(printed).expect("figures");
        assert_eq!(figures.achieved_tasks_per_s, 2.5);
        assert_eq!((figures.ratio, figures.t95_s), (None, Some(7.5)));
        assert_eq!((figures.max_buffer, figures.wall_s), (Some(4), 0.25));
    }
}
