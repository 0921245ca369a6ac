//! The textbook transaction: pgbench's TPC-B-like script on a throw-away PostgreSQL, durable as by default.

use anyhow::{Context, bail};
use selfsame_cluster::{Cluster, Options};
use tokio::process::Command;

/// Rows of pgbench: 100,000 accounts for each.
const SCALE: &str = "20";

/// A throw-away PostgreSQL with the tables of pgbench. It runs for as long as this is held.
pub struct Baseline {
    cluster: Cluster,
}

impl Baseline {
    /// Makes it and starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let baseline = Self { cluster: Cluster::start(Options::default()).await? };
        baseline.pgbench(&["-i", "-q", "-s", SCALE]).await?;
        Ok(baseline)
    }

    /// Address of its database `postgres`.
    pub fn url(&self) -> String {
        self.cluster.url("postgres")
    }

    async fn pgbench(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::from(self.cluster.program("pgbench"));
        command.args(arguments).arg(self.cluster.url("postgres")).kill_on_drop(true);
        let output = command.output().await.context("failed to start pgbench")?;
        if !output.status.success() {
            bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Transactions a second with 32 clients, for so many seconds.
    pub async fn measure(&self, seconds: u64) -> anyhow::Result<u64> {
        let seconds = seconds.to_string();
        let told = self.pgbench(&["-M", "prepared", "-c", "32", "-j", "2", "-T", &seconds]).await?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench told no tps")?;
        let whole = tps.split(['.', ' ']).next().unwrap_or_default();
        whole.parse().context("pgbench told no number")
    }
}
