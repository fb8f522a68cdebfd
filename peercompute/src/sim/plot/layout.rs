//! Where nodes lie: as far apart as there are hops between them.
//!
//! The stress of the drawing is brought down by stochastic gradient descent over all pairs (Zheng, Pawar, Goodman: Graph drawing by stochastic gradient descent,
//! IEEE TVCG 2018). The same network always looks the same.

use std::collections::VecDeque;

/// Passes over all pairs.
const PASSES: i32 = 60;
/// The step at the end, in parts of the whole correction.
const LAST_STEP: f64 = 0.1;
/// How much links have to agree about their directions for them to be the drawing's own: 0 for not at all, 1 for entirely.
const ALIGNED: f64 = 0.6;
/// Hops from which on a drawing is long, and the part of that which it is high if it is thin.
const LONG: f64 = 30.0;
const THIN: f64 = 0.12;
/// Hops between the rows of a drawing that is folded, and the height that it should have against its width.
const ROW_GAP: f64 = 3.0;
const SHAPE: f64 = 0.45;
/// Hops over which a bend is no part of the network's own shape.
const BEND: f64 = 4.0;
const UNREACHED: u16 = u16::MAX;

/// A place for each node, the longer side lying, with 1 for a hop.
pub(super) fn layout(nodes: usize, links: &[[usize; 2]]) -> Vec<[f64; 2]> {
    let distances = distances(nodes, links);
    let longest = distances
        .iter()
        .filter(|d| **d != UNREACHED)
        .max()
        .copied()
        .unwrap_or(0);
    let mut random = Random(0x005e_ed0f_1a70);
    let mut places: Vec<_> = (0..nodes).map(|_| [random.next(), random.next()]).collect();
    let mut pairs: Vec<(usize, usize, f64)> = Vec::new();
    for a in 0..nodes {
        for b in a + 1..nodes {
            let hops = match distances[a * nodes + b] {
                // Parts of the network lie beside each other.
                UNREACHED => f64::from(longest) + 2.0,
                hops => f64::from(hops),
            };
            pairs.push((a, b, hops));
        }
    }
    let first = (f64::from(longest) + 2.0).powi(2);
    let decay = (first / LAST_STEP).ln() / f64::from(PASSES - 1);
    for pass in 0..PASSES {
        let step = first * (-decay * f64::from(pass)).exp();
        random.shuffle(&mut pairs);
        for &(a, b, hops) in &pairs {
            let strength = (step / (hops * hops)).min(1.0);
            let [dx, dy] = [places[a][0] - places[b][0], places[a][1] - places[b][1]];
            let apart = dx.hypot(dy).max(1e-9);
            let shift = strength * (apart - hops) / (2.0 * apart);
            for (node, sign) in [(a, -1.0), (b, 1.0)] {
                places[node][0] += sign * shift * dx;
                places[node][1] += sign * shift * dy;
            }
        }
    }
    lay_down(&mut places);
    stand_straight(&mut places, links);
    fold(&mut places);
    places
}

/// Hops between all pairs.
fn distances(nodes: usize, links: &[[usize; 2]]) -> Vec<u16> {
    let mut neighbours = vec![Vec::new(); nodes];
    for [a, b] in links {
        neighbours[*a].push(*b);
        neighbours[*b].push(*a);
    }
    let mut distances = vec![UNREACHED; nodes * nodes];
    let mut queue = VecDeque::new();
    for start in 0..nodes {
        let row = &mut distances[start * nodes..(start + 1) * nodes];
        row[start] = 0;
        queue.push_back(start);
        while let Some(node) = queue.pop_front() {
            for &next in &neighbours[node] {
                if row[next] == UNREACHED {
                    row[next] = row[node] + 1;
                    queue.push_back(next);
                }
            }
        }
    }
    distances
}

/// Turns the drawing about its middle until its longest extent lies.
fn lay_down(places: &mut [[f64; 2]]) {
    let count = places.len().max(1) as f64;
    let middle = [0, 1].map(|axis| places.iter().map(|place| place[axis]).sum::<f64>() / count);
    for place in places.iter_mut() {
        *place = [place[0] - middle[0], place[1] - middle[1]];
    }
    let spread = |f: fn(&[f64; 2]) -> f64| places.iter().map(f).sum::<f64>();
    let (xx, yy, xy) = (
        spread(|p| p[0] * p[0]),
        spread(|p| p[1] * p[1]),
        spread(|p| p[0] * p[1]),
    );
    let (sin, cos) = (0.5 * (2.0 * xy).atan2(xx - yy)).sin_cos();
    for place in places.iter_mut() {
        let [x, y] = *place;
        *place = [cos * x + sin * y, cos * y - sin * x];
    }
}

