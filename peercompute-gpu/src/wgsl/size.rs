//! How much code a shader is once its calls are written out.

use naga::{Block, Module, Statement};

/// Expressions and statements of an entry point, with those of each function wherever it is called. What is too much to be counted is `u64::MAX`.
pub(super) fn expanded(module: &Module, entry: usize) -> u64 {
    // A function calls only those before it, so nothing recurses.
    let mut sizes: Vec<u64> = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        sizes.push(size(function, &sizes));
    }
    size(&module.entry_points[entry].function, &sizes)
}

fn size(function: &naga::Function, callees: &[u64]) -> u64 {
    let expressions = function.expressions.len() as u64;
    expressions.saturating_add(block(&function.body, callees))
}

fn block(body: &Block, callees: &[u64]) -> u64 {
    let sizes = body.iter().map(|statement| match statement {
        Statement::Call { function, .. } => {
            callees.get(function.index()).copied().unwrap_or(u64::MAX)
        }
        Statement::Block(inner) => block(inner, callees),
        Statement::If { accept, reject, .. } => {
            block(accept, callees).saturating_add(block(reject, callees))
        }
        Statement::Switch { cases, .. } => cases
            .iter()
            .map(|case| block(&case.body, callees))
            .fold(0, u64::saturating_add),
        Statement::Loop {
            body, continuing, ..
        } => block(body, callees).saturating_add(block(continuing, callees)),
        _ => 0,
    });
    sizes.fold(body.len() as u64, u64::saturating_add)
}
