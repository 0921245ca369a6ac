use serde_json::json;

use crate::site::{Site, eur};

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_closed_approved_by_a_second_person_and_paid() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    let terms = json!({ "undo_minutes": 0, "fee": 150 });
    site.operator.put(&format!("/v1/merchants/{}/terms", site.merchant_id), terms).await.expect(200);
    let new = json!({ "merchant": site.merchant_id });
    assert_eq!(site.operator.post("/v1/settlements", &new).await.refusal(), (422, "nothing_to_settle"));
    let first = site.paid(payer, "o1", 10_033).await;
    site.paid(payer, "o2", 5_000).await;
    let refund = json!({ "refund_ref": "r1", "payment": first, "amount": eur(33) });
    site.merchant.post("/v1/refunds", refund).await.expect(201);
    let asked_back = site.paid(payer, "o3", 700).await;
    site.operator
        .post(&format!("/v1/payments/{asked_back}/undo"), json!({ "account": payer }))
        .await
        .expect(201);
    let open = format!("/v1/merchants/{}/open-settlement", site.merchant_id);
    let preview = site.merchant.get(&open).await.expect(200);
    let closed = site.operator.post("/v1/settlements", &new).await.expect(201);
    for field in ["closing_minor", "fees_minor", "payable_minor"] {
        assert_eq!(preview[field], closed[field], "{field}");
    }
    // 1.5 % of 15,700 is 235.5, which rounds to the even 236.
    assert_eq!((&closed["fees_minor"], &closed["closing_minor"]), (&json!(-236), &json!(15_464)));
    assert_eq!((&closed["frozen_minor"], &closed["payable_minor"]), (&json!(700), &json!(14_764)));
    let owed = site.merchant.get("/v1/balance").await.expect(200);
    assert_eq!(owed["balance_minor"], closed["closing_minor"]);
    let path = format!("/v1/settlements/{}", closed["id"].as_str().unwrap());
    let csv = site.merchant.text(&format!("{path}/csv")).await;
    let minors: Vec<i64> =
        csv.lines().skip(1).map(|line| line.split(',').nth(8).unwrap().parse().unwrap()).collect();
    let (closing, rows) = minors.split_last().unwrap();
    assert_eq!((rows.iter().sum::<i64>(), *closing), (*closing, 15_464), "{csv}");
    assert_eq!(site.operator.post(&format!("{path}/pay"), json!({})).await.refusal(), (409, "invalid_state"));
    let same = site.operator.post(&format!("{path}/approve"), json!({})).await;
    assert_eq!(same.refusal(), (403, "same_person"));
    let second = site.second_person().await;
    assert_eq!(second.post(&format!("{path}/approve"), json!({})).await.expect(200)["state"], "approved");
    let paid = site.operator.post(&format!("{path}/pay"), json!({})).await.expect(200);
    assert_eq!(paid["state"], "paid");
    site.operator.post(&format!("{path}/pay"), json!({})).await.expect(200);
    assert_eq!(site.merchant.get("/v1/balance").await.expect(200)["balance_minor"], 700);
    // What is decided later is a line in the next one.
    let decision = format!("/v1/payments/{asked_back}/undo-decision");
    site.merchant.post(&decision, json!({ "granted": true })).await.expect(201);
    let next = site.operator.post("/v1/settlements", &new).await.expect(201);
    assert_eq!(next["opening_minor"], closed["closing_minor"]);
    assert_eq!((&next["payouts_minor"], &next["undone_minor"]), (&json!(-14_764), &json!(-700)));
    assert_eq!((&next["closing_minor"], &next["payable_minor"]), (&json!(0), &json!(0)));
    let listed = site.merchant.get("/v1/settlements?limit=1").await.expect(200);
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&next["id"], &json!(true)));
    site.check_books().await;
}
