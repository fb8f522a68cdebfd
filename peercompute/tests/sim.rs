//! `peercompute sim` on small instance files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
};

use common::{Finished, command, finish, interrupt, run, spawn};
use serde_json::{Value, json};

const KEYS: [&str; 16] = [
    "name",
    "mode",
    "rule",
    "nodes",
    "achieved_tasks_per_s",
    "bound_tasks_per_s",
    "ratio",
    "t95_s",
    "control_bytes_per_task",
    "control_share",
    "max_buffer",
    "mean_buffer",
    "max_links",
    "rerun_tasks",
    "lost_tasks",
    "wall_s",
];

/// A source with two workers, of which all together compute 3 tasks a second.
fn good() -> Value {
    json!({
        "name": "three",
        "mode": "fixed",
        "task": { "input_bytes": 1000, "output_bytes": 100 },
        "nodes": [
            { "compute": 1, "up": 1e5, "down": 1e5, "source": true },
            { "compute": 1, "up": 1e5, "down": 1e5, "source": false },
            { "compute": 1, "up": 1e5, "down": 1e5 }
        ],
        "links": [[0, 1, 5e4, 5e4, 5.0], [1, 2, 5e4, 5e4, 7.5]],
        "optimum_tasks_per_s": 3.0
    })
}

/// The same with `value` at `pointer`.
fn with(pointer: &str, value: Value) -> Value {
    let mut instance = good();
    *instance.pointer_mut(pointer).unwrap() = value;
    instance
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn lines(finished: &Finished) -> Vec<Value> {
    let lines = finished.text().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Runs on one file, which must be refused for this field, in words that have `part` in them.
#[track_caller]
fn refused(text: &str, field: &str, part: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "bad.json", text);
    let told = run(&["sim", "--seconds", "10", "--json", &file])
        .expect(2)
        .text()
        .lines()
        .next()
        .map(str::to_owned);
    let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
    assert_eq!(told["file"], file, "{told}");
    assert_eq!(told["field"], field, "{told}");
    assert!(told["error"].as_str().unwrap().contains(part), "{told}");
    assert_eq!(told.as_object().unwrap().len(), 3, "{told}");
    let shown = run(&["sim", "--seconds", "10", &file]).expect(2);
    assert!(
        shown.stderr.contains(&file) && shown.stderr.contains(part),
        "{}",
        shown.stderr
    );
    assert_eq!(shown.text(), "");
}

#[test]
fn a_network_is_measured_against_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.json", &good().to_string());
    let report = run(&["sim", "--seconds", "120", "--json", &file])
        .expect(0)
        .json();
    let keys: Vec<_> = report
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = KEYS;
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(report["name"], "three");
    assert_eq!(report["mode"], "fixed");
    assert_eq!(report["rule"], "cell");
    assert_eq!(report["nodes"], 3);
    assert_eq!(report["bound_tasks_per_s"], 3.0);
    let ratio = report["ratio"].as_f64().unwrap();
    let achieved = report["achieved_tasks_per_s"].as_f64().unwrap();
    assert!((ratio - achieved / 3.0).abs() < 1e-9, "{report}");
    assert!(ratio > 0.5 && ratio < 1.05, "{report}");
    assert_eq!(report["max_links"], 2);
    assert_eq!(report["lost_tasks"], 0);
}

#[test]
fn without_an_optimum_there_is_no_bound_and_no_ratio() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        dir.path(),
        "a.json",
        &with("/optimum_tasks_per_s", Value::Null).to_string(),
    );
    let report = run(&["sim", "--seconds", "20", "--json", &file])
        .expect(0)
        .json();
    assert_eq!(report["bound_tasks_per_s"], Value::Null);
    assert_eq!(report["ratio"], Value::Null);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.json", &good().to_string());
    let report = || {
        let mut report = run(&["sim", "--seconds", "60", "--seed", "7", "--json", &file])
            .expect(0)
            .json();
        report.as_object_mut().unwrap().remove("wall_s").unwrap();
        report
    };
    assert_eq!(report(), report());
}

