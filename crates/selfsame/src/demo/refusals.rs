//! What must not work, each with its reason, and what must work although something went wrong before.

use std::time::Duration;

use anyhow::{Context, ensure};
use selfsame_api::interface::{HandoverRequest, Session};
use selfsame_api::ledger::Attempts;
use selfsame_api::merchant::{CreatedMerchant, NewMerchant};
use selfsame_domain::timing::Stage as Timed;

use crate::connection::{TIMEOUT, explain, explain_terminal};
use crate::demo::Stage;
use crate::demo::payment::{AMOUNT, ORDER, Paid, handed_digits, must_be_declined, pass_and_hand_over};
use crate::demo::people::{People, STRANGER, last4};
use crate::demo::screen::{Checked, Screen};
use crate::demo::till::Charge;

/// The shortest life of a code that a test site issues, in seconds.
const SHORT_LIFETIME_SECONDS: u32 = 2;

/// How much longer we wait, so that it is over for certain.
const SHORT_LIFETIME_GRACE: Duration = Duration::from_millis(150);

/// Shows all of it.
pub async fn show(
    stage: &Stage<'_>,
    people: &mut People,
    paid: &Paid,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.check("the same order again", same_order(stage, paid).await)?;
    screen.check("the same code, another order", same_code(stage, paid).await)?;

    // One pass serves the next four: a code that is refused does not use it up.
    let standard = HandoverRequest::default();
    let (session, digits) = pass_and_hand_over(stage, "demo-ada-2", &mut people.ada, &standard).await?;
    screen.check("another merchant", another_merchant(stage, &digits).await)?;
    screen.check("digits misread by one", misread(stage, &digits).await)?;
    screen.check("a code that was replaced", replaced(stage, &session, &digits).await)?;
    screen.check("an expired code", expired(stage, &session).await)?;

    screen.check("a stranger's finger", stranger(stage).await)?;
    screen.check("the right finger, wrong digits", wrong_digits(stage, people).await)?;
    screen.check("no consent", no_consent(stage, people).await)?;
    funds(stage, people, screen).await
}

async fn same_order(stage: &Stage<'_>, paid: &Paid) -> Checked {
    let charge = Charge { key: "merchant", amount: AMOUNT, order_ref: ORDER, digits: &paid.digits };
    let (payment, replayed) = charge.run(stage.site).await?.paid()?;
    ensure!(replayed, "it was not marked as answered before");
    ensure!(payment.id == paid.payment.id, "another payment was made: {}", payment.id);
    Ok(format!("PAID, the same {} (replayed); nothing was charged twice", payment.id))
}

async fn same_code(stage: &Stage<'_>, paid: &Paid) -> Checked {
    let charge = Charge { key: "merchant", amount: AMOUNT, order_ref: "T1-0003", digits: &paid.digits };
    charge.run(stage.site).await?.refused("code_already_used")
}

async fn another_merchant(stage: &Stage<'_>, digits: &str) -> Checked {
    let new = NewMerchant {
        request_ref: "demo-north".parse()?,
        name: "North Kiosk".to_owned(),
        store_name: "Gate 2".to_owned(),
    };
    let north: CreatedMerchant =
        stage.operator.post("/v1/merchants", &new, TIMEOUT).await.map_err(explain)?;
    stage.site.keep_key("north", &north.key.0)?;
    let charge = Charge { key: "north", amount: "1.00", order_ref: "N1-0001", digits };
    charge.run(stage.site).await?.refused("code_not_found")
}

async fn misread(stage: &Stage<'_>, digits: &str) -> Checked {
    let mut wrong = zeroize::Zeroizing::new(digits.as_bytes().to_vec());
    let place = wrong.get_mut(9).context("a code has 18 digits")?;
    *place = b'0' + (*place - b'0' + 1) % 10;
    let wrong = std::str::from_utf8(&wrong)?;
    let charge = Charge { key: "merchant", amount: "1.00", order_ref: "T1-0004", digits: wrong };
    charge.run(stage.site).await?.refused("code_malformed")
}

async fn replaced(stage: &Stage<'_>, session: &Session, digits: &str) -> Checked {
    let again = stage.at.hand_over(session, &HandoverRequest::default()).await.map_err(explain_terminal)?;
    let (_, newer) = handed_digits(&again)?;
    ensure!(*newer != *digits, "the same digits were issued twice");
    let charge = Charge { key: "merchant", amount: "1.00", order_ref: "T1-0005", digits };
    charge.run(stage.site).await?.refused("code_revoked")
}

