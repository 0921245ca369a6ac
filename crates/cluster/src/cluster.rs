//! A cluster: its folder, its server, and how to reach it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::guard::{Guard, Place};
use crate::programs::{PATIENCE, Programs, run};
use crate::{ClusterError, processes, template};

/// Pause between two looks at something that PostgreSQL changes.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Ports that are tried one after the other if another program has the first.
const PORTS_TRIED: usize = 5;

/// Ports lie here, below those that the kernel gives to outgoing connections: otherwise one of these could take the port
/// while the database is down, or, tried over and over, connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Lines of the log that an error shows.
const LOG_LINES: usize = 8;

/// How a cluster is to run. Without more it runs as PostgreSQL does by default, durably, on a socket only.
#[derive(Clone, Debug, Default)]
pub struct Options {
    loopback: bool,
    is_not_durable: bool,
    settings: Vec<(String, String)>,
}

impl Options {
    /// Listens on a port of the loopback as well.
    #[must_use]
    pub fn loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// A setting of PostgreSQL.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In memory, or at least without waiting for the disk: for tests that claim nothing about what survives.
    #[must_use]
    pub fn not_durable(mut self) -> Self {
        self.is_not_durable = true;
        self.setting("fsync", "off").setting("full_page_writes", "off")
    }
}

/// A PostgreSQL of one's own. Dropping it ends it and throws it away, and so does the end of this process.
pub struct Cluster {
    pub(crate) programs: Programs,
    pub(crate) options: Options,
    pub(crate) guard: Guard,
    postmaster: Option<Child>,
    pub(crate) port: u16,
    pub(crate) password: String,
    /// Standbys that were made of it.
    pub(crate) standbys: usize,
    /// As which a primary knows it.
    pub(crate) name: String,
}

impl Cluster {
    /// The one user of a cluster, who may do everything.
    pub const USER: &'static str = "selfsame";

