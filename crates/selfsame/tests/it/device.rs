//! A terminal that signs its requests, also wrongly.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use selfsame_api::bytes::Bytes;
use selfsame_api::signature::{self, SignatureHeaders};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::TerminalId;
use selfsame_domain::time::Timestamp;
use selfsame_terminal::device::{DeviceError, DeviceIdentity, ServerLink};
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

pub fn fresh_nonce() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system's generator answers");
    Bytes::from(bytes).encode()
}

/// Signs as `key_id` with `key` at `at`.
pub fn sign(
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
        headers: signature::sign(key, key_id, &request, &fresh_nonce(), at),
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
        let identity = DeviceIdentity::activate(base, terminal, code, file, clock.clone()).await?;
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
        sign(&self.signing_key, &self.key_id, method, path, body, self.clock.now())
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
