//! The terminals' long-lived channel.

use std::time::Duration;

use selfsame_api::channel::Situation;
use selfsame_api::client::{ClientError, Events};
use selfsame_api::payment::PaymentStatus;
use selfsame_api::problem::ProblemCode;
use selfsame_domain::terminal::Standing;
use serde_json::json;

use crate::site::Site;

/// Longer than the server ever takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(site: &Site) -> Result<Events, ClientError> {
    site.till.0.events("/v1/channel", PATIENCE, PATIENCE).await
}

/// The next situation in which `wanted` holds: changes that come close together may be told as one.
async fn until(channel: &mut Events, wanted: impl Fn(&Situation) -> bool) -> Situation {
    loop {
        let situation: Situation = channel.next().await.expect("a situation").expect("the channel is open");
        if wanted(&situation) {
            return situation;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_hears_what_comes_of_its_codes() {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    site.operator.put("/v1/limits/site", json!({ "step_up_above_minor": 1_000 })).await.expect(200);
    site.operator.put(&format!("/v1/accounts/{payer}/pin"), json!({ "pin": "2580" })).await.expect(200);
    let mut channel = open(&site).await.unwrap();
    let first = until(&mut channel, |_| true).await;
    assert_eq!((first.terminal, first.standing, first.payments), (site.terminal, Standing::Active, vec![]));

    let verification = site.pass(payer).await;
    let code = site.code_of(verification).await;
    site.charge(&code, "o1", 1_001).await.expect(202);
    let asked = until(&mut channel, |situation| !situation.payments.is_empty()).await.payments.remove(0);
    assert_eq!((asked.verification, asked.status), (verification, PaymentStatus::RequiresAction));
    assert_eq!((asked.merchant_name.as_str(), asked.amount.minor()), ("North Canteen", 1_001));
    assert!(asked.expires_at.is_some() && !asked.gesture_confirms);
    let confirmation = json!({ "payment": asked.payment, "pin": "2580" });
    site.till.post("/v1/confirmations", confirmation).await.expect(201);
    let paid = until(&mut channel, |s| s.payments[0].status != PaymentStatus::RequiresAction).await;
    assert_eq!(paid.payments[0].status, PaymentStatus::Succeeded);

    // What ends by itself is told as well, and what was undone.
    let code = site.code(payer).await;
    site.charge(&code, "o2", 2_000).await.expect(202);
    until(&mut channel, |situation| situation.payments.len() == 2).await;
    site.advance(121).await;
    let expired = until(&mut channel, |s| s.payments[1].status != PaymentStatus::RequiresAction).await;
    assert_eq!(expired.payments[1].status, PaymentStatus::Expired);
    site.merchant.post("/v1/reversals", json!({ "order_ref": "o1" })).await.expect(201);
    let reversed = until(&mut channel, |s| s.payments[0].status != PaymentStatus::Succeeded).await;
    assert_eq!(reversed.payments[0].status, PaymentStatus::Reversed);

    // Whoever connects again has missed nothing; the connection before ends.
    let mut second = open(&site).await.unwrap();
    assert_eq!(until(&mut second, |_| true).await, reversed);
    assert!(channel.next::<Situation>().await.unwrap().is_none(), "one channel a terminal: the latest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_hears_whose_it_is_and_what_its_payers_may_ask_back() {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    let mut channel = open(&site).await.unwrap();
    let place = until(&mut channel, |_| true).await.place.expect("a terminal stands somewhere");
    assert_eq!((place.merchant_name.as_str(), place.store_name.as_str()), ("North Canteen", "Main hall"));

    let code = site.code(payer).await;
    let payment = site.charge(&code, "o1", 100).await.expect(201);
    let paid = until(&mut channel, |situation| !situation.payments.is_empty()).await.payments.remove(0);
    assert_eq!((paid.may_ask_back, paid.undo_until, paid.frozen_minor), (true, None, 0));
    let undo = format!("/v1/payments/{}/undo", payment["id"].as_str().unwrap());
    site.operator.post(&undo, json!({ "account": payer })).await.expect(201);
    let asked = until(&mut channel, |situation| !situation.payments[0].may_ask_back).await.payments.remove(0);
    assert_eq!((asked.frozen_minor, asked.returned_minor), (100, 0));

    // Where payers are let, there is nothing to ask.
    let terms = json!({ "undo_minutes": 5, "fee": 0 });
    site.operator.put(&format!("/v1/merchants/{}/terms", site.merchant_id), terms).await.expect(200);
    let code = site.code(payer).await;
    site.charge(&code, "o2", 100).await.expect(201);
    let paid = until(&mut channel, |situation| situation.payments.len() == 2).await.payments.remove(1);
    assert!(paid.undo_until.is_some() && !paid.may_ask_back);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_terminal_may_listen_and_nothing_else() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let verification = site.pass(payer).await;
    let mut channel = open(&site).await.unwrap();
    let path = |action: &str| format!("/v1/terminals/{}/{action}", site.terminal);
    assert_eq!(site.merchant.post(&path("lock"), json!({})).await.refusal(), (403, "forbidden"));
    for _ in 0..2 {
        site.operator.post(&path("lock"), json!({})).await.expect(204);
    }
    until(&mut channel, |situation| situation.standing == Standing::Locked).await;
    let device = json!({ "kind": "test", "version": "1", "register": "return" });
    let code = json!({ "request_ref": "code", "verification": verification, "device": device });
    assert_eq!(site.till.post("/v1/payment-codes", &code).await.refusal(), (403, "terminal_locked"));
    // Also after the connection was lost.
    let mut channel = open(&site).await.unwrap();
    assert_eq!(until(&mut channel, |_| true).await.standing, Standing::Locked);
    site.operator.post(&path("unlock"), json!({})).await.expect(204);
    until(&mut channel, |situation| situation.standing == Standing::Active).await;
    site.till.post("/v1/payment-codes", &code).await.expect(201);

    site.operator.post(&path("retire"), json!({})).await.expect(204);
    until(&mut channel, |situation| situation.standing == Standing::Retired).await;
    assert!(channel.next::<Situation>().await.unwrap().is_none(), "there is nothing more to say");
    let refused = open(&site).await.err().unwrap();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::TerminalRetired);
    assert_eq!(site.operator.post(&path("lock"), json!({})).await.refusal(), (404, "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_terminals_have_channels() {
    let site = Site::start().await;
    let refused = site.operator.0.events("/v1/channel", PATIENCE, PATIENCE).await.err().unwrap();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::SignatureInvalid);
}
