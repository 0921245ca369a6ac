//! The way to the payment server of a simulated terminal: passes requests on and answers back, unless the scenario slows
//! them, loses them or cuts the way. Bodies and signatures pass unchanged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use selfsame_api::simulator::Scenario;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Simulator;
use crate::lock;

/// Largest request that is passed on, in bytes: sealed samples of several frames.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Longest wait for a connection to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a header belongs to one connection and is not passed on.
fn is_of_one_connection(name: &HeaderName) -> bool {
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name)
}

/// What is passed on of the headers.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !is_of_one_connection(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes through, after so long.
    Arrives(Duration),
    /// It goes through, and its answer is lost.
    AnswerLost,
}

/// A loopback port that leads to the payment server.
pub(super) struct Network {
    listener: TcpListener,
    address: SocketAddr,
    way: Arc<Way>,
}

struct Way {
    simulator: Simulator,
    server: String,
    http: reqwest::Client,
}

impl Network {
    pub(super) async fn open(simulator: Simulator, server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let way = Way { simulator, server: server.trim_end_matches('/').to_owned(), http };
        Ok(Self { address: listener.local_addr()?, listener, way: Arc::new(way) })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, Router::new().fallback(pass_on).with_state(self.way)).await
    }
}

impl Simulator {
    fn fate(&self, path: &str) -> Fate {
        let mut play = lock(&self.0.play);
        let slow = play.chosen.scenario == Scenario::ServerSlow && path != "/v1/channel";
        if path == "/v1/payment-codes" && play.codes_to_lose > 0 {
            play.codes_to_lose -= 1;
            return Fate::AnswerLost;
        }
        let server = Duration::from_millis(play.chosen.delays.server_ms);
        Fate::Arrives(if slow { server } else { Duration::ZERO })
    }
}

/// An answer that breaks off at once: whoever waits for it hears that the connection is gone, and nothing else.
fn broken() -> Response {
    let gone = stream::iter([Err::<Vec<u8>, _>(io::Error::from(io::ErrorKind::ConnectionReset))]);
    (StatusCode::OK, Body::from_stream(gone)).into_response()
}

async fn is_cut(cut: &mut watch::Receiver<bool>) {
    // The simulator outlives every request.
    let _ = cut.wait_for(|cut| *cut).await;
}

async fn pass_on(State(way): State<Arc<Way>>, request: Request) -> Response {
    let mut cut = way.simulator.0.cut.subscribe();
    tokio::select! {
        biased;
        () = is_cut(&mut cut) => broken(),
        passed = way.pass(request) => passed.unwrap_or_else(|error| {
            tracing::info!(%error, "a request was not passed on to the payment server");
            broken()
        }),
    }
}

impl Way {
    async fn pass(&self, request: Request) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let fate = self.simulator.fate(request.uri().path());
        match fate {
            Fate::Arrives(Duration::ZERO) | Fate::AnswerLost => {}
            Fate::Arrives(after) => tokio::time::sleep(after).await,
        }
        let (parts, body) = request.into_parts();
        let headers = kept(&parts.headers);
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.server);
        let passed = self.http.request(parts.method, url).headers(headers).body(body).send().await?;
        let (status, headers) = (passed.status(), kept(passed.headers()));
        if fate == Fate::AnswerLost {
            // The server has done it when its whole answer is there.
            passed.bytes().await?;
            return Ok(broken());
        }
        let cut = self.simulator.0.cut.subscribe();
        let chunks = stream::unfold((passed, cut), |(mut passed, mut cut)| async move {
            let chunk = tokio::select! {
                biased;
                () = is_cut(&mut cut) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                chunk = passed.chunk() => chunk.map_err(io::Error::other),
            };
            chunk.transpose().map(|chunk| (chunk, (passed, cut)))
        });
        Ok((status, headers, Body::from_stream(chunks)).into_response())
    }
}
