//! A throw-away PostgreSQL behind a network that fails when it is told to, and the standby that takes its place.

use std::time::Duration;

use anyhow::Context;
use selfsame_cluster::{Options, Proxy, Replication};
use selfsame_store::{Database, Store};

/// The database in it.
const NAME: &str = "site";

/// A primary, the proxy through which servers reach it, and the standby, if there is one.
pub struct Cluster {
    primary: selfsame_cluster::Cluster,
    standby: Option<selfsame_cluster::Cluster>,
    pub proxy: Proxy,
}

impl Cluster {
    /// Starts one, as durable as PostgreSQL is by default.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let primary = selfsame_cluster::Cluster::start(options.loopback()).await?;
        primary.create_database(NAME).await?;
        let proxy = Proxy::start(primary.address().context("it listens on the loopback")?).await?;
        Ok(Self { primary, standby: None, proxy })
    }

    /// Its address for servers, through the proxy.
    pub fn url(&self) -> String {
        self.primary.url_at(self.proxy.address(), NAME)
    }

    /// Its address beside the proxy.
    pub fn direct_url(&self) -> String {
        self.primary.url(NAME)
    }

    pub fn open(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&Database::postgres(self.direct_url()))?)
    }

    /// Kills postmaster and backends the hard way.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.primary.kill().await?)
    }

    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        Ok(self.primary.start_again().await?)
    }

    /// Gives it a standby, and waits until that follows.
    pub async fn add_standby(&mut self, replication: Replication) -> anyhow::Result<()> {
        // One that is there from the round before goes on.
        if self.standby.is_some() {
            return Ok(());
        }
        self.standby = Some(self.primary.standby(replication).await?);
        Ok(())
    }

    /// From now on nothing more reaches the standby.
    pub fn stall_replication(&self) -> anyhow::Result<()> {
        Ok(self.primary.stall_replication()?)
    }

    /// Lets the standby go on.
    pub fn resume_replication(&self) -> anyhow::Result<()> {
        Ok(self.primary.resume_replication()?)
    }

    /// Whether a commit waits for the standby.
    pub async fn is_waiting_for_standby(&self) -> anyhow::Result<bool> {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        Ok(self.primary.query(NAME, sql).await? != "0")
    }

    /// Makes the standby the primary, after the primary was killed, and sends servers there. Answers when it took writes.
    pub async fn fail_over(&mut self) -> anyhow::Result<tokio::time::Instant> {
        let mut standby = self.standby.take().context("there is a standby")?;
        standby.promote().await?;
        let promoted = tokio::time::Instant::now();
        self.proxy.point_at(standby.address().context("it listens on the loopback")?);
        self.proxy.cut();
        self.primary = standby;
        Ok(promoted)
    }

    /// Whether no server is in the middle of a transaction.
    pub async fn is_idle(&self) -> anyhow::Result<bool> {
        let sql = "select count(*) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'";
        Ok(self.primary.query(NAME, sql).await? == "0")
    }

    /// Whether a server has begun a transaction and leaves the database waiting.
    pub async fn is_midway(&self) -> anyhow::Result<bool> {
        let sql = "select count(*) from pg_stat_activity \
                   where datname = current_database() and state = 'idle in transaction'";
        Ok(self.primary.query(NAME, sql).await? != "0")
    }

    /// Connections that do nothing, until the database gives no more.
    pub async fn take_all_connections(&self, held: &mut Vec<tokio_postgres::Client>) {
        while let Ok((client, connection)) =
            tokio_postgres::connect(&self.direct_url(), tokio_postgres::NoTls).await
        {
            tokio::spawn(connection);
            held.push(client);
        }
    }
}

/// What a commit takes longer when the database is another machine: enough for a kill to strike in between.
pub const WAY: Duration = Duration::from_millis(2);
