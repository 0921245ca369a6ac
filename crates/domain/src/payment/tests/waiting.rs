use super::*;
use crate::limit::Limits;

#[test]
fn a_hold_keeps_money_until_it_is_captured() {
    let mut world = World::new(&[1_000]);
    let held = world.done(world.hold(0, "o1", 600));
    assert_eq!((held.status, held.paid_minor, world.balance(0)), (Status::Pending, 0, (1_000, 600)));
    assert_eq!(world.refused(world.charge(3, "o2", 401)), Refusal::Declined(DeclineCode::InsufficientFunds));
    assert_eq!(world.refused(world.capture(held.payment, Some(601))), Refusal::CaptureAboveHold(600));
    let captured = world.done(world.capture(held.payment, Some(450)));
    assert_eq!((captured.status, captured.paid_minor), (Status::Succeeded, 450));
    assert_eq!(world.balance(0), (550, 0));
    world.replayed(world.capture(held.payment, Some(450)));
    world.replayed(world.hold(0, "o1", 600));
    assert!(matches!(world.refused(world.capture(held.payment, Some(1))), Refusal::InvalidState(_)));
    let void = world.close(Party::Merchant(merchant(1)), held.payment, Ending::Void);
    assert!(matches!(world.refused(void), Refusal::InvalidState(_)));
    assert_eq!(world.refused(world.refund("r1", "o1", 451)), Refusal::RefundAbovePaid(450));
}

#[test]
fn two_ends_of_one_hold_in_one_batch_are_one() {
    let mut world = World::new(&[1_000]);
    let held = world.done(world.hold(0, "o1", 600)).payment;
    let void = world.close(Party::Merchant(merchant(1)), held, Ending::Void);
    let capture = Close {
        payment: PaymentId::new(then(), [99; 10]),
        by: Party::Merchant(merchant(1)),
        target: Target::Payment(held),
        ending: Ending::Capture(None),
    };
    let answers = world.batch(&[void, Request::Close(capture)]);
    assert!(matches!(&answers[0], Answer::Done { payment, .. } if payment.status == Status::Canceled));
    assert!(matches!(answers[1], Answer::Refused(Refusal::InvalidState(_))));
    assert_eq!(world.balance(0), (1_000, 0));
    assert!(matches!(world.refused(world.hold(0, "o1", 600)), Refusal::OrderClosed(_)));
}

#[test]
fn a_hold_ends_by_itself_and_not_before_its_time() {
    let mut world = World::new(&[1_000]);
    let held = world.done(world.hold(0, "o1", 600)).payment;
    let expire = |world: &World| world.close(Party::Clock, held, Ending::Expire);
    assert!(matches!(world.refused(expire(&world)), Refusal::InvalidState(_)));
    world.now = world.now + HOUR;
    assert_eq!(world.refused(world.capture(held, None)), Refusal::PaymentExpired);
    assert_eq!(world.done(expire(&world)).status, Status::Expired);
    world.replayed(expire(&world));
    assert_eq!(world.balance(0), (1_000, 0));
}

#[test]
fn only_its_own_merchant_and_terminal_can_end_it() {
    let mut world = World::new(&[1_000]);
    let held = world.done(world.hold(0, "o1", 600)).payment;
    let foreign = world.close(Party::Merchant(merchant(2)), held, Ending::Void);
    assert_eq!(world.refused(foreign), Refusal::PaymentNotFound);
    let other = TerminalId::new(then(), [9; 10]);
    let foreign = world.close(Party::Terminal(other), held, Ending::Cancel);
    assert_eq!(world.refused(foreign), Refusal::PaymentNotFound);
    let own = world.close(Party::Terminal(terminal()), held, Ending::Capture(None));
    assert!(matches!(world.refused(own), Refusal::InvalidState(_)));
}

fn with_step_up(balance: i64) -> World {
    let mut world = World::new(&[balance]);
    world.terms.site = Limits { step_up_above_minor: Some(100), ..Limits::default() };
    world.payer.has_pin = true;
    world
}

