//! A throw-away site with the real server as a process, and a disk below it that can be ordered to fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use selfsame_api::client::{Client, Credentials};
use selfsame_api::merchant::Secret;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::envelope::KeyEncryptionKey;
use selfsame_domain::id::{
    AccountId, MerchantId, PaymentCodeId, StoreId, TerminalId, VerificationId, WalletId,
};
use selfsame_domain::ledger::export::Line;
use selfsame_domain::limit::Limits;
use selfsame_domain::money::Currency;
use selfsame_domain::payment::CodeMac;
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_server::{Secrets, code_mac};
use selfsame_store::{Database, Layer, SeedCode, SeedPayer, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::database::Cluster;

/// Longest wait for something that only a defect can delay.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at something that another process changes.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Payers of the site: few, so that their money runs out and collisions are the rule.
const PAYERS: usize = 20;

/// Money of each, minor units: about a round's worth of payments.
const BALANCE_MINOR: i64 = 5_000;

/// The shim, built when the torture starts.
const SHIM: &str = include_str!("shim.c");

/// How the disk under the database fails; see `shim.c`.
#[derive(Clone, Copy, Debug)]
pub enum DiskFault {
    /// No space is left.
    Full,
    /// Writing fails.
    Write,
    /// Syncing fails.
    Sync,
    /// Writing takes long.
    Slow,
}

#[derive(Deserialize)]
struct Created {
    operator_key: String,
    merchant: MerchantId,
    merchant_key: String,
    store: StoreId,
    till: Till,
}

#[derive(Deserialize)]
struct Till {
    terminal: TerminalId,
}

/// The two who call the server.
#[derive(Clone)]
pub struct Callers {
    pub merchant: Client,
    pub operator: Client,
}

#[derive(Deserialize)]
struct Readiness {
    store: bool,
}

impl Callers {
    /// Whether the server takes payments, as far as it says.
    pub async fn ready(&self) -> bool {
        let ready = self.operator.get::<Readiness>("/readyz", PATIENCE).await;
        ready.is_ok_and(|ready| ready.store)
    }
}

/// A server process.
pub struct Server {
    pub callers: Callers,
    process: Child,
    pid: Pid,
}

impl Server {
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("failed to send {signal:?} to the server"))
    }

    /// Kills it the hard way.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.process.wait().await.context("failed to wait for the server")?;
        Ok(())
    }

    /// Freezes it.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }
}

pub struct Site {
    folder: TempDir,
    /// Where its data is, if not in files of the folder.
    pub database: Option<Cluster>,
    program: PathBuf,
    created: Created,
    payers: Vec<SeedPayer>,
    currency: Currency,
    seeded: usize,
    exports: usize,
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's generator always answers");
    bytes
}

pub async fn until(what: &str, done: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("{what} within {PATIENCE:?}"))
}

async fn build_shim(folder: &Path) -> anyhow::Result<()> {
    fs::write(folder.join("shim.c"), SHIM)?;
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut build = Command::new(compiler);
    build.args(["-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"]).current_dir(folder);
    ensure!(build.status().await.context("no C compiler")?.success(), "the shim was not built");
    Ok(())
}

impl Site {
    /// Makes it: settings, payers, and for files the shim.
    pub async fn new(program: &Path, database: Option<Cluster>) -> anyhow::Result<Self> {
        // Short, because a socket's path has 107 bytes at most.
        let folder = tempfile::Builder::new().prefix("torture-").tempdir()?;
        let site = folder.path().join("site");
        let mut init = Command::new(program);
        init.args(["init", "--test", "--json", "--site"]).arg(&site);
        if let Some(database) = &database {
            init.args(["--database", &database.url()]);
        }
        let output =
            init.output().await.with_context(|| format!("failed to start `{}`", program.display()))?;
        ensure!(output.status.success(), "no site was made: {}", String::from_utf8_lossy(&output.stderr));
        let created = serde_json::from_slice(&output.stdout).context("`init --json` prints JSON")?;
        let settings = site.join("selfsame.toml");
        let text = fs::read_to_string(&settings)?.replace("127.0.0.1:8700", "127.0.0.1:0");
        fs::write(&settings, text)?;
        if database.is_none() {
            build_shim(folder.path()).await?;
        }
        let currency = "EUR".parse()?;
        let (program, payers) = (program.to_owned(), Vec::new());
        let mut site = Self { folder, database, program, created, payers, currency, seeded: 0, exports: 0 };
        site.add_payers().await?;
        site.lift_day_limits().await?;
        Ok(site)
    }

