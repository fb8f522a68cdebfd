//! The way through a function's code.

use std::ops::Range;

use wasmparser::{BinaryReader, FuncValidator, Operator, ValType, ValidatorResources};

use super::{
    Function,
    kind::{Kind, Lanes, kind},
    leb,
    origins::{Finding, Origin, Origins, Value},
    temporaries::Temporaries,
};
use crate::{ModuleError, wasm::check::invalid};

/// A way through a function's code, with what is known of the values on its stack.
pub(super) struct Walk<'a> {
    function: &'a Function<'a>,
    validator: FuncValidator<ValidatorResources>,
    /// At the operator that the validator takes next.
    unchecked: BinaryReader<'a>,
    /// One for each operand.
    stack: Vec<Value>,
    pub(super) finding: Finding,
    pub(super) temporaries: Temporaries,
    pub(super) out: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(function: &'a Function<'a>) -> Self {
        let validator = function.start.clone();
        let parameters = parameters(&validator);
        let candidates = (0..validator.len_locals())
            .map(|index| {
                let kind = validator.get_local_type(index);
                index >= parameters && matches!(kind, Some(ValType::F32 | ValType::F64))
            })
            .collect();
        Self {
            function,
            validator,
            unchecked: function.operators.clone(),
            stack: Vec::new(),
            finding: Finding::Looking(Origins::new(candidates)),
            temporaries: Temporaries::default(),
            out: Vec::new(),
        }
    }

    /// Goes through the code once: to learn of its variables, or to write it.
    pub(super) fn pass(&mut self) -> Result<(), ModuleError> {
        self.validator = self.function.start.clone();
        self.unchecked = self.function.operators.clone();
        self.stack.clear();
        let mut operators = self.function.body.get_operators_reader().map_err(invalid)?;
        while !operators.eof() {
            let start = operators.original_position();
            let operator = operators.read().map_err(invalid)?;
            self.step(&operator, start..operators.original_position())?;
        }
        Ok(())
    }

    fn step(&mut self, operator: &Operator<'_>, at: Range<usize>) -> Result<(), ModuleError> {
        let frame = self.validator.get_control_frame(0);
        if frame.is_none_or(|frame| frame.unreachable) {
            self.copy(at)?;
            // What is in code that is never reached does not matter, but for what lies below it.
            self.stack.resize(self.height(), Value::Own);
            return Ok(());
        }
        let before = self.stack.len();
        let kind = kind(operator);
        let (taken, given) = match kind {
            Kind::Arithmetic(taken) => (taken, Value::Computed),
            Kind::Blind(taken) => (taken, Value::Own),
            Kind::Number => (self.arity(operator), Value::Canonical),
            Kind::Get(index) => (0, self.finding.value(index)),
            Kind::Set(index) | Kind::Tee(index) => {
                self.put(index);
                (1, self.top(0))
            }
            Kind::Drop => (1, Value::Own),
            Kind::Select => (3, self.selected()),
            Kind::Vector(_) | Kind::Other => {
                let taken = self.arity(operator);
                self.make_canonical(taken);
                (taken, Value::Own)
            }
        };
        self.copy(at)?;
        if let Kind::Vector(lanes) = kind {
            self.make_vector_canonical(lanes);
        }
        // After a jump what was below is gone as well.
        let height = self.height();
        self.stack
            .truncate(before.saturating_sub(taken).min(height));
        self.stack.resize(height, given);
        Ok(())
    }

    fn copy(&mut self, at: Range<usize>) -> Result<(), ModuleError> {
        // From the bytes, as the validator goes through whole functions: by the operator it would be all of that code once more.
        let mut visitor = self.validator.visitor(at.start);
        let checked = self.unchecked.visit_operator(&mut visitor);
        drop(visitor);
        checked.map_err(invalid)?.map_err(invalid)?;
        if self.writes() {
            self.out.extend_from_slice(&self.function.module[at]);
        }
        Ok(())
    }

    fn height(&self) -> usize {
        self.validator.operand_stack_height() as usize
    }

    fn arity(&self, operator: &Operator<'_>) -> usize {
        let arity = operator.operator_arity(&self.validator);
        arity.map_or(self.stack.len(), |(taken, _)| taken as usize)
    }

    /// What is known of the operand so far below the top.
    fn top(&self, depth: usize) -> Value {
        let index = self.stack.len().checked_sub(depth + 1);
        index.map_or(Value::Own, |index| self.stack[index])
    }

    const fn writes(&self) -> bool {
        matches!(self.finding, Finding::Found(_))
    }

    /// The top is put into a variable.
    fn put(&mut self, index: u32) {
        let value = self.top(0);
        match &mut self.finding {
            Finding::Looking(origins) => origins.put(value, Origin(index)),
            Finding::Found(on_the_way) => {
                if value == Value::Computed && !on_the_way[index as usize] {
                    self.make_canonical(1);
                }
            }
        }
    }

    /// What `select` gives of the two below the top.
    fn selected(&mut self) -> Value {
        match (self.top(1), self.top(2), &mut self.finding) {
            (Value::Own, Value::Own, _) => Value::Own,
            (Value::Own, ..) | (_, Value::Own, _) => {
                self.make_canonical(3);
                Value::Own
            }
            (Value::Canonical, Value::Canonical, _) => Value::Canonical,
            (one, other, Finding::Looking(origins)) => origins.either(one, other),
            _ => Value::Computed,
        }
    }

    /// Something looks at the bits of so many operands.
    fn make_canonical(&mut self, count: usize) {
        let Some(deepest) = (0..count)
            .rev()
            .find(|depth| self.top(*depth) == Value::Computed)
        else {
            return;
        };
        // Those above the deepest one are put aside, and come back in their order.
        let mut aside = Vec::with_capacity(deepest);
        let mut counts: Vec<(ValType, usize)> = Vec::new();
        for depth in 0..deepest {
            let kind = self.kind_of(depth);
            // There may be a thousand of them, though of a few types.
            let nth = match counts.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    counts.push((kind, 1));
                    1
                }
            };
            let place = self.temporary(kind, nth);
            aside.push((kind, place));
            self.emit(LOCAL_SET, place);
        }
        let kind = self.kind_of(deepest);
        self.make_number_canonical(kind);
        for (depth, (kind, place)) in aside.into_iter().enumerate().rev() {
            self.emit(LOCAL_GET, place);
            if self.top(depth) == Value::Computed {
                self.make_number_canonical(kind);
            }
        }
        let from = self.stack.len().saturating_sub(count);
        for value in &mut self.stack[from..] {
            if *value == Value::Computed {
                *value = Value::Canonical;
            }
        }
    }

    fn kind_of(&self, depth: usize) -> ValType {
        let kind = self.validator.get_operand_type(depth);
        kind.flatten().unwrap_or(ValType::I32)
    }

    /// Of the number on top: `x, nan, x >= x`, of which `select` takes the first if that holds. It holds for all but NaNs, and is one flag of x86 where `==` is two.
    fn make_number_canonical(&mut self, kind: ValType) {
        let (nan, itself): (&[u8], u8) = match kind {
            ValType::F32 => (&[0x43, 0, 0, 0xc0, 0x7f], 0x60),
            _ => (&[0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f], 0x66),
        };
        let place = self.temporary(kind, 0);
        self.emit(LOCAL_TEE, place);
        self.raw(nan);
        self.emit(LOCAL_GET, place);
        self.emit(LOCAL_GET, place);
        self.raw(&[itself, SELECT]);
    }

    /// The same for each lane of the vector on top.
    fn make_vector_canonical(&mut self, lanes: Lanes) {
        let (nan, equal): ([u8; 16], u8) = match lanes {
            Lanes::F32 => (
                0x7fc0_0000_7fc0_0000_7fc0_0000_7fc0_0000_u128.to_le_bytes(),
                0x41,
            ),
            Lanes::F64 => (
                0x7ff8_0000_0000_0000_7ff8_0000_0000_0000_u128.to_le_bytes(),
                0x47,
            ),
        };
        let place = self.temporary(ValType::V128, 0);
        self.emit(LOCAL_TEE, place);
        self.raw(&[VECTOR, 0x0c]);
        self.raw(&nan);
        self.emit(LOCAL_GET, place);
        self.emit(LOCAL_GET, place);
        self.raw(&[VECTOR, equal, VECTOR, 0x52]);
    }

    /// The nth variable of this type that was added.
    fn temporary(&mut self, kind: ValType, nth: usize) -> usize {
        self.validator.len_locals() as usize + self.temporaries.place(kind, nth)
    }

    fn emit(&mut self, operator: u8, index: usize) {
        if self.writes() {
            self.out.push(operator);
            leb(&mut self.out, index);
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.writes() {
            self.out.extend_from_slice(bytes);
        }
    }
}

const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const LOCAL_TEE: u8 = 0x22;
const SELECT: u8 = 0x1b;
/// What operators on vectors begin with.
const VECTOR: u8 = 0xfd;

/// How many of a function's variables are its parameters: the caller decides what is in them.
fn parameters(validator: &FuncValidator<ValidatorResources>) -> u32 {
    use wasmparser::WasmModuleResources as _;

    let resources = validator.resources();
    let kind = resources.type_index_of_function(validator.index());
    let kind = kind.and_then(|kind| resources.sub_type_at(kind));
    kind.map_or(u32::MAX, |kind| {
        u32::try_from(kind.unwrap_func().params().len()).unwrap_or(u32::MAX)
    })
}
