//! A payment above a limit: the payer agrees to merchant and exact amount at the terminal, after the till has charged.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::channel::TerminalPayment;
use selfsame_api::interface::{Confirmation, HandoverRequest, Session};
use selfsame_api::merchant::Secret;
use selfsame_api::payment::PaymentStatus;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::limit::Limits;

use crate::connection::{TIMEOUT, explain, explain_terminal};
use crate::demo::Stage;
use crate::demo::payment::pass_and_hand_over;
use crate::demo::people::{ADAS_PIN, People};
use crate::demo::screen::{Checked, Screen};
use crate::demo::till::Charge;

/// Above this Ada must agree, minor units.
const ABOVE_MINOR: i64 = 500;

/// What she pays.
const AMOUNT: &str = "6.00";

/// Longest wait until the terminal asks her.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

/// Shows it.
pub async fn show(stage: &Stage<'_>, people: &mut People, screen: &mut Screen) -> anyhow::Result<()> {
    let path = format!("/v1/accounts/{}/limits", people.ada.account);
    let limits = Limits { step_up_above_minor: Some(ABOVE_MINOR), ..Limits::default() };
    stage.operator.put::<Limits>(&path, &limits, TIMEOUT).await.map_err(explain)?;
    let standard = HandoverRequest::default();
    let (session, digits) = pass_and_hand_over(stage, "demo-ada-3", &mut people.ada, &standard).await?;
    let charge = Charge { key: "merchant", amount: AMOUNT, order_ref: "T1-0050", digits: &digits };
    let (charged, agreed) = tokio::join!(charge.run(stage.site), agree(stage, session));
    screen.check("6.00, where 5.00 is Ada's limit", agreed)?;
    let paid = charged.and_then(|result| result.paid());
    // One row that holds the money, and one that moves it.
    people.rows += if paid.is_ok() { 2 } else { 0 };
    let paid =
        paid.map(|(payment, _)| format!("the till waited, then: PAID {}, {}", payment.amount, payment.id));
    screen.check("and at the till", paid)
}

/// Ada at the terminal: a wrong PIN first, then hers.
async fn agree(stage: &Stage<'_>, session: Session) -> Checked {
    let (session, payment) = asked(stage, session).await?;
    ensure!(!payment.gesture_confirms, "a gesture would be enough");
    let typed = |pin: &str| Confirmation { pin: Some(Secret(pin.to_owned())) };
    match stage.at.confirm(session.id, &typed("0852")).await {
        Err(error) if error.problem().is_some_and(|problem| problem.code == ProblemCode::PinWrong) => {}
        Err(error) => return Err(explain_terminal(error)),
        Ok(_) => bail!("a wrong PIN confirmed the payment"),
    }
    let confirmed = stage.at.confirm(session.id, &typed(ADAS_PIN)).await.map_err(explain_terminal)?;
    let status = confirmed.payment.map(|payment| payment.status);
    ensure!(status == Some(PaymentStatus::Succeeded), "the payment is {status:?} after the PIN");
    Ok(format!(
        "the terminal shows \"{}, {}\"; a wrong PIN confirms nothing, hers does",
        payment.merchant_name, payment.amount
    ))
}

/// Waits until the terminal asks for the payer's agreement.
async fn asked(stage: &Stage<'_>, mut session: Session) -> anyhow::Result<(Session, TerminalPayment)> {
    let started = Instant::now();
    loop {
        let payment = session.payment.clone();
        if let Some(payment) = payment.filter(|payment| payment.status == PaymentStatus::RequiresAction) {
            return Ok((session, payment));
        }
        let left =
            ASKED_WITHIN.checked_sub(started.elapsed()).context("the terminal did not ask the payer")?;
        session = stage.at.next(&session, left).await.map_err(explain_terminal)?;
    }
}
