//! A run as a drawing: its figures, the throughput over time against the bound, and the network with its flows.

mod chart;
mod layout;
mod network;
mod svg;

use std::borrow::Cow;

use peercompute_swarm::{cell::PerItem, sim::Network};

use self::svg::{Anchor, Svg};
use super::{
    engine::{Flows, Run},
    instance::Instance,
    outcome::Outcome,
    text::{figure, percent, shortened, whole},
};
use crate::output::count;

/// Width of the drawing.
const WIDTH: f64 = 960.0;
/// Empty space at its sides.
const MARGIN: f64 = 40.0;
/// Letters of the title, of which as many are sure to fit.
const MAX_TITLE: usize = 44;
/// The size of the figures and of the words under them, and about the width of a letter of that size.
const VALUE: [f64; 2] = [19.0, 12.4];
const SMALL: [f64; 2] = [11.5, 6.4];

const INK: &str = "#1c2430";
const MUTED: &str = "#667085";
const FAINT: &str = "#e4e7ec";
const BLUE: &str = "#2563eb";

/// The drawing, as the text of an SVG file. `setting` says how the rule was run.
pub(super) fn draw(instance: &Instance, run: &Run, outcome: &Outcome, setting: &str) -> String {
    let mut svg = Svg::new();
    let Outcome {
        name,
        rule,
        nodes,
        links,
        seconds,
        ..
    } = outcome;
    svg.text(
        MARGIN,
        46.0,
        &shortened(name, MAX_TITLE),
        "title",
        Anchor::Start,
    );
    let subtitle = format!(
        "{}, {} · rule {rule} · {setting} · {seconds} s simulated",
        count(*nodes as u64, "node"),
        count(*links as u64, "link")
    );
    svg.text(MARGIN, 68.0, &subtitle, "muted", Anchor::Start);
    figures(&mut svg, outcome);
    let mut y = 176.0;
    y = chart::draw(&mut svg, y, &instance.network, run, outcome);
    let (network, flows) = chosen(&instance.network, &run.flows);
    y = network::draw(&mut svg, y + 44.0, &network, &flows);
    svg.finish(WIDTH, y + MARGIN - 8.0, &format!("{name}: {subtitle}"))
}

/// The figures that matter most, side by side.
fn figures(svg: &mut Svg, outcome: &Outcome) {
    let mut tiles = vec![("tasks a second", figure(outcome.achieved_tasks_per_s))];
    if let Some(bound) = outcome.bound_tasks_per_s.filter(|_| !outcome.is_churn()) {
        tiles.push(("bound", figure(bound)));
    }
    if let Some(optimum) = outcome.optimum_tasks {
        tiles.push(("completed", outcome.completed.to_string()));
        tiles.push(("optimum", whole(optimum)));
    }
    if let Some(ratio) = outcome.ratio {
        tiles.push(("of the best", percent(ratio)));
    }
    if let Some(t95) = outcome.t95_s {
        tiles.push(("to 95 % of it", format!("{t95:.1} s")));
    }
    if let Some(share) = outcome.control_share {
        tiles.push(("control traffic", percent(share)));
    }
    tiles.push(("most buffered", outcome.max_buffer.to_string()));
    if outcome.is_churn() {
        tiles.push(("run twice", outcome.rerun_tasks.to_string()));
    }
    let step = (WIDTH - 2.0 * MARGIN) / tiles.len() as f64;
    for (place, (title, value)) in tiles.iter().enumerate() {
        let x = MARGIN + step * place as f64;
        svg.line([x, 96.0], [x, 138.0], "tick");
        let room = step - 18.0;
        svg.text_within([x + 12.0, 116.0], value, "value", VALUE, room);
        svg.text_within([x + 12.0, 134.0], title, "small", SMALL, room);
    }
}

/// The network without the links that nobody chose.
fn chosen<'a>(network: &'a Network, flows: &'a Flows) -> (Cow<'a, Network>, Cow<'a, Flows>) {
    if network.max_degree.is_none() {
        return (Cow::Borrowed(network), Cow::Borrowed(flows));
    }
    let mut network = network.clone();
    let mut flows = flows.clone();
    let used = |ends: &[PerItem<f64>; 2]| ends.iter().flat_map(|way| way.0).any(|flow| flow > 0.0);
    let carries: Vec<_> = flows.links.iter().map(used).collect();
    let mut keep = carries.iter();
    network.links.retain(|_| keep.next() == Some(&true));
    flows.links.retain(used);
    (Cow::Owned(network), Cow::Owned(flows))
}
