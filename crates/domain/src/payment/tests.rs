use proptest::prelude::*;

use super::*;
use crate::ledger::{CHAIN_START, ChainVerifier, TrialBalance};

const NOW: Timestamp = Timestamp::MAX;

fn eur(minor: i64) -> Amount {
    Amount::new(minor, "EUR".parse().unwrap()).unwrap()
}

fn then() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn merchant(number: u8) -> MerchantId {
    MerchantId::new(then(), [number; 10])
}

fn account(number: u8) -> AccountId {
    AccountId::new(then(), [number; 10])
}

fn code(number: u8, payer: u8) -> (CodeMac, Code) {
    let code = Code {
        code: PaymentCodeId::new(then(), [number; 10]),
        verification: VerificationId::new(then(), [number; 10]),
        sensor_grade: SensorGrade::Simulated,
        account: account(payer),
        merchant: merchant(1),
        store: StoreId::new(then(), [1; 10]),
        terminal: TerminalId::new(then(), [1; 10]),
        currency: "EUR".parse().unwrap(),
        amount_minor_max: 5_000,
        expires_at: NOW,
        revoked: false,
        consumed: false,
    };
    (CodeMac([number; 32]), code)
}

fn state(codes: impl IntoIterator<Item = (CodeMac, Code)>, balances: &[(u8, i64)]) -> State {
    let wallet = |(payer, balance_minor): &(u8, i64)| {
        let currency: Currency = "EUR".parse().unwrap();
        let wallet = Wallet {
            wallet: WalletId::new(then(), [*payer; 10]),
            account: account(*payer),
            account_state: AccountState::Active,
            currency,
            balance_minor: *balance_minor,
            held_minor: 0,
            version: 7,
        };
        ((account(*payer), currency), wallet)
    };
    State {
        slot: Slot { slot: 0, epoch: 1, sequence: 0, hash: CHAIN_START },
        payments: HashMap::new(),
        codes: codes.into_iter().collect(),
        wallets: balances.iter().map(wallet).collect(),
    }
}

fn charge(number: u8, order: &str, minor: i64) -> Request {
    Request::Charge(Charge {
        payment: PaymentId::new(then(), [number; 10]),
        merchant: merchant(1),
        order_ref: order.parse().unwrap(),
        amount: eur(minor),
        code: CodeMac([number; 32]),
    })
}

fn one(state: State, request: Request) -> Answer {
    decide(state, &[request], then()).0.remove(0)
}

fn refusal(state: State, request: Request) -> Refusal {
    match one(state, request) {
        Answer::Refused(refusal) => refusal,
        Answer::Done { .. } => panic!("expected a refusal"),
    }
}

#[test]
fn a_good_code_pays_and_the_row_carries_its_story() {
    let (answers, changes) = decide(state([code(1, 1)], &[(1, 1_000)]), &[charge(1, "o1", 250)], then());
    assert!(matches!(&answers[0], Answer::Done { replayed: false, payment } if payment.amount == eur(250)));
    assert_eq!(changes.wallets.len(), 1);
    assert_eq!((changes.wallets[0].balance_minor, changes.wallets[0].version_before), (750, 7));
    let row = &changes.rows[0].row;
    assert_eq!((row.sequence, row.amount_minor, row.code), (1, 250, Some(code(1, 1).1.code)));
    assert_eq!(changes.slot.unwrap().sequence, 1);
}

#[test]
fn one_code_pays_once_even_twice_in_one_batch() {
    let requests = [charge(1, "o1", 100), charge(1, "o2", 100)];
    let (answers, changes) = decide(state([code(1, 1)], &[(1, 1_000)]), &requests, then());
    assert!(matches!(answers[0], Answer::Done { .. }));
    assert_eq!(answers[1], Answer::Refused(Refusal::CodeAlreadyUsed));
    assert_eq!(changes.rows.len(), 1);
}

