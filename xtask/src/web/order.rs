//! The functions of a module in an order in which they are compressed well, and what it imports and exports by shorter names.
//!
//! `gzip` looks back 32 KiB. A large program has the same code many times, for one type after the other, and far apart. Here each function is followed by the one that has most
//! in common with the last 32 KiB, which makes the package a fourteenth smaller on the wire; not a byte of what the functions do is changed.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context as _, Result, ensure};
use wasm_encoder::{
    CodeSection, ExportSection, FunctionSection, ImportSection, Module,
    reencode::{Error, Reencode},
};
use wasmparser::{
    CodeSectionReader, Export, FunctionBody, FunctionSectionReader, ImportSectionReader, Parser,
    Payload, TypeRef,
};

/// As far as `gzip` looks back.
const WINDOW: usize = 32 << 10;

/// Bytes in a piece of code that two functions may have in common; six at least are worth a reference.
const PIECE: usize = 6;

/// Pieces that more functions have than this are found everywhere.
const MOST: usize = 5_000;

/// The same module with its functions in another order, and other names for what has one in `names`.
pub(super) fn rewrite(module: &[u8], names: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let (imported, bodies) = functions(module)?;
    let code: Vec<_> = bodies.iter().map(FunctionBody::as_bytes).collect();
    let order = order(&code);
    let mut places = vec![0; order.len()];
    for (place, function) in order.iter().enumerate() {
        places[*function] = u32::try_from(place)?;
    }
    let mut rewrite = Rewrite {
        imported,
        order,
        places,
        names,
    };
    let mut rewritten = Module::new();
    rewrite
        .parse_core_module(&mut rewritten, Parser::new(0), module)
        .context("the module cannot be written anew")?;
    Ok(rewritten.finish())
}

/// How many functions are imported, and the code of the others.
fn functions(module: &[u8]) -> Result<(u32, Vec<FunctionBody<'_>>)> {
    let (mut imported, mut bodies) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        imported += 1;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    ensure!(!bodies.is_empty(), "the module has no code");
    Ok((imported, bodies))
}

/// Each function once: the longest first, then always the one that has most in common with those before.
fn order(code: &[&[u8]]) -> Vec<usize> {
    let pieces = Pieces::of(code);
    // Long functions have more in common with everything.
    let weights: Vec<_> = code
        .iter()
        .map(|code| (code.len() as f64 + 60.0).powf(-0.8))
        .collect();
    let mut in_common = vec![0_u32; code.len()];
    let mut seen = vec![0_u32; pieces.functions.len()];
    let (mut window, mut size) = (VecDeque::new(), 0);
    let mut left: Vec<_> = (0..code.len()).collect();
    let mut order = Vec::with_capacity(code.len());
    let mut next = (0..code.len()).max_by_key(|function| code[*function].len());
    while let Some(function) = next {
        order.push(function);
        left.retain(|other| *other != function);
        window.push_back(function);
        size += code[function].len();
        for piece in &pieces.pieces[function] {
            seen[*piece] += 1;
            if seen[*piece] == 1 {
                for other in &pieces.functions[*piece] {
                    in_common[*other] += 1;
                }
            }
        }
        while size > WINDOW
            && window.len() > 1
            && let Some(gone) = window.pop_front()
        {
            size -= code[gone].len();
            for piece in &pieces.pieces[gone] {
                seen[*piece] -= 1;
                if seen[*piece] == 0 {
                    for other in &pieces.functions[*piece] {
                        in_common[*other] -= 1;
                    }
                }
            }
        }
        let likeness = |function: &usize| f64::from(in_common[*function]) * weights[*function];
        next = left.iter().copied().max_by(|one, other| {
            likeness(one)
                .total_cmp(&likeness(other))
                .then(other.cmp(one))
        });
    }
    order
}

/// Which pieces of code are in more than one function.
struct Pieces {
    /// The functions that have a piece.
    functions: Vec<Vec<usize>>,
    /// The pieces that a function has.
    pieces: Vec<Vec<usize>>,
}

impl Pieces {
    fn of(code: &[&[u8]]) -> Self {
        let mut all = Vec::new();
        for (function, code) in code.iter().enumerate() {
            all.extend(code.windows(PIECE).map(|piece| (piece, function)));
        }
        all.sort_unstable();
        all.dedup();
        let (mut functions, mut pieces) = (Vec::new(), vec![Vec::new(); code.len()]);
        for same in all.chunk_by(|one, other| one.0 == other.0) {
            if (2..=MOST).contains(&same.len()) {
                for (_, function) in same {
                    pieces[*function].push(functions.len());
                }
                functions.push(same.iter().map(|(_, function)| *function).collect());
            }
        }
        Self { functions, pieces }
    }
}

/// Writes a module with its functions in another order, each reference to one by its new number, and the new names.
struct Rewrite<'a> {
    imported: u32,
    /// What comes at each place.
    order: Vec<usize>,
    /// Where each goes.
    places: Vec<u32>,
    names: &'a BTreeMap<String, String>,
}

