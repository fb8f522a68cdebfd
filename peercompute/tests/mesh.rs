//! Work that moves hop by hop, between real processes over loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use common::{Running, command, crc, file, finish, run, wait_until};
use serde_json::{Value, json};

/// A node that listens nowhere: only those whom it dials can give it work.
fn hidden(behind: &Running) -> Running {
    Running::start(&["node", "--listen", "none", "--peer", behind.address()])
}

fn status(node: &Running) -> Value {
    run(&["status", "--json", "--control", node.control()])
        .expect(0)
        .json()
}

/// Waits until a node has so many neighbours that have said hello.
fn wait_for_neighbours(node: &Running, count: usize) {
    wait_until("neighbours", || {
        let status = status(node);
        let neighbours = status["cell"]["neighbours"].as_array().unwrap();
        let measured = neighbours.iter().filter(|it| it["rtt_us"].is_u64());
        measured.count() >= count
    });
}

#[test]
fn a_node_that_only_the_one_in_between_knows_does_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 20_000_000);
    let between = Running::node(&["--throttle", "0"]);
    let far = hidden(&between);
    wait_for_neighbours(&far, 1);
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--op",
        "fnv64",
        "--json",
        "--no-local",
        "--chunk",
        "256KiB",
        "--topology",
        "emergent",
        "--peer",
        between.address(),
        &a,
    ]);
    let report = report.expect(0).json();
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(report["verified"], true);
    assert_eq!(report["local_fallback"], false);
    assert_eq!(report["by_node"].as_object().unwrap().len(), 1);
    let share = &report["by_node"][&far.peer];
    assert_eq!(share["tasks"], 154);
    assert_eq!((&share["path"], &share["hops"]), (&"via".into(), &2.into()));
    assert_eq!(report["via"][&between.peer], 154, "{report}");
    assert_eq!(report["via"].as_object().unwrap().len(), 1);
    let cell = &status(&between)["cell"];
    assert_eq!(cell["role"], "peer");
    assert!(cell["neighbours"][0]["sent_bytes"].as_u64().unwrap() > 20_000_000);
    assert_eq!(far.interrupt(), 0);
    assert_eq!(between.interrupt(), 0);
}

#[test]
fn a_neighbour_that_is_killed_midway_costs_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 64_000_000);
    for topology in ["emergent", "hierarchy"] {
        let between = Running::node(&["--throttle", "0"]);
        let mut far = [hidden(&between), hidden(&between)];
        for node in &far {
            wait_for_neighbours(node, 1);
        }
        let mut job = command(&[
            "run",
            "--op",
            "crc32c",
            "--op",
            "counteq",
            "--imm",
            "7",
            "--json",
            "--events",
            "--no-local",
            "--chunk",
            "64KiB",
            "--topology",
            topology,
            "--peer",
            between.address(),
            &a,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let events = BufReader::new(job.stderr.take().unwrap());
        let mut killed = false;
        for line in events.lines() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
            if !killed
                && event["done"]
                    .as_u64()
                    .is_some_and(|bytes| bytes > 10_000_000)
            {
                far[0].kill();
                killed = true;
            }
        }
        let report = finish(job).expect(0).json();
        assert!(killed, "the job ended before the kill");
        assert_eq!(report["verified"], true, "{topology}");
        assert_eq!(report["tasks"], 1954, "{topology}");
    }
}