#[test]
fn two_codes_of_one_verification_pay_once() {
    let first = code(1, 1);
    let mut second = code(2, 1);
    second.1.verification = first.1.verification;
    let requests = [charge(1, "o1", 100), charge(2, "o2", 100)];
    let (answers, _) = decide(state([first, second], &[(1, 1_000)]), &requests, then());
    assert_eq!(answers[1], Answer::Refused(Refusal::CodeAlreadyUsed));
}

#[test]
fn the_same_order_again_is_the_same_payment_even_with_another_code() {
    let requests = [charge(1, "o1", 100), charge(2, "o1", 100), charge(9, "o1", 100)];
    let (answers, changes) =
        decide(state([code(1, 1), code(2, 2)], &[(1, 1_000), (2, 1_000)]), &requests, then());
    let Answer::Done { payment: first, replayed: false } = &answers[0] else { panic!() };
    for answer in &answers[1..] {
        assert_eq!(*answer, Answer::Done { payment: first.clone(), replayed: true });
    }
    assert_eq!(changes.rows.len(), 1);
}

#[test]
fn the_same_order_with_another_amount_is_a_conflict() {
    let requests = [charge(1, "o1", 100), charge(1, "o1", 101)];
    let (answers, _) = decide(state([code(1, 1)], &[(1, 1_000)]), &requests, then());
    assert!(
        matches!(&answers[1], Answer::Refused(Refusal::ReferenceConflict(payment)) if payment.amount == eur(100))
    );
}

#[test]
fn the_same_top_up_reference_for_another_wallet_is_a_conflict() {
    let top_up = |number: u8, payer: u8| {
        Request::TopUp(TopUp {
            payment: PaymentId::new(then(), [number; 10]),
            account: account(payer),
            top_up_ref: "t1".parse().unwrap(),
            amount: eur(100),
        })
    };
    let requests = [top_up(1, 1), top_up(2, 1), top_up(3, 2)];
    let (answers, changes) = decide(state([], &[(1, 0), (2, 0)]), &requests, then());
    assert!(matches!(answers[1], Answer::Done { replayed: true, .. }));
    assert!(matches!(answers[2], Answer::Refused(Refusal::ReferenceConflict(_))));
    assert_eq!((changes.rows.len(), changes.wallets.len()), (1, 1));
}

#[test]
fn a_decline_leaves_code_and_reference_free() {
    let requests = [charge(1, "o1", 400), charge(1, "o1", 300)];
    let (answers, _) = decide(state([code(1, 1)], &[(1, 300)]), &requests, then());
    assert_eq!(answers[0], Answer::Refused(Refusal::Declined(DeclineCode::InsufficientFunds)));
    assert!(matches!(answers[1], Answer::Done { replayed: false, .. }));
}

#[test]
fn held_money_cannot_be_spent() {
    let mut state = state([code(1, 1)], &[(1, 300)]);
    state.wallets.values_mut().for_each(|wallet| wallet.held_minor = 100);
    assert_eq!(refusal(state, charge(1, "o1", 201)), Refusal::Declined(DeclineCode::InsufficientFunds));
}

#[test]
fn refusals_come_in_their_documented_order() {
    // Everything is wrong at once; each step repairs what was named and meets the next refusal.
    let (mac, good) = code(1, 1);
    let mut bad = good.clone();
    (bad.merchant, bad.consumed, bad.revoked) = (merchant(2), true, true);
    (bad.expires_at, bad.currency, bad.amount_minor_max) = (then(), "USD".parse().unwrap(), 10);
    let mut frozen = AccountState::Frozen;
    let mut balance = 0;
    let mut named = Vec::new();
    loop {
        let mut state = state([(mac, bad.clone())], &[(1, balance)]);
        state.wallets.values_mut().for_each(|wallet| wallet.account_state = frozen);
        let Answer::Refused(refusal) = one(state, charge(1, "o1", 100)) else { break };
        match &refusal {
            Refusal::CodeNotFound => bad.merchant = good.merchant,
            Refusal::CodeAlreadyUsed => bad.consumed = false,
            Refusal::CodeRevoked => bad.revoked = false,
            Refusal::CodeExpired => bad.expires_at = good.expires_at,
            Refusal::CurrencyMismatch => bad.currency = good.currency,
            Refusal::Declined(DeclineCode::AccountFrozen) => frozen = AccountState::Active,
            Refusal::Declined(DeclineCode::LimitExceededSingle) => {
                bad.amount_minor_max = good.amount_minor_max
            }
            Refusal::Declined(DeclineCode::InsufficientFunds) => balance = 100,
            Refusal::ReferenceConflict(_) | Refusal::AccountNotFound => panic!("{refusal:?}"),
        }
        named.push(refusal);
    }
    use DeclineCode::{AccountFrozen, InsufficientFunds, LimitExceededSingle};
    let declines = [AccountFrozen, LimitExceededSingle, InsufficientFunds].map(Refusal::Declined);
    let mut expected = vec![
        Refusal::CodeNotFound,
        Refusal::CodeAlreadyUsed,
        Refusal::CodeRevoked,
        Refusal::CodeExpired,
        Refusal::CurrencyMismatch,
    ];
    expected.extend(declines);
    assert_eq!(named, expected);
}

