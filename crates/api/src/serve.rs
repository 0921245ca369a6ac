//! What our HTTP services have in common: problem documents as answers, strict JSON bodies, sockets.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;

use crate::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem document always serializes");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        let at_once = if matches!(self.status, 429 | 503) { Some(1) } else { None };
        if let Some(seconds) = self.retry_after_ms.map(|ms| ms.div_ceil(1_000)).or(at_once) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Longest time that a body takes to arrive once its head is here. Eight frames of a megabyte take 7 s at 10 Mbit/s;
/// whoever is slower than that would hold memory and a place for nothing.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);

/// A whole body, in time and within the route's limit, or a problem document.
#[derive(Debug)]
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read_body(request, state, BODY_TIME_MAX).await.map(Self)
    }
}

async fn read_body<S: Send + Sync>(
    request: Request,
    state: &S,
    time_max: Duration,
) -> Result<Bytes, Problem> {
    let body = tokio::time::timeout(time_max, Bytes::from_request(request, state)).await;
    let body = body.map_err(|_| Problem::new(ProblemCode::RequestTimeout))?;
    body.map_err(|rejection: BytesRejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemCode::PayloadTooLarge),
        _ => Problem::new(ProblemCode::InvalidRequest).detail("the body could not be read to its end"),
    })
}

/// A JSON body, or a problem document that says where it is wrong.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|text| text.split(';').next()).map(str::trim);
        if media_type != Some("application/json") {
            return Err(Problem::new(ProblemCode::UnsupportedMediaType));
        }
        let Body(body) = Body::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// Reads a JSON body.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // Ids say themselves when they are of another kind; everything else is the shape.
        let wrong_kind = error.to_string().contains("expected an id that begins with");
        let code = if wrong_kind { ProblemCode::WrongIdKind } else { ProblemCode::InvalidRequest };
        Problem::new(code).detail(error)
    })
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A path segment, or a problem document.
#[derive(Debug)]
pub struct PathId<T>(pub T);

impl<T, S> FromRequestParts<S> for PathId<T>
where
    T: std::str::FromStr + Send,
    T::Err: std::fmt::Display,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let axum::extract::Path(text) = text.map_err(|_| Problem::new(ProblemCode::RouteNotFound))?;
        text.parse().map(Self).map_err(|error: T::Err| Problem::new(ProblemCode::WrongIdKind).detail(error))
    }
}

/// A query string, or a problem document.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let invalid = |rejection: axum::extract::rejection::QueryRejection| {
            Problem::new(ProblemCode::InvalidRequest).detail(rejection.body_text())
        };
        query.map(|axum::extract::Query(query)| Self(query)).map_err(invalid)
    }
}

/// Adds problem documents for unknown routes and methods.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(async || Problem::new(ProblemCode::RouteNotFound))
        .method_not_allowed_fallback(async || Problem::new(ProblemCode::MethodNotAllowed))
}

/// Listens on a Unix socket that only the site's own user and group can reach. A file left by a process that died
/// is removed; a socket that somebody listens on is not.
pub fn bind_unix(socket: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        let text = format!("somebody else already listens on `{}`", socket.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves a router on a Unix socket until `shutdown` is done.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::Body as HttpBody;

    use super::*;

    /// A body whose sender has gone quiet.
    struct Quiet;

    impl axum::body::HttpBody for Quiet {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let quiet = Request::new(HttpBody::new(Quiet));
        let problem = read_body(quiet, &(), Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(problem.code, ProblemCode::RequestTimeout);
    }
}
