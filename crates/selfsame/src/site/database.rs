//! Where the data of a site is.

use anyhow::{bail, ensure};
use selfsame_store::Database;

use super::Site;

/// Names the database in place of the settings, so that an address with a password need not be in a file.
pub const DATABASE_VARIABLE: &str = "SELFSAME_DATABASE";

/// Writers of payments of one server. Each has a connection and a slot.
const WRITERS: std::ops::RangeInclusive<usize> = 1..=8;

impl Site {
    /// Where the site's data is: in the PostgreSQL database of the settings, else in files of the folder.
    pub fn database(&self) -> anyhow::Result<Database> {
        let settings = self.settings()?.server;
        let writers = settings.writers;
        ensure!(WRITERS.contains(&writers), "`writers` in section [server] must be within {WRITERS:?}");
        Ok(match std::env::var(DATABASE_VARIABLE).ok().or(settings.database) {
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
