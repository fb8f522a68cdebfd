use crate::cell::PerItem;

/// What nodes that follow a baseline tell each other. What is `None` or 0 is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Hops to the nearest source; [`FAR`](super::node::FAR) when none is known.
    pub(super) distance: Option<u32>,
    /// What the rule calls the load of the node.
    pub(super) load: Option<u32>,
    /// How many links it has.
    pub(super) degree: Option<u32>,
    /// Whether it is part of a tree.
    pub(super) rooted: Option<bool>,
    /// Slots asked for.
    pub(super) wanted: PerItem<u32>,
    /// Slots granted.
    pub(super) granted: PerItem<u32>,
    /// Slots for inputs given back: there is nothing to hand over.
    pub(super) returned: u32,
}

impl Frame {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes in the encoding of the cell's own frames: the length, and for each field that is there a tag and a number of seven bits a byte.
    pub(super) fn wire_bytes(&self) -> usize {
        let counts = [
            self.wanted.0[0],
            self.wanted.0[1],
            self.granted.0[0],
            self.granted.0[1],
            self.returned,
        ];
        let counts = counts.into_iter().filter(|count| *count > 0);
        let told = [
            self.distance,
            self.load,
            self.degree,
            self.rooted.map(u32::from),
        ];
        let fields = told.into_iter().flatten().chain(counts);
        1 + fields.map(|value| 1 + varint(value)).sum::<usize>()
    }
}

fn varint(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_its_fields() {
        assert_eq!(Frame::default().wire_bytes(), 1);
        let mut frame = Frame {
            distance: Some(0),
            load: Some(127),
            ..Frame::default()
        };
        assert_eq!(frame.wire_bytes(), 5);
        frame.load = Some(128);
        frame.granted.0[1] = 1;
        assert_eq!(frame.wire_bytes(), 8);
    }
}
