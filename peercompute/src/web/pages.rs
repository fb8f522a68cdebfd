//! The files of the page: where they are found, and how they are served.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path as Named, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;

use super::NodeConfig;
use crate::failure::Failure;

/// The environment variable that names the folder with the pages, and the option.
const FOLDER: &str = "PEERCOMPUTE_WEB_FOLDER";

/// The file without which a folder does not hold the pages.
const PAGE: &str = "lend.html";

/// What is served of a folder: more files, or larger ones, are not of the package.
const MAX_FILES: usize = 256;
const MAX_FILE_BYTES: u64 = 32 << 20;

/// What was put into this program when it was built; nothing if the package was not at hand.
const BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The pages, as they were when the node started.
#[derive(Clone)]
pub(super) struct Pages {
    files: BTreeMap<Cow<'static, str>, Content>,
}

/// A file, and by what a browser knows it again.
#[derive(Clone)]
struct Content {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Content {
    fn new(bytes: Bytes) -> Self {
        let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
        Self {
            bytes,
            tag: tag.parse().expect("quotes and digits make a header"),
        }
    }
}

impl Pages {
    /// Reads the pages: from `folder` if one is given, otherwise those in the environment's folder, in the program, or beside it.
    pub(super) fn find(folder: Option<&Path>) -> Result<Self, Failure> {
        let named = || env::var_os(FOLDER).filter(|it| !it.is_empty());
        if let Some(folder) = folder {
            return Self::read(folder, "--web-folder");
        }
        if let Some(folder) = named() {
            return Self::read(Path::new(&folder), FOLDER);
        }
        if !BUILT_IN.is_empty() {
            return Ok(Self::built_in());
        }
        match beside().into_iter().find(|it| it.join(PAGE).is_file()) {
            Some(folder) => Self::read(&folder, "--web"),
            None => Err(Failure::usage(format!(
                "--web: the pages are neither in this program nor beside it; in the sources `cargo xtask install` installs the program with them, and `cargo xtask web --out FOLDER` builds them for --web-folder or {FOLDER}"
            ))),
        }
    }

    fn built_in() -> Self {
        let files = BUILT_IN.iter().map(|(name, bytes)| {
            let content = Content::new(Bytes::from_static(bytes));
            (Cow::Borrowed(*name), content)
        });
        Self {
            files: files.collect(),
        }
    }

    /// Those in a folder that `by` names.
    fn read(folder: &Path, by: &str) -> Result<Self, Failure> {
        let refused = |why: String| Failure::usage(format!("{by} {}: {why}", folder.display()));
        let unusable = |error: io::Error| refused(error.to_string());
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let metadata = entry.metadata().map_err(unusable)?;
            let is_page = metadata.is_file() && metadata.len() <= MAX_FILE_BYTES;
            if let (true, Ok(name)) = (is_page, entry.file_name().into_string()) {
                let bytes = fs::read(entry.path()).map_err(unusable)?;
                files.insert(name.into(), Content::new(bytes.into()));
            }
            if files.len() > MAX_FILES {
                return Err(refused(format!(
                    "more than {MAX_FILES} files are in it; name the folder that `cargo xtask web` makes"
                )));
            }
        }
        if !files.contains_key(PAGE) {
            return Err(refused(format!(
                "there is no {PAGE} in it; name the folder that `cargo xtask web` makes"
            )));
        }
        Ok(Self { files })
    }

    /// What answers with them, and with what the page has to know of its node.
    pub(super) fn router(self, config: NodeConfig) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/node.json", get(node))
            .route("/{file}", get(file))
            .with_state(Arc::new((self, config)))
    }
}

/// Where the pages are when nobody says where: beside the program, and where `cargo xtask web` puts them.
fn beside() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let Some(beside) = program.as_deref().and_then(Path::parent) else {
        return Vec::new();
    };
    let folders = ["web", "../web", "../share/peercompute/web"];
    folders.map(|it| beside.join(it)).into()
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
    let Some(whole) = files.get(name.as_str()) else {
        let said = format!("there is no {name} here\n");
        return (StatusCode::NOT_FOUND, GUARDED, said).into_response();
    };
    let gzipped = files
        .get(format!("{name}.gz").as_str())
        .filter(|_| takes_gzip(&headers));
    let content = gzipped.unwrap_or(whole);
    let tag = [(header::ETAG, content.tag.clone())];
    if has_already(&headers, &content.tag) {
        return (StatusCode::NOT_MODIFIED, GUARDED, tag).into_response();
    }
    let kind = [(header::CONTENT_TYPE, content_type(&name))];
    let bytes = content.bytes.clone();
    match gzipped {
        Some(_) => {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            (GUARDED, tag, kind, encoding, bytes).into_response()
        }
        None => (GUARDED, tag, kind, bytes).into_response(),
    }
}

/// Whether a browser says that it has kept just that (RFC 9110, 13.1.2).
fn has_already(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let kept = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = kept.flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
    tags.any(|it| {
        let it = it.trim_ascii();
        it == b"*" || it.strip_prefix(b"W/").unwrap_or(it) == tag.as_bytes()
    })
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
        let refusal = Pages::find(Some(folder.path())).err().expect("it is empty");
        let said = refusal.to_string();
        assert!(
            said.contains("lend.html") && said.contains("xtask web"),
            "{said}"
        );
        fs::write(folder.path().join(PAGE), "<!doctype html>").expect("it is writable");
        let pages = Pages::find(Some(folder.path())).expect("it holds the page");
        assert_eq!(pages.files.len(), 1);
    }

    #[test]
    fn a_browser_that_has_a_file_is_told_so() {
        let content = Content::new(Bytes::from_static(b"page"));
        let tag = content.tag.to_str().expect("it is text");
        let has = |sent: &[&str]| {
            let mut headers = HeaderMap::new();
            for sent in sent {
                let sent = sent.parse().expect("a header");
                headers.append(header::IF_NONE_MATCH, sent);
            }
            has_already(&headers, &content.tag)
        };
        assert!(has(&[tag]) && has(&[&format!("\"other\", W/{tag}")]) && has(&["\"other\"", tag]));
        assert!(has(&["*"]));
        assert!(!has(&[]) && !has(&["\"other\""]) && !has(&[tag.trim_matches('"')]));
        assert_ne!(Content::new(Bytes::from_static(b"pages")).tag, content.tag);
    }
}