    async fn add_payers(&mut self) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let payer =
            |_| SeedPayer { account: AccountId::new(now, random()), wallet: WalletId::new(now, random()) };
        self.payers = (0..PAYERS).map(payer).collect();
        self.open()?.seed_payers(self.payers.clone(), self.currency, now).await?;
        Ok(())
    }

    /// All rounds are on one day: with what a new site allows, its payers had spent enough after two of them, and no charge
    /// of the others came further than its refusal.
    async fn lift_day_limits(&self) -> anyhow::Result<()> {
        let store = self.open()?;
        for grade in SensorGrade::ALL {
            let limits = Limits { day_minor_max: None, day_count_max: None, ..Limits::default_for(*grade) };
            store.set_limits(Layer::Grade(*grade), limits, SystemClock.now()).await?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn open(&self) -> anyhow::Result<Store> {
        if let Some(database) = &self.database {
            return database.open();
        }
        Ok(Store::open(&Database::files(self.path("data/site.db"), self.path("data/keys.db")))?)
    }

    /// Where clients keep their journal, and where the log is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder, so that a person can look at what went wrong.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// A payer of this number.
    pub fn payer(&self, number: usize) -> AccountId {
        self.payers[number % self.payers.len()].account
    }

    /// Gives every payer the money of one round.
    pub async fn pay_in(&self, server: &Server, round: usize) -> anyhow::Result<()> {
        for (number, payer) in self.payers.iter().enumerate() {
            let body = json!({
                "top_up_ref": format!("seed-{round}-{number}"),
                "account": payer.account,
                "amount": { "minor": BALANCE_MINOR, "currency": self.currency },
            });
            server.callers.operator.post::<Value>("/v1/top-ups", &body, PATIENCE).await?;
        }
        Ok(())
    }

    /// So many codes, over all payers in turn, as terminals would have handed them over. Every other one dies within
    /// the hour, the others live for a month.
    pub async fn codes(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let now = SystemClock.now();
        let pepper = fs::read(self.path("secrets/code_pepper"))?;
        let pepper = <[u8; 32]>::try_from(pepper).ok().context("a secret has 32 bytes")?;
        let unused = || Zeroizing::new([0; 32]);
        let secrets = Secrets {
            code_pepper: Zeroizing::new(pepper),
            identifier_pepper: unused(),
            profile_key: KeyEncryptionKey::new(unused()),
        };
        let (mut seeds, mut digits) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let values = [u64::from_le_bytes(random()), u64::from_le_bytes(random())];
            let code = PaymentCode::from_random(Prefix::default_for(Mode::Test), &values);
            let code = code.context("two random numbers in a row were above the limit")?;
            let hours = if self.seeded.is_multiple_of(2) { 1 } else { 30 * 24 };
            seeds.push(SeedCode {
                verification: VerificationId::new(now, random()),
                code: PaymentCodeId::new(now, random()),
                mac: CodeMac(code_mac(&secrets, &code)),
                account: self.payer(self.seeded),
                at: (self.created.merchant, self.created.store, self.created.till.terminal),
                expires_at: now + Duration::from_secs(hours * 3_600),
            });
            digits.push(code.expose().to_owned());
            self.seeded += 1;
        }
        self.open()?.seed_codes(seeds, self.currency, now).await?;
        Ok(digits)
    }

    /// Whether somebody is in the middle of a write.
    pub async fn is_locked(&self) -> anyhow::Result<bool> {
        Ok(self.open()?.seed_codes(Vec::new(), self.currency, SystemClock.now()).await.is_err())
    }

    /// Orders the disk to fail, or to work again.
    pub fn disk(&self, fault: Option<DiskFault>) -> anyhow::Result<()> {
        let order = self.folder.path().join("fault");
        match fault {
            None => fs::remove_file(order)?,
            Some(fault) => {
                let text = match fault {
                    DiskFault::Full => "full",
                    DiskFault::Write => "write",
                    DiskFault::Sync => "sync",
                    DiskFault::Slow => "slow",
                };
                // Whole or not at all: the server looks at it all the time.
                let beside = self.folder.path().join("fault.new");
                fs::write(&beside, text)?;
                fs::rename(beside, order)?;
            }
        }
        Ok(())
    }

    /// Starts a server and waits until it takes payments: after a crash, or beside another server, until the lease of
    /// the one before is over.
    pub async fn start(&self) -> anyhow::Result<Server> {
        let address = self.path("run/server.url");
        let _ = fs::remove_file(&address);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new(&self.program);
        command.arg("--site").arg(self.path("")).arg("server").env("SELFSAME_LOG", "warn");
        if self.database.is_none() {
            command.env("LD_PRELOAD", self.folder.path().join("shim.so"));
            command.env("SELFSAME_DISK_FAULT", self.folder.path().join("fault"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let mut process = command.spawn().context("failed to start the server")?;
        let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.context("the server ended at once")?;
        let found = tokio::select! {
            found = until("the server listens", async || address.exists()) => found,
            status = process.wait() => bail!("the server ended: {}", status?),
        };
        found?;
        let base = fs::read_to_string(&address)?;
        let caller = |key: &str| {
            Client::tcp(&base, Credentials::Bearer(Secret(key.to_owned())), Arc::new(SystemClock))
        };
        let (merchant, operator) = (caller(&self.created.merchant_key), caller(&self.created.operator_key));
        let callers = Callers { merchant, operator };
        until("the server is ready", async || callers.ready().await).await?;
        Ok(Server { callers, process, pid })
    }

    /// Waits until the server says that it takes nothing any more.
    pub async fn until_halted(&self, server: &Server) -> anyhow::Result<()> {
        until("the server halts", async || !server.callers.ready().await).await
    }

    /// Exports the ledger, lets `selfsame audit verify` recompute it, and answers its lines; or what is wrong with it.
    pub async fn audit(&mut self) -> anyhow::Result<Result<Vec<Line>, String>> {
        self.exports += 1;
        let file = self.folder.path().join(format!("ledger-{}.jsonl", self.exports));
        for action in ["export", "verify"] {
            let mut command = Command::new(&self.program);
            command.args(["audit", action]).arg(&file).arg("--site").arg(self.path(""));
            let output = command.output().await?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Ok(Err(format!("audit {action}: {}", said.trim())));
            }
        }
        let text = fs::read_to_string(&file)?;
        // A long run makes many; one that is in order is not looked at again.
        fs::remove_file(&file)?;
        let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Ok(lines.context("an export has lines of the documented form")?))
    }
}
