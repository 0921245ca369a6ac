//! The terminals' long-lived channels: each terminal hears within moments that it was locked or retired, and what came
//! of its codes. Level, not edge: an event is the whole situation, so nothing has to be kept for those who were away.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use selfsame_api::channel::{HEARTBEAT, PAYMENTS_MAX, Place, Situation, TerminalPayment};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::id::{MerchantId, TerminalId};
use selfsame_domain::payment::{Payment, Status};
use selfsame_domain::terminal::Standing;
use selfsame_domain::time::Timestamp;
use selfsame_store::{StoreError, with_patience};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authentication::SignedThoughLocked;
use crate::queue::ANSWER_WITHIN;
use crate::{App, AppState};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(open))
}

/// What a channel waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Signal {
    /// Raised by every channel that the terminal opens: the latest is the one, earlier ones end.
    opened: u64,
    /// Raised by every change of its situation.
    changed: u64,
}

/// The open channels of this server. `None` once the server stops.
pub(crate) struct Channels(Mutex<Option<HashMap<TerminalId, watch::Sender<Signal>>>>);

impl Channels {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<TerminalId, watch::Sender<Signal>>) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// Tells a terminal, if it listens, that its situation has changed.
    pub(crate) fn wake(&self, terminal: TerminalId) {
        self.with(|open| {
            if let Some(channel) = open.get(&terminal) {
                channel.send_modify(|signal| signal.changed += 1);
            }
        });
    }

    /// Tells all terminals that listen.
    pub(crate) fn wake_all(&self) {
        self.with(|open| {
            open.values().for_each(|channel| channel.send_modify(|signal| signal.changed += 1));
        });
    }

    /// Whether a terminal's channel is open here.
    pub(crate) fn is_open(&self, terminal: TerminalId) -> bool {
        self.with(|open| open.get(&terminal).is_some_and(|channel| !channel.is_closed())).unwrap_or(false)
    }

    /// Ends all channels, so that they do not hold up the server's end.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Opens a terminal's channel; an earlier one of the same terminal ends.
    fn open(&self, terminal: TerminalId) -> Option<watch::Receiver<Signal>> {
        self.with(|open| {
            // Terminals that went away leave nothing behind for longer than until somebody else comes.
            open.retain(|_, channel| !channel.is_closed());
            let channel =
                open.entry(terminal).or_insert_with(|| watch::Sender::new(Signal { opened: 0, changed: 0 }));
            channel.send_modify(|signal| signal.opened += 1);
            channel.subscribe()
        })
    }
}

/// One channel as its stream goes on.
struct Channel {
    app: AppState,
    terminal: TerminalId,
    signals: watch::Receiver<Signal>,
    /// Which opening this is.
    opened: u64,
    told: Told,
}

enum Told {
    Nothing,
    Something,
    TheEnd,
}

impl Channel {
    /// The next situation; `None` when the channel ends.
    async fn next(&mut self) -> Option<Situation> {
        match self.told {
            Told::Nothing => {}
            Told::Something => self.signals.changed().await.ok()?,
            Told::TheEnd => return None,
        }
        if self.signals.borrow_and_update().opened != self.opened {
            return None;
        }
        match with_patience(ANSWER_WITHIN, situation(&self.app, self.terminal)).await {
            Ok(situation) => {
                let ends = situation.standing == Standing::Retired;
                self.told = if ends { Told::TheEnd } else { Told::Something };
                Some(situation)
            }
            Err(error) => {
                // The terminal connects again, and hears everything then.
                tracing::warn!(terminal.id = %self.terminal, %error, "a terminal's channel broke off");
                None
            }
        }
    }
}

async fn situation(app: &App, terminal: TerminalId) -> Result<Situation, StoreError> {
    let standing = app.store.terminal_standing(terminal).await?;
    let configuration = Some(crate::configuration::in_force(app, terminal).await?);
    let place = app.store.terminal_place(terminal).await?;
    let place = place.map(|(merchant_name, store_name)| Place { merchant_name, store_name });
    let rules = app.store.rules().await?;
    let mut payments = Vec::new();
    let mut undo_minutes = HashMap::new();
    for found in app.store.terminal_payments(terminal, PAYMENTS_MAX).await? {
        let undo_until = undo_until(app, &found.payment, &mut undo_minutes).await?;
        let may_ask_back = is_whole(&found.payment) && undo_until.is_none();
        payments.push(TerminalPayment {
            payment: found.payment.payment,
            verification: found.verification,
            status: found.payment.status.into(),
            merchant_name: found.merchant_name,
            amount: found.payment.amount,
            expires_at: found.payment.expires_at,
            gesture_confirms: rules.gesture_confirms && !found.is_lookalike,
            returned_minor: found.payment.returned_minor,
            receipt: Some(found.payment.receipt),
            undo_until,
            frozen_minor: found.payment.frozen_minor,
            may_ask_back,
        });
    }
    Ok(Situation { terminal, standing, configuration, place, payments })
}

/// Nothing of it went back, and nothing was asked back.
fn is_whole(payment: &Payment) -> bool {
    payment.status == Status::Succeeded && payment.returned_minor == 0 && payment.frozen_minor == 0
}

/// Until when the payer may take a payment back without asking. `undo_minutes` keeps what was agreed with the merchants.
async fn undo_until(
    app: &App,
    payment: &Payment,
    undo_minutes: &mut HashMap<MerchantId, u32>,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(merchant) = payment.merchant.filter(|_| is_whole(payment)) else { return Ok(None) };
    let minutes = match undo_minutes.get(&merchant) {
        Some(minutes) => *minutes,
        None => {
            let agreed = app.store.agreement(merchant).await?;
            let minutes = agreed.map_or(0, |agreed| agreed.undo_minutes);
            undo_minutes.insert(merchant, minutes);
            minutes
        }
    };
    Ok((minutes > 0).then(|| payment.created_at + Duration::from_secs(60 * u64::from(minutes))))
}

/// The terminal's situation, now and after every change: server-sent events whose data is a `Situation`. One channel a
/// terminal: the latest. A comment comes every five seconds.
#[utoipa::path(get, path = "/v1/channel", operation_id = "channel_open", tag = "terminal",
    responses((status = 200, body = Situation, content_type = "text/event-stream"), (status = "4XX", body = Problem),
        (status = 503, body = Problem)))]
async fn open(
    State(app): State<AppState>,
    request: SignedThoughLocked,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let terminal = request.0.terminal.terminal;
    let signals = app.channels.open(terminal).ok_or_else(|| Problem::new(ProblemCode::Unavailable))?;
    let opened = signals.borrow().opened;
    tracing::info!(terminal.id = %terminal, "a terminal opened its channel");
    let channel = Channel { app, terminal, signals, opened, told: Told::Nothing };
    let events = stream::unfold(channel, |mut channel| async {
        let situation = channel.next().await?;
        let event = Event::default().json_data(situation).expect("a situation always serializes");
        Some((Ok(event), channel))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}
