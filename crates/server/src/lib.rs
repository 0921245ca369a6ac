//! The payment server: accounts, consents, enrolments, verifications, payment codes, payments and the ledger over
//! HTTP. Steps 2 (decision), 3, 4 and 5 of the method.
//!
//! One file per noun with handler and use case together: a handler reads the request, asks `domain` where something
//! is to be decided, calls one named transaction of `store`, and answers. Terminals call with signed requests,
//! merchants and the operator with keys. The server never decodes an image and never holds a key that opens a
//! template or a frame: that is the matcher's, behind [`matcher`].

mod account;
mod adjustment;
pub mod anchor;
mod authentication;
pub mod authority;
mod certificate;
mod channel;
mod clock;
mod configuration;
mod confirmation;
mod consent;
mod device_key;
mod enrolment;
mod fleet;
mod health;
mod housekeeping;
mod ledger;
mod limit;
mod magic;
mod matcher;
mod merchant;
mod payment;
mod payment_code;
mod pin;
mod pin_verification;
mod profile;
mod queue;
mod receipt;
mod refund;
mod refusal;
mod replay;
mod reversal;
mod settlement;
pub mod setup;
mod sign_in;
mod terminal;
mod timing;
mod top_up;
mod verification;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::clock::{AdvancingClock, Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::id::RequestId;
use selfsame_domain::payment::{Answer, Request as LedgerRequest};
use selfsame_domain::payment_code::Prefix;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use selfsame_domain::verification::Policy;
use selfsame_store::{Database, LEASE, Site, Store, StoreError, with_patience};
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use zeroize::Zeroizing;

#[doc(hidden)]
pub use crate::payment_code::code_mac;

use crate::matcher::Matcher;
use crate::queue::{ANSWER_WITHIN, PaymentQueue, Reply};

/// Largest ordinary body, in bytes. The largest real one is an account with a long name.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long running requests may finish after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long the release of the ledger may take at the end.
const RELEASE: Duration = Duration::from_secs(1);

/// Header that names a request, in answers and logs.
const REQUEST_ID_HEADER: &str = "request-id";

/// What the server is told at start.
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the site's data is.
    pub database: Database,
    /// The matcher's socket.
    pub matcher_socket: PathBuf,
    /// Keys of the server.
    pub secrets: Secrets,
    /// Two digits at the head of codes; the mode's default if absent.
    pub code_prefix: Option<Prefix>,
    /// Life of a code, in seconds.
    pub code_lifetime_seconds: u32,
    /// The most that one code may be charged with, minor units.
    pub amount_minor_max: i64,
    /// How long codes may be asked for after a pass, in seconds.
    pub pass_lifetime_seconds: u32,
    /// When a comparison is a match.
    pub policy: Policy,
    /// Whether faces in front of a camera are lit with colours that only the server knows beforehand.
    pub colour_flash: bool,
    /// What happens when a terminal's key seems to be used on two machines.
    pub clone_policy: ClonePolicy,
    /// Origins of terminals and desks that the pages for staff may call from the browser, e.g. `http://127.0.0.1:8701`.
    pub terminals: Vec<String>,
}

/// What happens when a terminal's key seems to be used on two machines. It is recorded in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClonePolicy {
    /// The operator is warned and the terminal goes on: the key alone moves no money, and a machine that was restored
    /// from a backup looks the same.
    #[default]
    Warn,
    /// The terminal is locked until the operator unlocks it or activates it anew.
    Lock,
}

