use selfsame_server::ServerError;
use selfsame_store::{Fault, Gate};
use serde_json::json;

use crate::site::{Reply, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_an_unknown_end_is_looked_up_and_never_guessed() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    site.store.faults().order(Fault::LostBefore);
    assert_eq!(site.charge(&code, "o1", 100).await.refusal(), (503, "unavailable"));
    assert_eq!(site.merchant.get("/v1/payments?order_ref=o1").await.status, 404);
    site.store.faults().order(Fault::LostAfter);
    let payment = site.charge(&code, "o1", 100).await.expect(201);
    assert!(site.charge(&code, "o1", 100).await.replayed);
    assert_eq!(site.merchant.get("/v1/payments?order_ref=o1").await.expect(200)["id"], payment["id"]);
    assert_eq!(site.balance(payer).await, (900, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_the_next_payment_works() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    for _ in 0..3 {
        site.store.faults().order(Fault::DiskFull);
        assert_eq!(site.charge(&code, "o1", 100).await.refusal(), (503, "unavailable"));
    }
    site.charge(&code, "o1", 100).await.expect(201);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_nothing_is_taken_any_more() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let (first, second) = (site.code(payer).await, site.code(payer).await);
    site.store.faults().order(Fault::FailedSync);
    assert_eq!(site.charge(&first, "o1", 100).await.refusal(), (503, "outcome_unknown"));
    for order in ["o1", "o2"] {
        assert_eq!(site.charge(&second, order, 100).await.refusal(), (503, "unavailable"));
    }
    assert_eq!(site.balance(payer).await, (1_000, 0));
    assert_eq!(site.merchant.get("/readyz").await.expect(200)["store"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_storage_is_gone_nobody_waits_and_afterwards_it_goes_on() {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    let (taken, waiting) = (site.code(payer).await, site.code(payer).await);
    let gate = Gate::default();
    site.store.faults().order(Fault::Stall(gate.clone()));
    let (one, other) = tokio::join!(site.charge(&taken, "o1", 100), site.charge(&waiting, "o2", 100));
    // One hangs in its batch; the other is with it, or behind it and was never taken.
    let mut codes = [one.refusal().1, other.refusal().1];
    codes.sort();
    assert_eq!(codes[0], "outcome_unknown");
    assert!(["outcome_unknown", "unavailable"].contains(&codes[1]), "{codes:?}");
    gate.open();
    // The same reference again finds out, whatever had happened.
    for (code, order) in [(&taken, "o1"), (&waiting, "o2")] {
        let mut reply = site.charge(code, order, 100).await;
        while reply.status == 503 {
            reply = site.charge(code, order, 100).await;
        }
        assert!([200, 201].contains(&reply.status), "{reply:?}");
    }
    assert_eq!(site.balance(payer).await, (9_800, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_twice_by_mistake_disturbs_nobody() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    assert!(matches!(site.bind_twice().await, Err(ServerError::Listen { .. })));
    site.paid(payer, "o1", 100).await;
    assert_eq!(site.merchant.get("/readyz").await.expect(200)["store"], true);
}

/// Asks again until the storage answers.
async fn insist<F: Future<Output = Reply>>(ask: impl Fn() -> F) -> Reply {
    loop {
        let reply = ask().await;
        if reply.status != 503 {
            return reply;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_hang_are_answered_and_work_again_without_a_restart() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let payment = site.paid(payer, "o1", 100).await;
    let gate = Gate::default();
    // More than there are readers: whoever comes later finds none free.
    for _ in 0..8 {
        site.store.faults().order_for("payments_read", Fault::Stall(gate.clone()));
    }
    let history = || site.merchant.get("/v1/payments/history");
    let (one, two, three, four) = tokio::join!(history(), history(), history(), history());
    for reply in [one, two, three, four] {
        assert_eq!(reply.refusal(), (503, "unavailable"));
    }
    let show = format!("/v1/payments/{payment}");
    assert_eq!(site.merchant.get(&show).await.refusal(), (503, "unavailable"));
    assert_eq!(site.operator.get("/v1/limits/site").await.refusal(), (503, "unavailable"));
    assert_eq!(site.operator.get("/v1/settlements").await.refusal(), (503, "unavailable"));
    assert_eq!(site.merchant.get("/readyz").await.refusal(), (503, "unavailable"));
    gate.open();
    assert_eq!(insist(history).await.expect(200)["data"][0]["id"], payment.as_str());
    insist(|| site.merchant.get(&show)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_fail_are_temporary_and_the_next_one_works() {
    let site = Site::start().await;
    site.store.faults().order_for("payments_read", Fault::LostBefore);
    assert_eq!(site.merchant.get("/v1/payments/history").await.refusal(), (503, "unavailable"));
    site.merchant.get("/v1/payments/history").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_not_begun_when_its_caller_was_answered_never_happens() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    site.paid(payer, "o1", 100).await;
    let gate = Gate::default();
    site.store.faults().order(Fault::Stall(gate.clone()));
    assert_eq!(site.top_up(payer, "t1", 100).await.refusal(), (503, "outcome_unknown"));
    let close = json!({ "merchant": site.merchant_id });
    let limits = json!({ "payment_minor_max": 1 });
    let account = json!({ "request_ref": "bob", "display_name": "Bob", "member_number": "bob" });
    let replies = tokio::join!(
        site.operator.post("/v1/settlements", &close),
        site.operator.put("/v1/limits/site", limits),
        site.operator.post("/v1/accounts", &account),
    );
    for reply in [replies.0, replies.1, replies.2] {
        assert_eq!(reply.refusal(), (503, "unavailable"));
    }
    gate.open();
    insist(|| site.top_up(payer, "t1", 100)).await.expect(200);
    assert_eq!(site.operator.get("/v1/settlements").await.expect(200)["data"], json!([]));
    assert_eq!(site.operator.get("/v1/limits/site").await.expect(200), json!({}));
    site.operator.post("/v1/settlements", &close).await.expect(201);
    site.operator.post("/v1/accounts", &account).await.expect(201);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_begun_when_its_caller_was_answered_is_unknown_until_it_is_asked_for() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    site.paid(payer, "o1", 100).await;
    let gate = Gate::default();
    site.store.faults().order_for("settlement_close", Fault::Stall(gate.clone()));
    let close = json!({ "merchant": site.merchant_id });
    assert_eq!(site.operator.post("/v1/settlements", &close).await.refusal(), (503, "outcome_unknown"));
    gate.open();
    // The writer takes one transaction after the other: this one comes behind the one that hung.
    insist(|| site.operator.put("/v1/limits/site", json!({}))).await.expect(200);
    let listed = site.operator.get("/v1/settlements").await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(site.operator.post("/v1/settlements", &close).await.refusal(), (422, "nothing_to_settle"));
    site.check_books().await;
}
