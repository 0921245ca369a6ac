//! `selfsame store`, `selfsame backup` and `selfsame restore-check`: a site's data as a whole, between files and
//! PostgreSQL, to a backup, and looked at there.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use selfsame_store::{Copied, Database, LEASE, LedgerAudit, Store as SiteStore};
use serde_json::json;

use crate::output;
use crate::site::{DatabaseOption, Site};

/// Names of the files of a backup.
const SITE_FILE: &str = "site.db";
/// SQLite's log beside the file of a site that is, or was, in use.
const SITE_LOG: &str = "site.db-wal";
const KEYS_FILE: &str = "keys.db";

/// Move a site's data to another database
#[derive(Args, Debug)]
pub struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Copy(Copy),
}

/// Copy the site to an empty database, of the same kind or the other one, and prove that the books are the same
///
/// All servers must be stopped. The site's own database is not changed; afterwards the settings name the new one. This is
/// also how a backup is restored: name its folder with --from.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame store copy --site /srv/canteen --to postgres://selfsame@db.example/selfsame
  selfsame store copy --site /srv/canteen --to /srv/canteen/data      (back to files)
  selfsame store copy --site /srv/canteen --from /backup/monday --to /srv/canteen/data")]
struct Copy {
    #[command(flatten)]
    database: DatabaseOption,
    /// The new database: an address of PostgreSQL, or a folder for two files
    #[arg(long, value_name = "URL|DIR")]
    to: String,
    /// Copy this database instead of the site's: an address of PostgreSQL, or the folder of a backup
    #[arg(long, value_name = "URL|DIR")]
    from: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Copy the site's data to files, on one snapshot, also while servers run
///
/// The subject keys go to a folder of their own: a key that lives on in an old backup would undo the erasing of a person,
/// so that folder is for days, not for years. Secrets (the folder `secrets`) are not in it either.
#[derive(Args, Debug)]
pub struct Backup {
    #[command(flatten)]
    database: DatabaseOption,
    /// A folder that does not exist yet, for the site's data
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Another one, for the subject keys; without it they are left out
    #[arg(long, value_name = "DIR")]
    keys_to: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Recompute the books of a backup
///
/// Works on a copy, so that the backup stays as it is. Looks at chains, wallets and, if they are given, whether the
/// subject keys are those of the site's accounts.
#[derive(Args, Debug)]
pub struct RestoreCheck {
    /// The folder of the backup
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The folder of its subject keys
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn named(name: &str) -> Database {
    if name.starts_with("postgres://") || name.starts_with("postgresql://") {
        return Database::postgres(name);
    }
    Database::files(Path::new(name).join(SITE_FILE), Path::new(name).join(KEYS_FILE))
}

fn open(database: &Database) -> anyhow::Result<SiteStore> {
    SiteStore::open(database).with_context(|| format!("failed to open {database}"))
}

/// Rows as they are copied; how many there will be nobody has counted.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} rows, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

async fn copy(from: &SiteStore, to: &SiteStore) -> anyhow::Result<Copied> {
    let bar = progress();
    let shown = bar.clone();
    let copied = from.copy_to(to, move |rows| shown.set_position(rows)).await;
    bar.finish_and_clear();
    Ok(copied?)
}

fn heads(audit: &LedgerAudit) -> Vec<serde_json::Value> {
    let head = |slot: &selfsame_store::SlotAudit| {
        let hash: String = slot.head.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "slot": slot.slot, "sequence": slot.sequence, "hash": hash })
    };
    audit.slots.iter().map(head).collect()
}

impl Store {
    /// Runs it.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let Command::Copy(copy) = self.command;
        copy.run(site).await
    }
}

