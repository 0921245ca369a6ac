//! A finger reader. Its driver posts every picture that the sensor took: `POST /v1/samples?dpi=500` with a PNG body
//! (`image/png`), answered 202 if somebody was asked to touch the reader, 409 `invalid_state` otherwise, 400 or 413 if
//! the picture cannot be used. In place of a driver, a synthetic finger touches it: `POST /v1/presses`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::FRAME_BYTES_MAX;
use selfsame_api::serve::{Body, Json, Query};
use selfsame_api::verifier::SyntheticPress;
use selfsame_biometrics::image::{decode_png, encode_png};
use selfsame_biometrics::synthetic::Master;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{CaptureError, Sample, SampleFrame};
use crate::lock;

/// Master prints that are kept for further presses of the same synthetic fingers. 0.6 MB each.
const MASTERS_KEPT: usize = 8;

/// The place where a reader's pictures arrive. At most one capture waits at a time; a later one takes its place.
#[derive(Clone, Default)]
pub struct Reader {
    waiting: Arc<Mutex<Option<oneshot::Sender<Sample>>>>,
    masters: Arc<Mutex<HashMap<u64, Arc<Master>>>>,
}

impl Reader {
    pub(super) async fn next(&self) -> Result<Sample, CaptureError> {
        let (sender, sample) = oneshot::channel();
        *lock(&self.waiting) = Some(sender);
        sample.await.map_err(|_| CaptureError::GivenUp)
    }

    /// Gives a sample to whoever waits; `false` if nobody does.
    fn deliver(&self, sample: Sample) -> bool {
        let waiting = lock(&self.waiting).take();
        waiting.is_some_and(|waiting| waiting.send(sample).is_ok())
    }

    pub(super) fn driver_routes(&self) -> Router {
        Router::new()
            .route("/v1/samples", post(take_sample))
            .layer(DefaultBodyLimit::max(FRAME_BYTES_MAX))
            .with_state(self.clone())
    }

    pub(super) fn press_routes(&self) -> Router {
        Router::new().route("/v1/presses", post(take_press)).with_state(self.clone())
    }

    fn is_awaited(&self) -> bool {
        lock(&self.waiting).as_ref().is_some_and(|waiting| !waiting.is_closed())
    }

    fn master(&self, finger: u64) -> Arc<Master> {
        if let Some(master) = lock(&self.masters).get(&finger) {
            return master.clone();
        }
        let master = Arc::new(Master::grow(finger));
        let mut masters = lock(&self.masters);
        if masters.len() >= MASTERS_KEPT {
            masters.clear();
        }
        masters.insert(finger, master.clone());
        master
    }
}

/// A press of a synthetic finger as a sample.
pub fn synthetic_sample(master: &Master, press: u64) -> Sample {
    let image = master.press(press);
    vec![SampleFrame::finger(encode_png(&image), image.resolution_dpi())]
}

fn nobody_waits() -> Problem {
    Problem::new(ProblemCode::InvalidState).detail("nobody was asked to touch the reader")
}

/// Resolution of a driver's picture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolution {
    dpi: u16,
}

async fn take_sample(
    State(reader): State<Reader>,
    Query(resolution): Query<Resolution>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != "image/png") {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType).detail("send image/png"));
    }
    // Looked at here, so that the driver hears what is wrong with its pictures; thrown away again.
    decode_png(&body, resolution.dpi)
        .map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    let sample = vec![SampleFrame::finger(body.to_vec(), resolution.dpi)];
    if reader.deliver(sample) { Ok(StatusCode::ACCEPTED) } else { Err(nobody_waits()) }
}

async fn take_press(
    State(reader): State<Reader>,
    Json(press): Json<SyntheticPress>,
) -> Result<StatusCode, Problem> {
    if !reader.is_awaited() {
        return Err(nobody_waits());
    }
    let grower = reader.clone();
    let drawn =
        tokio::task::spawn_blocking(move || synthetic_sample(&grower.master(press.finger), press.press));
    let sample = drawn.await.map_err(|_| Problem::new(ProblemCode::Internal))?;
    if reader.deliver(sample) { Ok(StatusCode::ACCEPTED) } else { Err(nobody_waits()) }
}
