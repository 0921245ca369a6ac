//! Whether the camera has to be on: the page that owns it asks, and this program opens its own by it. Off is the rule, so
//! that people see by its light when they are looked at; on while a payer is verified by face, for a short time after a
//! till has said that one comes, or always where the operator wants that.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use selfsame_api::interface::WAIT_MS_MAX;
use selfsame_api::problem::Problem;
use selfsame_api::serve::Query;
use selfsame_api::verifier::CameraWish;
use serde::Deserialize;
use tokio::sync::watch;

use crate::lock;

/// How long a camera stays on after a till has said that a payer comes.
pub(crate) const PREPARED: Duration = Duration::from_secs(30);

/// When the camera is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CameraPolicy {
    /// While it is needed. Opening a camera takes half a second to a second and a half.
    #[default]
    Cold,
    /// Always.
    Warm,
}

struct Reasons {
    policy: CameraPolicy,
    sessions: usize,
    prepared_until: Option<Instant>,
}

impl Reasons {
    fn wish(&self) -> bool {
        let prepared = self.prepared_until.is_some_and(|until| Instant::now() < until);
        self.policy == CameraPolicy::Warm || self.sessions > 0 || prepared
    }
}

/// The camera's switch.
#[derive(Clone)]
pub(crate) struct CameraPower {
    reasons: Arc<Mutex<Reasons>>,
    wish: Arc<watch::Sender<CameraWish>>,
}

/// A payer is verified by face for as long as this lives.
pub(crate) struct InUse(CameraPower);

impl CameraPower {
    pub(crate) fn new(policy: CameraPolicy) -> Self {
        let reasons = Reasons { policy, sessions: 0, prepared_until: None };
        let wish = watch::Sender::new(CameraWish { sequence: 1, on: reasons.wish() });
        Self { reasons: Arc::new(Mutex::new(reasons)), wish: Arc::new(wish) }
    }

    fn decide(&self) {
        let on = lock(&self.reasons).wish();
        self.wish.send_if_modified(|wish| {
            let changed = wish.on != on;
            if changed {
                *wish = CameraWish { sequence: wish.sequence + 1, on };
            }
            changed
        });
    }

    /// What is wished, from now on.
    pub(crate) fn wish(&self) -> watch::Receiver<CameraWish> {
        self.wish.subscribe()
    }

    /// A payer comes soon.
    pub(crate) fn prepare(&self) {
        lock(&self.reasons).prepared_until = Some(Instant::now() + PREPARED);
        self.decide();
        let power = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PREPARED).await;
            power.decide();
        });
    }

    /// A payer is verified by face.
    pub(crate) fn in_use(&self) -> InUse {
        lock(&self.reasons).sessions += 1;
        self.decide();
        InUse(self.clone())
    }

    /// `GET /v1/camera?after=..&wait_ms=..` (long poll).
    pub(crate) fn routes(&self) -> Router {
        Router::new().route("/v1/camera", get(show)).with_state(self.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        lock(&self.0.reasons).sessions -= 1;
        self.0.decide();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn show(
    State(power): State<CameraPower>,
    Query(after): Query<After>,
) -> Result<Json<CameraWish>, Problem> {
    let mut changes = power.wish.subscribe();
    let wait = Duration::from_millis(after.wait_ms.min(WAIT_MS_MAX));
    let news = changes.wait_for(|wish| wish.sequence > after.after);
    // Without news the present wish is the answer.
    let _ = tokio::time::timeout(wait, news).await;
    Ok(Json(*power.wish.borrow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(power: &CameraPower) -> bool {
        power.wish.borrow().on
    }

    #[tokio::test]
    async fn a_cold_camera_is_on_only_while_it_is_needed() {
        let power = CameraPower::new(CameraPolicy::Cold);
        assert!(!on(&power));
        let (first, second) = (power.in_use(), power.in_use());
        assert!(on(&power));
        drop(first);
        assert!(on(&power), "the payer who took the first one's place is there");
        drop(second);
        assert!(!on(&power));
    }

    #[tokio::test]
    async fn a_till_that_expects_a_payer_opens_it_and_a_warm_one_is_always_on() {
        let power = CameraPower::new(CameraPolicy::Cold);
        power.prepare();
        assert!(on(&power));
        lock(&power.reasons).prepared_until = Some(Instant::now());
        power.decide();
        assert!(!on(&power));
        let warm = CameraPower::new(CameraPolicy::Warm);
        drop(warm.in_use());
        assert!(on(&warm));
    }
}
