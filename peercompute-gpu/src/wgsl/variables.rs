//! What a shader may have variables for.

use naga::{AddressSpace, StorageAccess};

use super::{Parsed, WgslError, WgslLimits, short};

/// Bindings of a stranger's shader, in group 0.
pub(crate) const INPUT: u32 = 0;
pub(crate) const OUTPUT: u32 = 1;
pub(crate) const UNIFORM: u32 = 2;

/// Checks each variable, and gives the least sizes of the buffers.
pub(super) fn check_variables(
    parsed: &Parsed,
    limits: &WgslLimits,
) -> Result<[Option<u32>; 3], WgslError> {
    let module = &parsed.module;
    let context = module.to_ctx();
    let mut bindings = [None; 3];
    let mut shared = 0u64;
    let mut private = 0u64;
    for (_, variable) in module.global_variables.iter() {
        let name = || short(variable.name.as_deref().unwrap_or(""));
        let bytes = module.types[variable.ty].inner.size(context);
        let other = |kind: &'static str| WgslError::Variable { name: name(), kind };
        match variable.space {
            AddressSpace::WorkGroup => shared += u64::from(bytes),
            AddressSpace::Private | AddressSpace::Function => private += u64::from(bytes),
            AddressSpace::Storage { .. } | AddressSpace::Uniform => {
                let binding = variable.binding.ok_or_else(|| other("without a binding"))?;
                let wrong = |must: &'static str| WgslError::Binding {
                    name: name(),
                    group: binding.group,
                    binding: binding.binding,
                    must,
                };
                check_binding(binding, variable.space).map_err(wrong)?;
                if bytes > limits.binding_bytes {
                    return Err(WgslError::Memory {
                        what: "a declared buffer",
                        bytes: bytes.into(),
                        limit: limits.binding_bytes,
                    });
                }
                let slot = &mut bindings[binding.binding as usize];
                if slot.replace(bytes.max(4)).is_some() {
                    return Err(wrong("two variables have this place; give each its own"));
                }
            }
            AddressSpace::Handle => return Err(other("a texture or sampler")),
            _ => return Err(other("of another kind")),
        }
    }
    let local = |function: &naga::Function| -> u64 {
        let locals = function.local_variables.iter();
        let size = |ty| u64::from(module.types[ty].inner.size(context));
        locals.map(|(_, local)| size(local.ty)).sum()
    };
    // Nothing recurses, so that each function's variables are there once at most.
    private += module
        .functions
        .iter()
        .map(|(_, function)| local(function))
        .sum::<u64>();
    private += module
        .entry_points
        .iter()
        .map(|point| local(&point.function))
        .sum::<u64>();
    for (what, bytes, limit) in [
        ("workgroup variables", shared, limits.workgroup_bytes),
        ("variables of an invocation", private, limits.private_bytes),
    ] {
        if bytes > limit.into() {
            return Err(WgslError::Memory { what, bytes, limit });
        }
    }
    Ok(bindings)
}

fn check_binding(binding: naga::ResourceBinding, space: AddressSpace) -> Result<(), &'static str> {
    let writes = match space {
        AddressSpace::Storage { access } => Some(access.contains(StorageAccess::STORE)),
        _ => None,
    };
    match (binding.group, binding.binding, writes) {
        (0, INPUT, Some(false)) | (0, OUTPUT, Some(true)) | (0, UNIFORM, None) => Ok(()),
        (0, INPUT, _) => Err("binding 0 is the input, `var<storage, read>`"),
        (0, OUTPUT, _) => Err("binding 1 is the output, `var<storage, read_write>`"),
        (0, UNIFORM, _) => Err("binding 2 are the uniforms, `var<uniform>`"),
        _ => Err("only the bindings 0 (input), 1 (output) and 2 (uniforms) of group 0 are there"),
    }
}
