//! Who may call this machine over TCP: only under its own names, only from pages that were let in, and by token.
//!
//! The `Host` header keeps out pages from elsewhere whose name was made to lead here (DNS rebinding), the `Origin` header
//! all other pages, the token everybody else of the machine or the network. Every route belongs to one of three groups:
//! for whoever is let through, for registers with a token, for the terminal's own screen.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::id::RegisterId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::pairing::Pairings;

/// How long a browser may remember what a page may send, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// Who calls the verification interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody whom the Unix socket's file mode lets in: the terminal's own screen and programs of this site.
    Terminal,
    /// A register that was paired.
    Register(RegisterId),
    /// Nobody known.
    Stranger,
}

impl Caller {
    /// Whose the sessions are that this caller makes; the terminal's own have no owner.
    pub(crate) fn register(self) -> Option<RegisterId> {
        if let Caller::Register(register) = self { Some(register) } else { None }
    }

    /// Whether this caller may know of a session that `owner` made.
    pub(crate) fn may_see(self, owner: Option<RegisterId>) -> bool {
        match self {
            Caller::Terminal => true,
            Caller::Register(register) => owner == Some(register),
            Caller::Stranger => false,
        }
    }
}

fn caller(request: &Request) -> Caller {
    request.extensions().get().copied().unwrap_or(Caller::Stranger)
}

/// Lets everybody in whom this site knows.
pub(crate) async fn known_only(request: Request, next: Next) -> Result<Response, Problem> {
    match caller(&request) {
        Caller::Stranger => Err(Problem::new(ProblemCode::Unauthenticated)),
        Caller::Register(_) | Caller::Terminal => Ok(next.run(request).await),
    }
}

/// Lets the terminal's own screen in: what shows a code or asks for a PIN is not for a register.
pub(crate) async fn screen_only(request: Request, next: Next) -> Result<Response, Problem> {
    match caller(&request) {
        Caller::Stranger => Err(Problem::new(ProblemCode::Unauthenticated)),
        Caller::Register(_) => Err(Problem::new(ProblemCode::Forbidden)
            .detail("only the terminal's own screen may do that, and no register")),
        Caller::Terminal => Ok(next.run(request).await),
    }
}

/// Names of this machine, and pages that may call it.
pub(crate) struct Gate {
    hosts: Vec<String>,
    own_origins: Vec<String>,
    /// Pages from elsewhere that the operator has let in.
    foreign_origins: Vec<String>,
}

impl Gate {
    /// For a port that is reached by `scheme` under `names`.
    pub(crate) fn new(scheme: &str, names: &[String], port: u16, foreign_origins: &[String]) -> Self {
        let default_port = if scheme == "https" { 443 } else { 80 };
        let mut hosts = Vec::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            let name = if name.contains(':') { format!("[{name}]") } else { name };
            hosts.push(format!("{name}:{port}"));
            if port == default_port {
                hosts.push(name);
            }
        }
        let own_origins = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        Self { hosts, own_origins, foreign_origins: foreign_origins.to_vec() }
    }

    /// Whether a request may come in; answers the page from elsewhere from which it comes.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        let host = only(headers, header::HOST).and_then(|host| host.to_str().ok());
        let known = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !host.is_some_and(known) {
            return Err(Problem::new(ProblemCode::ForeignHost));
        }
        if !headers.contains_key(header::ORIGIN) {
            return Ok(None);
        }
        let refused = || Problem::new(ProblemCode::ForeignOrigin);
        let value = only(headers, header::ORIGIN).ok_or_else(refused)?;
        let origin = value.to_str().map_err(|_| refused())?;
        if self.own_origins.iter().any(|own| own == origin) {
            return Ok(None);
        }
        let let_in = self.foreign_origins.iter().any(|allowed| allowed == origin);
        if let_in { Ok(Some(value.clone())) } else { Err(refused()) }
    }
}

/// The value of a header that is there once: two of them mean that somebody wants us to look at the wrong one.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { None } else { first }
}

