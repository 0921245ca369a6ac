//! The flows that are compared. What they have in common is the same code: order, verification, hand-over, charge.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use selfsame_api::interface::{HandoverRequest, Outcome};
use serde::Serialize;
use zeroize::Zeroizing;

use super::merchant::Merchant;
use super::payer::{Payer, Verified};
use super::register::Register;
use super::setting::Drawn;
use super::stages::{Kind, Part, Step, charge_parts, handover_parts, verification_parts};
use crate::connection::explain_terminal;
use crate::demo::payment::handed_digits;
use crate::demo::processes::DemoSite;
use crate::verify::{AtTerminal, ending_words};

/// A way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Order, permission over the merchant's system, verification with the amount, charge: one after the other. Source:
    /// [wxfacepay], `getWxpayfaceRawdata`, `get_wxpayface_authinfo`, `getWxpayfaceCode` with number and amount.
    Conventional,
    /// The same with a permission from before, which may be kept for an hour ([wxfacepay], `expires_in`).
    ConventionalCached,
    /// Ours, verified from the last item on: while the merchant's system works on the order.
    GeneralLast,
    /// Ours, verified from the first item on: while goods are scanned.
    GeneralFirst,
    /// A bar code that the payer's phone shows, ready when it is asked for; the same charge.
    Barcode,
}

impl Flow {
    /// All.
    pub const ALL: [Flow; 5] =
        [Flow::Conventional, Flow::ConventionalCached, Flow::GeneralLast, Flow::GeneralFirst, Flow::Barcode];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Flow::Conventional => "conventional",
            Flow::ConventionalCached => "conventional, cached permission",
            Flow::GeneralLast => "general code, from the last item",
            Flow::GeneralFirst => "general code, from the first item",
            Flow::Barcode => "bar code of a phone",
        }
    }
}

/// A till with everything that a payment at it needs.
pub struct Till<'a> {
    /// The site with its processes.
    pub site: &'a DemoSite,
    /// Its terminal.
    pub at: &'a AtTerminal,
    /// The merchant's system and network.
    pub merchant: &'a Merchant,
    /// Who pays.
    pub payer: &'a mut Payer,
    /// How long the cashier scans goods.
    pub basket: Duration,
}

/// A payment that was made.
pub struct Paid {
    /// When the payment operation request was made: the interface called, or without one the order placed.
    pub requested_at: Instant,
    /// When the last item was scanned: the payer is asked to pay.
    pub last_item_at: Instant,
    /// When the payer first had to do something.
    pub occupied_at: Instant,
    /// When the till said that it is paid.
    pub paid_at: Instant,
    /// From the first picture of finger or face to the pass as the register knew it.
    pub picture_to_pass: Option<Duration>,
    /// What happened.
    pub steps: Vec<Step>,
}

/// What became of a try to pay.
pub enum Ended {
    /// Paid.
    Paid(Box<Paid>),
    /// The payer was not recognised, as happens to people; in words.
    NotVerified(String),
}

/// A step with what came out of it.
type Done<T> = (Step, T);

