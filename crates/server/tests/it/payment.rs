use serde_json::json;

use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::site::Mode;

use crate::site::{Site, eur};

/// Well formed, and never issued.
fn unknown_code() -> String {
    let code = PaymentCode::from_random(Prefix::default_for(Mode::Test), &[42]).unwrap();
    code.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_pays_once_and_its_order_answers_the_same_for_ever() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    let first = site.charge(&code, "o1", 250).await;
    assert!(!first.replayed);
    let payment = first.expect(201);
    assert_eq!((&payment["status"], &payment["paid_minor"]), (&json!("succeeded"), &json!(250)));
    assert!(payment["timings"]["commit"].as_u64().is_some());
    let again = site.charge(&code, "o1", 250).await;
    assert!(again.replayed);
    assert_eq!(again.expect(200)["id"], payment["id"]);
    let other_code = site.code(payer).await;
    assert_eq!(site.charge(&other_code, "o1", 250).await.expect(200)["id"], payment["id"]);
    let conflict = site.charge(&code, "o1", 251).await;
    assert_eq!(conflict.refusal(), (409, "reference_conflict"));
    assert_eq!(conflict.body["payment"]["amount"], eur(250));
    assert_eq!(site.charge(&code, "o2", 1).await.refusal(), (422, "code_already_used"));
    let found = site.merchant.get("/v1/payments?order_ref=o1").await.expect(200);
    assert_eq!(found["id"], payment["id"]);
    assert_eq!(site.merchant.get("/v1/payments?order_ref=o9").await.status, 404);
    assert_eq!(site.balance(payer).await, (750, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_amounts_are_refused_before_anything_happens() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    for amount in [
        json!({ "minor": 0, "currency": "EUR" }),
        json!({ "minor": -1, "currency": "EUR" }),
        json!({ "minor": 9_223_372_036_854_775_808_u64, "currency": "EUR" }),
        json!({ "minor": 1.5, "currency": "EUR" }),
        json!({ "minor": "1", "currency": "EUR" }),
        json!({ "minor": 1, "currency": "eur" }),
    ] {
        let body = json!({ "order_ref": "o1", "code": code, "amount": amount });
        assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (400, "invalid_request"));
    }
    let dollars = json!({ "minor": 1, "currency": "USD" });
    let body = json!({ "order_ref": "o1", "code": code, "amount": dollars });
    assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (422, "currency_mismatch"));
    let parts = json!({ "goods_minor": 90, "tip_minor": 11 });
    let body = json!({ "order_ref": "o1", "code": code, "amount": eur(100), "parts": parts });
    assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (422, "parts_do_not_add_up"));
    let body = json!({ "order_ref": "o1", "code": code, "amount": eur(100), "hold_seconds": 59 });
    assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (400, "invalid_request"));
    let body = json!({ "order_ref": "o1", "code": &code[..17], "amount": eur(100) });
    assert_eq!(site.merchant.post("/v1/payments", body).await.refusal(), (422, "code_malformed"));
    assert_eq!(site.merchant.get(&format!("/v1/payments/{payer}")).await.refusal(), (400, "wrong_id_kind"));
    site.charge(&code, "o1", 100).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_merchants_code_answers_like_none_in_every_state() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let other = json!({ "request_ref": "m2", "name": "South", "store_name": "Hall" });
    let other = site.operator.post("/v1/merchants", other).await.expect(201);
    let other = site.bearer(other["key"].as_str().unwrap());
    let (alive, used) = (site.code(payer).await, site.code(payer).await);
    site.charge(&used, "o1", 1).await.expect(201);
    let revoked = site.pass(payer).await;
    let first = site.code_of(revoked).await;
    site.code_of(revoked).await;
    assert_eq!(site.charge(&first, "o2", 1).await.refusal(), (422, "code_revoked"));
    let mut answers = Vec::new();
    for code in [&alive, &used, &first, &unknown_code()] {
        let body = json!({ "order_ref": "x", "code": code, "amount": eur(1) });
        let reply = other.post("/v1/payments", body).await;
        answers.push((reply.status, reply.body));
    }
    site.advance(61).await;
    let body = json!({ "order_ref": "x", "code": alive, "amount": eur(1) });
    let expired = other.post("/v1/payments", body).await;
    answers.push((expired.status, expired.body));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].1["code"], "code_not_found");
    assert_eq!(site.charge(&alive, "o3", 1).await.refusal(), (422, "code_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_after_twenty_unknown_codes_an_hour() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    for number in 0..20 {
        let reply = site.charge(&unknown_code(), &format!("g{number}"), 1).await;
        assert_eq!(reply.refusal(), (422, "code_not_found"));
    }
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 1).await.refusal(), (429, "too_many_attempts"));
    site.advance(3_600).await;
    let code = site.code(payer).await;
    site.charge(&code, "o1", 1).await.expect(201);
}

