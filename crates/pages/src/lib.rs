//! The built web pages (`web/`), embedded in the executable, with the headers that keep them safe.
//!
//! Server and terminal mount what they serve: the payer's page beside step 2 of the method, the cashier's beside step 5.
//! It never knows what the pages do, and who may see them is decided by whoever mounts them.
//!
//! `cargo xtask web` builds them; a build without them works and says at every page how to get them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a page without a build says.
const NOT_BUILT: &str = "The web pages are not part of this build.

In a checkout of Selfsame, with Node 20.19 or newer:

    cargo xtask web
    cargo build

and start the program again. Everything else of this program works without them.
";

/// Names of the files whose name holds a hash of their content.
const HASHED: &str = "assets/";

/// Whether this build has pages.
pub fn are_built() -> bool {
    !FILES.is_empty()
}

/// Where pages may connect to, and what they may use; everything else is forbidden to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    connect_to: Vec<String>,
    camera: bool,
}

impl Policy {
    /// Pages may connect to this origin as well, e.g. `http://127.0.0.1:8703`. It must come from the configuration, never
    /// from a request.
    pub fn connect_to(mut self, origin: &str) -> Self {
        self.connect_to.push(origin.to_owned());
        self
    }

    /// Pages may use the camera.
    pub fn camera(mut self) -> Self {
        self.camera = true;
        self
    }

    /// Every page's headers. Nothing inline, nothing from elsewhere, in no frame; no address goes to anybody.
    fn headers(&self) -> HeaderMap {
        let connect: String = self.connect_to.iter().map(|origin| format!(" {origin}")).collect();
        let content = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; \
             font-src 'self'; connect-src 'self'{connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
        );
        let camera = if self.camera { "(self)" } else { "()" };
        let features =
            format!("camera={camera}, microphone=(), geolocation=(), payment=(), usb=(), serial=()");
        let value = |text: &str| HeaderValue::from_str(text).expect("origins are ASCII");
        HeaderMap::from_iter([
            (header::CONTENT_SECURITY_POLICY, value(&content)),
            (HeaderName::from_static("permissions-policy"), value(&features)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
        ])
    }
}

/// A file as it is served.
struct File {
    content: &'static [u8],
    media_type: &'static str,
    /// Changes with the content.
    tag: HeaderValue,
}

/// Everything that one program serves.
struct Served {
    files: HashMap<&'static str, File>,
    policy: Box<dyn Fn() -> Policy + Send + Sync>,
}

/// Routes for pages, each given by its path and its name in `web/`, e.g. `("/kiosk", "kiosk")`, and for what they load:
/// `/assets/*` and `/favicon.svg`. Names with a hash are kept by browsers for good, everything else is asked for again
/// and answered by its tag. `policy` is asked for every answer.
pub fn routes<S: Clone + Send + Sync + 'static>(
    pages: &[(&'static str, &'static str)],
    policy: impl Fn() -> Policy + Send + Sync + 'static,
) -> Router<S> {
    serving(FILES, pages, policy)
}

fn serving<S: Clone + Send + Sync + 'static>(
    files: &'static [(&'static str, &'static [u8])],
    pages: &[(&'static str, &'static str)],
    policy: impl Fn() -> Policy + Send + Sync + 'static,
) -> Router<S> {
    let files = files.iter().map(|&(name, content)| (name, File::new(name, content)));
    let served = Arc::new(Served { files: files.collect(), policy: Box::new(policy) });
    let mut router = Router::new();
    for &(path, page) in pages {
        let served = served.clone();
        let name = format!("{page}.html");
        let answer = async move |headers: HeaderMap| served.page(&name, &headers);
        router = router.route(path, get(answer));
    }
    let asset = async |State(served): State<Arc<Served>>, Path(name): Path<String>, headers: HeaderMap| {
        served.file(&format!("{HASHED}{name}"), &headers)
    };
    let icon =
        async |State(served): State<Arc<Served>>, headers: HeaderMap| served.file("favicon.svg", &headers);
    let loaded = Router::new().route("/assets/{*name}", get(asset)).route("/favicon.svg", get(icon));
    router.merge(loaded.with_state(served))
}

impl File {
    fn new(name: &str, content: &'static [u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        let tag = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())).expect("hex is ASCII");
        Self { content, media_type: media_type(name), tag }
    }
}

/// `nosniff` makes browsers hold to it.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

impl Served {
    fn page(&self, name: &str, request: &HeaderMap) -> Response {
        if self.files.contains_key(name) {
            return self.file(name, request);
        }
        let plain =
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
        (StatusCode::SERVICE_UNAVAILABLE, (self.policy)().headers(), plain, NOT_BUILT).into_response()
    }

    fn file(&self, name: &str, request: &HeaderMap) -> Response {
        let Some(file) = self.files.get(name) else {
            return (StatusCode::NOT_FOUND, (self.policy)().headers()).into_response();
        };
        let caching =
            if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut headers = (self.policy)().headers();
        headers.insert(header::ETAG, file.tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        if request.get_all(header::IF_NONE_MATCH).iter().any(|known| known == file.tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
        (headers, file.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    const BUILT: &[(&str, &[u8])] =
        &[("kiosk.html", b"<!doctype html>"), ("assets/kiosk-1a2b.js", b"1"), ("favicon.svg", b"<svg/>")];

    async fn get(
        files: &'static [(&str, &[u8])],
        path: &str,
        known: Option<HeaderValue>,
    ) -> (StatusCode, HeaderMap, String) {
        let policy = || Policy::default().camera().connect_to("http://127.0.0.1:8703");
        let router: Router = serving(files, &[("/kiosk", "kiosk")], policy);
        let mut request = Request::get(path);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn without_a_build_a_page_says_how_to_get_one() {
        let (status, headers, text) = get(&[], "/kiosk", None).await;
        assert_eq!(status, 503);
        assert!(text.contains("cargo xtask web"), "{text}");
        assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }

    #[tokio::test]
    async fn pages_are_asked_for_again_and_hashed_names_are_kept() {
        let (status, headers, text) = get(BUILT, "/kiosk", None).await;
        assert_eq!((status.as_u16(), text.as_str()), (200, "<!doctype html>"));
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        let (status, again, text) = get(BUILT, "/kiosk", Some(headers[header::ETAG].clone())).await;
        assert_eq!((status.as_u16(), text.as_str()), (304, ""));
        assert_eq!(again[header::ETAG], headers[header::ETAG]);
        let (_, headers, _) = get(BUILT, "/assets/kiosk-1a2b.js", None).await;
        assert_eq!(headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(headers[header::CACHE_CONTROL].to_str().unwrap().ends_with("immutable"));
    }

    #[tokio::test]
    async fn only_what_was_built_is_served() {
        for path in ["/assets/other.js", "/assets/../kiosk.html", "/assets/%2e%2e/kiosk.html", "/kiosk.html"]
        {
            assert_eq!(get(BUILT, path, None).await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn nothing_inline_and_nothing_from_elsewhere_runs() {
        for path in ["/kiosk", "/assets/kiosk-1a2b.js", "/assets/none"] {
            let (_, headers, _) = get(BUILT, path, None).await;
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
                "{policy}"
            );
            assert!(policy.contains("connect-src 'self' http://127.0.0.1:8703;"), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
            assert_eq!(
                headers["permissions-policy"].to_str().unwrap().split(',').next(),
                Some("camera=(self)")
            );
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
