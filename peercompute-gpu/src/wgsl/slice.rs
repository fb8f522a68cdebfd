//! Running a dispatch in slices. Devices begin to count workgroups at 0, so the shader is wrapped: it learns from a uniform where the slice
//! begins and how many workgroups there are in all, and its entry point sees what it would see in one dispatch.

use naga::{
    AddressSpace, BinaryOperator, Binding, BuiltIn, EntryPoint, Expression, Function, Handle,
    Literal, Module, ResourceBinding, Scalar, Span, Statement, StructMember, Type, TypeInner,
    VectorSize,
};

use super::{bounded, validate};

/// The binding of the uniform, in group 0: two vectors of three `u32`, 16 bytes each.
pub(crate) const SLICE: u32 = 3;

/// Some of the workgroups of a dispatch: a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first of them along each axis.
    pub offset: [u32; 3],
    /// How many along each axis.
    pub size: [u32; 3],
}

/// The workgroups of a dispatch, slice by slice.
#[derive(Clone, Debug)]
pub struct Slices {
    total: [u64; 3],
    done: u64,
}

impl Slices {
    /// All workgroups of a dispatch.
    pub fn new(workgroups: [u32; 3]) -> Self {
        Self {
            total: workgroups.map(u64::from),
            done: 0,
        }
    }

    /// The next slice, of at most `most` workgroups, or of 1 if that is 0; `None` after the last.
    pub fn next(&mut self, most: u64) -> Option<Slice> {
        let most = most.max(1);
        let [x, y, z] = self.total;
        // Saturated, it has more workgroups than ever end.
        let plane = x * y;
        if self.done >= plane.saturating_mul(z) {
            return None;
        }
        let (column, row, layer) = (self.done % x, self.done / x % y, self.done / plane);
        let size = if column != 0 || most < x {
            [most.min(x - column), 1, 1]
        } else if row != 0 || most < plane {
            [x, (most / x).min(y - row), 1]
        } else {
            [x, y, (most / plane).min(z - layer)]
        };
        self.done += size[0] * size[1] * size[2];
        Some(Slice {
            offset: [column, row, layer].map(|at| at as u32),
            size: size.map(|side| side as u32),
        })
    }
}

