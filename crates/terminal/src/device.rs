//! The identity of this machine: a key made here, activated once with a code, and kept in a file that only its owner
//! can read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use selfsame_api::bytes::Bytes;
use selfsame_api::client::{Client, ClientError, Credentials, DeviceKey, Events};
use selfsame_api::merchant::Secret;
use selfsame_api::problem::ProblemCode;
use selfsame_api::signature::ALGORITHM;
use selfsame_api::terminal::{ActivatedTerminal, Activation};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::TerminalId;
use selfsame_domain::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{random, write_private};

/// Clocks that are off by more are not corrected: somebody must look at the machine.
const SKEW_MAX_MS: i64 = 5 * 60 * 1000;

/// Longest wait for the activation's answer.
const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Who this machine is.
#[derive(Clone)]
pub struct DeviceIdentity {
    /// What the server said at activation.
    pub terminal: ActivatedTerminal,
    /// Where the server is.
    pub server: String,
    key: SigningKey,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    server: String,
    terminal: ActivatedTerminal,
    private_key: Bytes,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file is absent or cannot be read or written.
    #[error(
        "failed to read or write the device identity `{path}`: activate this terminal with `selfsame activate`"
    )]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the device identity `{0}` is damaged: activate this terminal again")]
    Damaged(PathBuf),
    /// The server did not activate it.
    #[error("the payment server did not activate this terminal")]
    Activation(#[from] ClientError),
}

impl DeviceIdentity {
    /// Reads the identity of this machine.
    pub fn load(path: &Path) -> Result<Self, DeviceError> {
        let read = fs::read(path).map(Zeroizing::new);
        let bytes = read.map_err(|source| DeviceError::File { path: path.to_owned(), source })?;
        let damaged = || DeviceError::Damaged(path.to_owned());
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let key = Zeroizing::new(stored.private_key.to_array::<32>().ok_or_else(damaged)?);
        Ok(Self { terminal: stored.terminal, server: stored.server, key: SigningKey::from_bytes(&key) })
    }

    /// Makes a key on this machine, has it activated with the one-time code, and keeps it in a new file.
    pub async fn activate(
        server: &str,
        terminal: TerminalId,
        activation_code: &str,
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let seed = Zeroizing::new(random::<32>());
        let key = SigningKey::from_bytes(&seed);
        let public_key = Bytes::from(key.verifying_key().to_bytes());
        let device = DeviceKey { key_id: public_key.encode(), signing_key: key.clone() };
        let link = ServerLink::new(server, device, clock);
        let activation = Activation {
            terminal,
            activation_code: Secret(activation_code.to_owned()),
            algorithm: ALGORITHM.to_owned(),
            public_key,
        };
        let activated = link.post("/v1/terminals/activate", &activation, ACTIVATION_TIMEOUT).await?;
        let identity = Self { terminal: activated, server: server.to_owned(), key };
        identity.save(path).map_err(|source| DeviceError::File { path: path.to_owned(), source })?;
        Ok(identity)
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let stored = Stored {
            server: self.server.clone(),
            terminal: self.terminal.clone(),
            private_key: Bytes::from(self.key.to_bytes()),
        };
        let bytes = Zeroizing::new(serde_json::to_vec_pretty(&stored).map_err(io::Error::other)?);
        write_private(path, &bytes)
    }

    /// The way to the payment server, every request signed.
    pub fn link(&self, clock: Arc<dyn Clock>) -> ServerLink {
        let device = DeviceKey { key_id: self.terminal.key_id.to_string(), signing_key: self.key.clone() };
        ServerLink::new(&self.server, device, clock)
    }
}

/// A clock that is corrected by what the server says.
struct CorrectedClock {
    inner: Arc<dyn Clock>,
    offset_ms: AtomicI64,
}

impl Clock for CorrectedClock {
    fn now(&self) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.inner.now().as_millis().saturating_add(offset_ms))
    }
}

/// The way to the payment server. Corrects this machine's clock once if the server says that it is off.
pub struct ServerLink {
    client: Client,
    clock: Arc<CorrectedClock>,
}

impl ServerLink {
    fn new(server: &str, device: DeviceKey, clock: Arc<dyn Clock>) -> Self {
        let clock = Arc::new(CorrectedClock { inner: clock, offset_ms: AtomicI64::new(0) });
        let client = Client::tcp(server, Credentials::Device(Arc::new(device)), clock.clone());
        Self { client, clock }
    }

    /// `POST path`, signed.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        match self.client.post(path, body, timeout).await {
            Err(error) if self.correct_clock(&error) => self.client.post(path, body, timeout).await,
            other => other,
        }
    }

    /// `GET path`, signed.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, ClientError> {
        match self.client.get(path, timeout).await {
            Err(error) if self.correct_clock(&error) => self.client.get(path, timeout).await,
            other => other,
        }
    }

    /// Where the payment server is.
    pub(crate) fn address(&self) -> &str {
        self.client.address()
    }

    /// By how much this machine's clock is corrected, in milliseconds.
    pub(crate) fn clock_correction_ms(&self) -> i64 {
        self.clock.offset_ms.load(Ordering::Relaxed)
    }

    /// Opens a stream of events, signed.
    pub(crate) async fn events(
        &self,
        path: &str,
        open_timeout: Duration,
        silence_max: Duration,
    ) -> Result<Events, ClientError> {
        match self.client.events(path, open_timeout, silence_max).await {
            Err(error) if self.correct_clock(&error) => {
                self.client.events(path, open_timeout, silence_max).await
            }
            other => other,
        }
    }

    /// Takes over the server's time if that explains the refusal. Answers whether trying again makes sense.
    fn correct_clock(&self, error: &ClientError) -> bool {
        let problem = error.problem().filter(|problem| problem.code == ProblemCode::SignatureExpired);
        let server_time = problem.and_then(|problem| problem.server_time.as_ref()?.parse::<Timestamp>().ok());
        let Some(server_time) = server_time else { return false };
        let offset_ms = server_time.as_millis() - self.clock.inner.now().as_millis();
        if offset_ms.abs() > SKEW_MAX_MS {
            tracing::error!(offset_ms, "this machine's clock is too far from the server's to be corrected");
            return false;
        }
        tracing::warn!(offset_ms, "corrected this machine's clock by the server's");
        self.clock.offset_ms.store(offset_ms, Ordering::Relaxed);
        true
    }
}
