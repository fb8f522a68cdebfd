//! Loops that end, for devices that nobody takes back from a shader that hangs, as a browser's: each invocation is granted a number of rounds, and says when they are spent.
//!
//! WebGPU has barriers only where all invocations of a workgroup surely come along, and takes what a private variable holds for different in each. Functions with barriers
//! therefore count in a local variable for each of their loops, which is as uniform as the loop, and all others together in a private one.

use naga::{
    AddressSpace, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal,
    LocalVariable, Module, ResourceBinding, Scalar, Span, Statement, StorageAccess, Type,
    TypeInner,
};

use super::{WgslError, bounded, validate};

/// The binding of the number that is 1 once an invocation has spent its rounds, in group 0.
pub(crate) const SPENT: u32 = 4;

/// What matters of a function, with all that it calls.
#[derive(Clone, Copy, Default)]
struct Shape {
    has_barriers: bool,
    /// Each as often as its function is called.
    loops: u64,
}

/// The same module, in which an invocation goes through `rounds` rounds of loops, or some more of those with barriers around.
pub(super) fn limited(mut module: Module, rounds: u32) -> Result<Module, WgslError> {
    // A function calls only those before it.
    let mut shapes: Vec<Shape> = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        shapes.push(shape(&function.body, &shapes, false)?);
    }
    let mut all = Shape::default();
    for point in &module.entry_points {
        let own = shape(&point.function.body, &shapes, false)?;
        all.loops = all.loops.max(own.loops);
    }
    if all.loops == 0 {
        return Ok(module);
    }
    let counting = Counting::add(&mut module, rounds, all.loops);
    for (handle, function) in module.functions.iter_mut() {
        counting.count(function, shapes[handle.index()]);
    }
    for point in &mut module.entry_points {
        // The entry point was made to call another function, and does nothing else.
        counting.count(&mut point.function, Shape::default());
    }
    match validate(&module) {
        Ok(_) => Ok(module),
        Err(error) => Err(WgslError::Rounds {
            message: bounded(format!("{error:?}")),
        }),
    }
}

fn shape(body: &Block, callees: &[Shape], in_loop: bool) -> Result<Shape, WgslError> {
    let mut whole = Shape::default();
    for statement in body {
        let mut add = |part: Shape| {
            whole.has_barriers |= part.has_barriers;
            whole.loops = whole.loops.saturating_add(part.loops);
        };
        match statement {
            Statement::ControlBarrier(_)
            | Statement::MemoryBarrier(_)
            | Statement::WorkGroupUniformLoad { .. } => add(Shape {
                has_barriers: true,
                loops: 0,
            }),
            Statement::Call { function, .. } => {
                let called = callees.get(function.index()).copied().unwrap_or_default();
                if in_loop && called.has_barriers && called.loops > 0 {
                    // Its rounds would be counted anew each time.
                    let message = "a loop calls a function that has loops and barriers; write the function's code there";
                    return Err(WgslError::Rounds {
                        message: message.to_owned(),
                    });
                }
                add(called);
            }
            Statement::Block(inner) => add(shape(inner, callees, in_loop)?),
            Statement::If { accept, reject, .. } => {
                add(shape(accept, callees, in_loop)?);
                add(shape(reject, callees, in_loop)?);
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    add(shape(&case.body, callees, in_loop)?);
                }
            }
            Statement::Loop {
                body, continuing, ..
            } => {
                add(shape(body, callees, true)?);
                add(shape(continuing, callees, true)?);
                add(Shape {
                    has_barriers: false,
                    loops: 1,
                });
            }
            _ => {}
        }
    }
    Ok(whole)
}

/// What loops are counted with.
struct Counting {
    number: Handle<Type>,
    left: Handle<GlobalVariable>,
    spent: Handle<GlobalVariable>,
    /// For each loop of a function with barriers.
    each: u32,
}

