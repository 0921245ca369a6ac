//! Payments: a code and an amount, once an order.

use selfsame_domain::payment_code::PaymentCode;
use serde_json::{Value, json};

use crate::caller::Reply;
use crate::payer::{charge_body, text};
use crate::site::{TestSite, eur};

/// A well-formed code that nobody was given.
fn invented(prefix: &str, random: u64) -> String {
    let prefix = prefix.parse().expect("a prefix");
    PaymentCode::from_random(prefix, &[random]).expect("below the limit").expose().to_owned()
}

fn parsed(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_pays_an_order_once() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    site.merchant.get("/v1/payments?order_ref=o-1").await.refused(404, "not_found");
    let paid = site.charge("o-1", 300, &digits).await;
    assert!(!paid.is_replay());
    let paid = paid.ok(201);
    assert_eq!(
        (&paid["status"], &paid["kind"], &paid["amount"]),
        (&json!("succeeded"), &json!("charge"), &eur(300))
    );
    assert_eq!(
        (text(&paid, "reference"), text(&paid, "merchant")),
        ("o-1", &*site.created.merchant.to_string())
    );
    assert_eq!(text(&paid, "terminal"), site.till.terminal().to_string());
    for stage in ["queue", "load", "decide", "commit", "charge"] {
        assert!(paid["timings"][stage].is_u64(), "{stage} in {paid}");
    }

    // The answer was lost: the same order again, with the same code, a new one and a used one of somebody.
    let again = site.charge("o-1", 300, &digits).await;
    assert!(again.is_replay());
    assert_eq!(text(&again.ok(200), "id"), text(&paid, "id"));
    let fresh = site.code_of(&payer).await;
    let again = site.charge("o-1", 300, &fresh).await;
    assert!(again.is_replay());
    assert_eq!(text(&again.ok(200), "id"), text(&paid, "id"));
    assert_eq!(site.balance_minor(&payer.account).await, 700);

    // Another amount under the same reference is a mistake of the till, and names what was paid.
    let conflict = site.charge("o-1", 301, &fresh).await.refused(409, "reference_conflict");
    assert_eq!(conflict["payment"]["id"], paid["id"]);
    assert_eq!(conflict["payment"]["amount"], eur(300));
    assert_eq!(conflict["payment"]["created_at"], paid["created_at"]);

    // The same code for another order.
    site.charge("o-2", 300, &digits).await.refused(422, "code_already_used");
    // The fresh code was not used up by any of this.
    site.charge("o-3", 50, &fresh).await.ok(201);
    assert_eq!(site.balance_minor(&payer.account).await, 650);
    assert_eq!(site.merchant.get("/v1/balance").await.ok(200)["balance_minor"], 350);

    let found = site.merchant.get("/v1/payments?order_ref=o-1").await.ok(200);
    assert_eq!((&found["id"], &found["amount"]), (&paid["id"], &paid["amount"]));
    // Timings are kept with the batch that follows.
    site.flush().await;
    let shown = site.merchant.get(&format!("/v1/payments/{}", text(&paid, "id"))).await.ok(200);
    for stage in ["queue", "load", "decide", "commit"] {
        assert_eq!(shown["timings"][stage], paid["timings"][stage], "{stage}");
    }
    let other = site.add_merchant().await;
    other.get("/v1/payments?order_ref=o-1").await.refused(404, "not_found");
    other.get(&format!("/v1/payments/{}", text(&paid, "id"))).await.refused(404, "not_found");
    site.merchant.get("/v1/payments/acct_00000000000000000000000000").await.refused(400, "wrong_id_kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_merchant_a_code_is_unknown_in_every_state() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let other = site.add_merchant().await;
    let mut answers = Vec::new();
    let mut ask = async |digits: &str| {
        let reply = other.post("/v1/payments", &charge_body("o-1", 100, digits)).await;
        answers.push(reply.body.clone());
        reply.refused(422, "code_not_found");
    };
    ask(&invented("98", 42)).await;
    let passed = site.pass(&payer).await;
    let (replaced, live) = (site.digits(&passed).await, site.digits(&passed).await);
    ask(&replaced).await;
    ask(&live).await;
    // Also with an amount or currency that would be refused, or an account that is frozen.
    for amount in [eur(1_000_000), json!({ "minor": 1, "currency": "USD" })] {
        let body = json!({ "order_ref": "o-1", "amount": amount, "code": live });
        other.post("/v1/payments", &body).await.refused(422, "code_not_found");
    }
    site.charge("o-1", 100, &live).await.ok(201);
    ask(&live).await;
    let passed = site.pass(&payer).await;
    let (ended, end) = (site.digits(&passed).await, format!("/v1/verifications/{}/end", text(&passed, "id")));
    site.till.post(&end, &json!({})).await.ok(200);
    ask(&ended).await;
    let expired = site.code_of(&payer).await;
    site.advance(61);
    ask(&expired).await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "every state reads alike, to the byte");
    assert_eq!(site.balance_minor(&payer.account).await, 900);
    assert_eq!(other.get("/v1/balance").await.ok(200)["balance_minor"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_code_is_refused_and_stays_expired() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    site.advance(60);
    for _ in 0..2 {
        site.charge("o-1", 100, &digits).await.refused(422, "code_expired");
    }
    site.flush().await;
    site.restart_server().await;
    site.charge("o-1", 100, &digits).await.refused(422, "code_expired");
    assert_eq!(site.balance_minor(&payer.account).await, 1_000);
    // The order is free for another code.
    let digits = site.code_of(&payer).await;
    site.charge("o-1", 100, &digits).await.ok(201);
    let refused: Vec<_> =
        site.attempts().await.into_iter().filter(|(operation, _)| operation == "payment").collect();
    assert_eq!(refused, vec![("payment".to_owned(), "code_expired".to_owned()); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_code_of_this_site_is_refused_before_the_store_is_touched() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    site.flush().await;
    let attempts = site.attempts().await;
    let before = site.content();
    let last = digits.as_bytes()[17] - b'0';
    let wrong_check = format!("{}{}", &digits[..17], (last + 1) % 10);
    let wide: String =
        digits.chars().map(|digit| char::from_u32(digit as u32 - 48 + 0xff10).expect("a digit")).collect();
    for code in [
        &digits[..17],
        &format!("{digits}0"),
        "",
        "abcdefghijklmnopqr",
        &format!("{}x", &digits[..17]),
        &wrong_check,
        &wide,
        &format!(" {}", &digits[..17]),
        &format!("-{}", &digits[1..]),
        &invented("99", 42),
        &invented("97", 42),
        "4111111111111111",
        "'; drop table pay;",
        &"9".repeat(10_000),
    ] {
        site.charge("o-1", 100, code).await.refused(422, "code_malformed");
    }
    assert_eq!(site.content(), before, "nothing was written");
    assert_eq!(site.attempts().await, attempts, "and nothing is counted");
    site.charge("o-1", 100, &digits).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_none_are_refused_and_write_nothing() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    site.flush().await;
    let before = site.content();
    let body = |order_ref: &str, amount: &str| {
        format!(r#"{{"order_ref":{order_ref},"amount":{amount},"code":"{digits}"}}"#)
    };
    for minor in [
        "0",
        "-1",
        "-100",
        "1.0",
        "0.5",
        "1e2",
        "\"100\"",
        "null",
        "1000000000001",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "1e999",
        "{}",
    ] {
        let text = body("\"o-1\"", &format!(r#"{{"minor":{minor},"currency":"EUR"}}"#));
        site.merchant.post_text("/v1/payments", &text).await.refused(400, "invalid_request");
    }
    for amount in [
        "100",
        "\"1.00 EUR\"",
        "{\"minor\":100}",
        "{\"currency\":\"EUR\"}",
        "{\"minor\":100,\"currency\":\"eur\"}",
        "{\"minor\":100,\"currency\":\"EUR\",\"tip\":1}",
        "[100,\"EUR\"]x",
    ] {
        let text = body("\"o-1\"", amount);
        site.merchant.post_text("/v1/payments", &text).await.refused(400, "invalid_request");
    }
    let long = format!("\"{}\"", "o".repeat(65));
    for order_ref in ["\"\"", "\"two words\"", "1", "null", "\"\\u0000\"", "\"é\"", &long] {
        let text = body(order_ref, r#"{"minor":100,"currency":"EUR"}"#);
        site.merchant.post_text("/v1/payments", &text).await.refused(400, "invalid_request");
    }
    let mut extra = charge_body("o-1", 100, &digits);
    extra["tip"] = json!(1);
    site.merchant.post("/v1/payments", &extra).await.refused(400, "invalid_request");
    let number =
        body("\"o-1\"", r#"{"minor":100,"currency":"EUR"}"#).replace(&format!("\"{digits}\""), &digits);
    site.merchant.post_text("/v1/payments", &number).await.refused(400, "invalid_request");
    assert_eq!(site.content(), before, "nothing was written");
    site.charge("o-1", 100, &digits).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_leaves_the_code_good_and_needs_no_second_scan() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 100).await;
    let passed = site.pass(&payer).await;
    let digits = site.digits(&passed).await;
    let declined = |reply: Reply, why: &str| {
        let problem = reply.refused(402, "payment_declined");
        assert_eq!(problem["decline_code"], why);
        assert!(!problem.to_string().contains("100"), "nothing about the balance: {problem}");
    };
    let dollars =
        json!({ "order_ref": "o-1", "amount": { "minor": 100, "currency": "USD" }, "code": digits });
    site.merchant.post("/v1/payments", &dollars).await.refused(422, "currency_mismatch");
    declined(site.charge("o-1", 101, &digits).await, "insufficient_funds");
    declined(site.charge("o-1", 5_001, &digits).await, "limit_exceeded_single");
    let state = format!("/v1/accounts/{}/state", payer.account);
    site.operator.put(&state, &json!({ "state": "frozen" })).await.ok(200);
    declined(site.charge("o-1", 50, &digits).await, "account_frozen");
    // A frozen account takes money in, and says the same whatever the amount.
    site.top_up(&payer.account, 5_000).await;
    declined(site.charge("o-1", 5_001, &digits).await, "account_frozen");
    site.operator.put(&state, &json!({ "state": "active" })).await.ok(200);
    assert_eq!(site.balance_minor(&payer.account).await, 5_100);
    site.merchant.get("/v1/payments?order_ref=o-1").await.refused(404, "not_found");

    // The same code, the same order: no decline was stored as its answer.
    let paid = site.charge("o-1", 5_000, &digits).await;
    assert!(!paid.is_replay());
    paid.ok(201);
    assert_eq!(site.balance_minor(&payer.account).await, 100);
    let attempts = site.attempts().await.into_iter().filter(|(operation, _)| operation == "payment");
    let reasons: Vec<_> = attempts.map(|(_, reason)| reason).collect();
    let expected = [
        "account_frozen",
        "account_frozen",
        "currency_mismatch",
        "insufficient_funds",
        "limit_exceeded_single",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_belongs_to_its_merchant() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let other = site.add_merchant().await;
    let digits = site.code_of(&payer).await;
    let paid = site.charge("o-1", 100, &digits).await.ok(201);
    // The same reference of another merchant is another order, and its code is not theirs.
    let reply = other.post("/v1/payments", &charge_body("o-1", 100, &digits)).await;
    assert!(!parsed(&reply).to_string().contains(text(&paid, "id")));
    reply.refused(422, "code_not_found");
    // A top-up of the operator under the same reference is something else again.
    let top_up = json!({ "top_up_ref": "o-1", "account": payer.account, "amount": eur(100) });
    site.operator.post("/v1/top-ups", &top_up).await.ok(201);
    assert_eq!(site.balance_minor(&payer.account).await, 1_000);
}
