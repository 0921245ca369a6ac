//! The books: balances, trial balance, hash chain, refused attempts.

use anyhow::bail;
use selfsame_api::ledger::{Attempts, Chain, TrialBalance};
use selfsame_api::merchant::MerchantBalance;
use selfsame_domain::money::display_minor;

use crate::connection::{TIMEOUT, explain};
use crate::desk::Counter;
use crate::output;

pub async fn balance(counter: &Counter<'_>) -> anyhow::Result<()> {
    let balance: MerchantBalance = counter.client.get("/v1/balance", TIMEOUT).await.map_err(explain)?;
    let money = display_minor(balance.balance_minor, balance.currency);
    counter.print(&balance, format_args!("{}  {money}", balance.merchant))
}

pub async fn trial_balance(counter: &Counter<'_>) -> anyhow::Result<()> {
    let books: TrialBalance =
        counter.client.get("/v1/ledger/trial-balance", TIMEOUT).await.map_err(explain)?;
    if counter.json {
        output::json(&books)?;
    } else {
        for line in &books.lines {
            let money = display_minor(line.balance_minor, books.currency);
            output::line(format_args!("{:31}  {money:>20}", line.account.to_string()))?;
        }
        output::line(format_args!("{:31}  {:>20}", "sum", display_minor(books.sum_minor, books.currency)))?;
    }
    if books.sum_minor != 0 || books.wallets_that_differ != 0 {
        bail!("the books are wrong: the sum is not zero, or {} wallets differ", books.wallets_that_differ);
    }
    Ok(())
}

pub async fn chain(counter: &Counter<'_>) -> anyhow::Result<()> {
    let chain: Chain = counter.client.get("/v1/ledger/chain", TIMEOUT).await.map_err(explain)?;
    if counter.json {
        output::json(&chain)?;
    }
    for slot in &chain.slots {
        if !counter.json {
            let verdict = slot.error.as_deref().unwrap_or("verified");
            output::line(format_args!(
                "slot {}  {} rows  head {}  {verdict}",
                slot.slot, slot.rows, slot.head
            ))?;
        }
    }
    if chain.slots.iter().any(|slot| slot.error.is_some()) {
        bail!("the chain is broken: rows of the ledger were changed");
    }
    Ok(())
}

pub async fn attempts(counter: &Counter<'_>, limit: u32) -> anyhow::Result<()> {
    let path = format!("/v1/attempts?limit={limit}");
    let attempts: Attempts = counter.client.get(&path, TIMEOUT).await.map_err(explain)?;
    if counter.json {
        return output::json(&attempts);
    }
    for attempt in &attempts.data {
        let terminal = attempt.terminal.map(|terminal| terminal.to_string()).unwrap_or_default();
        output::line(format_args!(
            "{}  {:13} {:24} {terminal}",
            attempt.at, attempt.operation, attempt.reason
        ))?;
    }
    Ok(())
}
