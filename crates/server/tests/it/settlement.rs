use serde_json::{Value, json};

use crate::site::{Caller, Site, eur};

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

/// One day, in seconds.
const DAY: u64 = 24 * 3600;

async fn settlements(of: &Caller) -> Vec<Value> {
    of.get("/v1/settlements").await.expect(200)["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_closes_each_business_day_once_and_two_people_agree_to_the_payout() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    site.paid(payer, "o1", 700).await;
    // Eleven hours past noon it is the same day.
    site.advance(11 * 3600).await;
    assert_eq!(settlements(&site.merchant).await, Vec::<Value>::new());
    site.advance(3600).await;
    let first = settlements(&site.merchant).await;
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0]["state"], &first[0]["closing_minor"]), (&json!("closed"), &json!(700)));
    site.paid(payer, "o2", 50).await;
    site.advance(60).await;
    assert_eq!(settlements(&site.merchant).await, first, "the new day is not over");
    let path = format!("/v1/settlements/{}", first[0]["id"].as_str().unwrap());
    site.operator.post(&format!("{path}/approve"), json!({})).await.expect(200);
    let same = site.operator.post(&format!("{path}/pay"), json!({})).await;
    assert_eq!(same.refusal(), (403, "same_person"));
    let second = site.second_person().await;
    assert_eq!(second.post(&format!("{path}/pay"), json!({})).await.expect(200)["state"], "paid");
    site.advance(DAY).await;
    let later = settlements(&site.merchant).await;
    assert_eq!((later.len(), &later[0]["opening_minor"]), (2, &json!(700)));
    assert_eq!((&later[0]["goods_minor"], &later[0]["payouts_minor"]), (&json!(50), &json!(-700)));
    // A day on which nothing happened has no statement.
    site.advance(DAY).await;
    assert_eq!(settlements(&site.merchant).await.len(), 2);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_closes_the_days_that_were_missed_and_another_one_nothing_more() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    site.paid(payer, "o1", 700).await;
    // The first server ends on that day; the others start three days later on the same files, one after the other.
    let second = site.another_server(3 * DAY).await;
    let mut found = settlements(&second.merchant).await;
    while found.is_empty() {
        found = settlements(&second.merchant).await;
    }
    let third = second.another_server(60).await;
    // Looks for what is due before it answers, as the round at its start does.
    third.advance(1).await;
    assert_eq!(settlements(&third.merchant).await, found);
    assert_eq!((found.len(), &found[0]["closing_minor"]), (1, &json!(700)));
    third.check_books().await;
}
