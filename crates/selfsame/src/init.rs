//! `selfsame init`: makes a site and shows each secret once.

use anyhow::{Context, bail};
use clap::Args;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::money::Currency;
use selfsame_domain::site::Mode;
use selfsame_server::setup::{CreatedSite, NewSite, create_site};
use serde_json::json;

use crate::site::Site;

/// What to make.
#[derive(Args, Debug)]
pub struct Init {
    /// Make a test site: prefix 98, simulated samples, a clock that can be moved. It can never become live.
    #[arg(long)]
    test: bool,
    /// Currency of all wallets (ISO 4217). Cannot be changed later.
    #[arg(long, default_value = "EUR")]
    currency: Currency,
    /// Name of the first merchant.
    #[arg(long, default_value = "Canteen")]
    merchant: String,
    /// Name of its store.
    #[arg(long, default_value = "Main hall")]
    store: String,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

impl Init {
    /// Makes the site and prints what is shown once.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let json = self.json;
        let created = self.create(site).await?;
        if json { print_json(site, &created) } else { print_text(site, &created) }
        Ok(())
    }

    /// Makes the site.
    pub async fn create(self, site: &Site) -> anyhow::Result<CreatedSite> {
        if site.site_database().exists() {
            bail!("there is a site in `{}` already; nothing was changed", site.folder().display());
        }
        site.create_folders()?;
        site.create_secrets()?;
        site.create_settings()?;
        let new = NewSite {
            mode: if self.test { Mode::Test } else { Mode::Live },
            currency: self.currency,
            merchant_name: self.merchant,
            store_name: self.store,
        };
        create_site(&site.site_database(), &site.keys_database(), new, SystemClock.now())
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
            json: false,
        }
    }
}

fn print_json(site: &Site, created: &CreatedSite) {
    let document = json!({
        "site": site.folder(),
        "operator_key": created.operator_key.0,
        "merchant": created.merchant,
        "merchant_key": created.merchant_key.0,
        "store": created.store,
        "till": { "terminal": created.till.terminal, "activation_code": created.till.activation_code.0 },
        "desk": { "terminal": created.desk.terminal, "activation_code": created.desk.activation_code.0 },
    });
    println!("{document:#}");
}

fn print_text(site: &Site, created: &CreatedSite) {
    let folder = site.folder().display();
    println!("Made a site in {folder}. What follows is shown this once; keep it safe.");
    println!();
    println!("operator key        {}", created.operator_key.0);
    println!("merchant            {}", created.merchant);
    println!("merchant key        {}", created.merchant_key.0);
    println!("store               {}", created.store);
    println!("till terminal       {}  activation code {}", created.till.terminal, created.till.activation_code.0);
    println!("desk terminal       {}  activation code {}", created.desk.terminal, created.desk.activation_code.0);
    println!();
    println!("Next:");
    println!("  selfsame server --site {folder}");
    println!("  selfsame activate --site {folder} --terminal {}", created.till.terminal);
    println!("  selfsame terminal --site {folder}");
    println!();
    println!("Back up {folder}/secrets apart from {folder}/data: either alone opens nothing.");
}
