use super::{ByteRate, CellFrame, Item};

/// Names a link of a node: the lowest number that was free when it came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u32);

/// What a rule wants done. Each is carried out at once, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action<F = CellFrame> {
    /// Send a frame to a neighbour.
    Send {
        /// Over this link.
        port: Port,
        /// What it says.
        frame: F,
    },
    /// Begin to hand an item over: the one that has waited longest. It moves at the rate that a [`Pace`](Self::Pace) gives, which follows.
    Begin {
        /// Over this link, on which none of this kind is in transfer.
        port: Port,
        /// Which kind.
        item: Item,
        /// Its last byte waits for a [`Release`](Self::Release), for the neighbour has granted no slot yet.
        held: bool,
    },
    /// Send what is being handed over at so many bytes a second from now on.
    Pace {
        /// Over this link.
        port: Port,
        /// Which kind.
        item: Item,
        /// The new rate.
        rate: ByteRate,
    },
    /// The last byte may go. If all the others have gone, the item has been handed over with this.
    Release {
        /// Over this link.
        port: Port,
        /// Which kind.
        item: Item,
    },
    /// Compute the input that has waited longest; at a source without any, one from its supply.
    Compute,
    /// Take the output of the task that was done first from its worker, which has kept it until now: it waits here from now on; at a source it is home.
    Collect,
}
