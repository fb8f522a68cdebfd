//! Makes the NaNs that a module computes canonical, as far as anybody can tell.
//!
//! Which bits a computed NaN has is left to each processor, and native workers have to agree. The engine can look at the result of every operation, but that makes each of them wait for
//! the one before by twice as long: a simulation of bodies takes seven times its time. What operations make of a NaN does not depend on its bits, though; they matter only where
//! something else looks at them. So a module is rewritten before it is compiled: a value that came out of arithmetic is made canonical when it is stored, given to a call or returned, looked at
//! as an integer, changed in its sign, or leaves a block, and not on its way from one operation to the next. Bits that were only loaded are handed on as they are, as the standard asks.
//!
//! Within a function, local variables that never hold anything else than what came out of arithmetic are a part of that way. Vectors are made canonical at once.

mod kind;
mod origins;
mod temporaries;
mod walk;

use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Parser,
    Payload, RefType, ValType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use peercompute_proto::limits::MAX_MODULE;

use kind::{Kind, kind};
use origins::Finding;
use walk::Walk;

use super::check::{at_most, invalid};
use crate::ModuleError;

/// Names what the rewriting makes of a module: to be changed with it, since machine code on disk is what was made of it.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const REVISION: u32 = 2;

/// Bytes of a module with its NaNs made canonical, whose code can be several times as long.
const MAX_REWRITTEN: u64 = 4 * MAX_MODULE as u64;

/// The module as it is to be compiled.
pub(super) fn canonicalise(module: &[u8], features: WasmFeatures) -> Result<Vec<u8>, ModuleError> {
    let mut validator = Validator::new_with_features(features);
    let mut allocations = FuncValidatorAllocations::default();
    let mut rewritten = Vec::with_capacity(module.len());
    let mut code = Code::default();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(invalid)?;
        let checked = validator.payload(&payload).map_err(invalid)?;
        match (checked, &payload) {
            (ValidPayload::Func(function, body), _) => {
                allocations = code.add(module, function, &body, allocations)?;
                let size = rewritten.len() + code.bytes.len();
                at_most(
                    "bytes with its NaNs made canonical",
                    size as u64,
                    MAX_REWRITTEN,
                )?;
            }
            (_, Payload::Version { range, .. }) => {
                rewritten.extend_from_slice(&module[range.clone()]);
            }
            (_, Payload::CodeSectionStart { count, .. }) => code.expected = *count,
            // Nothing in it is needed, and it may tell of places in the code as it was.
            (_, Payload::CustomSection(_)) => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    section(&mut rewritten, id, &module[range]);
                }
            }
        }
        if code.is_complete() {
            section(&mut rewritten, CODE_SECTION, &code.take());
        }
    }
    Ok(rewritten)
}

const CODE_SECTION: u8 = 10;

pub(super) fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    leb(module, content.len());
    module.extend_from_slice(content);
}

/// An unsigned number in LEB128.
pub(super) fn leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The code section, as it grows.
#[derive(Default)]
struct Code {
    expected: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Code {
    const fn is_complete(&self) -> bool {
        self.expected > 0 && self.count == self.expected
    }

    fn take(&mut self) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.bytes.len() + 5);
        leb(&mut content, self.count as usize);
        content.append(&mut self.bytes);
        *self = Self::default();
        content
    }

    fn add(
        &mut self,
        module: &[u8],
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, ModuleError> {
        self.count += 1;
        if !computes(body)? {
            // The compiler validates it.
            leb(&mut self.bytes, body.as_bytes().len());
            self.bytes.extend_from_slice(body.as_bytes());
            return Ok(allocations);
        }
        let mut validator = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(invalid)?;
        let function = Function {
            module,
            body,
            start: validator,
            code: reader.original_position(),
            operators: reader,
        };
        let rewritten = function.rewrite()?;
        leb(&mut self.bytes, rewritten.len());
        self.bytes.extend_from_slice(&rewritten);
        Ok(function.start.into_allocations())
    }
}

/// Whether there is any arithmetic in a function.
fn computes(body: &FunctionBody<'_>) -> Result<bool, ModuleError> {
    for operator in body.get_operators_reader().map_err(invalid)? {
        let kind = kind(&operator.map_err(invalid)?);
        if matches!(kind, Kind::Arithmetic(_) | Kind::Vector(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A function that has arithmetic in it.
struct Function<'a> {
    module: &'a [u8],
    body: &'a FunctionBody<'a>,
    /// At the first operator.
    start: FuncValidator<ValidatorResources>,
    /// Where that is in the module.
    code: usize,
    operators: BinaryReader<'a>,
}

impl Function<'_> {
    fn rewrite(&self) -> Result<Vec<u8>, ModuleError> {
        let mut walk = Walk::new(self);
        walk.pass()?;
        walk.finding = Finding::Found(walk.finding.on_the_way());
        walk.pass()?;
        Ok(self.assemble(&walk.out, walk.temporaries.types()))
    }

    /// The function's body: the variables as they were and those that were needed, then the code.
    fn assemble(&self, code: &[u8], temporaries: &[ValType]) -> Vec<u8> {
        let start = self.body.range().start;
        let declared = &self.module[start..self.code];
        let length = declared.iter().position(|byte| *byte < 0x80);
        let (count, groups) = declared.split_at(length.map_or(0, |last| last + 1));
        let count = count
            .iter()
            .rev()
            .fold(0, |count, byte| count << 7 | usize::from(byte & 0x7f));
        let mut body = Vec::with_capacity(declared.len() + code.len() + 16);
        leb(&mut body, count + temporaries.len());
        body.extend_from_slice(groups);
        for kind in temporaries {
            body.extend([1, encoded(*kind)]);
        }
        body.extend_from_slice(code);
        body
    }
}

const fn encoded(kind: ValType) -> u8 {
    match kind {
        ValType::I32 => 0x7f,
        ValType::I64 => 0x7e,
        ValType::F32 => 0x7d,
        ValType::F64 => 0x7c,
        ValType::V128 => 0x7b,
        ValType::Ref(RefType::EXTERNREF) => 0x6f,
        ValType::Ref(_) => 0x70,
    }
}

#[cfg(test)]
mod tests;
