//! The network with its flows.

use peercompute_swarm::{
    cell::{Item, PerItem, TaskShape},
    sim::{LinkSpec, Network},
};

use super::{
    MARGIN, WIDTH,
    layout::layout,
    svg::{Anchor, Svg, escape},
};
use crate::sim::{engine::Flows, text::figure};

/// The most nodes that are drawn.
const MAX_NODES: usize = 500;
/// The most links that are drawn.
const MAX_LINKS: usize = 10_000;
const HEIGHTS: [f64; 2] = [110.0, 620.0];
/// Room for the nodes at the drawing's edges.
const EDGE: f64 = 22.0;

/// A link that carries nothing.
const IDLE_LINK: &str = "#d5dae1";
/// From an empty link to one that is not quite full.
const LOADS: [[f64; 3]; 3] = [
    [188.0, 208.0, 236.0],
    [84.0, 139.0, 214.0],
    [23.0, 64.0, 140.0],
];
/// A full link, which is what holds the work up, and from where on it counts as full.
const FULL_LINK: &str = "#dc2626";
const FULL: f64 = 0.97;
/// From an idle to a busy node.
const WORK: [[f64; 3]; 2] = [[200.0, 222.0, 213.0], [11.0, 110.0, 79.0]];
const SOURCE: &str = "#7c3aed";
/// Of the widest link.
const WIDEST: f64 = 7.5;
/// Of the widest link's flow: what less than this goes over counts as nothing, and what less than that has no arrow.
const LEAST_FLOW: f64 = 0.003;
const LEAST_ARROW: f64 = 0.02;

/// Draws it from `y` on, and gives where it ends.
pub(super) fn draw(svg: &mut Svg, y: f64, network: &Network, flows: &Flows) -> f64 {
    svg.text(MARGIN, y, "Network", "head", Anchor::Start);
    let (nodes, links) = (network.nodes.len(), network.links.len());
    if nodes > MAX_NODES || links > MAX_LINKS {
        let note = format!(
            "not drawn: it has {nodes} nodes and {links} links, and {MAX_NODES} and {MAX_LINKS} are the most that can be told apart"
        );
        svg.text(MARGIN + 96.0, y, &note, "small", Anchor::Start);
        return y + 6.0;
    }
    legend(svg, y);
    let ends: Vec<_> = network.links.iter().map(|link| link.ends).collect();
    let (places, bottom) = fit(&layout(nodes, &ends), y + 26.0);
    let radii = radii(network, &places, &ends);
    draw_links(svg, network, flows, &places);
    for (node, spec) in network.nodes.iter().enumerate() {
        let [x, y] = places[node];
        let radius = radii[node];
        let compute = spec.compute.0;
        let busy = if compute > 0.0 {
            flows.work[node] / compute
        } else {
            0.0
        };
        let mut about = format!("node {node}: computes {} tasks/s", figure(compute));
        about.push_str(&format!(", {:.0} % busy", busy * 100.0));
        if spec.source {
            about.push_str(", source");
            svg.put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\" fill=\"#fff\" stroke=\"{SOURCE}\" stroke-width=\"2.5\"/>",
                radius + 3.5
            ));
        }
        let fill = blend(&WORK, busy);
        let about = escape(&about);
        svg.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" class=\"node\"><title>{about}</title></circle>"
        ));
    }
    bottom
}

/// What the drawing's signs mean, right of its title.
fn legend(svg: &mut Svg, y: f64) {
    let mut x = WIDTH - MARGIN;
    let mut item = |svg: &mut Svg, text: &str, width: f64, sign: &dyn Fn(&mut Svg, f64)| {
        // About the width of the letters.
        x -= text.chars().count() as f64 * 6.1;
        svg.text(x, y, text, "small", Anchor::Start);
        x -= width + 6.0;
        sign(svg, x);
        x -= 18.0;
    };
    let ramp = |svg: &mut Svg, x: f64, colours: &[[f64; 3]]| {
        for step in 0..12 {
            let fill = blend(colours, f64::from(step) / 11.0);
            let x = x + f64::from(step) * 4.0;
            svg.put(format_args!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"4.5\" height=\"9\" fill=\"{fill}\"/>",
                y - 9.0
            ));
        }
    };
    let swatch = |svg: &mut Svg, x: f64, fill: &str| {
        svg.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"14\" height=\"9\" fill=\"{fill}\"/>",
            y - 9.0
        ));
    };
    item(svg, "full", 14.0, &|svg, x| swatch(svg, x, FULL_LINK));
    item(svg, "link, empty to nearly full", 48.0, &|svg, x| {
        ramp(svg, x, &LOADS);
    });
    item(svg, "node, idle to busy", 48.0, &|svg, x| {
        ramp(svg, x, &WORK);
    });
    item(svg, "source", 12.0, &|svg, x| {
        svg.put(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"none\" stroke=\"{SOURCE}\" stroke-width=\"2.5\"/>",
            x + 6.0,
            y - 4.0
        ));
    });
}

/// Scales the places to the width of the drawing, or to its height where that is less. Gives where it ends.
fn fit(places: &[[f64; 2]], top: f64) -> (Vec<[f64; 2]>, f64) {
    let range = |axis: usize| {
        let values = places.iter().map(|place| place[axis]);
        (
            values.clone().fold(f64::INFINITY, f64::min),
            values.fold(f64::NEG_INFINITY, f64::max),
        )
    };
    let ((left, right), (upper, lower)) = (range(0), range(1));
    let room = [WIDTH - 2.0 * (MARGIN + EDGE), HEIGHTS[1] - 2.0 * EDGE];
    let scale = (room[0] / (right - left).max(1.0)).min(room[1] / (lower - upper).max(1.0));
    let height = ((lower - upper) * scale + 2.0 * EDGE).max(HEIGHTS[0]);
    let fitted = places
        .iter()
        .map(|[x, y]| {
            [
                WIDTH / 2.0 + (x - (left + right) / 2.0) * scale,
                top + height / 2.0 + (y - (upper + lower) / 2.0) * scale,
            ]
        })
        .collect();
    (fitted, top + height)
}

