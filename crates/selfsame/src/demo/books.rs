//! The end of the demo: the books add up, and nobody changed them.

use anyhow::{Context, ensure};
use selfsame_api::account::Account;
use selfsame_api::ledger::{Chain, TrialBalance};
use selfsame_domain::id::WalletId;
use selfsame_domain::ledger::LedgerAccount;
use selfsame_domain::money::display_minor;

use crate::connection::{TIMEOUT, explain};
use crate::demo::Stage;
use crate::demo::payment::merchant_balance;
use crate::demo::people::People;
use crate::demo::screen::{Checked, Screen};

/// Trial balance and hash chain.
pub async fn show(stage: &Stage<'_>, people: &People, screen: &mut Screen) -> anyhow::Result<()> {
    let books: TrialBalance =
        stage.operator.get("/v1/ledger/trial-balance", TIMEOUT).await.map_err(explain)?;
    let owners = owners(stage, people).await?;
    for line in &books.lines {
        let name = match line.account {
            LedgerAccount::Cash => "cash paid in over the counter".to_owned(),
            LedgerAccount::Wallet(wallet) => {
                let owner = owners.iter().find(|(owned, _)| *owned == wallet).map(|(_, name)| *name);
                format!("owed to {}, in a wallet", owner.unwrap_or("nobody"))
            }
            LedgerAccount::Merchant(_) => "owed to the merchant".to_owned(),
            other => other.to_string(),
        };
        screen.step(&name, format_args!("{:>12}", display_minor(line.balance_minor, books.currency)))?;
    }
    screen.check("trial balance", balanced(stage, people, &books).await)?;
    screen.check("hash chain of the ledger", chained(stage, people).await)
}

/// Whose wallet is which.
async fn owners(stage: &Stage<'_>, people: &People) -> anyhow::Result<Vec<(WalletId, &'static str)>> {
    let mut owners = Vec::new();
    let first = [&people.ada, &people.ben, &people.cleo, &people.dan];
    let first = first.into_iter().map(|person| (person.account, person.name));
    for (account, name) in first.chain(people.others.iter().copied()) {
        let path = format!("/v1/accounts/{account}");
        let account: Account = stage.operator.get(&path, TIMEOUT).await.map_err(explain)?;
        owners.extend(account.wallets.iter().map(|wallet| (wallet.id, name)));
    }
    Ok(owners)
}

async fn balanced(stage: &Stage<'_>, people: &People, books: &TrialBalance) -> Checked {
    ensure!(books.sum_minor == 0, "the sum is {}", books.sum_minor);
    ensure!(books.wallets_that_differ == 0, "{} wallets differ from their rows", books.wallets_that_differ);
    let of = |wanted: &dyn Fn(LedgerAccount) -> bool| -> i64 {
        books.lines.iter().filter(|line| wanted(line.account)).map(|line| line.balance_minor).sum()
    };
    let cash = of(&|account| account == LedgerAccount::Cash);
    ensure!(cash == -people.paid_in_minor, "cash is {cash}, but {} was paid in", people.paid_in_minor);
    let merchants = of(&|account| matches!(account, LedgerAccount::Merchant(_)));
    let balance = merchant_balance(stage).await?;
    ensure!(merchants == balance, "merchants have {merchants}, the one merchant that was paid {balance}");
    let zero = display_minor(books.sum_minor, books.currency);
    Ok(format!(
        "sum {zero}, recomputed from every row; wallets agree; money paid in equals money in wallets and owed"
    ))
}

async fn chained(stage: &Stage<'_>, people: &People) -> Checked {
    let chain: Chain = stage.operator.get("/v1/ledger/chain", TIMEOUT).await.map_err(explain)?;
    for slot in &chain.slots {
        if let Some(error) = &slot.error {
            anyhow::bail!("slot {} is broken: {error}", slot.slot);
        }
    }
    let rows: u64 = chain.slots.iter().map(|slot| slot.rows).sum();
    ensure!(rows == people.rows, "{rows} rows, but {} movements of money", people.rows);
    let head = chain.slots.first().map(|slot| slot.head.as_str()).context("there is no slot")?;
    Ok(format!(
        "verified from the first row: {rows} rows for {rows} movements of money, head {}...",
        &head[..16]
    ))
}
