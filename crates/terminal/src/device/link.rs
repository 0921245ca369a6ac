//! The way to the payment server: every request signed, the clock corrected by what the server says, and the key taken
//! anew when it was changed meanwhile.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfsame_api::client::{Client, ClientError, Credentials, DeviceKey, Events};
use selfsame_api::device_key::{DeviceSigner, SignerError};
use selfsame_api::problem::ProblemCode;
use selfsame_domain::clock::Clock;
use selfsame_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rotation::present_key;
use super::uses::MachineUses;
use crate::lock;

/// Clocks that are off by more are not corrected: somebody must look at the machine. Less than the server accepts anyway
/// (30 seconds ahead, 60 behind) would never be corrected; see ADR 0024.
pub(crate) const SKEW_MAX_MS: i64 = 5 * 60 * 1000;

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

/// The way to the payment server. Corrects this machine's clock if the server says that it is off.
pub struct ServerLink {
    client: Mutex<Present>,
    clock: Arc<CorrectedClock>,
    /// How far this machine's clock was ahead of the server's when that was measured last.
    skew_ms: Mutex<Option<i64>>,
    uses: Arc<MachineUses>,
    /// Where the identity is read again when the key was changed; absent while there is none yet.
    identity: Option<PathBuf>,
}

/// What signs now.
#[derive(Clone)]
struct Present {
    key_id: String,
    client: Client,
}

/// What was done already about a refusal, so that nothing is done twice.
#[derive(Default)]
struct Remedies {
    clock: bool,
    key: bool,
}

fn credentials(key_id: &str, signer: Arc<dyn DeviceSigner>, uses: &Arc<MachineUses>) -> Credentials {
    let uses = uses.clone();
    let next_use = move || {
        let failed = |error: std::io::Error| SignerError(format!("the count of signatures: {error}"));
        uses.next().map_err(failed)
    };
    Credentials::Device(Arc::new(DeviceKey {
        key_id: key_id.to_owned(),
        signer,
        next_use: Arc::new(next_use),
    }))
}

impl ServerLink {
    pub(super) fn new(
        server: &str,
        key_id: String,
        signer: Arc<dyn DeviceSigner>,
        uses: Arc<MachineUses>,
        clock: Arc<dyn Clock>,
        identity: Option<PathBuf>,
    ) -> Self {
        let clock = Arc::new(CorrectedClock { inner: clock, offset_ms: AtomicI64::new(0) });
        let client = Client::tcp(server, credentials(&key_id, signer, &uses), clock.clone());
        let skew_ms = Mutex::new(None);
        Self { client: Mutex::new(Present { key_id, client }), clock, skew_ms, uses, identity }
    }

    /// `POST path`, signed.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let mut remedies = Remedies::default();
        loop {
            let present = self.present();
            match present.client.post(path, body, timeout).await {
                Err(error) if self.remedy(&error, &present, &mut remedies).await => {}
                other => return other,
            }
        }
    }

    /// `GET path`, signed.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, ClientError> {
        let mut remedies = Remedies::default();
        loop {
            let present = self.present();
            match present.client.get(path, timeout).await {
                Err(error) if self.remedy(&error, &present, &mut remedies).await => {}
                other => return other,
            }
        }
    }

    /// Where the payment server is.
    pub(crate) fn address(&self) -> String {
        self.present().client.address().to_owned()
    }

    /// The time of this machine, not corrected.
    pub(crate) fn machine_time(&self) -> Timestamp {
        self.clock.inner.now()
    }

    /// How far this machine's clock is ahead of the server's, in milliseconds, as measured last.
    pub(crate) fn clock_skew_ms(&self) -> Option<i64> {
        *lock(&self.skew_ms)
    }

    /// Measures this machine's clock by an answer with the server's time: right to half of what the answer took.
    pub(crate) fn measure_clock(&self, server_time: Timestamp, sent_at: Timestamp, received_at: Timestamp) {
        let middle_ms = sent_at.as_millis().midpoint(received_at.as_millis());
        *lock(&self.skew_ms) = Some(middle_ms - server_time.as_millis());
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
        let mut remedies = Remedies::default();
        loop {
            let present = self.present();
            match present.client.events(path, open_timeout, silence_max).await {
                Err(error) if self.remedy(&error, &present, &mut remedies).await => {}
                other => return other,
            }
        }
    }

    fn present(&self) -> Present {
        lock(&self.client).clone()
    }

    /// Does about a refusal what can be done here. Answers whether trying again makes sense: such a request was certainly
    /// not handled.
    async fn remedy(&self, error: &ClientError, refused: &Present, done: &mut Remedies) -> bool {
        let code = error.problem().map(|problem| problem.code);
        if code == Some(ProblemCode::SignatureExpired) && !done.clock {
            done.clock = true;
            return self.correct_clock(error);
        }
        let key_gone =
            code == Some(ProblemCode::TerminalRetired) || matches!(error, ClientError::Unsigned { .. });
        if key_gone && !done.key {
            done.key = true;
            return self.take_present_key(refused).await;
        }
        false
    }

    /// Takes over the server's time if that explains the refusal.
    fn correct_clock(&self, error: &ClientError) -> bool {
        let server_time = error.problem().and_then(|problem| problem.server_time.as_ref());
        let Some(server_time) = server_time.and_then(|text| text.parse::<Timestamp>().ok()) else {
            return false;
        };
        let offset_ms = server_time.as_millis() - self.clock.inner.now().as_millis();
        *lock(&self.skew_ms) = Some(-offset_ms);
        if offset_ms.abs() > SKEW_MAX_MS {
            tracing::error!(
                offset_ms,
                "this machine's clock is too far from the server's to be corrected, so nothing works until it is set: \
                 let it follow a time server, or set it by hand"
            );
            return false;
        }
        tracing::warn!(offset_ms, "corrected this machine's clock by the server's");
        self.clock.offset_ms.store(offset_ms, Ordering::Relaxed);
        true
    }

    /// Takes the key that the identity has now, if it is another one.
    async fn take_present_key(&self, refused: &Present) -> bool {
        let Some(path) = &self.identity else { return false };
        if lock(&self.client).key_id != refused.key_id {
            return true;
        }
        let found = match present_key(path, self.clock.inner.clone()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the device key was refused, and there is no other");
                return false;
            }
        };
        let key_id = found.terminal.key_id.to_string();
        if key_id == refused.key_id {
            return false;
        }
        tracing::info!(key.id = %key_id, "took over the changed device key");
        let credentials = credentials(&key_id, found.signer, &self.uses);
        let client = refused.client.with_credentials(credentials);
        *lock(&self.client) = Present { key_id, client };
        true
    }
}
