//! The terminal's end of its channel to the payment server: whether it may work, and what became of its codes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfsame_api::channel::{SILENCE_MAX, Situation};
use selfsame_api::client::ClientError;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::terminal::Standing;

use crate::device::ServerLink;
use crate::lock;
use crate::verification::Sessions;

/// Longest wait for the channel to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses before the channel is opened again: short, because a server that restarts is back within a second, and
/// longer while it stays away.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How the terminal stands with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Nothing was heard yet, or not any more.
    Lost,
    /// The channel is open, and this was said last.
    Open(Standing),
}

/// What is known of the connection, for all who ask; with a number that is raised whenever the channel opens.
#[derive(Clone)]
pub(crate) struct ConnectionState(Arc<Mutex<(u64, Connection)>>);

impl ConnectionState {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new((0, Connection::Lost))))
    }

    pub(crate) fn get(&self) -> Connection {
        self.opening().1
    }

    /// The same, with the number of its opening.
    pub(crate) fn opening(&self) -> (u64, Connection) {
        *lock(&self.0)
    }

    fn set(&self, connection: Connection) {
        let mut known = lock(&self.0);
        let reopened = known.1 == Connection::Lost && connection != Connection::Lost;
        *known = (known.0 + u64::from(reopened), connection);
    }
}

/// Keeps the channel open for as long as the process runs.
pub(crate) async fn keep_open(link: Arc<ServerLink>, sessions: Arc<Sessions>, state: ConnectionState) {
    let mut pause = PAUSE_MIN;
    loop {
        let ended = listen(&link, &sessions, &state, &mut pause).await;
        if let Err(error) = ended {
            match error.problem().map(|problem| problem.code) {
                Some(ProblemCode::TerminalRetired) => state.set(Connection::Open(Standing::Retired)),
                _ => state.set(Connection::Lost),
            }
            tracing::warn!(%error, "the channel to the payment server is closed");
        } else if state.get() != Connection::Open(Standing::Retired) {
            state.set(Connection::Lost);
        }
        sessions.tell();
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Opens the channel and takes over what it says until it ends.
async fn listen(
    link: &ServerLink,
    sessions: &Sessions,
    state: &ConnectionState,
    pause: &mut Duration,
) -> Result<(), ClientError> {
    let mut events = link.events("/v1/channel", OPEN_TIMEOUT, SILENCE_MAX).await?;
    while let Some(situation) = events.next::<Situation>().await? {
        *pause = PAUSE_MIN;
        if state.get() != Connection::Open(situation.standing) {
            tracing::info!(standing = %situation.standing, "the payment server says how this terminal stands");
        }
        // First, so that nobody sees a terminal that is ready and was to be in maintenance.
        match &situation.configuration {
            Some(configuration) => sessions.configured.apply(configuration),
            None => tracing::error!(
                "the operator has set what this version does not understand; the configuration before stays"
            ),
        }
        if let Some(place) = &situation.place {
            *lock(&sessions.place) = Some(place.clone());
        }
        state.set(Connection::Open(situation.standing));
        sessions.tell();
        sessions.learn(&situation.payments);
    }
    Ok(())
}
