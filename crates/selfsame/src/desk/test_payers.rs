//! The payers of a test site whose verifications end in a certain way: what a simulated terminal verifies.

use anyhow::{Context, bail};
use clap::Args;
use selfsame_api::account::{Account, NewAccount};
use selfsame_api::client::Client;
use selfsame_api::consent::{Consent, NewConsent};
use selfsame_api::enrolment::Enrolment;
use selfsame_api::payment::Payment;
use selfsame_api::problem::ProblemCode;
use selfsame_api::top_up::NewTopUp;
use selfsame_domain::id::AccountId;
use selfsame_domain::money::Amount;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_domain::site::Mode;
use selfsame_domain::terminal::Purpose;
use selfsame_terminal::device::DeviceIdentity;
use selfsame_terminal::enrolment::EnrolError;
use serde_json::json;

use crate::connection::{TIMEOUT, explain, insist};
use crate::desk::Counter;
use crate::desk::consent::text_in;
use crate::desk::enrol::{EnrolmentDesk, synthetic_samples};
use crate::site::Site;

/// Synthetic fingers of these payers: this number and the following ones. Nobody else's.
const FIRST_FINGER: u64 = 7_000_000;

/// Presses of an enrolment, and how often other ones are taken if some cannot be used.
const PRESSES: u64 = 3;
const TRIES_MAX: u64 = 5;

/// Money of the one who passes, in minor units.
pub const BALANCE_MINOR: i64 = 100_000;

/// Make the payers that a simulated terminal verifies (test sites)
///
/// Accounts with the member numbers TEST-0000 to TEST-0004, with a consent and a synthetic finger each, and money for
/// TEST-0000, who passes. Can be repeated.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  selfsame desk test-payers --site /srv/try-desk --key-file operator.key      (on a machine activated as a desk)")]
pub struct TestPayers {}

impl TestPayers {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let identity = desk_identity(counter.site)?;
        let accounts = make(&counter.client, &identity).await?;
        let numbers: Vec<_> = accounts
            .iter()
            .map(|(number, account)| json!({ "member_number": number, "account": account }))
            .collect();
        let text: Vec<String> =
            accounts.iter().map(|(number, account)| format!("{number}  {account}")).collect();
        counter.print(&json!({ "data": numbers }), text.join("\n"))
    }
}

fn desk_identity(site: &Site) -> anyhow::Result<DeviceIdentity> {
    let identity = DeviceIdentity::load(&site.device())?;
    if identity.terminal.purpose != Purpose::Desk {
        bail!(
            "this machine was activated as a till, and people are enrolled at a desk only: name its folder with --site"
        );
    }
    if identity.terminal.mode != Mode::Test {
        bail!("this is a live site: there are no test payers");
    }
    Ok(identity)
}

/// Makes the payers that are not there yet, and answers their member numbers and accounts.
pub async fn make(operator: &Client, desk: &DeviceIdentity) -> anyhow::Result<Vec<(String, AccountId)>> {
    let mut made = Vec::new();
    for number in 0..5 {
        let member_number = format!("TEST-{number:04}");
        let new = NewAccount {
            request_ref: format!("test-payer-{number}").parse()?,
            display_name: format!("Test Payer {number}"),
            phone: None,
            member_number: Some(member_number.clone()),
        };
        let account: Account = insist(operator, "/v1/accounts", &new).await.map_err(explain)?;
        if number == 0 {
            let currency = account.wallets.first().context("the account has no wallet")?.currency;
            let amount = Amount::new(BALANCE_MINOR, currency)?;
            let reference = "test-payer-top-up".parse()?;
            let new = NewTopUp { top_up_ref: reference, account: account.id, amount, purpose: None };
            insist::<Payment>(operator, "/v1/top-ups", &new).await.map_err(explain)?;
        }
        enrol(operator, desk, account.id, FIRST_FINGER + number).await?;
        made.push((member_number, account.id));
    }
    Ok(made)
}

async fn enrol(
    operator: &Client,
    desk: &DeviceIdentity,
    account: AccountId,
    finger: u64,
) -> anyhow::Result<()> {
    let text = text_in("en")?;
    let new =
        NewConsent { account, text_version: text.version.to_owned(), language: text.language.to_owned() };
    let consent: Consent = insist(operator, "/v1/consents", &new).await.map_err(explain)?;
    let desk = EnrolmentDesk { identity: desk, operator };
    let mut opened = desk.open(account, consent.id, Modality::Finger, 2).await.map_err(explain)?;
    for attempt in 0..TRIES_MAX {
        let first = 1 + attempt * PRESSES;
        let presses: Vec<u64> = (first..first + PRESSES).collect();
        let drawn = tokio::task::spawn_blocking(move || synthetic_samples(finger, &presses)).await;
        let samples = drawn.context("the presses could not be drawn")?;
        let error = match desk.submit(&mut opened, SensorGrade::Simulated, &samples).await {
            Ok(_) => return Ok(()),
            Err(EnrolError::Server(error)) => error,
            Err(error) => return Err(error.into()),
        };
        if error.problem().is_none_or(|problem| problem.code != ProblemCode::SampleRejected) {
            return Err(explain(error));
        }
        let path = format!("/v1/enrolments/{}", opened.id);
        opened = operator.get::<Enrolment>(&path, TIMEOUT).await.map_err(explain)?;
    }
    bail!("the finger of a test payer could not be enrolled")
}
