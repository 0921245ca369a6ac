//! Merchants and new terminals.

use clap::Args;
use selfsame_api::merchant::{CreatedMerchant, NewMerchant};
use selfsame_api::terminal::{CreatedTerminal, NewActivationCode, NewTerminal};
use selfsame_domain::id::{StoreId, TerminalId};
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
pub struct NewTerminalArguments {
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

impl NewTerminalArguments {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let new = NewTerminal { store: self.store, name: self.name, purpose: self.purpose };
        let made: CreatedTerminal =
            counter.client.post("/v1/terminals", &new, TIMEOUT).await.map_err(explain)?;
        print_code(counter, &made)
    }
}

fn print_code(counter: &Counter<'_>, made: &CreatedTerminal) -> anyhow::Result<()> {
    let (id, code, until) = (made.id, &made.activation_code.0, made.activation_expires_at);
    counter.print(made, format_args!("{id}  activation code {code}  until {until}"))
}

pub async fn activation_code(counter: &Counter<'_>, terminal: TerminalId) -> anyhow::Result<()> {
    let path = format!("/v1/terminals/{terminal}/activation-code");
    let made: CreatedTerminal =
        counter.client.post(&path, &NewActivationCode {}, TIMEOUT).await.map_err(explain)?;
    print_code(counter, &made)
}

pub async fn dismiss_clone_warning(counter: &Counter<'_>, terminal: TerminalId) -> anyhow::Result<()> {
    let path = format!("/v1/terminals/{terminal}/dismiss-clone-warning");
    let () = counter.client.post(&path, &serde_json::json!({}), TIMEOUT).await.map_err(explain)?;
    counter.print(&serde_json::json!({ "id": terminal }), format_args!("{terminal}  no warning"))
}
