//! What is done to the server, and what must hold after each round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use selfsame_sim::journal::{Ask, Entry, Findings, Standing, Told, merchants_minor, reconcile};
use selfsame_sim::random::Random;
use serde_json::{Value, json};

use crate::load::{Journal, Load, Plan, ask_by_reference};
use crate::site::{Callers, DiskFault, PATIENCE, Server, Site};

/// Answers that are waited for while a fault lasts.
pub const DURING: u64 = 80;

/// Good answers that are waited for after a fault that the server survives.
pub const AFTERWARDS: u64 = 30;

/// Within this time the fault strikes once there are enough answers, in microseconds: a few batches.
const STRIKE_WITHIN_US: u64 = 20_000;

/// Clients of what may take seconds.
const FEW: usize = 2;

/// What is done to the server, or to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// kill -9 while payments are on their way.
    Kill,
    /// The owner freezes for longer than its lease, another server takes over, and the owner wakes up.
    Takeover,
    /// The owner freezes in the middle of a transaction, with its locks, and another server starts (`--postgres`).
    FrozenMidway,
    /// kill -9 of PostgreSQL, postmaster and backends, and its start (`--postgres`).
    KillDatabase,
    /// Two servers are paid at, the same orders are returned through both, and one is killed (`--postgres`).
    TwoServers,
    /// The primary is killed and its synchronous standby takes its place (`--postgres`).
    Failover,
    /// The same with an asynchronous standby that lags: payments are lost, and the check must see it (`--postgres`).
    FailoverAsync,
    /// The network is cut between commits and their answers (`--postgres`).
    CutCommit,
    /// Servers lose their connections while commits wait for the standby, and the commits are done later (`--postgres`).
    LateCommit,
    /// Hundreds of clients, and no connections left in the database (`--postgres`).
    Storm,
    /// The database is away for a while (`--postgres`).
    Gone,
    /// The disk is full for a while.
    DiskFull,
    /// Writing fails for a while.
    DiskError,
    /// A sync fails.
    FailedSync,
    /// The clock jumps ahead by days, and back with a restart.
    Clock,
}

impl Scenario {
    /// All that there are on PostgreSQL, or on SQLite.
    pub fn all(on_postgres: bool) -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied().filter(move |scenario| scenario.is_on(on_postgres))
    }

    /// Whether there is this one on PostgreSQL, or on SQLite.
    pub fn is_on(self, on_postgres: bool) -> bool {
        use Scenario::{
            Clock, CutCommit, DiskError, DiskFull, FailedSync, Failover, FailoverAsync, FrozenMidway, Gone,
            Kill, KillDatabase, LateCommit, Storm, Takeover, TwoServers,
        };
        match self {
            Kill | Takeover => true,
            DiskFull | DiskError | FailedSync | Clock => !on_postgres,
            FrozenMidway | KillDatabase | TwoServers | Failover | FailoverAsync | CutCommit | LateCommit
            | Storm | Gone => on_postgres,
        }
    }

    pub fn name(self) -> String {
        self.to_possible_value().expect("no scenario is hidden").get_name().to_owned()
    }
}

/// What the rounds of a scenario came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub rounds: usize,
    pub findings: Findings,
    /// Ledgers that the auditor refused, or in which merchants have another sum than their clients know of.
    pub unbalanced: Vec<String>,
    /// Acknowledged and gone, where that is what the scenario is to show.
    pub lost_as_expected: usize,
    /// Times from the end of a fault to the next good answer.
    pub recoveries: Vec<Duration>,
    /// What else must not be: good answers of a server that has lost the ledger or that must not write any more.
    pub broken: Vec<String>,
}

impl Tally {
    /// Everything that is wrong, one line each.
    pub fn wrong(&self) -> Vec<String> {
        let unbalanced = self.unbalanced.iter().map(|text| format!("unbalanced: {text}"));
        self.findings.wrong().into_iter().chain(unbalanced).chain(self.broken.clone()).collect()
    }
}

/// Rows of each slot of the ledger, as this server sees it.
pub async fn rows(callers: &Callers) -> anyhow::Result<BTreeMap<u64, u64>> {
    let chain = callers.operator.get::<Value>("/v1/ledger/chain", PATIENCE).await?;
    let slots = chain["slots"].as_array().context("a ledger has slots")?.iter();
    let number = |slot: &Value, name: &str| slot[name].as_u64().context("a slot has a number and rows");
    slots.map(|slot| Ok((number(slot, "slot")?, number(slot, "rows")?))).collect()
}

/// Whether somebody noticed the fault: a round in which nobody did proves nothing.
fn was_felt(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| match &entry.told {
        Told::Unknown => true,
        Told::Refused(code) => ["unavailable", "not_connected"].contains(&code.as_str()),
        Told::Done(_) | Told::Reversed => false,
    })
}