#[test]
fn a_code_dies_in_the_very_millisecond_it_expires() {
    let (mac, mut good) = code(1, 1);
    good.expires_at = then() + std::time::Duration::from_millis(1);
    assert!(matches!(one(state([(mac, good.clone())], &[(1, 900)]), charge(1, "o", 1)), Answer::Done { .. }));
    good.expires_at = then();
    assert_eq!(refusal(state([(mac, good)], &[(1, 900)]), charge(1, "o", 1)), Refusal::CodeExpired);
}

#[test]
fn a_top_up_for_an_unknown_account_is_refused() {
    let request = Request::TopUp(TopUp {
        payment: PaymentId::new(then(), [1; 10]),
        account: account(9),
        top_up_ref: "t1".parse().unwrap(),
        amount: eur(100),
    });
    assert_eq!(refusal(state([], &[]), request), Refusal::AccountNotFound);
}

fn any_request() -> impl Strategy<Value = Request> {
    // A tiny key space, so that collisions are the rule.
    (0u8..5, 0u8..4, 1i64..400, any::<bool>()).prop_map(|(number, order, minor, top_up)| {
        if top_up {
            return Request::TopUp(TopUp {
                payment: PaymentId::new(then(), [100 + number; 10]),
                account: account(number % 3),
                top_up_ref: format!("t{order}").parse().unwrap(),
                amount: eur(minor),
            });
        }
        charge(number, &format!("o{order}"), minor)
    })
}

proptest! {
    #[test]
    fn no_batch_creates_money_overdraws_or_pays_a_code_twice(requests in prop::collection::vec(any_request(), 0..60)) {
        let start = state((0..5).map(|number| code(number, number % 3)), &[(0, 500), (1, 50), (2, 0)]);
        let (answers, changes) = decide(start, &requests, then());
        prop_assert_eq!(answers.len(), requests.len());
        let mut verifier = ChainVerifier::new(0);
        let mut balance = TrialBalance::default();
        let mut codes = std::collections::HashSet::new();
        let mut references = std::collections::HashSet::new();
        for chained in &changes.rows {
            verifier.push(chained).unwrap();
            balance.push(&chained.row);
            if let Some(code) = chained.row.code { prop_assert!(codes.insert(code)); }
            prop_assert!(references.insert((chained.row.caller, chained.row.kind, chained.row.reference.clone())));
        }
        prop_assert_eq!(balance.sum_minor("EUR".parse().unwrap()), 0);
        for change in &changes.wallets { prop_assert!(change.balance_minor >= 0); }
        let fresh = answers.iter().filter(|answer| matches!(answer, Answer::Done { replayed: false, .. })).count();
        prop_assert_eq!(fresh, changes.rows.len());
    }

    #[test]
    fn deciding_twice_gives_the_same(requests in prop::collection::vec(any_request(), 0..30)) {
        let start = || state((0..5).map(|number| code(number, number % 3)), &[(0, 500), (1, 50), (2, 0)]);
        prop_assert_eq!(decide(start(), &requests, then()), decide(start(), &requests, then()));
    }
}