/// The shader with one entry point, `main`, which calls the given one with the numbers of a slice's workgroups.
pub(super) fn sliced(mut module: Module, entry: usize) -> Result<Module, String> {
    let point = module.entry_points.swap_remove(entry);
    module.entry_points.clear();
    let vector = module.types.insert(
        Type {
            name: None,
            inner: TypeInner::Vector {
                size: VectorSize::Tri,
                scalar: Scalar::U32,
            },
        },
        Span::UNDEFINED,
    );
    let member = |name: &str, offset| StructMember {
        name: Some(name.to_owned()),
        ty: vector,
        binding: None,
        offset,
    };
    let slice = module.types.insert(
        Type {
            name: Some("PeercomputeSlice".to_owned()),
            inner: TypeInner::Struct {
                members: vec![member("first", 0), member("all", 16)],
                span: 32,
            },
        },
        Span::UNDEFINED,
    );
    let variable = module.global_variables.append(
        naga::GlobalVariable {
            name: Some("peercompute_slice".to_owned()),
            space: AddressSpace::Uniform,
            binding: Some(ResourceBinding {
                group: 0,
                binding: SLICE,
            }),
            ty: slice,
            init: None,
            memory_decorations: naga::MemoryDecorations::empty(),
        },
        Span::UNDEFINED,
    );
    let mut wrapped = point.function;
    let arguments = wrapped.arguments.clone();
    for argument in &mut wrapped.arguments {
        argument.binding = None;
    }
    wrapped.name = Some("peercompute_wrapped".to_owned());
    let members: Vec<Vec<Option<Binding>>> = arguments
        .iter()
        .map(|argument| match &module.types[argument.ty].inner {
            TypeInner::Struct { members, .. } if argument.binding.is_none() => members
                .iter()
                .map(|member| member.binding.clone())
                .collect(),
            _ => Vec::new(),
        })
        .collect();
    let called = module.functions.append(wrapped, Span::UNDEFINED);

    let mut function = Function {
        name: Some("main".to_owned()),
        arguments: arguments.clone(),
        ..Function::default()
    };
    // Expressions that need no evaluation come first: the others are evaluated in one range.
    let add = |function: &mut Function, expression| -> Handle<Expression> {
        function.expressions.append(expression, Span::UNDEFINED)
    };
    let global = add(&mut function, Expression::GlobalVariable(variable));
    let sizes = point
        .workgroup_size
        .map(|side| add(&mut function, Expression::Literal(Literal::U32(side))));
    let given: Vec<_> = (0..arguments.len() as u32)
        .map(|index| add(&mut function, Expression::FunctionArgument(index)))
        .collect();
    let start = function.expressions.len();
    let field = |function: &mut Function, index| {
        let pointer = add(
            function,
            Expression::AccessIndex {
                base: global,
                index,
            },
        );
        add(function, Expression::Load { pointer })
    };
    let first = field(&mut function, 0);
    let all = field(&mut function, 1);
    let size = add(
        &mut function,
        Expression::Compose {
            ty: vector,
            components: sizes.to_vec(),
        },
    );
    let binary = |function: &mut Function, op, left, right| {
        add(function, Expression::Binary { op, left, right })
    };
    let skipped = binary(&mut function, BinaryOperator::Multiply, first, size);
    let seen = |function: &mut Function, binding: Option<&Binding>, value| match binding {
        Some(Binding::BuiltIn(BuiltIn::WorkGroupId)) => {
            binary(function, BinaryOperator::Add, value, first)
        }
        Some(Binding::BuiltIn(BuiltIn::GlobalInvocationId)) => {
            binary(function, BinaryOperator::Add, value, skipped)
        }
        Some(Binding::BuiltIn(BuiltIn::NumWorkGroups)) => all,
        _ => value,
    };
    let mut passed = Vec::new();
    for ((argument, given), members) in arguments.iter().zip(given).zip(&members) {
        let value = if members.is_empty() {
            seen(&mut function, argument.binding.as_ref(), given)
        } else {
            let mut components = Vec::new();
            for (index, binding) in (0..).zip(members) {
                let base = given;
                let part = add(&mut function, Expression::AccessIndex { base, index });
                components.push(seen(&mut function, binding.as_ref(), part));
            }
            let ty = argument.ty;
            add(&mut function, Expression::Compose { ty, components })
        };
        passed.push(value);
    }
    let evaluated = function.expressions.range_from(start);
    function
        .body
        .push(Statement::Emit(evaluated), Span::UNDEFINED);
    function.body.push(
        Statement::Call {
            function: called,
            arguments: passed,
            result: None,
        },
        Span::UNDEFINED,
    );
    function
        .body
        .push(Statement::Return { value: None }, Span::UNDEFINED);
    module.entry_points.push(EntryPoint {
        name: "main".to_owned(),
        function,
        ..point
    });
    match validate(&module) {
        Ok(_) => Ok(module),
        Err(error) => Err(bounded(format!("{error:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_cover_each_workgroup_once(total in prop::array::uniform3(0u32..7), sizes in prop::collection::vec(0u64..60, 1..20)) {
            let mut slices = Slices::new(total);
            let mut seen = BTreeSet::new();
            for most in sizes.into_iter().cycle() {
                let Some(Slice { offset, size }) = slices.next(most) else { break };
                prop_assert!(u64::from(size[0] * size[1] * size[2]) <= most.max(1));
                for z in 0..size[2] {
                    for y in 0..size[1] {
                        for x in 0..size[0] {
                            let at = [offset[0] + x, offset[1] + y, offset[2] + z];
                            prop_assert!((0..3).all(|axis| at[axis] < total[axis]));
                            prop_assert!(seen.insert(at), "{:?} twice", at);
                        }
                    }
                }
            }
            prop_assert_eq!(seen.len() as u32, total[0] * total[1] * total[2]);
        }
    }

    fn wrap(main: &str) -> Module {
        let source = format!(
            "@group(0) @binding(1) var<storage, read_write> output: array<u32>;
            struct Where {{ @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(num_workgroups) all: vec3<u32> }}
            {main}"
        );
        let parsed = crate::wgsl::parse(&source).unwrap_or_else(|text| panic!("{text}"));
        sliced(parsed.module, 0).expect("it stays valid")
    }

    #[test]
    fn entry_points_of_every_form_stay_valid() {
        for main in [
            "@compute @workgroup_size(4) fn main() { output[0] = 1u; }",
            "@compute @workgroup_size(4, 2, 3) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>) { output[id.x] = l.x; }",
            "@compute @workgroup_size(4) fn main(place: Where, @builtin(global_invocation_id) id: vec3<u32>) { output[place.group.x + place.lane] = place.all.x + id.z; }",
            "var<workgroup> w: array<atomic<u32>, 4>; @compute @workgroup_size(4) fn main(place: Where) { atomicAdd(&w[place.lane], 1u); workgroupBarrier(); if (place.lane > 2u) { return; } output[place.lane] = atomicLoad(&w[0]); }",
        ] {
            let module = wrap(main);
            assert_eq!(module.entry_points.len(), 1, "{main}");
            assert_eq!(module.entry_points[0].name, "main");
        }
    }
}
