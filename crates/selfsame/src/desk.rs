//! `selfsame desk`: what the operator's staff does: accounts, consents, enrolments, top-ups, terminals, books.

pub mod account;
mod books;
pub mod consent;
pub mod enrol;
mod fleet;
mod pin;
mod place;
mod serve;
pub mod test_payers;

use clap::{Args, Subcommand};
use selfsame_api::client::Client;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::id::EnrolmentId;
use selfsame_domain::reference::Reference;

use crate::connection::{KeyOptions, ServerOptions};
use crate::output;
use crate::site::Site;

/// Accounts, consents, enrolments, top-ups and books, with the operator's key
#[derive(Args, Debug)]
#[command(
    after_help = "Examples, for a new payer (with SELFSAME_KEY or --key-file set to the operator's key):
  selfsame desk account create --name 'Ada Example' --phone '+44 20 7946 0142'
  selfsame desk top-up acct_... 20.00
  selfsame desk consent give acct_...                    (show the text first: selfsame desk consent text)
  selfsame desk enrol acct_... cns_...                   (on a machine that was activated as a desk)
  selfsame desk pin set acct_...                         (for payments that the payer must agree to)
  selfsame desk trial-balance"
)]
pub struct Desk {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    key: KeyOptions,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make an account, or show one
    #[command(subcommand)]
    Account(account::Account),
    TopUp(account::TopUp),
    /// Record or withdraw a person's consent
    #[command(subcommand)]
    Consent(consent::Consent),
    Enrol(enrol::Enrol),
    Serve(serve::Serve),
    /// Set a payer's PIN, or see whether one is set
    #[command(subcommand)]
    Pin(pin::Pin),
    /// Take an enrolment in review into use: you looked at the person and know who they are
    Approve {
        /// Which one
        enrolment: EnrolmentId,
    },
    TestPayers(test_payers::TestPayers),
    Merchant(place::Merchant),
    Terminals(fleet::Terminals),
    /// Make, show, lock, unlock, retire, configure or activate anew a terminal
    #[command(subcommand)]
    Terminal(fleet::Terminal),
    /// What the operator owes the merchant whose key is given
    Balance,
    /// Every account of the books, recomputed from all rows
    TrialBalance,
    /// Recompute the ledger's hash chain
    Chain,
    /// What was refused and why, newest first
    Attempts {
        /// How many, at most 100
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// What every desk command needs.
pub struct Counter<'a> {
    /// The folder of this machine.
    pub site: &'a Site,
    /// The server, with the key that was given.
    pub client: Client,
    /// Print JSON.
    pub json: bool,
}

impl Desk {
    /// Whether it will take pictures of whoever sits there, for as long as it runs.
    pub fn serves(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    /// Does what was asked.
    pub async fn run(self, site: &Site) -> anyhow::Result<()> {
        let command = match self.command {
            Command::Consent(consent::Consent::Text { language }) => return consent::print_text(&language),
            // With the desk's own key; the operator's is in the page.
            Command::Serve(command) => return command.run(site).await,
            command => command,
        };
        let url = self.server.url(site)?;
        let whose = if matches!(command, Command::Balance) { "merchant's" } else { "operator's" };
        let client = self.key.client(whose, &url)?;
        let counter = Counter { site, client, json: self.json };
        match command {
            Command::Serve(command) => command.run(site).await,
            Command::Account(command) => command.run(&counter).await,
            Command::TopUp(command) => command.run(&counter).await,
            Command::Consent(command) => command.run(&counter).await,
            Command::Enrol(command) => command.run(&counter).await,
            Command::Pin(command) => command.run(&counter).await,
            Command::Approve { enrolment } => enrol::approve(&counter, enrolment).await,
            Command::TestPayers(command) => command.run(&counter).await,
            Command::Merchant(command) => command.run(&counter).await,
            Command::Terminals(command) => command.run(&counter).await,
            Command::Terminal(command) => command.run(&counter).await,
            Command::Balance => books::balance(&counter).await,
            Command::TrialBalance => books::trial_balance(&counter).await,
            Command::Chain => books::chain(&counter).await,
            Command::Attempts { limit } => books::attempts(&counter, limit).await,
        }
    }
}

impl Counter<'_> {
    /// Prints a result: all of it as JSON, or one line.
    fn print(&self, value: &impl serde::Serialize, text: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json { output::json(value) } else { output::line(text) }
    }
}

/// The given reference, or one made of the time and a few random characters. It is said aloud, so that the same
/// command can be repeated under it.
pub fn reference(given: Option<Reference>) -> anyhow::Result<Reference> {
    if let Some(given) = given {
        return Ok(given);
    }
    let mut random = [0u8; 3];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let made: Reference = format!("desk-{}-{random}", SystemClock.now()).parse()?;
    output::note(format_args!("reference {made}: give it with --ref to repeat this safely"));
    Ok(made)
}