#[test]
fn nodes_that_may_keep_few_neighbours_choose_them_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let a = file(dir.path(), "a", 20_000_000);
    let mut nodes = vec![Running::node(&["--neighbours", "2"])];
    for _ in 0..4 {
        let at = nodes[0].address().to_owned();
        nodes.push(Running::node(&["--neighbours", "2", "--peer", &at]));
    }
    wait_until("all nodes have measured all others", || {
        let probed = |node: &Running| status(node)["cell"]["choice"]["probed"].as_u64();
        nodes.iter().all(|node| probed(node) == Some(4))
    });
    for node in &nodes {
        wait_for_neighbours(node, 1);
    }
    let report = run(&[
        "run",
        "--op",
        "crc32c",
        "--json",
        "--no-local",
        "--chunk",
        "64KiB",
        "--topology",
        "emergent",
        "--neighbours",
        "2",
        "--peer",
        nodes[0].address(),
        &a,
    ]);
    let report = report.expect(0).json();
    assert_eq!(report["results"][0]["value"], crc(&a));
    assert_eq!(report["verified"], true);
    let cell = &status(&nodes[1])["cell"];
    assert_eq!(cell["choice"]["most"], 2);
    for neighbour in cell["neighbours"].as_array().unwrap() {
        assert!(!neighbour["kept"].as_str().unwrap().is_empty(), "{cell}");
        assert_eq!(neighbour["credit"], 1.0);
    }
    let text = run(&["status", "--control", nodes[1].control()]).expect(0);
    assert!(
        text.text().contains("of at most 2 neighbours"),
        "{}",
        text.text()
    );
    let refused = run(&["node", "--neighbours", "33"]).expect(2);
    assert!(refused.stderr.contains("1..=32"), "{}", refused.stderr);
}

#[test]
fn the_status_shows_the_cell_to_people() {
    let one = Running::node(&[]);
    let two = Running::node(&["--peer", one.address(), "--topology", "hierarchy"]);
    wait_for_neighbours(&two, 1);
    let text = run(&["status", "--control", two.control()]).expect(0);
    let text = text.text().to_owned();
    for part in ["topology  hierarchy", "cell      ", "round trip", "kept: "] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let roles = [&one, &two].map(|node| status(node)["cell"]["role"].clone());
    // Only the second follows a hierarchy, and is its root or its child.
    assert_eq!(roles[0], "peer");
    assert!(["root", "child"].contains(&roles[1].as_str().unwrap()));
}

#[test]
fn the_status_says_who_leads_and_how_long_links_are_young() {
    let one = Running::node(&[]);
    let two = Running::node(&["--peer", one.address()]);
    let leader = |node: &Running| status(node)["cell"]["leader"].clone();
    let through = |node: &Running| json!({ "through": node.peer });
    wait_until("both know who leads", || {
        let (first, second) = (leader(&one), leader(&two));
        (first == "this" && second == through(&one)) || (second == "this" && first == through(&two))
    });
    let told = status(&one);
    let neighbour = &told["cell"]["neighbours"][0];
    let is_young = neighbour["kept"].as_str().unwrap().contains("young");
    assert_eq!(
        neighbour["young_s"].as_u64().unwrap() > 0,
        is_young,
        "{told}"
    );
    let text = run(&["status", "--control", one.control()]).expect(0);
    let text = text.text();
    assert!(text.contains("leader    "), "{text}");
    // Of others the ends of their ids; its own is there whole.
    let (_, end) = two.peer.split_at(two.peer.len() - 8);
    assert!(
        text.contains(&format!("…{end}")) && !text.contains(&two.peer),
        "{text}"
    );
    assert!(text.contains(&one.peer), "{text}");
}

#[test]
fn a_link_does_not_stay_on_a_relay_when_there_is_a_direct_way() {
    let relay = Running::relay();
    let hidden = Running::behind(&relay);
    let open = Running::node(&["--relay", relay.address()]);
    wait_until("the link is direct at both ends", || {
        [(&hidden, &open), (&open, &hidden)]
            .iter()
            .all(|(node, other)| {
                let told = status(node);
                let links = told["cell"]["neighbours"].as_array().unwrap();
                links
                    .iter()
                    .any(|it| it["peer_id"] == other.peer && it["path"] == "direct")
            })
    });
}

#[test]
fn an_unknown_topology_is_refused_with_those_that_are_known() {
    for more in [&["node"][..], &["run", "--op", "noop", "file"]] {
        let finished = run(&[more, &["--topology", "star"]].concat()).expect(2);
        assert!(finished.stderr.contains("emergent"), "{}", finished.stderr);
    }
}
