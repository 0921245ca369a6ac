//! The people of the demo, who do not exist, and their enrolment at the desk.

use anyhow::{Context, bail, ensure};
use selfsame_api::account::{Account, Identifier, NewAccount};
use selfsame_api::consent::{Consent, NewConsent};
use selfsame_api::merchant::Secret;
use selfsame_api::payment::Payment;
use selfsame_api::pin::NewPin;
use selfsame_api::problem::ProblemCode;
use selfsame_api::top_up::NewTopUp;
use selfsame_domain::account::IdentifierKind;
use selfsame_domain::id::{AccountId, ConsentId};
use selfsame_domain::money::Amount;
use selfsame_domain::sensor::{Modality, SensorGrade};

use crate::connection::{TIMEOUT, explain, insist};
use crate::demo::Stage;
use crate::demo::processes::Processes;
use crate::demo::screen::Screen;
use crate::desk::consent::text_in;
use crate::desk::enrol::{EnrolmentDesk, synthetic_samples};

/// Presses by which people are enrolled, and the first one by which they pay. Never the same.
const ENROLMENT_PRESSES: [u64; 3] = [1, 2, 3];
const FIRST_PAYMENT_PRESS: u64 = 101;

const _: () = {
    let mut index = 0;
    while index < ENROLMENT_PRESSES.len() {
        assert!(ENROLMENT_PRESSES[index] < FIRST_PAYMENT_PRESS);
        index += 1;
    }
};

/// What Ada types where she must agree to an amount.
pub const ADAS_PIN: &str = "2580";

/// A finger of nobody who was ever enrolled.
pub const STRANGER: u64 = 77;

/// A person.
pub struct Person {
    /// First name.
    pub name: &'static str,
    /// Last four digits of the phone number.
    pub last4: &'static str,
    /// Number of the synthetic finger.
    pub finger: u64,
    /// The account.
    pub account: AccountId,
    /// The press that comes next; each is used once.
    next_press: u64,
}

impl Person {
    /// Presses that were not used before.
    pub fn presses(&mut self) -> impl Iterator<Item = u64> + Send + '_ {
        std::iter::from_fn(|| {
            let press = self.next_press;
            self.next_press += 1;
            Some(press)
        })
    }

    /// What the person types.
    pub fn identifier(&self) -> Identifier {
        last4(self.last4)
    }
}

/// Four digits as an identifier.
pub fn last4(digits: &str) -> Identifier {
    Identifier { kind: IdentifierKind::PhoneLast4, value: digits.to_owned() }
}

/// The four people, and what was paid into their wallets.
pub struct People {
    /// Shares her last four digits with Ben.
    pub ada: Person,
    /// Shares his last four digits with Ada.
    pub ben: Person,
    /// Has little money.
    pub cleo: Person,
    /// Gave no consent.
    pub dan: Person,
    /// Further people with a wallet.
    pub others: Vec<(AccountId, &'static str)>,
    /// Top-ups so far, in minor units.
    pub paid_in_minor: i64,
    /// Rows of the ledger so far.
    pub rows: u64,
}

impl People {
    /// Makes the accounts, pays money in, records consents, enrols fingers.
    pub async fn enrol(
        stage: &Stage<'_>,
        processes: &Processes<'_>,
        screen: &mut Screen,
    ) -> anyhow::Result<Self> {
        let desk = EnrolmentDesk { identity: processes.desk()?, operator: &stage.operator };
        let ada = account(stage, "Ada", "0142", 1, "+44 20 7946 0142").await?;
        let ben = account(stage, "Ben", "0142", 2, "+49 170 555 0142").await?;
        let cleo = account(stage, "Cleo", "0199", 3, "+44 20 7946 0199").await?;
        let dan = account(stage, "Dan", "0177", 4, "+44 20 7946 0177").await?;
        let mut people = Self { ada, ben, cleo, dan, others: Vec::new(), paid_in_minor: 0, rows: 0 };
        for (number, minor) in [2_000, 2_000, 300, 2_000].into_iter().enumerate() {
            let account = [&people.ada, &people.ben, &people.cleo, &people.dan][number].account;
            people.top_up(stage, account, minor, &format!("demo-top-up-{number}")).await?;
        }
        for person in [&people.ada, &people.ben, &people.cleo] {
            let consent = consent(stage, person.account).await?;
            let templates = enrol(&desk, person, consent).await?;
            let label = format!("{} (..{})", person.name, person.last4);
            screen.check(&label, Ok(format!("consent {consent}; {templates} presses enrolled")))?;
        }
        let pin = NewPin { pin: Secret(ADAS_PIN.to_owned()), verification: None };
        let path = format!("/v1/accounts/{}/pin", people.ada.account);
        stage.operator.put::<()>(&path, &pin, TIMEOUT).await.map_err(explain)?;
        screen.step("Ada sets a PIN", "for payments that she must agree to")?;
        let refused = desk.open(people.dan.account, fake_consent(), Modality::Finger, 0).await;
        let checked = match refused {
            Err(error)
                if error.problem().is_some_and(|problem| problem.code == ProblemCode::ConsentMissing) =>
            {
                Ok("gave no consent: the desk cannot even open an enrolment (consent_missing)".to_owned())
            }
            Err(error) => Err(explain(error)),
            Ok(_) => Err(anyhow::anyhow!("an enrolment was opened without a consent")),
        };
        screen.check("Dan (..0177)", checked)?;
        Ok(people)
    }

