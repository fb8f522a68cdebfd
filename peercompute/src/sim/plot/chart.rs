//! The throughput over time.

use peercompute_swarm::sim::{Network, Presence, Sample};

use super::{
    MARGIN, WIDTH,
    svg::{Anchor, Svg},
};
use crate::sim::{
    engine::Run,
    outcome::Outcome,
    text::{figure, whole},
};

const HEIGHT: f64 = 230.0;
/// Of the strip that shows how many nodes are there.
const PRESENCE_HEIGHT: f64 = 36.0;
/// Room for the numbers beside the vertical axis.
const SCALE: f64 = 34.0;

/// The window over which the bold line is the mean: this long or this many tasks, whichever is longer.
const WINDOW_SECONDS: f64 = 10.0;
const WINDOW_TASKS: f64 = 50.0;

/// Turns seconds and tasks a second into places.
struct Axes {
    top: f64,
    seconds: f64,
    most: f64,
}

impl Axes {
    const LEFT: f64 = MARGIN + SCALE;
    const RIGHT: f64 = WIDTH - MARGIN;

    fn x(&self, seconds: f64) -> f64 {
        Self::LEFT + (Self::RIGHT - Self::LEFT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, rate: f64) -> f64 {
        self.top + HEIGHT * (1.0 - (rate / self.most).clamp(0.0, 1.0))
    }

    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }
}

/// Draws it from `y` on, and gives where it ends.
pub(super) fn draw(svg: &mut Svg, y: f64, network: &Network, run: &Run, outcome: &Outcome) -> f64 {
    svg.text(MARGIN, y, "Throughput", "head", Anchor::Start);
    let window = WINDOW_SECONDS.max(WINDOW_TASKS / outcome.achieved_tasks_per_s.max(1e-9));
    let bound = outcome.best_possible();
    // Beside the lines it would be in the way of the curve.
    let dashed = bound.map_or_else(String::new, |bound| {
        let what = if outcome.is_churn() {
            "the optimum in the mean"
        } else {
            "the bound"
        };
        format!(", dashed {what}, {}", figure(bound))
    });
    let legend = format!(
        "completed tasks a second: shaded as they came, the line in the mean of the last {} s{dashed}",
        whole(window)
    );
    svg.text(WIDTH - MARGIN, y, &legend, "small", Anchor::End);

    let samples = &run.report.rate;
    let smooth = trailing_mean(samples, window);
    let highest = smooth.iter().map(|[_, rate]| *rate).fold(0.0, f64::max);
    let most = highest.max(bound.unwrap_or(0.0)).max(1e-9) * 1.12;
    let axes = Axes {
        top: y + 22.0,
        seconds: outcome.seconds,
        most,
    };

    for rate in ticks(most, 5) {
        let y = axes.y(rate);
        svg.line([Axes::LEFT, y], [Axes::RIGHT, y], "tick");
        svg.text(
            Axes::LEFT - 8.0,
            y + 4.0,
            &trimmed(rate),
            "small",
            Anchor::End,
        );
    }
    let bottom = axes.bottom();
    for seconds in ticks(outcome.seconds, 8) {
        let x = axes.x(seconds);
        svg.line([x, bottom], [x, bottom + 4.0], "axis");
        let unit = if seconds == 0.0 { " s" } else { "" };
        svg.text(
            x,
            bottom + 18.0,
            &format!("{}{unit}", trimmed(seconds)),
            "small",
            Anchor::Middle,
        );
    }

    area(svg, &axes, samples);
    svg.path(
        smooth.iter().map(|[at, rate]| [axes.x(*at), axes.y(*rate)]),
        "rate",
    );
    svg.line([Axes::LEFT, bottom], [Axes::RIGHT, bottom], "axis");
    if let Some(bound) = bound {
        let y = axes.y(bound);
        svg.line([Axes::LEFT, y], [Axes::RIGHT, y], "bound");
    }
    if let Some(t95) = outcome.t95_s {
        let x = axes.x(t95);
        svg.line([x, axes.top], [x, bottom], "mark");
        let (x, anchor) = if x > WIDTH / 2.0 {
            (x - 6.0, Anchor::End)
        } else {
            (x + 6.0, Anchor::Start)
        };
        svg.text(
            x,
            bottom - 10.0,
            &format!("95 % after {t95:.1} s"),
            "note",
            anchor,
        );
    }
    if network.events.is_empty() {
        bottom + 18.0
    } else {
        draw_presence(svg, &axes, bottom + 34.0, network)
    }
}

