use serde_json::{Value, json};

use crate::site::{Site, eur};

async fn hold(site: &Site, order: &str, minor: i64, code: &str) -> Value {
    let body = json!({ "order_ref": order, "code": code, "amount": eur(minor), "hold_seconds": 600 });
    site.merchant.post("/v1/payments", body).await.expect(202)
}

#[tokio::test(flavor = "multi_thread")]
async fn held_money_is_captured_once_and_the_rest_is_free_again() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    let held = hold(&site, "o1", 600, &code).await;
    assert_eq!((&held["status"], site.balance(payer).await), (&json!("pending"), (1_000, 600)));
    let path = format!("/v1/payments/{}", held["id"].as_str().unwrap());
    let capture = format!("{path}/capture");
    let above = site.merchant.post(&capture, json!({ "amount": eur(601) })).await;
    assert_eq!(above.refusal(), (422, "capture_above_hold"));
    let captured = site.merchant.post(&capture, json!({ "amount": eur(450) })).await.expect(201);
    assert_eq!((&captured["status"], &captured["paid_minor"]), (&json!("succeeded"), &json!(450)));
    assert!(site.merchant.post(&capture, json!({ "amount": eur(450) })).await.replayed);
    assert_eq!(site.merchant.post(&capture, json!({})).await.refusal(), (409, "invalid_state"));
    assert_eq!(
        site.merchant.post(&format!("{path}/void"), json!({})).await.refusal(),
        (409, "invalid_state")
    );
    assert_eq!(site.balance(payer).await, (550, 0));
    assert_eq!(site.merchant.get("/v1/balance").await.expect(200)["balance_minor"], 450);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_voided_or_ends_by_itself() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let first = hold(&site, "o1", 600, &site.code(payer).await).await;
    let void = format!("/v1/payments/{}/void", first["id"].as_str().unwrap());
    assert_eq!(site.merchant.post(&void, json!({})).await.expect(201)["status"], "canceled");
    assert!(site.merchant.post(&void, json!({})).await.replayed);
    let second = hold(&site, "o2", 600, &site.code(payer).await).await;
    site.advance(600).await;
    let path = format!("/v1/payments/{}", second["id"].as_str().unwrap());
    assert_eq!(site.merchant.get(&path).await.expect(200)["status"], "expired");
    assert_eq!(site.balance(payer).await, (1_000, 0));
    let code = site.code(payer).await;
    let body = json!({ "order_ref": "o2", "code": code, "amount": eur(600), "hold_seconds": 600 });
    assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (409, "order_closed"));
    site.check_books().await;
}
