//! The till as a real process: `selfsame till`, which reads the code from its standard input.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use selfsame_api::payment::Payment;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::demo::processes::DemoSite;

/// Longest time that a till may take. It gives up by itself before.
const TILL_TIMEOUT: Duration = Duration::from_secs(30);

/// What the till printed.
#[derive(Deserialize)]
pub struct TillResult {
    /// `paid`, `not_paid` or `unknown`.
    pub result: String,
    /// Why, in plain words.
    pub message: String,
    /// The server's stable code.
    pub code: Option<String>,
    /// Why the money could not be moved.
    pub decline_code: Option<String>,
    /// The payment.
    pub payment: Option<Payment>,
    /// The order had been paid before.
    pub replayed: bool,
}

/// A charge at a till.
pub struct Charge<'a> {
    /// Whose till: name of a file below `keys`.
    pub key: &'a str,
    /// How much, as typed.
    pub amount: &'a str,
    /// The order.
    pub order_ref: &'a str,
    /// What the scanner read.
    pub digits: &'a str,
}

impl Charge<'_> {
    /// Runs the till to its end.
    pub async fn run(&self, site: &DemoSite) -> anyhow::Result<TillResult> {
        let program = std::env::current_exe().context("failed to find our own executable")?;
        let mut command = Command::new(program);
        command.args(["till", "--json", "--server", &site.url, "--amount", self.amount]);
        command.args(["--order-ref", self.order_ref, "--key-file"]).arg(site.key_file(self.key));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut till = command.spawn().context("failed to start the till")?;
        let mut scanner = till.stdin.take().context("the till has no standard input")?;
        let line = zeroize::Zeroizing::new(format!("{}\n", self.digits));
        scanner.write_all(line.as_bytes()).await.context("the till does not take the code")?;
        drop(scanner);
        let ended = tokio::time::timeout(TILL_TIMEOUT, till.wait_with_output()).await;
        let ended = ended.context("the till did not end")?.context("failed to hear of the till")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let result: TillResult = serde_json::from_slice(&ended.stdout)
            .with_context(|| format!("the till printed no result ({}): {}", ended.status, said.trim()))?;
        let paid = result.result == "paid";
        ensure!(
            ended.status.success() == paid,
            "the till says `{}` and ends with {}",
            result.result,
            ended.status
        );
        Ok(result)
    }
}

impl TillResult {
    /// The payment, if it was paid.
    pub fn paid(self) -> anyhow::Result<(Payment, bool)> {
        ensure!(self.result == "paid", "the till says {}: {}", self.result, self.message);
        let payment = self.payment.context("the till says paid and names no payment")?;
        Ok((payment, self.replayed))
    }

    /// The reason in words, if it was refused with this code.
    pub fn refused(self, code: &str) -> anyhow::Result<String> {
        let found = self.code.as_deref().unwrap_or("no code");
        ensure!(
            self.result == "not_paid" && found == code,
            "the till says {} ({found}), not `{code}`: {}",
            self.result,
            self.message
        );
        Ok(format!("NOT PAID: {} ({code})", self.message))
    }
}
