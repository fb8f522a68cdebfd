//! Who is linked to whom.

use crate::sim::random::Random;

/// How often each link of a regular graph changes an end with another before the ring that it began as is forgotten.
const SWAPS_PER_LINK: usize = 4;

/// A graph without loops and double links.
pub(super) struct Graph {
    neighbours: Vec<Vec<u32>>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        Self {
            neighbours: vec![Vec::new(); nodes],
        }
    }

    /// Each link once, the lower end first.
    pub(super) fn links(&self) -> impl Iterator<Item = [usize; 2]> {
        let ends = self.neighbours.iter().enumerate();
        ends.flat_map(|(low, neighbours)| {
            let highs = neighbours.iter().map(|high| *high as usize);
            highs
                .filter(move |high| *high > low)
                .map(move |high| [low, high])
        })
    }

    pub(super) fn chain(nodes: usize) -> Self {
        let mut graph = Self::new(nodes);
        for node in 1..nodes {
            graph.link(node - 1, node);
        }
        graph
    }

    pub(super) fn star(nodes: usize) -> Self {
        let mut graph = Self::new(nodes);
        for node in 1..nodes {
            graph.link(0, node);
        }
        graph
    }

    /// Rows from the first on; the last may be short.
    pub(super) fn grid(nodes: usize) -> Self {
        let mut graph = Self::new(nodes);
        let root = nodes.isqrt();
        let width = if root * root < nodes { root + 1 } else { root };
        for node in 0..nodes {
            if node % width > 0 {
                graph.link(node - 1, node);
            }
            if node >= width {
                graph.link(node - width, node);
            }
        }
        graph
    }

    /// Any labelled tree, by its Prüfer code.
    pub(super) fn tree(nodes: usize, random: &mut Random) -> Self {
        let mut graph = Self::new(nodes);
        if nodes < 2 {
            return graph;
        }
        let code: Vec<_> = (2..nodes).map(|_| random.below(nodes)).collect();
        let mut missing = vec![1_u32; nodes];
        for node in &code {
            missing[*node] += 1;
        }
        // The lowest leaf is the next from `next` on, or one below that has just become a leaf.
        let mut next = 0;
        let mut leaf = None;
        for node in code {
            let lowest = leaf.take().unwrap_or_else(|| {
                let found = (next..nodes).find(|node| missing[*node] == 1);
                let found = found.expect("a tree has a leaf");
                next = found + 1;
                found
            });
            graph.link(lowest, node);
            missing[lowest] = 0;
            missing[node] -= 1;
            if missing[node] == 1 && node < next {
                leaf = Some(node);
            }
        }
        let mut last = (0..nodes).filter(|node| missing[*node] == 1);
        if let (Some(one), Some(other)) = (last.next(), last.next()) {
            graph.link(one, other);
        }
        graph
    }

    /// Each node after the first few links to `links` of those before it, by how many links they have.
    pub(super) fn preferential(nodes: usize, links: usize, random: &mut Random) -> Self {
        let first = nodes.min(links + 1);
        let mut graph = Self::new(nodes);
        // Each node as often as it has links.
        let mut ends = Vec::with_capacity(nodes * links * 2);
        for node in 1..first {
            graph.link(0, node);
            ends.extend([0, node]);
        }
        for node in first..nodes {
            let known = ends.len();
            while graph.neighbours[node].len() < links {
                let other = ends[random.below(known)];
                if graph.link(node, other) {
                    ends.extend([node, other]);
                }
            }
        }
        graph
    }

    pub(super) fn small_world(
        nodes: usize,
        reach: usize,
        thrown: f64,
        random: &mut Random,
    ) -> Self {
        let mut graph = Self::new(nodes);
        graph.add_small_world(0, nodes, reach, thrown, random);
        graph.join();
        graph
    }

    /// Two small worlds of half the nodes each, and a link between the first nodes and between the second nodes of each.
    pub(super) fn bridge(nodes: usize, reach: usize, thrown: f64, random: &mut Random) -> Self {
        let half = nodes / 2;
        let mut graph = Self::new(nodes);
        graph.add_small_world(0, half, reach, thrown, random);
        graph.add_small_world(half, nodes - half, reach, thrown, random);
        for node in 0..half.min(2) {
            graph.link(node, half + node);
        }
        graph.join();
        graph
    }

    /// Each node has `reach` times two links.
    pub(super) fn regular(nodes: usize, reach: usize, random: &mut Random) -> Self {
        let mut graph = Self::new(nodes);
        graph.add_ring(0, nodes, reach);
        // Up to here every node is linked to every other.
        if nodes <= 2 * reach + 1 {
            return graph;
        }
        let ring = graph.neighbours.clone();
        for _ in 0..SWAPS_PER_LINK * reach * nodes {
            graph.swap(random);
        }
        if graph.parts().len() > 1 {
            // Next to impossible; the ring is regular, too.
            graph.neighbours = ring;
        }
        graph
    }

    /// Groups of at least `size` nodes that are all linked, but one link in each leads to the group before.
    pub(super) fn clusters(nodes: usize, size: usize) -> Self {
        let mut graph = Self::new(nodes);
        let groups = (nodes / size).max(1);
        for group in 0..groups {
            let first = group * nodes / groups;
            let end = (group + 1) * nodes / groups;
            for high in first..end {
                for low in first..high {
                    graph.link(low, high);
                }
            }
            if groups > 1 {
                graph.unlink(first, first + 1);
            }
        }
        for group in 0..groups {
            let first = group * nodes / groups;
            if groups > 1 {
                graph.link(first, (first + nodes - 1) % nodes);
            }
        }
        graph
    }

    /// A ring of `count` nodes from `first` on, in which each is linked to the `reach` next.
    fn add_ring(&mut self, first: usize, count: usize, reach: usize) {
        for step in 1..=reach.min(count / 2) {
            for node in 0..count {
                self.link(first + node, first + (node + step) % count);
            }
        }
    }

    fn add_small_world(
        &mut self,
        first: usize,
        count: usize,
        reach: usize,
        thrown: f64,
        random: &mut Random,
    ) {
        self.add_ring(first, count, reach);
        for step in 1..=reach.min(count / 2) {
            for node in 0..count {
                if random.unit() >= thrown {
                    continue;
                }
                let (node, other) = (first + node, first + (node + step) % count);
                let target = first + random.below(count);
                // One that has no other end left stays where it is.
                if self.has(node, other) && self.link(node, target) {
                    self.unlink(node, other);
                }
            }
        }
    }

    /// Two links change an end with each other, if they can.
    fn swap(&mut self, random: &mut Random) {
        let mut end = || {
            let node = random.below(self.neighbours.len());
            let neighbours = &self.neighbours[node];
            (node, neighbours[random.below(neighbours.len())] as usize)
        };
        let ((a, b), (c, d)) = (end(), end());
        if a == c || b == d || a == d || b == c || self.has(a, d) || self.has(c, b) {
            return;
        }
        for (node, old, new) in [(a, b, d), (d, c, a), (c, d, b), (b, a, c)] {
            let neighbours = &mut self.neighbours[node];
            let place = neighbours.iter_mut().find(|other| **other as usize == old);
            *place.expect("the link is known at both ends") = new as u32;
        }
    }

    /// Links what is apart to the first node.
    fn join(&mut self) {
        for part in self.parts().into_iter().skip(1) {
            self.link(0, part);
        }
    }

    /// One node of each part that is connected in itself.
    fn parts(&self) -> Vec<usize> {
        let mut seen = vec![false; self.neighbours.len()];
        let mut parts = Vec::new();
        let mut stack = Vec::new();
        for node in 0..seen.len() {
            if seen[node] {
                continue;
            }
            parts.push(node);
            seen[node] = true;
            stack.push(node);
            while let Some(node) = stack.pop() {
                for &next in &self.neighbours[node] {
                    if !std::mem::replace(&mut seen[next as usize], true) {
                        stack.push(next as usize);
                    }
                }
            }
        }
        parts
    }

    fn has(&self, a: usize, b: usize) -> bool {
        let (few, many) = if self.neighbours[a].len() < self.neighbours[b].len() {
            (a, b)
        } else {
            (b, a)
        };
        self.neighbours[few].contains(&(many as u32))
    }

    /// Gives whether there is one more link now.
    fn link(&mut self, a: usize, b: usize) -> bool {
        if a == b || self.has(a, b) {
            return false;
        }
        self.neighbours[a].push(b as u32);
        self.neighbours[b].push(a as u32);
        true
    }

    fn unlink(&mut self, a: usize, b: usize) {
        self.neighbours[a].retain(|node| *node as usize != b);
        self.neighbours[b].retain(|node| *node as usize != a);
    }
}
