//! Links that nodes choose, and what the candidates say to each other about it.

use super::{Event, NOTHING, Simulation};
use crate::{
    cell::{ByteRate, Candidate, Choice, Note},
    sim::Rule,
};

impl<R: Rule> Simulation<R> {
    pub(super) fn choose(&mut self, node: usize, choice: Choice) {
        match choice {
            Choice::Say { to, note } => self.say(node, to, note),
            Choice::Link { to } => self.bring_up(node, to),
            Choice::Unlink { to } => self.take_down(node, to),
        }
    }

    fn edge_of(&self, node: usize, candidate: Candidate) -> Option<usize> {
        let edge = self.nodes[node].edges.get(candidate.0 as usize)?;
        Some(*edge as usize)
    }

    /// By which name the node at the end of `edge` knows the one at its beginning.
    fn candidate(&self, edge: usize) -> Candidate {
        let node = &self.nodes[self.edges[edge].to as usize];
        let back = (edge ^ 1) as u32;
        // Edges are numbered in the order in which nodes got them.
        let index = node.edges.binary_search(&back);
        Candidate(index.expect("where an edge ends its other direction begins") as u32)
    }

    /// What a measurement finds an edge to carry.
    fn measured(&self, edge: usize) -> f64 {
        let (from, to) = (self.edges[edge].from as usize, self.edges[edge].to as usize);
        let (up, down) = (self.nodes[from].spec.up.0, self.nodes[to].spec.down.0);
        self.edges[edge].rate.min(up).min(down)
    }

    fn say(&mut self, node: usize, to: Candidate, note: Note) {
        let Some(edge) = self.edge_of(node, to) else {
            return;
        };
        let bytes = note.wire_bytes() as f64;
        self.frame_count += 1;
        self.frame_bytes += bytes;
        self.delay(edge, bytes);
        let slot = self.free_notes.pop().unwrap_or_else(|| {
            self.notes.push(None);
            self.notes.len() as u32 - 1
        });
        self.notes[slot as usize] = Some(note);
        let took = (bytes / self.measured(edge) * 1e9) as u64;
        let at = self.now + self.edges[edge].latency + took;
        let at = at.max(self.edges[edge].noted);
        self.edges[edge].noted = at;
        let (edge, note) = (edge as u32, slot);
        self.queue.push(at, Event::Note { edge, note });
    }

    pub(super) fn note_arrived(&mut self, edge: usize, slot: u32) {
        let note = self.notes[slot as usize].take();
        self.free_notes.push(slot);
        let note = note.expect("a note arrives once");
        let (now, from) = (self.time(), self.candidate(edge));
        let rate = ByteRate(self.measured(edge));
        let node = self.edges[edge].to as usize;
        if let Some(rule) = &mut self.nodes[node].rule {
            rule.note(now, from, note, rate);
            self.act(node);
        }
    }

    fn degree(&self, node: usize) -> usize {
        let ports = self.nodes[node].ports.iter();
        ports.filter(|edge| **edge != NOTHING).count()
    }

    fn bring_up(&mut self, node: usize, to: Candidate) {
        let Some(edge) = self.edge_of(node, to) else {
            return;
        };
        let most = self.max_degree.unwrap_or(usize::MAX);
        let other = self.edges[edge].to as usize;
        let full = self.degree(node) >= most || self.degree(other) >= most;
        if full || self.edges[edge].port.is_some() {
            return;
        }
        for edge in [edge, edge ^ 1] {
            self.link_up(edge);
            self.tell_chosen(edge);
        }
        self.act(other);
    }

    fn take_down(&mut self, node: usize, to: Candidate) {
        let Some(edge) = self.edge_of(node, to) else {
            return;
        };
        if self.edges[edge].port.is_none() {
            return;
        }
        for edge in [edge, edge ^ 1] {
            self.link_down(edge);
            self.tell_chosen(edge);
        }
        self.act(self.edges[edge].to as usize);
    }

    fn tell_chosen(&mut self, edge: usize) {
        let (now, with) = (self.time(), self.candidate(edge ^ 1));
        let port = self.edges[edge].port;
        if let Some(rule) = &mut self.nodes[self.edges[edge].from as usize].rule {
            rule.chosen(now, with, port);
        }
    }
}
