//! Many at once: a code pays once, an order is paid once, and the books stay right.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::caller::Reply;
use crate::payer::text;
use crate::site::TestSite;

/// Charges that arrive at once.
const CHARGES: usize = 32;

async fn at_once(site: &Arc<TestSite>, charges: Vec<(String, i64, String)>) -> Vec<Reply> {
    let start = Arc::new(tokio::sync::Barrier::new(charges.len()));
    let tasks: Vec<_> = charges
        .into_iter()
        .map(|(order_ref, minor, digits)| {
            let (site, start) = (site.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                site.charge(&order_ref, minor, &digits).await
            })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.expect("it is answered"));
    }
    replies
}

/// How many answers have this status.
fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

async fn assert_books(site: &TestSite, rows: i64) {
    let balance = site.operator.get("/v1/ledger/trial-balance").await.ok(200);
    assert_eq!((&balance["sum_minor"], &balance["wallets_that_differ"]), (&json!(0), &json!(0)));
    let chain = site.operator.get("/v1/ledger/chain").await.ok(200);
    assert_eq!((&chain["slots"][0]["rows"], chain["slots"][0].get("error")), (&json!(rows), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_charged_by_many_orders_at_once_pays_one() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 5_000).await;
    let digits = site.code_of(&payer).await;
    let before = site.attempts().await.len();
    let charges = (0..CHARGES).map(|order| (format!("o-{order}"), 100, digits.clone())).collect();
    let replies = at_once(&site, charges).await;
    assert_eq!(with_status(&replies, 201), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(422, "code_already_used");
    }
    assert_eq!(site.balance_minor(&payer.account).await, 4_900);
    assert_books(&site, 2).await;
    let attempts = site.attempts().await;
    assert_eq!(attempts.len() - before, CHARGES - 1, "each refusal is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_charged_many_times_at_once_is_paid_once() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 5_000).await;
    let digits = site.code_of(&payer).await;
    let replies = at_once(&site, vec![("o-1".to_owned(), 100, digits); CHARGES]).await;
    assert_eq!((with_status(&replies, 201), with_status(&replies, 200)), (1, CHARGES - 1));
    assert_eq!(replies.iter().filter(|reply| reply.is_replay()).count(), CHARGES - 1);
    let ids: HashSet<String> = replies
        .iter()
        .map(|reply| text(&serde_json::from_slice::<Value>(&reply.body).expect("JSON"), "id").to_owned())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(site.balance_minor(&payer.account).await, 4_900);
    assert_books(&site, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_many_amounts_at_once_is_paid_with_one() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 5_000).await;
    let digits = site.code_of(&payer).await;
    let charges = (1..=16).map(|minor| ("o-1".to_owned(), minor, digits.clone())).collect();
    let replies = at_once(&site, charges).await;
    assert_eq!(with_status(&replies, 201), 1);
    let paid: Value = replies
        .iter()
        .find(|reply| reply.status == 201)
        .map(|reply| serde_json::from_slice(&reply.body).expect("JSON"))
        .expect("one is paid");
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        let problem = reply.refused(409, "reference_conflict");
        assert_eq!(problem["payment"]["id"], paid["id"]);
    }
    let paid_minor = paid["amount"]["minor"].as_i64().expect("a number");
    assert_eq!(site.balance_minor(&payer.account).await, 5_000 - paid_minor);
    assert_books(&site, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_never_overdrawn_by_payments_at_once() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 450).await;
    // A till each, so that no payer's pass ends another's.
    let mut charges = Vec::new();
    for order in 0..6 {
        let till = site.add_terminal("till").await;
        let mut verification =
            till.post("/v1/verifications", &site.verification_body(&payer.by_phone())).await.ok(201);
        while verification["state"] == "capturing" {
            let sealing =
                crate::payer::Sealing::of(&verification, selfsame_domain::sensor::SensorGrade::Simulated);
            let body = crate::payer::samples_body(&till, &sealing, &[site.fresh_press(1)]);
            let path = format!("/v1/verifications/{}/samples", sealing.session);
            verification = till.post(&path, &body).await.ok(200);
        }
        let code = till.post("/v1/payment-codes", &site.code_body(&verification)).await.ok(201);
        charges.push((format!("o-{order}"), 100, text(&code, "digits").to_owned()));
    }
    let replies = at_once(&site, charges).await;
    assert_eq!((with_status(&replies, 201), with_status(&replies, 402)), (4, 2));
    assert_eq!(site.balance_minor(&payer.account).await, 50);
    assert_books(&site, 5).await;
}
