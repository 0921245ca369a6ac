//! Terminals: activation with a one-time code, and the end of a key.

use ed25519_dalek::SigningKey;
use selfsame_api::bytes::Bytes;
use selfsame_terminal::device::DeviceError;
use serde_json::{Value, json};

use crate::caller::{Reply, http};
use crate::device::{self, Device};
use crate::payer::text;
use crate::site::TestSite;

/// Any signed request that an active till may make.
async fn knock(site: &TestSite, device: &Device) -> Reply {
    let unknown = json!({ "kind": "member_number", "value": "NOBODY" });
    device.post("/v1/verifications", &site.verification_body(&unknown)).await
}

fn activation(key: &SigningKey, terminal: &str, code: &str) -> Value {
    let public_key = Bytes::from(key.verifying_key().to_bytes()).encode();
    json!({ "terminal": terminal, "activation_code": code, "algorithm": "ed25519", "public_key": public_key })
}

/// Activates with a key of the test's own, signed by `signer`.
async fn activate(site: &TestSite, signer: &SigningKey, body: &Value) -> Reply {
    let key_id = Bytes::from(signer.verifying_key().to_bytes()).encode();
    let body = body.to_string();
    let path = "/v1/terminals/activate";
    let signed = device::sign(signer, &key_id, "POST", path, body.as_bytes(), site.till.now());
    device::send(&http(), &site.base(), &signed).await
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_code_is_good_once() {
    let site = TestSite::start().await;
    let created = site.create_terminal("till").await;
    let (terminal, code) = (text(&created, "id"), text(&created, "activation_code"));
    // As people type it.
    let typed = code.to_lowercase().replace('-', " ");
    let activated = activate(&site, &key(1), &activation(&key(1), terminal, &typed)).await.ok(200);
    assert_eq!(activated["terminal"], terminal);
    assert_eq!(activated["purpose"], "till");
    assert_eq!(activated["mode"], "test");

    let again = activate(&site, &key(2), &activation(&key(2), terminal, code)).await;
    again.refused(422, "activation_refused");
    assert_eq!(site.attempts().await, [("activation".to_owned(), "activation_used".to_owned())]);
    // The first key is none the worse.
    let signed =
        device::sign(&key(1), text(&activated, "key_id"), "GET", "/v1/verifications/x", b"", site.till.now());
    device::send(&http(), &site.base(), &signed).await.refused(400, "wrong_id_kind");
    let body = site.verification_body(&json!({ "kind": "member_number", "value": "NOBODY" })).to_string();
    let path = "/v1/verifications";
    let signed =
        device::sign(&key(1), text(&activated, "key_id"), "POST", path, body.as_bytes(), site.till.now());
    device::send(&http(), &site.base(), &signed).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_activation_codes_lock_the_right_one_out() {
    let site = TestSite::start().await;
    let created = site.create_terminal("till").await;
    let (terminal, code) = (text(&created, "id"), text(&created, "activation_code"));
    for _ in 0..5 {
        let wrong = activation(&key(1), terminal, "0000-0000-0000");
        activate(&site, &key(1), &wrong).await.refused(422, "activation_refused");
    }
    let right = activate(&site, &key(1), &activation(&key(1), terminal, code)).await;
    let locked = right.refused(422, "activation_refused");
    let unknown =
        activate(&site, &key(1), &activation(&key(1), "trm_00000000000000000000000000", code)).await;
    assert_eq!(unknown.refused(422, "activation_refused"), locked, "refusals read alike");
    let reasons: Vec<_> = site.attempts().await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons[0], "activation_locked");
    assert_eq!(reasons[1..6], ["activation_wrong_code"; 5]);
    assert_eq!(reasons[6..], ["unknown_terminal"]);
    assert_eq!(site.count(&format!("terminal_keys where terminal_id = '{terminal}'")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_code_expires_after_a_quarter_of_an_hour() {
    let site = TestSite::start().await;
    let (early, late) = (site.create_terminal("till").await, site.create_terminal("desk").await);
    let activation =
        |created: &Value, byte| activation(&key(byte), text(created, "id"), text(created, "activation_code"));
    site.advance(14 * 60);
    activate(&site, &key(1), &activation(&early, 1)).await.ok(200);
    site.advance(61);
    activate(&site, &key(2), &activation(&late, 2)).await.refused(422, "activation_refused");
    assert_eq!(site.attempts().await, [("activation".to_owned(), "activation_expired".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_proves_that_it_holds_the_key_it_brings() {
    let site = TestSite::start().await;
    let created = site.create_terminal("till").await;
    let body = activation(&key(1), text(&created, "id"), text(&created, "activation_code"));
    // Signed by another key, under its own name and under the name of the key that is brought.
    activate(&site, &key(2), &body).await.refused(401, "signature_invalid");
    let key_id = Bytes::from(key(1).verifying_key().to_bytes()).encode();
    let path = "/v1/terminals/activate";
    let signed = device::sign(&key(2), &key_id, "POST", path, body.to_string().as_bytes(), site.till.now());
    device::send(&http(), &site.base(), &signed).await.refused(401, "signature_invalid");
    site.nobody.post(path, &body).await.refused(401, "signature_invalid");
    let weak = json!({ "terminal": body["terminal"], "activation_code": body["activation_code"],
        "algorithm": "none", "public_key": body["public_key"] });
    activate(&site, &key(1), &weak).await.refused(400, "invalid_request");
    // None of this cost a try.
    activate(&site, &key(1), &body).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_code_survives_a_matcher_that_is_away() {
    let site = TestSite::start().await;
    let created = site.create_terminal("till").await;
    let body = activation(&key(1), text(&created, "id"), text(&created, "activation_code"));
    site.stop_matcher().await;
    activate(&site, &key(1), &body).await.refused(503, "matcher_unavailable");
    site.start_matcher().await;
    activate(&site, &key(1), &body).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_activation_retires_the_earlier_key() {
    let site = TestSite::start().await;
    knock(&site, &site.till).await.ok(201);
    let terminal = site.till.terminal();
    let renewed = site.operator.post(&format!("/v1/terminals/{terminal}/activation-code"), &json!({})).await;
    let renewed = renewed.ok(201);
    let code = text(&renewed, "activation_code");
    // The key in use is good until the code is used.
    knock(&site, &site.till).await.ok(201);
    let file = site.folder().join("again.json");
    let again = Device::activate(&site.base(), terminal, code, &file, site.clock.clone()).await;
    let again = again.expect("it is activated again");
    knock(&site, &site.till).await.refused(403, "terminal_retired");
    knock(&site, &again).await.ok(201);
    assert_eq!(
        site.count(&format!("terminal_keys where terminal_id = '{terminal}' and retired_at is null")),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_terminal_is_refused_for_good() {
    let site = TestSite::start().await;
    let retire = format!("/v1/terminals/{}/retire", site.till.terminal());
    let retired = site.operator.post(&retire, &json!({})).await;
    assert_eq!(retired.status, 204);
    knock(&site, &site.till).await.refused(403, "terminal_retired");
    site.sql("update activations set used_at = null");
    let code = &site.created.till.activation_code.0;
    let file = site.folder().join("again.json");
    let again = Device::activate(&site.base(), site.till.terminal(), code, &file, site.clock.clone()).await;
    let Err(DeviceError::Activation(error)) = again else { panic!("a retired terminal was activated") };
    assert_eq!(error.problem().expect("a refusal").code.as_str(), "activation_refused");
    let nobody = "/v1/terminals/trm_00000000000000000000000000/retire";
    site.operator.post(nobody, &json!({})).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_stands_in_a_store_that_exists() {
    let site = TestSite::start().await;
    let new = json!({ "store": "sto_00000000000000000000000000", "name": "Till", "purpose": "till" });
    site.operator.post("/v1/terminals", &new).await.refused(404, "not_found");
    let new = json!({ "store": site.created.store, "name": "Till", "purpose": "vending" });
    site.operator.post("/v1/terminals", &new).await.refused(400, "invalid_request");
    let new = json!({ "store": site.created.store, "name": " ", "purpose": "till" });
    site.operator.post("/v1/terminals", &new).await.refused(400, "invalid_request");
    assert_eq!(site.count("terminals"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_a_device_is_kept_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let site = TestSite::start().await;
    let file = site.folder().join("till.json");
    let mode = std::fs::metadata(&file).expect("it is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let loaded = selfsame_terminal::device::DeviceIdentity::load(&file).expect("it reads");
    assert_eq!(loaded.terminal, site.till.identity.terminal);
    std::fs::write(&file, b"{}").expect("writable");
    let damaged = selfsame_terminal::device::DeviceIdentity::load(&file);
    assert!(matches!(damaged, Err(DeviceError::Damaged(_))));
}
