//! Two payments, told in the five steps of the method, with their stage timings.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use selfsame_api::interface::{
    DEADLINE_MS_DEFAULT, Handover, HandoverMode, HandoverPlan, HandoverRequest, NewSession, Outcome,
    RegisterKind, Session, SessionState,
};
use selfsame_api::merchant::MerchantBalance;
use selfsame_api::payment::Payment;
use selfsame_domain::money::display_minor;
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::sensor::Modality;
use selfsame_domain::site::Mode;
use selfsame_domain::timing::{Stage as Timed, Timings};
use zeroize::Zeroizing;

use crate::connection::{TIMEOUT, explain, explain_terminal};
use crate::demo::Stage;
use crate::demo::people::{People, Person};
use crate::demo::scanner::{masked, scan};
use crate::demo::screen::Screen;
use crate::demo::till::Charge;
use crate::verify::ending_words;

/// What Ada buys.
pub const AMOUNT: &str = "12.50";
/// The same in minor units.
pub const AMOUNT_MINOR: i64 = 1_250;
/// Her order.
pub const ORDER: &str = "T1-0001";

/// What Ben buys.
const AMOUNT_BY_SCREEN: &str = "7.80";
const AMOUNT_BY_SCREEN_MINOR: i64 = 780;
const ORDER_BY_SCREEN: &str = "T1-0002";

/// A payment that went through.
pub struct Paid {
    /// The code that paid.
    pub digits: Zeroizing<String>,
    /// The payment.
    pub payment: Payment,
    /// Stages of terminal, verifier, matcher and server.
    pub timings: Timings,
}

/// A request to the verification interface. No amount: that comes from the till.
pub fn request(request_id: &str, register: RegisterKind, mode: HandoverMode) -> anyhow::Result<NewSession> {
    Ok(NewSession {
        request_id: request_id.parse()?,
        modality: Modality::Finger,
        identifier: None,
        deadline_ms: Some(DEADLINE_MS_DEFAULT),
        lease_ms: None,
        handover: HandoverPlan { register: Some(register), mode: Some(mode) },
    })
}

/// A session from request to outcome: `types` is given at the pad, and `finger` presses.
pub async fn verify(
    stage: &Stage<'_>,
    session: Session,
    types: selfsame_api::account::Identifier,
    finger: u64,
    mut presses: impl Iterator<Item = u64> + Send,
) -> anyhow::Result<Session> {
    let mut session = session;
    while matches!(session.state, SessionState::Waking) {
        session = stage.at.next(&session, TIMEOUT).await.map_err(explain_terminal)?;
    }
    if session.state == SessionState::AwaitingIdentifier {
        stage.at.identify(types).await.map_err(explain_terminal)?;
    }
    stage.at.present(session, finger, &mut presses, |_| {}).await
}

/// The session's hand-over with its digits (register `return`).
pub fn handed_digits(session: &Session) -> anyhow::Result<(Handover, Zeroizing<String>)> {
    let mut handover = session.handover.clone().context("nothing was handed over")?;
    let digits = handover.digits.take().context("the hand-over to `return` has no digits")?;
    Ok((handover, Zeroizing::new(digits)))
}

fn passed(session: &Session, person: &Person) -> anyhow::Result<String> {
    ensure!(session.outcome == Some(Outcome::Passed), "the verification ended as {}", ending_words(session));
    let shown = session.payer_display.clone().context("a pass without a payer")?;
    let initial = person.name.chars().next();
    ensure!(shown.chars().next() == initial, "somebody else was recognised: {shown}");
    Ok(shown)
}

