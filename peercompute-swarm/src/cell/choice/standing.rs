//! What a choice of links is decided by.

use super::Figures;
use crate::cell::{ByteRate, Cell, Port};

/// What [`LinkChoice`](super::LinkChoice) needs of the node that it chooses for: a [`Cell`], or what a node with a cell for each job is worth in all of them.
///
/// The ports are those that [`LinkChoice::handle_link`](super::LinkChoice::handle_link) was given; a node with several cells may have numbers of its own there.
pub trait Standing {
    /// What peers may know of the node.
    fn figures(&self) -> Figures;

    /// What a link is worth, in completed tasks a second. 0 for one that does not exist.
    fn link_worth(&self, port: Port) -> f64;

    /// What a link to a peer with these figures would be worth, in completed tasks a second, where `own` are the node's [`figures`](Self::figures) and `rates` what
    /// was measured there and back.
    fn promise(&self, own: &Figures, peer: &Figures, rates: [ByteRate; 2]) -> f64;

    /// Whether nothing is in transfer to the neighbour.
    fn is_idle(&self, port: Port) -> bool;

    /// Sends nothing more over a link: it is to end.
    fn retire(&mut self, port: Port);

    /// A link that was to end stays after all.
    fn keep(&mut self, port: Port);
}

impl Standing for Cell {
    fn figures(&self) -> Figures {
        self.figures()
    }

    fn link_worth(&self, port: Port) -> f64 {
        self.link_worth(port)
    }

    fn promise(&self, own: &Figures, peer: &Figures, rates: [ByteRate; 2]) -> f64 {
        self.promise(own, peer, rates)
    }

    fn is_idle(&self, port: Port) -> bool {
        self.is_idle(port)
    }

    fn retire(&mut self, port: Port) {
        self.retire_link(port);
    }

    fn keep(&mut self, port: Port) {
        self.keep_link(port);
    }
}
