use selfsame_domain::limit::Limits;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_server::setup::default_limits;
use serde_json::json;

use crate::site::{Site, eur};

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_from_the_next_payment_on() {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    let own = format!("/v1/accounts/{payer}/limits");
    let guardian = format!("/v1/accounts/{payer}/guardian-limits");
    assert_eq!(site.operator.get(&own).await.expect(200), json!({}));
    let limits = json!({ "payment_minor_max": 500, "day_minor_max": 900 });
    assert_eq!(site.operator.put(&own, limits.clone()).await.expect(200), limits);
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 501).await.refusal(), (402, "limit_exceeded_single"));
    site.charge(&code, "o1", 500).await.expect(201);
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o2", 401).await.refusal(), (402, "limit_exceeded_day"));
    site.operator.put(&guardian, json!({ "day_count_max": 1 })).await.expect(200);
    assert_eq!(site.charge(&code, "o2", 1).await.refusal(), (402, "limit_exceeded_count"));
    site.operator.put(&guardian, json!({ "categories_blocked": ["alcohol"] })).await.expect(200);
    let terms = json!({ "category": "alcohol", "undo_minutes": 0, "fee": 0 });
    let path = format!("/v1/merchants/{}/terms", site.merchant_id);
    site.operator.put(&path, terms).await.expect(200);
    assert_eq!(site.charge(&code, "o2", 1).await.refusal(), (402, "category_blocked"));
    site.operator.put(&guardian, json!({})).await.expect(200);
    site.operator.put("/v1/limits/grades/simulated", json!({ "payment_minor_max": 10 })).await.expect(200);
    assert_eq!(site.charge(&code, "o2", 11).await.refusal(), (402, "limit_exceeded_single"));
    site.charge(&code, "o2", 10).await.expect(201);
    for bad in [json!({ "day_minor_max": -1 }), json!({ "hours": { "from_minute": 5, "to_minute": 5 } })] {
        assert_eq!(site.operator.put("/v1/limits/site", bad).await.refusal(), (400, "invalid_request"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_payments_at_once_the_day_takes_what_it_allows() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    let own = format!("/v1/accounts/{payer}/limits");
    site.operator.put(&own, json!({ "day_minor_max": 1_000, "day_count_max": 7 })).await.expect(200);
    let mut running = Vec::new();
    for number in 0..32 {
        let (merchant, code) = (site.merchant.clone(), site.code(payer).await);
        running.push(async move {
            let body = json!({ "order_ref": format!("o{number}"), "code": code, "amount": eur(100) });
            merchant.post("/v1/payments", body).await.status
        });
    }
    let running: Vec<_> = running.into_iter().map(tokio::spawn).collect();
    let mut paid = 0;
    for answer in running {
        paid += usize::from(answer.await.unwrap() == 201);
    }
    assert_eq!(paid, 7);
    assert_eq!(site.balance(payer).await, (99_300, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn subsidies_and_corrections_have_accounts_of_their_own() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let grant = json!({ "top_up_ref": "s1", "account": payer, "amount": eur(300), "purpose": "subsidy" });
    site.operator.post("/v1/top-ups", &grant).await.expect(201);
    assert!(site.operator.post("/v1/top-ups", &grant).await.replayed);
    let own = json!({ "top_up_ref": "s1", "account": payer, "amount": eur(300) });
    assert_eq!(site.operator.post("/v1/top-ups", own).await.refusal(), (409, "reference_conflict"));
    let code = site.code(payer).await;
    let parts = json!({ "goods_minor": 400, "tip_minor": 50, "deposit_minor": 25 });
    let body = json!({ "order_ref": "o1", "code": code, "amount": eur(475), "parts": parts });
    let payment = site.merchant.post("/v1/payments", body).await.expect(201);
    let legs: Vec<_> = payment["legs"].as_array().unwrap().iter().map(|leg| &leg["amount_minor"]).collect();
    assert_eq!(legs, [300, 100, 50, 25]);
    let propose = json!({ "adjustment_ref": "a1", "account": payer, "direction": "raise", "amount": eur(5) });
    let proposed = site.operator.post("/v1/adjustments", &propose).await.expect(202);
    let path = format!("/v1/adjustments/{}/decision", proposed["id"].as_str().unwrap());
    let same = site.operator.post(&path, json!({ "approved": true })).await;
    assert_eq!(same.refusal(), (403, "same_person"));
    assert_eq!(site.operator.get("/v1/adjustments").await.expect(200)["data"][0]["id"], proposed["id"]);
    let second = site.second_person().await;
    second.post(&path, json!({ "approved": true })).await.expect(201);
    assert_eq!(site.balance(payer).await, (1_000 - 175 + 5, 0));
    let withdrawal = json!({ "withdrawal_ref": "w1", "account": payer, "amount": eur(831) });
    let declined = site.operator.post("/v1/withdrawals", withdrawal).await;
    assert_eq!(declined.refusal(), (402, "insufficient_funds"));
    let withdrawal = json!({ "withdrawal_ref": "w1", "account": payer, "amount": eur(830) });
    site.operator.post("/v1/withdrawals", withdrawal).await.expect(201);
    let balance = site.operator.get("/v1/ledger/trial-balance").await.expect(200);
    let lines = balance["lines"].as_array().unwrap();
    let of = |account: &str| {
        lines.iter().find(|line| line["account"] == account).unwrap()["balance_minor"].clone()
    };
    assert_eq!((of("subsidies"), of("adjustments"), of("cash")), (json!(-300), json!(-5), json!(-170)));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_what_all_wallets_of_a_payer_spent_and_what_comes_back_gives_room() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let grant = json!({ "top_up_ref": "s1", "account": payer, "amount": eur(300), "purpose": "subsidy" });
    site.operator.post("/v1/top-ups", &grant).await.expect(201);
    let path = format!("/v1/accounts/{payer}/limits");
    site.operator.put(&path, json!({ "day_minor_max": 500, "day_count_max": 2 })).await.expect(200);
    // 300 from the subsidy and 100 of the payer's own.
    site.paid(payer, "o1", 400).await;
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o2", 101).await.refusal(), (402, "limit_exceeded_day"));
    site.charge(&code, "o2", 100).await.expect(201);
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o3", 1).await.refusal(), (402, "limit_exceeded_day"));
    site.operator.put(&path, json!({ "day_count_max": 2 })).await.expect(200);
    assert_eq!(site.charge(&code, "o3", 1).await.refusal(), (402, "limit_exceeded_count"));
    site.operator.put(&path, json!({ "day_minor_max": 500, "day_count_max": 2 })).await.expect(200);
    // Back to both wallets, and once: the next payment has the room of it, and no more.
    site.merchant.post("/v1/reversals", json!({ "order_ref": "o1" })).await.expect(201);
    assert_eq!(site.charge(&code, "o3", 401).await.refusal(), (402, "limit_exceeded_day"));
    site.charge(&code, "o3", 400).await.expect(201);
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_begins_with_limits_by_sensor_grade() {
    let site = Site::start_with(Mode::Test, default_limits(Mode::Test)).await;
    let payer = site.payer("ada", 100_000).await;
    for grade in SensorGrade::ALL {
        let limits = site.operator.get(&format!("/v1/limits/grades/{grade}")).await.expect(200);
        assert_eq!(limits, json!(Limits::default_for(*grade)), "{grade}");
    }
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 5_001).await.refusal(), (402, "limit_exceeded_single"));
    site.charge(&code, "o1", 5_000).await.expect(201);
    for order in ["o2", "o3", "o4"] {
        site.paid(payer, order, 5_000).await;
    }
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o5", 1).await.refusal(), (402, "limit_exceeded_day"));
    let live = default_limits(Mode::Live);
    assert!(live.iter().all(|(grade, _)| *grade != SensorGrade::Simulated));
    assert_eq!(live.len() + 1, SensorGrade::ALL.len());
}
