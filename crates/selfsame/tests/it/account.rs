//! Accounts: made once, found by their identifiers, frozen and thawed.

use serde_json::json;

use crate::payer::text;
use crate::site::{TestSite, no_account};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_makes_an_account_once() {
    let site = TestSite::start().await;
    let new = json!({ "request_ref": "desk-1", "display_name": "Ada Example", "phone": "+49 170 555-0001",
        "member_number": "m-1" });
    let first = site.operator.post("/v1/accounts", &new).await.ok(201);
    let before = site.content();
    let again = site.operator.post("/v1/accounts", &new).await;
    assert!(again.is_replay(), "a repeated answer says so");
    assert_eq!(again.ok(200), first);
    let changes = [("display_name", "Eve Example"), ("phone", "4917055500009"), ("member_number", "M-9")];
    for (field, value) in changes {
        let mut other = new.clone();
        other[field] = json!(value);
        site.operator.post("/v1/accounts", &other).await.refused(409, "reference_conflict");
    }
    assert_eq!(site.content(), before, "nothing was written");
    assert_eq!(first["wallets"][0]["currency"], "EUR");
    assert_eq!(first["wallets"][0]["balance_minor"], 0);
    let shown = site.operator.get(&format!("/v1/accounts/{}", text(&first, "id"))).await.ok(200);
    assert_eq!(shown, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_belongs_to_one_account() {
    let site = TestSite::start().await;
    let new = |reference: &str, phone: &str, member: &str| json!({ "request_ref": reference, "display_name": "Ada", "phone": phone, "member_number": member });
    site.operator.post("/v1/accounts", &new("a", "491705550142", "M-1")).await.ok(201);
    let before = site.content();
    // However it is written.
    let same_phone = new("b", "+49 (170) 555-0142", "M-2");
    site.operator.post("/v1/accounts", &same_phone).await.refused(409, "duplicate_identifier");
    let same_member = new("c", "491705550143", "m-1");
    site.operator.post("/v1/accounts", &same_member).await.refused(409, "duplicate_identifier");
    assert_eq!(site.content(), before, "nothing was written");
    // The last four digits may be shared.
    site.operator.post("/v1/accounts", &new("d", "491709990142", "M-3")).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_active_or_frozen() {
    let site = TestSite::start().await;
    let account = site.person(1).await.account;
    let path = format!("/v1/accounts/{account}/state");
    for state in ["frozen", "frozen", "active"] {
        assert_eq!(site.operator.put(&path, &json!({ "state": state })).await.ok(200)["state"], state);
    }
    site.operator.put(&path, &json!({ "state": "gone" })).await.refused(400, "invalid_request");
    let nobody = format!("/v1/accounts/{}/state", no_account());
    site.operator.put(&nobody, &json!({ "state": "frozen" })).await.refused(404, "not_found");
    site.operator.get(&format!("/v1/accounts/{}", no_account())).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_is_made_once_and_its_key_is_shown_once() {
    let site = TestSite::start().await;
    let new = json!({ "request_ref": "m-1", "name": "Kiosk", "store_name": "Yard" });
    let created = site.operator.post("/v1/merchants", &new).await.ok(201);
    site.operator.post("/v1/merchants", &new).await.refused(409, "reference_conflict");
    assert_eq!(site.count("merchants where request_ref = 'm-1'"), 1);
    let key = text(&created, "key").as_bytes();
    for (name, bytes) in site.files() {
        assert!(!crate::site::contains(&bytes, key), "the key is in {name}");
    }
}
