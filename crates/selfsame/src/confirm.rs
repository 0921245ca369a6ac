//! `selfsame confirm`: the payer's side of a step-up at this machine's terminal, as a command: merchant and exact amount
//! are shown, and the payer agrees or not.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use selfsame_api::channel::TerminalPayment;
use selfsame_api::client::ClientError;
use selfsame_api::interface::{Cancel, CancelReason, Confirmation, Session, TerminalStatus};
use selfsame_api::payment::PaymentStatus;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::id::SessionId;

use crate::connection::{TIMEOUT, explain_terminal};
use crate::output;
use crate::site::Site;
use crate::verify::AtTerminal;

/// Pause between two looks at whether a payment waits.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest wait for the answer to a PIN.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// Show the payer merchant and exact amount of a payment that waits at this machine's terminal, and let them agree
///
/// Payments above a limit, and those of people who look much like somebody else, wait for the payer: the till says
/// WAITING FOR THE PAYER. The PIN is asked for without showing it; when standard input is no terminal, its first line
/// is the PIN.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame confirm                 wait for a payment, show it, ask for the PIN
  selfsame confirm --gesture       agree without a PIN, where the site's rules let a gesture confirm
  selfsame confirm --refuse        the payer does not want it

Exit codes: 0 the payment is confirmed (with --refuse: given up), 1 not, 2 used wrongly.")]
pub struct Confirm {
    /// Agree by a gesture
    #[arg(long, conflicts_with = "refuse")]
    gesture: bool,
    /// Give the payment up
    #[arg(long)]
    refuse: bool,
    /// How long to wait until a payment is there, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=600))]
    wait_seconds: u64,
}

impl Confirm {
    /// Waits for a payment, shows it, and brings the payer's answer to the terminal.
    pub async fn run(self, site: &Site) -> anyhow::Result<ExitCode> {
        let at = AtTerminal::new(site)?;
        let waiting = tokio::time::timeout(Duration::from_secs(self.wait_seconds), waiting(&at)).await;
        let Ok(waiting) = waiting else {
            output::note("no payment waits for the payer at this terminal");
            return Ok(ExitCode::FAILURE);
        };
        let (session, payment) = waiting?;
        output::note(format_args!("{}  {}", payment.merchant_name, payment.amount));
        let answered = if self.refuse {
            at.cancel(session, &Cancel { reason: CancelReason::Payer }).await
        } else {
            let pin = if self.gesture { None } else { Some(output::ask_secret("PIN: ")?) };
            at.confirm(session, &Confirmation { pin }).await
        };
        let session = match answered {
            Ok(session) => session,
            Err(error) if error.problem().is_some_and(|problem| is_answer(problem.code)) => {
                output::note(format_args!("NOT CONFIRMED: {error}"));
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => return Err(explain_terminal(error)),
        };
        let status = session.payment.map(|payment| payment.status);
        output::line(if status == Some(PaymentStatus::Succeeded) { "CONFIRMED" } else { "GIVEN UP" })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the server says to a payer who does something wrong.
fn is_answer(code: ProblemCode) -> bool {
    use ProblemCode as Code;
    matches!(
        code,
        Code::PinWrong | Code::PinLocked | Code::PinRequired | Code::PaymentExpired | Code::InvalidState
    )
}

/// The session and the payment that wait here.
async fn waiting(at: &AtTerminal) -> anyhow::Result<(SessionId, TerminalPayment)> {
    loop {
        let status: TerminalStatus =
            at.interface().get("/v1/terminal", TIMEOUT).await.map_err(explain_terminal)?;
        if let Some(session) = status.to_confirm {
            let path = format!("/v1/verifications/{session}");
            let found: Session = at.interface().get(&path, TIMEOUT).await.map_err(explain_terminal)?;
            if let Some(payment) = found.payment {
                return Ok((session, payment));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl AtTerminal {
    /// The payer agrees to the payment that waits.
    pub async fn confirm(
        &self,
        session: SessionId,
        confirmation: &Confirmation,
    ) -> Result<Session, ClientError> {
        let path = format!("/v1/verifications/{session}/confirmation");
        self.interface().post(&path, confirmation, ANSWER_TIMEOUT).await
    }

    /// Gives a verification up, and the payment that waits.
    pub async fn cancel(&self, session: SessionId, cancel: &Cancel) -> Result<Session, ClientError> {
        self.interface().post(&format!("/v1/verifications/{session}/cancel"), cancel, ANSWER_TIMEOUT).await
    }
}
