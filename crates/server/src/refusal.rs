//! How store errors and refusals become problem documents.

use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_store::StoreError;

use crate::queue::NoAnswer;

/// Logs the error where it is handled, once, and answers without the inner cause.
pub(crate) fn store_problem(error: &StoreError) -> Problem {
    let chain = error_chain(error);
    if matches!(error, StoreError::OutcomeUnknown { .. } | StoreError::StillRunning { .. }) {
        tracing::error!(error = chain, "a commit has an unknown outcome");
        return Problem::new(ProblemCode::OutcomeUnknown);
    }
    if error.is_temporary() {
        tracing::error!(error = chain, "the store is not available");
        return Problem::new(ProblemCode::Unavailable);
    }
    tracing::error!(error = chain, "the store failed");
    Problem::new(ProblemCode::Internal)
}

/// Why the queue has no answer, as the caller reads it.
pub(crate) fn no_answer(none: &NoAnswer) -> Problem {
    match none {
        NoAnswer::Unknown => Problem::new(ProblemCode::OutcomeUnknown),
        NoAnswer::NotTaken => Problem::new(ProblemCode::Unavailable),
        NoAnswer::Store(error) => store_problem(error),
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// `?` on store results in handlers.
pub(crate) trait OrProblem<T> {
    fn or_problem(self) -> Result<T, Problem>;
}

impl<T> OrProblem<T> for Result<T, StoreError> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| store_problem(&error))
    }
}

/// The thing is absent or somebody else's.
pub(crate) fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}

/// A value that has the right type but cannot be used.
pub(crate) fn invalid(detail: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::InvalidRequest).detail(detail)
}
