//! The matcher: the one process that sees samples and templates in the clear. Part of step 2 of the method.
//!
//! It opens the seal of frames, decodes them, extracts templates and compares them with the candidates that the
//! server selected. Frames and templates live in memory for the length of one request. Called by the server only,
//! over the site's own Unix socket; knows nothing of money, names or phone numbers.

mod algorithm;
mod comparison;
mod extraction;
mod face;
mod finger;
mod frame;
mod template;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use selfsame_api::matcher::{
    ComparisonRequest, ComparisonResponse, ExtractionRequest, ExtractionResponse, Matcher as Description,
};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::sealing::OpeningKey;
use selfsame_api::serve::{Json, bind_unix, serve_unix, with_fallbacks};
use selfsame_biometrics::model_pack::{ModelPack, PackError};
use selfsame_domain::envelope::KeyEncryptionKey;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::algorithm::Algorithms;
use crate::face::Face;

/// Largest request: eight frames of a megabyte and 1,280 templates of a few kilobytes, in base64.
const BODY_BYTES_MAX: usize = 24 << 20;

/// Requests that are worked on at a time: one per core of the small machines that sites run on. The process runs at a
/// lower priority than the server, so that charges do not wait for pictures.
const PARALLEL: usize = 2;

/// Requests that may wait for those. At a tenth of a second each, the last one waits for less than half a second;
/// beyond that callers hear `matcher_busy` at once.
const WAITING_MAX: usize = 8;

/// What the matcher is told at start.
pub struct Config {
    /// Where to listen.
    pub socket: PathBuf,
    /// The key that frames are sealed to grows from this. 32 random bytes from the site's secrets.
    pub opening_seed: Zeroizing<[u8; 32]>,
    /// Wraps the keys of templates. Only this process has it.
    pub template_key: KeyEncryptionKey,
    /// The networks for faces; without them faces are not compared.
    pub face_pack: Option<ModelPack>,
}

/// Why the matcher does not run.
#[derive(Debug, thiserror::Error)]
pub enum MatcherError {
    /// The socket could not be made.
    #[error("failed to listen on `{socket}`")]
    Listen {
        /// Which socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The networks of the face pack are no networks that we can run.
    #[error("the face model pack cannot be used")]
    Pack(#[from] PackError),
    /// Serving failed.
    #[error("the matcher stopped serving")]
    Serve(#[source] io::Error),
}

/// Keys and algorithms of this process.
struct Matcher {
    opening: OpeningKey,
    template: KeyEncryptionKey,
    algorithms: Algorithms,
}

#[derive(Clone)]
struct App {
    matcher: Arc<Matcher>,
    /// One for each request that is here.
    places: Arc<Semaphore>,
    /// One for each request that is worked on.
    permits: Arc<Semaphore>,
}

/// Bytes of the operating system's generator. The one place where randomness enters the matcher.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

/// Answers the server until `shutdown` is done.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), MatcherError> {
    let listen = |source| MatcherError::Listen { socket: config.socket.clone(), source };
    let listener = bind_unix(&config.socket).map_err(listen)?;
    let face = config.face_pack.as_ref().map(|pack| Face::new(pack, PARALLEL)).transpose()?;
    let matcher = Matcher {
        opening: OpeningKey::from_seed(&config.opening_seed),
        template: config.template_key,
        algorithms: Algorithms::new(face),
    };
    let app = App {
        matcher: Arc::new(matcher),
        places: Arc::new(Semaphore::new(PARALLEL + WAITING_MAX)),
        permits: Arc::new(Semaphore::new(PARALLEL)),
    };
    let router = Router::new()
        .route("/v1/matcher", get(describe))
        .route("/v1/comparisons", post(compare))
        .route("/v1/extractions", post(extract))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app);
    serve_unix(listener, with_fallbacks(router), shutdown).await.map_err(MatcherError::Serve)
}

async fn describe(State(app): State<App>) -> Json<Description> {
    let Matcher { opening, algorithms, .. } = &*app.matcher;
    Json(Description { key: opening.public().clone(), algorithms: algorithms.descriptions() })
}

async fn compare(
    State(app): State<App>,
    Json(request): Json<ComparisonRequest>,
) -> Result<Json<ComparisonResponse>, Problem> {
    work(&app, move |matcher| comparison::compare(matcher, &request)).await.map(Json)
}

async fn extract(
    State(app): State<App>,
    Json(request): Json<ExtractionRequest>,
) -> Result<Json<ExtractionResponse>, Problem> {
    work(&app, move |matcher| extraction::extract(matcher, &request)).await.map(Json)
}

/// Runs image work away from the threads that answer, a few at a time; refuses what would have to wait for long. A
/// panic in it fails its own request only.
async fn work<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Matcher) -> T + Send + 'static,
) -> Result<T, Problem> {
    let unavailable = || Problem::new(ProblemCode::Internal);
    let place = app.places.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::new(ProblemCode::MatcherBusy))?;
    let permit = app.permits.clone().acquire_owned().await.map_err(|_| unavailable())?;
    let matcher = app.matcher.clone();
    let task = tokio::task::spawn_blocking(move || {
        let value = work(&matcher);
        drop((place, permit));
        value
    });
    task.await.map_err(|_| unavailable())
}
