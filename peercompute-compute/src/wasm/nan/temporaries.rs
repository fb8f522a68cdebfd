//! The variables that a function is given in addition to its own.

use wasmparser::ValType;

/// Variables of a function that hold a value for a moment, of each type as many as are needed at once.
#[derive(Default)]
pub(super) struct Temporaries {
    /// Their types, in the order in which they are declared.
    types: Vec<ValType>,
    /// Of each type, which of them are of it.
    by_type: Vec<(ValType, Vec<usize>)>,
}

impl Temporaries {
    pub(super) fn types(&self) -> &[ValType] {
        &self.types
    }

    /// The nth of this type, counted from 0: its place among all of them. Those that are missing up to it are added.
    pub(super) fn place(&mut self, kind: ValType, nth: usize) -> usize {
        // There are but a few types.
        let known = self.by_type.iter().position(|(known, _)| *known == kind);
        let known = known.unwrap_or_else(|| {
            self.by_type.push((kind, Vec::new()));
            self.by_type.len() - 1
        });
        let (_, places) = &mut self.by_type[known];
        while places.len() <= nth {
            places.push(self.types.len());
            self.types.push(kind);
        }
        places[nth]
    }
}
