//! Who calls: operator and merchants by key, terminals by signature.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use selfsame_api::bytes::Bytes as WireBytes;
use selfsame_api::device_key::DevicePublicKey;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::serve::{Body, parse_json};
use selfsame_api::sign_in::PAGE_HEADER;
use selfsame_api::signature::{
    self, CONTENT_DIGEST_HEADER, NONCE_MEMORY, Presented, SIGNATURE_HEADER, SIGNATURE_INPUT_HEADER,
    SignatureError,
};
use selfsame_domain::id::{AttemptId, KeyId, MerchantId};
use selfsame_domain::ledger::Caller;
use selfsame_domain::site::Mode;
use selfsame_store::{ApiKey, SignedUse, Terminal, Used};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::refusal::OrProblem;
use crate::sign_in::key_of_page;
use crate::{AppState, ClonePolicy, random};

/// An API key as its holder sees it, this once.
pub(crate) struct ApiKeySecret(pub(crate) String);

/// Makes a key of 256 random bits. The prefix tells people and secret scanners what it is.
pub(crate) fn new_api_key(role: Caller, mode: Mode) -> ApiKeySecret {
    let kind = match role {
        Caller::Operator => "ok",
        Caller::Merchant(_) => "sk",
    };
    ApiKeySecret(format!("{kind}_{}_{}", mode.as_str(), WireBytes::from(random::<32>()).encode()))
}

/// What is stored of a key. Plain SHA-256 is enough for 256 random bits.
pub(crate) fn hash_api_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The key that a request shows, or with which somebody is signed in at the page that asks.
async fn api_key(parts: &Parts, app: &AppState) -> Result<ApiKey, Problem> {
    let refused = || Problem::new(ProblemCode::Unauthenticated);
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        if !parts.headers.contains_key(PAGE_HEADER) {
            return Err(refused());
        }
        return key_of_page(parts, app).await?.ok_or_else(refused);
    };
    let key = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).ok_or_else(refused)?;
    app.store.api_key(hash_api_key(key), app.now()).await.or_problem()?.ok_or_else(refused)
}

/// The operator's staff or systems.
pub(crate) struct Operator {
    pub(crate) key: KeyId,
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let key = api_key(parts, app).await?;
        match key.role {
            Caller::Operator => Ok(Self { key: key.id }),
            Caller::Merchant(_) => Err(Problem::new(ProblemCode::Forbidden)),
        }
    }
}

/// A merchant's till or system.
pub(crate) struct Merchant(pub(crate) MerchantId);

impl FromRequestParts<AppState> for Merchant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        match api_key(parts, app).await?.role {
            Caller::Merchant(merchant) => Ok(Self(merchant)),
            Caller::Operator => Err(Problem::new(ProblemCode::Forbidden)),
        }
    }
}

/// The operator or a merchant: each sees its own.
pub(crate) enum KeyHolder {
    /// The operator, with the key that asks.
    Operator(KeyId),
    /// One merchant.
    Merchant(MerchantId),
}

impl KeyHolder {
    /// The merchant that answers are limited to; the operator sees all.
    pub(crate) fn merchant(&self) -> Option<MerchantId> {
        if let KeyHolder::Merchant(merchant) = self { Some(*merchant) } else { None }
    }

    /// Who at the operator.
    pub(crate) fn actor(&self) -> Option<KeyId> {
        if let KeyHolder::Operator(key) = self { Some(*key) } else { None }
    }
}

impl FromRequestParts<AppState> for KeyHolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        let key = api_key(parts, app).await?;
        Ok(match key.role {
            Caller::Operator => KeyHolder::Operator(key.id),
            Caller::Merchant(merchant) => KeyHolder::Merchant(merchant),
        })
    }
}

/// A request with its signature headers and body, not checked yet.
pub(crate) struct Unchecked {
    parts: Parts,
    body: Bytes,
    pub(crate) presented: Presented,
}

impl Unchecked {
    async fn read(request: Request, app: &AppState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let presented = Presented::parse(
            header(SIGNATURE_INPUT_HEADER),
            header(SIGNATURE_HEADER),
            header(CONTENT_DIGEST_HEADER),
        );
        let presented =
            presented.map_err(|error| Problem::new(ProblemCode::SignatureInvalid).detail(error))?;
        let request = Request::from_parts(parts.clone(), body);
        let Body(body) = Body::from_request(request, app).await?;
        Ok(Self { parts, body, presented })
    }

