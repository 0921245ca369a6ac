//! Test sites only: amounts and member numbers that end in a way that is hard to bring about, so that makers of tills
//! can try it. On live sites they are like any other. The tables are in `docs/payments.md`.

use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::account::{Identifier, IdentifierKind};
use selfsame_domain::money::Amount;
use selfsame_domain::payment::{DeclineCode, Refusal};
use selfsame_domain::site::Mode;
use selfsame_domain::verification::Fault;
use selfsame_store::Lookup;

use crate::payment::refusal_problem;
use crate::{Secrets, profile};

/// What an amount asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Magic {
    /// Declined; nothing happens.
    Decline(DeclineCode),
    /// Paid, but the answer is that nobody knows.
    LostAfterCommit,
    /// Not paid, and the answer is to try again.
    FailedBeforeCommit,
    /// The payer must confirm, whatever the limits say.
    AskPayer,
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
            4_406 => Some(Magic::AskPayer),
            _ => None,
        }
    }

    /// The answer that is given instead of deciding.
    pub(crate) fn before(self) -> Option<Problem> {
        match self {
            Magic::Decline(code) => Some(refusal_problem(Refusal::Declined(code))),
            Magic::FailedBeforeCommit => Some(Problem::new(ProblemCode::Unavailable)),
            Magic::LostAfterCommit | Magic::AskPayer => None,
        }
    }

    /// The answer that is given instead of the one that was decided.
    pub(crate) fn after(self) -> Option<Problem> {
        (self == Magic::LostAfterCommit).then(|| Problem::new(ProblemCode::OutcomeUnknown))
    }
}

/// What a member number asks for, whatever the samples show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MagicPayer {
    /// It is this payer.
    Pass,
    /// It is somebody else.
    NoMatch,
    /// More digits are needed.
    Ambiguous,
    /// Attack detection refuses.
    Attack,
    /// Something of ours breaks.
    Fault(Fault),
}

impl MagicPayer {
    /// Member numbers with a fate.
    const NUMBERS: [(&str, MagicPayer); 5] = [
        ("TEST-0000", MagicPayer::Pass),
        ("TEST-0001", MagicPayer::NoMatch),
        ("TEST-0002", MagicPayer::Ambiguous),
        ("TEST-0003", MagicPayer::Attack),
        ("TEST-0004", MagicPayer::Fault(Fault::MatcherUnavailable)),
    ];

    /// By the lookup of a verification, which keeps the number itself from everybody.
    pub(crate) fn of(mode: Mode, secrets: &Secrets, lookup: Lookup) -> Option<Self> {
        if mode != Mode::Test || lookup.kind != IdentifierKind::MemberNumber {
            return None;
        }
        let asked = |number: &str| {
            let number = Identifier::parse(IdentifierKind::MemberNumber, number);
            profile::lookup(secrets, &number.expect("a valid member number")) == lookup
        };
        Self::NUMBERS.into_iter().find(|(number, _)| asked(number)).map(|(_, magic)| magic)
    }
}
