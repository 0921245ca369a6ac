//! The parts of a run. Loads that are compared are neighbours in time, in rounds, and in an order that chance decides;
//! each has a site in a database of its own, which grows as those of the others do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use selfsame_cluster::Proxy;

use crate::bench::baseline::{self, Baseline};
use crate::bench::load::{self, Figures, OPEN_CLIENTS};
use crate::bench::payments::report::Report;
use crate::bench::postgres::Server;
use crate::bench::rival::{Design, Rival, round_trip};
use crate::bench::servers::ServerProcess;
use crate::bench::till::Chance;
use crate::bench::world::{Engine, Size, World};
use crate::output;

pub const MAIN: &str = "store path, 256 in flight";
pub const EDGE: &str = "HTTP edge, 256 in flight";
pub const UNIFORM: &str = "store path, 50 merchants";
pub const HOT: &str = "store path, one merchant";
pub const LIMITED: &str = "store path, limits of a new site";
pub const UNLIMITED: &str = "store path, no limits";
const WRITERS: [(&str, usize); 3] =
    [("store path, one writer", 1), ("store path, two writers", 2), ("store path, four writers", 4)];
const FEWER: [(&str, usize); 3] =
    [("store path, 32 in flight", 32), ("store path, 8 in flight", 8), ("store path, 1 in flight", 1)];
pub const STORE_AWAY: &str = "5 ms away: store path, 256 in flight";
pub const ONE_STATEMENT_AWAY: &str = "5 ms away: one statement each, 32 in flight";
pub const ONE_STATEMENT_AWAY_MANY: &str = "5 ms away: one statement each, 256 in flight";
pub const OPEN: &str = "open loop of 500/s: store path";
pub const ONE_STATEMENT: &str = "open loop of 500/s: one statement each";
pub const TWO_TRIPS: &str = "open loop of 500/s: two round trips each";
pub const TEXTBOOK: &str = "open loop of 500/s: one textbook statement each";
pub const SERVERS_ONE: &str = "one server, HTTP, 256 in flight";
pub const SERVERS_TWO: &str = "two servers, HTTP, 256 in flight";
const COMES_IN: [(&str, u32); 4] = [
    ("HTTP edge, open loop of 20/s", 20),
    ("HTTP edge, open loop of 100/s", 100),
    ("HTTP edge, open loop of 200/s", 200),
    ("HTTP edge, open loop of 500/s", 500),
];

/// Payments a second of the open loop beside the one-statement path.
const OPEN_LOOP_PER_SECOND: u32 = 500;

/// What a question to a database on another machine, or a commit that waits for a standby, takes on its way, there and
/// back.
const AWAY: Duration = Duration::from_millis(5);

/// Merchants of a site.
const MERCHANTS: usize = 50;

/// Payments from which on the growth of files says something: they grow by pages.
const PAYMENTS_ON_DISK_MIN: usize = 500;

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Store path and HTTP edge with 256 in flight, each right after pgbench
    Main,
    /// All payments to one merchant, beside fifty merchants
    Hot,
    /// A site with the limits of a new one, as all of the others have them, beside one without limits
    Limits,
    /// Store path with 32, 8 and 1 in flight, one round
    Fewer,
    /// Store path with one, two and four writers (PostgreSQL only)
    Writers,
    /// A database 5 ms away: store path, pgbench and one statement for each payment (PostgreSQL only)
    Away,
    /// 500 payments a second come in: store path beside one statement, or two round trips, for each payment (PostgreSQL only)
    Open,
    /// One and two server processes on one database (PostgreSQL only)
    Servers,
    /// 20 to 500 payments a second come in over HTTP: what they take of the machine, one round
    Sizing,
}

impl Part {
    /// Whether there is something to measure on SQLite.
    pub fn is_for_sqlite(self) -> bool {
        matches!(self, Part::Main | Part::Hot | Part::Limits | Part::Fewer | Part::Sizing)
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub seconds: u64,
    pub rounds: u64,
    pub in_flight: usize,
    pub size: Size,
    /// Of what comes in to open loops, one in so many is left.
    pub thinned: u32,
}

/// A run.
pub struct Run {
    extent: Extent,
    /// Absent: the sites are in SQLite's files.
    server: Option<Arc<Server>>,
    writers: usize,
    baseline: Option<Baseline>,
    chance: Chance,
    pub report: Report,
}

impl Run {
    pub fn new(
        extent: Extent,
        server: Option<Arc<Server>>,
        writers: usize,
        baseline: Option<Baseline>,
        seed: u64,
    ) -> Self {
        Self { extent, server, writers, baseline, chance: Chance::new(seed), report: Report::default() }
    }

