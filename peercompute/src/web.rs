//! The page by which a browser becomes a worker of the room: `node --web`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as Named, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use peercompute_net::{Multiaddr, PeerId, multiaddr::Protocol};
use peercompute_relay::HttpServer;
use peercompute_rt::Runtime;
use serde::Serialize;

use crate::failure::Failure;

/// The environment variable that names the folder with the pages, and the option.
const FOLDER: &str = "PEERCOMPUTE_WEB_FOLDER";

/// The file without which a folder does not hold the pages.
const PAGE: &str = "lend.html";

/// How long a browser may take to fetch a file.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// What is served of a folder: more files, or larger ones, are not of the package.
const MAX_FILES: usize = 256;
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The pages, as they were when the node started.
pub(crate) struct Pages {
    files: BTreeMap<String, Bytes>,
}

/// What the page has to know of its node.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeConfig {
    game_id: String,
    /// None in a private room, whose password the page asks for.
    room_id: Option<String>,
    peer_id: String,
    port: u16,
    secure: bool,
}

impl NodeConfig {
    /// Of the node that browsers reach by WebSocket at one of `addresses`; none if there is no such address.
    pub(crate) fn new(
        game: &str,
        room: Option<&str>,
        peer: PeerId,
        addresses: &[Multiaddr],
    ) -> Option<Self> {
        let port = addresses.iter().find_map(web_socket_port)?;
        Some(Self {
            game_id: game.to_owned(),
            room_id: room.map(str::to_owned),
            peer_id: peer.to_string(),
            port,
            secure: false,
        })
    }
}

/// Reads what `--web` says: an address with a port, or a port alone for all of the machine's addresses.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match (text.parse(), port.parse()) {
        (Ok(address), _) => Ok(address),
        (_, Ok(port)) => Ok(SocketAddr::from(([0; 4], port))),
        _ => Err("it is neither an IP address with a port nor a port; write for example 192.168.0.2:8080, or 8080".to_owned()),
    }
}

/// Where a page that is served at `address` is found: at each of this machine's own addresses, if it is served at all of them.
pub(crate) fn urls(address: SocketAddr, reachable: &[Multiaddr]) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![format!("http://{address}/")];
    }
    let ip = |address: &Multiaddr| {
        address.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
            Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        })
    };
    // Those that others can open come first.
    let ips: BTreeSet<_> = reachable.iter().filter_map(ip).collect();
    let mut ips: Vec<_> = ips.into_iter().collect();
    ips.sort_by_key(IpAddr::is_loopback);
    let alike = ips.iter().filter(|ip| ip.is_ipv4() || address.is_ipv6());
    alike
        .map(|ip| format!("http://{}/", SocketAddr::new(*ip, address.port())))
        .collect()
}

/// The port of an address at which this machine itself listens for WebSockets.
fn web_socket_port(address: &Multiaddr) -> Option<u16> {
    let mut port = None;
    for part in address {
        match part {
            Protocol::Tcp(tcp) => port = Some(tcp),
            Protocol::Ws(_) => return port,
            Protocol::P2pCircuit | Protocol::Tls => return None,
            _ => {}
        }
    }
    None
}

impl Pages {
    /// Reads the pages: from `folder` if one is given, otherwise from where they are installed or were built.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, Failure> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => installed().into_iter().find(|it| it.join(PAGE).is_file()).ok_or_else(|| {
                Failure::usage(format!(
                    "--web: the pages are not installed beside this program; build them with `cargo xtask web` in the sources, and name their folder with --web-folder or {FOLDER}"
                ))
            })?,
        };
        let unusable = |error: io::Error| {
            Failure::usage(format!("--web-folder {}: {error}", folder.display()))
        };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let metadata = entry.metadata().map_err(unusable)?;
            let is_page = metadata.is_file() && metadata.len() <= MAX_FILE_BYTES;
            if let (true, Ok(name)) = (is_page, entry.file_name().into_string()) {
                files.insert(name, fs::read(entry.path()).map_err(unusable)?.into());
            }
            if files.len() > MAX_FILES {
                return Err(Failure::usage(format!(
                    "--web-folder {}: more than {MAX_FILES} files are in it; name the folder that `cargo xtask web` makes",
                    folder.display()
                )));
            }
        }
        if !files.contains_key(PAGE) {
            return Err(Failure::usage(format!(
                "--web-folder {}: there is no {PAGE} in it; name the folder that `cargo xtask web` makes",
                folder.display()
            )));
        }
        Ok(Self { files })
    }

    /// Serves them at `address`.
    pub(crate) async fn serve(
        self,
        address: SocketAddr,
        config: NodeConfig,
    ) -> Result<HttpServer, Failure> {
        let state = Arc::new((self, config));
        let router = Router::new()
            .route("/", get(index))
            .route("/node.json", get(node))
            .route("/{file}", get(file))
            .with_state(state);
        let started = HttpServer::start(&Runtime::tokio(), address, router, FETCH_LIMIT).await;
        started.map_err(|error| {
            Failure::run(format!(
                "cannot serve pages at {address}: {error}; choose another address with --web"
            ))
        })
    }
}

