use std::{io, net::SocketAddr, path::PathBuf};

use peercompute_net::{IdentityFileError, ListenError, PeerId};

use crate::{CertificateError, ConfigError};

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder of the identity file cannot be made.
    #[error("{}: cannot make the folder for the identity file: {source}; name another file with --identity FILE or RELAY_IDENTITY_FILE", folder.display())]
    IdentityFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The identity file is damaged, or cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// The configuration names another peer id than the identity file gives.
    #[error(
        "relayPeerId is {expected}, but the relay's identity is {found}; restore the identity file that goes with it, or correct relayPeerId"
    )]
    OtherPeerId {
        /// What the configuration says.
        expected: PeerId,
        /// What the identity says.
        found: PeerId,
    },
    /// A certificate file cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The transport does not start.
    #[error(transparent)]
    Transport(#[from] peercompute_net::StartError),
    /// The relay cannot listen at an address.
    #[error("{error} (with {flag})")]
    Listen {
        /// Why, and at which address.
        error: Box<ListenError>,
        /// The flags that change the address.
        flag: &'static str,
    },
    /// The HTTP server cannot listen at its address.
    #[error(
        "{address} cannot be listened at for HTTP: {source}; choose another address with --http IP:PORT, or --http none"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The configuration for clients cannot be written.
    #[error("{}: cannot write the configuration for clients: {source}; check the folder, or name another file with --config-out FILE", file.display())]
    ConfigFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// Whether what the operator gave is at fault, arguments or a file, rather than what happened at run time.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Identity(
                IdentityFileError::Read { .. }
                | IdentityFileError::NotAFile { .. }
                | IdentityFileError::Invalid { .. },
            )
            | Self::OtherPeerId { .. }
            | Self::Certificate(_)
            | Self::Transport(_) => true,
            Self::Listen { error, .. } => matches!(**error, ListenError::Unsupported { .. }),
            _ => false,
        }
    }
}

/// Why [`run`](crate::run) did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The relay did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system's signals cannot be received.
    #[error("cannot wait for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
    /// The relay was told to stop at once while circuits were still open.
    #[error("stopped before the open circuits had ended")]
    Interrupted,
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl RunError {
    /// The exit status for a program: 2 where arguments or an input file are unusable, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(error) if error.is_usage() => 2,
            _ => 1,
        }
    }
}
