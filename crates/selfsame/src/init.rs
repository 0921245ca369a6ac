//! `selfsame init`: makes a site and shows each secret once.

use anyhow::{Context, bail};
use clap::Args;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::limit::Limits;
use selfsame_domain::money::{Currency, display_minor};
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_server::setup::{CreatedSite, NewSite, create_site, default_limits};
use serde_json::json;

use crate::output;
use crate::site::{DATABASE_VARIABLE, Site};

/// Make a site: folder, settings, secrets, databases, first merchant and terminals
///
/// Prints the operator's and the merchant's key and the activation codes of a till and a desk terminal, once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame init --site /srv/try --test
  selfsame init --site /srv/canteen --currency CHF --merchant 'North Canteen' --store 'Main hall'
  selfsame init --site /srv/try --test --json > site.json     (keep that file to yourself)")]
pub struct Init {
    /// Make a test site: prefix 98, simulated samples, a clock that can be moved. It can never become live
    #[arg(long)]
    test: bool,
    /// Currency of all wallets (ISO 4217). Cannot be changed later
    #[arg(long, default_value = "EUR")]
    currency: Currency,
    /// Name of the first merchant
    #[arg(long, default_value = "Canteen")]
    merchant: String,
    /// Name of its store
    #[arg(long, default_value = "Main hall")]
    store: String,
    /// Domain below which terminals may have names, besides .local, .lan, .internal and .home.arpa; can be repeated
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Keep the site's data in this PostgreSQL database instead of files, e.g. postgres://selfsame@localhost/selfsame
    #[arg(long, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true)]
    database: Option<String>,
    /// Print what was made as JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    /// Makes the site and prints what is shown once.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let (json, currency) = (self.json, self.currency);
        let created = self.create(site).await?;
        if json { print_json(site, &created) } else { print_text(site, &created, currency) }
    }

    /// Makes the site.
    pub async fn create(self, site: &Site) -> anyhow::Result<CreatedSite> {
        if site.site_database().exists() {
            bail!("there is a site in `{}` already; nothing was changed", site.folder().display());
        }
        site.create_folders()?;
        site.create_secrets()?;
        site.authority(&self.domains, SystemClock.now())?;
        site.create_settings(self.database.as_deref())?;
        let mode = if self.test { Mode::Test } else { Mode::Live };
        let new = NewSite {
            mode,
            currency: self.currency,
            merchant_name: self.merchant,
            store_name: self.store,
            limits: default_limits(mode),
        };
        create_site(&site.database()?, new, SystemClock.now())
            .await
            .with_context(|| format!("failed to make a site in `{}`", site.folder().display()))
    }

    /// What the demo and tests make.
    pub fn for_tests() -> Self {
        Self {
            test: true,
            currency: "EUR".parse().expect("a known currency"),
            merchant: "Canteen".to_owned(),
            store: "Main hall".to_owned(),
            domains: Vec::new(),
            database: None,
            json: false,
        }
    }
}

/// Of the certificate that registers install.
fn fingerprint(site: &Site) -> anyhow::Result<String> {
    Ok(site.authority(&[], SystemClock.now())?.fingerprint().to_owned())
}

fn print_json(site: &Site, created: &CreatedSite) -> anyhow::Result<()> {
    let document = json!({
        "site": site.folder(),
        "operator_key": created.operator_key.0,
        "merchant": created.merchant,
        "merchant_key": created.merchant_key.0,
        "store": created.store,
        "till": { "terminal": created.till.terminal, "activation_code": created.till.activation_code.0 },
        "authority": { "file": site.authority_certificate(), "sha256": fingerprint(site)? },
        "desk": { "terminal": created.desk.terminal, "activation_code": created.desk.activation_code.0 },
    });
    output::json(&document)
}

fn print_text(site: &Site, created: &CreatedSite, currency: Currency) -> anyhow::Result<()> {
    let folder = site.folder().display();
    let by_finger = Limits::default_for(SensorGrade::Finger);
    let shown =
        |minor: Option<i64>| minor.map_or("any amount".to_owned(), |minor| display_minor(minor, currency));
    let (each, a_day) = (shown(by_finger.payment_minor_max), shown(by_finger.day_minor_max));
    let (till, desk) = (&created.till, &created.desk);
    output::line(format_args!(
        "Made a site in {folder}. What follows is shown this once; keep it safe.

operator's key      {}
merchant            {}
merchant's key      {}
store               {}
till terminal       {}  activation code {}
desk terminal       {}  activation code {}

Cash registers on the LAN know the site's terminals by its own certificate authority (docs/reach.md): install
  {}
there. SHA-256 of the certificate:
  {}

Next, each in a window of its own:
  selfsame server --site {folder}
  selfsame activate --site {folder} --terminal {}
  selfsame terminal --site {folder}

Payments are limited by how the payer is verified: by finger to {each} at once and {a_day} a day. See and change that
with `/v1/limits/grades/{{grade}}` (docs/payments.md).

Back up {folder}/secrets apart from {folder}/data: either alone opens nothing.",
        created.operator_key.0,
        created.merchant,
        created.merchant_key.0,
        created.store,
        till.terminal,
        till.activation_code.0,
        desk.terminal,
        desk.activation_code.0,
        site.authority_certificate().display(),
        fingerprint(site)?,
        till.terminal
    ))
}
