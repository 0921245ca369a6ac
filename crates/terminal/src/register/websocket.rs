//! A till that is a page of a browser on this machine: it connects to a loopback port, and codes are pushed to it. Only
//! pages of the configured origins are let in; `docs/registers.md` has the messages.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::register::{FromPage, ToPage};
use selfsame_api::serve::with_fallbacks;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{CODE_CHARACTERS, Register, Trigger, Undelivered};
use crate::access::Gate;
use crate::listen::loopback_names;
use crate::lock;

/// Largest message of a page in bytes; the real ones have some fifty.
const MESSAGE_BYTES_MAX: usize = 1024;

/// How often a page that says nothing is asked whether it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After this long without anything from it a page is taken for gone: two heartbeats may be lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The reason that an earlier page is told when a later one takes its place (a code of the range for applications).
const REPLACED: u16 = 4001;

/// A code on its way to the page, and where to say that the page has it.
struct Push {
    message: ToPage,
    delivery: u64,
    received: SyncSender<()>,
}

/// The page that is connected.
struct Page {
    number: u64,
    pushes: mpsc::Sender<Push>,
}

struct Hub {
    page: Mutex<Option<Page>>,
    counter: AtomicU64,
    gate: Gate,
    trigger: Trigger,
}

/// Pushes codes to the page that connected last.
pub struct BrowserRegister {
    hub: Arc<Hub>,
    address: SocketAddr,
    serving: AbortHandle,
}

impl BrowserRegister {
    /// Listens on a loopback address for pages of these origins, e.g. `https://till.example`.
    pub async fn bind(address: SocketAddr, origins: &[String], trigger: Trigger) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let gate = Gate::new("http", &loopback_names(address), address.port(), origins);
        let hub = Arc::new(Hub { page: Mutex::new(None), counter: AtomicU64::new(0), gate, trigger });
        let router =
            with_fallbacks(Router::new().route("/v1/register", get(connect))).with_state(hub.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the port for the till's page stopped");
            }
        });
        Ok(Self { hub, address, serving: serving.abort_handle() })
    }

    /// Where pages connect to, e.g. `ws://127.0.0.1:8704/v1/register`.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/register", self.address)
    }
}

impl Drop for BrowserRegister {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hub {
    /// A browser tells the truth about where a page comes from, and no page can change that. Without an `Origin` it is no
    /// browser: programs have the serial line, TCP or the interface.
    fn may_enter(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self.gate.check(headers)? {
            Some(_) => Ok(()),
            None => Err(Problem::new(ProblemCode::ForeignOrigin)
                .detail("only pages of the configured `origins` may be this register")),
        }
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

async fn connect(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    hub.may_enter(&headers)?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| converse(hub, socket)))
}

/// Serves one page until it goes or another one takes its place.
async fn converse(hub: Arc<Hub>, mut socket: WebSocket) {
    // One code at a time: a second one waits in the terminal.
    let (pushes, mut coming) = mpsc::channel(1);
    let number = hub.next();
    // The end of its pushes tells the page before that it was replaced.
    *lock(&hub.page) = Some(Page { number, pushes });
    tracing::info!("a till's page is connected");
    let mut waiting: Option<(u64, SyncSender<()>)> = None;
    let (mut heartbeat, mut heard) = (tokio::time::interval(HEARTBEAT), tokio::time::Instant::now());
    loop {
        tokio::select! {
            push = coming.recv() => {
                let Some(push) = push else {
                    let reason = "another page is the register now".into();
                    let _ = socket.send(Message::Close(Some(CloseFrame { code: REPLACED, reason }))).await;
                    return;
                };
                let text = serde_json::to_string(&push.message).expect("a message always serializes");
                waiting = Some((push.delivery, push.received));
                if socket.send(Message::Text(text.into())).await.is_err() {
                    break;
                }
            }
            message = socket.recv() => {
                heard = tokio::time::Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(FromPage::Received { delivery }) => {
                            if let Some((_, received)) = waiting.take_if(|(expected, _)| *expected == delivery) {
                                let _ = received.try_send(());
                            }
                        }
                        Ok(FromPage::HandOver {}) => (hub.trigger)(),
                        Err(error) => {
                            // The text is not logged: a page that errs may send a code back.
                            tracing::warn!(line = error.line(), column = error.column(), "a till's page sent no message of ours");
                            break;
                        }
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
                }
            }
            _ = heartbeat.tick() => {
                if heard.elapsed() > SILENCE_MAX || socket.send(Message::Ping(Default::default())).await.is_err() {
                    break;
                }
            }
        }
    }
    tracing::info!("a till's page has gone");
    lock(&hub.page).take_if(|page| page.number == number);
}

impl Register for BrowserRegister {
    fn deliver(&self, digits: &str, within: Duration) -> Result<(), Undelivered> {
        let way = || "the till's page".to_owned();
        let missing = |why: &str| Undelivered::Missing {
            way: way(),
            source: io::Error::new(io::ErrorKind::NotConnected, why),
        };
        let delivery = self.hub.next();
        let (received, answer) = sync_channel(1);
        let message = ToPage::PaymentCode { delivery, digits: digits.to_owned() };
        let pushes = lock(&self.hub.page).as_ref().map(|page| page.pushes.clone());
        let pushes = pushes.ok_or_else(|| missing("no page is connected"))?;
        if pushes.try_send(Push { message, delivery, received }).is_err() {
            return Err(missing("the page is just going"));
        }
        drop(pushes);
        answer.recv_timeout(within).map_err(|error| Undelivered::Uncertain {
            way: way(),
            sent: CODE_CHARACTERS,
            whole: CODE_CHARACTERS,
            source: match error {
                RecvTimeoutError::Timeout => {
                    io::Error::new(io::ErrorKind::TimedOut, "the page did not say that it has the code")
                }
                RecvTimeoutError::Disconnected => {
                    io::Error::new(io::ErrorKind::ConnectionReset, "the page went away")
                }
            },
        })
    }

    fn is_there(&self) -> bool {
        lock(&self.hub.page).is_some()
    }
}
