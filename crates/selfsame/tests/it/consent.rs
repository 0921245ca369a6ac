//! Consents: no capture without one in force, and nothing left when it is withdrawn.

use selfsame_domain::sensor::SensorGrade;
use serde_json::{Value, json};

use crate::payer::{Payer, Sealing, press, samples_body, text};
use crate::site::{TestSite, contains, no_account};

/// What the wire says of a verification but for what is new each time.
fn shape(mut verification: Value) -> Value {
    for field in ["id", "expires_at"] {
        assert!(verification.as_object_mut().expect("an object").remove(field).is_some(), "{field}");
    }
    verification
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_enrolled_without_a_consent_in_force() {
    let site = TestSite::start().await;
    let (ada, eve) = (site.person(1).await.account, site.person(2).await.account);
    let (hers, withdrawn) = (site.consent(&eve).await, site.consent(&ada).await);
    site.withdraw(&withdrawn).await;
    for consent in [&hers, &withdrawn, &"cns_00000000000000000000000000".to_owned()] {
        let new = json!({ "account": ada, "consent": consent, "terminal": site.desk.terminal(), "modality": "finger" });
        site.operator.post("/v1/enrolments", &new).await.refused(422, "consent_missing");
    }
    assert_eq!(site.count("enrolments"), 0);
    let nobody = json!({ "account": no_account(), "text_version": "2026-11", "language": "en" });
    site.operator.post("/v1/consents", &nobody).await.refused(404, "not_found");
    let path = "/v1/consents/cns_00000000000000000000000000/withdraw";
    site.operator.post(path, &json!({})).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_withdrawn_during_the_enrolment_ends_it() {
    let site = TestSite::start().await;
    let person = site.person(1).await;
    let consent = site.consent(&person.account).await;
    let opened = site.open_enrolment(&person.account, &consent).await;
    site.withdraw(&consent).await;
    let sealing = Sealing::of(&opened, SensorGrade::Simulated);
    let samples: Vec<_> = (1..=3).map(|number| press(1, number)).collect();
    let path = format!("/v1/enrolments/{}/samples", sealing.session);
    site.desk.post(&path, &samples_body(&site.desk, &sealing, &samples)).await.refused(409, "invalid_state");
    assert_eq!(
        site.operator.get(&format!("/v1/enrolments/{}", sealing.session)).await.ok(200)["state"],
        "revoked"
    );
    assert_eq!((site.count("templates"), site.count("consents")), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_a_consent_destroys_the_templates_and_their_key() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let keys = site.keys_database();
    let wrapped = |purpose: &str| -> Vec<Vec<u8>> {
        let mut statement =
            keys.prepare("select wrapped from subject_keys where purpose = ?1").expect("a query");
        let rows = statement.query_map([purpose], |row| row.get(0)).expect("a query");
        rows.collect::<Result<_, _>>().expect("bytes")
    };
    let template_keys = wrapped("template");
    let profile_keys = wrapped("profile");
    assert_eq!((template_keys.len(), site.count("templates")), (1, 3));
    let key_file = || std::fs::read(site.folder().join("keys.db")).expect("readable");
    assert!(contains(&key_file(), &template_keys[0]), "the test would see the key");

    // Opened while the consent was in force.
    let opened = site.open_capturing(&payer.by_phone()).await;
    let first = site.withdraw(&payer.consent).await;
    assert!(first["withdrawn_at"].is_string());
    assert_eq!(site.withdraw(&payer.consent).await, first, "withdrawing twice is withdrawing once");

    assert_eq!(site.count("templates"), 0);
    assert_eq!(wrapped("template"), Vec::<Vec<u8>>::new());
    assert_eq!(wrapped("profile"), profile_keys, "the account itself stays");
    for (name, bytes) in site.files() {
        assert!(!contains(&bytes, &template_keys[0]), "the key is still in {name}");
    }
    assert_eq!(site.count("enrolments where state = 'revoked' and nonce is null"), 1);

    let verdict = site.submit(&opened, &[site.fresh_press(1)]).await.ok(200);
    assert_eq!(verdict["ending"], json!({ "kind": "decision", "decision": "no_match" }));
    let refused = site.open(&payer.by_phone()).await;
    assert_eq!(refused["state"], "failed");
    // A new consent and enrolment work as on the first day.
    let again = Payer { consent: site.consent(&payer.account).await, ..payer };
    site.enrol(&again, SensorGrade::Simulated).await;
    site.pass(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_consent_a_payer_reads_like_a_stranger() {
    let site = TestSite::start().await;
    let unknown = json!({ "kind": "member_number", "value": "NOBODY" });
    let without_consent = site.person(1).await;
    let not_enrolled = site.person(2).await;
    site.consent(&not_enrolled.account).await;
    let withdrawn = site.payer(3, 0).await;
    site.withdraw(&withdrawn.consent).await;

    let stranger = shape(site.open(&unknown).await);
    assert_eq!(stranger["ending"], json!({ "kind": "decision", "decision": "no_match" }));
    assert!(stranger.get("nonce").is_none(), "nothing may be captured");
    for payer in [&without_consent, &not_enrolled, &withdrawn] {
        for identifier in [payer.by_phone(), payer.by_last4(), payer.by_member_number()] {
            assert_eq!(shape(site.open(&identifier).await), stranger);
        }
    }
    let mut reasons: Vec<_> = site.attempts().await.into_iter().map(|(_, reason)| reason).collect();
    reasons.dedup();
    assert_eq!(reasons, ["consent_missing", "not_enrolled", "unknown_identifier"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_whose_consent_is_not_in_force_are_never_candidates() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    // As after a restored backup: the templates are there, their consent is withdrawn, another consent is in force.
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.sql("update consents set withdrawn_at = 1");
    let verdict = site.submit(&opened, &[site.fresh_press(1)]).await.ok(200);
    assert_eq!(verdict["ending"], json!({ "kind": "decision", "decision": "no_match" }));
    assert_eq!(site.open(&payer.by_phone()).await["state"], "failed");
    site.consent(&payer.account).await;
    assert_eq!(site.count("templates"), 3);
    assert_eq!(site.open(&payer.by_phone()).await["state"], "failed");
    assert_eq!(site.latest_attempt().await, ("verification".to_owned(), "not_enrolled".to_owned()));
    // Nor do they stand in the way of another person's enrolment.
    let other = site.person(2).await;
    let other = Payer { finger: 1, consent: site.consent(&other.account).await, ..other };
    site.enrol(&other, SensorGrade::Simulated).await;
    assert_eq!(text(&site.pass(&other).await, "state"), "passed");
}