/// Turns a drawing whose links lie along two directions, as those of a grid do, until these are level and upright.
fn stand_straight(places: &mut [[f64; 2]], links: &[[usize; 2]]) {
    let (mut sin, mut cos) = (0.0, 0.0);
    for [a, b] in links {
        let [dx, dy] = [places[*b][0] - places[*a][0], places[*b][1] - places[*a][1]];
        // A quarter turn of a link changes nothing.
        let (s, c) = (4.0 * dy.atan2(dx)).sin_cos();
        sin += s;
        cos += c;
    }
    if sin.hypot(cos) < ALIGNED * links.len() as f64 {
        return;
    }
    let (sin, cos) = (sin.atan2(cos) / 4.0).sin_cos();
    for place in places {
        let [x, y] = *place;
        *place = [cos * x + sin * y, cos * y - sin * x];
    }
}

/// Lays a drawing that is long and thin in rows, one to the right and the next to the left again.
fn fold(places: &mut [[f64; 2]]) {
    straighten(places);
    let range = |axis: usize| {
        let values = places.iter().map(|place: &[f64; 2]| place[axis]);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        (least, values.fold(f64::NEG_INFINITY, f64::max) - least)
    };
    let ((left, length), (_, thickness)) = (range(0), range(1));
    if length < LONG || thickness > THIN * length {
        return;
    }
    let between = thickness + ROW_GAP;
    let rows = (length * SHAPE / between).sqrt().round().max(1.0);
    // Half a hop more than there is, so that no node lies beyond the last row.
    let row_length = (length + 0.5) / rows;
    for place in places {
        let along = place[0] - left + 0.25;
        let row = (along / row_length).floor();
        let along = along - row * row_length;
        let x = if row % 2.0 == 0.0 {
            along
        } else {
            row_length - along
        };
        *place = [x, place[1] + row * between];
    }
}

/// Takes from a long and thin drawing the bends that mean nothing.
fn straighten(places: &mut [[f64; 2]]) {
    let bend: Vec<_> = places
        .iter()
        .map(|[x, _]| {
            let near = places.iter().filter(|[other, _]| (other - x).abs() < BEND);
            let (count, sum) = near.fold((0.0, 0.0), |(count, sum), [_, y]| (count + 1.0, sum + y));
            sum / count
        })
        .collect();
    let spread = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0_f64, |most, value| most.max(value.abs()))
    };
    let length = spread(&mut places.iter().map(|[x, _]| *x));
    let height = spread(&mut places.iter().map(|[_, y]| *y));
    if 2.0 * length >= LONG && height < THIN * 2.0 * length {
        for (place, bend) in places.iter_mut().zip(bend) {
            place[1] -= bend;
        }
    }
}

/// Random enough for a drawing, and always the same (SplitMix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.bits() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_lies_in_a_line() {
        let links: Vec<_> = (1..20).map(|end| [end - 1, end]).collect();
        let places = layout(20, &links);
        let ends = (places[0][0] - places[19][0]).abs();
        assert!((ends - 19.0).abs() < 1.0, "{places:?}");
        assert!(places.iter().all(|[_, y]| y.abs() < 1.0), "{places:?}");
    }

    #[test]
    fn a_long_chain_lies_in_rows() {
        let links: Vec<_> = (1..100).map(|end| [end - 1, end]).collect();
        let places = layout(100, &links);
        let rows: std::collections::HashSet<_> = places
            .iter()
            .map(|[_, y]| (y / ROW_GAP).round() as i32)
            .collect();
        assert!(rows.len() > 2, "{places:?}");
        for [a, b] in links {
            let hop = (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1]);
            assert!(hop < ROW_GAP + 1.5, "{a} and {b} are {hop} apart");
        }
    }

    #[test]
    fn a_grid_stands_upright() {
        let mut links = Vec::new();
        for y in 0..6 {
            for x in 0..6 {
                let node = y * 6 + x;
                if x > 0 {
                    links.push([node - 1, node]);
                }
                if y > 0 {
                    links.push([node - 6, node]);
                }
            }
        }
        let places = layout(36, &links);
        let [dx, dy] = [places[5][0] - places[0][0], places[5][1] - places[0][1]];
        assert!(dx.abs().min(dy.abs()) < 0.5, "{dx} {dy}");
    }

    #[test]
    fn nodes_that_nothing_links_have_places_too() {
        let places = layout(3, &[[0, 1]]);
        assert!(places.iter().flatten().all(|place| place.is_finite()));
        assert_eq!(layout(1, &[]), [[0.0, 0.0]]);
    }

    #[test]
    fn the_same_network_looks_the_same() {
        let links = [[0, 1], [1, 2], [2, 0], [2, 3]];
        assert_eq!(layout(4, &links), layout(4, &links));
    }
}
