//! The way to the matcher: the server hands over sealed frames and encrypted templates, and reads neither.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selfsame_api::client::{Client, ClientError};
use selfsame_api::matcher::{
    CalibrationPoint as WirePoint, ComparisonRequest, ComparisonResponse, ExtractionRequest,
    ExtractionResponse, Matcher as Description, SealedTemplate, WrappedKey,
};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::clock::Clock;
use selfsame_domain::verification::{CalibrationPoint, Score};
use selfsame_store::{StoredTemplate, WrappedKey as StoredKey};

/// Longest wait for the matcher, where somebody wants to pay.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Longest wait for the templates of an enrolment. They take a fraction of a second, but many times that where others keep
/// the processors busy, and asking again would cost them once more. The desk waits for half a minute.
const EXTRACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of the matcher's socket.
pub(crate) struct Matcher {
    client: Client,
}

fn unavailable(error: &ClientError) -> Problem {
    if let Some(problem) = error.problem() {
        tracing::warn!(%problem, "the matcher refused");
        if problem.code == ProblemCode::MatcherBusy {
            return Problem::new(ProblemCode::MatcherBusy);
        }
    } else {
        tracing::error!(%error, "the matcher does not answer");
    }
    Problem::new(ProblemCode::MatcherUnavailable)
}

impl Matcher {
    pub(crate) fn new(socket: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { client: Client::unix(socket, clock) }
    }

    /// Its key and algorithms.
    pub(crate) async fn describe(&self) -> Result<Description, Problem> {
        self.client.get("/v1/matcher", TIMEOUT).await.map_err(|error| unavailable(&error))
    }

    /// Compares samples with candidates.
    pub(crate) async fn compare(&self, request: &ComparisonRequest) -> Result<ComparisonResponse, Problem> {
        self.client.post("/v1/comparisons", request, TIMEOUT).await.map_err(|error| unavailable(&error))
    }

    /// Makes templates of an enrolment's frames.
    pub(crate) async fn extract(&self, request: &ExtractionRequest) -> Result<ExtractionResponse, Problem> {
        let extracted = self.client.post("/v1/extractions", request, EXTRACTION_TIMEOUT).await;
        extracted.map_err(|error| unavailable(&error))
    }
}

/// The thresholds that the matcher tells.
pub(crate) fn calibration(points: &[WirePoint]) -> Vec<CalibrationPoint> {
    let point =
        |point: &WirePoint| CalibrationPoint { fmr_ppb: point.fmr_ppb, threshold: Score(point.threshold) };
    points.iter().map(point).collect()
}

/// Stored templates as the matcher takes them.
pub(crate) fn wire_templates(templates: Vec<StoredTemplate>) -> Vec<SealedTemplate> {
    let wire = |template: StoredTemplate| SealedTemplate {
        template: template.template,
        account: template.account,
        instance: template.instance,
        algorithm: template.algorithm,
        version: template.version,
        sealed: template.sealed.into(),
    };
    templates.into_iter().map(wire).collect()
}

/// A stored key as the matcher takes it.
pub(crate) fn wire_key(key: StoredKey) -> WrappedKey {
    WrappedKey { account: key.account, wrapped: key.wrapped.into() }
}

/// Stored keys as the matcher takes them.
pub(crate) fn wire_keys(keys: Vec<StoredKey>) -> Vec<WrappedKey> {
    keys.into_iter().map(wire_key).collect()
}
