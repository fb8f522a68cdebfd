use crate::{PROTOCOL_VERSION, Scope, v1};

/// Why the other end's [`StreamBinding`](v1::StreamBinding) does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The other end speaks another major version.
    #[error(
        "the other end speaks version {theirs} of the protocol, this one version {PROTOCOL_VERSION}; update the older of the two"
    )]
    Version {
        /// The version it named.
        theirs: u32,
    },
    /// The other end is in another room or game.
    #[error(
        "the other end is in scope {theirs}, this one in {ours}; both need the same game and room"
    )]
    Scope {
        /// The scope it named, in hexadecimal.
        theirs: String,
        /// Our own.
        ours: Scope,
    },
}

impl v1::StreamBinding {
    /// The binding of a stream of this version in `scope`, whose protocol says what flows on it.
    pub fn new(scope: Scope) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            scope: scope.to_bytes(),
            ..Self::default()
        }
    }

    /// Looks whether the other end's binding, which this one is, goes with ours: the same version and the same scope.
    ///
    /// # Errors
    ///
    /// [`BindingError`], with what the other end said.
    pub fn verify(&self, ours: Scope) -> Result<(), BindingError> {
        if self.version != PROTOCOL_VERSION {
            return Err(BindingError::Version {
                theirs: self.version,
            });
        }
        if self.scope[..] != ours.as_bytes()[..] {
            let theirs = self
                .scope
                .iter()
                .take(ours.as_bytes().len())
                .map(|byte| format!("{byte:02x}"))
                .collect();
            return Err(BindingError::Scope { theirs, ours });
        }
        Ok(())
    }
}
