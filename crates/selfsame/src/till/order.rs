//! What is typed or scanned at the till: items, and then the payment code.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, bail};
use selfsame_domain::money::{Amount, Currency};
use zeroize::Zeroizing;

use crate::output;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 1024;

/// Most items of an order.
const ITEMS_MAX: usize = 500;

/// Standard input, line by line.
pub struct Input {
    asks: bool,
}

impl Input {
    /// Asks only if somebody is there to answer.
    pub fn new() -> Self {
        Self { asks: std::io::stdin().is_terminal() }
    }

    /// The next line without its end and surrounding space; `None` at the end of the input. It may be a payment code,
    /// so it is wiped.
    pub fn line(&mut self, question: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
        if self.asks {
            output::ask(question);
        }
        let mut line = Zeroizing::new(Vec::new());
        let mut stdin = std::io::stdin().lock().take(LINE_BYTES_MAX);
        stdin.read_until(b'\n', &mut line).context("failed to read from standard input")?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(Zeroizing::new(String::from_utf8_lossy(&line).trim().to_owned())))
    }
}

/// Reads items (`coffee 2.40` or just `2.40`) until an empty line, and adds them up.
pub fn read_order(input: &mut Input, currency: Currency) -> anyhow::Result<Amount> {
    output::note(format_args!(
        "items and prices in {currency}, one on a line, like `coffee 2.40`; an empty line ends"
    ));
    let mut total_minor = 0i64;
    for number in 1..=ITEMS_MAX {
        let line = match input.line(&format!("item {number}: "))? {
            Some(line) if !line.is_empty() => line,
            _ => break,
        };
        let price = line.split_whitespace().next_back().unwrap_or_default();
        match Amount::parse(price, currency) {
            Ok(amount) => {
                total_minor = total_minor.checked_add(amount.minor()).context("the order is too large")?;
            }
            Err(message) => output::note(message),
        }
    }
    match Amount::new(total_minor, currency) {
        Ok(total) => Ok(total),
        Err(_) if total_minor == 0 => bail!("the order is empty: nothing was charged"),
        Err(error) => Err(error.into()),
    }
}