#[test]
fn above_the_limit_the_payer_confirms_the_exact_amount() {
    let mut world = with_step_up(1_000);
    assert_eq!(world.done(world.charge(3, "small", 100)).status, Status::Succeeded);
    let waiting = world.done(world.charge(0, "o1", 101));
    assert_eq!((waiting.status, world.balance(0)), (Status::RequiresAction, (900, 101)));
    assert_eq!(world.replayed(world.charge(6, "o1", 101)).status, Status::RequiresAction);
    assert_eq!(world.refused(world.confirm(waiting.payment, Proof::Gesture)), Refusal::PinRequired);
    assert_eq!(world.done(world.confirm(waiting.payment, Proof::Pin)).status, Status::Succeeded);
    world.replayed(world.confirm(waiting.payment, Proof::Pin));
    assert_eq!(world.balance(0), (799, 0));
    assert_eq!(world.replayed(world.charge(0, "o1", 101)).status, Status::Succeeded);
}

#[test]
fn a_gesture_confirms_only_where_the_site_says_so() {
    let mut world = with_step_up(1_000);
    world.payer.has_pin = false;
    let declined = Refusal::Declined(DeclineCode::ConfirmationUnavailable);
    assert_eq!(world.refused(world.charge(0, "o1", 101)), declined);
    assert_eq!(world.refused(world.hold(0, "o1", 101)), declined);
    world.terms.gesture_confirms = true;
    let waiting = world.done(world.charge(0, "o1", 101)).payment;
    world.done(world.confirm(waiting, Proof::Gesture));
}

#[test]
fn who_looks_much_like_somebody_else_confirms_every_amount_by_pin() {
    let mut world = World::new(&[1_000]);
    world.lookalikes.extend([code(0).verification, code(3).verification]);
    world.terms.gesture_confirms = true;
    let declined = Refusal::Declined(DeclineCode::ConfirmationUnavailable);
    assert_eq!(world.refused(world.charge(0, "o1", 1)), declined);
    world.payer.has_pin = true;
    let waiting = world.done(world.charge(0, "o1", 1));
    assert_eq!(waiting.status, Status::RequiresAction);
    assert_eq!(world.refused(world.confirm(waiting.payment, Proof::Gesture)), Refusal::PinRequired);
    assert_eq!(world.done(world.confirm(waiting.payment, Proof::Pin)).status, Status::Succeeded);
    // A hold would last longer than the payer stands there.
    assert_eq!(world.refused(world.hold(3, "o2", 1)), declined);
}

#[test]
fn a_confirmation_after_its_time_or_of_a_frozen_account_is_refused() {
    let mut world = with_step_up(1_000);
    let waiting = world.done(world.charge(0, "o1", 101)).payment;
    world.wallets.get_mut(&wallet(0)).unwrap().account_state = AccountState::Frozen;
    let confirm = world.confirm(waiting, Proof::Pin);
    assert_eq!(world.refused(confirm), Refusal::Declined(DeclineCode::AccountFrozen));
    world.wallets.get_mut(&wallet(0)).unwrap().account_state = AccountState::Active;
    world.now = world.now + std::time::Duration::from_secs(CONFIRMATION_SECONDS.into());
    assert_eq!(world.refused(world.confirm(waiting, Proof::Pin)), Refusal::PaymentExpired);
    assert_eq!(world.done(world.close(Party::Clock, waiting, Ending::Expire)).status, Status::Expired);
    assert!(matches!(world.refused(world.charge(0, "o1", 101)), Refusal::OrderClosed(_)));
}

#[test]
fn a_payer_who_does_not_want_it_keeps_the_money() {
    let mut world = with_step_up(1_000);
    let waiting = world.done(world.charge(0, "o1", 101)).payment;
    let cancel = world.close(Party::Terminal(terminal()), waiting, Ending::Cancel);
    assert_eq!(world.done(cancel.clone()).status, Status::Canceled);
    world.replayed(cancel);
    assert!(matches!(world.refused(world.confirm(waiting, Proof::Pin)), Refusal::InvalidState(_)));
    assert_eq!(world.balance(0), (1_000, 0));
}
