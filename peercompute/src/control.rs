//! How a running node is controlled: one JSON line each way over a local socket that only its owner can open.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use peercompute_compute::Throttle;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    cli::{ControlArgs, ThrottleArgs},
    failure::Failure,
    node::{JsonStatus, Lending},
    output,
};

/// The longest line that is read from the socket.
const MAX_LINE: u64 = 1 << 20;

/// Connections that are answered at once; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 8;

/// The longest path of a socket, in bytes: the system has room for so many (`sun_path`), less one for its end.
const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

/// How long the other end may take for a line.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
enum Request {
    Status,
    Pause,
    Resume,
    Throttle { percent: u8 },
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Response {
    Status(Box<JsonStatus>),
    Error { error: String },
}

/// A node's socket. Dropping it removes the file.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, or at a path in the runtime directory that is named after the process.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match path {
            Some(path) => path,
            None => runtime_directory(true)?.join(format!("node-{}.sock", std::process::id())),
        };
        check_path(&path)?;
        let name = output::name(&path);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(Failure::run(format!(
                "--control {name}: another node listens there; choose another path"
            )));
        }
        remove_stale(&path);
        let listener = UnixListener::bind(&path).map_err(|error| {
            Failure::run(format!(
                "--control {name}: cannot be listened at: {error}; choose a path in a directory that exists and belongs to you"
            ))
        })?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(|error| {
            Failure::run(format!(
                "--control {name}: cannot be made private: {error}; choose a path on another file system"
            ))
        })?;
        Ok(Self { listener, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Answers for as long as it is polled.
    pub(crate) async fn serve(&self, node: &Arc<Lending>) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(answer(stream, node.clone()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the control socket does not accept");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, node: Arc<Lending>) {
    let exchange = async {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        (&mut stream)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await?;
        let response = match serde_json::from_slice(&line) {
            Ok(request) => respond(request, &node),
            Err(error) => Response::Error {
                error: format!("no request: {error}"),
            },
        };
        let mut text = serde_json::to_string(&response).map_err(std::io::Error::other)?;
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a control connection broke off"),
        Err(_) => tracing::debug!("a control connection was too slow"),
    }
}

fn respond(request: Request, node: &Lending) -> Response {
    match request {
        Request::Status => {}
        Request::Pause => node.kernel.pause(),
        Request::Resume => node.kernel.resume(),
        Request::Throttle { percent } => {
            let set = Throttle::percent(percent)
                .map_err(|error| error.to_string())
                .and_then(|throttle| {
                    node.kernel
                        .set_throttle(throttle)
                        .map_err(|error| error.to_string())
                });
            if let Err(error) = set {
                return Response::Error { error };
            }
        }
    }
    Response::Status(Box::new(node.status()))
}

pub(crate) async fn status(args: ControlArgs, json: bool) -> Result<(), Failure> {
    request(args, Request::Status, json).await
}

pub(crate) async fn pause(args: ControlArgs, json: bool) -> Result<(), Failure> {
    request(args, Request::Pause, json).await
}

pub(crate) async fn resume(args: ControlArgs, json: bool) -> Result<(), Failure> {
    request(args, Request::Resume, json).await
}

pub(crate) async fn throttle(args: ThrottleArgs, json: bool) -> Result<(), Failure> {
    request(
        args.control,
        Request::Throttle {
            percent: args.percent,
        },
        json,
    )
    .await
}

async fn request(args: ControlArgs, request: Request, json: bool) -> Result<(), Failure> {
    let path = match args.control {
        Some(path) => path,
        None => only_node()?,
    };
    check_path(&path)?;
    let name = output::name(&path);
    let exchange = async {
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|error| nobody_there(&name, &error))?;
        converse(stream, &request).await.map_err(|error| {
            Failure::run(format!(
                "--control {name}: the node's answer is lost: {error}; it may have ended, try again"
            ))
        })
    };
    let response = tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| {
            let patience = humantime::format_duration(PATIENCE);
            Failure::run(format!("--control {name}: the node does not answer within {patience}; it may be stopped or overloaded"))
        })??;
    match response {
        Response::Error { error } => Err(Failure::run(error)),
        Response::Status(status) if json => output::json(&status),
        Response::Status(status) if matches!(request, Request::Status) => {
            output::line(&status.to_text())
        }
        Response::Status(status) => output::line(&status.change()),
    }
}

async fn converse(stream: UnixStream, request: &Request) -> std::io::Result<Response> {
    let mut stream = BufReader::new(stream);
    let mut text = serde_json::to_string(request).map_err(std::io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut line = Vec::new();
    (&mut stream)
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .await?;
    serde_json::from_slice(&line).map_err(std::io::Error::other)
}

/// Why no node can be asked at a path, and what to do about it.
fn nobody_there(name: &str, error: &std::io::Error) -> Failure {
    let (what, remedy) = match error.kind() {
        std::io::ErrorKind::NotFound => (
            "no node listens there".to_owned(),
            "check the path, or start",
        ),
        std::io::ErrorKind::ConnectionRefused => {
            ("the node that listened there has gone".to_owned(), "start")
        }
        _ => (
            format!("no node can be asked there: {error}"),
            "check that it is yours, or start",
        ),
    };
    Failure::run(format!(
        "--control {name}: {what}; {remedy} one with `peercompute node --control {name}`"
    ))
}

/// Refuses what can never be a node's socket. What is not there yet can.
fn check_path(path: &Path) -> Result<(), Failure> {
    let refused = |why: String| {
        let name = output::name(path);
        Failure::usage(why)
            .at(format_args!("--control {name}"))
            .about(path, "control")
    };
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        return Err(refused(format!(
            "has {length} bytes, and the path of a socket has at most {MAX_PATH}; choose a shorter one"
        )));
    }
    if fs::metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(refused(
            "is there and is no socket; choose another path".to_owned(),
        ));
    }
    Ok(())
}

