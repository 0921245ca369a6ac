//! Verifications: the identifier selects, the finger decides, and what goes wrong has a kind of its own.

use std::sync::Arc;

use selfsame_api::sealing::FRAME_BYTES_MAX;
use selfsame_api::verification::FRAMES_MAX;
use selfsame_domain::sensor::SensorGrade;
use selfsame_domain::site::Mode;
use selfsame_domain::verification::Policy;
use serde_json::{Value, json};

use crate::payer::{Payer, Sealing, blank, samples_body, text};
use crate::site::{Setup, TestSite};

fn decision(decision: &str) -> Value {
    json!({ "kind": "decision", "decision": decision })
}

fn reasons(attempts: Vec<(String, String)>) -> Vec<String> {
    attempts.into_iter().map(|(_, reason)| reason).collect()
}

/// Policy with one change.
fn policy(change: impl Fn(&mut Policy)) -> Setup {
    let mut policy = Policy::DEFAULT;
    change(&mut policy);
    Setup { policy, ..Setup::default() }
}

/// Two payers whose phone numbers end alike.
async fn bucket_of_two(site: &TestSite) -> (Payer, Payer) {
    let (first, second) = (site.payer(1, 0).await, site.payer(10_001, 0).await);
    assert_eq!(first.by_last4(), second.by_last4());
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_recognised_by_each_kind_of_identifier() {
    let site = TestSite::start().await;
    let (payer, other) = bucket_of_two(&site).await;
    for identifier in [payer.by_phone(), payer.by_last4(), payer.by_member_number()] {
        let opened = site.open_capturing(&identifier).await;
        assert_eq!(opened["attempts_left"], 3);
        let passed = site.press_until_passed(opened, payer.finger).await;
        assert_eq!(passed["ending"], decision("match"));
        assert_eq!(passed["payer_display"], "A***");
        assert_eq!(passed["attempts_left"], 0);
        assert!(passed.get("nonce").is_none());
        for stage in ["capture", "seal", "open", "extraction", "comparison"] {
            assert!(passed["timings"][stage].is_u64(), "{stage} in {passed}");
        }
        let shown = site.till.get(&format!("/v1/verifications/{}", text(&passed, "id"))).await.ok(200);
        assert_eq!((&shown["state"], &shown["payer_display"]), (&passed["state"], &passed["payer_display"]));
        let id = text(&passed, "id");
        let account = site.value(&format!("select account_id from verifications where id = '{id}'"));
        assert_eq!(account, payer.account, "not {}", other.account);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_runs_out_of_attempts() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let mut verification = site.open_capturing(&payer.by_phone()).await;
    for attempts_left in [2, 1] {
        verification = site.submit(&verification, &[site.fresh_press(2)]).await.ok(200);
        assert_eq!(verification["ending"], decision("no_match"));
        assert_eq!(
            (&verification["state"], &verification["attempts_left"]),
            (&json!("capturing"), &json!(attempts_left))
        );
    }
    let last = verification.clone();
    let failed = site.submit(&verification, &[site.fresh_press(2)]).await.ok(200);
    assert_eq!((&failed["state"], &failed["ending"]), (&json!("failed"), &decision("no_match")));
    assert!(failed.get("nonce").is_none());
    // The right finger comes too late.
    site.submit(&last, &[site.fresh_press(1)]).await.refused(409, "invalid_state");
    site.ask_code(&failed).await.refused(409, "invalid_state");
    let shown = site.till.get(&format!("/v1/verifications/{}", text(&failed, "id"))).await.ok(200);
    assert_eq!(shown, failed);
    assert_eq!(
        reasons(site.attempts().await),
        ["verification_not_passed", "no_match", "no_match", "no_match"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_finger_with_the_wrong_digits_is_no_match() {
    let site = TestSite::start().await;
    let (payer, other) = (site.payer(1, 0).await, site.payer(2, 0).await);
    for identifier in [other.by_phone(), other.by_last4(), other.by_member_number()] {
        let opened = site.open_capturing(&identifier).await;
        let verdict = site.submit(&opened, &[site.fresh_press(payer.finger)]).await.ok(200);
        assert_eq!(verdict["ending"], decision("no_match"));
        assert!(verdict.get("payer_display").is_none(), "{verdict}");
    }
    // Once it is over it reads like an identifier that nobody has.
    let mut wrong = site.open_capturing(&other.by_phone()).await;
    while wrong["state"] == "capturing" {
        wrong = site.submit(&wrong, &[site.fresh_press(payer.finger)]).await.ok(200);
    }
    let shown = async |verification: Value| {
        let path = format!("/v1/verifications/{}", text(&verification, "id"));
        let mut shown = site.till.get(&path).await.ok(200);
        for field in ["id", "expires_at", "timings"] {
            shown[field].take();
        }
        shown
    };
    let unknown = site.open(&json!({ "kind": "phone", "value": "491700000000" })).await;
    assert_eq!(shown(wrong).await, shown(unknown).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_candidates_ask_for_more_digits() {
    let site = TestSite::start_with(policy(|policy| policy.candidates_max = 1)).await;
    let (payer, _) = bucket_of_two(&site).await;
    let ambiguous = site.open(&payer.by_last4()).await;
    assert_eq!((&ambiguous["state"], &ambiguous["ending"]), (&json!("failed"), &decision("ambiguous")));
    assert!(ambiguous.get("nonce").is_none(), "nothing may be captured");
    assert_eq!(reasons(site.attempts().await), ["too_many_candidates"]);
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.press_until_passed(opened, payer.finger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_beyond_the_measured_rates_are_refused_before_anybody_touches_the_reader() {
    // The strictest rate that was measured for fingers suffices for one comparison, and not for two people's.
    let site = TestSite::start_with(policy(|policy| policy.false_accept_ppb = 150)).await;
    let (payer, _) = bucket_of_two(&site).await;
    let ambiguous = site.open(&payer.by_last4()).await;
    assert_eq!((&ambiguous["state"], &ambiguous["ending"]), (&json!("failed"), &decision("ambiguous")));
    assert!(ambiguous.get("nonce").is_none(), "nothing may be captured");
    assert_eq!(reasons(site.attempts().await), ["too_many_candidates"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_candidates_that_are_too_near_are_ambiguous() {
    let site = TestSite::start_with(policy(|policy| policy.margin = 10_001)).await;
    let (payer, _) = bucket_of_two(&site).await;
    let mut verification = site.open_capturing(&payer.by_last4()).await;
    while verification["state"] == "capturing" {
        verification = site.submit(&verification, &[site.fresh_press(payer.finger)]).await.ok(200);
    }
    assert_eq!((&verification["state"], &verification["ending"]), (&json!("failed"), &decision("ambiguous")));
    site.ask_code(&verification).await.refused(409, "invalid_state");
    // Alone, nobody contests.
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.press_until_passed(opened, payer.finger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_was_never_measured_is_never_a_match() {
    let site = TestSite::start_with(policy(|policy| policy.false_accept_ppb = 0)).await;
    let payer = site.payer(1, 0).await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    let verdict = site.submit(&opened, &[site.fresh_press(1)]).await.ok(200);
    assert_eq!((&verdict["state"], &verdict["ending"]), (&json!("failed"), &decision("ambiguous")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_cannot_be_used_costs_no_attempt() {
    let site = TestSite::start_with(policy(|policy| policy.attempts_max = 1)).await;
    let payer = site.payer(1, 0).await;
    let mut verification = site.open_capturing(&payer.by_phone()).await;
    for _ in 0..4 {
        let retried = site.submit(&verification, &[blank()]).await.ok(200);
        assert_eq!(retried["ending"], json!({ "kind": "retry", "reason": "no_finger" }));
        assert_eq!((&retried["state"], &retried["attempts_left"]), (&json!("capturing"), &json!(1)));
        assert_ne!(retried["nonce"], verification["nonce"], "each submission has a nonce of its own");
        verification = retried;
    }
    assert_eq!(site.attempts().await, [], "a retry is no attempt");
    // One usable sample among blank ones is enough.
    let samples = [blank(), site.fresh_press(1), site.fresh_press(1)];
    assert_eq!(site.submit(&verification, &samples).await.ok(200)["state"], "passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matcher_that_is_away_is_our_fault_and_costs_no_attempt() {
    let site = TestSite::start_with(policy(|policy| policy.attempts_max = 1)).await;
    let payer = site.payer(1, 1_000).await;
    let digits = site.code_of(&payer).await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.stop_matcher().await;
    let fault = site.submit(&opened, &[site.fresh_press(1)]).await.ok(200);
    assert_eq!(fault["ending"], json!({ "kind": "fault", "fault": "matcher_unavailable" }));
    assert_eq!((&fault["state"], &fault["attempts_left"]), (&json!("capturing"), &json!(1)));
    assert_eq!(site.attempts().await, [], "a fault is no attempt");
    // Payments go on without it.
    site.charge("o-1", 100, &digits).await.ok(201);
    site.start_matcher().await;
    let samples = [site.fresh_press(1), site.fresh_press(1), site.fresh_press(1)];
    assert_eq!(site.submit(&fault, &samples).await.ok(200)["state"], "passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_good_for_one_submission() {
    let site = Arc::new(TestSite::start().await);
    let payer = site.payer(1, 0).await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    let sealing = Sealing::of(&opened, SensorGrade::Simulated);
    let body = samples_body(&site.till, &sealing, &[site.fresh_press(2)]);
    // The same sealed frames in many hands, each signed properly.
    let copies: Vec<_> = (0..8)
        .map(|_| {
            let (site, body, session) = (site.clone(), body.clone(), sealing.session.clone());
            tokio::spawn(async move { site.submit_body(&session, &body).await })
        })
        .collect();
    let mut taken = Vec::new();
    for copy in copies {
        let reply = copy.await.expect("it is answered");
        if reply.status == 200 {
            taken.push(reply.ok(200));
        } else {
            reply.refused(409, "invalid_state");
        }
    }
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0]["attempts_left"], 2);
    site.submit_body(&sealing.session, &body).await.refused(409, "invalid_state");
    let invented = Sealing { nonce: "AAAA".to_owned(), ..sealing };
    let body = samples_body(&site.till, &invented, &[site.fresh_press(1)]);
    site.submit_body(&invented.session, &body).await.refused(409, "invalid_state");
    assert_eq!(site.count("attempts"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_were_sealed_for_something_else_do_not_open() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let earlier = site.open_capturing(&payer.by_phone()).await;
    let earlier = Sealing::of(&earlier, SensorGrade::Simulated);
    let mut verification = site.open_capturing(&payer.by_phone()).await;
    for what in ["session", "nonce", "grade", "terminal", "order", "resolution", "cut"] {
        let here = Sealing::of(&verification, SensorGrade::Simulated);
        let sealed_for = match what {
            "session" => Sealing { session: earlier.session.clone(), ..here.clone() },
            "nonce" => Sealing { nonce: earlier.nonce.clone(), ..here.clone() },
            "grade" => Sealing { grade: SensorGrade::Finger, ..here.clone() },
            _ => here.clone(),
        };
        let sealed_by = if what == "terminal" { &site.desk } else { &site.till };
        let samples = [site.fresh_press(1), site.fresh_press(1)];
        let mut body = samples_body(sealed_by, &sealed_for, &samples);
        body["nonce"] = json!(here.nonce);
        body["sensor_grade"] = json!("simulated");
        match what {
            "order" => body["frames"].as_array_mut().expect("frames").swap(0, 1),
            "resolution" => body["frames"][0]["resolution_dpi"] = json!(1_000),
            "cut" => body["frames"][0]["ciphertext"] = json!("AAAA"),
            _ => {}
        }
        let fault = site.submit_body(&here.session, &body).await.ok(200);
        assert_eq!(fault["ending"], json!({ "kind": "fault", "fault": "seal_broken" }), "{what}");
        assert_eq!((&fault["state"], &fault["attempts_left"]), (&json!("capturing"), &json!(3)), "{what}");
        verification = fault;
    }
    site.press_until_passed(verification, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_of_another_shape_cost_nothing() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    let sealing = Sealing::of(&opened, SensorGrade::Simulated);
    let sample = || site.fresh_press(1);
    let good = samples_body(&site.till, &sealing, &[sample()]);
    let samples_path = format!("/v1/verifications/{}/samples", sealing.session);
    let change = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    let nine: Vec<_> = (0..9).map(|_| blank()).collect();
    let cases = [
        samples_body(&site.till, &sealing, &[]),
        samples_body(&site.till, &sealing, &nine),
        change(&|body| body["modality"] = json!("face")),
        change(&|body| body["modality"] = json!("iris")),
        change(&|body| body["sensor_grade"] = json!("finger")),
        change(&|body| body["nonce"] = json!("***")),
        change(&|body| body["nonce"] = json!(7)),
        change(&|body| body["score"] = json!(10_000)),
        change(&|body| body["frames"][0]["template"] = json!("AAAA")),
        change(&|body| body["frames"][0]["resolution_dpi"] = json!("500")),
        change(&|body| body["frames"][0]["resolution_dpi"] = json!(70_000)),
        change(&|body| body["frames"][0]["format"] = json!("gif")),
        change(&|body| body["frames"] = json!({})),
        change(&|body| body["timings"] = json!({ "teleport": 1 })),
        change(&|body| body["timings"] = json!({ "capture": -1 })),
    ];
    for body in cases {
        site.submit_body(&sealing.session, &body).await.refused(400, "invalid_request");
    }
    // One byte over the limit; at the limit it is taken, below.
    let limit = FRAMES_MAX * (FRAME_BYTES_MAX / 3 * 4 + 1024) + 4096;
    let padded = |bytes: usize| {
        let text = good.to_string();
        site.till.sign("POST", &samples_path, format!("{text}{}", " ".repeat(bytes - text.len())).as_bytes())
    };
    site.till.send(&padded(limit + 1)).await.refused(413, "payload_too_large");
    let path = format!("/v1/verifications/{}", sealing.session);
    assert_eq!(site.till.get(&path).await.ok(200)["nonce"], opened["nonce"], "nothing was used up");
    let verdict = site.till.send(&padded(limit)).await.ok(200);
    site.press_until_passed(verdict, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_opens_one_verification() {
    let site = TestSite::start().await;
    let (payer, other) = (site.payer(1, 0).await, site.payer(2, 0).await);
    let body = site.verification_body(&payer.by_phone());
    let first = site.till.post("/v1/verifications", &body).await.ok(201);
    let again = site.till.post("/v1/verifications", &body).await;
    assert!(again.is_replay(), "a repeated answer says so");
    assert_eq!(serde_json::from_slice::<Value>(&again.body).expect("JSON"), first);
    let passed = site.press_until_passed(first, 1).await;
    let again = site.till.post("/v1/verifications", &body).await;
    assert_eq!(serde_json::from_slice::<Value>(&again.body).expect("JSON")["state"], "passed");
    // For somebody else the reference is taken: nobody gets the pass of another.
    let mut conflict = body.clone();
    conflict["identifier"] = other.by_phone();
    site.till.post("/v1/verifications", &conflict).await.refused(409, "reference_conflict");
    site.digits(&passed).await;
    // References belong to a terminal.
    let second = site.add_terminal("till").await;
    assert_ne!(second.post("/v1/verifications", &conflict).await.ok(201)["id"], passed["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_ends_when_the_next_payer_comes() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 1_000).await;
    let (passed, digits) = {
        let passed = site.pass(&payer).await;
        let digits = site.digits(&passed).await;
        (passed, digits)
    };
    let second_till = site.add_terminal("till").await;
    let nobody = json!({ "kind": "phone", "value": "491700000000" });
    second_till.post("/v1/verifications", &site.verification_body(&nobody)).await.ok(201);
    let path = format!("/v1/verifications/{}", text(&passed, "id"));
    assert_eq!(site.till.get(&path).await.ok(200)["state"], "passed", "another till is another queue");
    site.open(&nobody).await;
    let ended = site.till.get(&path).await.ok(200);
    assert_eq!(ended["state"], "ended");
    assert!(ended.get("payer_display").is_none(), "the next payer does not see who was there");
    site.ask_code(&passed).await.refused(409, "invalid_state");
    // The code in the register's hands is good until it expires.
    site.charge("o-1", 100, &digits).await.ok(201);
    // And samples for a payer who left are not taken.
    let left = site.open_capturing(&payer.by_phone()).await;
    site.open(&nobody).await;
    site.submit(&left, &[site.fresh_press(1)]).await.refused(409, "invalid_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_and_passes_are_awaited_for_a_while_only() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.advance(61);
    site.submit(&opened, &[site.fresh_press(1)]).await.refused(409, "invalid_state");
    let passed = site.pass(&payer).await;
    site.advance(290);
    site.ask_code(&passed).await.ok(201);
    site.advance(11);
    site.ask_code(&passed).await.refused(409, "invalid_state");
    assert_eq!(site.latest_attempt().await.1, "verification_not_passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_belongs_to_its_terminal() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let other = site.add_terminal("till").await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    let path = format!("/v1/verifications/{}", text(&opened, "id"));
    other.get(&path).await.refused(404, "not_found");
    other.post(&format!("{path}/end"), &json!({})).await.refused(404, "not_found");
    let sealing = Sealing::of(&opened, SensorGrade::Simulated);
    let body = samples_body(&other, &sealing, &[site.fresh_press(1)]);
    other.post(&format!("{path}/samples"), &body).await.refused(404, "not_found");
    let passed = site.press_until_passed(opened, 1).await;
    other.post("/v1/payment-codes", &site.code_body(&passed)).await.refused(404, "not_found");
    let nobody = "/v1/verifications/ver_00000000000000000000000000";
    site.till.get(nobody).await.refused(404, "not_found");
    site.till.get("/v1/verifications/pay_00000000000000000000000000").await.refused(400, "wrong_id_kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_of_another_shape_are_refused() {
    let site = TestSite::start().await;
    for (kind, value) in [
        ("phone", "12"),
        ("phone_last4", "12345"),
        ("phone_last4", "12a4"),
        ("member_number", ""),
        ("member_number", "x' or 1=1"),
        ("phone", "+++"),
        ("e_mail", "a@b"),
    ] {
        let body = site.verification_body(&json!({ "kind": kind, "value": value }));
        site.till.post("/v1/verifications", &body).await.refused(400, "invalid_request");
    }
    let mut body = site.verification_body(&json!({ "kind": "phone_last4", "value": "0001" }));
    body["modality"] = json!("face");
    body["sensor_grade"] = json!("finger");
    site.till.post("/v1/verifications", &body).await.refused(422, "sensor_grade_refused");
    assert_eq!(site.count("verifications"), 0);
}

/// Sends one press of a finger under this member number; answers the verification.
async fn pressed(site: &TestSite, payer: &Payer, grade: SensorGrade, finger: u64) -> Value {
    let body = json!({ "request_ref": site.reference(), "modality": "finger", "sensor_grade": grade,
        "identifier": payer.by_member_number() });
    let opened = site.till.post("/v1/verifications", &body).await.ok(201);
    let sealing = Sealing::of(&opened, grade);
    let body = samples_body(&site.till, &sealing, &[site.fresh_press(finger)]);
    site.submit_body(&sealing.session, &body).await.ok(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn magic_member_numbers_end_as_the_table_says_on_test_sites() {
    let site = TestSite::start().await;
    let fault = json!({ "kind": "fault", "fault": "matcher_unavailable" });
    let table = [
        ("TEST-0000", decision("match"), "passed"),
        ("TEST-0001", decision("no_match"), "capturing"),
        ("TEST-0002", decision("ambiguous"), "failed"),
        ("TEST-0003", decision("attack"), "failed"),
        ("TEST-0004", fault, "capturing"),
    ];
    for (finger, (number, ending, state)) in (1..).zip(table) {
        let payer = site.payer_with_number(finger, number, SensorGrade::Simulated).await;
        // Somebody else's finger where it passes, the right one where it does not.
        let pressing = if state == "passed" { 99 } else { finger };
        let concluded = pressed(&site, &payer, SensorGrade::Simulated, pressing).await;
        assert_eq!((&concluded["ending"], &concluded["state"]), (&ending, &json!(state)), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_live_sites_magic_member_numbers_are_like_any_other() {
    let site = TestSite::start_with(Setup { mode: Mode::Live, ..Setup::default() }).await;
    let payer = site.payer_with_number(1, "TEST-0000", SensorGrade::Finger).await;
    let stranger = pressed(&site, &payer, SensorGrade::Finger, 99).await;
    assert_eq!(stranger["ending"], decision("no_match"));
}