#[test]
fn churn_is_measured_over_the_files_duration_against_its_optimum() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = with("/mode", "churn".into());
    instance["events"] = json!([[5.0, 2, "leave"], [12.5, 2, "join"]]);
    instance["duration_s"] = 30.into();
    instance["optimum_tasks"] = 80.into();
    let file = write(dir.path(), "a.json", &instance.to_string());
    let report = run(&["sim", "--json", &file]).expect(0).json();
    assert_eq!(report["mode"], "churn");
    let completed = report["achieved_tasks_per_s"].as_f64().unwrap() * 30.0;
    let ratio = report["ratio"].as_f64().unwrap();
    assert!((ratio - completed / 80.0).abs() < 1e-9, "{report}");
    let shorter = run(&["sim", "--seconds", "20", "--json", &file])
        .expect(0)
        .json();
    assert_eq!(shorter["ratio"], Value::Null);
    assert_eq!(shorter["bound_tasks_per_s"], 3.0);
    let shown = run(&["sim", &file]).expect(0);
    assert!(shown.text().contains("run twice"), "{}", shown.text());
}

#[test]
fn what_is_no_json_is_refused() {
    refused("", "file", "EOF");
    refused("{\"mode\": \"fixed\",", "file", "line 1");
    refused(&format!("{} x", good()), "file", "after its end");
    refused("[]", "file", "an object");
    refused(&json!([good()]).to_string(), "file", "found an array");
}

#[test]
fn an_unknown_link_end_is_refused() {
    refused(
        &with("/links/1/1", 3.into()).to_string(),
        "links[1]",
        "there are 3 nodes",
    );
    refused(
        &with("/links/1/1", (-1).into()).to_string(),
        "links[1][1]",
        "index of a node",
    );
}

#[test]
fn capacities_of_nothing_are_refused() {
    refused(
        &with("/nodes/0/up", 0.into()).to_string(),
        "nodes[0].up",
        "above 0",
    );
    refused(
        &with("/nodes/2/down", 0.0.into()).to_string(),
        "nodes[2].down",
        "above 0",
    );
    refused(
        &with("/links/0/3", 0.into()).to_string(),
        "links[0][3]",
        "above 0",
    );
    refused(
        &with("/task/input_bytes", 0.into()).to_string(),
        "task.input_bytes",
        "1 or more",
    );
}

#[test]
fn negative_capacities_are_refused() {
    refused(
        &with("/nodes/1/compute", (-1).into()).to_string(),
        "nodes[1].compute",
        "-1",
    );
    refused(
        &with("/nodes/1/up", (-5.5).into()).to_string(),
        "nodes[1].up",
        "-5.5",
    );
    refused(
        &with("/links/1/2", (-3).into()).to_string(),
        "links[1][2]",
        "-3",
    );
    refused(
        &with("/links/1/4", (-3).into()).to_string(),
        "links[1][4]",
        "-3",
    );
}

#[test]
fn a_source_without_a_link_is_refused() {
    let links = json!([[1, 2, 1e4, 1e4, 1]]);
    refused(
        &with("/links", links).to_string(),
        "nodes[0].source",
        "without a link",
    );
}

#[test]
fn networks_of_nobody_are_refused() {
    let mut empty = with("/nodes", json!([]));
    empty["links"] = json!([]);
    refused(&empty.to_string(), "nodes", "empty");
    refused(
        &with("/nodes/0/source", false.into()).to_string(),
        "nodes",
        "source",
    );
    refused("{}", "mode", "missing");
}

/// Seven nodes that all know each other and may have two links each.
fn overlay() -> Value {
    let node = |index: usize| json!({ "compute": 1, "up": 1e5, "down": 1e5, "source": index == 0 });
    let links = (0..7).flat_map(|a| (0..a).map(move |b| json!([a, b, 5e4, 5e4, 5.0])));
    json!({
        "name": "seven",
        "mode": "overlay",
        "task": { "input_bytes": 1000, "output_bytes": 100 },
        "nodes": (0..7).map(node).collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "max_degree": 2,
        "optimum_tasks_per_s": 7.0
    })
}

#[test]
fn nodes_of_an_overlay_choose_their_links_within_their_degree() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "overlay.json", &overlay().to_string());
    let report = run(&["sim", "--seconds", "300", "--json", &file])
        .expect(0)
        .json();
    assert_eq!(report["mode"], "overlay");
    assert_eq!(report["max_links"], 2);
    assert_eq!(report["lost_tasks"], 0);
    assert!(report["ratio"].as_f64().unwrap() > 0.9, "{report}");
}

