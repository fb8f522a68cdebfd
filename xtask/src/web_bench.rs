//! `cargo xtask web-bench`: the browser node in Chromium, beside the figures that are asked of it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    context::Context,
    guests,
    process::output_within,
    program,
    tools::Tool,
    web::{self, Weight},
};

/// What measures in the browser.
const SCRIPT: &str = "peercompute-web/bench/web.mjs";

/// How long all of it may take; each part has a limit of its own.
const LIMIT: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Print one JSON object, the last line, instead of a table.
    #[arg(long)]
    json: bool,

    /// End with 1 where a figure is not what is asked.
    #[arg(long)]
    check: bool,

    /// Measure this package, built before, instead of building one.
    #[arg(long, value_name = "FOLDER", requires = "program")]
    package: Option<PathBuf>,

    /// Measure beside this program, instead of building it.
    #[arg(long, value_name = "FILE", requires = "package")]
    program: Option<PathBuf>,

    /// Measure these parts alone; repeatable.
    #[arg(long, value_name = "PART", value_parser = ["openings", "noops", "events", "guests", "frames"])]
    only: Vec<String>,
}

/// A figure, and what is asked of it.
struct Figure {
    what: &'static str,
    /// Where it is in what the script prints.
    at: &'static str,
    unit: &'static str,
    asked: Asked,
}

#[derive(Clone, Copy)]
enum Asked {
    AtMost(f64),
    AtLeast(f64),
    Nothing,
}

const FIGURES: &[Figure] = &[
    figure(
        "package, gzip -9",
        "/package/gzipped",
        "bytes",
        Asked::AtMost(1.2e6),
    ),
    figure(
        "package with shaders, gzip -9",
        "/packageWithShaders/gzipped",
        "bytes",
        Asked::AtMost(1.8e6),
    ),
    figure(
        "page opened to its first result",
        "/openings/asksMs/median",
        "ms",
        Asked::AtMost(2000.0),
    ),
    figure(
        "page opened to a native node's first result",
        "/openings/servesMs/median",
        "ms",
        Asked::AtMost(2000.0),
    ),
    figure(
        "no-op tasks into one tab",
        "/noops/perSecond",
        "a second",
        Asked::AtLeast(5000.0),
    ),
    figure(
        "no-op task, round trip, p50",
        "/noops/roundTripMs/p50",
        "ms",
        Asked::Nothing,
    ),
    figure(
        "reliable event one way, p50",
        "/events/oneWayMs",
        "ms",
        Asked::AtMost(2.0),
    ),
    figure(
        "the same to the native node, by the clock",
        "/events/toNativeMs/p50",
        "ms",
        Asked::AtMost(2.0),
    ),
    figure(
        "n-body, tab to native",
        "/guests/n-body/ratio",
        "",
        Asked::AtMost(1.2),
    ),
    figure(
        "the same with the way there and back",
        "/guests/n-body/roundTripRatio",
        "",
        Asked::Nothing,
    ),
    figure(
        "crc32c, tab to native",
        "/guests/crc32c/ratio",
        "",
        Asked::AtMost(1.2),
    ),
    figure(
        "the same with the way there and back",
        "/guests/crc32c/roundTripRatio",
        "",
        Asked::Nothing,
    ),
    figure(
        "frames at 80 % throttle",
        "/frames/busy/perSecond",
        "a second",
        Asked::AtLeast(59.0),
    ),
    figure(
        "between two frames, median",
        "/frames/busy/medianMs",
        "ms",
        Asked::Nothing,
    ),
    figure(
        "between two frames, p95",
        "/frames/busy/p95Ms",
        "ms",
        Asked::Nothing,
    ),
    figure(
        "frames later than 1.5 intervals",
        "/frames/busy/latePercent",
        "%",
        Asked::Nothing,
    ),
    figure(
        "frames of an idle page",
        "/frames/idle/perSecond",
        "a second",
        Asked::Nothing,
    ),
];

const fn figure(what: &'static str, at: &'static str, unit: &'static str, asked: Asked) -> Figure {
    Figure {
        what,
        at,
        unit,
        asked,
    }
}

