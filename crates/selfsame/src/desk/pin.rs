//! PINs, with which payers agree to payments above a limit.

use clap::Subcommand;
use selfsame_api::pin::{NewPin, PinState};
use selfsame_domain::id::{AccountId, VerificationId};

use crate::connection::{TIMEOUT, explain};
use crate::desk::Counter;
use crate::output;

#[derive(Subcommand, Debug)]
pub enum Pin {
    /// Set a PIN: the payer types it where it is not shown. To reset one that is set, the payer must have been verified
    /// just now
    Set {
        /// Whose
        account: AccountId,
        /// To reset: the payer's verification at a terminal, which must still be in force
        #[arg(long, value_name = "VERIFICATION")]
        verification: Option<VerificationId>,
    },
    /// Whether a PIN is set, and how many wrong tries are left
    Show {
        /// Whose
        account: AccountId,
    },
}

impl Pin {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let account = match self {
            Pin::Set { account, verification } => {
                let pin = output::ask_secret("new PIN, 4 to 12 digits: ")?;
                let new = NewPin { pin, verification };
                let path = format!("/v1/accounts/{account}/pin");
                counter.client.put::<()>(&path, &new, TIMEOUT).await.map_err(explain)?;
                account
            }
            Pin::Show { account } => account,
        };
        let state: PinState =
            counter.client.get(&format!("/v1/accounts/{account}/pin"), TIMEOUT).await.map_err(explain)?;
        let text = match (state.set, state.tries_left) {
            (false, _) => "no PIN is set".to_owned(),
            (true, 0) => "a PIN is set and locked".to_owned(),
            (true, left) => format!("a PIN is set; {left} wrong tries are left"),
        };
        counter.print(&state, text)
    }
}
