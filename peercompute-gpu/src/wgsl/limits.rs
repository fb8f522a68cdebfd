use super::{MAX_SOURCE, WgslError};

/// Expressions and statements of a shader with all its calls written out, unless its limits say otherwise. A driver's compiler takes some ten seconds and 200 MB for as many at worst.
pub const EXPANDED_EXPRESSIONS: u64 = 65_536;

/// What a shader may ask for. By default what every device with WebGPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WgslLimits {
    pub(super) source_bytes: usize,
    pub(super) workgroup_size: [u32; 3],
    pub(super) invocations: u32,
    pub(super) workgroup_bytes: u32,
    pub(super) private_bytes: u32,
    pub(super) binding_bytes: u32,
    pub(super) expanded_expressions: u64,
}

impl WgslLimits {
    /// 1 MiB of source, 256 × 256 × 64 and 256 invocations in a workgroup, 16 KiB for them to share, 16 KiB of variables for each of them,
    /// 128 MiB of declared buffers, and [`EXPANDED_EXPRESSIONS`].
    pub fn new() -> Self {
        Self {
            source_bytes: MAX_SOURCE,
            workgroup_size: [256, 256, 64],
            invocations: 256,
            workgroup_bytes: 16_384,
            private_bytes: 16_384,
            binding_bytes: 128 << 20,
            expanded_expressions: EXPANDED_EXPRESSIONS,
        }
    }

    /// Bytes of the shader's text, at most [`MAX_SOURCE`].
    #[must_use]
    pub fn with_source_bytes(self, source_bytes: usize) -> Self {
        Self {
            source_bytes: source_bytes.min(MAX_SOURCE),
            ..self
        }
    }

    /// Invocations in a workgroup.
    #[must_use]
    pub fn with_invocations(self, invocations: u32) -> Self {
        Self {
            invocations,
            ..self
        }
    }

    /// Bytes that the invocations of a workgroup share.
    #[must_use]
    pub fn with_workgroup_bytes(self, workgroup_bytes: u32) -> Self {
        Self {
            workgroup_bytes,
            ..self
        }
    }

    /// Bytes of the variables of one invocation.
    #[must_use]
    pub fn with_private_bytes(self, private_bytes: u32) -> Self {
        Self {
            private_bytes,
            ..self
        }
    }

    /// Bytes that a buffer may be declared to have at least.
    #[must_use]
    pub fn with_binding_bytes(self, binding_bytes: u32) -> Self {
        Self {
            binding_bytes,
            ..self
        }
    }

    /// Expressions and statements, those of a function counted anew wherever it is called: compilers put it there.
    #[must_use]
    pub fn with_expanded_expressions(self, expanded_expressions: u64) -> Self {
        Self {
            expanded_expressions,
            ..self
        }
    }

    pub(super) fn check(&self) -> Result<(), WgslError> {
        for (name, value) in [
            ("source_bytes", self.source_bytes as u64),
            ("invocations", self.invocations.into()),
            ("workgroup_bytes", self.workgroup_bytes.into()),
            ("private_bytes", self.private_bytes.into()),
            ("binding_bytes", self.binding_bytes.into()),
            ("expanded_expressions", self.expanded_expressions),
        ] {
            if value == 0 {
                return Err(WgslError::Zero { name });
            }
        }
        Ok(())
    }
}

impl Default for WgslLimits {
    fn default() -> Self {
        Self::new()
    }
}