    /// Checks time, digest and signature against a public key.
    pub(crate) fn verify(&self, public_key: &DevicePublicKey, app: &AppState) -> Result<(), Problem> {
        let invalid = || Problem::new(ProblemCode::SignatureInvalid);
        let request = signature::Request {
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            query: self.parts.uri.query().unwrap_or_default(),
            body: &self.body,
        };
        let now = app.now();
        self.presented.verify(public_key, &request, now).map_err(|error| match error {
            SignatureError::Expired(_) => Problem {
                server_time: Some(now.to_string()),
                ..Problem::new(ProblemCode::SignatureExpired).detail(error)
            },
            _ => invalid().detail(error),
        })
    }

    /// The JSON body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse_json(&self.body)
    }
}

impl FromRequest<AppState> for Unchecked {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        Self::read(request, app).await
    }
}

/// A request that an active terminal signed and that was not seen before.
pub(crate) struct Signed {
    pub(crate) terminal: Terminal,
    /// The key that signed.
    pub(crate) key: KeyId,
    request: Unchecked,
}

impl Signed {
    /// The JSON body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.request.json()
    }
}

impl FromRequest<AppState> for Signed {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        Self::read(request, app, Indulgence::None).await
    }
}

/// The same of a terminal that may be locked: it may still ask how it stands.
pub(crate) struct SignedThoughLocked(pub(crate) Signed);

impl FromRequest<AppState> for SignedThoughLocked {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        Signed::read(request, app, Indulgence::Locked).await.map(Self)
    }
}

/// The same with a key that a rotation may have replaced: it may still ask for the answer that was lost.
pub(crate) struct SignedThoughReplaced(pub(crate) Signed);

impl FromRequest<AppState> for SignedThoughReplaced {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        Signed::read(request, app, Indulgence::Replaced).await.map(Self)
    }
}

/// What does not matter for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indulgence {
    None,
    Locked,
    Replaced,
}

impl Signed {
    async fn read(request: Request, app: &AppState, indulgence: Indulgence) -> Result<Self, Problem> {
        let request = Unchecked::read(request, app).await?;
        let invalid = || Problem::new(ProblemCode::SignatureInvalid);
        let key_id: KeyId = request.presented.key_id.parse().map_err(|_| invalid())?;
        let key = app.store.device_key(key_id, app.now()).await.or_problem()?.ok_or_else(invalid)?;
        let public_key = DevicePublicKey::from_bytes(key.algorithm, &key.public_key).ok_or_else(invalid)?;
        request.verify(&public_key, app)?;
        if key.retired && !(key.replaced && indulgence == Indulgence::Replaced) {
            return Err(Problem::new(ProblemCode::TerminalRetired));
        }
        if key.locked && indulgence != Indulgence::Locked {
            return Err(Problem::new(ProblemCode::TerminalLocked));
        }
        let locked = use_once(&request.presented, key_id, &key.terminal, app).await?;
        if locked && indulgence != Indulgence::Locked {
            return Err(Problem::new(ProblemCode::TerminalLocked));
        }
        Ok(Self { terminal: key.terminal, key: key_id, request })
    }
}

/// Takes a signature that fits, once. Answers whether the terminal was locked, because its key seems to be used on two
/// machines.
async fn use_once(
    presented: &Presented,
    key: KeyId,
    terminal: &Terminal,
    app: &AppState,
) -> Result<bool, Problem> {
    let now = app.now();
    let lock_clones = app.config.clone_policy == ClonePolicy::Lock;
    let used = SignedUse {
        key,
        terminal: terminal.terminal,
        nonce: presented.nonce.to_string(),
        key_use: presented.nonce.key_use,
        expires_at: now + NONCE_MEMORY,
        lock_clones,
        attempt: AttemptId::new(now, random()),
    };
    match app.store.use_key(used, now).await.or_problem()? {
        Used::Fresh => Ok(false),
        Used::Replayed => Err(Problem::new(ProblemCode::SignatureReplayed)),
        Used::Suspect { sign, recorded } => {
            let sign = sign.as_str();
            if recorded || lock_clones {
                tracing::error!(
                    terminal.id = %terminal.terminal, key.id = %key, sign, locked = lock_clones,
                    "this terminal's key seems to be used on two machines, or its machine was set back to an earlier \
                     state: see docs/identity.md"
                );
            }
            if lock_clones {
                app.channels.wake(terminal.terminal);
            }
            Ok(lock_clones)
        }
    }
}
