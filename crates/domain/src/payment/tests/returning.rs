use super::*;

fn reversed(world: &mut World, order: &str) -> (Option<Payment>, i64, bool) {
    match world.one(world.reverse(order)) {
        Answer::Reversed { payment, returned_minor, replayed } => (payment, returned_minor, replayed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_that_was_never_seen_is_reversed_for_ever() {
    let mut world = World::new(&[1_000]);
    assert_eq!(reversed(&mut world, "o1"), (None, 0, false));
    assert_eq!(reversed(&mut world, "o1"), (None, 0, true));
    assert_eq!(world.refused(world.charge(0, "o1", 100)), Refusal::OrderReversed);
    assert_eq!(world.refused(world.refund("r1", "o1", 100)), Refusal::OrderReversed);
    assert_eq!(world.balance(0), (1_000, 0));
    // The code was not touched by the late charge.
    world.done(world.charge(0, "o2", 100));
}

#[test]
fn a_charge_behind_its_reversal_in_one_batch_is_late() {
    let mut world = World::new(&[1_000]);
    let late = Charge { payment: PaymentId::new(then(), [99; 10]), ..world.charging(0, "o1", 100) };
    let answers = world.batch(&[world.reverse("o1"), Request::Charge(late)]);
    assert_eq!(answers[1], Answer::Refused(Refusal::OrderReversed));
}

#[test]
fn a_reversal_gives_everything_back_once_on_the_same_day() {
    let mut world = World::new(&[1_000]);
    world.done(world.charge(0, "o1", 100));
    world.done(world.refund("r1", "o1", 30));
    let (payment, returned_minor, replayed) = reversed(&mut world, "o1");
    assert_eq!((payment.unwrap().status, returned_minor, replayed), (Status::Reversed, 70, false));
    assert_eq!((reversed(&mut world, "o1").2, world.balance(0)), (true, (1_000, 0)));
    assert_eq!(world.refused(world.charge(0, "o1", 100)), Refusal::OrderReversed);
    assert_eq!(world.refused(world.refund("r2", "o1", 1)), Refusal::OrderReversed);
    world.done(world.charge(3, "o2", 100));
    world.now = world.now + 24 * HOUR;
    assert_eq!(world.refused(world.reverse("o2")), Refusal::ReversalTooLate);
}

#[test]
fn a_reversal_releases_what_is_held_and_leaves_what_ended() {
    let mut world = World::new(&[1_000]);
    world.done(world.hold(0, "o1", 600));
    assert_eq!((reversed(&mut world, "o1").1, world.balance(0)), (600, (1_000, 0)));
    assert!(reversed(&mut world, "o1").2);
    assert!(matches!(world.refused(world.hold(0, "o1", 600)), Refusal::OrderClosed(_)));
}

#[test]
fn a_payment_refunded_to_the_end_can_still_be_reversed() {
    let mut world = World::new(&[1_000]);
    world.done(world.charge(0, "o1", 100));
    world.done(world.refund("r1", "o1", 100));
    assert_eq!(reversed(&mut world, "o1").1, 0);
    assert!(reversed(&mut world, "o1").2);
}

#[test]
fn refunds_never_exceed_what_was_paid() {
    let mut world = World::new(&[1_000]);
    let payment = world.done(world.charge(0, "o1", 100));
    let refund = world.done(world.refund("r1", "o1", 60));
    assert_eq!((refund.parent, refund.amount), (Some(payment.payment), eur(60)));
    assert_eq!(world.replayed(world.refund("r1", "o1", 60)).payment, refund.payment);
    assert!(matches!(world.refused(world.refund("r1", "o1", 50)), Refusal::ReferenceConflict(_)));
    assert_eq!(world.refused(world.refund("r2", "o1", 41)), Refusal::RefundAbovePaid(40));
    let second = Refund { payment: PaymentId::new(then(), [99; 10]), ..world.refunding("r3", "o1", 40) };
    let answers = world.batch(&[world.refund("r2", "o1", 40), Request::Refund(second)]);
    assert!(matches!(answers[0], Answer::Done { replayed: false, .. }));
    assert_eq!(answers[1], Answer::Refused(Refusal::RefundAbovePaid(0)));
    assert_eq!(world.balance(0), (1_000, 0));
}

#[test]
fn refunds_are_refused_by_name() {
    let mut world = World::new(&[1_000]);
    world.done(world.charge(0, "o1", 100));
    let held = world.done(world.hold(3, "o2", 100));
    let refund = world.done(world.refund("r1", "o1", 10));
    let of = |world: &World, target| Request::Refund(Refund { target, ..world.refunding("r9", "o1", 10) });
    assert_eq!(world.refused(of(&world, Target::Payment(refund.payment))), Refusal::NotRefundable);
    assert!(matches!(world.refused(of(&world, Target::Payment(held.payment))), Refusal::InvalidState(_)));
    assert_eq!(world.refused(world.refund("r9", "nothing", 10)), Refusal::PaymentNotFound);
    let foreign = Refund { merchant: merchant(2), ..world.refunding("r9", "o1", 10) };
    let foreign = Refund { target: Target::Payment(held.payment), ..foreign };
    assert_eq!(world.refused(Request::Refund(foreign)), Refusal::PaymentNotFound);
    let dollars = Amount::new(1, "USD".parse().unwrap()).unwrap();
    let dollars = Refund { amount: dollars, ..world.refunding("r9", "o1", 10) };
    assert_eq!(world.refused(Request::Refund(dollars)), Refusal::CurrencyMismatch);
}

#[test]
fn a_receipt_number_starts_a_refund() {
    let mut world = World::new(&[1_000]);
    let payment = world.done(world.charge(0, "o1", 100));
    let target = Target::Receipt(payment.receipt);
    world.done(Request::Refund(Refund { target, ..world.refunding("r1", "o1", 10) }));
    let target = Target::Receipt(ReceiptNumber::new(0, 77));
    let unknown = Request::Refund(Refund { target, ..world.refunding("r2", "o1", 10) });
    assert_eq!(world.refused(unknown), Refusal::PaymentNotFound);
}

#[test]
fn money_goes_back_to_the_legs_it_came_from() {
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
    world.done(Request::Charge(Charge { parts, ..world.charging(0, "o1", 475) }));
    let deposit = Refund { part: Some(Part::Deposit), ..world.refunding("r1", "o1", 26) };
    assert_eq!(world.refused(Request::Refund(deposit.clone())), Refusal::RefundAbovePaid(25));
    let back = world.done(Request::Refund(Refund { amount: eur(25), ..deposit }));
    assert_eq!(back.legs, [Leg { part: Part::Deposit, wallet: wallet(0), amount_minor: 25 }]);
    // The payer's own money first, then the subsidy, then the tip.
    let back = world.done(world.refund("r2", "o1", 420));
    let legs: Vec<_> = back.legs.iter().map(|leg| (leg.part, leg.wallet, leg.amount_minor)).collect();
    assert_eq!(
        legs,
        [(Part::Goods, wallet(0), 100), (Part::Goods, subsidy(0), 300), (Part::Tip, wallet(0), 20)]
    );
    assert_eq!(world.balance(0), (970, 0));
    assert_eq!(world.wallets[&subsidy(0)].balance_minor, 300);
}

#[test]
fn undo_is_at_once_where_the_merchant_lets_payers() {
    let mut world = World::new(&[1_000]);
    world.merchant.undo_minutes = 10;
    let payment = world.done(world.charge(0, "o1", 100)).payment;
    assert_eq!(world.refused(world.undo(1, payment)), Refusal::PaymentNotFound);
    assert_eq!(world.done(world.undo(0, payment)).returned_minor, 100);
    world.replayed(world.undo(0, payment));
    assert_eq!(world.balance(0), (1_000, 0));
    assert_eq!(world.refused(world.refund("r1", "o1", 1)), Refusal::RefundAbovePaid(0));
    let late = world.done(world.charge(3, "o2", 100)).payment;
    world.now = world.now + std::time::Duration::from_secs(601);
    assert_eq!(world.done(world.undo(0, late)).frozen_minor, 100);
}

#[test]
fn otherwise_undo_freezes_the_amount_until_somebody_decides() {
    let mut world = World::new(&[1_000]);
    let first = world.done(world.charge(0, "o1", 100)).payment;
    assert!(matches!(world.refused(world.decide_undo(first, true)), Refusal::InvalidState(_)));
    assert_eq!(world.done(world.undo(0, first)).frozen_minor, 100);
    assert_eq!(world.balance(0), (900, 0));
    world.done(world.refund("r1", "o1", 40));
    let decided = world.done(world.decide_undo(first, true));
    assert_eq!((decided.frozen_minor, decided.returned_minor, world.balance(0)), (0, 100, (1_000, 0)));
    world.replayed(world.decide_undo(first, true));
    assert!(matches!(world.refused(world.decide_undo(first, false)), Refusal::InvalidState(_)));
    let second = world.done(world.charge(3, "o2", 100)).payment;
    world.done(world.undo(0, second));
    let decided = world.done(world.decide_undo(second, false));
    assert_eq!((decided.frozen_minor, decided.returned_minor, world.balance(0)), (0, 0, (900, 0)));
    let third = world.done(world.charge(6, "o3", 100)).payment;
    world.done(world.undo(0, third));
    assert_eq!(reversed(&mut world, "o3").1, 100);
    assert!(world.open.is_empty());
}
