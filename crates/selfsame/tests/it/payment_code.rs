//! Payment codes: 18 digits with no amount in them, at most one of a pass that can be charged.

use std::sync::Arc;

use selfsame_domain::clock::Clock;
use selfsame_domain::payment_code::{PaymentCode, Prefix};
use selfsame_domain::site::Mode;
use selfsame_domain::time::Timestamp;
use selfsame_server::{Server, ServerError};
use serde_json::json;

use crate::payer::text;
use crate::site::{Setup, TestSite, any_port, contains, files, new_clock, new_site, server_config};

#[tokio::test(flavor = "multi_thread")]
async fn a_code_has_18_digits_and_no_amount() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let passed = site.pass(&payer).await;
    let before = site.till.now();
    let code = site.ask_code(&passed).await.ok(201);
    let digits = text(&code, "digits");
    let prefix: Prefix = "98".parse().expect("a prefix");
    PaymentCode::parse(digits, prefix).expect("18 digits with the test prefix and a check digit");
    assert!(code.get("amount").is_none());
    assert_eq!((&code["amount_minor_max"], &code["currency"]), (&json!(5_000), &json!("EUR")));
    assert_eq!((&code["verification"], &code["expires_in_ms"]), (&passed["id"], &json!(60_000)));
    let expires_at: Timestamp = text(&code, "expires_at").parse().expect("a time");
    assert!(expires_at.since(before).as_secs() >= 60 && expires_at.since(site.till.now()).as_secs() <= 60);
    // In the database there is a keyed hash and nothing else of the digits.
    assert_eq!(site.count("payment_codes where length(mac) = 32"), 1);
    for (name, bytes) in site.files() {
        for needle in [digits, &digits[2..17]] {
            assert!(!contains(&bytes, needle.as_bytes()), "{name}");
        }
        let number: i64 = digits.parse().expect("a number");
        assert!(!contains(&bytes, &number.to_be_bytes()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_again_revokes_the_code_before() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let passed = site.pass(&payer).await;
    let first = site.digits(&passed).await;
    let second = site.digits(&passed).await;
    assert_ne!(first, second);
    site.charge("o-1", 100, &first).await.refused(422, "code_revoked");
    // A code of another payer at another till is not touched.
    let other = site.payer(2, 1_000).await;
    let other_till = site.add_terminal("till").await;
    let body = site.verification_body(&other.by_phone());
    let mut at_other = other_till.post("/v1/verifications", &body).await.ok(201);
    while at_other["state"] == "capturing" {
        let sealing = crate::payer::Sealing::of(&at_other, selfsame_domain::sensor::SensorGrade::Simulated);
        let body = crate::payer::samples_body(&other_till, &sealing, &[site.fresh_press(2)]);
        let path = format!("/v1/verifications/{}/samples", sealing.session);
        at_other = other_till.post(&path, &body).await.ok(200);
    }
    let code = other_till.post("/v1/payment-codes", &site.code_body(&at_other)).await.ok(201);
    let third = site.digits(&passed).await;
    site.charge("o-1", 100, &second).await.refused(422, "code_revoked");
    site.charge("o-1", 100, &third).await.ok(201);
    site.charge("o-2", 100, text(&code, "digits")).await.ok(201);
    // What paid is used, what was replaced before that is used with it.
    for digits in [&first, &second, &third] {
        site.charge("o-3", 100, digits).await.refused(422, "code_already_used");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_codes_asked_for_at_once_one_can_be_charged() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 10_000).await;
    let passed = site.pass(&payer).await;
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let (site, passed) = (site.clone(), passed.clone());
            tokio::spawn(async move { site.digits(&passed).await })
        })
        .collect();
    // All of them before the first is charged: a verification that has paid gives none.
    let mut codes = Vec::new();
    for digits in asked {
        codes.push(digits.await.expect("it is answered"));
    }
    let mut paid = 0;
    for (order, digits) in codes.into_iter().enumerate() {
        let reply = site.charge(&format!("o-{order}"), 100, &digits).await;
        match reply.status {
            201 => paid += 1,
            _ => assert!(
                ["code_revoked", "code_already_used"].contains(&reply.code().as_str()),
                "{}",
                reply.text()
            ),
        }
    }
    assert_eq!((paid, site.balance_minor(&payer.account).await), (1, 9_900));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pass_no_code() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let capturing = site.open_capturing(&payer.by_phone()).await;
    site.ask_code(&capturing).await.refused(409, "invalid_state");
    let failed = site.open(&json!({ "kind": "phone", "value": "491700000000" })).await;
    site.ask_code(&failed).await.refused(409, "invalid_state");
    let nobody = json!({ "id": "ver_00000000000000000000000000" });
    site.ask_code(&nobody).await.refused(404, "not_found");
    let passed = site.pass(&payer).await;
    site.desk.post("/v1/payment-codes", &site.code_body(&passed)).await.refused(403, "forbidden");

    // After a cancel the code in hand is dead too.
    let digits = site.digits(&passed).await;
    let end = format!("/v1/verifications/{}/end", text(&passed, "id"));
    assert_eq!(site.till.post(&end, &json!({})).await.ok(200)["state"], "ended");
    assert_eq!(site.till.post(&end, &json!({})).await.ok(200)["state"], "ended", "it can be repeated");
    site.ask_code(&passed).await.refused(409, "invalid_state");
    site.charge("o-1", 100, &digits).await.refused(422, "code_revoked");

    // After a payment.
    let passed = site.pass(&payer).await;
    let digits = site.digits(&passed).await;
    site.charge("o-1", 100, &digits).await.ok(201);
    site.ask_code(&passed).await.refused(409, "invalid_state");
    let mut reasons: Vec<_> = site.attempts().await;
    reasons.retain(|(operation, _)| operation == "payment_code");
    let reasons: Vec<_> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
    let [consumed, not_found, not_passed] =
        ["verification_consumed", "verification_not_found", "verification_not_passed"];
    assert_eq!(reasons, [consumed, not_found, not_passed, not_passed, not_passed]);
    assert_eq!(site.balance_minor(&payer.account).await, 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_lives_as_long_as_it_was_asked_to() {
    let site = TestSite::start_with(Setup { code_lifetime_seconds: 20, ..Setup::default() }).await;
    let payer = site.payer(1, 1_000).await;
    let passed = site.pass(&payer).await;
    for seconds in [0, 1, 21, 300, u32::MAX] {
        let mut body = site.code_body(&passed);
        body["lifetime_seconds"] = json!(seconds);
        site.till.post("/v1/payment-codes", &body).await.refused(400, "invalid_request");
    }
    let mut body = site.code_body(&passed);
    body["lifetime_seconds"] = json!(2);
    let short = site.till.post("/v1/payment-codes", &body).await.ok(201);
    assert_eq!(short["expires_in_ms"], 2_000);
    site.advance(2);
    site.charge("o-1", 100, text(&short, "digits")).await.refused(422, "code_expired");
    let full = site.digits(&passed).await;
    site.advance(15);
    site.charge("o-1", 100, &full).await.ok(201);

    let mut body = site.code_body(&passed);
    body["device"]["kind"] = json!("x".repeat(65));
    site.till.post("/v1/payment-codes", &body).await.refused(400, "invalid_request");
    body["device"] = json!({ "kind": "a", "version": "b" });
    site.till.post("/v1/payment-codes", &body).await.refused(400, "invalid_request");
    body["amount"] = json!(5);
    site.till.post("/v1/payment-codes", &body).await.refused(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_does_not_start_with_lives_out_of_bounds() {
    for (mode, bad, good) in [(Mode::Test, [0, 1, 301], 2), (Mode::Live, [2, 14, 301], 15)] {
        let folder = tempfile::TempDir::with_prefix("selfsame-").expect("a temporary folder");
        let config = |seconds| {
            let setup = Setup { mode, code_lifetime_seconds: seconds, ..Setup::default() };
            server_config(folder.path(), files(folder.path()), &setup, any_port())
        };
        let files = config(60);
        let clock = new_clock();
        let created = selfsame_server::setup::create_site(&files.database, new_site(mode), clock.now());
        created.await.expect("a new site");
        for seconds in bad {
            let refused = Server::bind(config(seconds), clock.clone()).await;
            let Err(ServerError::Setting { setting, reason }) = refused else { panic!("{mode:?} {seconds}") };
            assert_eq!(setting, "code_lifetime_seconds");
            assert!(reason.contains(&seconds.to_string()), "{reason}");
        }
        Server::bind(config(good), clock.clone()).await.expect("within bounds");
        let mut nothing = config(good);
        nothing.amount_minor_max = 0;
        let refused = Server::bind(nothing, clock).await;
        assert!(matches!(refused, Err(ServerError::Setting { setting: "amount_minor_max", .. })));
    }
}
