//! A second cluster that follows the first, and takes its place.

use rustix::process::Signal;

use crate::programs::{PATIENCE, run};
use crate::{Cluster, ClusterError, processes};

/// Whether a commit waits for the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It does: what was committed is on both.
    Synchronous,
    /// It does not: what the standby had not received when the primary died is lost.
    Asynchronous,
}

impl Cluster {
    /// Makes a standby by a base backup, and waits until it streams; if synchronous, until commits wait for it.
    pub async fn standby(&mut self, replication: Replication) -> Result<Self, ClusterError> {
        let mut standby = Self::prepare(self.programs.clone(), self.options.clone())?;
        self.standbys += 1;
        standby.name = format!("standby_{}", self.standbys);
        standby.password.clone_from(&self.password);
        let mut backup = self.programs.postgres("pg_basebackup", standby.folder());
        let from = format!("{}&application_name={}", self.url(""), standby.name);
        backup.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        backup.args(["--dbname", &from, "--pgdata"]).arg(standby.data());
        run(backup).await?;
        standby.start_on_a_free_port().await?;
        if replication == Replication::Synchronous {
            // Only now: the backup does not know it, so that a standby that was promoted waits for nobody.
            self.set("synchronous_standby_names", &standby.name).await?;
        }
        self.until_streaming(&standby, replication).await?;
        Ok(standby)
    }

    /// Waits until the standby is where it should be. Right after its start even a synchronous one says `async` for a
    /// moment, and what is committed in that moment waits for nobody.
    async fn until_streaming(
        &mut self,
        standby: &Self,
        replication: Replication,
    ) -> Result<(), ClusterError> {
        let sql = format!(
            "select sync_state from pg_stat_replication where state = 'streaming' and application_name = '{}'",
            standby.name
        );
        let wanted = match replication {
            Replication::Synchronous => "sync",
            Replication::Asynchronous => "async",
        };
        let streams = async |cluster: &mut Self| Ok(cluster.query("postgres", &sql).await? == wanted);
        self.until("a standby that streams", streams).await
    }

    /// Lets nothing more reach the standbys: the processes that send to them are frozen. A commit then waits if a standby
    /// is synchronous.
    pub fn stall_replication(&self) -> Result<(), ClusterError> {
        self.signal_senders(Signal::STOP)
    }

    /// Lets them go on.
    pub fn resume_replication(&self) -> Result<(), ClusterError> {
        self.signal_senders(Signal::CONT)
    }

    fn signal_senders(&self, signal: Signal) -> Result<(), ClusterError> {
        let senders = processes::titled(&self.data(), "walsender");
        if senders.is_empty() {
            return Err(ClusterError::State("no standby follows this cluster"));
        }
        processes::signal(&senders, signal);
        Ok(())
    }

    /// Makes a standby a primary, and waits until it takes writes.
    pub async fn promote(&mut self) -> Result<(), ClusterError> {
        let sql = format!("select pg_promote(true, {})", PATIENCE.as_secs());
        match self.query("postgres", &sql).await?.as_str() {
            "t" => Ok(()),
            _ => Err(ClusterError::State("the standby was not promoted in time")),
        }
    }
}
