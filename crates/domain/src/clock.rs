//! Where the time comes from. Everything that needs `now` takes it as an argument or asks a [`Clock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;

/// Tells the time. The executable brings the system's clock, simulations bring their own.
pub trait Clock: Send + Sync + 'static {
    /// The present point in time.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock. Built in `main` only; everybody else is handed a [`Clock`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time enters")]
    fn now(&self) -> Timestamp {
        let since_1970 =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that runs ahead of another by an amount that only grows. Test sites advance it over HTTP, so that
/// expiry can be shown without waiting; live sites never hold one that moved.
pub struct AdvancingClock<C> {
    inner: C,
    ahead_ms: AtomicI64,
}

impl<C: Clock> AdvancingClock<C> {
    /// A clock that shows the same time as `inner` until it is advanced.
    pub fn new(inner: C) -> Self {
        Self { inner, ahead_ms: AtomicI64::new(0) }
    }

    /// Moves the clock ahead; saturates at year 9999.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let update = |ahead: i64| Some(ahead.saturating_add(by_ms));
        // The closure never answers None, so the update cannot fail.
        let _ = self.ahead_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
    }
}

impl<C: Clock> Clock for AdvancingClock<C> {
    fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::SeqCst);
        self.inner.now() + Duration::from_millis(ahead_ms.unsigned_abs())
    }
}
