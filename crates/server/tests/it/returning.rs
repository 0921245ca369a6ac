use serde_json::json;

use crate::site::{Site, eur};

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_answers_also_for_an_order_that_never_came() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let body = json!({ "order_ref": "o1" });
    let first = site.merchant.post("/v1/reversals", &body).await;
    assert_eq!(first.expect(201), json!({ "order_ref": "o1", "returned_minor": 0 }));
    assert!(site.merchant.post("/v1/reversals", &body).await.replayed);
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 100).await.refusal(), (409, "order_reversed"));
    assert_eq!(site.merchant.get("/v1/payments?order_ref=o1").await.refusal(), (409, "order_reversed"));
    site.charge(&code, "o2", 100).await.expect(201);
    let reversal = site.merchant.post("/v1/reversals", json!({ "order_ref": "o2" })).await.expect(201);
    assert_eq!(
        (&reversal["returned_minor"], &reversal["payment"]["status"]),
        (&json!(100), &json!("reversed"))
    );
    assert_eq!(site.charge(&code, "o2", 100).await.refusal(), (409, "order_reversed"));
    let refund = json!({ "refund_ref": "r1", "order_ref": "o2", "amount": eur(1) });
    assert_eq!(site.merchant.post("/v1/refunds", refund).await.refusal(), (409, "order_reversed"));
    site.paid(payer, "o3", 100).await;
    site.advance(24 * 3600).await;
    let late = site.merchant.post("/v1/reversals", json!({ "order_ref": "o3" })).await;
    assert_eq!(late.refusal(), (422, "reversal_too_late"));
    assert_eq!(site.balance(payer).await, (900, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refunds_never_exceed_what_was_paid() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let id = site.paid(payer, "o1", 100).await;
    let refund = |number: usize| {
        let (merchant, id) = (site.merchant.clone(), id.clone());
        tokio::spawn(async move {
            let body = json!({ "refund_ref": format!("r{number}"), "payment": id, "amount": eur(30) });
            merchant.post("/v1/refunds", body).await.status
        })
    };
    let running: Vec<_> = (0..20).map(refund).collect();
    let mut statuses = Vec::new();
    for answer in running {
        statuses.push(answer.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 17);
    assert_eq!(site.balance(payer).await, (990, 0));
    let refunded = site.merchant.get(&format!("/v1/payments/{id}")).await.expect(200);
    assert_eq!(refunded["returned_minor"], 90);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_number_starts_a_refund_and_a_refund_is_not_refunded() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    let payment = site.charge(&code, "o1", 100).await.expect(201);
    let number = payment["receipt"].as_str().unwrap();
    let receipt = site.merchant.get(&format!("/v1/receipts/{number}")).await.expect(200);
    assert_eq!(
        (&receipt["merchant_name"], &receipt["payment"]["id"]),
        (&json!("North Canteen"), &payment["id"])
    );
    let lines = receipt["text"].as_array().unwrap();
    assert!(lines.iter().all(|line| line.as_str().unwrap().chars().count() <= 32), "{lines:?}");
    let body = json!({ "refund_ref": "r1", "receipt": number, "amount": eur(40) });
    let refund = site.merchant.post("/v1/refunds", &body).await.expect(201);
    assert_eq!(refund["parent"], payment["id"]);
    assert!(site.merchant.post("/v1/refunds", &body).await.replayed);
    let body = json!({ "refund_ref": "r1", "receipt": number, "amount": eur(41) });
    assert_eq!(site.merchant.post("/v1/refunds", body).await.refusal(), (409, "reference_conflict"));
    let body = json!({ "refund_ref": "r2", "payment": refund["id"], "amount": eur(1) });
    assert_eq!(site.merchant.post("/v1/refunds", body).await.refusal(), (422, "not_refundable"));
    let body = json!({ "refund_ref": "r2", "amount": eur(1) });
    assert_eq!(site.merchant.post("/v1/refunds", body).await.refusal(), (400, "invalid_request"));
    let body = json!({ "refund_ref": "r2", "order_ref": "o1", "amount": eur(61) });
    assert_eq!(site.merchant.post("/v1/refunds", body).await.refusal(), (422, "refund_above_paid"));
    let wrong = format!("{}9", &number[..number.len() - 1]);
    let status = site.merchant.get(&format!("/v1/receipts/{wrong}")).await.status;
    assert!(wrong == number || status == 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_at_once_or_waits_for_the_merchant() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let first = site.paid(payer, "o1", 100).await;
    let body = json!({ "account": payer });
    let frozen = site.operator.post(&format!("/v1/payments/{first}/undo"), &body).await.expect(201);
    assert_eq!((&frozen["frozen_minor"], site.balance(payer).await), (&json!(100), (900, 0)));
    assert_eq!(site.merchant.get("/v1/undos").await.expect(200)["data"][0]["id"], json!(first));
    let decision = format!("/v1/payments/{first}/undo-decision");
    let decided = site.merchant.post(&decision, json!({ "granted": true })).await.expect(201);
    assert_eq!((&decided["returned_minor"], site.balance(payer).await), (&json!(100), (1_000, 0)));
    let again = site.merchant.post(&decision, json!({ "granted": false })).await;
    assert_eq!(again.refusal(), (409, "invalid_state"));
    let terms = json!({ "category": "food", "undo_minutes": 5, "fee": 0 });
    let path = format!("/v1/merchants/{}/terms", site.merchant_id);
    site.operator.put(&path, terms.clone()).await.expect(200);
    assert_eq!(site.operator.get(&path).await.expect(200), terms);
    let second = site.paid(payer, "o2", 100).await;
    let undone = site.operator.post(&format!("/v1/payments/{second}/undo"), &body).await.expect(201);
    assert_eq!((&undone["returned_minor"], site.balance(payer).await), (&json!(100), (1_000, 0)));
    let stranger = site.payer("bob", 0).await;
    let foreign = json!({ "account": stranger });
    let foreign = site.operator.post(&format!("/v1/payments/{second}/undo"), foreign).await;
    assert_eq!(foreign.status, 404);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_payer_takes_a_payment_back_at_the_terminal_and_nobody_elses() {
    let site = Site::start().await;
    let (payer, stranger) = (site.payer("ada", 1_000).await, site.payer("bob", 0).await);
    let terms = json!({ "undo_minutes": 5, "fee": 0 });
    site.operator.put(&format!("/v1/merchants/{}/terms", site.merchant_id), terms).await.expect(200);
    let payment = site.charge(&site.code(payer).await, "o1", 100).await.expect(201);
    let receipt = &payment["receipt"];
    let undo = |verification| {
        let (till, body) = (site.till.clone(), json!({ "verification": verification, "receipt": receipt }));
        async move { till.post("/v1/undos", body).await }
    };
    assert_eq!(undo(site.pass(stranger).await).await.refusal(), (404, "not_found"));
    assert_eq!(site.balance(payer).await, (900, 0));
    let undone = undo(site.pass(payer).await).await.expect(201);
    assert_eq!((&undone["id"], &undone["returned_minor"]), (&payment["id"], &json!(100)));
    assert!(undo(site.pass(payer).await).await.status < 300);
    assert_eq!(site.balance(payer).await, (1_000, 0));
    let later = site.pass(payer).await;
    site.advance(301).await;
    assert_eq!(undo(later).await.refusal(), (403, "verification_required"));
    site.check_books().await;
}
