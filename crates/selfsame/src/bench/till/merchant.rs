//! A stand-in for the merchant's system: it takes orders, and in the conventional flow it asks the payment platform for
//! the permission to verify somebody. What it does beside that takes no time, and its connections are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use selfsame_api::client::{Client, Credentials};
use selfsame_api::merchant::MerchantBalance;
use selfsame_domain::clock::SystemClock;
use serde::{Deserialize, Serialize};

use super::proxy::Network;
use super::setting::Drawn;
use crate::connection::TIMEOUT;

/// What every order of the bench costs, in minor units: small, so that no limit of a test site is met.
pub const AMOUNT_MINOR: i64 = 10;

/// An order as the till sends it.
#[derive(Serialize, Deserialize)]
struct NewOrder {
    order_ref: String,
}

/// An order as the merchant's system has it: only now is known what it costs.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The till's reference.
    pub order_ref: String,
    /// What it costs.
    pub amount_minor: i64,
    /// How long the system had it, by its own clock.
    handled_us: u64,
}

/// A permission to verify somebody at a terminal.
#[derive(Serialize, Deserialize)]
struct Permission {
    /// How long the system had the question, by its own clock.
    handled_us: u64,
}

struct System {
    processing_us: AtomicU64,
    platform: Client,
}

/// The merchant's system and the network to it.
pub struct Merchant {
    system: Arc<System>,
    network: Network,
    till: Client,
}

/// A question to the merchant's system, with its answer.
pub struct Asked<T> {
    /// The answer.
    pub answer: T,
    /// How long the system had it, by its own clock.
    pub handled: Duration,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Merchant {
    /// Starts it. `platform` is the payment server, with the merchant's key.
    pub async fn start(platform: Client) -> anyhow::Result<Self> {
        let system = Arc::new(System { processing_us: AtomicU64::new(0), platform });
        let listener =
            tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("there is no free port")?;
        let address: SocketAddr = listener.local_addr().context("a port has no number")?;
        let routes = Router::new()
            .route("/alive", get(async || "{}"))
            .route("/orders", post(take_order))
            .route("/permissions", post(ask_for_permission))
            .with_state(system.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let network = Network::start(address).await?;
        let url = format!("http://{}", network.address);
        let till = Client::tcp(&url, Credentials::None, Arc::new(SystemClock));
        Ok(Self { system, network, till })
    }

    /// Sees that connections are there, so that no payment waits for one, and then turns the knobs.
    pub async fn prepare(&self, drawn: &Drawn) -> anyhow::Result<()> {
        self.network.set_round_trip(Duration::ZERO);
        let alive = self.till.get_bytes("/alive", TIMEOUT).await;
        alive.context("the merchant's system is not there")?;
        let asked: Result<MerchantBalance, _> = self.system.platform.get("/v1/balance", TIMEOUT).await;
        asked.context("the merchant's system does not reach the payment server")?;
        self.system.processing_us.store(micros(drawn.processing), Ordering::Relaxed);
        self.network.set_round_trip(drawn.network);
        Ok(())
    }

    /// Places an order over the merchant's network, and waits until it is processed.
    pub async fn order(&self, order_ref: &str) -> anyhow::Result<Asked<Order>> {
        let new = NewOrder { order_ref: order_ref.to_owned() };
        let answer: Order = self.till.post("/orders", &new, TIMEOUT).await.context("an order got lost")?;
        anyhow::ensure!(answer.order_ref == order_ref, "the merchant's system answers another order");
        Ok(Asked { handled: Duration::from_micros(answer.handled_us), answer })
    }

    /// Fetches the permission for a verification, over the merchant's network and the merchant's system.
    pub async fn permission(&self) -> anyhow::Result<Asked<()>> {
        let answer: Permission =
            self.till.post("/permissions", &(), TIMEOUT).await.context("a permission got lost")?;
        Ok(Asked { handled: Duration::from_micros(answer.handled_us), answer: () })
    }
}

async fn take_order(State(system): State<Arc<System>>, Json(new): Json<NewOrder>) -> Json<Order> {
    let started = Instant::now();
    let processing = Duration::from_micros(system.processing_us.load(Ordering::Relaxed));
    if !processing.is_zero() {
        tokio::time::sleep(processing).await;
    }
    let handled_us = micros(started.elapsed());
    Json(Order { order_ref: new.order_ref, amount_minor: AMOUNT_MINOR, handled_us })
}

/// The merchant's system proves to the platform who it is, by its key. The platform's cheapest authenticated answer
/// stands for the permission: what a real one does beyond that would only make the conventional flow slower.
async fn ask_for_permission(State(system): State<Arc<System>>) -> Result<Json<Permission>, StatusCode> {
    let started = Instant::now();
    let asked: Result<MerchantBalance, _> = system.platform.get("/v1/balance", TIMEOUT).await;
    asked.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(Json(Permission { handled_us: micros(started.elapsed()) }))
}
