//! The verifications that calls of this process wait for, so that another thread can cancel one by the register's own
//! reference: whoever called `verify` does not know the session before it is over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most calls that wait at the same time. A terminal takes one payer at a time; this is for a program with many.
pub(crate) const RUNNING_MAX: usize = 64;

static RUNNING: Mutex<Vec<Arc<Entry>>> = Mutex::new(Vec::new());

struct Entry {
    address: String,
    request_id: String,
    session: Mutex<Known>,
    changed: Condvar,
}

enum Known {
    /// The terminal was asked.
    NotYet,
    Session(String),
    /// The call has ended.
    Over,
}

/// One call that waits, until it is dropped.
pub(crate) struct Running(Arc<Entry>);

/// Each critical section is one assignment, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Enters a call; none if too many wait.
    pub(crate) fn enter(address: &str, request_id: &str) -> Option<Self> {
        let entry = Entry {
            address: address.to_owned(),
            request_id: request_id.to_owned(),
            session: Mutex::new(Known::NotYet),
            changed: Condvar::new(),
        };
        let entry = Arc::new(entry);
        let mut running = lock(&RUNNING);
        if running.len() >= RUNNING_MAX {
            return None;
        }
        running.push(entry.clone());
        Some(Self(entry))
    }

    /// The terminal has named the session.
    pub(crate) fn is(&self, session: &str) {
        self.know(Known::Session(session.to_owned()));
    }

    fn know(&self, known: Known) {
        *lock(&self.0.session) = known;
        self.0.changed.notify_all();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&RUNNING).retain(|entry| !Arc::ptr_eq(entry, &self.0));
        self.know(Known::Over);
    }
}

/// The session that a running call waits for; waits itself until the terminal has named it, at most `longest`.
pub(crate) fn session_of(address: &str, request_id: &str, longest: Duration) -> Option<String> {
    let wanted = |entry: &&Arc<Entry>| entry.address == address && entry.request_id == request_id;
    let entry = lock(&RUNNING).iter().find(wanted).cloned()?;
    let known = lock(&entry.session);
    let not_yet = |known: &mut Known| matches!(known, Known::NotYet);
    let (known, _) =
        entry.changed.wait_timeout_while(known, longest, not_yet).unwrap_or_else(PoisonError::into_inner);
    if let Known::Session(session) = &*known { Some(session.clone()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_while_its_call_runs_and_as_soon_as_it_is_named() {
        let patience = Duration::from_secs(60);
        let running = Running::enter("here", "R-1").unwrap();
        let asked = std::thread::spawn(move || session_of("here", "R-1", patience));
        running.is("ses_1");
        assert_eq!(asked.join().unwrap().as_deref(), Some("ses_1"));
        assert_eq!(session_of("there", "R-1", patience), None);
        drop(running);
        assert_eq!(session_of("here", "R-1", patience), None);
    }

    #[test]
    fn whoever_waits_for_a_session_that_never_comes_is_told_when_the_call_ends() {
        let running = Running::enter("here", "R-2").unwrap();
        let entry = running.0.clone();
        let asked = std::thread::spawn(|| session_of("here", "R-2", Duration::from_secs(60)));
        // Two hold the entry besides this test: the call and the list. The third one has found it.
        while Arc::strong_count(&entry) < 4 {
            std::thread::yield_now();
        }
        drop(running);
        assert_eq!(asked.join().unwrap(), None);
    }
}