/// Keys of the server, from the site's secrets folder.
pub struct Secrets {
    /// Keys the hashes of codes. 32 random bytes.
    pub code_pepper: Zeroizing<[u8; 32]>,
    /// Keys the hashes of identifiers. 32 random bytes.
    pub identifier_pepper: Zeroizing<[u8; 32]>,
    /// Wraps the keys of profiles (names, phone numbers).
    pub profile_key: KeyEncryptionKey,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A database could not be opened or brought up to date.
    #[error("failed to open the site's databases")]
    Store(#[from] StoreError),
    /// The folder holds no site.
    #[error("there is no site in {0}: make one with `selfsame init`")]
    NoSite(String),
    /// A setting does not fit the site.
    #[error("setting `{setting}`: {reason}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is in use or not ours.
    #[error("failed to listen on {address}: is another server running there? Set another `listen` address")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Serving failed.
    #[error("the server stopped serving")]
    Serve(#[source] io::Error),
}

/// What all handlers share.
struct App {
    store: Arc<Store>,
    queue: PaymentQueue,
    channels: channel::Channels,
    matcher: Matcher,
    pins: pin::Pins,
    wrong_keys: sign_in::WrongKeys,
    stages: timing::StageMeters,
    clock: Arc<AdvancingClock<SystemClock>>,
    site: Site,
    prefix: Prefix,
    config: Config,
    /// Certifies terminals; a server without one (tests) refuses to.
    authority: OnceLock<authority::Authority>,
    /// Held from the search for duplicates until the templates are stored: two people with one finger at two desks
    /// would not see each other, and two first enrolments of one person would make two keys. Enrolments are rare.
    enrolling: tokio::sync::Mutex<()>,
}

type AppState = Arc<App>;

impl App {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends a request to the ledger, and tells the terminal that issued the code what came of it.
    async fn submit(&self, request: LedgerRequest) -> Reply {
        let reply = self.queue.submit(request).await;
        let payment = match &reply {
            Ok((Answer::Done { payment, .. } | Answer::Reversed { payment: Some(payment), .. }, _)) => {
                Some(payment)
            }
            _ => None,
        };
        if let Some(terminal) = payment.and_then(|payment| payment.terminal) {
            self.channels.wake(terminal);
        }
        reply
    }
}

/// Bytes of the operating system's generator. The one place where randomness enters the server.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

/// A server that listens but does not answer yet.
pub struct Server {
    app: AppState,
    anchoring: Option<anchor::Anchoring>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the databases and the port. Waits as long as another server of the same site is alive.
    pub async fn bind(config: Config, clock: Arc<AdvancingClock<SystemClock>>) -> Result<Self, ServerError> {
        let store = Arc::new(Store::open(&config.database)?);
        let site = store.site().await?;
        let site = site.ok_or_else(|| ServerError::NoSite(config.database.to_string()))?;
        check_settings(&config, site.mode)?;
        // Before the slot: a server that was started twice by mistake ends here and disturbs nobody.
        let listen = |source| ServerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        own_slots(&store).await?;
        let matcher = Matcher::new(&config.matcher_socket, clock.clone());
        let queue = PaymentQueue::start(store.clone(), clock.clone());
        let prefix = config.code_prefix.unwrap_or_else(|| Prefix::default_for(site.mode));
        let pins = pin::Pins::default();
        let enrolling = tokio::sync::Mutex::new(());
        let channels = channel::Channels::new();
        let app = Arc::new(App {
            store,
            queue,
            channels,
            matcher,
            pins,
            wrong_keys: sign_in::WrongKeys::default(),
            stages: timing::StageMeters::default(),
            clock,
            site,
            prefix,
            config,
            authority: OnceLock::new(),
            enrolling,
        });
        Ok(Self { app, anchoring: None, listener, address })
    }

    /// Signs the heads of the ledger once a business day, from the start on.
    pub fn with_anchoring(self, anchoring: anchor::Anchoring) -> Self {
        Self { anchoring: Some(anchoring), ..self }
    }

    /// Certifies the site's terminals by this authority.
    pub fn with_authority(self, authority: authority::Authority) -> Self {
        // There was none before: only this function brings one, and it takes the server.
        let _ = self.app.authority.set(authority);
        self
    }

    /// The store behind it, so that tests can order failures and read what is written.
    #[doc(hidden)]
    pub fn store(&self) -> Arc<Store> {
        self.app.store.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is done, then finishes what is running.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        // Ends with the server: the task is dropped with the set.
        let mut background = tokio::task::JoinSet::new();
        background.spawn(housekeeping::run(self.app.clone(), self.anchoring));
        let (store, app) = (self.app.store.clone(), self.app.clone());
        background.spawn(housekeeping::keep_slots(store.clone()));
        if store.is_shared() {
            background.spawn(housekeeping::free_slots(store.clone()));
        }
        let (router, _) = routes().split_for_parts();
        let router = router.merge(pages(&self.app.config.terminals));
        let router = selfsame_api::serve::with_fallbacks(router)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn(frame_request))
            .with_state(self.app);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let signal = async move {
            shutdown.await;
            app.channels.close();
            let _ = stop.send(());
        };
        let serving = axum::serve(self.listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(signal);
        let drained = async {
            let _ = stopped.await;
            tokio::time::sleep(DRAIN).await;
        };
        let served = tokio::select! {
            served = async { serving.await } => served.map_err(ServerError::Serve),
            () = drained => Ok(()),
        };
        background.shutdown().await;
        // The next server need not wait for the lease. It is no harm if the disk does not take that any more.
        let _ = tokio::time::timeout(RELEASE, store.release_slot()).await;
        served
    }
}

/// Takes slots of the ledger: on an embedded database as soon as no other server of this site is alive, else at once.
async fn own_slots(store: &Store) -> Result<(), StoreError> {
    let mut told = false;
    while store.take_over_slot(LEASE).await?.is_none() {
        if !told {
            tracing::warn!("another server of this site is running; waiting until it is gone");
            told = true;
        }
    }
    Ok(())
}

fn check_settings(config: &Config, mode: Mode) -> Result<(), ServerError> {
    let lifetimes = code_lifetimes(mode);
    if !lifetimes.contains(&config.code_lifetime_seconds) {
        let reason = format!("{} is outside {lifetimes:?}", config.code_lifetime_seconds);
        return Err(ServerError::Setting { setting: "code_lifetime_seconds", reason });
    }
    if config.amount_minor_max < 1 {
        let reason = "must be 1 or more".to_owned();
        return Err(ServerError::Setting { setting: "amount_minor_max", reason });
    }
    Ok(())
}

/// Lifetimes that a code may have, in seconds.
fn code_lifetimes(mode: Mode) -> std::ops::RangeInclusive<u32> {
    use selfsame_domain::payment_code::{CODE_LIFETIME_SECONDS_LIVE, CODE_LIFETIME_SECONDS_TEST};
    match mode {
        Mode::Live => CODE_LIFETIME_SECONDS_LIVE,
        Mode::Test => CODE_LIFETIME_SECONDS_TEST,
    }
}

/// What goes around every request: it is named, in its answer and in the log; it waits for storage no longer than a
/// payment does, which is decided here for all routes; it knows when it came; and the idempotency header that others use
/// is refused, instead of ignored. One layer, because each is a box and a clone of all below it.
async fn frame_request(request: Request, next: Next) -> Response {
    let id = RequestId::new(SystemClock.now(), random()).to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = if request.headers().contains_key("idempotency-key") {
        Problem::new(ProblemCode::IdempotencyKeyNotSupported).into_response()
    } else {
        timing::with_receipt(with_patience(ANSWER_WITHIN, next.run(request))).await
    };
    let status = response.status().as_u16();
    tracing::info!(request.id = %id, http.method = %method, http.path = path, http.status = status, "answered a request");
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Selfsame payment server",
    description = "Biometric payment for closed-loop money. Terminals sign their requests (RFC 9421, Ed25519), \
                   merchants and the operator send a bearer key. Refusals are RFC 9457 problem documents with a \
                   stable `code`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

/// The pages for staff. They call terminals and desks that the settings name, and nobody else.
fn pages(terminals: &[String]) -> axum::Router<AppState> {
    let policy = selfsame_pages::Policy::default().camera();
    let policy = terminals.iter().fold(policy, |policy, origin| policy.connect_to(origin));
    selfsame_pages::routes(&[("/till", "till"), ("/desk", "desk")], move || policy.clone())
}

fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(health::routes())
        .merge(sign_in::routes())
        .merge(merchant::routes())
        .merge(terminal::routes())
        .merge(certificate::routes())
        .merge(device_key::routes())
        .merge(account::routes())
        .merge(consent::routes())
        .merge(enrolment::routes())
        .merge(top_up::routes())
        .merge(verification::routes())
        .merge(payment_code::routes())
        .merge(payment::routes())
        .merge(confirmation::routes())
        .merge(channel::routes())
        .merge(fleet::routes())
        .merge(configuration::routes())
        .merge(reversal::routes())
        .merge(refund::routes())
        .merge(receipt::routes())
        .merge(adjustment::routes())
        .merge(limit::routes())
        .merge(pin::routes())
        .merge(pin_verification::routes())
        .merge(settlement::routes())
        .merge(ledger::routes())
        .merge(timing::routes())
        .merge(clock::routes())
}

/// The OpenAPI 3.1 document of the payment server, as pretty JSON.
pub fn openapi_json() -> String {
    let (_, document) = routes().split_for_parts();
    document.to_pretty_json().expect("the document always serializes")
}