#[test]
fn an_overlay_without_a_degree_or_with_a_rule_that_cannot_choose_is_refused() {
    let mut instance = overlay();
    instance["max_degree"] = Value::Null;
    refused(&instance.to_string(), "max_degree", "missing");
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "overlay.json", &overlay().to_string());
    let told = run(&["sim", "--json", "--rule", "diffusion", &file]).expect(2);
    let told: Value = serde_json::from_str(told.text().lines().next().unwrap()).unwrap();
    assert_eq!(told["field"], "mode", "{told}");
}

#[test]
fn what_cannot_be_read_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a.json", &good().to_string());
    let bad = write(dir.path(), "bad.json", "{");
    let missing = dir.path().join("missing.json").to_str().unwrap().to_owned();
    let b = write(
        dir.path(),
        "b.json",
        &with("/name", "other".into()).to_string(),
    );
    let directory = dir.path().to_str().unwrap();
    let args = ["sim", "--seconds", "10", &a, &missing, directory, &bad, &b];
    let told = run(&[&args[..], &["--json"]].concat()).expect(2);
    let told = lines(&told);
    assert_eq!(told[0]["name"], "three");
    assert_eq!(told[1]["file"], missing);
    assert_eq!(told[1]["field"], "file");
    assert_eq!(told[2]["file"], directory);
    assert_eq!(told[3]["file"], bad);
    assert_eq!(told[4]["name"], "other");
    let shown = run(&args).expect(2);
    let rows: Vec<_> = shown.text().lines().collect();
    assert!(rows.iter().any(|row| row.starts_with("a ")), "{rows:?}");
    assert!(rows.iter().any(|row| row.starts_with("b ")), "{rows:?}");
    assert!(shown.stderr.contains("3 of 5"), "{}", shown.stderr);
}

#[test]
fn outcomes_come_in_the_order_of_the_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["d", "a", "c", "b"];
    let files = names.map(|name| {
        // The first takes longest.
        let mut instance = with("/name", name.into());
        if name == "d" {
            instance["mode"] = "churn".into();
            instance["duration_s"] = 2000.into();
        } else {
            instance["mode"] = "churn".into();
            instance["duration_s"] = 2.into();
        }
        write(dir.path(), name, &instance.to_string())
    });
    let mut args = vec!["sim", "--json"];
    args.extend(files.iter().map(String::as_str));
    let told = lines(&run(&args).expect(0));
    let told: Vec<_> = told
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert_eq!(told, names);
}

#[test]
fn nodes_that_no_source_reaches_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let links = json!([[0, 1, 5e4, 5e4, 5]]);
    let file = write(dir.path(), "a.json", &with("/links", links).to_string());
    let shown = run(&["sim", "--seconds", "10", &file]).expect(0);
    assert!(shown.stderr.contains("1 of 3 nodes"), "{}", shown.stderr);
}

#[test]
fn a_plot_is_an_svg_named_after_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let name = "<three> & \u{1}";
    let file = write(
        dir.path(),
        "a.json",
        &with("/name", name.into()).to_string(),
    );
    let plots = dir.path().join("some/where");
    let args = [
        "sim",
        "--seconds",
        "20",
        "--plot",
        plots.to_str().unwrap(),
        &file,
        &file,
    ];
    run(&args).expect(0);
    let svg = std::fs::read_to_string(plots.join("a.svg")).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert!(svg.contains("&lt;three&gt; &amp; "), "{svg}");
    assert!(
        !svg.contains('\u{1}') && !svg.contains("NaN") && !svg.contains("inf"),
        "{svg}"
    );
    assert_eq!(svg, std::fs::read_to_string(plots.join("a-2.svg")).unwrap());
}

#[test]
fn a_plot_that_cannot_be_written_is_a_failure_at_run_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.json", &good().to_string());
    std::fs::create_dir_all(dir.path().join("plots/a.svg")).unwrap();
    let plots = dir.path().join("plots");
    let told = run(&[
        "sim",
        "--seconds",
        "5",
        "--json",
        "--plot",
        plots.to_str().unwrap(),
        &file,
    ])
    .expect(1);
    let told = lines(&told);
    assert_eq!(told[0]["name"], "three");
    assert_eq!(told[1]["field"], "plot");
    let file_in_the_way = ["sim", "--plot", &file, &file];
    run(&file_in_the_way).expect(2);
}

