//! Where the data of a site is.

use anyhow::{bail, ensure};
use clap::Args;
use selfsame_store::Database;

use super::Site;

/// Names the database in place of the settings, so that an address with a password need not be in a file.
pub const DATABASE_VARIABLE: &str = "SELFSAME_DATABASE";

/// Writers of payments of one server. Each has a connection and a slot.
const WRITERS: std::ops::RangeInclusive<usize> = 1..=8;

/// Where a command finds the site's data.
#[derive(Args, Clone, Debug)]
pub struct DatabaseOption {
    /// PostgreSQL database of the site's data, in place of the one in selfsame.toml. Others on this machine can read what
    /// a command was called with: put an address with a password into the variable
    #[arg(long, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true)]
    database: Option<String>,
}

impl DatabaseOption {
    /// The site, with its data there.
    pub fn of(self, site: &Site) -> Site {
        Site { database: self.database.or_else(|| site.database.clone()), ..site.clone() }
    }
}

impl Site {
    /// Where the site's data is: in the PostgreSQL database that was named, or of the settings, else in files of the folder.
    pub fn database(&self) -> anyhow::Result<Database> {
        let settings = self.settings()?.server;
        let writers = settings.writers;
        ensure!(WRITERS.contains(&writers), "`writers` in section [server] must be within {WRITERS:?}");
        Ok(match self.database.clone().or(settings.database) {
            Some(url) => Database::Postgres { url, writers },
            None => Database::files(self.site_database(), self.keys_database()),
        })
    }

    /// The same, if it can hold a site already. Looked at before it is opened, because opening makes empty files.
    pub fn existing_database(&self) -> anyhow::Result<Database> {
        let database = self.database()?;
        if let Database::Files { site, .. } = &database
            && !site.exists()
        {
            bail!("there is no site in `{}`", self.folder.display());
        }
        Ok(database)
    }
}
