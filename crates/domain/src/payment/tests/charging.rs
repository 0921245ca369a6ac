use super::*;
use crate::limit::{Hours, Limits};
use DeclineCode::*;

#[test]
fn a_good_code_pays_and_the_row_carries_its_story() {
    let mut world = World::new(&[1_000]);
    let payment = world.done(world.charge(0, "o1", 250));
    assert_eq!((payment.status, payment.amount, payment.paid_minor), (Status::Succeeded, eur(250), 250));
    assert_eq!(world.balance(0), (750, 0));
    let row = &world.rows.last().unwrap().row;
    assert_eq!((row.sequence, row.amount_minor, row.code), (2, 250, Some(code(0).code)));
    assert_eq!(payment.receipt, ReceiptNumber::new(0, 2));
}

#[test]
fn one_code_pays_once_even_twice_in_one_batch() {
    let mut world = World::new(&[1_000]);
    let second = Charge { payment: PaymentId::new(then(), [99; 10]), ..world.charging(0, "o2", 100) };
    let answers = world.batch(&[world.charge(0, "o1", 100), Request::Charge(second)]);
    assert!(matches!(answers[0], Answer::Done { .. }));
    assert_eq!(answers[1], Answer::Refused(Refusal::CodeAlreadyUsed));
    assert_eq!(world.refused(world.charge(0, "o3", 1)), Refusal::CodeAlreadyUsed);
}

#[test]
fn two_codes_of_one_verification_pay_once() {
    let mut world = World::new(&[1_000]);
    world.codes.get_mut(&(merchant(1), mac(3))).unwrap().verification = code(0).verification;
    let second = Charge { payment: PaymentId::new(then(), [99; 10]), ..world.charging(3, "o2", 100) };
    let answers = world.batch(&[world.charge(0, "o1", 100), Request::Charge(second)]);
    assert_eq!(answers[1], Answer::Refused(Refusal::CodeAlreadyUsed));
}

#[test]
fn the_same_order_again_is_the_same_payment_even_with_another_code() {
    let mut world = World::new(&[1_000, 1_000]);
    let requests = [world.charge(0, "o1", 100), world.charge(1, "o1", 100), world.charge(9, "o1", 100)];
    let answers = world.batch(&requests);
    let Answer::Done { payment: first, replayed: false } = &answers[0] else { panic!() };
    for answer in &answers[1..] {
        assert_eq!(*answer, Answer::Done { payment: first.clone(), replayed: true });
    }
    assert_eq!(world.rows.len(), 3);
    assert_eq!(world.replayed(world.charge(0, "o1", 100)), *first);
}

#[test]
fn the_same_order_with_another_amount_or_as_a_hold_is_a_conflict() {
    let mut world = World::new(&[1_000]);
    world.done(world.charge(0, "o1", 100));
    for other in [world.charge(0, "o1", 101), world.hold(0, "o1", 100)] {
        let Refusal::ReferenceConflict(payment) = world.refused(other) else { panic!() };
        assert_eq!(payment.amount, eur(100));
    }
}

#[test]
fn a_decline_leaves_code_and_reference_free() {
    let mut world = World::new(&[300]);
    assert_eq!(world.refused(world.charge(0, "o1", 400)), Refusal::Declined(InsufficientFunds));
    world.done(world.charge(0, "o1", 300));
}