impl Copy {
    async fn run(self, site: &Site) -> anyhow::Result<()> {
        let from = match &self.from {
            Some(from) => named(from),
            None => self.database.of(site).existing_database()?,
        };
        if let Database::Files { site, .. } = &from {
            ensure!(site.exists(), "there is no site in {from}");
        }
        let to = named(&self.to);
        if let Database::Files { site, .. } = &to {
            let folder = site.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)
                .with_context(|| format!("failed to make `{}`", folder.display()))?;
        }
        let (source, target) = (open(&from)?, open(&to)?);
        if source.is_in_use(LEASE).await? {
            bail!("a server is running on {from}: stop it first, or its payments would stay behind");
        }
        let copied = copy(&source, &target).await?;
        let keys = source.copy_keys_to(&target).await?;
        let (before, after) = (source.audit_ledger().await?, target.audit_ledger().await?);
        ensure!(
            heads(&before) == heads(&after),
            "the chains of the copy end otherwise than those of its source"
        );
        if self.json {
            let tables: serde_json::Map<_, _> =
                copied.rows.iter().map(|(table, rows)| ((*table).to_owned(), (*rows).into())).collect();
            return output::json(
                &json!({ "tables": tables, "subject_keys": keys.total(), "heads": heads(&after) }),
            );
        }
        output::line(format_args!(
            "{} rows and {} subject keys are in {to}; every chain ends with the same hash, every wallet is the sum of its \
             rows.\nNext: name the new database in selfsame.toml (`database` in section [server]), and start the server.",
            copied.total(),
            keys.total()
        ))
    }
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder).with_context(|| format!("failed to make the folder `{}`", folder.display()))
}

impl Backup {
    /// Runs it.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let source = open(&self.database.of(site).existing_database()?)?;
        make_folder(&self.to)?;
        // The store always has both files; those that are not wanted are made elsewhere and thrown away.
        let aside = tempfile::tempdir().context("failed to make a temporary folder")?;
        let target = open(&Database::files(self.to.join(SITE_FILE), aside.path().join(KEYS_FILE)))?;
        let copied = copy(&source, &target).await?;
        let mut keys = None;
        if let Some(folder) = &self.keys_to {
            make_folder(folder)?;
            let target = open(&Database::files(aside.path().join(SITE_FILE), folder.join(KEYS_FILE)))?;
            keys = Some(source.copy_keys_to(&target).await?.total());
            target.seal().await.context("failed to finish the file of the keys")?;
        }
        let audit = target.audit_ledger().await?;
        target.seal().await.context("failed to finish the file of the backup")?;
        if self.json {
            return output::json(
                &json!({ "rows": copied.total(), "subject_keys": keys, "heads": heads(&audit) }),
            );
        }
        let keys = keys.map_or("no subject keys".to_owned(), |keys| format!("{keys} subject keys"));
        output::line(format_args!("{} rows and {keys}; the books of the copy are right", copied.total()))
    }
}

impl RestoreCheck {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<()> {
        let aside = tempfile::tempdir().context("failed to make a temporary folder")?;
        let bring = |folder: &Path, name: &str| {
            let from = folder.join(name);
            std::fs::copy(&from, aside.path().join(name))
                .with_context(|| format!("failed to read `{}`", from.display()))
        };
        bring(&self.folder, SITE_FILE)?;
        // A backup of ours has none. A folder that was copied by other means may, and is not whole without it.
        if self.folder.join(SITE_LOG).exists() {
            bring(&self.folder, SITE_LOG)?;
        }
        if let Some(keys) = &self.keys {
            bring(keys, KEYS_FILE)?;
        }
        let store = open(&Database::files(aside.path().join(SITE_FILE), aside.path().join(KEYS_FILE)))?;
        let Some(site) = store.site().await? else { bail!("`{}` holds no site", self.folder.display()) };
        let audit = store.audit_ledger().await?;
        for slot in &audit.slots {
            if let Some(error) = &slot.error {
                bail!("slot {}: {error}", slot.slot);
            }
        }
        ensure!(
            audit.wallets_that_differ == 0,
            "{} wallets are not the sum of their rows",
            audit.wallets_that_differ
        );
        let without_key = match &self.keys {
            Some(_) => Some(store.accounts_without_profile_key().await?),
            None => None,
        };
        let rows: u64 = audit.slots.iter().map(|slot| slot.sequence).sum();
        if self.json {
            return output::json(&json!({
                "mode": site.mode.as_str(),
                "currency": site.currency.code(),
                "rows": rows,
                "heads": heads(&audit),
                "accounts_without_profile_key": without_key,
            }));
        }
        output::line(format_args!(
            "{rows} rows of the ledger: every chain holds, every wallet is the sum of its rows. {}",
            match without_key {
                None => "The subject keys were not looked at (--keys).".to_owned(),
                Some(0) => "Every account has its profile key.".to_owned(),
                Some(missing) =>
                    format!("{missing} accounts have no profile key: erased, or newer than the keys."),
            }
        ))
    }
}
