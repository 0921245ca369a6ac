//! Number and PIN instead of a sample: a pass like any other, for people without a template, a consent or the wish.

use serde_json::{Value, json};

use crate::payer::{Payer, text};
use crate::site::TestSite;

/// Wrong entries at one terminal before it takes no more for ten minutes.
const REFUSALS_MAX: usize = 20;

const PIN: &str = "2580";

impl TestSite {
    async fn set_pin(&self, payer: &Payer) {
        let path = format!("/v1/accounts/{}/pin", payer.account);
        assert_eq!(self.operator.put(&path, &json!({ "pin": PIN })).await.status, 204);
    }

    fn pin_body(&self, identifier: &Value, pin: &str) -> Value {
        json!({ "request_ref": self.reference(), "instead_of": "face", "identifier": identifier, "pin": pin })
    }

    async fn by_pin(&self, identifier: &Value, pin: &str) -> Value {
        self.till.post("/v1/pin-verifications", &self.pin_body(identifier, pin)).await.ok(201)
    }
}

/// What a terminal reads, without what differs each time.
fn as_read(mut verification: Value) -> Value {
    for field in ["id", "expires_at"] {
        verification.as_object_mut().expect("an object").remove(field);
    }
    verification
}

#[tokio::test(flavor = "multi_thread")]
async fn number_and_pin_pass_without_consent_or_template_and_pay_within_limits_of_their_own() {
    let site = TestSite::start().await;
    let payer = site.person(1).await;
    site.set_pin(&payer).await;
    site.top_up(&payer.account, 2_000).await;
    for identifier in [payer.by_member_number(), payer.by_phone()] {
        let passed = site.by_pin(&identifier, PIN).await;
        assert_eq!(
            (&passed["state"], &passed["sensor_grade"]),
            (&json!("passed"), &json!("pin")),
            "{passed}"
        );
        assert_eq!(passed["payer_display"], "A***");
        assert!(passed.get("nonce").is_none() && passed.get("challenge").is_none());
    }
    let limits = json!({ "payment_minor_max": 500 });
    site.operator.put("/v1/limits/grades/pin", &limits).await.ok(200);
    let passed = site.by_pin(&payer.by_member_number(), PIN).await;
    let digits = site.digits(&passed).await;
    site.charge("o-1", 501, &digits).await.refused(402, "payment_declined");
    site.charge("o-1", 500, &digits).await.ok(201);
    assert_eq!(site.balance_minor(&payer.account).await, 1_500);
    assert_eq!(site.count("payments where sensor_grade = 'pin' and kind = 'charge'"), 1);
    // The next payer at this till ends the pass, as after any other.
    let again = site.by_pin(&payer.by_member_number(), PIN).await;
    site.by_pin(&payer.by_member_number(), PIN).await;
    site.ask_code(&again).await.refused(409, "invalid_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_unknown_reads_like_whoever_types_a_wrong_pin() {
    let site = TestSite::start().await;
    let (payer, without) = (site.person(1).await, site.person(2).await);
    site.set_pin(&payer).await;
    let nobody = json!({ "kind": "member_number", "value": "M-999" });
    let wrong = site.by_pin(&payer.by_member_number(), "1470").await;
    assert_eq!((&wrong["state"], &wrong["ending"]["decision"]), (&json!("failed"), &json!("no_match")));
    let wrong = as_read(wrong);
    assert_eq!(as_read(site.by_pin(&nobody, "1470").await), wrong);
    assert_eq!(as_read(site.by_pin(&without.by_phone(), "1470").await), wrong);
    for _ in 0..2 {
        assert_eq!(as_read(site.by_pin(&payer.by_phone(), "1471").await), wrong);
    }
    // It is locked now, and the right one comes too late; not even that is told.
    assert_eq!(as_read(site.by_pin(&payer.by_phone(), PIN).await), wrong);
    let reasons: Vec<String> = site.attempts().await.into_iter().map(|(_, reason)| reason).collect();
    let expected =
        ["pin_locked", "pin_locked", "pin_missing", "pin_wrong", "pin_wrong", "unknown_identifier"];
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_answers_the_same_and_costs_no_further_try() {
    let site = TestSite::start().await;
    let payer = site.person(1).await;
    site.set_pin(&payer).await;
    let body = site.pin_body(&payer.by_phone(), "1470");
    let first = site.till.post("/v1/pin-verifications", &body).await.ok(201);
    for _ in 0..4 {
        let again = site.till.post("/v1/pin-verifications", &body).await;
        assert!(again.is_replay());
        assert_eq!(text(&again.ok(200), "id"), text(&first, "id"));
    }
    let mut other = body.clone();
    other["identifier"] = payer.by_member_number();
    site.till.post("/v1/pin-verifications", &other).await.refused(409, "reference_conflict");
    // A verification of another kind is another one, too.
    let mut sample = site.verification_body(&payer.by_phone());
    sample["request_ref"] = body["request_ref"].clone();
    site.till.post("/v1/verifications", &sample).await.refused(409, "reference_conflict");
    let path = format!("/v1/accounts/{}/pin", payer.account);
    assert_eq!(site.operator.get(&path).await.ok(200)["tries_left"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_costs_nothing_and_a_desk_does_not_verify_payers() {
    let site = TestSite::start().await;
    let payer = site.person(1).await;
    site.set_pin(&payer).await;
    let refused = async |identifier: &Value, pin: &str| {
        site.till
            .post("/v1/pin-verifications", &site.pin_body(identifier, pin))
            .await
            .refused(400, "invalid_request");
    };
    refused(&payer.by_last4(), PIN).await;
    refused(&payer.by_phone(), "12").await;
    refused(&payer.by_phone(), "12345678901234").await;
    refused(&json!({ "kind": "member_number", "value": "M 1'; --" }), PIN).await;
    let body = site.pin_body(&payer.by_phone(), PIN);
    site.desk.post("/v1/pin-verifications", &body).await.refused(403, "forbidden");
    // Nobody says of a sample that it is a PIN.
    let mut sample = site.verification_body(&payer.by_phone());
    sample["sensor_grade"] = json!("pin");
    site.till.post("/v1/verifications", &sample).await.refused(422, "sensor_grade_refused");
    assert_eq!(site.attempts().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_at_which_one_pin_is_tried_with_many_numbers_takes_no_more_for_a_while() {
    let site = TestSite::start().await;
    let payer = site.person(1).await;
    site.set_pin(&payer).await;
    for number in 0..REFUSALS_MAX {
        let nobody = json!({ "kind": "member_number", "value": format!("X-{number}") });
        site.by_pin(&nobody, PIN).await;
    }
    let body = site.pin_body(&payer.by_phone(), PIN);
    site.till.post("/v1/pin-verifications", &body).await.refused(429, "too_many_attempts");
    // Another till is not touched, and after ten minutes this one neither.
    let other = site.add_terminal("till").await;
    assert_eq!(other.post("/v1/pin-verifications", &body).await.ok(201)["state"], "passed");
    site.advance(600);
    assert_eq!(site.by_pin(&payer.by_phone(), PIN).await["state"], "passed");
}
