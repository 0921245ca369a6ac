//! The textbook transaction: pgbench's TPC-B-like script on a throw-away PostgreSQL, durable as by default.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::Command;

/// Where distributions keep the programs that are not on the path.
const FOLDER: &str = "/usr/lib/postgresql";

/// Rows of pgbench: 100,000 accounts for each.
const SCALE: &str = "20";

fn program(name: &str) -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin").join(name));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join(name)).collect::<Vec<_>>();
    installed.chain(on_path).find(|path| path.exists()).with_context(|| format!("`{name}` is not installed"))
}

/// PostgreSQL refuses to run as root; then its own user runs it.
async fn command(path: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().await.is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(mut command: Command, what: &str) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| format!("failed to start {what}"))?;
    if !output.status.success() {
        bail!("{what} failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A throw-away PostgreSQL with the tables of pgbench. It runs for as long as this is held.
pub struct Baseline {
    folder: TempDir,
    server: PathBuf,
    pgbench: PathBuf,
}

impl Baseline {
    /// Makes it and starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let (initdb, server, pgbench) = (program("initdb")?, program("pg_ctl")?, program("pgbench")?);
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir()?;
        // The other user must get in.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open)?;
        let baseline = Self { folder, server, pgbench };
        let mut make = command(&initdb).await;
        make.args(["--auth=trust", "-U", "bench", "-D"]).arg(baseline.data());
        output(make, "initdb").await?;
        let mut start = command(&baseline.server).await;
        let socket = baseline.folder.path().display();
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{socket}'");
        start.arg("-D").arg(baseline.data()).args(["-w", "-s", "-l"]).arg(baseline.data().join("log"));
        start.args(["-o", &options, "start"]).stdout(Stdio::null());
        if !start.status().await?.success() {
            bail!("PostgreSQL did not start");
        }
        // From here on it runs and must be stopped, whatever comes.
        match baseline.pgbench(&["-i", "-q", "-s", SCALE]).await {
            Ok(_) => Ok(baseline),
            Err(error) => {
                baseline.stop().await;
                Err(error)
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Address of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=bench", self.folder.path().display())
    }

    async fn pgbench(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = command(&self.pgbench).await;
        command.arg("-h").arg(self.folder.path()).args(["-U", "bench"]).args(arguments).arg("postgres");
        output(command, "pgbench").await
    }

    /// Transactions a second with 32 clients, for so many seconds.
    pub async fn measure(&self, seconds: u64) -> anyhow::Result<u64> {
        let seconds = seconds.to_string();
        let told = self.pgbench(&["-M", "prepared", "-c", "32", "-j", "2", "-T", &seconds]).await?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench told no tps")?;
        let whole = tps.split(['.', ' ']).next().unwrap_or_default();
        whole.parse().context("pgbench told no number")
    }

    /// Ends it and throws it away.
    pub async fn stop(self) {
        let mut stop = command(&self.server).await;
        stop.arg("-D").arg(self.data()).args(["-s", "-m", "immediate", "stop"]).stdout(Stdio::null());
        let _ = stop.status().await;
    }
}