    /// Pays money into a wallet.
    pub async fn top_up(
        &mut self,
        stage: &Stage<'_>,
        account: AccountId,
        minor: i64,
        reference: &str,
    ) -> anyhow::Result<Payment> {
        let amount = Amount::new(minor, stage.site.currency)?;
        let new = NewTopUp { top_up_ref: reference.parse()?, account, amount, purpose: None };
        let payment: Payment = insist(&stage.operator, "/v1/top-ups", &new).await.map_err(explain)?;
        ensure!(payment.amount == amount, "{} was paid in instead of {amount}", payment.amount);
        self.paid_in_minor += minor;
        self.rows += 1;
        Ok(payment)
    }
}

async fn account(
    stage: &Stage<'_>,
    name: &'static str,
    last4: &'static str,
    finger: u64,
    phone: &str,
) -> anyhow::Result<Person> {
    let new = NewAccount {
        request_ref: format!("demo-account-{finger}").parse()?,
        display_name: format!("{name} Example"),
        phone: Some(phone.to_owned()),
        member_number: None,
    };
    let account: Account = insist(&stage.operator, "/v1/accounts", &new).await.map_err(explain)?;
    Ok(Person { name, last4, finger, account: account.id, next_press: FIRST_PAYMENT_PRESS })
}

/// The account of somebody who pays by face.
pub async fn face_account(stage: &Stage<'_>, name: &str, last4: &str) -> anyhow::Result<AccountId> {
    let new = NewAccount {
        request_ref: format!("demo-account-face-{last4}").parse()?,
        display_name: format!("{name} Example"),
        phone: Some(format!("+44 20 7946 {last4}")),
        member_number: None,
    };
    let account: Account = insist(&stage.operator, "/v1/accounts", &new).await.map_err(explain)?;
    Ok(account.id)
}

/// Records a consent.
pub async fn consent(stage: &Stage<'_>, account: AccountId) -> anyhow::Result<ConsentId> {
    let text = text_in("en")?;
    let new =
        NewConsent { account, text_version: text.version.to_owned(), language: text.language.to_owned() };
    let consent: Consent = insist(&stage.operator, "/v1/consents", &new).await.map_err(explain)?;
    Ok(consent.id)
}

/// A consent that nobody gave.
fn fake_consent() -> ConsentId {
    ConsentId::new(selfsame_domain::time::Timestamp::from_millis(0), [0; 10])
}

async fn enrol(desk: &EnrolmentDesk<'_>, person: &Person, consent: ConsentId) -> anyhow::Result<u32> {
    let mut enrolment = desk.open(person.account, consent, Modality::Finger, 2).await.map_err(explain)?;
    let finger = person.finger;
    let drawn = tokio::task::spawn_blocking(move || synthetic_samples(finger, &ENROLMENT_PRESSES)).await;
    let samples = drawn.context("the presses could not be drawn")?;
    let active = desk.submit(&mut enrolment, SensorGrade::Simulated, &samples).await;
    let templates = match active {
        Ok(active) => active.templates,
        Err(error) => bail!("{} could not be enrolled: {error}", person.name),
    };
    ensure!(templates as usize == ENROLMENT_PRESSES.len(), "{templates} templates were made");
    Ok(templates)
}