/// Whether anybody paid: charges that are all declined prove little.
fn was_paid(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| matches!((entry.ask, &entry.told), (Ask::Charge { .. }, Told::Done(_))))
}

/// A scenario on a site of its own.
pub struct Torture<'a> {
    pub scenario: Scenario,
    pub site: &'a mut Site,
    pub random: Random,
    /// How long a database is away.
    pub absence: Duration,
    /// What merchants have from the rounds before, by what their clients know.
    net_minor: i64,
    pub tally: Tally,
}

/// One round's clients.
pub struct Round {
    pub number: usize,
    pub plan: Arc<Plan>,
    pub journal: Arc<Journal>,
}

impl Round {
    pub fn load(&self, server: &Server) -> Load {
        Load::start(&server.callers, &self.plan, &self.journal)
    }

    /// Few clients, for what may take seconds: all of them would use up the round's requests.
    pub fn light_load(&self, server: &Server) -> Load {
        Load::of(FEW, &server.callers, &self.plan, &self.journal)
    }
}

impl<'a> Torture<'a> {
    pub fn new(scenario: Scenario, site: &'a mut Site, seed: u64, absence: Duration) -> Self {
        // Each scenario has its own numbers, so that it can be repeated alone.
        let random = Random::new(seed ^ (scenario as u64) << 32);
        Self { scenario, site, random, absence, net_minor: 0, tally: Tally::default() }
    }

    /// Plays the rounds; ends after the first in which something is wrong.
    pub async fn run(mut self, rounds: usize) -> anyhow::Result<Tally> {
        let mut server = self.site.start().await?;
        for number in 1..=rounds {
            let plan = Arc::new(Plan::new(self.site, &mut self.random, number).await?);
            self.site.pay_in(&server, number).await?;
            let round = Round { number, plan, journal: Arc::new(Journal::new(self.site)?) };
            let struck = if self.site.database.is_some() {
                self.strike_on_postgres(server, &round).await
            } else {
                self.strike(server, &round).await
            };
            server = struck.with_context(|| format!("round {number}"))?;
            self.check(&server, &round).await.with_context(|| format!("round {number}"))?;
            self.tally.rounds = number;
            let Findings { requests, acknowledged, unknown, .. } = self.tally.findings;
            eprintln!(
                "{:<12} round {number:>2} of {rounds}: {requests} requests so far, {acknowledged} acknowledged, {unknown} \
                 without a definite answer",
                self.scenario.name()
            );
            if !self.tally.wrong().is_empty() {
                break;
            }
        }
        server.kill().await?;
        Ok(self.tally)
    }

    /// Does it, in the middle of the load. Answers the server that goes on.
    async fn strike(&mut self, server: Server, round: &Round) -> anyhow::Result<Server> {
        if self.scenario == Scenario::Kill {
            // Commits last longer, so that the kill finds them half done.
            self.site.disk(Some(DiskFault::Slow))?;
        }
        let mut load = round.load(&server);
        load.acknowledged(20 + self.random.below(200)).await?;
        self.somewhere_in_a_batch().await;
        match self.scenario {
            Scenario::Kill => {
                server.kill().await?;
                self.site.disk(None)?;
                load.stop().await?;
                self.site.start().await
            }
            Scenario::Takeover => {
                load.stop().await?;
                self.take_over(server, round).await
            }
            Scenario::DiskFull => self.disk(server, load, DiskFault::Full).await,
            Scenario::DiskError => self.disk(server, load, DiskFault::Write).await,
            Scenario::FailedSync => self.failed_sync(server, load, round).await,
            Scenario::Clock => self.clock(server, load, round).await,
            _ => unreachable!("the caller has looked what there is on SQLite"),
        }
    }

    /// Not always right behind an answer.
    pub async fn somewhere_in_a_batch(&mut self) {
        tokio::time::sleep(Duration::from_micros(self.random.below(STRIKE_WITHIN_US))).await;
    }

    async fn take_over(&mut self, stale: Server, round: &Round) -> anyhow::Result<Server> {
        // Frozen in the middle of a write it would keep the file's lock, and nobody could take over: that is safe, and
        // ends with a kill. Here it is frozen between two.
        loop {
            stale.freeze()?;
            if !self.site.is_locked().await? {
                break;
            }
            stale.thaw()?;
        }
        // These reach it, and wait in it until it wakes up.
        let late = round.load(&stale);
        let owner = self.site.start().await?;
        let mut load = round.load(&owner);
        load.acknowledged(AFTERWARDS + self.random.below(100)).await?;
        load.stop().await?;
        self.wake_up(stale, late, &owner).await?;
        Ok(owner)
    }

