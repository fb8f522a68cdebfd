//! Builds what carries bytes: which kinds a node has is decided by the target alone.

use std::{error::Error, io};

use libp2p::{
    PeerId, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeoutError},
        upgrade::Version,
    },
    noise, relay, yamux,
};
use thiserror::Error;

use super::{Libp2pConfig, Libp2pLimits, StartError, muxer::Bounded, webrtc::WebrtcCarrier};

pub(crate) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// An error with its cause in reach. libp2p nests the errors of its layers in `Either`, which leaves its content out of the chain of causes.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Layer(#[source] io::Error);

impl Layer {
    fn timed<E: Error + Send + Sync + 'static>(error: TransportTimeoutError<E>) -> Self {
        Self(match error {
            TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            TransportTimeoutError::TimerError(error) => error,
            TransportTimeoutError::Other(error) => io::Error::other(error),
        })
    }
}

/// The largest WebSocket frame that is taken, in bytes: what the other end writes at once is a few frames of Noise, of 64 KiB each. libp2p's default would
/// let strangers fill 256 MiB before they have said who they are.
#[cfg(not(target_arch = "wasm32"))]
const MAX_WEBSOCKET_FRAME: usize = 2 * 1024 * 1024;

/// Windows grow by themselves with bandwidth and delay, from yamux's 256 KiB a stream.
pub(crate) fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(Libp2pLimits::STREAMS);
    config
}

fn security(config: &Libp2pConfig) -> Result<noise::Config, StartError> {
    noise::Config::new(config.identity.keypair()).map_err(|error| StartError::Security {
        reason: error.to_string(),
    })
}

/// Secures and multiplexes a transport of plain bytes.
macro_rules! upgraded {
    ($transport:expr, $security:expr, $config:expr) => {
        $transport
            .upgrade(Version::V1Lazy)
            .authenticate($security.clone())
            .multiplex(muxer())
            .timeout($config.dial_timeout)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Bounded::new(muxer))))
            .map_err(Layer::timed)
    };
}

/// TCP, QUIC and WebSocket, each by address or name, and circuits through relays.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn build(
    config: &Libp2pConfig,
    webrtc: WebrtcCarrier,
    relay: relay::client::Transport,
) -> Result<Carrier, StartError> {
    use libp2p::{quic, tcp, websocket};

    let security = security(config)?;
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).map_err(Layer);
    let quic = || {
        let mut settings = quic::Config::new(config.identity.keypair());
        settings.handshake_timeout = config.dial_timeout;
        settings.max_concurrent_stream_limit =
            u32::try_from(Libp2pLimits::STREAMS).unwrap_or(u32::MAX);
        quic::tokio::Transport::new(settings)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .map_err(quic_layer)
    };
    let mut websocket = websocket::Config::new(named::wrap(tcp));
    websocket
        .set_tls_config(tls(config)?)
        .set_max_data_size(MAX_WEBSOCKET_FRAME);
    // The circuits come first: TCP would take the address of the relay for that of the peer behind it. Names are resolved inside WebSocket, which has to
    // compare them with certificates.
    Ok(webrtc
        .map_err(Layer)
        .or_transport(upgraded!(relay, security, config))
        .map(|either, _| either.into_inner())
        .or_transport(upgraded!(websocket, security, config))
        .map(|either, _| either.into_inner())
        .or_transport(named::wrap(|| {
            upgraded!(tcp(), security, config)
                .or_transport(quic())
                .map(|either, _| either.into_inner())
        }))
        .map(|either, _| either.into_inner())
        .boxed())
}

/// WebSocket, and circuits through relays.
#[cfg(target_arch = "wasm32")]
pub(crate) fn build(
    config: &Libp2pConfig,
    webrtc: WebrtcCarrier,
    relay: relay::client::Transport,
) -> Result<Carrier, StartError> {
    let security = security(config)?;
    let websocket = libp2p::websocket_websys::Transport::default()
        .map(|connection, _| super::websocket::Watched::new(connection));
    Ok(webrtc
        .map_err(Layer)
        .or_transport(upgraded!(relay, security, config))
        .map(|either, _| either.into_inner())
        .or_transport(upgraded!(websocket, security, config))
        .map(|either, _| either.into_inner())
        .boxed())
}

