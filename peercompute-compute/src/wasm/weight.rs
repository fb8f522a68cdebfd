//! What a function costs the compiler beyond its length: a few bytes can stand for many values that have to be followed through many blocks.

use wasmparser::{BlockType, FuncType, FunctionBody, Operator};

use super::{
    check::{at_most, invalid},
    config::{MAX_ALL_WEIGHT, MAX_WEIGHT},
};
use crate::ModuleError;

/// What a value costs that a block, a loop or a branch hands on, beside a variable that only lives through a block.
const HANDED_ON: u64 = 32;

/// What a value costs that goes into a call or comes out of it.
const CALLED: u64 = 12;

/// The weights of a module's functions.
#[derive(Debug, Default)]
pub(super) struct Weights {
    all: u64,
}

impl Weights {
    /// Weighs a function with so many variables, its parameters included.
    pub(super) fn add(
        &mut self,
        body: &FunctionBody<'_>,
        variables: u64,
        types: &[FuncType],
        functions: &[u32],
    ) -> Result<(), ModuleError> {
        let mut weight = Weight {
            types,
            functions,
            variables,
            changed: vec![0; usize::try_from(variables).unwrap_or(0)],
            ..Weight::default()
        };
        for operator in body.get_operators_reader().map_err(invalid)? {
            weight.operator(&operator.map_err(invalid)?);
            at_most(WHAT, weight.sum, MAX_WEIGHT)?;
        }
        self.all += weight.sum;
        at_most(
            "variables times blocks in all functions",
            self.all,
            MAX_ALL_WEIGHT,
        )
    }
}

const WHAT: &str =
    "variables times blocks in a function, or as much in values that blocks and calls hand on";

#[derive(Default)]
struct Weight<'a> {
    types: &'a [FuncType],
    functions: &'a [u32],
    variables: u64,
    sum: u64,
    /// Operators so far.
    now: u64,
    open: Vec<Open>,
    /// When each open loop began, the outermost first.
    loops: Vec<u64>,
    /// When each variable was changed last, 0 for never.
    changed: Vec<u64>,
}

/// A block whose end has not come.
struct Open {
    /// How many values a branch to it takes.
    taken: u64,
    is_loop: bool,
}

impl Weight<'_> {
    fn operator(&mut self, operator: &Operator<'_>) {
        self.now += 1;
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                let (taken, given) = self.arity(blockty);
                self.block(taken + given);
                self.open.push(Open {
                    taken: given,
                    is_loop: false,
                });
            }
            Operator::Loop { blockty } => {
                let (taken, given) = self.arity(blockty);
                self.block(taken + given);
                self.open.push(Open {
                    taken,
                    is_loop: true,
                });
                self.loops.push(self.now);
            }
            Operator::Else => self.block(0),
            Operator::End => self.end(),
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
            }
            Operator::BrTable { targets } => {
                self.branch(targets.default());
                for target in targets.targets().flatten() {
                    self.branch(target);
                }
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.change(*local_index);
            }
            Operator::Call { function_index } => {
                let kind = self.functions.get(*function_index as usize);
                self.call(kind.copied());
            }
            Operator::CallIndirect { type_index, .. } => self.call(Some(*type_index)),
            _ => {}
        }
    }

    fn add(&mut self, weight: u64) {
        self.sum = self.sum.saturating_add(weight);
    }

    /// Every variable may live through it.
    fn block(&mut self, values: u64) {
        self.add(self.variables + HANDED_ON * values);
    }

    fn end(&mut self) {
        if self.open.pop().is_some_and(|open| open.is_loop) {
            self.loops.pop();
        }
    }

    fn branch(&mut self, depth: u32) {
        let target = self.open.len().checked_sub(depth as usize + 1);
        let values = target.map_or(0, |target| self.open[target].taken);
        self.add(1 + HANDED_ON * values);
    }

    /// A variable that is changed in a loop is handed on by it, and by all the loops around it: once by each.
    fn change(&mut self, index: u32) {
        let Some(last) = self.changed.get_mut(index as usize) else {
            return;
        };
        // A search, not a walk: blocks may be nested a hundred thousand deep, with as many changes in the innermost.
        let before = self.loops.partition_point(|begun| *begun <= *last);
        let loops = self.loops.len() - before;
        *last = self.now;
        self.add(HANDED_ON * loops as u64);
    }

    fn call(&mut self, kind: Option<u32>) {
        let kind = kind.and_then(|kind| self.types.get(kind as usize));
        let values = kind.map_or(0, |kind| kind.params().len() + kind.results().len());
        self.add(CALLED * values as u64);
    }

    fn arity(&self, kind: &BlockType) -> (u64, u64) {
        match kind {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(kind) => {
                let kind = self.types.get(*kind as usize);
                kind.map_or((0, 0), |kind| {
                    (kind.params().len() as u64, kind.results().len() as u64)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::BinaryReader;

    use super::*;

    const BLOCK: u8 = 0x02;
    const LOOP: u8 = 0x03;
    const EMPTY: u8 = 0x40;
    const END: u8 = 0x0b;

    /// The body of a function with so many loops, and so many blocks inside the innermost of them, where its one variable is changed again and again.
    fn body(loops: usize, blocks: usize, changes: usize) -> Vec<u8> {
        let mut body = vec![0];
        body.extend([LOOP, EMPTY].repeat(loops));
        body.extend([BLOCK, EMPTY].repeat(blocks));
        // i32.const 0, as many local.tee 0, drop.
        body.extend([0x41, 0]);
        body.extend([0x22, 0].repeat(changes));
        body.push(0x1a);
        body.extend(vec![END; blocks + loops + 1]);
        body
    }

    fn add(weights: &mut Weights, body: &[u8]) -> Result<(), ModuleError> {
        let body = FunctionBody::new(BinaryReader::new(body, 0));
        weights.add(&body, 1, &[], &[])
    }

    #[test]
    fn a_change_weighs_for_each_loop_around_it_that_has_begun_since_the_last() {
        for (loops, blocks, changes, handed_on) in
            [(0, 5, 3, 0), (3, 5, 0, 0), (3, 5, 1, 3), (3, 5, 100, 3)]
        {
            let mut weights = Weights::default();
            add(&mut weights, &body(loops, blocks, changes)).expect("it is light");
            let expected = (loops + blocks) as u64 + HANDED_ON * handed_on;
            assert_eq!(weights.all, expected, "{loops} {blocks} {changes}");
        }
    }

    #[test]
    fn a_loop_that_has_ended_weighs_no_more() {
        // Two loops in one, one after the other, each with a change in it, and one behind them: 2, 1 and 0 loops since the last.
        let inner = [LOOP, EMPTY, 0x41, 0, 0x21, 0, END];
        let body = [
            &[0, LOOP, EMPTY][..],
            &inner,
            &inner,
            &[0x41, 0, 0x21, 0, END, END],
        ]
        .concat();
        let mut weights = Weights::default();
        add(&mut weights, &body).expect("it is light");
        assert_eq!(weights.all, 3 + HANDED_ON * 3);
    }

    #[test]
    fn functions_of_deeply_nested_blocks_with_many_changes_are_weighed_like_others() {
        // As long as functions may be, and as many of them as a module has room for.
        let body = body(1, 50_000, 50_000);
        let mut weights = Weights::default();
        for _ in 0..64 {
            add(&mut weights, &body).expect("it is light");
        }
        assert_eq!(weights.all, 64 * (50_001 + HANDED_ON));
    }
}
