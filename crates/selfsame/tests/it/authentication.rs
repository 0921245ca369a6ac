//! Who calls: keys of operator and merchants, signatures of terminals.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use selfsame_api::verification::Verification;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::time::Timestamp;
use serde_json::{Value, json};

use crate::caller::{Caller, Reply, http};
use crate::device::{self, Signed};
use crate::site::TestSite;

const PATH: &str = "/v1/verifications";

/// A request that is answered 201 when its signature is right, and is new each time.
fn body(site: &TestSite) -> Vec<u8> {
    let nobody = json!({ "kind": "member_number", "value": "NOBODY" });
    site.verification_body(&nobody).to_string().into_bytes()
}

async fn send(site: &TestSite, signed: &Signed) -> Reply {
    device::send(&http(), &site.base(), signed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_is_good_once_and_a_restart_forgets_none() {
    let site = TestSite::start().await;
    let signed = site.till.sign("POST", PATH, &body(&site));
    send(&site, &signed).await.ok(201);
    send(&site, &signed).await.refused(401, "signature_replayed");
    site.restart_server().await;
    send(&site, &signed).await.refused(401, "signature_replayed");
    assert_eq!(site.count("verifications"), 1);
    // Another nonce over the same body is another request: the reference answers it.
    let again = site.till.sign("POST", PATH, &signed.body);
    send(&site, &again).await.ok(200);
    assert_eq!(site.count("verifications"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_copies_of_a_signed_request_one_is_taken() {
    let site = Arc::new(TestSite::start().await);
    let signed = site.till.sign("POST", PATH, &body(&site));
    let copies: Vec<_> = (0..16)
        .map(|_| {
            let (site, signed) = (site.clone(), signed.clone());
            tokio::spawn(async move { send(&site, &signed).await })
        })
        .collect();
    let mut statuses = Vec::new();
    for copy in copies {
        statuses.push(copy.await.expect("it is answered").status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert_eq!(statuses[1..], [401; 15]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_changed_on_the_way_is_refused() {
    let site = TestSite::start().await;
    let other_till = site.add_terminal("till").await;
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let unknown_key = "key_00000000000000000000000000";
    let now = site.till.now();
    let signed = || site.till.sign("POST", PATH, &body(&site));
    let content = body(&site);
    let by = |key: &SigningKey, key_id: &str| device::sign(key, key_id, "POST", PATH, &content, now);
    let changed = |change: &dyn Fn(&mut Signed)| {
        let mut signed = signed();
        change(&mut signed);
        signed
    };
    let other_digest = site.till.sign("POST", PATH, b"{}").headers.content_digest;
    let cases = [
        ("body", changed(&|signed| signed.body.push(b' '))),
        (
            "body with its digest",
            changed(&|signed| {
                signed.body = b"{}".to_vec();
                signed.headers.content_digest.clone_from(&other_digest);
            }),
        ),
        ("digest", changed(&|signed| signed.headers.content_digest.clone_from(&other_digest))),
        ("path", changed(&|signed| signed.path_and_query = "/v1/payment-codes".to_owned())),
        ("query", changed(&|signed| signed.path_and_query = format!("{PATH}?a=1"))),
        (
            "nonce",
            changed(&|signed| {
                signed.headers.signature_input =
                    signed.headers.signature_input.replace("nonce=\"", "nonce=\"x");
            }),
        ),
        (
            "time",
            changed(&|signed| {
                let made = format!("created={}", now.as_seconds());
                let later = format!("created={}", now.as_seconds() + 1);
                signed.headers.signature_input = signed.headers.signature_input.replace(&made, &later);
            }),
        ),
        (
            "fewer components",
            changed(&|signed| {
                signed.headers.signature_input = signed.headers.signature_input.replace(" \"@query\"", "");
            }),
        ),
        ("no signature", changed(&|signed| signed.headers.signature = String::new())),
        ("garbage", changed(&|signed| signed.headers.signature = "selfsame=:AAAA:".to_owned())),
        (
            "another algorithm",
            changed(&|signed| {
                signed.headers.signature_input =
                    signed.headers.signature_input.replace("ed25519", "hmac-sha256");
            }),
        ),
        ("key of nobody", by(&stranger, unknown_key)),
        ("key of nobody under a till's name", by(&stranger, &site.till.key_id)),
        ("key of another till", by(&other_till.signing_key, &site.till.key_id)),
        ("no key id", by(&site.till.signing_key, "till")),
    ];
    let before = site.content();
    for (what, signed) in cases {
        let reply = send(&site, &signed).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (401, "signature_invalid"),
            "{what}: {}",
            reply.text()
        );
    }
    assert_eq!(site.content(), before, "nothing was written");
    send(&site, &by(&site.till.signing_key, &site.till.key_id)).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_future_signatures_are_refused_with_the_servers_time() {
    let site = TestSite::start().await;
    let sign = |at: Timestamp| {
        device::sign(&site.till.signing_key, &site.till.key_id, "POST", PATH, &body(&site), at)
    };
    let now = || site.till.now();
    let seconds = Duration::from_secs;
    // The clock runs on while the request travels, so the second itself is left to the unit tests.
    for at in [now() - seconds(50), now() + seconds(28)] {
        send(&site, &sign(at)).await.ok(201);
    }
    for at in [now() - seconds(62), now() - seconds(3_600), now() + seconds(40), now() + seconds(3_600)] {
        let before = now();
        let refused = send(&site, &sign(at)).await.refused(401, "signature_expired");
        let server_time: Timestamp =
            refused["server_time"].as_str().expect("a time").parse().expect("a time");
        assert!((before..=now()).contains(&server_time), "{refused}");
    }
    // A request that was kept back is refused although its nonce is new.
    let kept = sign(now());
    site.advance(61);
    send(&site, &kept).await.refused(401, "signature_expired");
}

/// A clock that is off.
struct OffClock(i64);

impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_corrects_a_clock_that_is_minutes_off_and_no_more() {
    let site = TestSite::start().await;
    let request = || site.verification_body(&json!({ "kind": "member_number", "value": "NOBODY" }));
    for off_ms in [-200_000, 200_000] {
        let link = site.till.identity.link(Arc::new(OffClock(off_ms)));
        let opened = link.post::<Verification>(PATH, &request(), Duration::from_secs(30)).await;
        opened.expect("the clock is corrected");
        // And stays corrected.
        link.post::<Verification>(PATH, &request(), Duration::from_secs(30)).await.expect("it works");
    }
    for off_ms in [-900_000, 900_000] {
        let link = site.till.identity.link(Arc::new(OffClock(off_ms)));
        let refused = link.post::<Verification>(PATH, &request(), Duration::from_secs(30)).await;
        let problem = refused.err().and_then(|error| error.problem().cloned()).expect("a refusal");
        assert_eq!(problem.code.as_str(), "signature_expired");
    }
}

/// Every route of the document with its tag, ids filled in.
fn routes() -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&selfsame_server::openapi_json()).expect("JSON");
    let ids = [
        ("/v1/accounts/", "acct"),
        ("/v1/consents/", "cns"),
        ("/v1/enrolments/", "enr"),
        ("/v1/terminals/", "trm"),
        ("/v1/verifications/", "ver"),
        ("/v1/payments/", "pay"),
        ("/v1/confirmations/", "pay"),
        ("/v1/adjustments/", "pay"),
        ("/v1/settlements/", "set"),
        ("/v1/merchants/", "mch"),
    ];
    let fill = |path: &str| match ids.iter().find(|(start, _)| path.starts_with(start)) {
        Some((_, prefix)) => path.replace("{id}", &format!("{prefix}_00000000000000000000000000")),
        None => path.to_owned(),
    };
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let tag = operation["tags"][0].as_str().expect("a tag").to_owned();
            routes.push((method.to_uppercase(), fill(path), tag));
        }
    }
    routes
}

async fn call(caller: &Caller, method: &str, path: &str) -> Reply {
    let request = caller.request(method, path).header("content-type", "application/json");
    caller.send(request.body("{}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_everybody_it_is_not_for() {
    let site = TestSite::start().await;
    let wrong = Caller::new(&site.base(), Some("ok_test_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let cut = &site.created.operator_key.0;
    let cut = Caller::new(&site.base(), Some(&cut[..cut.len() - 1]));
    let before = site.content();
    let mut checked = 0;
    for (method, path, tag) in routes() {
        let strangers: Vec<(&Caller, u16, &str)> = match tag.as_str() {
            "health" => continue,
            "operator" | "test" => vec![
                (&site.merchant, 403, "forbidden"),
                (&wrong, 401, "unauthenticated"),
                (&cut, 401, "unauthenticated"),
                (&site.nobody, 401, "unauthenticated"),
            ],
            "merchant" => vec![
                (&site.operator, 403, "forbidden"),
                (&wrong, 401, "unauthenticated"),
                (&site.nobody, 401, "unauthenticated"),
            ],
            "merchant, operator" => {
                vec![(&wrong, 401, "unauthenticated"), (&site.nobody, 401, "unauthenticated")]
            }
            "terminal" => vec![
                (&site.operator, 401, "signature_invalid"),
                (&site.merchant, 401, "signature_invalid"),
                (&site.nobody, 401, "signature_invalid"),
            ],
            // Keys are nothing there; what a page sends is tried in the server's own tests.
            "page" => vec![
                (&site.operator, 400, "invalid_request"),
                (&site.merchant, 400, "invalid_request"),
                (&site.nobody, 400, "invalid_request"),
            ],
            other => panic!("a new tag: {other}"),
        };
        for (caller, status, code) in strangers {
            let reply = call(caller, &method, &path).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (status, code),
                "{method} {path}: {}",
                reply.text()
            );
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked} combinations");
    assert_eq!(site.content(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_other_schemes_are_unauthenticated() {
    let site = TestSite::start().await;
    let key = &site.created.merchant_key.0;
    for value in [format!("Basic {key}"), format!("bearer {key}"), key.clone(), "Bearer ".to_owned()] {
        let request = site.nobody.request("GET", "/v1/balance").header("authorization", &value);
        site.nobody.send(request).await.refused(401, "unauthenticated");
    }
    site.merchant.get("/v1/balance").await.ok(200);
    site.sql("update api_keys set revoked_at = 1 where role = 'merchant'");
    // By somebody else, in the file: the server may know the key for a second more.
    site.advance(1);
    site.merchant.get("/v1/balance").await.refused(401, "unauthenticated");
}
