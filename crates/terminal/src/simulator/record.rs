//! What a register asked a simulated terminal and what it got, for its makers to look at. Without secrets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::simulator::{Record, RecordedCall};
use selfsame_domain::clock::Clock;
use selfsame_domain::payment_code::CODE_DIGITS;
use serde_json::{Value, json};

use super::Simulator;
use crate::lock;

/// Calls that are kept.
const CALLS_MAX: usize = 500;

/// Largest JSON body that is looked at, in bytes. The interface's own are a few hundred.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Largest answer that is looked at, in bytes. The longest one of the interface is its diagnostics.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Longest wait for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is kept: calls of registers. Pairing, whose answers are secrets, is none of them.
const RECORDED: [&str; 5] =
    ["/v1/verifications", "/v1/terminal", "/v1/prepare", "/v1/events", "/v1/handover"];

/// The calls.
pub(super) struct Recorder {
    calls: Mutex<VecDeque<RecordedCall>>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { calls: Mutex::new(VecDeque::new()), clock }
    }

    pub(super) fn all(&self) -> Record {
        Record { data: lock(&self.calls).iter().cloned().collect() }
    }

    fn add(&self, call: RecordedCall) {
        let mut calls = lock(&self.calls);
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(call);
    }
}

fn is_recorded(path: &str) -> bool {
    let below =
        |start: &&str| path.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    RECORDED.iter().any(below)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/") && value.contains("json"))
}

/// Takes what nobody may keep out of a body: digits of codes but for the last four, identifiers, PINs.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let hide = |(name, value): (String, Value)| {
                let hidden = match name.as_str() {
                    "pin" | "token" => json!("***"),
                    "identifier" => json!({ "kind": value["kind"], "value": "***" }),
                    _ => without_secrets(value),
                };
                (name, hidden)
            };
            Value::Object(fields.into_iter().map(hide).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_secrets).collect()),
        Value::String(text) if is_code(&text) => json!(format!("***{}", &text[CODE_DIGITS - 4..])),
        other => other,
    }
}

fn is_code(text: &str) -> bool {
    text.len() == CODE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn shown(body: &Bytes) -> Option<Value> {
    serde_json::from_slice(body).ok().map(without_secrets)
}

/// Passes a call on, and keeps what it asked and got.
pub(super) async fn record(
    State(simulator): State<Simulator>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !is_recorded(request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let recorder = &simulator.0.recorder;
    let (at, started) = (recorder.clock.now(), Instant::now());
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let (request, asked) = if is_json(request.headers()) {
        let (parts, body) = request.into_parts();
        let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
        let body = body.map_err(|_| Problem::new(ProblemCode::RequestTimeout))?;
        let body = body.map_err(|_| Problem::new(ProblemCode::PayloadTooLarge))?;
        let asked = shown(&body);
        (Request::from_parts(parts, Body::from(body)), asked)
    } else {
        (request, None)
    };
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let (response, answer) = if is_json(response.headers()) {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| Problem::new(ProblemCode::Internal))?;
        let answer = shown(&body);
        (Response::from_parts(parts, Body::from(body)), answer)
    } else {
        (response, None)
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    recorder.add(RecordedCall { at, method, path, request: asked, status, answer, duration_ms });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairing_is_not_kept() {
        for path in ["/v1/verifications", "/v1/verifications/ses_1/handover", "/v1/terminal", "/v1/events"] {
            assert!(is_recorded(path), "{path}");
        }
        for path in
            ["/v1/pairings", "/v1/pairings/par_1/code", "/v1/registers", "/v1/terminals", "/v1/simulator"]
        {
            assert!(!is_recorded(path), "{path}");
        }
    }

    #[test]
    fn what_is_kept_has_no_secrets() {
        let asked = json!({ "pin": "2580", "identifier": { "kind": "phone_last4", "value": "0142" },
            "list": [{ "digits": "980123456789012345" }, "980123456789012345", "1795000000000"] });
        let kept = without_secrets(asked);
        assert_eq!(
            kept,
            json!({ "pin": "***", "identifier": { "kind": "phone_last4", "value": "***" },
                "list": [{ "digits": "***2345" }, "***2345", "1795000000000"] })
        );
    }
}
