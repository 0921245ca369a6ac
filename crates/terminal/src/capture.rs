//! Where samples come from: a reader (a real one through its driver, or synthetic fingers), or picture files.
//!
//! A reader's driver connects from outside: it posts every picture that its sensor took to the verification program's
//! Unix socket, `POST /v1/samples?dpi=500` with a PNG body (`image/png`), and is answered 202 if somebody was asked to
//! touch the reader, 409 `invalid_state` otherwise, 400 or 413 if the picture cannot be used.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::FRAME_BYTES_MAX;
use selfsame_api::serve::{Json, Query, body_problem};
use selfsame_api::verifier::SyntheticPress;
use selfsame_biometrics::image::{decode_png, encode_png};
use selfsame_biometrics::synthetic::Master;
use selfsame_domain::sensor::{Modality, SensorGrade};
use serde::Deserialize;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::lock;

/// Master prints that are kept for further presses of the same synthetic fingers. 0.6 MB each.
const MASTERS_KEPT: usize = 8;

/// A picture of a finger. Wiped when dropped; never printed.
pub struct Sample {
    /// PNG.
    pub png: Zeroizing<Vec<u8>>,
    /// Dots per inch.
    pub resolution_dpi: u16,
}

/// Why nothing was captured. A fault of ours, never an attempt of the payer's.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The folder or file cannot be read.
    #[error("failed to read the picture `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder has no more pictures.
    #[error("there are no more pictures in `{0}`")]
    NoMorePictures(PathBuf),
    /// The capture was given up.
    #[error("the capture was given up")]
    GivenUp,
}

/// Where samples come from.
#[derive(Clone)]
pub enum CaptureSource {
    /// A finger reader, whose driver posts pictures.
    External(Reader),
    /// Synthetic fingers that touch the reader on request. Test sites only.
    Synthetic(Reader),
    /// Picture files in the order of their names. Test sites only.
    File(PictureFiles),
}

impl CaptureSource {
    /// Its name in settings.
    pub fn name(&self) -> &'static str {
        match self {
            CaptureSource::External(_) => "external",
            CaptureSource::Synthetic(_) => "synthetic",
            CaptureSource::File(_) => "file",
        }
    }

    /// What it can capture.
    pub fn modalities(&self) -> &'static [Modality] {
        &[Modality::Finger]
    }

    /// How far its samples can be trusted: files and generators are `simulated`.
    pub fn grade(&self) -> SensorGrade {
        match self {
            CaptureSource::External(_) => SensorGrade::Finger,
            CaptureSource::Synthetic(_) | CaptureSource::File(_) => SensorGrade::Simulated,
        }
    }

    /// Waits for the next sample. Dropping the future frees the reader.
    pub async fn capture(&self) -> Result<Sample, CaptureError> {
        match self {
            CaptureSource::External(reader) | CaptureSource::Synthetic(reader) => reader.next().await,
            CaptureSource::File(files) => files.next(),
        }
    }

    /// Routes by which a driver or a synthetic finger brings samples.
    pub fn routes(&self) -> Router {
        match self {
            CaptureSource::External(reader) => Router::new()
                .route("/v1/samples", post(take_sample))
                .layer(DefaultBodyLimit::max(FRAME_BYTES_MAX))
                .with_state(reader.clone()),
            CaptureSource::Synthetic(reader) => {
                Router::new().route("/v1/presses", post(take_press)).with_state(reader.clone())
            }
            CaptureSource::File(_) => Router::new(),
        }
    }
}

/// The place where a reader's pictures arrive. At most one capture waits at a time; a later one takes its place.
#[derive(Clone, Default)]
pub struct Reader {
    waiting: Arc<Mutex<Option<oneshot::Sender<Sample>>>>,
    masters: Arc<Mutex<HashMap<u64, Arc<Master>>>>,
}

impl Reader {
    async fn next(&self) -> Result<Sample, CaptureError> {
        let (sender, sample) = oneshot::channel();
        *lock(&self.waiting) = Some(sender);
        sample.await.map_err(|_| CaptureError::GivenUp)
    }

    /// Gives a sample to whoever waits; `false` if nobody does.
    fn deliver(&self, sample: Sample) -> bool {
        let waiting = lock(&self.waiting).take();
        waiting.is_some_and(|waiting| waiting.send(sample).is_ok())
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
    Sample { png: Zeroizing::new(encode_png(&image)), resolution_dpi: image.resolution_dpi() }
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
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|rejection| body_problem(&rejection))?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != "image/png") {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType).detail("send image/png"));
    }
    // Looked at here, so that the driver hears what is wrong with its pictures; thrown away again.
    decode_png(&body, resolution.dpi)
        .map_err(|error| Problem::new(ProblemCode::InvalidRequest).detail(error))?;
    let sample = Sample { png: Zeroizing::new(body.to_vec()), resolution_dpi: resolution.dpi };
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

/// Picture files, each used once, in the order of their names.
#[derive(Clone)]
pub struct PictureFiles {
    folder: PathBuf,
    resolution_dpi: u16,
    left: Arc<Mutex<std::vec::IntoIter<PathBuf>>>,
}

impl PictureFiles {
    /// The PNG files of a folder, or one file.
    pub fn open(path: &Path, resolution_dpi: u16) -> Result<Self, CaptureError> {
        let error = |source| CaptureError::File { path: path.to_owned(), source };
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(error)? {
                let file = entry.map_err(error)?.path();
                if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            std::fs::metadata(path).map_err(error)?;
            files.push(path.to_owned());
        }
        let left = Arc::new(Mutex::new(files.into_iter()));
        Ok(Self { folder: path.to_owned(), resolution_dpi, left })
    }

    fn next(&self) -> Result<Sample, CaptureError> {
        let path =
            lock(&self.left).next().ok_or_else(|| CaptureError::NoMorePictures(self.folder.clone()))?;
        let png = std::fs::read(&path).map_err(|source| CaptureError::File { path, source })?;
        Ok(Sample { png: Zeroizing::new(png), resolution_dpi: self.resolution_dpi })
    }
}
