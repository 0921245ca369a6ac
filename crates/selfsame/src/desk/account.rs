//! Accounts and the money paid into them.

use clap::{Args, Subcommand};
use selfsame_api::account::{Account as ApiAccount, NewAccount};
use selfsame_api::payment::Payment;
use selfsame_api::top_up::NewTopUp;
use selfsame_domain::id::AccountId;
use selfsame_domain::money::{Amount, display_minor};
use selfsame_domain::reference::Reference;

use crate::connection::{TIMEOUT, explain};
use crate::desk::{Counter, reference};
use crate::output::Usage;

#[derive(Subcommand, Debug)]
pub enum Account {
    Create(Create),
    /// Show an account with its wallets
    Show {
        /// The account
        account: AccountId,
    },
}

/// Make an account with an empty wallet
#[derive(Args, Debug)]
pub struct Create {
    /// The person's name; terminals show its first letter
    #[arg(long)]
    name: String,
    /// Phone number with country code; the payer may type its last four digits
    #[arg(long, required_unless_present = "member_number")]
    phone: Option<String>,
    /// Member, student or staff number
    #[arg(long)]
    member_number: Option<String>,
    /// Reference of this request, unique for ever: the same again answers the same account
    #[arg(long = "ref", value_name = "REF")]
    request_ref: Option<Reference>,
}

/// Pay money into a wallet
#[derive(Args, Debug)]
pub struct TopUp {
    /// Whose wallet
    account: AccountId,
    /// How much, for example 20.00
    amount: String,
    /// Reference of this top-up, unique for ever: the same again pays in once
    #[arg(long = "ref", value_name = "REF")]
    top_up_ref: Option<Reference>,
}

impl Account {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let account: ApiAccount = match self {
            Account::Create(create) => {
                let new = NewAccount {
                    request_ref: reference(create.request_ref)?,
                    display_name: create.name,
                    phone: create.phone,
                    member_number: create.member_number,
                };
                counter.client.post("/v1/accounts", &new, TIMEOUT).await.map_err(explain)?
            }
            Account::Show { account } => show(counter, account).await?,
        };
        let wallet =
            |wallet: &selfsame_api::account::Wallet| display_minor(wallet.balance_minor, wallet.currency);
        let wallets: Vec<_> = account.wallets.iter().map(wallet).collect();
        let (id, state, name) = (account.id, account.state, &account.display_name);
        counter.print(&account, format_args!("{id}  {state}  {}  {name}", wallets.join(", ")))
    }
}

async fn show(counter: &Counter<'_>, account: AccountId) -> anyhow::Result<ApiAccount> {
    counter.client.get(&format!("/v1/accounts/{account}"), TIMEOUT).await.map_err(explain)
}

impl TopUp {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let account = show(counter, self.account).await?;
        let wallet = account.wallets.first().ok_or_else(|| anyhow::anyhow!("this account has no wallet"))?;
        let amount = Amount::parse(&self.amount, wallet.currency);
        let amount = amount.map_err(|error| Usage(error.to_string()))?;
        let new = NewTopUp {
            top_up_ref: reference(self.top_up_ref)?,
            account: self.account,
            amount,
            purpose: None,
        };
        let answer =
            counter.client.post_answer::<Payment>("/v1/top-ups", &new, TIMEOUT).await.map_err(explain)?;
        let again =
            if answer.replayed { " (under this reference before; nothing was paid in now)" } else { "" };
        let payment = answer.body;
        counter.print(&payment, format_args!("paid in {}  {}{again}", payment.amount, payment.id))
    }
}
