//! The fleet: all terminals with what they said of themselves last, and what the operator set for them.
//!
//! Reports and configurations are kept as they are on the wire; the store does not look into them.

use selfsame_domain::id::{KeyId, MerchantId, StoreId, TerminalId};
use selfsame_domain::terminal::{KeyAlgorithm, Lifecycle, Purpose};
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Row, params};
use crate::error::{Result, StoreError};
use crate::{Store, row};

/// Terminals that one read answers at most: a page, and one more that tells whether there are others.
pub const FLEET_PAGE_MAX: u32 = 101;

/// Whose configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationScope {
    /// All terminals of the site.
    Site,
    /// One terminal.
    Terminal(TerminalId),
}

impl ConfigurationScope {
    fn subject(self) -> String {
        match self {
            ConfigurationScope::Site => String::new(),
            ConfigurationScope::Terminal(terminal) => terminal.to_string(),
        }
    }
}

/// A terminal as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetTerminal {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub store: StoreId,
    /// Name of the store.
    pub store_name: String,
    /// Whose it is.
    pub merchant: MerchantId,
    /// Name of the merchant.
    pub merchant_name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Where it stands in its life.
    pub lifecycle: Lifecycle,
    /// Since when it has been locked.
    pub locked_at: Option<Timestamp>,
    /// When its key was last used in a way that a copy of it would explain.
    pub clone_suspected_at: Option<Timestamp>,
    /// Its key in use, how that signs, and since when.
    pub key: Option<(KeyId, KeyAlgorithm, Timestamp)>,
    /// When it reported last, and what.
    pub report: Option<(Timestamp, String)>,
    /// What is set for it alone.
    pub configuration: Option<String>,
}

const COLUMNS: &str =
    "select terminals.id, terminals.name, stores.id, stores.name, merchants.id, merchants.name,
         terminals.purpose, terminals.state, terminals.locked_at, terminal_health.received_at,
         terminal_health.report, terminal_configurations.configuration, terminals.clone_suspected_at,
         terminal_keys.id, terminal_keys.algorithm, terminal_keys.created_at
     from terminals
     join stores on stores.id = terminals.store_id
     join merchants on merchants.id = stores.merchant_id
     left join terminal_keys on terminal_keys.terminal_id = terminals.id and terminal_keys.retired_at is null
     left join terminal_health on terminal_health.terminal_id = terminals.id
     left join terminal_configurations on terminal_configurations.subject = terminals.id";

fn read(found: &Row<'_>) -> Result<FleetTerminal> {
    let locked_at = row::optional_timestamp(found, 8)?;
    let lifecycle = match row::text(found, 7)? {
        Lifecycle::Active if locked_at.is_some() => Lifecycle::Locked,
        other => other,
    };
    let key = match row::optional_text(found, 13)? {
        Some(key) => Some((key, row::text(found, 14)?, row::timestamp(found, 15)?)),
        None => None,
    };
    let report = row::optional_timestamp(found, 9)?.zip(found.get(10)?);
    Ok(FleetTerminal {
        terminal: row::text(found, 0)?,
        name: found.get(1)?,
        store: row::text(found, 2)?,
        store_name: found.get(3)?,
        merchant: row::text(found, 4)?,
        merchant_name: found.get(5)?,
        purpose: row::text(found, 6)?,
        lifecycle,
        locked_at,
        clone_suspected_at: row::optional_timestamp(found, 12)?,
        key,
        report,
        configuration: found.get(11)?,
    })
}

impl Store {
    /// Terminals, newest first, behind `before`.
    pub async fn fleet(
        &self,
        before: Option<TerminalId>,
        limit: u32,
    ) -> std::result::Result<Vec<FleetTerminal>, StoreError> {
        self.readers
            .read("fleet_read", move |tx| {
                let sql = format!(
                    "{COLUMNS} where cast(?1 as text) is null or terminals.id < ?1 order by terminals.id desc limit ?2"
                );
                let before = before.map(|terminal| terminal.to_string());
                let mut statement = tx.prepare_cached(&sql)?;
                let fleet = statement.query_map(params![before, limit.min(FLEET_PAGE_MAX)], read)?;
                fleet.collect()
            })
            .await
    }

    /// One terminal of the fleet, also one that is retired.
    pub async fn fleet_terminal(
        &self,
        terminal: TerminalId,
    ) -> std::result::Result<Option<FleetTerminal>, StoreError> {
        self.readers
            .read("fleet_read_terminal", move |tx| {
                let sql = format!("{COLUMNS} where terminals.id = ?1");
                tx.prepare_cached(&sql)?.query_row(params![terminal.to_string()], read).optional()
            })
            .await
    }

    /// Replaces what a terminal said of itself.
    pub async fn report_health(
        &self,
        terminal: TerminalId,
        report: String,
        now: Timestamp,
    ) -> std::result::Result<(), StoreError> {
        self.writer
            .write("terminal_report_health", move |tx| {
                tx.prepare_cached(
                    "insert into terminal_health (terminal_id, received_at, report, updated_by)
                     values (?1, ?2, ?3, 'terminal_report_health')
                     on conflict (terminal_id) do update
                     set received_at = excluded.received_at, report = excluded.report,
                         updated_by = excluded.updated_by",
                )?
                .execute(params![terminal.to_string(), now.as_millis(), report])?;
                Ok(())
            })
            .await
    }

    /// What is set for the site or for one terminal; `None`: nothing.
    pub async fn configuration(
        &self,
        scope: ConfigurationScope,
    ) -> std::result::Result<Option<String>, StoreError> {
        self.readers
            .read("configuration_read", move |tx| {
                tx.prepare_cached("select configuration from terminal_configurations where subject = ?1")?
                    .query_row(params![scope.subject()], |found| found.get(0))
                    .optional()
            })
            .await
    }

    /// Replaces what is set for the site or for one terminal. Answers `false` if there is no such terminal that may
    /// still work.
    pub async fn set_configuration(
        &self,
        scope: ConfigurationScope,
        configuration: String,
        now: Timestamp,
    ) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("configuration_set", move |tx| {
                let subject = scope.subject();
                if let ConfigurationScope::Terminal(_) = scope {
                    let found = tx
                        .query_row(
                            "select 1 from terminals where id = ?1 and state <> 'retired'",
                            params![subject],
                            |_| Ok(()),
                        )
                        .optional()?;
                    if found.is_none() {
                        return Ok(false);
                    }
                }
                tx.execute(
                    "insert into terminal_configurations (subject, configuration, updated_at, updated_by)
                     values (?1, ?2, ?3, 'configuration_set')
                     on conflict (subject) do update
                     set configuration = excluded.configuration, updated_at = excluded.updated_at,
                         updated_by = excluded.updated_by",
                    params![subject, configuration, now.as_millis()],
                )?;
                Ok(true)
            })
            .await
    }
}