#[test]
fn refusals_come_in_their_documented_order() {
    // Everything is wrong at once; each step repairs what was named and meets the next refusal.
    let mut world = World::new(&[0]);
    let key = (merchant(1), mac(0));
    world.codes.remove(&key);
    let mut bad = Code {
        consumed: true,
        revoked: true,
        expires_at: then(),
        currency: "USD".parse().unwrap(),
        amount_minor_max: 10,
        ..code(0)
    };
    world.merchant.category = Some("alcohol".parse().unwrap());
    world.terms.site = Limits {
        day_minor_max: Some(1),
        day_count_max: Some(0),
        step_up_above_minor: Some(0),
        hours: Some(Hours::new(0, 1).unwrap()),
        categories_blocked: vec!["alcohol".parse().unwrap()],
        ..Limits::default()
    };
    world.merchant.guesses = Guesses { hour: then().as_millis() / 3_600_000, count: GUESSES_PER_HOUR };
    world.wallets.get_mut(&wallet(0)).unwrap().account_state = AccountState::Frozen;
    let mut asked = world.charging(0, "o1", 100);
    asked.parts = Some(Parts { goods_minor: 100, tip_minor: 1, deposit_minor: 0 });
    asked.hold_until = Some(then());
    let mut named = Vec::new();
    while let Answer::Refused(refusal) = world.one(Request::Charge(asked.clone())) {
        let site = &mut world.terms.site;
        match &refusal {
            Refusal::PartsDoNotAddUp => asked.parts = None,
            Refusal::HoldTooShort => asked.hold_until = None,
            Refusal::TooManyGuesses => world.merchant.guesses = Guesses::default(),
            Refusal::CodeNotFound => {}
            Refusal::CodeAlreadyUsed => bad.consumed = false,
            Refusal::CodeRevoked => bad.revoked = false,
            Refusal::CodeExpired => bad.expires_at = Timestamp::MAX,
            Refusal::CurrencyMismatch => bad.currency = code(0).currency,
            Refusal::Declined(AccountFrozen) => {
                world.wallets.get_mut(&wallet(0)).unwrap().account_state = AccountState::Active
            }
            Refusal::Declined(CategoryBlocked) => site.categories_blocked.clear(),
            Refusal::Declined(OutsideHours) => site.hours = None,
            Refusal::Declined(LimitExceededSingle) => bad.amount_minor_max = 100,
            Refusal::Declined(LimitExceededDay) => site.day_minor_max = None,
            Refusal::Declined(LimitExceededCount) => site.day_count_max = None,
            Refusal::Declined(InsufficientFunds) => {
                world.done(world.top_up(0, "late", 100));
                asked.payment = world.next();
            }
            Refusal::Declined(ConfirmationUnavailable) => world.payer.has_pin = true,
            other => panic!("{other:?}"),
        }
        named.push(refusal);
        if named.contains(&Refusal::CodeNotFound) {
            world.codes.insert(key, bad.clone());
        }
    }
    let declines = [
        AccountFrozen,
        CategoryBlocked,
        OutsideHours,
        LimitExceededSingle,
        LimitExceededDay,
        LimitExceededCount,
        InsufficientFunds,
        ConfirmationUnavailable,
    ];
    let mut expected = vec![
        Refusal::PartsDoNotAddUp,
        Refusal::HoldTooShort,
        Refusal::TooManyGuesses,
        Refusal::CodeNotFound,
        Refusal::CodeAlreadyUsed,
        Refusal::CodeRevoked,
        Refusal::CodeExpired,
        Refusal::CurrencyMismatch,
    ];
    expected.extend(declines.map(Refusal::Declined));
    assert_eq!(named, expected);
}

#[test]
fn a_code_dies_in_the_very_millisecond_it_expires() {
    let mut world = World::new(&[900]);
    let end = then() + std::time::Duration::from_millis(1);
    for number in [0, 3] {
        world.codes.get_mut(&(merchant(1), mac(number))).unwrap().expires_at = end;
    }
    world.done(world.charge(0, "o1", 1));
    world.now = end;
    assert_eq!(world.refused(world.charge(3, "o2", 1)), Refusal::CodeExpired);
}

#[test]
fn a_merchant_that_guesses_is_stopped_for_the_hour() {
    let mut world = World::new(&[900]);
    let guess =
        |world: &World| Request::Charge(Charge { code: CodeMac([200; 32]), ..world.charging(0, "g", 1) });
    for _ in 0..GUESSES_PER_HOUR {
        assert_eq!(world.refused(guess(&world)), Refusal::CodeNotFound);
    }
    assert_eq!(world.refused(guess(&world)), Refusal::TooManyGuesses);
    assert_eq!(world.refused(world.charge(0, "o1", 1)), Refusal::TooManyGuesses);
    world.now = world.now + HOUR;
    world.done(world.charge(0, "o1", 1));
}

#[test]
fn subsidies_pay_for_goods_only_and_first() {
    let mut world = World::new(&[1_000]);
    world.add_wallet(subsidy(0), 0, Purpose::Subsidy);
    let grant = TopUp {
        payment: world.next(),
        account: account(0),
        purpose: Purpose::Subsidy,
        top_up_ref: "s1".parse().unwrap(),
        amount: eur(300),
        actor: None,
    };
    world.done(Request::TopUp(grant));
    let parts = Some(Parts { goods_minor: 400, tip_minor: 50, deposit_minor: 25 });
    let payment = world.done(Request::Charge(Charge { parts, ..world.charging(0, "o1", 475) }));
    let legs: Vec<_> = payment.legs.iter().map(|leg| (leg.part, leg.wallet, leg.amount_minor)).collect();
    assert_eq!(
        legs,
        [
            (Part::Goods, subsidy(0), 300),
            (Part::Goods, wallet(0), 100),
            (Part::Tip, wallet(0), 50),
            (Part::Deposit, wallet(0), 25),
        ]
    );
    assert_eq!(world.balance(0), (825, 0));
}