impl Till<'_> {
    /// One payment.
    pub async fn pay(&mut self, flow: Flow, drawn: &Drawn, name: &str) -> anyhow::Result<Ended> {
        let mut register = Register::switch_on(self.site, name).await?;
        let phone = match flow {
            Flow::Barcode => match self.code_on_phone(name).await? {
                Ok(digits) => Some(digits),
                Err(words) => return Ok(Ended::NotVerified(words)),
            },
            _ => None,
        };
        self.merchant.prepare(drawn).await?;
        let began = Instant::now();
        let merchant = self.merchant;
        let mut steps = Vec::new();
        let mut last_item_at = began;
        let verified = match flow {
            Flow::Conventional | Flow::ConventionalCached | Flow::Barcode => {
                steps.push(order(merchant, &mut register, name).await?);
                if flow == Flow::Conventional {
                    steps.push(permission(merchant).await?);
                }
                match flow {
                    Flow::Barcode => None,
                    _ => Some(self.payer.verify(self.at, name, true, drawn.frame_phase).await?),
                }
            }
            Flow::GeneralLast | Flow::GeneralFirst => {
                let basket = if flow == Flow::GeneralFirst { self.basket } else { Duration::ZERO };
                let ordering = async {
                    if !basket.is_zero() {
                        tokio::time::sleep(basket).await;
                    }
                    let last_item_at = Instant::now();
                    anyhow::Ok((last_item_at, order(merchant, &mut register, name).await?))
                };
                let verifying = self.payer.verify(self.at, name, true, drawn.frame_phase);
                let (ordered, verified) = tokio::try_join!(ordering, verifying)?;
                if !basket.is_zero() {
                    let parts = vec![(Part::Basket, ordered.0 - began)];
                    steps.push(Step { kind: Kind::Basket, begun: began, ended: ordered.0, parts });
                    last_item_at = ordered.0;
                }
                steps.push(ordered.1);
                Some(verified)
            }
        };
        let (mut occupied_at, mut picture_to_pass) = (None, None);
        let digits = match (phone, verified) {
            (Some(digits), _) => digits,
            (None, Some(verified)) => {
                occupied_at = Some(verified.asked_at);
                picture_to_pass = verified.shown_at.map(|shown_at| verified.ended_at - shown_at);
                if let Err(words) = passed(&verified) {
                    return Ok(Ended::NotVerified(words));
                }
                let parts = verification_parts(&verified.session.timings, verified.calling, verified.typing);
                let (begun, ended) = (verified.requested_at, verified.ended_at);
                steps.push(Step { kind: Kind::Verification, begun, ended, parts });
                let (step, digits) = self.hand_over(&verified).await?;
                steps.push(step);
                digits
            }
            (None, None) => unreachable!("every flow has a phone or a verification"),
        };
        let begun = Instant::now();
        let charged = register.scan(&digits).await?;
        let ended = charged.paid_at;
        let parts = charge_parts(&charged.payment.timings, ended - begun);
        steps.push(Step { kind: Kind::Charge, begun, ended, parts });
        Ok(Ended::Paid(Box::new(Paid {
            requested_at: began,
            last_item_at,
            occupied_at: occupied_at.unwrap_or(begun),
            paid_at: ended,
            picture_to_pass,
            steps,
        })))
    }

    /// The code that a phone shows, from a verification before: what a phone's own program does instead is not ours to
    /// measure, and is over when the cashier asks.
    async fn code_on_phone(&mut self, name: &str) -> anyhow::Result<Result<Zeroizing<String>, String>> {
        let verified = self.payer.verify(self.at, name, false, 1.0).await?;
        match passed(&verified) {
            Ok(()) => Ok(Ok(self.hand_over(&verified).await?.1)),
            Err(words) => Ok(Err(words)),
        }
    }

    async fn hand_over(&self, verified: &Verified) -> anyhow::Result<Done<Zeroizing<String>>> {
        let begun = Instant::now();
        let asked = self.at.hand_over(&verified.session, &HandoverRequest::default()).await;
        let session = asked.map_err(explain_terminal)?;
        let (_, digits) = handed_digits(&session)?;
        let ended = Instant::now();
        let parts = handover_parts(&session.timings, ended - begun);
        Ok((Step { kind: Kind::Handover, begun, ended, parts }, digits))
    }
}

fn passed(verified: &Verified) -> Result<(), String> {
    match verified.session.outcome {
        Some(Outcome::Passed) => Ok(()),
        _ => Err(ending_words(&verified.session)),
    }
}

async fn order(merchant: &Merchant, register: &mut Register, name: &str) -> anyhow::Result<Step> {
    let begun = Instant::now();
    let asked = merchant.order(name).await?;
    let parts = [Part::OrderNetwork, Part::OrderProcessing];
    let step = Step::asked(Kind::Order, begun, asked.handled, parts);
    ensure!(asked.answer.amount_minor > 0, "an order that costs nothing");
    register.enter(asked.answer.amount_minor).await.context("the till does not take the order")?;
    Ok(step)
}

async fn permission(merchant: &Merchant) -> anyhow::Result<Step> {
    let begun = Instant::now();
    let asked = merchant.permission().await?;
    let parts = [Part::PermissionNetwork, Part::PermissionPlatform];
    Ok(Step::asked(Kind::Permission, begun, asked.handled, parts))
}