async fn at_once(site: &Site, charges: Vec<(String, String, i64)>) -> Vec<(u16, bool)> {
    let charge = |(code, order, minor): (String, String, i64)| {
        let merchant = site.merchant.clone();
        tokio::spawn(async move {
            let body = json!({ "order_ref": order, "code": code, "amount": eur(minor) });
            let reply = merchant.post("/v1/payments", body).await;
            (reply.status, reply.replayed)
        })
    };
    let running: Vec<_> = charges.into_iter().map(charge).collect();
    let mut answers = Vec::new();
    for answer in running {
        answers.push(answer.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_charges_of_one_code_at_once_one_is_paid() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    let code = site.code(payer).await;
    let charges = (0..64).map(|number| (code.clone(), format!("o{number}"), 100)).collect();
    let answers = at_once(&site, charges).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.0 == 422).count(), 63);
    assert_eq!(site.balance(payer).await, (99_900, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_charges_of_one_balance_at_once_as_many_are_paid_as_it_holds() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_050).await;
    let mut charges = Vec::new();
    for number in 0..64 {
        charges.push((site.code(payer).await, format!("o{number}"), 100));
    }
    let answers = at_once(&site, charges).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 201).count(), 10);
    assert_eq!(answers.iter().filter(|answer| answer.0 == 402).count(), 54);
    assert_eq!(site.balance(payer).await, (50, 0));
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_sent_64_times_at_once_is_one_payment() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    let answers = at_once(&site, vec![(code, "o1".to_owned(), 100); 64]).await;
    assert_eq!(answers.iter().filter(|answer| **answer == (201, false)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == (200, true)).count(), 63);
    assert_eq!(site.balance(payer).await, (900, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_keeps_the_code_and_the_history_pages_without_gaps() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100).await;
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o0", 200).await.refusal(), (402, "insufficient_funds"));
    site.top_up(payer, "more", 500).await.expect(201);
    site.charge(&code, "o0", 200).await.expect(201);
    for number in 1..5 {
        site.paid(payer, &format!("o{number}"), 10).await;
    }
    let mut seen = Vec::new();
    let mut query = String::from("?limit=2");
    loop {
        let page = site.merchant.get(&format!("/v1/payments/history{query}")).await.expect(200);
        let data = page["data"].as_array().unwrap();
        seen.extend(data.iter().map(|payment| payment["reference"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        // A payment that comes in between is newer and disturbs nothing.
        site.paid(payer, &format!("late-{}", seen.len()), 1).await;
        query = format!("?limit=2&before={cursor}");
    }
    assert_eq!(seen, ["o4", "o3", "o2", "o1", "o0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn magic_amounts_end_as_the_table_says_on_test_sites() {
    let site = Site::start().await;
    let payer = site.payer("ada", 100_000).await;
    let code = site.code(payer).await;
    for (minor, expected) in [
        (4_401, (402, "insufficient_funds")),
        (4_402, (402, "limit_exceeded_day")),
        (4_404, (503, "unavailable")),
        (4_405, (402, "account_frozen")),
    ] {
        assert_eq!(site.charge(&code, "magic", minor).await.refusal(), expected);
        assert_eq!(site.merchant.get("/v1/payments?order_ref=magic").await.status, 404);
    }
    assert_eq!(site.charge(&code, "lost", 4_403).await.refusal(), (503, "outcome_unknown"));
    let found = site.merchant.get("/v1/payments?order_ref=lost").await.expect(200);
    assert_eq!(found["status"], "succeeded");
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "asked", 4_406).await.refusal(), (402, "confirmation_unavailable"));
    site.operator.put(&format!("/v1/accounts/{payer}/pin"), json!({ "pin": "2580" })).await.expect(200);
    let asked = site.charge(&code, "asked", 4_406).await.expect(202);
    assert_eq!(asked["status"], "requires_action");
    let confirmation = json!({ "payment": asked["id"], "pin": "2580" });
    site.till.post("/v1/confirmations", confirmation).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_live_sites_magic_amounts_are_like_any_other() {
    let site = Site::start_in(Mode::Live).await;
    let payer = site.payer("ada", 100_000).await;
    site.operator.put(&format!("/v1/accounts/{payer}/pin"), json!({ "pin": "2580" })).await.expect(200);
    for minor in 4_401..=4_406 {
        site.paid(payer, &format!("o{minor}"), minor).await;
    }
    assert_eq!(site.balance(payer).await, (100_000 - (4_401..=4_406).sum::<i64>(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_reaches_its_own_routes_only() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let id = site.paid(payer, "o1", 100).await;
    let nobody = site.bearer("sk_test_nothing");
    assert_eq!(nobody.get("/v1/payments/history").await.status, 401);
    assert_eq!(site.operator.get("/v1/payments/history").await.status, 403);
    assert_eq!(site.merchant.get("/v1/ledger/rows").await.status, 403);
    assert_eq!(site.merchant.get("/v1/limits/site").await.status, 403);
    let other = json!({ "request_ref": "m2", "name": "South", "store_name": "Hall" });
    let other = site.operator.post("/v1/merchants", other).await.expect(201);
    let other = site.bearer(other["key"].as_str().unwrap());
    assert_eq!(other.get(&format!("/v1/payments/{id}")).await.status, 404);
    assert_eq!(other.get("/v1/payments?order_ref=o1").await.status, 404);
    assert_eq!(other.post(&format!("/v1/payments/{id}/capture"), json!({})).await.status, 404);
    let refund = json!({ "refund_ref": "r1", "payment": id, "amount": eur(1) });
    assert_eq!(other.post("/v1/refunds", refund).await.status, 404);
    assert_eq!(site.operator.get(&format!("/v1/payments/{id}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_attempts_name_terminal_merchant_and_store_as_far_as_they_are_known() {
    let site = Site::start().await;
    let payer = site.payer("ada", 2_000).await;
    site.operator.put(&format!("/v1/accounts/{payer}/pin"), json!({ "pin": "2580" })).await.expect(200);
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 2_001).await.refusal(), (402, "insufficient_funds"));
    site.operator.put("/v1/limits/site", json!({ "step_up_above_minor": 1 })).await.expect(200);
    let waiting = site.charge(&code, "o1", 100).await.expect(202);
    let wrong = json!({ "payment": waiting["id"], "pin": "0852" });
    assert_eq!(site.till.post("/v1/confirmations", wrong).await.refusal(), (422, "pin_wrong"));
    let gesture = json!({ "payment": waiting["id"] });
    assert_eq!(site.till.post("/v1/confirmations", gesture).await.refusal(), (422, "pin_required"));
    let refund = json!({ "refund_ref": "r1", "payment": waiting["id"], "amount": eur(1) });
    assert_eq!(site.merchant.post("/v1/refunds", refund).await.refusal(), (409, "invalid_state"));
    let unknown = PaymentCode::from_random(Prefix::default_for(Mode::Test), &[7; 4]).unwrap();
    assert_eq!(site.charge(unknown.expose(), "o2", 1).await.refusal(), (422, "code_not_found"));
    // What is refused is written with the next batch.
    site.top_up(payer, "t1", 1).await.expect(201);
    let attempts = site.operator.get("/v1/attempts?limit=100").await.expect(200);
    let (terminal, merchant, store) = (json!(site.terminal), json!(site.merchant_id), json!(site.store_id));
    let of = |reason: &str| {
        let data = attempts["data"].as_array().unwrap();
        data.iter().find(|attempt| attempt["reason"] == reason).unwrap_or_else(|| panic!("{attempts}"))
    };
    for reason in ["insufficient_funds", "pin_wrong", "pin_required", "invalid_state"] {
        let attempt = of(reason);
        let named = (&attempt["terminal"], &attempt["merchant"], &attempt["store"]);
        assert_eq!(named, (&terminal, &merchant, &store), "{reason}");
    }
    // Nobody can say where a code that does not exist came from.
    let unknown = of("code_not_found");
    assert_eq!((&unknown["merchant"], &unknown["terminal"]), (&merchant, &json!(null)));
}