#[test]
fn a_made_network_runs_and_has_no_bound() {
    let report = run(&[
        "sim",
        "--generate",
        "chain",
        "--nodes",
        "5",
        "--seconds",
        "20",
        "--json",
    ])
    .expect(0)
    .json();
    assert_eq!(report["name"], "chain-5-0");
    assert_eq!(report["nodes"], 5);
    assert_eq!(report["mode"], "fixed");
    assert_eq!(report["bound_tasks_per_s"], Value::Null);
    assert!(
        report["achieved_tasks_per_s"].as_f64().unwrap() > 0.0,
        "{report}"
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.json", &good().to_string());
    for args in [
        &["sim"][..],
        &["sim", "--generate", "ba"],
        &["sim", "--nodes", "10", &file],
        &["sim", "--generate", "ba", "--nodes", "10", &file],
        &["sim", "--generate", "cube", "--nodes", "10"],
        &["sim", "--generate", "ba", "--nodes", "0"],
        &["sim", "--generate", "ba", "--nodes", "1000000000"],
        &["sim", "--seconds", "0", &file],
        &["sim", "--seconds", "-3", &file],
        &["sim", "--seconds", "soon", &file],
        &["sim", "--rule", "magic", &file],
        &["sim", "--seed", "-1", &file],
    ] {
        run(args).expect(2);
    }
}

#[test]
fn a_pipe_gets_no_control_codes() {
    let dir = tempfile::tempdir().unwrap();
    let name = "\u{1b}[2Jred";
    let file = write(
        dir.path(),
        "a.json",
        &with("/name", name.into()).to_string(),
    );
    let output = command(&["sim", "--seconds", "10", &file])
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
    assert!(!output.stdout.is_empty());
}

/// Two files, the second of which takes far longer than a test.
fn short_and_endless(dir: &Path) -> [String; 2] {
    let mut short = with("/mode", "churn".into());
    short["duration_s"] = 2.into();
    let mut endless = with("/mode", "churn".into());
    endless["duration_s"] = 1_000_000.into();
    [
        write(dir, "short.json", &short.to_string()),
        write(dir, "endless.json", &endless.to_string()),
    ]
}

#[test]
fn an_interrupt_is_a_failure_that_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let [short, endless] = short_and_endless(dir.path());
    let mut child = spawn(&["sim", "--json", &short, &endless]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["name"], "three");
    interrupt(&child);
    let mut second = String::new();
    out.read_line(&mut second).unwrap();
    let second: Value = serde_json::from_str(&second).unwrap();
    let error = second["error"].as_str().unwrap();
    assert!(error.contains("1 of 2"), "{error}");
    assert!(
        error.contains(&endless) && !error.contains(&short),
        "{error}"
    );
    let told = finish(child).expect(1).stderr;
    assert!(told.contains("1 of 2") && told.contains(&endless), "{told}");
}

#[test]
fn a_run_that_is_interrupted_before_anything_is_done_fails() {
    let dir = tempfile::tempdir().unwrap();
    let [_, endless] = short_and_endless(dir.path());
    let child = spawn(&["sim", &endless]);
    interrupt(&child);
    // A signal that comes before the program listens ends it at once.
    let ended = child.wait_with_output().unwrap();
    assert_ne!(ended.status.code(), Some(0));
    assert_eq!(ended.stdout, b"");
}

#[test]
fn a_table_says_why_a_row_has_no_ratio() {
    let dir = tempfile::tempdir().unwrap();
    let mut churn = with("/mode", "churn".into());
    churn["duration_s"] = 30.into();
    churn["optimum_tasks"] = 80.into();
    let churn = write(dir.path(), "churn.json", &churn.to_string());
    let bare = with("/optimum_tasks_per_s", Value::Null);
    let bare = write(dir.path(), "bare.json", &bare.to_string());
    let good = write(dir.path(), "good.json", &good().to_string());
    let shown = run(&["sim", "--seconds", "20", &churn, &bare, &good]).expect(0);
    let notes: Vec<_> = shown
        .text()
        .lines()
        .filter(|line| line.contains("no ratio"))
        .collect();
    assert_eq!(notes.len(), 2, "{}", shown.text());
    assert!(
        notes.iter().any(|note| note.contains("--seconds")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("optimum_tasks_per_s")),
        "{notes:?}"
    );
    let alone = run(&["sim", "--seconds", "20", &churn]).expect(0);
    assert!(alone.text().contains("--seconds"), "{}", alone.text());
}
