//! What the terminal tells about itself.

use std::collections::BTreeMap;
use std::time::Instant;

use selfsame_api::client::Client;
use selfsame_api::diagnostics::{Diagnostics, LATEST_SESSIONS, SessionDiagnostics, VerifierDiagnostics};
use selfsame_api::verifier::VerifierStatus;
use selfsame_domain::id::TerminalId;

use crate::channel::{Connection, ConnectionState};
use crate::health::STATUS_TIMEOUT;
use crate::verification::{Sessions, budgets};
use crate::verifier::Budgets;

/// Looks at everything now.
pub(crate) async fn look(
    terminal: TerminalId,
    started: Instant,
    sessions: &Sessions,
    connection: &ConnectionState,
    verifier: &Client,
    payer: Budgets,
) -> Diagnostics {
    let asked = Instant::now();
    let status: Option<VerifierStatus> = verifier.get("/v1/verifier", STATUS_TIMEOUT).await.ok();
    let answered_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut all: Vec<_> = sessions.all().iter().map(|entered| entered.session.borrow().clone()).collect();
    all.sort_by_key(|session| std::cmp::Reverse(session.id));
    let mut outcomes = BTreeMap::new();
    for outcome in all.iter().filter_map(|session| session.outcome) {
        *outcomes.entry(outcome.as_str().to_owned()).or_insert(0) += 1;
    }
    let latest = all.into_iter().take(LATEST_SESSIONS).map(|session| SessionDiagnostics {
        session: session.id,
        deadline_at: session.deadline_at,
        outcome: session.outcome,
        error: session.error.map(|error| error.code),
        timings: session.timings,
    });
    Diagnostics {
        terminal,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: started.elapsed().as_secs(),
        server: sessions.link.address().to_owned(),
        standing: match connection.get() {
            Connection::Lost => None,
            Connection::Open(standing) => Some(standing.to_string()),
        },
        clock_correction_ms: sessions.link.clock_correction_ms(),
        verifier: status.map(|status| VerifierDiagnostics {
            sources: status.sources,
            counters: status.counters,
            camera: status.camera,
            answered_us,
        }),
        outcomes,
        latest: latest.collect(),
        budgets_ms: budgets(payer),
    }
}
