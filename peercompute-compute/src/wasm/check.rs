//! The front door: what is looked at before a module reaches the compiler.

use wasmparser::{
    Encoding, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload, ValType, Validator,
    WasmFeatures,
};

use peercompute_proto::limits::MAX_MODULE;

use super::config::{
    MAX_ALL_LOCALS, MAX_FUNCTION_BYTES, MAX_FUNCTIONS, MAX_ITEMS, MAX_LOCALS, MAX_TABLE_ELEMENTS,
    MAX_TABLES,
};
use super::weight::Weights;
use crate::{ABI_VERSION, ModuleError};

/// The names that a module has to export.
pub(super) const MEMORY: &str = "memory";
pub(super) const VERSION: &str = "abi_version";
pub(super) const ALLOC: &str = "alloc";
pub(super) const RUN: &str = "run";

const PAGE: u64 = 64 << 10;

/// What the host has to know of a module that it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of memory that it begins with.
    pub(super) memory: u64,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// What every module begins with.
const MAGIC: &[u8] = b"\0asm";

/// Looks whether `module` keeps to the bounds, imports nothing and exports the task ABI. Whether its code is valid is the compiler's
/// to say; how much work it makes for the compiler is looked at here.
pub(super) fn check(module: &[u8]) -> Result<Shape, ModuleError> {
    at_most_bytes(module.len() as u64)?;
    if !module.starts_with(MAGIC) {
        let is_text = module.trim_ascii_start().starts_with(b"(");
        let reason = if is_text {
            "it looks like the text of one; assemble it first, for instance with wat2wasm"
        } else {
            "it does not begin as modules do; name the .wasm file that a compiler has made"
        };
        return Err(ModuleError::Invalid {
            reason: reason.to_owned(),
        });
    }
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(module) {
        seen.payload(payload.map_err(invalid)?)?;
    }
    Ok(Shape {
        memory: seen.finish()?,
        size: module.len() as u64,
    })
}

/// Looks whether all of `module` is valid, its code too, as the compiler does.
pub(super) fn validate(module: &[u8], features: WasmFeatures) -> Result<(), ModuleError> {
    let mut validator = Validator::new_with_features(features);
    validator.validate_all(module).map_err(invalid)?;
    Ok(())
}

