use std::time::Duration;

use crate::cell::{
    Action, Buffer, ByteRate, Candidate, Cell, CellConfig, CellFrame, Choice, Item, LinkChoice,
    LinkConfig, Note, Port, Rank, TaskShape,
};

use super::NodeSpec;

/// What a rule is told about the node that it runs on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NodeView {
    /// The node.
    pub node: NodeSpec,
    /// The size of the tasks.
    pub shape: TaskShape,
    /// How much may wait at it.
    pub buffer: Buffer,
    /// A number of its own, the same in every run with the same seed.
    pub seed: u64,
    /// Among how many links it may choose, and how many it may have; `None` where all are up without its doing.
    pub choice: Option<(usize, usize)>,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input<F> {
    /// A neighbour has said something.
    Frame {
        /// Over this link.
        port: Port,
        /// What.
        frame: F,
    },
    /// An item has arrived; at a source, an output is home.
    Arrived {
        /// Over this link.
        port: Port,
        /// Which kind.
        item: Item,
    },
    /// What was being handed over has gone.
    Sent {
        /// Over this link.
        port: Port,
        /// Which kind.
        item: Item,
    },
    /// What was being handed over has gone but for its last byte, which is held.
    Held {
        /// Over this link.
        port: Port,
        /// Which kind.
        item: Item,
    },
    /// A task is done; its worker keeps the output until a [`Collect`](Action::Collect).
    Computed,
    /// The time that [`Rule::poll_timeout`] named has come.
    Timeout,
}

/// A rule that a node follows: what the simulator runs on each node. It sees the node and what neighbours tell it, nothing else.
pub trait Rule: Sized {
    /// What neighbours tell each other.
    type Frame: Copy;

    /// Begins without links.
    fn new(now: Duration, view: NodeView) -> Self;

    /// The bytes of a frame, with its length before it.
    fn frame_bytes(frame: &Self::Frame) -> usize;

    /// A link has come up. Gives the port by which the rule will call it, the lowest that is free.
    fn link_up(&mut self, now: Duration, link: LinkConfig) -> Port;

    /// A link has gone, and what was in transfer on it.
    fn link_down(&mut self, now: Duration, port: Port);

    /// Something has happened.
    fn handle(&mut self, now: Duration, input: Input<Self::Frame>);

    /// What is to be done; called until it gives `None`, after each of the above.
    fn poll_action(&mut self) -> Option<Action<Self::Frame>>;

    /// When to wake it; `None` for never.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Whether the rule can choose links.
    const CHOOSES: bool = false;

    /// A link that was chosen is up, by the port that [`link_up`](Self::link_up) gave, or down.
    fn chosen(&mut self, _now: Duration, _with: Candidate, _port: Option<Port>) {}

    /// A candidate for a link has said something, which came with `rate`.
    fn note(&mut self, _now: Duration, _from: Candidate, _note: Note, _rate: ByteRate) {}

    /// What is to be done about links; called until it gives `None`, after the actions.
    fn poll_choice(&mut self) -> Option<Choice> {
        None
    }
}

impl Rule for Cell {
    type Frame = CellFrame;

    fn new(now: Duration, view: NodeView) -> Self {
        let NodeSpec {
            compute, up, down, ..
        } = view.node;
        let mut config = CellConfig::new(view.shape, compute, up, down);
        config.source = view.node.source;
        config.buffer = view.buffer;
        Cell::new(config, now, view.seed)
    }

    fn frame_bytes(frame: &CellFrame) -> usize {
        frame.wire_bytes()
    }

    fn link_up(&mut self, now: Duration, link: LinkConfig) -> Port {
        self.add_link(now, link)
    }

    fn link_down(&mut self, now: Duration, port: Port) {
        self.remove_link(now, port);
    }

    fn handle(&mut self, now: Duration, input: Input<CellFrame>) {
        let honest = match input {
            Input::Frame { port, frame } => self.handle_frame(now, port, &frame),
            Input::Arrived { port, item } => self.handle_arrived(now, port, item),
            Input::Sent { port, item } => {
                self.handle_sent(now, port, item);
                Ok(())
            }
            Input::Held { port, item } => {
                self.handle_held(now, port, item);
                Ok(())
            }
            Input::Computed => {
                self.handle_computed(now);
                Ok(())
            }
            Input::Timeout => {
                self.handle_timeout(now);
                Ok(())
            }
        };
        debug_assert_eq!(honest, Ok(()), "cells keep their own protocol");
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.poll_timeout())
    }
}

/// A [`Cell`] that chooses its links.
#[derive(Debug)]
pub struct ChoosingCell {
    cell: Cell,
    choice: LinkChoice,
}

impl ChoosingCell {
    /// The cell.
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// What chooses its links.
    pub fn choice(&self) -> &LinkChoice {
        &self.choice
    }
}

impl Rule for ChoosingCell {
    type Frame = CellFrame;

    fn new(now: Duration, view: NodeView) -> Self {
        let (peers, most) = view.choice.unwrap_or_default();
        let rank = Rank::by_capacity(view.node.compute, view.node.up, view.seed);
        let mut choice = LinkChoice::new(now, rank, most, view.seed);
        for peer in 0..u32::try_from(peers).unwrap_or(u32::MAX) {
            if !choice.add_peer(Candidate(peer)) {
                break;
            }
        }
        Self {
            cell: <Cell as Rule>::new(now, view),
            choice,
        }
    }

    fn frame_bytes(frame: &CellFrame) -> usize {
        frame.wire_bytes()
    }

    fn link_up(&mut self, now: Duration, link: LinkConfig) -> Port {
        self.cell.add_link(now, link)
    }

    fn link_down(&mut self, now: Duration, port: Port) {
        self.cell.remove_link(now, port);
    }

    fn handle(&mut self, now: Duration, input: Input<CellFrame>) {
        if input == Input::Timeout {
            self.choice.handle_timeout(now, &mut self.cell);
        }
        self.cell.handle(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.cell.poll_action()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.cell.poll_timeout().min(self.choice.poll_timeout()))
    }

    const CHOOSES: bool = true;

    fn chosen(&mut self, now: Duration, with: Candidate, port: Option<Port>) {
        match port {
            Some(port) => self.choice.handle_link(now, with, port),
            None => self.choice.handle_unlink(now, with),
        }
    }

    fn note(&mut self, now: Duration, from: Candidate, note: Note, rate: ByteRate) {
        self.choice
            .handle_note(now, from, note, rate, &mut self.cell);
    }

    fn poll_choice(&mut self) -> Option<Choice> {
        self.choice.poll_choice()
    }
}
