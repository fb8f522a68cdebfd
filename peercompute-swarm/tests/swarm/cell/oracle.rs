//! The best that any planner could reach on a small network: the linear program of the theory page, by the simplex method.

use peercompute_swarm::{
    cell::{Item, TaskRate},
    sim::Network,
};

/// Numbers below this are rounding.
const TINY: f64 = 1e-9;

/// The largest steady rate of completed tasks.
///
/// Each node has a variable for what it computes, each direction of each link one for its inputs and one for its outputs. All rows read "at most", with nothing negative
/// on the right, so that doing nothing is where the method begins: a node passes on and computes no more inputs than come in, and no more outputs come in and are made
/// than it passes on.
pub(super) fn bound(network: &Network) -> TaskRate {
    let (nodes, links) = (network.nodes.len(), network.links.len());
    let variables = nodes + 4 * links;
    let flow = |link: usize, side: usize, item: Item| nodes + 4 * link + 2 * side + item as usize;
    let shape = network.shape;
    let mut rows = Vec::new();
    for (index, node) in network.nodes.iter().enumerate() {
        let (mut sent, mut received) = (vec![0.0; variables], vec![0.0; variables]);
        let (mut inputs, mut outputs) = (vec![0.0; variables], vec![0.0; variables]);
        (inputs[index], outputs[index]) = (1.0, 1.0);
        let mut computed = vec![0.0; variables];
        computed[index] = 1.0;
        for (number, link) in network.links.iter().enumerate() {
            for side in (0..2).filter(|side| link.ends[*side] == index) {
                for item in Item::ALL {
                    sent[flow(number, side, item)] = shape.bytes(item);
                    received[flow(number, 1 - side, item)] = shape.bytes(item);
                }
                inputs[flow(number, side, Item::Input)] = 1.0;
                inputs[flow(number, 1 - side, Item::Input)] = -1.0;
                outputs[flow(number, side, Item::Output)] = -1.0;
                outputs[flow(number, 1 - side, Item::Output)] = 1.0;
            }
        }
        rows.push((computed, node.compute.0));
        rows.push((sent, node.up.0));
        rows.push((received, node.down.0));
        if !node.source {
            rows.push((inputs, 0.0));
            rows.push((outputs, 0.0));
        }
    }
    for (number, link) in network.links.iter().enumerate() {
        for side in 0..2 {
            let mut carried = vec![0.0; variables];
            for item in Item::ALL {
                carried[flow(number, side, item)] = shape.bytes(item);
            }
            rows.push((carried, link.rates[side].0));
        }
    }
    let worth = (0..variables)
        .map(|variable| if variable < nodes { 1.0 } else { 0.0 })
        .collect();
    TaskRate(maximum(rows, worth))
}

/// The maximum of `worth` times the variables, under `rows`: sums that are at most a number. By Bland's rule, which never goes round.
fn maximum(rows: Vec<(Vec<f64>, f64)>, worth: Vec<f64>) -> f64 {
    let (count, variables) = (rows.len(), worth.len());
    let width = variables + count + 1;
    let mut table = vec![vec![0.0; width]; count + 1];
    for (index, (row, most)) in rows.into_iter().enumerate() {
        // Rows in bytes and rows in tasks are brought to one scale.
        let scale = row.iter().fold(TINY, |scale, value| value.abs().max(scale));
        for (to, from) in table[index].iter_mut().zip(&row) {
            *to = from / scale;
        }
        table[index][variables + index] = 1.0;
        table[index][width - 1] = most / scale;
    }
    for (to, from) in table[count].iter_mut().zip(worth) {
        *to = -from;
    }
    let mut basis: Vec<usize> = (variables..variables + count).collect();
    while let Some(entering) = (0..width - 1).find(|column| table[count][*column] < -TINY) {
        let ratio = |row: usize| table[row][width - 1] / table[row][entering];
        let leaving = (0..count)
            .filter(|row| table[*row][entering] > TINY)
            .min_by(|a, b| {
                ratio(*a)
                    .total_cmp(&ratio(*b))
                    .then(basis[*a].cmp(&basis[*b]))
            })
            .expect("what a network computes is bounded");
        let pivot = table[leaving][entering];
        for value in &mut table[leaving] {
            *value /= pivot;
        }
        let by = table[leaving].clone();
        for (_, row) in table
            .iter_mut()
            .enumerate()
            .filter(|(row, _)| *row != leaving)
        {
            let factor = row[entering];
            if factor.abs() > 0.0 {
                for (value, by) in row.iter_mut().zip(&by) {
                    *value -= factor * by;
                }
            }
        }
        basis[leaving] = entering;
    }
    table[count][width - 1]
}