/// Builds what is measured, measures it, and says what came of it.
pub(crate) fn bench(context: &Context, arguments: &BenchArgs) -> Result<ExitCode> {
    let (folder, program, weight) = match (&arguments.package, &arguments.program) {
        (Some(folder), Some(program)) => {
            let folder = std::path::absolute(folder)?;
            let weight = web::weigh(context, &folder)?;
            (folder, std::path::absolute(program)?, weight)
        }
        _ => {
            let folder = context.target.join("web");
            let weight = web::build(context, &folder)?;
            (folder, program::release(context)?, weight)
        }
    };
    Tool::Clang.ensure(context)?;
    guests::build(context)?;
    let mut node = web::in_browser(context, &folder, &program)?;
    node.arg(context.root.join(SCRIPT))
        .args(&arguments.only)
        .env("PEERCOMPUTE_GUESTS", guests::folder(context));
    let printed = output_within(&mut node, LIMIT)?;
    let mut report: Value =
        serde_json::from_str(&printed).with_context(|| format!("{SCRIPT} printed: {printed}"))?;
    add_weight(&mut report, weight)?;
    let missed: Vec<_> = FIGURES
        .iter()
        .filter(|figure| figure.is_missed(&report))
        .map(|figure| figure.what)
        .collect();
    if arguments.json {
        report["figures"] = FIGURES
            .iter()
            .filter_map(|it| it.to_json(&report))
            .collect();
        println!("{report}");
    } else {
        for figure in FIGURES {
            figure.print(&report);
        }
    }
    if !missed.is_empty() {
        eprintln!("not as asked: {}", missed.join("; "));
    }
    let failed = arguments.check && !missed.is_empty();
    Ok(ExitCode::from(u8::from(failed)))
}

fn add_weight(report: &mut Value, weight: Weight) -> Result<()> {
    let Some(report) = report.as_object_mut() else {
        bail!("{SCRIPT} printed no object");
    };
    for (name, bytes) in [
        ("package", weight.node),
        ("packageWithShaders", weight.all()),
    ] {
        let bytes = json!({ "bytes": bytes.whole, "gzipped": bytes.gzipped });
        report.insert(name.to_owned(), bytes);
    }
    Ok(())
}

impl Figure {
    fn value(&self, report: &Value) -> Option<f64> {
        report.pointer(self.at)?.as_f64()
    }

    /// What was not measured is not missed.
    fn is_missed(&self, report: &Value) -> bool {
        self.value(report).is_some_and(|value| match self.asked {
            Asked::AtMost(most) => value > most,
            Asked::AtLeast(least) => value < least,
            Asked::Nothing => false,
        })
    }

    fn to_json(&self, report: &Value) -> Option<Value> {
        let value = self.value(report)?;
        let mut figure = json!({ "what": self.what, "value": value, "unit": self.unit });
        match self.asked {
            Asked::AtMost(most) => figure["at_most"] = json!(most),
            Asked::AtLeast(least) => figure["at_least"] = json!(least),
            Asked::Nothing => {}
        }
        Some(figure)
    }

    fn print(&self, report: &Value) {
        let Some(value) = self.value(report) else {
            return;
        };
        let asked = match self.asked {
            Asked::AtMost(most) => format!("at most {most}"),
            Asked::AtLeast(least) => format!("at least {least}"),
            Asked::Nothing => String::new(),
        };
        let mark = if self.is_missed(report) { "!" } else { " " };
        let digits = if value < 100.0 { 2 } else { 0 };
        println!(
            "{mark} {:<46} {value:>12.digits$} {:<9} {asked}",
            self.what, self.unit
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDED: Figure = figure("it", "/a/b", "ms", Asked::AtMost(2.0));

    #[test]
    fn a_figure_is_missed_where_it_is_worse_than_what_is_asked_and_not_where_it_was_not_measured() {
        assert!(BOUNDED.is_missed(&json!({ "a": { "b": 2.1 } })));
        assert!(!BOUNDED.is_missed(&json!({ "a": { "b": 2.0 } })));
        assert!(!BOUNDED.is_missed(&json!({ "a": {} })));
        let least = figure("it", "/a", "", Asked::AtLeast(3.0));
        assert!(least.is_missed(&json!({ "a": 2 })) && !least.is_missed(&json!({ "a": 3 })));
    }

    #[test]
    fn figures_for_machines_say_what_is_asked() {
        let said = BOUNDED.to_json(&json!({ "a": { "b": 1.5 } }));
        let expected = json!({ "what": "it", "value": 1.5, "unit": "ms", "at_most": 2.0 });
        assert_eq!(said, Some(expected));
    }
}
