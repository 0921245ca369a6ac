//! `selfsame till`: a small stand-alone cash register. Step 5 of the method: it reads the payment code and charges it.

pub mod charge;
mod codes;
pub mod field;
pub mod key;
mod order;
pub mod scan;
mod source;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use selfsame_api::client::Client;
use selfsame_api::merchant::MerchantBalance;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::money::{Amount, Currency};
use selfsame_domain::reference::Reference;
use serde_json::json;

use crate::connection::{KeyOptions, ServerOptions, explain};
use crate::output::{self, Usage};
use crate::site::Site;
use crate::till::charge::{ANSWER_TIMEOUT, Ending, OrderResult, PAUSE, Register};
use crate::till::codes::{Codes, ScanOptions};
use crate::till::field::Field;
use crate::till::order::{Input, read_order};

/// How long a till that is switched on waits for a server that is not there.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Charge a payment code, as a cash register does
///
/// Opens an order, reads the 18 digits of a payment code from standard input (a bar code scanner types them), charges
/// the code, and ends with PAID, NOT PAID or UNKNOWN. Without --amount it asks for the items first.
///
/// With --read it listens to a scanner as registers' software does: keys that come too slowly are a person's, a scan needs
/// its end, and what lands in the wrong field is not taken. Never prints a whole code.
///
/// The order's reference is what keeps an order from being paid twice: charging the same reference again answers the
/// same payment. After a lost answer the till asks by the reference; it never charges under a new one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame till --amount 12.50 --order-ref T1-2026-11-24-0001 --key-file merchant.key
  selfsame till --server http://127.0.0.1:8700 --key-file merchant.key       (asks for the items)
  echo 980123456789012345 | SELFSAME_KEY=sk_test_... selfsame till --amount 4.20 --json
  selfsame till --amount 4.20 --read wedge:/dev/input/event5 --key-file merchant.key   (a scanner that is a keyboard)
  selfsame till --amount 4.20 --read serial:/dev/ttyUSB0 --suffix lf --key-file merchant.key
  selfsame till --field item --read wedge:/dev/input/event5                            (items only; charges nothing)
  selfsame till --reverse --order-ref T1-2026-11-24-0001 --key-file merchant.key

Exit codes: 0 PAID, 1 NOT PAID or UNKNOWN, 2 used wrongly.")]
pub struct Till {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    key: KeyOptions,
    /// What the order costs, for example 12.50; else the items are asked for
    #[arg(long)]
    amount: Option<String>,
    /// Reference of the order, unique for ever [default: made of the time]
    #[arg(long, value_name = "REF")]
    order_ref: Option<Reference>,
    /// Currency of the amount [default: the site's, which is asked for]
    #[arg(long)]
    currency: Option<Currency>,
    #[command(flatten)]
    scan: ScanOptions,
    /// Make the order unpaid for ever, whatever became of it, instead of charging it
    #[arg(long, requires = "order_ref", conflicts_with_all = ["amount", "field"])]
    reverse: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Till {
    /// Opens the order, charges, and says how it ended.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        if self.scan.field == Field::Item {
            return self.read_items();
        }
        let client = self.key.client("merchant's", &self.server.url(site)?)?;
        let currency = match self.currency {
            Some(currency) => currency,
            None => ask_for_currency(&client).await?,
        };
        if let (true, Some(order_ref)) = (self.reverse, self.order_ref.clone()) {
            let amount = Amount::new(1, currency)?;
            return Register { client, order_ref, amount }.print_reversal(self.json).await;
        }
        let mut input = Input::new();
        let amount = match &self.amount {
            Some(text) => Amount::parse(text, currency).map_err(|error| Usage(error.to_string()))?,
            None => read_order(&mut input, currency)?,
        };
        let order_ref = match self.order_ref {
            Some(order_ref) => order_ref,
            None => new_order_ref()?,
        };
        output::note(format_args!("order {order_ref}: {amount}"));
        let started = Instant::now();
        let register = Register { client, order_ref, amount };
        let mut codes = self.scan.listen(input)?;
        let result = register.charge_codes(&mut codes).await?;
        let paid = result.ending == Ending::Paid;
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if self.json {
            print_json(&register, &result, &codes, duration_us)?
        } else {
            print_text(&register, &result)?
        }
        Ok(if paid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Till {
    /// Reads items until the input ends. Exit code 0 if everything was taken, and something was.
    fn read_items(&self) -> anyhow::Result<ExitCode> {
        let mut codes = self.scan.listen(Input::new())?;
        let (items, all) = codes.items()?;
        if self.json {
            output::json(&json!({ "items": items, "scans": codes.seen }))?;
        } else {
            items.iter().try_for_each(|item| output::line(format_args!("ITEM {item}")))?;
        }
        Ok(if all && !items.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Register {
    async fn print_reversal(&self, json: bool) -> anyhow::Result<ExitCode> {
        let reversed = self.reverse().await?;
        if json {
            output::json(&reversed)?;
        } else {
            let what = if reversed.payment.is_some() { "it was given back" } else { "it had not arrived" };
            output::line(format_args!("REVERSED {}: {what}, and can never be paid", self.order_ref))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The site's currency; also shows early whether server and key are there. A server that is just coming back is waited
/// for.
async fn ask_for_currency(client: &Client) -> anyhow::Result<Currency> {
    let started = Instant::now();
    loop {
        match client.get::<MerchantBalance>("/v1/balance", ANSWER_TIMEOUT).await {
            Ok(balance) => return Ok(balance.currency),
            Err(error) if error.problem().is_some() || started.elapsed() > START_TIMEOUT => {
                return Err(explain(error));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Time and a few random characters: two tills that start an order in the same millisecond stay apart.
fn new_order_ref() -> anyhow::Result<Reference> {
    let mut random = [0u8; 3];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("till-{}-{random}", SystemClock.now()).parse()?)
}

fn print_text(register: &Register, result: &OrderResult) -> anyhow::Result<()> {
    let amount: Amount = register.amount;
    match result.ending {
        Ending::Paid => {
            let payment = result.payment.as_ref().map(|payment| payment.id.to_string()).unwrap_or_default();
            let replayed =
                if result.replayed { " (this order is paid already; nothing was charged twice)" } else { "" };
            output::line(format_args!("PAID {amount}  {payment}{replayed}"))
        }
        Ending::NotPaid => output::line(format_args!("NOT PAID: {}", result.message)),
        Ending::Unknown => output::line(format_args!(
            "UNKNOWN - ASK AGAIN: {}. Charge order {} again, with the same reference; do not start a new one",
            result.message, register.order_ref
        )),
    }
}

fn print_json(
    register: &Register,
    result: &OrderResult,
    codes: &Codes,
    duration_us: u64,
) -> anyhow::Result<()> {
    let mut document = json!({
        "result": result.ending.as_str(),
        "order_ref": register.order_ref,
        "amount": register.amount,
        "message": result.message,
        "replayed": result.replayed,
        "codes_read": result.codes_read,
        "scans": codes.seen,
        "duration_us": duration_us,
    });
    if let Some(code) = &result.code {
        document["code"] = json!(code);
    }
    if let Some(decline_code) = &result.decline_code {
        document["decline_code"] = json!(decline_code);
    }
    if let Some(payment) = &result.payment {
        document["payment"] = json!(payment);
    }
    output::json(&document)
}