#[cfg(not(target_arch = "wasm32"))]
fn quic_layer(error: libp2p::quic::Error) -> Layer {
    use libp2p::quic::Error;
    Layer(match error {
        Error::HandshakeTimedOut => io::ErrorKind::TimedOut.into(),
        Error::Io(error) => error,
        Error::Connection(error) => {
            // The kind of failure is not public, only its text is.
            let text = error.to_string();
            let kind = match text.as_str() {
                "timed out" => io::ErrorKind::TimedOut,
                _ if text.contains("by peer") => io::ErrorKind::ConnectionReset,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, text)
        }
        error => io::Error::other(error),
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn tls(config: &Libp2pConfig) -> Result<libp2p::websocket::tls::Config, StartError> {
    use libp2p::websocket::tls::{Certificate, Config, PrivateKey};
    use rustls_pki_types::PrivateKeyDer;

    let invalid = |error: &dyn std::fmt::Display| StartError::Certificate {
        reason: error.to_string(),
    };
    let mut builder = Config::builder();
    for trusted in &config.trusted_certificates {
        builder
            .add_trust(&Certificate::new(trusted.clone()))
            .map_err(|error| invalid(&error))?;
    }
    if let Some(certificate) = &config.tls {
        // libp2p panics on a key that is none.
        PrivateKeyDer::try_from(certificate.key.as_slice()).map_err(|error| invalid(&error))?;
        let chain = certificate.chain.iter().cloned().map(Certificate::new);
        builder
            .server(PrivateKey::new(certificate.key.clone()), chain)
            .map_err(|error| invalid(&error))?;
    }
    Ok(builder.finish())
}

/// The resolution of names.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod named {
    use std::error::Error;

    use libp2p::{
        Transport,
        core::transport::map_err::MapErr,
        dns::{self, ResolverConfig, ResolverOpts},
    };
    use thiserror::Error;

    type Named<T> = MapErr<dns::tokio::Transport<T>, Convert<<T as Transport>::Error>>;
    type Convert<E> = fn(dns::Error<E>) -> Failure<E>;

    /// Resolves names with the system's servers, or with none where the system names none: addresses work without.
    pub(crate) fn wrap<T>(make: impl Fn() -> T) -> Named<T>
    where
        T: Transport + Send + Unpin + 'static,
        T::Error: Send,
        T::Dial: Send,
    {
        let transport = dns::tokio::Transport::system(make()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's name servers are unknown: names cannot be resolved");
            let (config, options) = (ResolverConfig::default(), ResolverOpts::default());
            dns::tokio::Transport::custom(make(), config, options)
        });
        transport.map_err(Failure::from_dns as fn(_) -> _)
    }

    /// What went wrong, with the cause in reach.
    #[derive(Debug, Error)]
    pub(crate) enum Failure<E: Error + 'static> {
        #[error("{0}")]
        Carrier(#[source] E),
        #[error("{0}")]
        Name(#[source] NameFailure),
    }

    #[derive(Debug, Error)]
    pub(crate) enum NameFailure {
        /// No transport takes the address that a name, or an address without names, leads to.
        #[error("this node has no transport for {0}")]
        Unsupported(crate::Multiaddr),
        #[error("the name cannot be resolved: {0}")]
        Unknown(String),
    }

    impl<E: Error + 'static> Failure<E> {
        fn from_dns(error: dns::Error<E>) -> Self {
            match error {
                dns::Error::Transport(error) => Self::Carrier(error),
                dns::Error::MultiaddrNotSupported(address) => {
                    Self::Name(NameFailure::Unsupported(address))
                }
                dns::Error::ResolveError(error) => {
                    Self::Name(NameFailure::Unknown(error.to_string()))
                }
                dns::Error::TooManyLookups => {
                    Self::Name(NameFailure::Unknown("it leads to too many others".into()))
                }
                // Of several addresses the last one tried speaks for all.
                dns::Error::Dial(mut errors) => match errors.pop() {
                    Some(error) => Self::from_dns(error),
                    None => Self::Name(NameFailure::Unknown("it leads nowhere".into())),
                },
            }
        }
    }
}
