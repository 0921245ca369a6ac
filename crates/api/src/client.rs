//! The HTTP client of all our own callers: JSON over TCP or a Unix socket, every call with a deadline.

use std::path::Path;
use std::time::Duration;

use selfsame_domain::clock::Clock;
use selfsame_domain::key_use::KeyUse;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::device_key::{DeviceSigner, SignerError};
use crate::problem::Problem;
use crate::signature;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why a call gave no answer of the wanted kind.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The other side refused, and said why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// No connection: the request was certainly not handled.
    #[error("failed to connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The connection broke or the deadline passed: the request may or may not have been handled.
    #[error("no answer from {address}")]
    NoAnswer {
        /// Where.
        address: String,
        /// Why.
        source: reqwest::Error,
    },
    /// A stream that has gone quiet, or one that was never opened in time.
    #[error("{address} has been silent for too long")]
    Silent {
        /// Where.
        address: String,
    },
    /// The request was not signed, so it was not sent.
    #[error("a request to {address} could not be signed")]
    Unsigned {
        /// Where it should have gone.
        address: String,
        /// Why.
        source: SignerError,
    },
    /// An answer that is not of the documented form.
    #[error("{address} answered {status} in an unknown form")]
    Answer {
        /// Where.
        address: String,
        /// HTTP status.
        status: u16,
    },
}

impl ClientError {
    /// The problem document, if the other side sent one.
    pub fn problem(&self) -> Option<&Problem> {
        if let ClientError::Problem(problem) = self { Some(problem) } else { None }
    }

    /// Whether the request was certainly not handled.
    pub fn is_certainly_unsent(&self) -> bool {
        matches!(self, ClientError::Connect { .. } | ClientError::Unsigned { .. })
    }
}

/// How a client proves who it is.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Not at all: Unix sockets, whose file mode decides.
    #[default]
    None,
    /// An API key.
    Bearer(crate::merchant::Secret),
    /// A device key: every request is signed.
    Device(std::sync::Arc<DeviceKey>),
}

/// Counts the uses of a device key on this machine.
pub type KeyUseCounter = dyn Fn() -> Result<KeyUse, SignerError> + Send + Sync;

/// A device key with the name that the server gave it.
pub struct DeviceKey {
    /// The name, which signatures carry.
    pub key_id: String,
    /// Signs; whoever calls never sees the key.
    pub signer: std::sync::Arc<dyn DeviceSigner>,
    /// The next use, never the same twice.
    pub next_use: std::sync::Arc<KeyUseCounter>,
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKey({}, ***)", self.key_id)
    }
}

/// An answer with what its headers said.
#[derive(Debug)]
pub struct Answer<T> {
    /// The body.
    pub body: T,
    /// HTTP status.
    pub status: u16,
    /// The reference had been answered before.
    pub replayed: bool,
}

/// A client of one interface.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    address: String,
    credentials: Credentials,
    clock: std::sync::Arc<dyn Clock>,
}

