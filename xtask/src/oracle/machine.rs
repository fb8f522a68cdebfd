//! Where and when something was measured.

use std::{fs, thread};

use anyhow::Result;

use crate::{context::Context, process::output_of};

/// What every line of one run has in common.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) date: String,
    pub(super) machine: String,
    /// The commit that was checked out, with a `+` if sources were changed.
    pub(super) commit: String,
}

impl Stamp {
    pub(super) fn now(context: &Context) -> Result<Self> {
        let line = |program: &str, arguments: &[&str]| -> Result<String> {
            let text = output_of(context.command(program).args(arguments))?;
            Ok(text.trim().to_owned())
        };
        let mut commit = line("git", &["rev-parse", "--short=7", "HEAD"])?;
        // Results are written while others are measured, and change nothing.
        let sources = [
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            "*.rs",
        ];
        if !line("git", &sources)?.is_empty() {
            commit.push('+');
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            date: line("date", &["-u", "+%F"])?,
            machine: machine(cores, &cpuinfo),
            commit,
        })
    }
}

fn machine(cores: usize, cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    let cores = if cores == 1 {
        "1 core".to_owned()
    } else {
        format!("{cores} cores")
    };
    match model {
        Some(model) => format!("{cores} of {model}"),
        None => cores,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_its_cores_and_their_model() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 143\nmodel name\t: A Fast CPU @ 2 GHz\n\nmodel name\t: Another\n";
        assert_eq!(machine(2, cpuinfo), "2 cores of A Fast CPU @ 2 GHz");
        assert_eq!(machine(1, ""), "1 core");
    }
}
