//! Charging a code, and never leaving open what can be found out.

use std::time::{Duration, Instant};

use selfsame_api::client::{Client, ClientError};
use selfsame_api::payment::{NewPayment, Payment, PaymentStatus};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::reversal::{NewReversal, Reversal};
use selfsame_domain::money::Amount;
use selfsame_domain::reference::Reference;

use crate::connection::{explain, query_value};
use crate::output;
use crate::till::codes::Codes;

/// Longest wait for one answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the till tries to find out how a charge ended, before it says that it does not know.
const CERTAINTY_TIMEOUT: Duration = Duration::from_secs(12);

/// Pause between tries to reach the server.
pub const PAUSE: Duration = Duration::from_millis(300);

/// Codes that are read for one order before the till gives up.
const CODES_MAX: usize = 10;

/// An open order at the till.
pub struct Register {
    /// The server, with the merchant's key.
    pub client: Client,
    /// The order's reference: the idempotency key.
    pub order_ref: Reference,
    /// What it costs.
    pub amount: Amount,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The money has moved.
    Paid,
    /// No money has moved by this order.
    NotPaid,
    /// The server could not be asked.
    Unknown,
}

impl Ending {
    /// The value in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Paid => "paid",
            Ending::NotPaid => "not_paid",
            Ending::Unknown => "unknown",
        }
    }
}

/// How an order ended, and why.
pub struct OrderResult {
    /// How.
    pub ending: Ending,
    /// Why, in plain words.
    pub message: String,
    /// The server's stable code.
    pub code: Option<String>,
    /// Why the money could not be moved.
    pub decline_code: Option<String>,
    /// The payment; of an order that was used before, the earlier one.
    pub payment: Option<Payment>,
    /// The payment had been made before.
    pub replayed: bool,
    /// Codes that were read.
    pub codes_read: usize,
}

impl OrderResult {
    fn new(ending: Ending, message: impl Into<String>) -> Self {
        Self {
            ending,
            message: message.into(),
            code: None,
            decline_code: None,
            payment: None,
            replayed: false,
            codes_read: 0,
        }
    }

    fn paid(payment: Payment, replayed: bool) -> Self {
        Self { payment: Some(payment), replayed, ..Self::new(Ending::Paid, "paid") }
    }

    /// An order that has a payment which moved nothing.
    fn unpaid(payment: Payment, message: &str) -> Self {
        Self { payment: Some(payment), ..Self::new(Ending::NotPaid, message) }
    }

    fn refused(problem: Problem) -> Self {
        let message = plain_words(&problem);
        Self {
            code: Some(problem.code.as_str().to_owned()),
            decline_code: problem.decline_code,
            payment: problem.payment.map(|payment| *payment),
            ..Self::new(Ending::NotPaid, message)
        }
    }

    /// Whether another reading of the code, or a new code, may still pay this order.
    fn wants_another_code(&self) -> bool {
        let wanted = [ProblemCode::CodeMalformed, ProblemCode::CodeExpired].map(ProblemCode::as_str);
        self.ending == Ending::NotPaid && self.code.as_deref().is_some_and(|code| wanted.contains(&code))
    }
}

/// Why an order was not paid, for a cashier.
fn plain_words(problem: &Problem) -> String {
    let detail = || problem.detail.clone().unwrap_or_else(|| problem.title.clone());
    let text = match problem.code {
        ProblemCode::CodeMalformed => {
            return format!("this is no payment code ({}); read it again", detail());
        }
        ProblemCode::CodeExpired => "the code is too old: hand over a new one at the terminal",
        ProblemCode::CodeNotFound => "there is no such code for this merchant",
        ProblemCode::CodeAlreadyUsed => "this code has paid another order already",
        ProblemCode::CodeRevoked => "this code was replaced or cancelled: use the newest one",
        ProblemCode::CurrencyMismatch => "the currency does not fit",
        ProblemCode::ReferenceConflict => {
            return format!("this order reference was {}: use a new reference for a new order", detail());
        }
        ProblemCode::PaymentDeclined => match problem.decline_code.as_deref() {
            Some("insufficient_funds") => {
                "not enough money in the wallet: top up and charge the same code again, or take other payment"
            }
            Some("limit_exceeded_single") => "above the limit of one payment: take other payment",
            _ => "declined: take other payment",
        },
        ProblemCode::Unauthenticated => "the server does not know this till's key",
        ProblemCode::Forbidden => "this key may not charge: a merchant's key is needed",
        _ => return detail(),
    };
    text.to_owned()
}

/// What one call told.
enum Told {
    /// How the order ended.
    Ended(Box<OrderResult>),
    /// Nothing for certain; why.
    Open(String),
    /// The payer is asked at the terminal. The server ends that by itself.
    Asked,
}

