use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use peercompute_rt::{Runtime, Task};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{self, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{HTTP_CONNECTION_TIMEOUT, steady::Steady};
use crate::ServerCertificate;

/// HTTP connections that are served at the same time.
pub const MAX_HTTP_CONNECTIONS: usize = 64;

/// How many of them one IPv4 address, or one IPv6 network of 64 bits, has at most. This machine itself may have all: a proxy on it speaks for many.
pub const MAX_HTTP_CONNECTIONS_PER_ADDRESS: usize = 16;

/// How long a client may take for the TLS handshake, and to send the head of its request.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take nothing of an answer.
pub const HTTP_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes. No request here has a body that would be read.
pub const MAX_HTTP_HEAD: usize = 16 * 1024;

/// Header lines of a request at most.
const MAX_HEADERS: usize = 64;

/// How long the server waits before it accepts again after the system refused it a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What TLS begins with, and no HTTP request: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// How an [`HttpServer`] serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// How long a connection lasts at most, from its first byte to its last. Default: [`HTTP_CONNECTION_TIMEOUT`].
    pub limit: Duration,
    /// With one the server speaks HTTPS (TLS 1.3), and sends whoever speaks HTTP there. Default: none.
    pub certificate: Option<ServerCertificate>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            limit: HTTP_CONNECTION_TIMEOUT,
            certificate: None,
        }
    }
}

/// A running HTTP/1.1 server; dropping it closes the listener and every connection. Each connection answers one request and is bounded in size and time. At most [`MAX_HTTP_CONNECTIONS`] are
/// open, later ones wait in the system's queue; those of one address beyond [`MAX_HTTP_CONNECTIONS_PER_ADDRESS`] are closed.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    _accepting: Task<()>,
}

impl HttpServer {
    /// Listens at `address` and serves until it is dropped.
    ///
    /// # Errors
    ///
    /// What the system says, for one when the port is taken.
    pub async fn start(
        runtime: &Runtime,
        address: SocketAddr,
        router: Router,
        options: HttpOptions,
    ) -> io::Result<Self> {
        Self::start_shared(runtime, address, router, options, share).await
    }

    async fn start_shared(
        runtime: &Runtime,
        address: SocketAddr,
        router: Router,
        options: HttpOptions,
        share: Share,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let service = Service {
            router,
            limit: options.limit,
            tls: options.certificate.map(|it| it.for_https().into()),
        };
        let accepting = runtime.spawn(accept(listener, service, share));
        Ok(Self {
            address,
            _accepting: accepting,
        })
    }

    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// By what those who share places are known; none for who shares with nobody.
type Share = fn(IpAddr) -> Option<IpAddr>;

fn share(from: IpAddr) -> Option<IpAddr> {
    match from.to_canonical() {
        from if from.is_loopback() => None,
        // One subscriber has all addresses of such a network.
        IpAddr::V6(from) => {
            Some(Ipv6Addr::from_bits(from.to_bits() & !u128::from(u64::MAX)).into())
        }
        from => Some(from),
    }
}

async fn accept(listener: TcpListener, service: Service, share: Share) {
    let mut connections = JoinSet::new();
    let mut holders: HashMap<task::Id, Option<IpAddr>> = HashMap::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_HTTP_CONNECTIONS => match accepted {
                Ok((stream, from)) => {
                    let holder = share(from.ip());
                    let held = holders.values().filter(|it| **it == holder).count();
                    if holder.is_some() && held >= MAX_HTTP_CONNECTIONS_PER_ADDRESS {
                        tracing::debug!(%from, "too many HTTP connections of one address");
                        continue;
                    }
                    let served = connections.spawn(serve(stream, service.clone()));
                    holders.insert(served.id(), holder);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                holders.remove(&id);
            }
        }
    }
}

#[derive(Clone)]
struct Service {
    router: Router,
    limit: Duration,
    tls: Option<TlsAcceptor>,
}

async fn serve(stream: TcpStream, service: Service) {
    match timeout(service.limit, service.answer(stream)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection failed"),
        Err(_elapsed) => tracing::debug!("HTTP connection took too long"),
    }
}

