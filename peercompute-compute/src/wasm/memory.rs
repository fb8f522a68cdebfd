//! The most memory that a module can get, written in the module itself: engines that grant memory by what a module declares then grant no more.

use wasmparser::{Parser, Payload};

use super::{
    check::invalid,
    nan::{leb, section},
};
use crate::ModuleError;

const PAGE: u64 = 64 << 10;
const MEMORY_SECTION: u8 = 5;

/// The module with a memory that grows to at most `most` bytes, in whole pages, and no further than it declares itself. It has been checked: it has one memory of its own, which begins with no more.
pub(super) fn clamp(module: &[u8], most: u64) -> Result<Vec<u8>, ModuleError> {
    let mut clamped = Vec::with_capacity(module.len() + 8);
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::Version { range, .. } => clamped.extend_from_slice(&module[range]),
            Payload::MemorySection(memories) => {
                let mut content = Vec::new();
                leb(&mut content, memories.count() as usize);
                for memory in memories {
                    let memory = memory.map_err(invalid)?;
                    let granted = (most / PAGE).max(memory.initial);
                    let maximum = memory.maximum.map_or(granted, |own| own.min(granted));
                    // What follows is both numbers.
                    content.push(1);
                    leb(&mut content, memory.initial as usize);
                    leb(&mut content, maximum as usize);
                }
                section(&mut clamped, MEMORY_SECTION, &content);
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    section(&mut clamped, id, &module[range]);
                }
            }
        }
    }
    Ok(clamped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::{check, features};

    fn memory(text: &str, most: u64) -> (u64, Option<u64>) {
        let module = wat::parse_str(text).expect("it is well-formed");
        let clamped = clamp(&module, most).expect("it is a module");
        check::validate(&clamped, features()).expect("it is valid");
        let mut found = None;
        for payload in Parser::new(0).parse_all(&clamped) {
            if let Payload::MemorySection(memories) = payload.expect("it is a module") {
                let memory = memories.into_iter().next().expect("it has one");
                let memory = memory.expect("it is a memory");
                assert!(found.is_none());
                found = Some((memory.initial, memory.maximum));
            }
        }
        found.expect("it has a memory")
    }

    #[test]
    fn a_memory_without_a_maximum_gets_one() {
        assert_eq!(memory("(module (memory 2))", 10 * PAGE), (2, Some(10)));
        assert_eq!(memory("(module (memory 2))", 11 * PAGE - 1), (2, Some(10)));
        assert_eq!(memory("(module (memory 2))", 0), (2, Some(2)));
        assert_eq!(memory("(module (memory 2))", 4 << 30), (2, Some(65536)));
    }

    #[test]
    fn a_maximum_is_lowered_and_never_raised() {
        assert_eq!(memory("(module (memory 1 3))", 10 * PAGE), (1, Some(3)));
        assert_eq!(memory("(module (memory 1 300))", 10 * PAGE), (1, Some(10)));
    }

    #[test]
    fn the_rest_of_the_module_stays_as_it_is() {
        let text = r#"(module (memory (export "memory") 1) (global i32 (i32.const 7)) (data (i32.const 8) "x")
            (func (export "run") (result i32) i32.const 5))"#;
        let module = wat::parse_str(text).expect("it is well-formed");
        let once = clamp(&module, 5 * PAGE).expect("it is a module");
        let declared = text.replace("\"memory\") 1)", "\"memory\") 1 5)");
        let declared = wat::parse_str(declared).expect("it is well-formed");
        assert_eq!(once, declared);
    }
}