/// What is kept of a token. Plain SHA-256 is enough for 256 random bits.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The hash of the token that a request shows. Hashes are compared, so that the time of it says nothing about tokens.
pub(crate) fn shown_token_hash(headers: &HeaderMap) -> Option<[u8; 32]> {
    let value = only(headers, header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(token_hash)
}

/// Whether two hashes are the same, in a time that does not depend on where they differ.
pub(crate) fn same_hash(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// The way in to the verification interface over one port.
pub(crate) struct Entrance {
    pub(crate) gate: Gate,
    pub(crate) pairings: Arc<Pairings>,
}

/// Checks names and pages, and finds out who calls.
pub(crate) async fn enter(
    State(entrance): State<Arc<Entrance>>,
    mut request: Request,
    next: Next,
) -> Response {
    let page = match entrance.gate.check(request.headers()) {
        Ok(page) => page,
        Err(problem) => return problem.into_response(),
    };
    let response = if page.is_some() && asks_first(&request) {
        preflight()
    } else {
        let shown = shown_token_hash(request.headers());
        let register = shown.and_then(|hash| entrance.pairings.find(&hash));
        request.extensions_mut().insert(register.map_or(Caller::Stranger, Caller::Register));
        match register {
            Some(register) => until_unpaired(&entrance.pairings, register, next.run(request)).await,
            None => next.run(request).await,
        }
    };
    readable_by(page, response)
}

/// Whether a browser asks before it lets a page of elsewhere call.
pub(crate) fn asks_first(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer, which the page from elsewhere that was let in may read.
pub(crate) fn readable_by(page: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(page) = page {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Long polls and streams of a register end when its token is taken back, and not only when they are asked for again.
async fn until_unpaired(
    pairings: &Arc<Pairings>,
    register: RegisterId,
    answering: impl Future<Output = Response>,
) -> Response {
    let response = tokio::select! {
        response = answering => response,
        () = pairings.clone().unpaired(register) => return Problem::new(ProblemCode::Unauthenticated).into_response(),
    };
    let media_type = response.headers().get(header::CONTENT_TYPE);
    if media_type.is_none_or(|media_type| media_type != "text/event-stream") {
        return response;
    }
    let end = Box::pin(pairings.clone().unpaired(register));
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(end)))
}

/// What a browser wants to hear before it lets a page call us (Fetch standard, and Private Network Access for Chrome).
pub(crate) fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        (HeaderName::from_static("access-control-allow-private-network"), "true"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let names = ["till-1.local".to_owned(), "192.168.1.20".to_owned(), "fd00::1".to_owned()];
        Gate::new("https", &names, 8702, &["https://pos.example".to_owned()])
    }

    fn check(lines: &[(HeaderName, &'static str)]) -> Result<bool, ProblemCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        gate().check(&headers).map(|page| page.is_some()).map_err(|problem| problem.code)
    }

    #[test]
    fn only_own_names_are_answered() {
        for host in ["till-1.local:8702", "TILL-1.local:8702", "192.168.1.20:8702", "[fd00::1]:8702"] {
            assert_eq!(check(&[(header::HOST, host)]), Ok(false), "{host}");
        }
        for host in [
            "till-1.local",
            "evil.example:8702",
            "192.168.1.20:8701",
            "fd00::1:8702",
            "",
            "till-1.local.:8702",
        ] {
            assert_eq!(check(&[(header::HOST, host)]), Err(ProblemCode::ForeignHost), "{host}");
        }
        assert_eq!(check(&[]), Err(ProblemCode::ForeignHost));
        let twice = [(header::HOST, "till-1.local:8702"), (header::HOST, "till-1.local:8702")];
        assert_eq!(check(&twice), Err(ProblemCode::ForeignHost));
    }

    #[test]
    fn pages_from_elsewhere_are_kept_out_unless_they_were_let_in() {
        let from = |origin| check(&[(header::HOST, "till-1.local:8702"), (header::ORIGIN, origin)]);
        assert_eq!(from("https://till-1.local:8702"), Ok(false));
        assert_eq!(from("https://pos.example"), Ok(true));
        for origin in ["http://till-1.local:8702", "https://till-1.local", "https://evil.example", "null", ""]
        {
            assert_eq!(from(origin), Err(ProblemCode::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn the_usual_port_may_be_left_out() {
        let gate = Gate::new("https", &["till.lan".to_owned()], 443, &[]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("till.lan"));
        assert!(gate.check(&headers).is_ok());
    }

    #[test]
    fn registers_see_their_own_sessions_and_the_terminal_all() {
        use selfsame_domain::time::Timestamp;
        let [one, other] = [1, 2].map(|n| RegisterId::new(Timestamp::from_millis(0), [n; 10]));
        assert!(Caller::Register(one).may_see(Some(one)) && Caller::Terminal.may_see(Some(one)));
        assert!(!Caller::Register(one).may_see(Some(other)) && !Caller::Register(one).may_see(None));
        assert!(!Caller::Stranger.may_see(None) && !Caller::Stranger.may_see(Some(one)));
    }
}
