//! Builds what carries bytes: which one a node has is decided by the target alone.

use libp2p::{
    PeerId, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    noise, relay, yamux,
};

use super::{Libp2pConfig, Libp2pLimits, StartError};

pub(crate) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// Windows grow by themselves with bandwidth and delay, from yamux's 256 KiB a stream.
fn muxer() -> yamux::Config {
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
    ($transport:expr, $config:expr) => {
        $transport
            .upgrade(Version::V1Lazy)
            .authenticate(security($config)?)
            .multiplex(muxer())
            .timeout($config.dial_timeout)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
    };
}

/// TCP, QUIC and WebSocket, each by address or name, and circuits through relays.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn build(
    config: &Libp2pConfig,
    relay: relay::client::Transport,
) -> Result<Carrier, StartError> {
    use libp2p::{quic, tcp, websocket};

    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let quic = {
        let mut settings = quic::Config::new(config.identity.keypair());
        settings.handshake_timeout = config.dial_timeout;
        settings.max_concurrent_stream_limit =
            u32::try_from(Libp2pLimits::STREAMS).unwrap_or(u32::MAX);
        quic::tokio::Transport::new(settings)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
    };
    let websocket = {
        let mut websocket = websocket::Config::new(named(tcp()));
        websocket.set_tls_config(tls(config)?);
        websocket
    };
    // The circuits come first: TCP would take the address of the relay for that of the peer behind it. Names are resolved inside WebSocket, which has to
    // compare them with certificates.
    Ok(upgraded!(relay, config)
        .or_transport(upgraded!(websocket, config))
        .map(|either, _| either.into_inner())
        .or_transport(named(
            upgraded!(tcp(), config)
                .or_transport(quic)
                .map(|either, _| either.into_inner()),
        ))
        .map(|either, _| either.into_inner())
        .boxed())
}

/// WebSocket, and circuits through relays.
#[cfg(target_arch = "wasm32")]
pub(crate) fn build(
    config: &Libp2pConfig,
    relay: relay::client::Transport,
) -> Result<Carrier, StartError> {
    let websocket = libp2p::websocket_websys::Transport::default();
    Ok(upgraded!(relay, config)
        .or_transport(upgraded!(websocket, config))
        .map(|either, _| either.into_inner())
        .boxed())
}

/// Resolves names with the system's servers, or with none where the system names none: addresses work without.
#[cfg(not(target_arch = "wasm32"))]
fn named<T>(transport: T) -> libp2p::dns::tokio::Transport<T> {
    use libp2p::dns::{ResolverConfig, ResolverOpts, tokio::Transport};

    // The system's settings are read by what takes the transport; a trial run on nothing keeps the transport for the second choice.
    if let Err(error) = Transport::system(()) {
        tracing::warn!(%error, "the system's name servers are unknown: names cannot be resolved");
        return Transport::custom(
            transport,
            ResolverConfig::default(),
            ResolverOpts::default(),
        );
    }
    match Transport::system(transport) {
        Ok(transport) => transport,
        Err(_) => unreachable!("the system's settings were readable just before"),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn tls(config: &Libp2pConfig) -> Result<libp2p::websocket::tls::Config, StartError> {
    use libp2p::websocket::tls::{Certificate, Config, PrivateKey};

    let Some(certificate) = &config.tls else {
        return Ok(Config::client());
    };
    let chain = certificate.chain.iter().cloned().map(Certificate::new);
    Config::new(PrivateKey::new(certificate.key.clone()), chain).map_err(|error| {
        StartError::Certificate {
            reason: error.to_string(),
        }
    })
}
