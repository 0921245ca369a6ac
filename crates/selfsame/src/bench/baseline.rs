//! The textbook transaction: pgbench's TPC-B-like script at the server that is measured, durable as that server is.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::bench::postgres::{Place, Server};

/// Clients of pgbench.
pub const CLIENTS: usize = 32;

/// Rows of pgbench: 100,000 accounts for each.
pub const SCALE: u32 = 20;

/// What pgbench gets besides where a proxy delays everything: it counts the seconds from before it connects, though not
/// in what it tells, and its threads connect one client after the other.
const CONNECTING_SECONDS: u64 = 2;

/// What pgbench says when it came to nothing, in place of a rate.
const NOTHING: &str = "number of transactions actually processed: 0";

/// The tables of pgbench, in a database of their own.
pub struct Baseline {
    place: Place,
}

impl Baseline {
    /// Makes and fills the tables.
    pub async fn new(server: &Arc<Server>, scale: u32) -> anyhow::Result<Self> {
        let baseline = Self { place: server.make()? };
        baseline.pgbench(&baseline.place.url, &["-i", "-q", "-s", &scale.to_string()]).await?;
        Ok(baseline)
    }

    async fn pgbench(&self, url: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.place.server().client("pgbench", url)?;
        let output = command.args(arguments).kill_on_drop(true).output().await;
        let output = output
            .context("failed to start pgbench (Debian package `postgresql`; it must be on the path)")?;
        if !output.status.success() {
            bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Transactions a second with 32 clients, for so many seconds; through a proxy, if one is named.
    pub async fn measure(&self, seconds: u64, proxy: Option<SocketAddr>) -> anyhow::Result<u64> {
        let (url, seconds) = match proxy {
            Some(proxy) => (self.place.through(proxy)?, seconds + CONNECTING_SECONDS),
            None => (self.place.url.clone(), seconds),
        };
        let (seconds, clients) = (seconds.to_string(), CLIENTS.to_string());
        let told = self.pgbench(&url, &["-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds]).await?;
        if told.lines().any(|line| line.starts_with(NOTHING)) {
            return Ok(0);
        }
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench told no tps")?;
        let whole = tps.split(['.', ' ']).next().unwrap_or_default();
        whole.parse().context("pgbench told no number")
    }
}
