//! A terminal that signs its requests, also wrongly.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::SigningKey;
use selfsame_api::bytes::Bytes;
use selfsame_api::signature::{self, Nonce, SignatureHeaders};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::TerminalId;
use selfsame_domain::key_use::KeyUse;
use selfsame_domain::time::Timestamp;
use selfsame_terminal::device::{DeviceError, DeviceIdentity, KeySource, ServerLink};
use serde_json::Value;

use crate::caller::{Reply, http};

/// A request with its signature.
#[derive(Clone)]
pub struct Signed {
    pub method: String,
    pub path_and_query: String,
    pub headers: SignatureHeaders,
    pub body: Vec<u8>,
}

/// An activated terminal.
pub struct Device {
    pub identity: DeviceIdentity,
    pub signing_key: SigningKey,
    pub key_id: String,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// A nonce of this use.
pub fn nonce_of(key_use: KeyUse) -> Nonce {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).expect("the operating system's generator answers");
    Nonce { key_use, random }
}

/// Signs as `key_id` with `key` at `at`, counting for itself.
pub fn sign(
    key: &SigningKey,
    key_id: &str,
    method: &str,
    path_and_query: &str,
    body: &[u8],
    at: Timestamp,
) -> Signed {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let key_use = KeyUse { start: 1, instance: 7, counter: COUNTER.fetch_add(1, Ordering::Relaxed) };
    sign_as(key_use, key, key_id, method, path_and_query, body, at)
}

/// The same in a count that is given.
pub fn sign_as(
    key_use: KeyUse,
    key: &SigningKey,
    key_id: &str,
    method: &str,
    path_and_query: &str,
    body: &[u8],
    at: Timestamp,
) -> Signed {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let request = signature::Request { method, path, query, body };
    Signed {
        method: method.to_owned(),
        path_and_query: path_and_query.to_owned(),
        headers: signature::sign(key, key_id, &request, nonce_of(key_use), at)
            .expect("a key in memory signs"),
        body: body.to_vec(),
    }
}

/// Sends a signed request as it is.
pub async fn send(http: &reqwest::Client, base: &str, signed: &Signed) -> Reply {
    let method = signed.method.parse().expect("a method");
    let request = http
        .request(method, format!("{base}{}", signed.path_and_query))
        .header("content-type", "application/json")
        .header("signature-input", &signed.headers.signature_input)
        .header("signature", &signed.headers.signature)
        .header("content-digest", &signed.headers.content_digest)
        .body(signed.body.clone());
    Reply::read(request.send().await.expect("the server answers")).await
}

impl Device {
    /// Activates through the product's own code, which keeps the identity in a file.
    pub async fn activate(
        base: &str,
        terminal: TerminalId,
        code: &str,
        file: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let identity =
            DeviceIdentity::activate(base, terminal, code, KeySource::File, file, clock.clone()).await?;
        let stored: Value =
            serde_json::from_slice(&std::fs::read(file).expect("the identity is kept")).expect("JSON");
        let seed = Bytes::decode(stored["private_key"].as_str().expect("a key")).expect("base64");
        let signing_key = SigningKey::from_bytes(&seed.to_array().expect("32 bytes"));
        let key_id = identity.terminal.key_id.to_string();
        Ok(Self { identity, signing_key, key_id, http: http(), clock })
    }

    pub fn terminal(&self) -> TerminalId {
        self.identity.terminal.terminal
    }

    pub fn link(&self) -> ServerLink {
        self.identity.link(self.clock.clone())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn sign(&self, method: &str, path: &str, body: &[u8]) -> Signed {
        let key_use = self.identity.next_use().expect("the count is beside the identity");
        sign_as(key_use, &self.signing_key, &self.key_id, method, path, body, self.clock.now())
    }

    pub async fn send(&self, signed: &Signed) -> Reply {
        send(&self.http, &self.identity.server, signed).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(&self.sign("POST", path, body.to_string().as_bytes())).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(&self.sign("GET", path, b"")).await
    }
}
