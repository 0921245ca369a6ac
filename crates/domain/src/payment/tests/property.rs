use proptest::prelude::*;

use super::*;
use crate::ledger::{ChainVerifier, TrialBalance};
use crate::limit::Limits;

/// What a generated step asks for; numbers pick from a tiny key space, so that collisions are the rule.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: u8,
    number: u8,
    order: u8,
    minor: i64,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (0u8..14, 0u8..10, 0u8..4, 1i64..300);
    let step = step.prop_map(|(what, number, order, minor)| Step { what, number, order, minor });
    prop::collection::vec(prop::collection::vec(step, 1..5), 0..most)
}

/// The request of a step; `serial` keeps the ids of one batch apart.
fn request(world: &World, step: &Step, serial: u8) -> Request {
    let Step { what, number, order, minor } = *step;
    let order = format!("o{order}");
    let target = || world.rows.iter().filter(|row| row.row.leg == 0).map(|row| row.row.payment);
    let count = target().count().max(1);
    let some = target().nth(usize::from(number) * 7 % count).unwrap_or_else(|| world.next());
    let mut request = match what {
        0..=2 => world.charge(number, &order, minor),
        3 => world.hold(number, &order, minor),
        4 => world.reverse(&order),
        5 => world.refund(&format!("r{}", number % 4), &order, minor),
        6 => world.capture(some, (number > 4).then_some(minor)),
        7 => world.close(Party::Merchant(merchant(1)), some, Ending::Void),
        8 => world.confirm(some, Proof::Pin),
        9 => world.close(Party::Terminal(terminal()), some, Ending::Cancel),
        10 => world.close(Party::Clock, some, Ending::Expire),
        11 => world.undo(number % 3, some),
        12 => world.decide_undo(some, number > 4),
        _ => world.top_up(number % 3, &format!("t{order}"), minor),
    };
    let mut random = [serial; 10];
    random[2..].copy_from_slice(&world.payments.to_be_bytes());
    let id = PaymentId::new(then(), random);
    match &mut request {
        Request::Charge(Charge { payment, .. })
        | Request::Reverse(Reverse { payment, .. })
        | Request::Refund(Refund { payment, .. })
        | Request::Close(Close { payment, .. })
        | Request::Undo(Undo { payment, .. })
        | Request::DecideUndo(DecideUndo { payment, .. })
        | Request::TopUp(TopUp { payment, .. }) => *payment = id,
        _ => {}
    }
    request
}

fn run(batches: &[Vec<Step>]) -> (World, Vec<Answer>) {
    let mut world = World::new(&[500, 50, 0]);
    world.terms.site = Limits { step_up_above_minor: Some(200), ..Limits::default() };
    world.payer.has_pin = true;
    world.merchant.undo_minutes = 20;
    let mut answers = Vec::new();
    for (round, batch) in (1u32..).zip(batches) {
        world.now = world.now + HOUR / 4 * (round % 3);
        let requests: Vec<_> =
            (1u8..).zip(batch).map(|(serial, step)| request(&world, step, serial)).collect();
        // The world checks each row with the auditor: overdrafts, second uses, refunds above, references, chain.
        answers.extend(world.batch(&requests));
    }
    (world, answers)
}

proptest! {
    #[test]
    fn no_story_breaks_a_rule_of_the_books(batches in steps(25)) {
        let (world, _) = run(&batches);
        let mut verifier = ChainVerifier::new(0);
        let mut balance = TrialBalance::default();
        for chained in &world.rows {
            prop_assert!(verifier.push(chained).is_ok());
            balance.push(&chained.row);
        }
        prop_assert_eq!(verifier.finish(world.slot.sequence, &world.slot.hash), Ok(world.slot.sequence));
        prop_assert_eq!(balance.sum_minor("EUR".parse().unwrap()), 0);
        let held: i64 = world.wallets.values().map(|wallet| wallet.held_minor).sum();
        let open_charges = world.state();
        let open: i64 = open_charges.histories.values()
            .filter(|history| history.is_open() && history.head().kind == Kind::Charge)
            .flat_map(|history| history.legs().map(|leg| leg.amount_minor).collect::<Vec<_>>()).sum();
        prop_assert_eq!(held, open);
    }

    #[test]
    fn a_reference_answers_the_same_for_ever(batches in steps(15)) {
        let (mut world, _) = run(&batches);
        let before = world.rows.len();
        let orders: Vec<_> = world.rows.iter().map(|row| &row.row)
            .filter(|row| row.kind == Kind::Charge && row.leg == 0)
            .map(|row| (row.reference.clone().unwrap(), row.state)).collect();
        for (reference, state) in orders {
            let history = &world.state();
            let key = IdempotencyKey::order(merchant(1), reference.clone());
            let payment = history.histories[&history.references[&key]].payment();
            let minor = payment.as_ref().map_or(1, |payment| payment.amount.minor());
            let again = match state {
                RowState::Pending => world.hold(0, reference.as_str(), minor),
                _ => world.charge(0, reference.as_str(), minor),
            };
            match world.one(again) {
                Answer::Done { payment: again, replayed } => {
                    prop_assert!(replayed);
                    prop_assert_eq!(Some(again), payment);
                }
                Answer::Refused(Refusal::OrderReversed | Refusal::OrderClosed(_)) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(world.rows.len(), before);
    }

    #[test]
    fn deciding_twice_gives_the_same(batches in steps(6)) {
        let (first, answers) = run(&batches);
        let (second, again) = run(&batches);
        prop_assert_eq!(answers, again);
        prop_assert_eq!(first.rows, second.rows);
    }
}