impl Service {
    async fn answer(self, stream: TcpStream) -> io::Result<()> {
        let Some(tls) = self.tls else {
            return exchange(Steady::new(stream), self.router).await;
        };
        let mut first = [0];
        timeout(HTTP_HEAD_TIMEOUT, stream.peek(&mut first)).await??;
        if first != [TLS_HANDSHAKE] {
            let elsewhere = Router::new().fallback(to_https);
            return exchange(Steady::new(stream), elsewhere).await;
        }
        let stream = timeout(HTTP_HEAD_TIMEOUT, tls.accept(Steady::new(stream))).await??;
        exchange(stream, self.router).await
    }
}

async fn exchange<S>(stream: S, router: Router) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(MAX_HTTP_HEAD)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(io::Error::other)
}

/// Sends whoever has left `https://` out to the same place with it.
async fn to_https(headers: HeaderMap, place: Uri) -> Response {
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let Some(host) = host.and_then(|it| it.parse::<Authority>().ok()) else {
        return (StatusCode::BAD_REQUEST, "only HTTPS is served here\n").into_response();
    };
    let path = place.path_and_query().map_or("/", |it| it.as_str());
    let there = format!("https://{host}{path}");
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, there)]).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{body::Bytes, routing::get};
    use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::Instant,
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::certificate::tests::localhost;

    /// More than the system keeps of it for a reader who does not read.
    const LARGE: usize = 64 << 20;

    async fn server(options: HttpOptions, share: Share) -> HttpServer {
        let large = Bytes::from(vec![0; LARGE]);
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/large", get(async move || large.clone()));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        HttpServer::start_shared(&Runtime::tokio(), address, router, options, share)
            .await
            .unwrap()
    }

    async fn asked(server: &HttpServer, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:80\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(mut stream: impl AsyncRead + Unpin) -> String {
        let mut answer = Vec::new();
        // Who is cut off may have something unread.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_loses_the_connection() {
        let options = HttpOptions {
            limit: 1000 * HTTP_STALL_TIMEOUT,
            certificate: None,
        };
        let server = server(options, share).await;
        let start = Instant::now();
        let mut idle = Vec::new();
        for _ in 0..MAX_HTTP_CONNECTIONS {
            idle.push(asked(&server, "/large").await);
        }
        assert!(answer(asked(&server, "/").await).await.ends_with("here"));
        // On paused time, which goes on as soon as nothing else can run.
        assert!(start.elapsed() < 10 * HTTP_STALL_TIMEOUT);
        assert!(answer(idle.remove(0)).await.len() < LARGE);
    }

    #[tokio::test]
    async fn one_address_does_not_get_all_places() {
        let server = server(HttpOptions::default(), Some).await;
        let mut held = Vec::new();
        for _ in 0..MAX_HTTP_CONNECTIONS_PER_ADDRESS {
            held.push(asked(&server, "/large").await);
        }
        assert_eq!(answer(asked(&server, "/").await).await, "");
        drop(held);
        while answer(asked(&server, "/").await).await.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_subscriber_shares_places_with_himself_and_this_machine_with_nobody() {
        let share = |text: &str| share(text.parse().unwrap()).map(|it| it.to_string());
        assert_eq!(share("127.0.0.1"), None);
        assert_eq!(share("::1"), None);
        assert_eq!(share("::ffff:127.0.0.1"), None);
        assert_eq!(share("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(share("::ffff:10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(
            share("2001:db8:1:2:3:4:5:6").as_deref(),
            Some("2001:db8:1:2::")
        );
    }

    #[tokio::test]
    async fn with_a_certificate_the_same_is_served_encrypted() {
        let (certificate, trusted) = localhost();
        let options = HttpOptions {
            certificate: Some(certificate),
            ..HttpOptions::default()
        };
        let server = server(options, share).await;
        let mut roots = RootCertStore::empty();
        roots.add(trusted.into()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client))
            .connect(name, stream)
            .await
            .unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let said = answer(stream).await;
        assert!(
            said.starts_with("HTTP/1.1 200") && said.ends_with("here"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn who_leaves_https_out_is_sent_there() {
        let options = HttpOptions {
            certificate: Some(localhost().0),
            ..HttpOptions::default()
        };
        let server = server(options, share).await;
        let said = answer(asked(&server, "/large?a=b").await).await;
        assert!(said.starts_with("HTTP/1.1 307"), "{said}");
        assert!(
            said.contains("location: https://localhost:80/large?a=b\r\n"),
            "{said}"
        );
    }
}