/// Whether a module of this length is looked at.
pub(super) fn at_most_bytes(size: u64) -> Result<(), ModuleError> {
    let limit = MAX_MODULE as u64;
    if size > limit {
        return Err(ModuleError::TooLarge { size, limit });
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    types: Vec<FuncType>,
    /// The type of each function.
    functions: Vec<u32>,
    /// Bytes that the memory begins with.
    memory: Option<u64>,
    exported_memory: bool,
    version: Option<u32>,
    alloc: Option<u32>,
    run: Option<u32>,
    bodies: u32,
    locals: u64,
    weights: Weights,
    /// What `abi_version` gives, where that can be seen at a glance.
    found_version: Option<i32>,
}

impl Seen {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } => {
                return Err(ModuleError::Invalid {
                    reason: "it is a component; build a core module".to_owned(),
                });
            }
            Payload::TypeSection(types) => {
                at_most("types", types.count().into(), MAX_ITEMS)?;
                for kind in types.into_iter_err_on_gc_types() {
                    self.types.push(kind.map_err(invalid)?);
                }
            }
            Payload::ImportSection(imports) => {
                if let Some(import) = imports.into_imports().next() {
                    let import = import.map_err(invalid)?;
                    return Err(ModuleError::Import {
                        module: shorten(import.module),
                        name: shorten(import.name),
                    });
                }
            }
            Payload::FunctionSection(functions) => {
                at_most("functions", functions.count().into(), MAX_FUNCTIONS)?;
                for function in functions {
                    self.functions.push(function.map_err(invalid)?);
                }
            }
            Payload::TableSection(tables) => {
                at_most("tables", tables.count().into(), MAX_TABLES)?;
                for table in tables {
                    let elements = table.map_err(invalid)?.ty.initial;
                    at_most("elements in a table", elements, MAX_TABLE_ELEMENTS)?;
                }
            }
            Payload::MemorySection(memories) => {
                at_most("memories", memories.count().into(), 1)?;
                for memory in memories {
                    let pages = memory.map_err(invalid)?.initial;
                    self.memory = Some(pages.saturating_mul(PAGE));
                }
            }
            Payload::GlobalSection(globals) => {
                at_most("globals", globals.count().into(), MAX_ITEMS)?;
            }
            Payload::ElementSection(segments) => {
                at_most("element segments", segments.count().into(), MAX_ITEMS)?;
            }
            Payload::DataSection(segments) => {
                at_most("data segments", segments.count().into(), MAX_ITEMS)?;
            }
            Payload::ExportSection(exports) => {
                at_most("exports", exports.count().into(), MAX_ITEMS)?;
                for export in exports {
                    let export = export.map_err(invalid)?;
                    self.export(export.name, export.kind, export.index)?;
                }
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) -> Result<(), ModuleError> {
        let wrong = |name, expected| ModuleError::WrongExport {
            name,
            expected,
            found: format!("{kind:?}").to_lowercase(),
        };
        let function = |place: &mut Option<u32>, name, expected| {
            if kind != ExternalKind::Func {
                return Err(wrong(name, expected));
            }
            *place = Some(index);
            Ok(())
        };
        match name {
            MEMORY if kind == ExternalKind::Memory => self.exported_memory = true,
            MEMORY => return Err(wrong(MEMORY, "a memory")),
            VERSION => function(&mut self.version, VERSION, VERSION_IS)?,
            ALLOC => function(&mut self.alloc, ALLOC, ALLOC_IS)?,
            RUN => function(&mut self.run, RUN, RUN_IS)?,
            _ => {}
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), ModuleError> {
        let size = body.range().len() as u64;
        at_most("bytes in a function", size, MAX_FUNCTION_BYTES)?;
        let mut locals = 0_u64;
        for group in body.get_locals_reader().map_err(invalid)? {
            locals += u64::from(group.map_err(invalid)?.0);
        }
        at_most("local variables in a function", locals, MAX_LOCALS)?;
        self.locals += locals;
        at_most("local variables", self.locals, MAX_ALL_LOCALS)?;
        let kind = self.functions.get(self.bodies as usize);
        let kind = kind.and_then(|kind| self.types.get(*kind as usize));
        let parameters = kind.map_or(0, |kind| kind.params().len() as u64);
        let (types, functions) = (&self.types, &self.functions);
        self.weights
            .add(body, locals + parameters, types, functions)?;
        if self.version == Some(self.bodies) {
            self.found_version = constant(body);
        }
        self.bodies += 1;
        Ok(())
    }

    /// Bytes of memory that the module begins with, if all is there.
    fn finish(self) -> Result<u64, ModuleError> {
        let memory = match (self.exported_memory, self.memory) {
            (true, Some(memory)) => memory,
            _ => {
                return Err(ModuleError::MissingExport {
                    expected: "its memory as \"memory\"",
                });
            }
        };
        use ValType::{I32, I64};
        self.is_function(self.version, VERSION, VERSION_IS, (&[], I32))?;
        self.is_function(self.alloc, ALLOC, ALLOC_IS, (&[I32], I32))?;
        self.is_function(self.run, RUN, RUN_IS, (&[I32, I32], I64))?;
        if let Some(found) = self.found_version
            && found != ABI_VERSION
        {
            return Err(ModuleError::AbiVersion { found });
        }
        Ok(memory)
    }

    fn is_function(
        &self,
        index: Option<u32>,
        name: &'static str,
        expected: &'static str,
        (params, result): (&[ValType], ValType),
    ) -> Result<(), ModuleError> {
        let index = index.ok_or(ModuleError::MissingExport { expected })?;
        let kind = usize::try_from(index)
            .ok()
            .and_then(|index| self.functions.get(index))
            .and_then(|kind| self.types.get(usize::try_from(*kind).ok()?));
        let kind = kind.ok_or_else(|| ModuleError::Invalid {
            reason: format!("{name:?} names a function that is not there"),
        })?;
        if kind.params() == params && kind.results() == [result] {
            return Ok(());
        }
        Err(ModuleError::WrongExport {
            name,
            expected,
            found: shorten(&signature(kind)),
        })
    }
}

const VERSION_IS: &str = "the function \"abi_version\" () -> i32";
const ALLOC_IS: &str = "the function \"alloc\" (i32) -> i32";
const RUN_IS: &str = "the function \"run\" (i32, i32) -> i64";

fn signature(kind: &FuncType) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<_> = types.iter().take(9).map(ToString::to_string).collect();
        names.join(", ")
    };
    format!(
        "a function ({}) -> ({})",
        list(kind.params()),
        list(kind.results())
    )
}

/// The number that a function without parameters gives which does nothing else.
fn constant(body: &FunctionBody<'_>) -> Option<i32> {
    let mut operators = body.get_operators_reader().ok()?;
    let Ok(Operator::I32Const { value }) = operators.read() else {
        return None;
    };
    matches!(operators.read(), Ok(Operator::End)).then_some(value)
}

pub(super) fn at_most(what: &'static str, count: u64, limit: u64) -> Result<(), ModuleError> {
    if count > limit {
        return Err(ModuleError::TooMany { what, count, limit });
    }
    Ok(())
}

pub(super) fn invalid(error: wasmparser::BinaryReaderError) -> ModuleError {
    ModuleError::Invalid {
        reason: error.to_string(),
    }
}

/// The most bytes of a stranger's name or type that a message repeats.
const MAX_SHOWN: usize = 64;

fn shorten(text: &str) -> String {
    crate::text::cut(text.to_owned(), MAX_SHOWN)
}