impl Told {
    /// Only a payment that succeeded is paid: 202 means that the money is held.
    fn of(payment: Payment, replayed: bool) -> Self {
        let result = match payment.status {
            PaymentStatus::Succeeded => OrderResult::paid(payment, replayed),
            PaymentStatus::RequiresAction => return Told::Asked,
            PaymentStatus::Pending => OrderResult::unpaid(payment, "the money is held and was not taken yet"),
            PaymentStatus::Canceled => OrderResult::unpaid(payment, "the payer or the till did not want it"),
            PaymentStatus::Expired => OrderResult::unpaid(payment, "the payer did not confirm in time"),
            PaymentStatus::Reversed => OrderResult::unpaid(payment, "the order was reversed"),
        };
        Told::Ended(Box::new(result))
    }
}

impl Register {
    /// Reads codes and charges them until the order has ended.
    pub async fn charge_codes(&self, codes: &mut Codes) -> anyhow::Result<OrderResult> {
        let mut last = OrderResult::new(Ending::NotPaid, "no payment code was read");
        for codes_read in 1..=CODES_MAX {
            let Some(read) = codes.next()? else { break };
            last = match read {
                Ok(code) => OrderResult { codes_read, ..self.charge(code.expose()).await },
                // Seen here already, so that nothing but a code ever leaves the till.
                Err(refused) => OrderResult {
                    codes_read,
                    code: Some(ProblemCode::CodeMalformed.as_str().to_owned()),
                    ..OrderResult::new(Ending::NotPaid, refused.to_string())
                },
            };
            if !last.wants_another_code() {
                break;
            }
            output::note(&last.message);
        }
        Ok(last)
    }

    /// Charges a code. Answers `Unknown` only after trying for some seconds to find out; waits for a payer who is asked.
    pub async fn charge(&self, code: &str) -> OrderResult {
        let mut certain = Instant::now();
        let mut told = self.post(code).await;
        let mut noted = String::new();
        loop {
            let reason = match told {
                Told::Ended(result) => return *result,
                Told::Open(reason) => reason,
                Told::Asked => {
                    certain = Instant::now();
                    "the payer must confirm at the terminal".to_owned()
                }
            };
            if certain.elapsed() >= CERTAINTY_TIMEOUT {
                return OrderResult::new(Ending::Unknown, reason);
            }
            if reason != noted {
                output::note(format_args!("{reason}; asking again"));
                noted = reason.clone();
            }
            tokio::time::sleep(PAUSE).await;
            told = match self.find().await {
                // Not paid so far. The same order again is safe: by its reference it pays at most once.
                Told::Open(reason) => match self.post(code).await {
                    Told::Open(newer) => Told::Open(format!("{reason}; {newer}")),
                    other => other,
                },
                other => other,
            };
        }
    }

    /// Makes the order unpaid for ever: a payment of it is given back, and none can come any more.
    pub async fn reverse(&self) -> anyhow::Result<Reversal> {
        let new = NewReversal { order_ref: self.order_ref.clone() };
        self.client.post("/v1/reversals", &new, ANSWER_TIMEOUT).await.map_err(explain)
    }

    async fn post(&self, code: &str) -> Told {
        let body = NewPayment::goods(self.order_ref.clone(), self.amount, code.to_owned());
        match self.client.post_answer::<Payment>("/v1/payments", &body, ANSWER_TIMEOUT).await {
            Ok(answer) => Told::of(answer.body, answer.replayed),
            Err(error) => told(error, "charge"),
        }
    }

    /// Looks the order up. That nothing is found is no answer: a charge may still be on its way.
    async fn find(&self) -> Told {
        let path = format!("/v1/payments?order_ref={}", query_value(self.order_ref.as_str()));
        match self.client.get::<Payment>(&path, ANSWER_TIMEOUT).await {
            Ok(payment) if payment.amount == self.amount => Told::of(payment, true),
            Ok(payment) => {
                let detail = format!("used at {} for {}", payment.created_at, payment.amount);
                let problem = Problem::new(ProblemCode::ReferenceConflict).detail(detail);
                let problem = Problem { payment: Some(Box::new(payment)), ..problem };
                Told::Ended(Box::new(OrderResult::refused(problem)))
            }
            Err(error) if error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound) => {
                Told::Open("not paid so far".to_owned())
            }
            Err(error) => told(error, "look-up"),
        }
    }
}

fn told(error: ClientError, call: &str) -> Told {
    match error {
        ClientError::Problem(problem) if problem.is_temporary() => Told::Open(problem.title),
        ClientError::Problem(problem) => Told::Ended(Box::new(OrderResult::refused(*problem))),
        ClientError::Connect { address, .. } | ClientError::Unsigned { address, .. } => {
            Told::Open(format!("the payment server at {address} is not there"))
        }
        ClientError::NoAnswer { .. } | ClientError::Silent { .. } => {
            Told::Open(format!("the answer to the {call} was lost"))
        }
        ClientError::Answer { status, .. } => Told::Open(format!("a strange answer came (HTTP {status})")),
    }
}
