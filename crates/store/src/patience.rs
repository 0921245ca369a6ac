//! How long a request may wait for storage, over all it asks. The server sets it once for every request; what runs by
//! itself (the queue of payments, housekeeping) sets none and waits for as long as it takes.

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

tokio::task_local! {
    /// What is left of the time.
    static LEFT: Cell<Duration>;
}

/// Runs `work`, which may wait for storage for `patience` in all. Waiting for anything else is not counted.
pub async fn with_patience<F: Future>(patience: Duration, work: F) -> F::Output {
    LEFT.scope(Cell::new(patience), work).await
}

/// Waits for something that the storage does, for as long as is left to this request; `None` when that is over.
pub async fn wait_patiently<F: Future>(storage: F) -> Option<F::Output> {
    let Ok(left) = LEFT.try_with(Cell::get) else { return Some(storage.await) };
    let started = Instant::now();
    let done = tokio::time::timeout(left, storage).await.ok();
    // Absent only outside of a request, where nothing is counted.
    let _ = LEFT.try_with(|patience| patience.set(left.saturating_sub(started.elapsed())));
    done
}