/// How many nodes are there, over time, from `top` on. Gives where it ends.
fn draw_presence(svg: &mut Svg, axes: &Axes, top: f64, network: &Network) -> f64 {
    let all = network.nodes.len();
    let bottom = top + PRESENCE_HEIGHT;
    let place = |there: usize| bottom - PRESENCE_HEIGHT * there as f64 / all as f64;
    let (mut there, mut least) = (all, all);
    let mut points = vec![[Axes::LEFT, bottom], [Axes::LEFT, place(all)]];
    for event in &network.events {
        let at = event.at.as_secs_f64();
        if at > axes.seconds {
            break;
        }
        let x = axes.x(at);
        points.push([x, place(there)]);
        match event.presence {
            Presence::Leave => there -= 1,
            Presence::Join => there += 1,
        }
        least = least.min(there);
        points.push([x, place(there)]);
    }
    points.extend([[Axes::RIGHT, place(there)], [Axes::RIGHT, bottom]]);
    svg.path(points, "there");
    svg.line([Axes::LEFT, bottom], [Axes::RIGHT, bottom], "axis");
    svg.text(
        Axes::LEFT - 8.0,
        top + 8.0,
        &all.to_string(),
        "small",
        Anchor::End,
    );
    svg.text(Axes::LEFT - 8.0, bottom, "0", "small", Anchor::End);
    let label = format!("nodes that are there, {least} at least");
    svg.text(
        Axes::LEFT + 8.0,
        bottom - 8.0,
        &label,
        "small",
        Anchor::Start,
    );
    bottom
}

fn area(svg: &mut Svg, axes: &Axes, samples: &[Sample]) {
    let mut points = vec![[Axes::LEFT, axes.bottom()]];
    let mut x = Axes::LEFT;
    for sample in samples {
        let y = axes.y(sample.rate.0);
        points.push([x, y]);
        x = axes.x(sample.at.as_secs_f64());
        points.push([x, y]);
    }
    points.push([x, axes.bottom()]);
    svg.path(points, "raw");
}

/// The mean over the `window` seconds before each sample, or as many as there are.
fn trailing_mean(samples: &[Sample], window: f64) -> Vec<[f64; 2]> {
    let Some(first) = samples.first() else {
        return Vec::new();
    };
    let width = first.at.as_secs_f64();
    let most = ((window / width).round() as usize).max(1);
    let mut sum = 0.0;
    let mut means = vec![[0.0, 0.0]];
    for (index, sample) in samples.iter().enumerate() {
        sum += sample.rate.0;
        if index >= most {
            sum -= samples[index - most].rate.0;
        }
        // The window reaches back before the start, where nothing was done.
        let mean = (sum / most as f64).max(0.0);
        means.push([sample.at.as_secs_f64(), mean]);
    }
    means
}

/// About `count` round numbers from 0 to `most`.
fn ticks(most: f64, count: usize) -> Vec<f64> {
    let rough = most / count as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    (0..=(most / step) as usize)
        .map(|index| index as f64 * step)
        .collect()
}

/// A round number, without what floating point adds to it.
fn trimmed(value: f64) -> String {
    if value >= 1e7 {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(1200.0, 8).last(), Some(&1200.0));
        assert_eq!(ticks(0.07, 5).len(), 4);
        assert_eq!(trimmed(0.30000000000000004), "0.3");
        assert_eq!(trimmed(1200.0), "1200");
    }
}