impl Counting {
    fn add(module: &mut Module, rounds: u32, loops: u64) -> Self {
        let mut number = |inner| {
            let kind = Type { name: None, inner };
            module.types.insert(kind, Span::UNDEFINED)
        };
        let atomic = number(TypeInner::Atomic(Scalar::U32));
        let number = number(TypeInner::Scalar(Scalar::U32));
        let all = Expression::Literal(Literal::U32(rounds));
        let all = module.global_expressions.append(all, Span::UNDEFINED);
        let mut variable = |name: &str, space, binding, ty, init| {
            let variable = GlobalVariable {
                name: Some(name.to_owned()),
                space,
                binding,
                ty,
                init,
                memory_decorations: naga::MemoryDecorations::empty(),
            };
            module.global_variables.append(variable, Span::UNDEFINED)
        };
        let access = StorageAccess::LOAD | StorageAccess::STORE;
        let binding = ResourceBinding {
            group: 0,
            binding: SPENT,
        };
        let each = u64::from(rounds) / loops;
        Self {
            number,
            left: variable(
                "peercompute_left",
                AddressSpace::Private,
                None,
                number,
                Some(all),
            ),
            spent: variable(
                "peercompute_spent",
                AddressSpace::Storage { access },
                Some(binding),
                atomic,
                None,
            ),
            each: u32::try_from(each).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Has each loop of the function count.
    fn count(&self, function: &mut Function, shape: Shape) {
        if shape.loops > 0 {
            let mut body = std::mem::take(&mut function.body);
            self.walk(&mut body, function, shape.has_barriers);
            function.body = body;
        }
    }

    fn walk(&self, block: &mut Block, function: &mut Function, apart: bool) {
        for statement in block.iter_mut() {
            match statement {
                Statement::Block(inner) => self.walk(inner, function, apart),
                Statement::If { accept, reject, .. } => {
                    self.walk(accept, function, apart);
                    self.walk(reject, function, apart);
                }
                Statement::Switch { cases, .. } => {
                    for case in cases {
                        self.walk(&mut case.body, function, apart);
                    }
                }
                Statement::Loop {
                    body, continuing, ..
                } => {
                    self.walk(body, function, apart);
                    self.walk(continuing, function, apart);
                    let mut counted = self.round(function, apart);
                    counted.append(body);
                    *body = counted;
                }
                _ => {}
            }
        }
    }

    /// `if (left == 0) { spent = 1; break; } left -= 1;`
    fn round(&self, function: &mut Function, apart: bool) -> Block {
        let add = |function: &mut Function, expression| {
            function.expressions.append(expression, Span::UNDEFINED)
        };
        let number =
            |function: &mut Function, it| add(function, Expression::Literal(Literal::U32(it)));
        let (zero, one) = (number(function, 0), number(function, 1));
        let spent = add(function, Expression::GlobalVariable(self.spent));
        let left = if apart {
            let init = Some(number(function, self.each));
            let variable = LocalVariable {
                name: Some("peercompute_left".to_owned()),
                ty: self.number,
                init,
            };
            let variable = function.local_variables.append(variable, Span::UNDEFINED);
            add(function, Expression::LocalVariable(variable))
        } else {
            add(function, Expression::GlobalVariable(self.left))
        };
        let start = function.expressions.len();
        let now = add(function, Expression::Load { pointer: left });
        let binary = |function: &mut Function, op, right| {
            let left = now;
            add(function, Expression::Binary { op, left, right })
        };
        let is_over = binary(function, BinaryOperator::Equal, zero);
        let fewer = binary(function, BinaryOperator::Subtract, one);
        let evaluated = function.expressions.range_from(start);
        Block::from_vec(vec![
            Statement::Emit(evaluated),
            Statement::If {
                condition: is_over,
                accept: Block::from_vec(vec![
                    Statement::Store {
                        pointer: spent,
                        value: one,
                    },
                    Statement::Break,
                ]),
                reject: Block::new(),
            },
            Statement::Store {
                pointer: left,
                value: fewer,
            },
        ])
    }
}

#[cfg(test)]
mod tests {
    use crate::wgsl::{Checked, WgslError, WgslLimits, check};

    fn limited(source: &str) -> Result<Checked, WgslError> {
        let output = "@group(0) @binding(1) var<storage, read_write> output: array<u32>;";
        let source = format!("{output}\nvar<workgroup> shared_sum: array<u32, 64>;\n{source}");
        let checked = check(&source, "main", &WgslLimits::new());
        checked
            .unwrap_or_else(|error| panic!("{error}"))
            .with_rounds(1000)
    }

    #[test]
    fn loops_of_every_form_stay_valid() {
        for source in [
            "@compute @workgroup_size(1) fn main() { output[0] = 1u; }",
            "@compute @workgroup_size(1) fn main() { loop { output[0] += 1u; } }",
            "@compute @workgroup_size(1) fn main() { var i = 0u; loop { if (i > 3u) { continue; } continuing { i++; break if i == 9u; } } output[0] = i; }",
            "fn inner(n: u32) -> u32 { var sum = 0u; for (var i = 0u; i < n; i++) { while (sum < i) { sum += 2u; } } return sum; }
             @compute @workgroup_size(1) fn main() { for (var i = 0u; i < 4u; i++) { switch (i) { case 1u: { output[i] = inner(i); } default: { loop { break; } } } } }",
            "@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
                for (var half = 32u; half > 0u; half >>= 1u) { if (lane < half) { shared_sum[lane] += shared_sum[lane + half]; } workgroupBarrier(); }
                output[0] = shared_sum[0]; }",
        ] {
            let checked = limited(source);
            assert!(checked.is_ok(), "{source}: {checked:?}");
        }
    }

    #[test]
    fn rounds_that_would_be_counted_anew_are_refused() {
        let error = limited(
            "fn sum() { for (var i = 0u; i < 4u; i++) { workgroupBarrier(); } }
             @compute @workgroup_size(64) fn main() { loop { sum(); } }",
        );
        let error = error.expect_err("a loop calls a function with loops and barriers");
        assert!(
            error
                .to_string()
                .contains("write the function's code there"),
            "{error}"
        );
    }
}
