//! Health, metrics and the clients' configuration over HTTP/1.1.

mod server;
mod steady;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

pub use self::server::{
    HTTP_HEAD_TIMEOUT, HTTP_STALL_TIMEOUT, HttpOptions, HttpServer, MAX_HTTP_CONNECTIONS,
    MAX_HTTP_CONNECTIONS_PER_ADDRESS, MAX_HTTP_HEAD,
};

/// How long one of the relay's HTTP connections lasts at most, from its first byte to its last.
pub const HTTP_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// The content type of OpenMetrics text, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// What the endpoints show.
pub(crate) trait Status: Send + Sync + 'static {
    /// Whether new clients are still welcome; decides the status code of `/healthz`.
    fn healthy(&self) -> bool;

    /// The body of `/healthz`.
    fn health(&self) -> Value;

    /// The body of `/metrics`, in OpenMetrics text.
    fn metrics(&self) -> String;

    /// The body of `/relay-config.json`.
    fn client_config(&self) -> String;

    /// A request was answered.
    fn handle_answered(&self, status: StatusCode);
}

pub(crate) fn router(status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/relay-config.json", get(client_config))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(status.clone(), count))
        .with_state(status)
}

async fn health(State(status): State<Arc<dyn Status>>) -> impl IntoResponse {
    let code = if status.healthy() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, NO_STORE, Json(status.health()))
}

async fn metrics(State(status): State<Arc<dyn Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], status.metrics())
}

/// Any page may read it: it holds only what clients need to come here.
async fn client_config(State(status): State<Arc<dyn Status>>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, status.client_config())
}

async fn not_found() -> impl IntoResponse {
    let endpoints = ["/healthz", "/metrics", "/relay-config.json"];
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error": "not found", "endpoints": endpoints })),
    )
}

async fn not_allowed() -> impl IntoResponse {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        Json(json!({ "error": "only GET and HEAD are answered" })),
    )
}

async fn count(State(status): State<Arc<dyn Status>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    status.handle_answered(response.status());
    response
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use peercompute_rt::Runtime;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    #[derive(Default)]
    struct Fixed {
        draining: AtomicBool,
        answered: AtomicUsize,
    }

    impl Status for Fixed {
        fn healthy(&self) -> bool {
            !self.draining.load(Ordering::Relaxed)
        }

        fn health(&self) -> Value {
            json!({ "status": if self.healthy() { "ok" } else { "draining" } })
        }

        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }

        fn client_config(&self) -> String {
            "{\"relayPort\":1}".to_owned()
        }

        fn handle_answered(&self, _: StatusCode) {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn server() -> (HttpServer, Arc<Fixed>) {
        let status = Arc::new(Fixed::default());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let router = router(status.clone());
        let server = HttpServer::start(&Runtime::tokio(), address, router, HttpOptions::default())
            .await
            .unwrap();
        (server, status)
    }

    /// Sends `request` as it is and gives the head and the body of the answer.
    async fn exchange(server: &HttpServer, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    async fn get(server: &HttpServer, path: &str) -> (String, String) {
        exchange(
            server,
            &format!("GET {path} HTTP/1.1\r\nhost: relay\r\n\r\n"),
        )
        .await
    }

    #[tokio::test]
    async fn health_is_200_and_while_draining_503() {
        let (server, status) = server().await;
        let (head, body) = get(&server, "/healthz").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(body, r#"{"status":"ok"}"#);
        status.draining.store(true, Ordering::Relaxed);
        let (head, body) = get(&server, "/healthz").await;
        assert!(head.starts_with("http/1.1 503"), "{head}");
        assert_eq!(body, r#"{"status":"draining"}"#);
    }

    #[tokio::test]
    async fn any_page_may_read_the_clients_configuration() {
        let (server, _) = server().await;
        let (head, body) = get(&server, "/relay-config.json").await;
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(body, "{\"relayPort\":1}");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text() {
        let (server, _) = server().await;
        let (head, body) = get(&server, "/metrics").await;
        assert!(
            head.contains("content-type: application/openmetrics-text"),
            "{head}"
        );
        assert_eq!(body, "# EOF\n");
    }

    #[tokio::test]
    async fn an_unknown_path_is_404_in_json() {
        let (server, _) = server().await;
        let (head, body) = get(&server, "/secret").await;
        assert!(head.starts_with("http/1.1 404"), "{head}");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap()["error"],
            "not found"
        );
    }

    #[tokio::test]
    async fn another_method_is_405_in_json() {
        let (server, _) = server().await;
        let request = "POST /healthz HTTP/1.1\r\nhost: relay\r\ncontent-length: 2\r\n\r\n{}";
        let (head, body) = exchange(&server, request).await;
        assert!(head.starts_with("http/1.1 405"), "{head}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_string());
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (server, status) = server().await;
        let request = format!(
            "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
            "x".repeat(2 * MAX_HTTP_HEAD)
        );
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        // The server may close before it has read everything, which both calls can meet.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(status.answered.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_cut_off() {
        let (server, _) = server().await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // On paused time the time-out fires as soon as nothing else can run.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_beyond_the_limit_wait_until_others_end() {
        let (server, _) = server().await;
        let start = tokio::time::Instant::now();
        let mut idle = Vec::new();
        for _ in 0..MAX_HTTP_CONNECTIONS {
            idle.push(TcpStream::connect(server.address()).await.unwrap());
        }
        let (head, _) = get(&server, "/healthz").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        // On paused time: none of the idle ones ends before its time is up.
        assert!(start.elapsed() >= HTTP_HEAD_TIMEOUT);
    }

    #[tokio::test]
    async fn dropping_the_server_frees_its_port() {
        let (server, _) = server().await;
        let address = server.address();
        drop(server);
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