impl Rewrite<'_> {
    fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.get(name).map_or(name, String::as_str)
    }
}

impl Reencode for Rewrite<'_> {
    type Error = std::convert::Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        for import in section.into_imports() {
            let import = import?;
            let kind = self.entity_type(import.ty)?;
            imports.import(import.module, self.name(import.name), kind);
        }
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), Error> {
        let kind = self.export_kind(export.kind)?;
        let index = self.external_index(export.kind, export.index)?;
        exports.export(self.name(export.name), kind, index);
        Ok(())
    }

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let own = function.checked_sub(self.imported);
        let place = own.and_then(|own| self.places.get(own as usize));
        Ok(place.map_or(function, |place| self.imported + place))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order.clone() {
            functions.function(self.type_index(types[function])?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order.clone() {
            self.parse_function_body(code, bodies[function].clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_followed_by_the_one_that_is_most_like_it() {
        let like = |first: u8, length| {
            (0..length)
                .map(|n| first.wrapping_add(n))
                .collect::<Vec<_>>()
        };
        let code = [
            like(0, 60),
            like(100, 50),
            like(5, 40),
            like(103, 30),
            like(8, 20),
        ];
        let code: Vec<_> = code.iter().map(Vec::as_slice).collect();
        assert_eq!(order(&code), [0, 2, 4, 1, 3]);
    }

    /// The functions by what they call, the start, and what is exported.
    fn module() -> Vec<u8> {
        use wasm_encoder::{
            ConstExpr, ElementSection, Elements, EntityType, ExportKind, Function, Instruction,
            RefType, TableSection, TableType, TypeSection, ValType,
        };
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import("a", "b", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        functions.function(1).function(0).function(1);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: 1,
            maximum: None,
            table64: false,
            shared: false,
        });
        let mut exports = ExportSection::new();
        exports.export("first", ExportKind::Func, 1);
        exports.export("last", ExportKind::Func, 3);
        let mut elements = ElementSection::new();
        elements.active(
            None,
            &ConstExpr::i32_const(0),
            Elements::Functions([2].as_slice().into()),
        );
        let mut code = CodeSection::new();
        for instructions in [
            vec![Instruction::I32Const(1)],
            vec![
                Instruction::Call(0),
                Instruction::Call(1),
                Instruction::Drop,
            ],
            vec![
                Instruction::Call(1),
                Instruction::Drop,
                Instruction::Call(2),
                Instruction::I32Const(3),
            ],
        ] {
            let mut function = Function::new([]);
            for instruction in &instructions {
                function.instruction(instruction);
            }
            function.instruction(&Instruction::End);
            code.function(&function);
        }
        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables)
            .section(&exports)
            .section(&elements)
            .section(&code);
        module.finish()
    }

    /// What a module imports, and what it exports with its number.
    fn names(module: &[u8]) -> (Vec<String>, Vec<(String, u32)>) {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.expect("it is a module") {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.expect("it is an import");
                        imports.push(format!("{}.{}", import.module, import.name));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.expect("it is an export");
                        exports.push((export.name.to_owned(), export.index));
                    }
                }
                _ => {}
            }
        }
        (imports, exports)
    }

    #[test]
    fn what_refers_to_a_function_refers_to_it_where_it_is_then() {
        let module = module();
        let same = BTreeMap::new();
        let rewritten = rewrite(&module, &same).expect("it is a module");
        wasmparser::validate(&rewritten).expect("it is valid");
        assert_ne!(rewritten, module);
        // The longest is the first: what was the last is number 1 now.
        let (imported, bodies) = functions(&rewritten).expect("it is a module");
        assert_eq!(imported, 1);
        let lengths: Vec<_> = bodies.iter().map(|body| body.as_bytes().len()).collect();
        assert!(
            lengths[0] > lengths[1] && lengths[0] > lengths[2],
            "{lengths:?}"
        );
        let (imports, exports) = names(&rewritten);
        assert_eq!(imports, ["a.b"]);
        assert!(exports.contains(&("last".to_owned(), 1)), "{exports:?}");
        // Those that have nothing in common stay as they were.
        assert_eq!(rewrite(&rewritten, &same).expect("it is one"), rewritten);
    }

    #[test]
    fn what_has_another_name_is_imported_and_exported_by_it() {
        let other = [("b", "x"), ("first", "y"), ("absent", "z")];
        let other = other.map(|(long, short)| (long.to_owned(), short.to_owned()));
        let rewritten = rewrite(&module(), &BTreeMap::from(other)).expect("it is a module");
        wasmparser::validate(&rewritten).expect("it is valid");
        let (imports, exports) = names(&rewritten);
        assert_eq!(imports, ["a.x"]);
        let exports: Vec<_> = exports.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(exports, ["y", "last"]);
    }
}