async fn expired(stage: &Stage<'_>, session: &Session) -> Checked {
    let short =
        HandoverRequest { register: None, lifetime_seconds: Some(SHORT_LIFETIME_SECONDS), resend: false };
    let again = stage.at.hand_over(session, &short).await.map_err(explain_terminal)?;
    let (_, digits) = handed_digits(&again)?;
    tokio::time::sleep(Duration::from_secs(SHORT_LIFETIME_SECONDS.into()) + SHORT_LIFETIME_GRACE).await;
    let charge = Charge { key: "merchant", amount: "1.00", order_ref: "T1-0006", digits: &digits };
    charge.run(stage.site).await?.refused("code_expired")
}

/// What the operator reads of the last refused verification; the till reads `declined` whatever it was.
pub async fn operators_reason(stage: &Stage<'_>) -> anyhow::Result<String> {
    let attempts: Attempts = stage.operator.get("/v1/attempts?limit=1", TIMEOUT).await.map_err(explain)?;
    let attempt = attempts.data.into_iter().next().context("no attempt was recorded")?;
    ensure!(attempt.operation == "verification", "the last attempt was a {}", attempt.operation);
    Ok(attempt.reason)
}

pub async fn declined_because(stage: &Stage<'_>, reason: &str, words: &str) -> Checked {
    let recorded = operators_reason(stage).await?;
    ensure!(recorded == reason, "the operator reads `{recorded}`, not `{reason}`");
    Ok(format!("the till reads `declined`, the operator `{reason}`: {words}"))
}

async fn stranger(stage: &Stage<'_>) -> Checked {
    let before = samples_taken(stage).await?;
    must_be_declined(stage, "demo-stranger", last4("0142"), STRANGER, 101..).await?;
    let taken = samples_taken(stage).await? - before;
    ensure!(taken > 0, "no sample was taken");
    declined_because(stage, "no_match", &format!("{taken} presses, and neither Ada nor Ben")).await
}

async fn wrong_digits(stage: &Stage<'_>, people: &mut People) -> Checked {
    let ada = &mut people.ada;
    let finger = ada.finger;
    must_be_declined(stage, "demo-wrong-digits", last4("0199"), finger, ada.presses()).await?;
    declined_because(stage, "no_match", "Ada's finger is only compared with whom the digits select").await
}

async fn no_consent(stage: &Stage<'_>, people: &mut People) -> Checked {
    let before = samples_taken(stage).await?;
    let dan = &mut people.dan;
    let (types, finger) = (dan.identifier(), dan.finger);
    let session = must_be_declined(stage, "demo-dan", types, finger, dan.presses()).await?;
    let taken = samples_taken(stage).await? - before;
    ensure!(taken == 0, "{taken} samples were taken without a consent");
    ensure!(session.timings.get(Timed::Capture).is_none(), "a capture was begun without a consent");
    declined_because(stage, "consent_missing", "the reader was not even switched on").await
}

pub async fn samples_taken(stage: &Stage<'_>) -> anyhow::Result<u64> {
    let status = stage.at.verifier_status().await.map_err(explain_terminal)?;
    Ok(status.counters.get("samples").copied().unwrap_or_default())
}

/// A decline for lack of funds uses up neither the code nor the pass.
async fn funds(stage: &Stage<'_>, people: &mut People, screen: &mut Screen) -> anyhow::Result<()> {
    let standard = HandoverRequest::default();
    let (_, digits) = pass_and_hand_over(stage, "demo-cleo-1", &mut people.cleo, &standard).await?;
    let before = samples_taken(stage).await?;
    let charge = Charge { key: "merchant", amount: "8.20", order_ref: "T1-0007", digits: &digits };
    let declined = async {
        let result = charge.run(stage.site).await?;
        let why = result.decline_code.clone().unwrap_or_default();
        ensure!(why == "insufficient_funds", "declined for `{why}`");
        result.refused("payment_declined").map(|text| text.replace("payment_declined", &why))
    };
    screen.check("too little money: 3.00 for 8.20", declined.await)?;
    let account = people.cleo.account;
    let top_up = people.top_up(stage, account, 1_000, "demo-top-up-cleo").await?;
    screen.step("Cleo tops up at the desk", format_args!("{}, {}", top_up.amount, top_up.id))?;
    let paid = async {
        let (payment, replayed) = charge.run(stage.site).await?.paid()?;
        ensure!(!replayed, "it was answered from before");
        let taken = samples_taken(stage).await? - before;
        ensure!(taken == 0, "{taken} more samples were taken");
        Ok(format!("PAID {}, {}: no second scan, the same code", payment.amount, payment.id))
    };
    let paid = paid.await;
    people.rows += u64::from(paid.is_ok());
    screen.check("the same order and code again", paid)
}