    /// Wakes a server up that another one has taken over from. Nothing that waits in it may be done.
    async fn wake_up(&mut self, stale: Server, mut late: Load, owner: &Server) -> anyhow::Result<()> {
        let before: u64 = rows(&owner.callers).await?.values().sum();
        stale.thaw()?;
        late.answered(DURING).await?;
        let acknowledged = late.count().acknowledged;
        late.stop().await?;
        let after: u64 = rows(&owner.callers).await?.values().sum();
        if acknowledged > 0 || before != after {
            let text = format!("the stale server answered {acknowledged} and wrote {} rows", after - before);
            self.tally.broken.push(text);
        }
        if stale.callers.ready().await {
            self.tally.broken.push("the stale server says that it is ready".to_owned());
        }
        stale.kill().await
    }

    async fn disk(&mut self, server: Server, mut load: Load, fault: DiskFault) -> anyhow::Result<Server> {
        self.site.disk(Some(fault))?;
        load.answered(load.count().answered + DURING).await?;
        self.site.disk(None)?;
        // By itself, without a restart.
        load.acknowledged(load.count().acknowledged + AFTERWARDS).await.context("after the fault")?;
        load.stop().await?;
        Ok(server)
    }

    async fn failed_sync(&mut self, server: Server, load: Load, round: &Round) -> anyhow::Result<Server> {
        self.site.disk(Some(DiskFault::Sync))?;
        self.site.until_halted(&server).await?;
        load.stop().await?;
        // The disk works again, and still nothing may be written: what it lost cannot be told.
        self.site.disk(None)?;
        let mut late = round.load(&server);
        late.answered(DURING).await?;
        let acknowledged = late.count().acknowledged;
        late.stop().await?;
        if acknowledged > 0 {
            self.tally.broken.push(format!("{acknowledged} good answers after a failed sync"));
        }
        server.kill().await?;
        self.site.start().await
    }

    async fn clock(&mut self, server: Server, load: Load, round: &Round) -> anyhow::Result<Server> {
        load.stop().await?;
        let mut load = round.light_load(&server);
        let seconds = 24 * 3_600 * (1 + self.random.below(3)) + self.random.below(3_600);
        let body = json!({ "seconds": seconds });
        server.callers.operator.post::<Value>("/v1/test-clock/advance", &body, PATIENCE).await?;
        load.answered(load.count().answered + DURING).await?;
        // The test clock starts with the system's, so a restart is a jump back.
        server.kill().await?;
        load.stop().await?;
        let server = self.site.start().await?;
        let mut load = round.load(&server);
        load.acknowledged(AFTERWARDS).await?;
        load.stop().await?;
        Ok(server)
    }

    /// Asks by reference, and compares what clients were told with what is there.
    async fn check(&mut self, server: &Server, round: &Round) -> anyhow::Result<()> {
        let entries = round.journal.entries();
        // A commit whose answer was lost may be looked up by the server itself, and no client notices.
        if self.scenario != Scenario::CutCommit && !was_felt(&entries) {
            self.tally.broken.push("nobody noticed the fault".to_owned());
        }
        if !was_paid(&entries) {
            self.tally.broken.push("nobody paid".to_owned());
        }
        let broken = &mut self.tally.broken;
        let standings = ask_by_reference(&server.callers, &round.plan, &entries, broken).await?;
        let ledger = match self.site.audit().await? {
            Ok(ledger) => ledger,
            Err(said) => {
                self.tally.unbalanced.push(said);
                return Ok(());
            }
        };
        let mut findings = reconcile(&entries, &standings, &ledger);
        if self.scenario == Scenario::FailoverAsync {
            let lost = std::mem::take(&mut findings.lost).len();
            if lost == 0 {
                self.tally.broken.push("payments were lost, and the check has not seen it".to_owned());
            }
            self.tally.lost_as_expected += lost;
        }
        self.tally.findings.add(findings);
        let net = |standing: &Standing| match standing {
            Standing::Payment { net_minor, .. } => *net_minor,
            Standing::Absent | Standing::Reversed => 0,
        };
        self.net_minor += standings.values().map(net).sum::<i64>();
        let books = server.callers.operator.get::<Value>("/v1/ledger/trial-balance", PATIENCE).await?;
        if books["wallets_that_differ"] != 0 {
            self.tally
                .unbalanced
                .push(format!("{} wallets differ from their rows", books["wallets_that_differ"]));
        }
        let merchants = merchants_minor(&ledger);
        if merchants != self.net_minor {
            let text = format!("merchants have {merchants}, their clients know of {}", self.net_minor);
            self.tally.unbalanced.push(text);
        }
        Ok(())
    }
}
