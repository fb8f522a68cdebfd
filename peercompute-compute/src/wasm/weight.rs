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
    /// For each open block how many values a branch to it takes, and if it is a loop, when it began.
    open: Vec<(u64, Option<u64>)>,
    /// When each variable was changed last, 0 for never.
    changed: Vec<u64>,
}

impl Weight<'_> {
    fn operator(&mut self, operator: &Operator<'_>) {
        self.now += 1;
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                let (taken, given) = self.arity(blockty);
                self.block(taken + given);
                self.open.push((given, None));
            }
            Operator::Loop { blockty } => {
                let (taken, given) = self.arity(blockty);
                self.block(taken + given);
                self.open.push((taken, Some(self.now)));
            }
            Operator::Else => self.block(0),
            Operator::End => {
                self.open.pop();
            }
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

    fn branch(&mut self, depth: u32) {
        let target = self.open.len().checked_sub(depth as usize + 1);
        let values = target.map_or(0, |target| self.open[target].0);
        self.add(1 + HANDED_ON * values);
    }

    /// A variable that is changed in a loop is handed on by it, and by all the loops around it: once by each.
    fn change(&mut self, index: u32) {
        let Some(last) = self.changed.get_mut(index as usize) else {
            return;
        };
        let begun = self.open.iter().rev().filter_map(|(_, begun)| *begun);
        let loops = begun.take_while(|begun| *begun > *last).count();
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
