//! The way in for a page: a browser on this machine cannot open a Unix socket, so what it needs of the verification
//! program (camera frames, progress, the pad) is also served on a loopback port, to whoever shows the token.
//!
//! The token keeps other people and programs of the machine out; `Host` and `Origin` keep out pages from elsewhere
//! (`access.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use selfsame_api::bytes::Bytes;
use selfsame_api::merchant::Secret;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::verifier::PageAddress;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::access::{Gate, asks_first, preflight, readable_by, same_hash, shown_token_hash, token_hash};
use crate::listen::{bind_loopback, loopback_names};
use crate::random;

/// A loopback port, and a token for it that is new at each start.
pub struct PageAccess {
    listener: TcpListener,
    address: SocketAddr,
    token: Zeroizing<String>,
    origins: Vec<String>,
}

/// Whom the port answers.
struct Allowed {
    token_hash: [u8; 32],
    gate: Gate,
}

impl PageAccess {
    /// Listens. Any other address than one of this machine alone is refused: the way from a page to it is not encrypted.
    /// `origins` are pages of other ports that may call, e.g. the payer's, `http://127.0.0.1:8705`.
    pub async fn bind(address: SocketAddr, origins: Vec<String>) -> io::Result<Self> {
        let listener = bind_loopback(address).await?;
        let address = listener.local_addr()?;
        let token = Zeroizing::new(Bytes::from(random::<32>()).encode());
        Ok(Self { listener, address, token, origins })
    }

    /// Where it listens, e.g. `http://127.0.0.1:8701`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the page sends as `Authorization: Bearer TOKEN`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Both, for the terminal, which tells them to the payer's page.
    pub(crate) fn address(&self) -> PageAddress {
        PageAddress { url: self.url(), token: Secret(self.token.to_string()) }
    }

    /// Serves `router` to whoever is allowed.
    pub(crate) async fn serve(self, router: Router) -> io::Result<()> {
        let allowed = Allowed {
            token_hash: token_hash(&self.token),
            gate: Gate::new("http", &loopback_names(self.address), self.address.port(), &self.origins),
        };
        let router = router.layer(from_fn_with_state(Arc::new(allowed), check));
        axum::serve(self.listener, router).await
    }
}

async fn check(State(allowed): State<Arc<Allowed>>, request: Request, next: Next) -> Response {
    let page = match allowed.gate.check(request.headers()) {
        Ok(page) => page,
        Err(problem) => return problem.into_response(),
    };
    let response = if page.is_some() && asks_first(&request) {
        preflight()
    } else {
        match allowed.check(request.headers()) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    readable_by(page, response)
}

impl Allowed {
    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.gate.check(headers)?;
        match shown_token_hash(headers) {
            Some(shown) if same_hash(&shown, &self.token_hash) => Ok(()),
            _ => Err(Problem::new(ProblemCode::Unauthenticated)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    fn status(host: &'static str, authorization: &'static str) -> u16 {
        let allowed = Allowed {
            token_hash: token_hash("right"),
            gate: Gate::new("http", &loopback_names("127.0.0.1:8702".parse().unwrap()), 8702, &[]),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(authorization));
        allowed.check(&headers).map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn only_pages_of_this_machine_with_the_token_get_in() {
        assert_eq!(status("127.0.0.1:8702", "Bearer right"), 200);
        assert_eq!(status("localhost:8702", "Bearer right"), 200);
        for wrong in ["Bearer wrong", "Bearer ", "right", "Basic right"] {
            assert_eq!(status("localhost:8702", wrong), 401, "{wrong}");
        }
        for host in ["rebound.example:8702", "localhost", "127.0.0.1:8703"] {
            assert_eq!(status(host, "Bearer right"), 403, "{host}");
        }
    }

    #[tokio::test]
    async fn other_machines_are_never_listened_to() {
        let refused = PageAccess::bind("0.0.0.0:0".parse().unwrap(), Vec::new()).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
        let page = PageAccess::bind("127.0.0.1:0".parse().unwrap(), Vec::new()).await.unwrap();
        assert!(page.url().starts_with("http://127.0.0.1:") && page.token().len() >= 43);
    }
}
