use serde_json::json;

use crate::site::Site;

async fn step_up_site(balance: i64) -> (Site, selfsame_domain::id::AccountId) {
    let site = Site::start().await;
    let payer = site.payer("ada", balance).await;
    site.operator.put("/v1/limits/site", json!({ "step_up_above_minor": 1_000 })).await.expect(200);
    (site, payer)
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_the_payer_confirms_by_pin_at_the_terminal() {
    let (site, payer) = step_up_site(10_000).await;
    let code = site.code(payer).await;
    assert_eq!(site.charge(&code, "o1", 1_001).await.refusal(), (402, "confirmation_unavailable"));
    let pin = format!("/v1/accounts/{payer}/pin");
    assert_eq!(site.operator.put(&pin, json!({ "pin": "1234" })).await.refusal(), (422, "pin_weak"));
    site.operator.put(&pin, json!({ "pin": "2580" })).await.expect(200);
    let waiting = site.charge(&code, "o1", 1_001).await.expect(202);
    assert_eq!(waiting["status"], "requires_action");
    let listed = site.till.get("/v1/confirmations").await.expect(200);
    assert_eq!(listed["data"][0]["id"], waiting["id"]);
    let id = &waiting["id"];
    let gesture = site.till.post("/v1/confirmations", json!({ "payment": id })).await;
    assert_eq!(gesture.refusal(), (422, "pin_required"));
    let wrong = site.till.post("/v1/confirmations", json!({ "payment": id, "pin": "0852" })).await;
    assert_eq!(wrong.refusal(), (422, "pin_wrong"));
    assert_eq!(site.operator.get(&pin).await.expect(200), json!({ "set": true, "tries_left": 2 }));
    let done = site.till.post("/v1/confirmations", json!({ "payment": id, "pin": "2580" })).await;
    assert_eq!(done.expect(201)["status"], "succeeded");
    assert_eq!(site.operator.get(&pin).await.expect(200)["tries_left"], 3);
    assert_eq!(site.balance(payer).await, (8_999, 0));
    assert_eq!(site.till.get("/v1/confirmations").await.expect(200)["data"], json!([]));
    assert_eq!(site.charge(&code, "o1", 1_001).await.expect(200)["status"], "succeeded");
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_pin_needs_a_reset_by_a_verified_payer() {
    let (site, payer) = step_up_site(10_000).await;
    let pin = format!("/v1/accounts/{payer}/pin");
    site.operator.put(&pin, json!({ "pin": "2580" })).await.expect(200);
    let code = site.code(payer).await;
    let id = site.charge(&code, "o1", 1_001).await.expect(202)["id"].clone();
    let tried = |typed: &'static str| {
        let (till, id) = (site.till.clone(), id.clone());
        async move { till.post("/v1/confirmations", json!({ "payment": id, "pin": typed })).await }
    };
    // Many at once are no more tries than one after the other.
    let (one, two, three, four) = tokio::join!(tried("1111"), tried("2222"), tried("3333"), tried("4444"));
    let mut named = [one, two, three, four].map(|reply| reply.refusal().1.to_owned());
    named.sort();
    assert_eq!(named, ["pin_locked", "pin_locked", "pin_wrong", "pin_wrong"]);
    assert_eq!(tried("2580").await.refusal(), (422, "pin_locked"));
    let reset = json!({ "pin": "9517" });
    assert_eq!(site.operator.put(&pin, reset).await.refusal(), (403, "verification_required"));
    let stranger = site.payer("bob", 0).await;
    let foreign = json!({ "pin": "9517", "verification": site.pass(stranger).await });
    assert_eq!(site.operator.put(&pin, foreign).await.refusal(), (403, "verification_required"));
    let verified = json!({ "pin": "9517", "verification": site.pass(payer).await });
    site.operator.put(&pin, verified).await.expect(200);
    tried("9517").await.expect(201);
    let pass = site.pass(payer).await;
    let change = json!({ "verification": pass, "old_pin": "0000", "new_pin": "8642" });
    assert_eq!(site.till.post("/v1/pin-changes", change).await.refusal(), (422, "pin_wrong"));
    let change = json!({ "verification": pass, "old_pin": "9517", "new_pin": "8642" });
    site.till.post("/v1/pin-changes", change).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gesture_confirms_where_the_rules_say_so_and_a_payer_may_refuse() {
    let (site, payer) = step_up_site(10_000).await;
    let rules = json!({ "utc_offset_minutes": 60, "gesture_confirms": true });
    site.operator.put("/v1/rules", rules.clone()).await.expect(200);
    assert_eq!(site.operator.get("/v1/rules").await.expect(200), rules);
    let id = site.charge(&site.code(payer).await, "o1", 1_001).await.expect(202)["id"].clone();
    let done = site.till.post("/v1/confirmations", json!({ "payment": id })).await.expect(201);
    assert_eq!(done["status"], "succeeded");
    let second = site.charge(&site.code(payer).await, "o2", 1_001).await.expect(202);
    let cancel = format!("/v1/confirmations/{}/cancel", second["id"].as_str().unwrap());
    assert_eq!(site.till.post(&cancel, json!({})).await.expect(201)["status"], "canceled");
    let third = site.charge(&site.code(payer).await, "o3", 1_001).await.expect(202);
    site.advance(121).await;
    let late = site.till.post("/v1/confirmations", json!({ "payment": third["id"] })).await;
    assert_eq!(late.refusal(), (409, "invalid_state"));
    assert_eq!(late.body["payment"]["status"], "expired");
    assert_eq!(site.balance(payer).await, (8_999, 0));
}