    /// Measures a part.
    pub async fn measure(&mut self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Main => self.main().await,
            Part::Hot => self.hot().await,
            Part::Limits => self.limits().await,
            Part::Fewer => self.fewer().await,
            Part::Writers => self.several_writers().await,
            Part::Away => self.away().await,
            Part::Open => self.open().await,
            Part::Servers => self.servers().await,
            Part::Sizing => self.sizing().await,
        }
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.extent.seconds)
    }

    fn engine(&self, writers: usize) -> Engine {
        match &self.server {
            Some(server) => Engine::Postgres { server: server.clone(), writers },
            None => Engine::Sqlite,
        }
    }

    fn postgres(&self) -> anyhow::Result<Arc<Server>> {
        self.server.clone().context("this is for a site in PostgreSQL")
    }

    async fn world(&self, merchants: usize) -> anyhow::Result<World> {
        World::new(merchants, &self.engine(self.writers), self.extent.size).await
    }

    /// The baseline, measured now.
    async fn baseline(&mut self, proxy: Option<SocketAddr>) -> anyhow::Result<Option<u64>> {
        let Some(baseline) = &self.baseline else { return Ok(None) };
        let tps = baseline.measure(self.extent.seconds, proxy).await?;
        let (clients, away) = (baseline::CLIENTS, if proxy.is_some() { ", 5 ms away" } else { "" });
        output::note(format_args!("{:<50} {tps:>7}/s", format!("pgbench TPC-B, {clients} clients{away}")));
        if proxy.is_none() {
            self.report.baseline(tps);
        }
        Ok(Some(tps))
    }

    async fn close(&mut self, name: &'static str, world: World) -> anyhow::Result<()> {
        let deadlocks = world.close().await.with_context(|| format!("after `{name}`"))?;
        self.report.deadlocks(name, deadlocks);
        Ok(())
    }

    async fn main(&mut self) -> anyhow::Result<()> {
        let (length, in_flight) = (self.length(), self.extent.in_flight);
        let mut at_store = self.world(MERCHANTS).await?;
        let mut at_edge = self.world(1).await?;
        let till = [at_edge.serve().await?];
        for _ in 0..self.extent.rounds {
            // All that is to be prepared comes first, so that the measurements are neighbours.
            at_store.prepare(in_flight, length).await?;
            at_edge.prepare(in_flight, length).await?;
            let tps = self.baseline(None).await?;
            let figures = load::store_path(&mut at_store, in_flight, length).await?;
            self.report.take(MAIN, tps, figures);
            let tps = self.baseline(None).await?;
            let figures = load::http_edge(&mut at_edge, &till, in_flight, length).await?;
            self.report.take(EDGE, tps, figures);
        }
        self.close(MAIN, at_store).await?;
        self.close(EDGE, at_edge).await
    }

    /// The store path at several sites in turn.
    async fn alternate(&mut self, mut worlds: Vec<(&'static str, World)>) -> anyhow::Result<()> {
        let (length, in_flight) = (self.length(), self.extent.in_flight);
        let mut order: Vec<usize> = (0..worlds.len()).collect();
        for _ in 0..self.extent.rounds {
            for (_, world) in &mut worlds {
                world.prepare(in_flight, length).await?;
            }
            let tps = self.baseline(None).await?;
            self.chance.shuffle(&mut order);
            for place in &order {
                let (name, world) = &mut worlds[*place];
                let figures = load::store_path(world, in_flight, length).await?;
                self.report.take(name, tps, figures);
            }
        }
        for (name, world) in worlds {
            self.close(name, world).await?;
        }
        Ok(())
    }

    async fn hot(&mut self) -> anyhow::Result<()> {
        let worlds = vec![(UNIFORM, self.world(MERCHANTS).await?), (HOT, self.world(1).await?)];
        self.alternate(worlds).await
    }

    async fn limits(&mut self) -> anyhow::Result<()> {
        let (engine, size) = (self.engine(self.writers), self.extent.size);
        let unlimited = World::with_limits(MERCHANTS, &engine, size, Vec::new()).await?;
        let worlds = vec![(LIMITED, self.world(MERCHANTS).await?), (UNLIMITED, unlimited)];
        self.alternate(worlds).await
    }

    async fn several_writers(&mut self) -> anyhow::Result<()> {
        let mut worlds = Vec::new();
        for (name, writers) in WRITERS {
            let engine = self.engine(writers);
            worlds.push((name, World::new(MERCHANTS, &engine, self.extent.size).await?));
        }
        self.alternate(worlds).await
    }

    async fn fewer(&mut self) -> anyhow::Result<()> {
        let tps = self.baseline(None).await?;
        for (name, in_flight) in FEWER {
            let in_flight = in_flight.min(self.extent.in_flight);
            let mut world = self.world(MERCHANTS).await?;
            world.prepare(in_flight, self.length()).await?;
            let figures = load::store_path(&mut world, in_flight, self.length()).await?;
            self.report.take(name, tps, figures);
            self.close(name, world).await?;
        }
        Ok(())
    }

    /// Everything through a proxy that holds each byte for half of [`AWAY`], there and back.
    async fn away(&mut self) -> anyhow::Result<()> {
        let server = self.postgres()?;
        let address = match server.address().await {
            Ok(address) => address,
            Err(error) => {
                output::note(format_args!("a database 5 ms away is left out: {error:#}"));
                return Ok(());
            }
        };
        let proxy = Proxy::start(address).await?;
        let (length, in_flight) = (self.length(), self.extent.in_flight);
        let mut world = self.world(MERCHANTS).await?;
        world.go_through(world.place()?.through(proxy.address())?).await?;
        let mut rival = Rival::new(&server, Design::Lean, self.extent.size.payers).await?;
        let through = rival.place().through(proxy.address())?;
        let mut few = rival.connections(baseline::CLIENTS.min(in_flight), Some(&through)).await?;
        let mut many = Vec::new();
        if rival.has_room_for(in_flight).await? {
            many = rival.connections(in_flight, Some(&through)).await?;
        } else {
            output::note(format_args!(
                "no room for {in_flight} connections: `{ONE_STATEMENT_AWAY_MANY}` is left out"
            ));
        }
        let short_us = round_trip(&through).await?.as_micros();
        proxy.delay(AWAY / 2);
        let long_us = round_trip(&through).await?.as_micros();
        self.report.fact("round trip through the proxy, us", u64::try_from(short_us)?);
        self.report.fact("the same with 2.5 ms each way asked for, us", u64::try_from(long_us)?);
        let mut paid = 0;
        let mut order = [STORE_AWAY, ONE_STATEMENT_AWAY, ONE_STATEMENT_AWAY_MANY];
        for _ in 0..self.extent.rounds {
            world.prepare(in_flight, length).await?;
            let tps = self.baseline(Some(proxy.address())).await?;
            self.chance.shuffle(&mut order);
            for name in order {
                let figures = match name {
                    STORE_AWAY => load::store_path(&mut world, in_flight, length).await?,
                    _ => {
                        let clients = if name == ONE_STATEMENT_AWAY { &mut few } else { &mut many };
                        if clients.is_empty() {
                            continue;
                        }
                        let codes = rival.codes(self.extent.size.codes_for(length)).await?;
                        let mut unused = Vec::new();
                        let load = load::closed_loop(codes, clients, length, &mut unused);
                        let figures = load::with_log_bytes(&world, load).await?;
                        paid += figures.latencies_us.len();
                        figures
                    }
                };
                self.report.take(name, tps, figures);
            }
        }
        self.close(STORE_AWAY, world).await?;
        drop((few, many));
        self.report.deadlocks(ONE_STATEMENT_AWAY, Some(rival.close(paid).await?));
        Ok(())
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        let (server, payers) = (self.postgres()?, self.extent.size.payers);
        let per_second = OPEN_LOOP_PER_SECOND / self.extent.thinned;
        let count = per_second as usize * usize::try_from(self.extent.seconds)?;
        let mut world = self.world(MERCHANTS).await?;
        let mut clients = load::in_process(&world, OPEN_CLIENTS);
        let mut rivals = Vec::new();
        let designs =
            [(ONE_STATEMENT, Design::Lean), (TWO_TRIPS, Design::TwoTrips), (TEXTBOOK, Design::Textbook)];
        for (name, design) in designs {
            let rival = Rival::new(&server, design, payers).await?;
            let clients = OPEN_CLIENTS.min(self.extent.in_flight);
            if !rival.has_room_for(clients).await? {
                output::note(format_args!("no room for {clients} connections: `{name}` is left out"));
                continue;
            }
            let connections = rival.connections(clients, None).await?;
            rivals.push((name, rival, connections, 0));
        }
        // The last one is ours.
        let mut order: Vec<usize> = (0..=rivals.len()).collect();
        for _ in 0..self.extent.rounds {
            self.chance.shuffle(&mut order);
            for place in &order {
                if let Some((name, rival, connections, paid)) = rivals.get_mut(*place) {
                    let codes = rival.codes(count).await?;
                    let load = load::open_loop(connections, codes, per_second);
                    let figures = load::with_log_bytes(&world, load).await?;
                    *paid += figures.latencies_us.len();
                    self.report.take(name, None, figures);
                } else {
                    let codes = world.codes(count).await?;
                    let load = load::open_loop(&mut clients, codes, per_second);
                    let figures = load::with_log_bytes(&world, load).await?;
                    self.report.take(OPEN, None, figures);
                }
            }
        }
        drop(clients);
        self.close(OPEN, world).await?;
        for (name, rival, connections, paid) in rivals {
            drop(connections);
            self.report.deadlocks(name, Some(rival.close(paid).await?));
        }
        Ok(())
    }

    async fn servers(&mut self) -> anyhow::Result<()> {
        let (length, in_flight) = (self.length(), self.extent.in_flight);
        let mut sites = Vec::new();
        // As many writers in all: it is the database's machine that they are counted for.
        for (name, count) in [(SERVERS_ONE, 1), (SERVERS_TWO, 2)] {
            let world = self.world(1).await?;
            // The servers take the slots.
            world.store.release_slot().await?;
            let mut servers = Vec::new();
            for _ in 0..count {
                servers.push(ServerProcess::start(&world, (self.writers / count).max(1)).await?);
            }
            sites.push((name, world, servers));
        }
        let mut order = [0, 1];
        for _ in 0..self.extent.rounds {
            for (_, world, _) in &mut sites {
                world.prepare(in_flight, length).await?;
            }
            let tps = self.baseline(None).await?;
            self.chance.shuffle(&mut order);
            for place in order {
                let (name, world, servers) = &mut sites[place];
                let tills: Vec<_> = servers.iter().map(|server| server.till.clone()).collect();
                let figures = load::http_edge(world, &tills, in_flight, length).await?;
                // Of this process, in which there are only the clients.
                let figures = Figures { cpu: Duration::ZERO, cpu_clients: Duration::ZERO, ..figures };
                self.report.take(name, tps, figures);
            }
        }
        for (name, world, servers) in sites {
            for server in servers {
                server.stop().await?;
            }
            self.close(name, world).await?;
        }
        Ok(())
    }

    /// What payments over HTTP take of the machine, of which the clients are a part.
    async fn sizing(&mut self) -> anyhow::Result<()> {
        let mut world = self.world(1).await?;
        let till = [world.serve().await?];
        let mut clients = load::connections(&till, OPEN_CLIENTS).await?;
        for (name, per_second) in COMES_IN {
            // Not below one a second.
            let per_second = (per_second / self.extent.thinned).max(1);
            let before = world.store.usage().await?;
            let codes = world.codes(per_second as usize * usize::try_from(self.extent.seconds)?).await?;
            let enough = codes.len() >= PAYMENTS_ON_DISK_MIN;
            let load = load::open_loop(&mut clients, codes, per_second);
            let mut figures = load::with_log_bytes(&world, load).await?;
            if let (Some([before, _]), Some([after, connections])) = (before, world.store.usage().await?) {
                figures.disk_bytes = enough.then_some(after.saturating_sub(before));
                self.report.fact("connections of a server", connections);
            }
            self.report.take(name, None, figures);
        }
        drop(clients);
        self.close(COMES_IN[COMES_IN.len() - 1].0, world).await
    }
}
