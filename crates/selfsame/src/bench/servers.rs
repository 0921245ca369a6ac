//! Servers as processes of their own, as on a site: the executable with its settings, secrets and log, and its matcher.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::bench::client::Till;
use crate::bench::world::{SECRETS, World};
use crate::process::ProcessOptions;
use crate::server::child_arguments;
use crate::site::{DATABASE_VARIABLE, SecretName, Site, write_private};
use crate::supervise::CHILD_FLAG;

/// Longest time that a server may take to come up: it waits for a lease to end at most.
const UP: Duration = Duration::from_secs(30);

/// Longest time that it may take to end when it is asked to.
const DOWN: Duration = Duration::from_secs(15);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A server, and a till at it. Ends with this.
pub struct ServerProcess {
    child: Child,
    pub till: Till,
    folder: TempDir,
}

impl ServerProcess {
    /// Starts a server of a site, with so many writers.
    pub async fn start(world: &World, writers: usize) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        let site = Site::new(folder.path())?;
        site.create_folders()?;
        let names = [SecretName::CodePepper, SecretName::IdentifierPepper, SecretName::ProfileKey];
        for (name, secret) in names.into_iter().zip(SECRETS) {
            write_private(&site.secret_path(name), &secret)?;
        }
        site.create_secrets()?;
        let settings = format!("[server]\nlisten = \"127.0.0.1:0\"\nwriters = {writers}\n");
        fs::write(folder.path().join("selfsame.toml"), settings).context("failed to write settings")?;
        let log = File::create(folder.path().join("log")).context("failed to make a log")?;
        let mut child = Command::new(std::env::current_exe().context("failed to find our own executable")?)
            .args(child_arguments(&site, "server", ProcessOptions::default()))
            .arg(CHILD_FLAG)
            // Not an argument: an address may hold a password.
            .env(DATABASE_VARIABLE, &world.place()?.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("failed to start a server")?;
        let started = Instant::now();
        let address = loop {
            if let Ok(url) = fs::read_to_string(site.run("server.url")) {
                let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
                break address.context("a server that tells no address")?;
            }
            if let Some(status) = child.try_wait()? {
                bail!("a server ended at its start ({status}): {}", end_of(folder.path()));
            }
            if started.elapsed() > UP {
                bail!("a server does not come up: {}", end_of(folder.path()));
            }
            tokio::time::sleep(PAUSE).await;
        };
        Ok(Self { child, till: world.till(address), folder })
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // It ends when its standard input does.
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(DOWN, self.child.wait()).await;
        let status =
            ended.with_context(|| format!("a server does not end: {}", end_of(self.folder.path())))??;
        if !status.success() {
            bail!("a server ended badly ({status}): {}", end_of(self.folder.path()));
        }
        Ok(())
    }
}

/// The last line of the log.
fn end_of(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines().last().unwrap_or("its log is empty").to_owned()
}
