//! Merchants and terminals.

use clap::Args;
use selfsame_api::merchant::{CreatedMerchant, NewMerchant};
use selfsame_api::terminal::{CreatedTerminal, NewTerminal};
use selfsame_domain::id::StoreId;
use selfsame_domain::reference::Reference;
use selfsame_domain::terminal::Purpose;

use crate::connection::{TIMEOUT, explain};
use crate::desk::{Counter, reference};

/// Make a merchant with one store; its key is shown this once
#[derive(Args, Debug)]
pub struct Merchant {
    /// Name of the merchant
    name: String,
    /// Name of its store
    #[arg(long, default_value = "Store 1")]
    store: String,
    /// Reference of this request; the same again is refused, because the key is shown only once
    #[arg(long = "ref", value_name = "REF")]
    request_ref: Option<Reference>,
}

/// Make a terminal that waits for `selfsame activate`
#[derive(Args, Debug)]
pub struct Terminal {
    /// Where it stands
    store: StoreId,
    /// Name of the terminal
    name: String,
    /// What it is for: till or desk
    #[arg(long, default_value = "till")]
    purpose: Purpose,
}

impl Merchant {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let new = NewMerchant {
            request_ref: reference(self.request_ref)?,
            name: self.name,
            store_name: self.store,
        };
        let made: CreatedMerchant =
            counter.client.post("/v1/merchants", &new, TIMEOUT).await.map_err(explain)?;
        counter.print(&made, format_args!("{}  store {}  key {}", made.id, made.store, made.key.0))
    }
}

impl Terminal {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let new = NewTerminal { store: self.store, name: self.name, purpose: self.purpose };
        let made: CreatedTerminal =
            counter.client.post("/v1/terminals", &new, TIMEOUT).await.map_err(explain)?;
        let (id, code, until) = (made.id, &made.activation_code.0, made.activation_expires_at);
        counter.print(&made, format_args!("{id}  activation code {code}  until {until}"))
    }
}
