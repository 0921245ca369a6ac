//! Test sites only: amounts that end in a way that is hard to bring about, so that makers of tills can try it.
//! On live sites these amounts are like any other. The table is in `docs/payments.md`.

use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{DeclineCode, Refusal};
use selfsame_domain::site::Mode;

use crate::payment::refusal_problem;

/// What an amount asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Magic {
    /// Declined; nothing happens.
    Decline(DeclineCode),
    /// Paid, but the answer is that nobody knows.
    LostAfterCommit,
    /// Not paid, and the answer is to try again.
    FailedBeforeCommit,
}

impl Magic {
    /// By the minor units, in whatever currency.
    pub(crate) fn of(mode: Mode, amount: Amount) -> Option<Self> {
        if mode != Mode::Test {
            return None;
        }
        match amount.minor() {
            4_401 => Some(Magic::Decline(DeclineCode::InsufficientFunds)),
            4_402 => Some(Magic::Decline(DeclineCode::LimitExceededDay)),
            4_403 => Some(Magic::LostAfterCommit),
            4_404 => Some(Magic::FailedBeforeCommit),
            4_405 => Some(Magic::Decline(DeclineCode::AccountFrozen)),
            _ => None,
        }
    }

    /// The answer that is given instead of deciding.
    pub(crate) fn before(self) -> Option<Problem> {
        match self {
            Magic::Decline(code) => Some(refusal_problem(Refusal::Declined(code))),
            Magic::FailedBeforeCommit => Some(Problem::new(ProblemCode::Unavailable)),
            Magic::LostAfterCommit => None,
        }
    }

    /// The answer that is given instead of the one that was decided.
    pub(crate) fn after(self) -> Option<Problem> {
        (self == Magic::LostAfterCommit).then(|| Problem::new(ProblemCode::OutcomeUnknown))
    }
}