    /// Makes one and starts it.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        let mut cluster = Self::prepare(Programs::find()?, options)?;
        template::copy_to(&cluster.programs, &cluster.data()).await?;
        cluster.start_on_a_free_port().await?;
        if cluster.options.loopback {
            let sql = format!("alter role {} password '{}'", Self::USER, cluster.password);
            cluster.query("postgres", &sql).await?;
        }
        Ok(cluster)
    }

    /// A folder for one, still empty.
    pub(crate) fn prepare(programs: Programs, options: Options) -> Result<Self, ClusterError> {
        let mut password = [0; 16];
        getrandom::fill(&mut password).expect("the operating system's generator always answers");
        let password = password.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = if options.is_not_durable { Place::Memory } else { Place::Disk };
        let guard = Guard::new(&programs, place)?;
        let name = "primary".to_owned();
        Ok(Self { programs, options, guard, postmaster: None, port: 0, password, standbys: 0, name })
    }

    pub(crate) async fn start_on_a_free_port(&mut self) -> Result<(), ClusterError> {
        for _ in 1..PORTS_TRIED {
            self.port = free_port();
            match self.start_again().await {
                // Somebody was faster.
                Err(ClusterError::Ended { log }) if log.contains("Address already in use") => {}
                result => return result,
            }
        }
        self.port = free_port();
        self.start_again().await
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.guard.folder().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.guard.folder().join("log")
    }

    /// The folder of its socket; gone with the cluster.
    pub fn folder(&self) -> &Path {
        self.guard.folder()
    }

    /// Its port, which is also part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, if it was to listen on the loopback.
    pub fn address(&self) -> Option<SocketAddr> {
        self.options.loopback.then(|| (Ipv4Addr::LOCALHOST, self.port).into())
    }

    /// Address of a database, over the socket.
    pub fn url(&self, database: &str) -> String {
        let folder: String = self.folder().to_string_lossy().bytes().map(escaped).collect();
        format!("postgres:///{database}?host={folder}&port={}&user={}", self.port, Self::USER)
    }

    /// Address of a database, over a port: its own, or that of a proxy before it.
    pub fn url_at(&self, address: SocketAddr, database: &str) -> String {
        format!("postgres://{}:{}@{address}/{database}", Self::USER, self.password)
    }

    /// Makes a database that compares text by its bytes, and answers its address over the socket.
    pub async fn create_database(&self, name: &str) -> Result<String, ClusterError> {
        let sql = format!("create database {name} template template0 encoding 'UTF8' locale 'C'");
        self.query("postgres", &sql).await?;
        Ok(self.url(name))
    }

    /// A program of PostgreSQL, to be run beside the cluster by whoever owns it.
    pub fn program(&self, name: &str) -> std::process::Command {
        self.programs.postgres(name, self.folder())
    }

    /// Runs one command as the administrator would, and answers its rows as lines, columns parted by `|`.
    pub async fn query(&self, database: &str, sql: &str) -> Result<String, ClusterError> {
        let mut psql = self.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        psql.arg("--dbname").arg(self.url(database)).args(["--command", sql]);
        run(psql).await.map(|told| told.trim_end().to_owned())
    }

    /// Changes a setting while it runs, for this start and later ones.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), ClusterError> {
        self.query("postgres", &format!("alter system set {name} = '{value}'")).await?;
        self.query("postgres", "select pg_reload_conf()").await.map(drop)
    }

    /// Kills postmaster and backends the hard way, all at once.
    pub async fn kill(&mut self) -> Result<(), ClusterError> {
        let mut postmaster = self.postmaster.take();
        if let Some(postmaster) = &mut postmaster {
            // First, because it is the one that makes others.
            let _ = postmaster.kill();
        }
        processes::signal(&processes::within(&self.data()), Signal::KILL);
        if let Some(mut postmaster) = postmaster {
            let _ = postmaster.wait();
        }
        self.until("the end of all backends", async |cluster| {
            let left = processes::within(&cluster.data());
            processes::signal(&left, Signal::KILL);
            Ok(left.is_empty())
        })
        .await
    }

    /// Ends it in order, without waiting for its clients.
    pub async fn stop(&mut self) -> Result<(), ClusterError> {
        let Some(mut postmaster) = self.postmaster.take() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(postmaster.id().cast_signed()) {
            let _ = kill_process(pid, Signal::INT);
        }
        let stopped = async {
            while matches!(postmaster.try_wait(), Ok(None)) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(PATIENCE, stopped).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.postmaster = Some(postmaster);
                Err(self.late("to stop"))
            }
        }
    }

    /// Starts it again, after a kill or a stop, where it was; waits until it takes connections.
    pub async fn start_again(&mut self) -> Result<(), ClusterError> {
        // Backends of a postmaster that ended some other way would keep a new one out.
        self.kill().await?;
        let data = self.data();
        // Names a process that has ended. Its number may be another one's by now, and that would keep us out, too.
        let named = data.join("postmaster.pid");
        match fs::remove_file(&named) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ClusterError::file("remove", named)(source));
            }
            _ => {}
        }
        let path = self.log_file();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(ClusterError::file("write", &path))?;
        let log_too = log.try_clone().map_err(ClusterError::file("write", &path))?;
        let mut command = self.programs.postgres("postgres", self.folder());
        command.arg("-D").arg(&data).args(self.arguments()).stdout(log).stderr(log_too);
        // Its own group, so that Ctrl-C reaches the owner only, who then ends it.
        let started = command.process_group(0).spawn();
        let started =
            started.map_err(|source| ClusterError::Start { program: "postgres".to_owned(), source })?;
        self.postmaster = Some(started);
        self.until("the start of PostgreSQL", async |cluster| cluster.is_ready()).await
    }

    fn arguments(&self) -> Vec<String> {
        let listen = if self.options.loopback { "127.0.0.1" } else { "" };
        let ours = [
            ("listen_addresses", listen),
            ("port", &self.port.to_string()),
            ("unix_socket_directories", &self.folder().to_string_lossy()),
            // In files of the folder, so that nothing is left in the machine's memory after a kill.
            ("dynamic_shared_memory_type", "mmap"),
            // After a kill PostgreSQL syncs the folder before it recovers: at once, instead of a thousand files in turn.
            ("recovery_init_sync_method", "syncfs"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all = ours.iter().chain(&self.options.settings);
        all.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
    }

    /// The eighth line of the file that names the postmaster says how far it is.
    fn is_ready(&mut self) -> Result<bool, ClusterError> {
        let Some(postmaster) = &mut self.postmaster else { return Ok(false) };
        if !matches!(postmaster.try_wait(), Ok(None)) {
            self.postmaster = None;
            return Err(ClusterError::Ended { log: self.log_end() });
        }
        let number = postmaster.id().to_string();
        let told = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = told.lines();
        Ok(lines.next() == Some(&number) && lines.nth(6).is_some_and(|status| status.trim_end() == "ready"))
    }

    /// Waits until `done` answers yes.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut done: impl AsyncFnMut(&mut Self) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let waiting = async {
            while !done(self).await? {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| Err(self.late(what)))
    }

    fn late(&self, what: &str) -> ClusterError {
        ClusterError::Late { what: what.to_owned(), patience: PATIENCE, log: self.log_end() }
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guard.let_go();
        if let Some(postmaster) = &mut self.postmaster {
            // The guard has killed it; should somebody have killed the guard, this does.
            let _ = postmaster.kill();
            let _ = postmaster.wait();
        }
    }
}

/// A byte of a path as it stands in an address.
fn escaped(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// One that nobody listens on just now.
fn free_port() -> u16 {
    loop {
        let mut random = [0; 2];
        getrandom::fill(&mut random).expect("the operating system's generator always answers");
        let port = PORTS.start + u16::from_le_bytes(random) % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
