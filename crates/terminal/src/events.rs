//! Server-sent events of the verification interface, for callers who would rather be told than ask. Each event carries
//! the whole session, or the whole terminal, never a difference: the last one is always the truth.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::clock::Clock;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::session::Entered;

/// How often something is written, news or not, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Streams that may be open at once: a till's program, the terminal's page, and room for those that hang.
const STREAMS_MAX: usize = 32;

/// How often a session that waits for time to pass is looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// The streams that are open.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Streams {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }

    fn open(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{STREAMS_MAX} streams are open already");
            Problem::new(ProblemCode::TooManyAttempts).detail(detail)
        })
    }

    /// The session now, if it is newer than `after`, and after each change, until nothing can change any more. An event's
    /// id is the session's sequence.
    pub(crate) fn of_session(
        &self,
        entered: Arc<Entered>,
        after: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
        let permit = self.open()?;
        let changes = entered.session.subscribe();
        let start = (entered, changes, after, permit);
        let events = stream::unfold(start, move |(entered, mut changes, after, permit)| {
            let clock = clock.clone();
            async move {
                // For as long as this event is waited for, somebody listens.
                let attention = entered.attend();
                loop {
                    let shown = entered.shown();
                    changes.mark_unchanged();
                    if shown.sequence > after {
                        let event = Event::default().id(shown.sequence.to_string()).event("session");
                        let event = event.json_data(&shown).expect("a session always serializes");
                        drop(attention);
                        return Some((Ok(event), (entered, changes, shown.sequence, permit)));
                    }
                    if entered.is_settled(clock.now()) {
                        return None;
                    }
                    let _ = tokio::time::timeout(LOOK, changes.changed()).await;
                }
            }
        });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
    }

    /// What `look` sees, now and whenever `news` says that it may have changed.
    pub(crate) fn of_terminal<T, F, L>(
        &self,
        news: watch::Receiver<u64>,
        look: L,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<T, F, L>>, Problem>
    where
        L: Fn() -> F + Clone + Send + 'static,
        T: Serialize + PartialEq + Send + 'static,
        F: Future<Output = T> + Send,
    {
        let permit = self.open()?;
        let events =
            stream::unfold((news, None, look, permit), |(mut news, mut last, look, permit)| async move {
                loop {
                    news.mark_unchanged();
                    let seen = look().await;
                    if last.as_ref() != Some(&seen) {
                        let event = Event::default().event("terminal");
                        let event = event.json_data(&seen).expect("a terminal's state always serializes");
                        last = Some(seen);
                        return Some((Ok(event), (news, last, look, permit)));
                    }
                    // Also what nobody tells of, for example that the verification program has gone.
                    let _ = tokio::time::timeout(LOOK, news.changed()).await;
                }
            });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
    }
}