/// Ada pays; the code goes back to the caller of the interface.
pub async fn by_return(stage: &Stage<'_>, people: &mut People, screen: &mut Screen) -> anyhow::Result<Paid> {
    let asked = Instant::now();
    let new = request("demo-ada-1", RegisterKind::Return, HandoverMode::OnRequest)?;
    let session = stage.at.request(&new).await.map_err(explain_terminal)?;
    screen.check(
        "1 payment operation request",
        Ok(format!(
            "the register calls the verification interface; no amount is in the request. Answered with {} after {}",
            session.id,
            milliseconds(asked.elapsed())
        )),
    )?;

    let ada = &mut people.ada;
    let (types, finger) = (ada.identifier(), ada.finger);
    let session = verify(stage, session, types, finger, ada.presses()).await?;
    let shown = passed(&session, ada)?;
    screen.check(
        "2 biometric verification",
        Ok(format!(
            "the interface wakes the verification program. Ada types 0142, which Ben's account has as well, and \
             presses her finger; the comparison decides between the two: {shown} passed"
        )),
    )?;

    let until = session.pass_expires_at.context("a pass without an end")?;
    screen.check(
        "3 pass, code asked for",
        Ok(format!(
            "the pass lasts until {}. The till is ready, so the terminal asks the payment server for a code",
            clock_time(&until.to_string())
        )),
    )?;
    let session =
        stage.at.hand_over(&session, &HandoverRequest::default()).await.map_err(explain_terminal)?;
    let (handover, digits) = handed_digits(&session)?;
    PaymentCode::parse(&digits, Prefix::default_for(Mode::Test)).context("the server made no code")?;
    screen.check(
        "4 general payment code",
        Ok(format!(
            "{}, 18 digits with no amount in them, good until {}; handed to the register (`return`)",
            masked(&digits)?,
            clock_time(&handover.expires_at.to_string())
        )),
    )?;

    let charge = Charge { key: "merchant", amount: AMOUNT, order_ref: ORDER, digits: &digits };
    let (payment, replayed) = charge.run(stage.site).await?.paid()?;
    ensure!(!replayed && payment.amount.minor() == AMOUNT_MINOR, "{} was charged", payment.amount);
    people.rows += 1;
    let balance = merchant_balance(stage).await?;
    ensure!(balance == AMOUNT_MINOR, "the merchant's balance is {balance}");
    screen.check(
        "5 payment with that code",
        Ok(format!(
            "`selfsame till` charges {} for order {ORDER}: PAID, {}; the ledger owes the merchant {}",
            payment.amount,
            payment.id,
            display_minor(balance, stage.site.currency)
        )),
    )?;
    let mut timings = session.timings;
    timings.merge(&payment.timings);
    Ok(Paid { digits, payment, timings })
}

/// Ben pays; the code appears on the terminal's screen, and the till's scanner reads it from there.
pub async fn by_screen(stage: &Stage<'_>, people: &mut People, screen: &mut Screen) -> anyhow::Result<Paid> {
    let new = request("demo-ben-1", RegisterKind::Screen, HandoverMode::Immediate)?;
    let session = stage.at.request(&new).await.map_err(explain_terminal)?;
    let ben = &mut people.ben;
    let (types, finger) = (ben.identifier(), ben.finger);
    let session = verify(stage, session, types, finger, ben.presses()).await?;
    let shown = passed(&session, ben)?;
    let handover = session.handover.as_ref().context("nothing was handed over")?;
    ensure!(handover.digits.is_none(), "the digits went to the caller as well");
    screen.check(
        "1 to 4",
        Ok(format!(
            "Ben types 0142 too and presses his finger: {shown} passed; his code appears as Code 128 and QR"
        )),
    )?;

    let png = stage.at.screen(&session).await.map_err(explain_terminal)?;
    let digits = scan(&png)?;
    let code = masked(&digits)?;
    let charge =
        Charge { key: "merchant", amount: AMOUNT_BY_SCREEN, order_ref: ORDER_BY_SCREEN, digits: &digits };
    let (payment, _) = charge.run(stage.site).await?.paid()?;
    ensure!(payment.amount.minor() == AMOUNT_BY_SCREEN_MINOR, "{} was charged", payment.amount);
    people.rows += 1;
    // Kept only now that the code is spent.
    let picture = stage.site.till.folder().join("screen.png");
    std::fs::write(&picture, png).with_context(|| format!("failed to write `{}`", picture.display()))?;
    screen.check(
        "5 scanned and charged",
        Ok(format!(
            "the scanner reads {code} from the picture; {} for order {ORDER_BY_SCREEN}: PAID, {}. What the screen \
             showed is in {}/screen.png",
            payment.amount,
            payment.id,
            stage.site.short_folder()
        )),
    )?;
    let mut timings = session.timings;
    timings.merge(&payment.timings);
    Ok(Paid { digits, payment, timings })
}

/// What the operator owes the merchant.
pub async fn merchant_balance(stage: &Stage<'_>) -> anyhow::Result<i64> {
    let balance: MerchantBalance = stage.merchant.get("/v1/balance", TIMEOUT).await.map_err(explain)?;
    Ok(balance.balance_minor)
}