/// The socket of the one node that runs here.
fn only_node() -> Result<PathBuf, Failure> {
    let directory = runtime_directory(false)?;
    let mut sockets = Vec::new();
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "sock")
        {
            if std::os::unix::net::UnixStream::connect(&path).is_ok() {
                sockets.push(path);
            } else {
                remove_stale(&path);
            }
        }
    }
    match <[PathBuf; 1]>::try_from(sockets) {
        Ok([path]) => Ok(path),
        Err(none) if none.is_empty() => Err(Failure::run(format!(
            "no node runs here (none listens in {}); start one with `peercompute node`, or name its socket with --control",
            output::name(&directory)
        ))),
        Err(several) => Err(Failure::run(format!(
            "{} nodes run here; choose one with --control:\n{}",
            several.len(),
            several
                .iter()
                .map(|path| format!("  {}", output::name(path)))
                .collect::<Vec<_>>()
                .join("\n")
        ))),
    }
}

/// What a node that was killed has left. Anything else that stands there is not ours to remove.
fn remove_stale(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

/// Where sockets are: the user's runtime directory, or one of our own among the temporary files.
fn runtime_directory(make: bool) -> Result<PathBuf, Failure> {
    let user = rustix::process::getuid().as_raw();
    let directory = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path).join("peercompute"),
        None => std::env::temp_dir().join(format!("peercompute-{user}")),
    };
    let refused = |why: String| {
        Failure::run(format!(
            "{}: {why}; name a socket with --control",
            output::name(&directory)
        ))
    };
    if make {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| refused(format!("cannot be made: {error}")))?;
    }
    match fs::symlink_metadata(&directory) {
        // Somebody else could have made it first, to listen in our place.
        Ok(metadata)
            if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 =>
        {
            Err(refused(
                "is not a private directory of this user".to_owned(),
            ))
        }
        _ => Ok(directory),
    }
}
