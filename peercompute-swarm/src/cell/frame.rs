use peercompute_proto::{limits::MAX_CELL_CHANGES, v1};

use super::{Item, PerItem};

/// What one cell tells a neighbour: a [`v1::CellFrame`] that needs no memory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellFrame {
    /// Changes of the five figures of [`v1::CellFrame::changes`], in their steps.
    pub changes: [i32; MAX_CELL_CHANGES],
    /// Slots asked for.
    pub wanted: PerItem<u32>,
    /// Slots granted.
    pub granted: PerItem<u32>,
    /// Slots given back.
    pub returned: PerItem<u32>,
}

impl CellFrame {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes on the wire, the length before the frame included.
    pub fn wire_bytes(&self) -> usize {
        let told = self.told();
        let changes: usize = self.changes[..told]
            .iter()
            .map(|change| varint(zigzag(*change)))
            .sum();
        // A tag and a length; both take a byte.
        let changes = if told > 0 { 2 + changes } else { 0 };
        let slots: usize = self
            .slots()
            .into_iter()
            .filter(|count| *count > 0)
            .map(|count| 1 + varint(count))
            .sum();
        1 + changes + slots
    }

    /// Figures up to the last that has changed.
    fn told(&self) -> usize {
        self.changes
            .iter()
            .rposition(|change| *change != 0)
            .map_or(0, |last| last + 1)
    }

    fn slots(&self) -> [u32; 6] {
        let PerItem([a, b]) = self.wanted;
        let PerItem([c, d]) = self.granted;
        let PerItem([e, f]) = self.returned;
        [a, b, c, d, e, f]
    }
}

impl From<&CellFrame> for v1::CellFrame {
    fn from(frame: &CellFrame) -> Self {
        Self {
            changes: frame.changes[..frame.told()].to_vec(),
            inputs_wanted: frame.wanted[Item::Input],
            outputs_wanted: frame.wanted[Item::Output],
            inputs_granted: frame.granted[Item::Input],
            outputs_granted: frame.granted[Item::Output],
            inputs_returned: frame.returned[Item::Input],
            outputs_returned: frame.returned[Item::Output],
        }
    }
}

impl From<&v1::CellFrame> for CellFrame {
    /// Changes beyond the fifth, which a decoder refuses, are left out.
    fn from(wire: &v1::CellFrame) -> Self {
        let mut changes = [0; MAX_CELL_CHANGES];
        for (change, told) in changes.iter_mut().zip(&wire.changes) {
            *change = *told;
        }
        Self {
            changes,
            wanted: PerItem([wire.inputs_wanted, wire.outputs_wanted]),
            granted: PerItem([wire.inputs_granted, wire.outputs_granted]),
            returned: PerItem([wire.inputs_returned, wire.outputs_returned]),
        }
    }
}

fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn varint(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use peercompute_proto::encode_frame;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_as_long_as_its_wire_form_and_comes_back_the_same(
            changes: [i32; 5], wanted: [u32; 2], granted: [u32; 2], returned: [u32; 2], small: bool,
        ) {
            let less = |value: i32| if small { value % 100 } else { value };
            let frame = CellFrame {
                changes: changes.map(less),
                wanted: PerItem(wanted),
                granted: PerItem(granted),
                returned: PerItem(returned),
            };
            let wire = v1::CellFrame::from(&frame);
            let mut bytes = bytes::BytesMut::new();
            encode_frame(&wire, &mut bytes);
            prop_assert_eq!(frame.wire_bytes(), bytes.len());
            prop_assert_eq!(CellFrame::from(&wire), frame);
        }
    }
}