/// Where the pages are when nobody says where: what the environment names, beside the program, and where `cargo xtask web` puts them.
fn installed() -> Vec<PathBuf> {
    let named = env::var_os(FOLDER).filter(|it| !it.is_empty());
    let mut folders: Vec<PathBuf> = named.map(PathBuf::from).into_iter().collect();
    if let Some(beside) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend(["web", "../web", "../share/peercompute/web"].map(|it| beside.join(it)));
    }
    folders
}

type Served = State<Arc<(Pages, NodeConfig)>>;

/// What holds for all answers: nobody guesses types, and pages load nothing from elsewhere.
const GUARDED: [(HeaderName, &str); 4] = [
    (header::VARY, "accept-encoding"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-cache"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: wss:; img-src 'self' data:; frame-ancestors 'none'",
    ),
];

async fn index(state: Served, headers: HeaderMap) -> Response {
    file(state, Named(PAGE.to_owned()), headers).await
}

async fn node(State(state): Served) -> impl IntoResponse {
    (GUARDED, Json(state.1.clone()))
}

async fn file(State(state): Served, Named(name): Named<String>, headers: HeaderMap) -> Response {
    let files = &state.0.files;
    let Some(whole) = files.get(&name) else {
        let said = format!("there is no {name} here\n");
        return (StatusCode::NOT_FOUND, GUARDED, said).into_response();
    };
    let kind = [(header::CONTENT_TYPE, content_type(&name))];
    match files
        .get(&format!("{name}.gz"))
        .filter(|_| takes_gzip(&headers))
    {
        Some(gzipped) => {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            (GUARDED, kind, encoding, gzipped.clone()).into_response()
        }
        None => (GUARDED, kind, whole.clone()).into_response(),
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let taken = headers.get(header::ACCEPT_ENCODING);
    taken.and_then(|it| it.to_str().ok()).is_some_and(|it| {
        it.split(',').any(|it| {
            let mut parts = it.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|it| matches!(it, "q=0" | "q=0.0"))
        })
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_for_browsers_is_that_of_the_web_socket() {
        let port = |address: &str| web_socket_port(&address.parse().expect("an address"));
        assert_eq!(port("/ip4/10.0.0.1/tcp/4001/ws"), Some(4001));
        assert_eq!(port("/ip4/10.0.0.1/tcp/4001"), None);
        assert_eq!(port("/ip4/10.0.0.1/tcp/4001/tls/ws"), None);
        assert_eq!(port("/ip4/10.0.0.1/udp/4001/quic-v1"), None);
    }

    #[test]
    fn an_address_or_a_port_says_where_to_serve() {
        let address = |text| listen_address(text).map(|it| it.to_string());
        assert_eq!(address("8080").as_deref(), Ok("0.0.0.0:8080"));
        assert_eq!(address(":8080").as_deref(), Ok("0.0.0.0:8080"));
        assert_eq!(address("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert!(address("localhost:8080").is_err_and(|it| it.contains("8080")));
    }

    #[test]
    fn a_page_that_is_served_everywhere_is_found_at_each_address_of_the_machine() {
        let reachable = [
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/2/ws",
            "/ip4/127.0.0.1/tcp/1",
        ];
        let reachable = reachable.map(|it| it.parse().expect("an address"));
        let urls = |address: &str| urls(address.parse().expect("an address"), &reachable);
        assert_eq!(
            urls("0.0.0.0:80"),
            ["http://10.0.0.1:80/", "http://127.0.0.1:80/"]
        );
        assert_eq!(urls("127.0.0.1:80"), ["http://127.0.0.1:80/"]);
    }

    #[test]
    fn gzip_is_given_to_whoever_says_that_he_takes_it() {
        let takes = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().expect("a header"));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("deflate, gzip;q=0.8, br"));
        assert!(!takes("br") && !takes("xgzip") && !takes("gzip;q=0, br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_folder_that_does_not_hold_the_pages_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let refusal = Pages::read(Some(folder.path())).err().expect("it is empty");
        let said = refusal.to_string();
        assert!(
            said.contains("lend.html") && said.contains("xtask web"),
            "{said}"
        );
        fs::write(folder.path().join(PAGE), "<!doctype html>").expect("it is writable");
        let pages = Pages::read(Some(folder.path())).expect("it holds the page");
        assert_eq!(pages.files.len(), 1);
    }
}
