//! Top-ups: money into a wallet, once a reference.

use serde_json::json;

use crate::payer::text;
use crate::site::{TestSite, eur, no_account};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_pays_in_once() {
    let site = TestSite::start().await;
    let account = site.person(1).await.account;
    let new = json!({ "top_up_ref": "t-1", "account": account, "amount": eur(1_000) });
    let first = site.operator.post("/v1/top-ups", &new).await;
    assert!(!first.is_replay());
    let first = first.ok(201);
    assert_eq!(first["kind"], "top_up");
    let again = site.operator.post("/v1/top-ups", &new).await;
    assert!(again.is_replay());
    assert_eq!(text(&again.ok(200), "id"), text(&first, "id"));
    let other = json!({ "top_up_ref": "t-1", "account": account, "amount": eur(999) });
    let conflict = site.operator.post("/v1/top-ups", &other).await.refused(409, "reference_conflict");
    assert_eq!(conflict["payment"]["id"], first["id"]);
    assert_eq!(conflict["payment"]["amount"], eur(1_000));
    assert_eq!(site.balance_minor(&account).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_paid_in_for_somebody_else_is_a_conflict() {
    let site = TestSite::start().await;
    let (ada, eve) = (site.person(1).await.account, site.person(2).await.account);
    let new = |account: &str| json!({ "top_up_ref": "t-1", "account": account, "amount": eur(1_000) });
    site.operator.post("/v1/top-ups", &new(&ada)).await.ok(201);
    site.operator.post("/v1/top-ups", &new(&eve)).await.refused(409, "reference_conflict");
    assert_eq!(site.balance_minor(&eve).await, 0);
    assert_eq!(site.balance_minor(&ada).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_or_wallet_that_does_not_exist_gets_nothing() {
    let site = TestSite::start().await;
    let account = site.person(1).await.account;
    let before = site.content();
    let nobody = json!({ "top_up_ref": "t-1", "account": no_account(), "amount": eur(1_000) });
    site.operator.post("/v1/top-ups", &nobody).await.refused(404, "not_found");
    let dollars = json!({ "top_up_ref": "t-2", "account": account,
        "amount": { "minor": 1_000, "currency": "USD" } });
    site.operator.post("/v1/top-ups", &dollars).await.refused(404, "not_found");
    site.flush().await;
    assert_eq!(site.content()["payments"], before["payments"]);
    assert_eq!(site.content()["wallets"], before["wallets"]);
    // The reference is free for what was meant.
    let meant = json!({ "top_up_ref": "t-1", "account": account, "amount": eur(1_000) });
    site.operator.post("/v1/top-ups", &meant).await.ok(201);
}
