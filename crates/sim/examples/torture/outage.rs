//! What is done to servers on PostgreSQL, and to the database itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use selfsame_api::client::Client;
use selfsame_cluster::Replication;
use selfsame_sim::journal::{Ask, Told};
use selfsame_store::LEASE;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Cluster, WAY};
use crate::load::{CLIENTS, Load};
use crate::scenario::{AFTERWARDS, DURING, Round, Scenario, Torture, rows};
use crate::site::{PATIENCE, PAUSE, Server, until};

/// Commits of a round that are cut off from their answers.
const COMMITS_CUT: u64 = 10;

/// By when an owner that lives has freed the slots of one that is silent: it watches them for a whole lease, again and
/// again.
const FREED: Duration = LEASE.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// Clients of a storm.
const STORM: usize = 300;

/// Orders of a round that are returned through both servers at once.
const RETURNS: usize = 20;

impl Torture<'_> {
    fn database(&mut self) -> &mut Cluster {
        self.site.database.as_mut().expect("scenarios of PostgreSQL have one")
    }

    /// Does it, in the middle of the load. Answers the server that goes on.
    pub async fn strike_on_postgres(&mut self, server: Server, round: &Round) -> anyhow::Result<Server> {
        match self.scenario {
            Scenario::Failover | Scenario::LateCommit => {
                self.database().add_standby(Replication::Synchronous).await?
            }
            Scenario::FailoverAsync => self.database().add_standby(Replication::Asynchronous).await?,
            // Commits last longer, so that the kill finds them half done.
            Scenario::Kill | Scenario::FrozenMidway | Scenario::TwoServers => {
                self.database().proxy.delay(WAY)
            }
            _ => {}
        }
        let clients = if self.scenario == Scenario::Storm { STORM } else { CLIENTS };
        let mut load = Load::of(clients, &server.callers, &round.plan, &round.journal);
        load.acknowledged(20 + self.random.below(200)).await?;
        self.somewhere_in_a_batch().await;
        let server = match self.scenario {
            Scenario::Kill => self.kill_server(server, load, round).await,
            Scenario::KillDatabase => self.kill_database(server, load).await,
            Scenario::Takeover => self.take_over_on_postgres(server, load, round).await,
            Scenario::FrozenMidway => self.freeze_midway(server, load, round).await,
            Scenario::TwoServers => self.two_servers(server, load, round).await,
            Scenario::Failover => self.fail_over(server, load).await,
            Scenario::FailoverAsync => self.fail_over_with_loss(server, load, round).await,
            Scenario::CutCommit => self.cut_commits(server, load).await,
            Scenario::LateCommit => self.late_commit(server, load).await,
            Scenario::Storm => self.storm(server, load).await,
            Scenario::Gone => self.gone(server, load, round).await,
            Scenario::DiskFull | Scenario::DiskError | Scenario::FailedSync | Scenario::Clock => {
                unreachable!("the caller has looked what there is on PostgreSQL")
            }
        }?;
        self.database().proxy.delay(Duration::ZERO);
        Ok(server)
    }

    /// Waits for the first good answer after `since`, and for more.
    async fn recover(&mut self, since: Instant, load: &mut Load) -> anyhow::Result<()> {
        load.acknowledged_more(1).await.context("after the fault")?;
        self.tally.recoveries.push(since.elapsed());
        load.acknowledged_more(AFTERWARDS).await.context("after the fault")
    }

    async fn kill_server(&mut self, server: Server, load: Load, round: &Round) -> anyhow::Result<Server> {
        server.kill().await?;
        let killed = Instant::now();
        load.stop().await?;
        let server = self.site.start().await?;
        let mut load = round.load(&server);
        self.recover(killed, &mut load).await?;
        load.stop().await?;
        Ok(server)
    }

    async fn kill_database(&mut self, server: Server, mut load: Load) -> anyhow::Result<Server> {
        self.database().kill().await?;
        // Long enough for clients to notice.
        load.answered_more(DURING).await?;
        self.database().start_again().await?;
        self.recover(Instant::now(), &mut load).await?;
        load.stop().await?;
        Ok(server)
    }

    async fn take_over_on_postgres(
        &mut self,
        stale: Server,
        load: Load,
        round: &Round,
    ) -> anyhow::Result<Server> {
        load.stop().await?;
        // In the middle of a transaction it would keep its locks until PostgreSQL ends that; here it is frozen between
        // two.
        loop {
            stale.freeze()?;
            if self.database().is_idle().await? {
                break;
            }
            stale.thaw()?;
            tokio::time::sleep(PAUSE).await;
        }
        let frozen = Instant::now();
        // These reach it, and wait in it until it wakes up.
        let mut late = round.load(&stale);
        let owner = self.site.start().await?;
        let held = rows(&owner.callers).await?;
        let mut load = round.load(&owner);
        self.recover(frozen, &mut load).await?;
        load.stop().await?;
        // The owner of other slots frees those of the frozen one, and the next server that starts takes them.
        tokio::time::sleep(FREED).await;
        let before = rows(&owner.callers).await?;
        let next = self.site.start().await?;
        let mut load = round.load(&next);
        load.acknowledged(AFTERWARDS).await?;
        load.stop().await?;
        let taken = rows(&next.callers).await?;
        let taken: BTreeMap<u64, u64> =
            taken.into_iter().filter(|(slot, rows)| before.get(slot) != Some(rows)).collect();
        if !taken.keys().all(|slot| held.get(slot).is_some_and(|rows| *rows > 0)) {
            self.tally.broken.push(format!("slots {taken:?} were not taken over from {held:?}"));
        }
        stale.thaw()?;
        // It may take slots of its own and go on; what it had when it was frozen belongs to another one.
        late.answered(DURING).await?;
        late.stop().await?;
        let afterwards = rows(&owner.callers).await?;
        if let Some(slot) = taken.iter().find(|(slot, rows)| afterwards.get(slot) != Some(rows)) {
            self.tally.broken.push(format!("slot and rows {slot:?} were written by the stale server"));
        }
        stale.kill().await?;
        next.kill().await?;
        Ok(owner)
    }

    /// Its locks stay until PostgreSQL ends what it had begun. The other server cannot take its slot over, and works all the
    /// same; what the frozen one had not committed it may still commit when it wakes up in time.
    async fn freeze_midway(&mut self, frozen: Server, load: Load, round: &Round) -> anyhow::Result<Server> {
        loop {
            frozen.freeze()?;
            // What PostgreSQL still had to do for it is done by then.
            tokio::time::sleep(PAUSE).await;
            if self.database().is_midway().await? {
                break;
            }
            frozen.thaw()?;
            self.somewhere_in_a_batch().await;
        }
        let since = Instant::now();
        let other = self.site.start().await.context("a server beside one that is frozen midway")?;
        let mut beside = round.load(&other);
        self.recover(since, &mut beside).await?;
        frozen.thaw()?;
        beside.acknowledged_more(AFTERWARDS).await?;
        load.stop().await?;
        beside.stop().await?;
        frozen.kill().await?;
        Ok(other)
    }

    /// Both are paid at; the same orders are returned through both; one is killed, and comes back.
    async fn two_servers(&mut self, one: Server, load: Load, round: &Round) -> anyhow::Result<Server> {
        // The first would use up what there is to pay while the other one starts.
        load.stop().await?;
        let other = self.site.start().await.context("a second server beside the first")?;
        let (mut load, mut beside) = (round.load(&one), round.load(&other));
        load.acknowledged(AFTERWARDS + self.random.below(100)).await?;
        beside.acknowledged(AFTERWARDS).await?;
        load.stop().await?;
        beside.stop().await?;
        let (load, beside) = (round.light_load(&one), round.light_load(&other));
        self.return_through_both(&one, &other, round).await?;
        load.stop().await?;
        beside.stop().await?;
        let (mut load, mut beside) = (round.load(&one), round.load(&other));
        load.acknowledged(AFTERWARDS).await?;
        one.kill().await?;
        self.recover(Instant::now(), &mut beside).await?;
        load.stop().await?;
        beside.stop().await?;
        let back = self.site.start().await.context("the one that was killed")?;
        let (mut load, mut beside) = (round.load(&back), round.load(&other));
        load.acknowledged(AFTERWARDS).await?;
        beside.acknowledged(AFTERWARDS).await?;
        load.stop().await?;
        beside.stop().await?;
        other.kill().await?;
        Ok(back)
    }

    /// Refunds of all of an order through each server, and a reversal: at most one of the refunds may be, and the merchant
    /// gives back what it got and no more.
    async fn return_through_both(
        &mut self,
        one: &Server,
        other: &Server,
        round: &Round,
    ) -> anyhow::Result<()> {
        let entries = round.journal.entries();
        let touched: BTreeSet<&str> = entries
            .iter()
            .filter(|entry| entry.ask == Ask::Reverse)
            .map(|entry| entry.reference.as_str())
            .collect();
        let mut paid: Vec<(String, i64)> = Vec::new();
        for entry in &entries {
            if let (Ask::Charge { minor, hold: false, .. }, Told::Done(_)) = (entry.ask, &entry.told)
                && !touched.contains(entry.reference.as_str())
            {
                paid.push((entry.reference.clone(), minor));
            }
        }
        paid.sort();
        paid.dedup_by(|one, other| one.0 == other.0);
        for (number, (order, minor)) in paid.into_iter().take(RETURNS).enumerate() {
            let refund = async |client: &Client, side: &str| {
                let refund_ref = format!("{order}-{side}");
                let body = json!({ "refund_ref": refund_ref, "order_ref": order, "amount": euro(minor) });
                client.post::<Value>("/v1/refunds", &body, PATIENCE).await.is_ok()
            };
            let reverse = async || {
                let body = json!({ "order_ref": order });
                let reverses = number % 2 == 1;
                reverses
                    && other.callers.merchant.post::<Value>("/v1/reversals", &body, PATIENCE).await.is_ok()
            };
            let (here, there, reversed) = tokio::join!(
                refund(&one.callers.merchant, "here"),
                refund(&other.callers.merchant, "there"),
                reverse()
            );
            let path = format!("/v1/payments?order_ref={order}");
            let found = other.callers.merchant.get::<Value>(&path, PATIENCE).await;
            let found = found.with_context(|| format!("no answer about {order}"))?;
            let (paid, returned) = (found["paid_minor"].as_i64(), found["returned_minor"].as_i64());
            let returned_once = returned == paid || !(here || there || reversed);
            if (here && there) || returned > paid || !returned_once {
                self.tally.broken.push(format!(
                    "{order} was returned here {here}, there {there}, reversed {reversed}: paid {paid:?}, returned \
                     {returned:?}"
                ));
            }
        }
        Ok(())
    }

    async fn fail_over(&mut self, server: Server, mut load: Load) -> anyhow::Result<Server> {
        self.database().kill().await?;
        let promoted = self.database().fail_over().await?;
        self.recover(promoted, &mut load).await?;
        load.stop().await?;
        Ok(server)
    }

    /// What was acknowledged after the standby had stopped to receive is lost for certain, and the check must see it.
    async fn fail_over_with_loss(
        &mut self,
        server: Server,
        mut load: Load,
        round: &Round,
    ) -> anyhow::Result<Server> {
        self.database().stall_replication()?;
        load.acknowledged_more(AFTERWARDS).await?;
        self.database().kill().await?;
        load.answered_more(DURING).await?;
        load.stop().await?;
        let promoted = self.database().fail_over().await?;
        // A top-up tells when it takes payments again. Orders are left alone: one that is sent again would be paid anew,
        // and hide that it was lost.
        let (payer, top_up_ref) = (self.site.payer(0), format!("probe-{}", round.number));
        let body = json!({ "top_up_ref": top_up_ref, "account": payer, "amount": euro(1) });
        let pays =
            async || server.callers.operator.post::<Value>("/v1/top-ups", &body, PATIENCE).await.is_ok();
        until("a good answer after the failover", pays).await?;
        self.tally.recoveries.push(promoted.elapsed());
        Ok(server)
    }

    async fn cut_commits(&mut self, server: Server, mut load: Load) -> anyhow::Result<Server> {
        let before = self.database().proxy.commits_cut();
        for number in 1..=COMMITS_CUT {
            let proxy = &self.database().proxy;
            proxy.cut_next_commit();
            let cut = tokio::time::timeout(PATIENCE, proxy.until_commits_cut(before + number)).await;
            cut.with_context(|| format!("no commit within {PATIENCE:?}"))?;
            self.recover(Instant::now(), &mut load).await?;
        }
        load.stop().await?;
        Ok(server)
    }

    /// A commit that waits for its standby goes on waiting when its server's connection breaks, and nobody sees it yet. Who
    /// looks it up must not take that for an answer.
    async fn late_commit(&mut self, server: Server, mut load: Load) -> anyhow::Result<Server> {
        self.database().stall_replication()?;
        let database = &*self.database();
        until("a commit waits for the standby", async || {
            database.is_waiting_for_standby().await.is_ok_and(|waits| waits)
        })
        .await?;
        database.proxy.cut();
        load.answered_more(u64::try_from(CLIENTS)?).await?;
        self.database().resume_replication()?;
        self.recover(Instant::now(), &mut load).await?;
        load.stop().await?;
        Ok(server)
    }

    /// Hundreds of clients at once, and then a database that has no connection left.
    async fn storm(&mut self, server: Server, mut load: Load) -> anyhow::Result<Server> {
        let mut held = Vec::new();
        self.database().take_all_connections(&mut held).await;
        // Those that the server had are gone, and others get them.
        self.database().proxy.cut();
        self.database().take_all_connections(&mut held).await;
        load.answered_more(DURING).await?;
        drop(held);
        self.recover(Instant::now(), &mut load).await?;
        load.stop().await?;
        Ok(server)
    }

    async fn gone(&mut self, server: Server, mut load: Load, round: &Round) -> anyhow::Result<Server> {
        self.database().kill().await?;
        let gone = Instant::now();
        load.answered_more(DURING).await?;
        load.stop().await?;
        tokio::time::sleep_until(gone + self.absence).await;
        // Still there, and still answering.
        let mut load = round.load(&server);
        load.answered(AFTERWARDS).await?;
        self.database().start_again().await?;
        self.recover(Instant::now(), &mut load).await?;
        load.stop().await?;
        Ok(server)
    }
}

fn euro(minor: i64) -> Value {
    json!({ "minor": minor, "currency": "EUR" })
}