/// Stages with what happens in them. Those with a dot are part of the one above them.
const STAGES: [(Timed, &str, &str); 15] = [
    (Timed::Wake, "wake", "interface called until the verification program answers"),
    (Timed::Candidates, "candidates", "identifier to accounts with a consent (server)"),
    (Timed::Capture, "capture", "the payer's touch, drawn and taken"),
    (Timed::Seal, "seal", "frame sealed to the matcher, request signed"),
    (Timed::Verdict, "verdict", "frame sent until the verdict is back; in it:"),
    (Timed::Open, ". open", "seal opened, picture decoded (matcher)"),
    (Timed::Extraction, ". extraction", "picture to template (matcher)"),
    (Timed::Comparison, ". comparison", "with the candidates' templates (matcher)"),
    (Timed::Code, "code", "code asked for and issued"),
    (Timed::Handover, "hand-over", "code to the register"),
    (Timed::Charge, "charge", "charge received until its answer; in it:"),
    (Timed::Queue, ". queue", "waiting for the batch"),
    (Timed::Load, ". load", "reading what the decision needs"),
    (Timed::Decide, ". decide", "deciding"),
    (Timed::Commit, ". commit", "written and synced to disk"),
];

/// Prints all stages of both payments. One that is missing is an error: timings are a promise.
pub fn print_table(screen: &mut Screen, returned: &Paid, scanned: &Paid) -> anyhow::Result<()> {
    screen.row(["stage", "Ada, return", "Ben, screen", ""])?;
    let mut missing = Vec::new();
    for (timed, name, what) in STAGES {
        let cells = [returned, scanned].map(|paid| paid.timings.get(timed));
        if cells.iter().any(Option::is_none) {
            missing.push(name);
        }
        let [first, second] = cells.map(|duration| duration.map_or("missing".to_owned(), bare_milliseconds));
        screen.row([name, &first, &second, what])?;
    }
    let sum = |paid: &Paid, stages: &[Timed]| {
        bare_milliseconds(stages.iter().filter_map(|stage| paid.timings.get(*stage)).sum())
    };
    let waits: [(&str, &[Timed], &str); 2] = [
        ("press to pass", &[Timed::Seal, Timed::Verdict], "while the cashier still scans goods"),
        (
            "ready to PAID",
            &[Timed::Code, Timed::Handover, Timed::Charge],
            "what is left to wait for at the till",
        ),
    ];
    for (name, stages, what) in waits {
        screen.row([name, &sum(returned, stages), &sum(scanned, stages), what])?;
    }
    let checked = if missing.is_empty() {
        Ok(format!("{} stages, measured where they happen, for both payments", STAGES.len()))
    } else {
        Err(anyhow::anyhow!("not measured: {}", missing.join(", ")))
    };
    screen.check("every stage was measured", checked)
}

/// A duration in milliseconds, for a table.
pub fn bare_milliseconds(duration: Duration) -> String {
    let microseconds = duration.as_micros();
    format!("{}.{:03}", microseconds / 1000, microseconds % 1000)
}

/// A duration as people read it.
fn milliseconds(duration: Duration) -> String {
    format!("{} ms", bare_milliseconds(duration))
}

/// Hours, minutes and seconds of an RFC 3339 time.
fn clock_time(timestamp: &str) -> &str {
    timestamp.get(11..19).unwrap_or(timestamp)
}

/// Verifies a person who must pass, and has a code handed back.
pub async fn pass_and_hand_over(
    stage: &Stage<'_>,
    request_id: &str,
    person: &mut Person,
    handover: &HandoverRequest,
) -> anyhow::Result<(Session, Zeroizing<String>)> {
    let new = request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?;
    let session = stage.at.request(&new).await.map_err(explain_terminal)?;
    let (types, finger) = (person.identifier(), person.finger);
    let session = verify(stage, session, types, finger, person.presses()).await?;
    passed(&session, person)?;
    let session = stage.at.hand_over(&session, handover).await.map_err(explain_terminal)?;
    let (_, digits) = handed_digits(&session)?;
    Ok((session, digits))
}

/// Verifies somebody who must not pass.
pub async fn must_be_declined(
    stage: &Stage<'_>,
    request_id: &str,
    types: selfsame_api::account::Identifier,
    finger: u64,
    presses: impl Iterator<Item = u64> + Send,
) -> anyhow::Result<Session> {
    let new = request(request_id, RegisterKind::Return, HandoverMode::OnRequest)?;
    let session = stage.at.request(&new).await.map_err(explain_terminal)?;
    let session = verify(stage, session, types, finger, presses).await?;
    match session.outcome {
        Some(Outcome::Declined) => Ok(session),
        _ => bail!("the verification ended as {}", ending_words(&session)),
    }
}