impl Client {
    /// For `http://host:port`.
    pub fn tcp(base: &str, credentials: Credentials, clock: std::sync::Arc<dyn Clock>) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { http: http(reqwest::Client::builder()), address: base.clone(), base, credentials, clock }
    }

    /// For a Unix socket.
    pub fn unix(socket: &Path, clock: std::sync::Arc<dyn Clock>) -> Self {
        let http = http(reqwest::Client::builder().unix_socket(socket));
        let address = socket.display().to_string();
        Self { http, base: "http://localhost".to_owned(), address, credentials: Credentials::None, clock }
    }

    /// The same way under another proof of who calls.
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// Where the other side is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `GET path?query`; `path_and_query` begins with a slash.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path_and_query: &str,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let answer = self.send(reqwest::Method::GET, path_and_query, None, Vec::new(), timeout).await?;
        Ok(answer.body)
    }

    /// `GET` of something that is not JSON, for example a picture.
    pub async fn get_bytes(&self, path: &str, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let (status, _, body) = self.exchange(reqwest::Method::GET, path, None, Vec::new(), timeout).await?;
        if status < 300 { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    /// `POST path` with a JSON body.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        Ok(self.post_answer(path, body, timeout).await?.body)
    }

    /// `POST path` with a JSON body; answers status and replay mark as well.
    pub async fn post_answer<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<Answer<T>, ClientError> {
        let body = serde_json::to_vec(body).expect("our own wire types always serialize");
        self.send(reqwest::Method::POST, path, Some("application/json"), body, timeout).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("our own wire types always serialize");
        Ok(self.send(reqwest::Method::PUT, path, Some("application/json"), body, timeout).await?.body)
    }

    /// `POST path` with bytes of another media type.
    pub async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        Ok(self.send(reqwest::Method::POST, path, Some(media_type), body, timeout).await?.body)
    }

    /// `GET path` of a stream of server-sent events. `open_timeout` is for the head of the answer; afterwards the stream
    /// counts as lost when nothing has come for `silence_max`.
    pub async fn events(
        &self,
        path: &str,
        open_timeout: Duration,
        silence_max: Duration,
    ) -> Result<Events, ClientError> {
        let request = self.request(reqwest::Method::GET, path, None, Vec::new(), open_timeout).await?;
        let opened = tokio::time::timeout(open_timeout, request.send()).await;
        let response = opened.map_err(|_| self.silent())?.map_err(|error| self.unsent(error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let body = tokio::time::timeout(open_timeout, self.read(response)).await;
            return Err(self.refused(status, &body.map_err(|_| self.silent())??));
        }
        Ok(Events { client: self.clone(), response, silence_max, unread: Vec::new() })
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent { address: self.address.clone() }
    }

    fn unsent(&self, error: reqwest::Error) -> ClientError {
        let (address, source) = (self.address.clone(), error.without_url());
        if source.is_connect() {
            ClientError::Connect { address, source }
        } else {
            ClientError::NoAnswer { address, source }
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        media_type: Option<&str>,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Answer<T>, ClientError> {
        let (status, replayed, body) = self.exchange(method, path, media_type, body, timeout).await?;
        if status >= 300 {
            return Err(self.refused(status, &body));
        }
        // An empty answer (204) reads as JSON null, so that callers can ask for `()`.
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        let body = serde_json::from_slice(body)
            .map_err(|_| ClientError::Answer { address: self.address.clone(), status })?;
        Ok(Answer { body, status, replayed })
    }

    fn refused(&self, status: u16, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Answer { address: self.address.clone(), status },
        }
    }

    async fn exchange(
        &self,
        method: reqwest::Method,
        path_and_query: &str,
        media_type: Option<&str>,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<(u16, bool, Vec<u8>), ClientError> {
        let request = self.request(method, path_and_query, media_type, body, timeout).await?.timeout(timeout);
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key(crate::payment::REPLAYED_HEADER);
        Ok((status, replayed, self.read(response).await?))
    }

    async fn request(
        &self,
        method: reqwest::Method,
        path_and_query: &str,
        media_type: Option<&str>,
        mut body: Vec<u8>,
        timeout: Duration,
    ) -> Result<reqwest::RequestBuilder, ClientError> {
        let url = format!("{}{path_and_query}", self.base);
        let mut request = self.http.request(method.clone(), url);
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        match &self.credentials {
            Credentials::None => {}
            Credentials::Bearer(key) => request = request.bearer_auth(&key.0),
            Credentials::Device(device) => {
                let headers;
                (headers, body) = self.sign(device, method.as_str(), path_and_query, body, timeout).await?;
                request = request
                    .header(signature::SIGNATURE_INPUT_HEADER, headers.signature_input)
                    .header(signature::SIGNATURE_HEADER, headers.signature)
                    .header(signature::CONTENT_DIGEST_HEADER, headers.content_digest);
            }
        }
        Ok(request.body(body))
    }

    fn broken(&self, error: reqwest::Error) -> ClientError {
        ClientError::NoAnswer { address: self.address.clone(), source: error.without_url() }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, ClientError> {
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::Answer { address: self.address.clone(), status });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Signs on a thread that may wait: a chip can take a tenth of a second, and may hang.
    async fn sign(
        &self,
        device: &std::sync::Arc<DeviceKey>,
        method: &str,
        path_and_query: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<(signature::SignatureHeaders, Vec<u8>), ClientError> {
        let (device, clock) = (device.clone(), self.clock.clone());
        let (method, path_and_query) = (method.to_owned(), path_and_query.to_owned());
        let signing = tokio::task::spawn_blocking(move || {
            let (path, query) = path_and_query.split_once('?').unwrap_or((&path_and_query, ""));
            let request = signature::Request { method: &method, path, query, body: &body };
            let mut random = [0u8; 16];
            getrandom::fill(&mut random).expect("the operating system's generator always answers");
            let nonce = signature::Nonce { key_use: (device.next_use)()?, random };
            let headers = signature::sign(&*device.signer, &device.key_id, &request, nonce, clock.now())?;
            Ok((headers, body))
        });
        let signed = match tokio::time::timeout(timeout, signing).await {
            Ok(Ok(signed)) => signed,
            Ok(Err(_)) => Err(SignerError("signing broke off".to_owned())),
            Err(_) => Err(SignerError("it did not answer in time".to_owned())),
        };
        signed.map_err(|source| ClientError::Unsigned { address: self.address.clone(), source })
    }
}

/// A stream of server-sent events whose data is JSON.
pub struct Events {
    client: Client,
    response: reqwest::Response,
    silence_max: Duration,
    unread: Vec<u8>,
}

impl Events {
    /// The data of the next event; `None` when the other side has ended the stream. Fields other than `data` and
    /// comments are passed over.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    let unknown =
                        |_| ClientError::Answer { address: self.client.address.clone(), status: 200 };
                    return serde_json::from_slice(data).map(Some).map_err(unknown);
                }
            }
            let chunk = tokio::time::timeout(self.silence_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| self.client.silent())?;
            let Some(chunk) = chunk.map_err(|error| self.client.broken(error))? else { return Ok(None) };
            if self.unread.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::Answer { address: self.client.address.clone(), status: 200 });
            }
            self.unread.extend_from_slice(&chunk);
        }
    }
}

fn http(builder: reqwest::ClientBuilder) -> reqwest::Client {
    // Kept connections save a round trip per call; a till has a handful of peers.
    builder
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(8)
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client without TLS has nothing that can fail to load")
}