/// What computes much is larger, within what leaves room for its neighbours.
fn radii(network: &Network, places: &[[f64; 2]], ends: &[[usize; 2]]) -> Vec<f64> {
    let mut lengths: Vec<_> = ends
        .iter()
        .map(|[a, b]| (places[*a][0] - places[*b][0]).hypot(places[*a][1] - places[*b][1]))
        .collect();
    lengths.sort_by(f64::total_cmp);
    let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(60.0);
    let crowd = (WIDTH * HEIGHTS[1] / places.len() as f64).sqrt();
    let largest = (0.36 * usual).min(0.3 * crowd).clamp(2.6, 17.0);
    let most = network
        .nodes
        .iter()
        .map(|node| node.compute.0)
        .fold(0.0, f64::max);
    let radius = |compute: f64| largest * (compute / most.max(1e-12)).powf(0.4);
    network
        .nodes
        .iter()
        .map(|node| radius(node.compute.0).max(2.2))
        .collect()
}

fn draw_links(svg: &mut Svg, network: &Network, flows: &Flows, places: &[[f64; 2]]) {
    let tasks = |flow: &[PerItem<f64>; 2]| flow.iter().flat_map(|way| way.0).sum::<f64>();
    let most = flows.links.iter().map(tasks).fold(0.0, f64::max);
    let mut order: Vec<_> = (0..network.links.len()).collect();
    // What carries much lies above what carries little.
    order.sort_by(|a, b| tasks(&flows.links[*a]).total_cmp(&tasks(&flows.links[*b])));
    for index in order {
        let link = &network.links[index];
        let [from, to] = link.ends.map(|node| places[node]);
        let flow = &flows.links[index];
        let part = tasks(flow) / most.max(1e-12);
        let carries = part > LEAST_FLOW;
        let (colour, width) = if carries {
            (
                link_colour(load(link, flow, network.shape)),
                1.0 + (WIDEST - 1.0) * part.sqrt(),
            )
        } else {
            (IDLE_LINK.to_owned(), 0.8)
        };
        let ([x1, y1], [x2, y2]) = (from, to);
        svg.put(format_args!(
            "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"><title>{}</title></path>",
            about(link, flow)
        ));
        if part > LEAST_ARROW {
            let onward = flow[0][Item::Input] >= flow[1][Item::Input];
            let (from, to) = if onward { (from, to) } else { (to, from) };
            arrow(svg, from, to, width, &colour);
        }
    }
}

fn link_colour(load: f64) -> String {
    if load >= FULL {
        FULL_LINK.to_owned()
    } else {
        blend(&LOADS, load / FULL)
    }
}

/// How full the fuller direction of a link is.
fn load(link: &LinkSpec, flow: &[PerItem<f64>; 2], shape: TaskShape) -> f64 {
    let bytes = |way: &PerItem<f64>| {
        Item::ALL
            .iter()
            .map(|item| way[*item] * shape.bytes(*item))
            .sum::<f64>()
    };
    let loads = [0, 1].map(|way| bytes(&flow[way]) / link.rates[way].0);
    loads[0].max(loads[1])
}

fn about(link: &LinkSpec, flow: &[PerItem<f64>; 2]) -> String {
    let [a, b] = link.ends;
    let [there, back] = flow;
    let way = |flow: &PerItem<f64>| {
        format!(
            "{} inputs/s, {} outputs/s",
            figure(flow[Item::Input]),
            figure(flow[Item::Output])
        )
    };
    format!("{a} to {b}: {}; {b} to {a}: {}", way(there), way(back))
}

/// In the middle of a link, the way that inputs go.
fn arrow(svg: &mut Svg, from: [f64; 2], to: [f64; 2], width: f64, colour: &str) {
    let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    let length = dx.hypot(dy);
    let size = (2.2 + 1.1 * width).min(0.3 * length);
    if length < 14.0 {
        return;
    }
    let [ux, uy] = [dx / length, dy / length];
    let [x, y] = [from[0] + 0.55 * dx, from[1] + 0.55 * dy];
    let (tip_x, tip_y) = (x + ux * size, y + uy * size);
    let (left_x, left_y) = (x - ux * size - uy * size, y - uy * size + ux * size);
    let (right_x, right_y) = (x - ux * size + uy * size, y - uy * size - ux * size);
    svg.put(format_args!(
        "<path d=\"M{tip_x:.1} {tip_y:.1}L{left_x:.1} {left_y:.1}L{right_x:.1} {right_y:.1}Z\" fill=\"{colour}\"/>"
    ));
}

/// The colour at `part`, from 0 to 1, of the way from the first to the last.
fn blend(colours: &[[f64; 3]], part: f64) -> String {
    let place = part.clamp(0.0, 1.0) * (colours.len() - 1) as f64;
    let first = (place as usize).min(colours.len().saturating_sub(2));
    let rest = place - first as f64;
    let [red, green, blue] = [0, 1, 2].map(|channel| {
        let (from, to) = (colours[first][channel], colours[first + 1][channel]);
        (from + (to - from) * rest).round() as u8
    });
    format!("#{red:02x}{green:02x}{blue:02x}")
}