#[test]
fn parts_that_are_not_the_amount_are_refused() {
    let mut world = World::new(&[1_000]);
    for (goods_minor, tip_minor, deposit_minor) in
        [(99, 0, 0), (100, 1, 0), (101, -1, 0), (i64::MAX, 1, 0), (0, 0, 0)]
    {
        let parts = Some(Parts { goods_minor, tip_minor, deposit_minor });
        let asked = Request::Charge(Charge { parts, ..world.charging(0, "o1", 100) });
        assert_eq!(world.refused(asked), Refusal::PartsDoNotAddUp);
    }
}

#[test]
fn limits_of_the_day_count_within_one_batch_and_begin_anew_at_midnight() {
    let mut world = World::new(&[10_000, 10_000]);
    world.payer.limits.day_minor_max = Some(500);
    let second = Charge { payment: PaymentId::new(then(), [99; 10]), ..world.charging(3, "o2", 300) };
    let answers = world.batch(&[world.charge(0, "o1", 300), Request::Charge(second)]);
    assert!(matches!(answers[0], Answer::Done { .. }));
    assert_eq!(answers[1], Answer::Refused(Refusal::Declined(LimitExceededDay)));
    world.done(world.charge(1, "o3", 300));
    assert_eq!(world.refused(world.charge(3, "o2", 201)), Refusal::Declined(LimitExceededDay));
    world.now = world.terms.business_day.start(world.now + 24 * HOUR);
    world.done(world.charge(3, "o2", 500));
}

#[test]
fn a_grade_has_caps_of_its_own_and_the_strictest_layer_counts() {
    let mut world = World::new(&[10_000]);
    let cap = Limits { payment_minor_max: Some(100), ..Limits::default() };
    world.terms.by_grade.insert(SensorGrade::Simulated, cap);
    world.payer.guardian.day_count_max = Some(1);
    assert_eq!(world.refused(world.charge(0, "o1", 101)), Refusal::Declined(LimitExceededSingle));
    world.done(world.charge(0, "o1", 100));
    assert_eq!(world.refused(world.charge(3, "o2", 1)), Refusal::Declined(LimitExceededCount));
}

#[test]
fn a_top_up_again_is_the_same_and_for_another_account_a_conflict() {
    let mut world = World::new(&[0, 0]);
    world.done(world.top_up(0, "t1", 100));
    world.replayed(world.top_up(0, "t1", 100));
    assert!(matches!(world.refused(world.top_up(1, "t1", 100)), Refusal::ReferenceConflict(_)));
    assert!(matches!(world.refused(world.top_up(0, "t1", 101)), Refusal::ReferenceConflict(_)));
    assert_eq!(world.refused(world.top_up(9, "t2", 100)), Refusal::AccountNotFound);
    let withdraw = |world: &World, minor| {
        Request::Withdraw(Withdraw {
            payment: world.next(),
            account: account(0),
            withdrawal_ref: "w1".parse().unwrap(),
            amount: eur(minor),
            actor: None,
        })
    };
    assert_eq!(world.refused(withdraw(&world, 101)), Refusal::Declined(InsufficientFunds));
    world.done(withdraw(&world, 100));
    world.replayed(withdraw(&world, 100));
    assert_eq!(world.balance(0), (0, 0));
}

#[test]
fn an_adjustment_needs_a_second_person() {
    let mut world = World::new(&[100]);
    let adjust = |world: &World, raise, minor| {
        Request::Adjust(Adjust {
            payment: world.next(),
            adjustment_ref: format!("a-{raise}-{minor}").parse().unwrap(),
            adjusted: Adjusted::Account(account(0)),
            raise,
            amount: eur(minor),
            actor: person(1),
        })
    };
    let decide = |world: &World, adjustment, approved, number| {
        let actor = person(number);
        Request::DecideAdjustment(DecideAdjustment { payment: world.next(), adjustment, approved, actor })
    };
    let proposed = world.done(adjust(&world, true, 50)).payment;
    assert_eq!(world.balance(0), (100, 0));
    world.replayed(adjust(&world, true, 50));
    assert_eq!(world.refused(decide(&world, proposed, true, 1)), Refusal::SamePerson);
    assert_eq!(world.done(decide(&world, proposed, true, 2)).status, Status::Succeeded);
    world.replayed(decide(&world, proposed, true, 2));
    assert!(matches!(world.refused(decide(&world, proposed, false, 2)), Refusal::InvalidState(_)));
    assert_eq!(world.balance(0), (150, 0));
    let too_much = world.done(adjust(&world, false, 151)).payment;
    assert_eq!(world.refused(decide(&world, too_much, true, 2)), Refusal::Declined(InsufficientFunds));
    assert_eq!(world.done(decide(&world, too_much, false, 1)).status, Status::Canceled);
    assert_eq!(world.balance(0), (150, 0));
}
