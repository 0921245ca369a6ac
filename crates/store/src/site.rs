//! The site itself: mode and currency.

use selfsame_domain::money::Currency;
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;

use crate::database::{Optional, Transaction, params};
use crate::error::{Result, StoreError};
use crate::slot::{SLOT, insert_slot};
use crate::{Store, row};

/// What a site is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Live or test.
    pub mode: Mode,
    /// The one currency of its wallets.
    pub currency: Currency,
}

/// The site's one currency.
pub(crate) fn load_currency(tx: &Transaction<'_>) -> Result<Currency> {
    tx.prepare_cached("select currency from site where id = 1")?
        .query_row(params![], |found| row::text(found, 0))
}

/// What an answered payment survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process and of the machine: it is synced to this machine's or this server's disk.
    LocalSync,
    /// The loss of the database server, too: a standby has it on its disk.
    StandbySync,
}

impl Durability {
    /// As told to callers.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::LocalSync => "local_sync",
            Durability::StandbySync => "standby_sync",
        }
    }
}

impl Store {
    /// What a payment survives once it is answered, by the settings of the database as they are now.
    pub async fn durability(&self) -> std::result::Result<Durability, StoreError> {
        if !self.is_shared {
            return Ok(Durability::LocalSync);
        }
        self.readers
            .read("durability_read", |tx| {
                let standbys: String = tx.query_row(
                    "select current_setting('synchronous_standby_names')",
                    params![],
                    |found| found.get(0),
                )?;
                Ok(if standbys.trim().is_empty() { Durability::LocalSync } else { Durability::StandbySync })
            })
            .await
    }

    /// Makes the site. Answers `false` if there is one already.
    pub async fn create_site(&self, site: Site, now: Timestamp) -> std::result::Result<bool, StoreError> {
        self.writer
            .write("site_create", move |tx| {
                let added = tx.execute(
                    "insert into site (id, mode, currency, created_at)
                     values (1, ?1, ?2, ?3)
                     on conflict (id) do nothing",
                    params![site.mode.as_str(), site.currency.code(), now.as_millis()],
                )?;
                insert_slot(tx, SLOT)?;
                Ok(added == 1)
            })
            .await
    }

    /// The site, or `None` if it was never made.
    pub async fn site(&self) -> std::result::Result<Option<Site>, StoreError> {
        self.readers
            .read("site_read", |tx| {
                tx.query_row("select mode, currency from site where id = 1", params![], |found| {
                    let mode: String = found.get(0)?;
                    let mode = if mode == Mode::Live.as_str() { Mode::Live } else { Mode::Test };
                    Ok(Site { mode, currency: row::text(found, 1)? })
                })
                .optional()
            })
            .await
    }
}
