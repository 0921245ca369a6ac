//! What bad input gets: a typed answer, and nothing written.

use serde_json::json;

use crate::site::TestSite;

/// Bodies that are refused as such, with the code of the refusal.
fn bodies(account: &str) -> Vec<(&'static str, String, &'static str)> {
    let top_up = |minor: &str| {
        format!(r#"{{"top_up_ref":"t","account":"{account}","amount":{{"minor":{minor},"currency":"EUR"}}}}"#)
    };
    let long_name = "x".repeat(121);
    let mut bodies = vec![
        ("/v1/accounts", "{".to_owned(), "invalid_request"),
        ("/v1/accounts", "[]".to_owned(), "invalid_request"),
        ("/v1/accounts", "\"text\"".to_owned(), "invalid_request"),
        ("/v1/accounts", "\u{0}".to_owned(), "invalid_request"),
        ("/v1/accounts", String::new(), "invalid_request"),
        ("/v1/accounts", "[".repeat(5_000), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"Ada"}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"","phone":"491705550142"}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"A\u0007da","phone":"491705550142"}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", format!(r#"{{"request_ref":"a","display_name":"{long_name}","phone":"491705550142"}}"#), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"Ada","phone":"call me"}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"Ada","phone":491705550142}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a b","display_name":"Ada","phone":"491705550142"}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","display_name":"Ada","phone":"491705550142","vip":true}"#.to_owned(), "invalid_request"),
        ("/v1/accounts", r#"{"request_ref":"a","request_ref":"b","display_name":"Ada","phone":"491705550142"}"#.to_owned(), "invalid_request"),
        ("/v1/top-ups", r#"{"top_up_ref":"t","account":"pay_00000000000000000000000000","amount":{"minor":1,"currency":"EUR"}}"#.to_owned(), "wrong_id_kind"),
        ("/v1/top-ups", r#"{"top_up_ref":"t","account":"acct_1","amount":{"minor":1,"currency":"EUR"}}"#.to_owned(), "invalid_request"),
        ("/v1/top-ups", format!(r#"{{"top_up_ref":"t","account":"{account}","amount":{{"minor":1,"currency":"XXX"}}}}"#), "invalid_request"),
        ("/v1/top-ups", format!(r#"{{"top_up_ref":"t","account":"{account}","amount":{{"minor":1}}}}"#), "invalid_request"),
        ("/v1/top-ups", format!(r#"{{"top_up_ref":"t","account":"{account}","amount":1}}"#), "invalid_request"),
        ("/v1/consents", format!(r#"{{"account":"{account}","text_version":"1999","language":"en"}}"#), "invalid_request"),
        ("/v1/merchants", r#"{"request_ref":"m","name":"","store_name":"x"}"#.to_owned(), "invalid_request"),
        ("/v1/test-clock/advance", r#"{"seconds":0}"#.to_owned(), "invalid_request"),
        ("/v1/test-clock/advance", r#"{"seconds":-1}"#.to_owned(), "invalid_request"),
        ("/v1/test-clock/advance", r#"{"seconds":99999999999}"#.to_owned(), "invalid_request"),
    ];
    for minor in [
        "0",
        "-1",
        "1.5",
        "1e3",
        "\"10\"",
        "null",
        "true",
        "1000000000001",
        "9223372036854775808",
        "-9223372036854775809",
        "1e400",
        "NaN",
        "[]",
    ] {
        bodies.push(("/v1/top-ups", top_up(minor), "invalid_request"));
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_shape_are_refused_and_write_nothing() {
    let site = TestSite::start().await;
    let account = site.person(1).await.account;
    let before = site.content();
    for (path, body, code) in bodies(&account) {
        let reply = site.operator.post_text(path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{path} {body}: {}", reply.text());
        reply.refused(400, code);
    }
    assert_eq!(site.content(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_no_json_are_refused() {
    let site = TestSite::start().await;
    let before = site.content();
    // One byte over the limit: of a larger body the connection may be closed before the answer is read.
    let padded = |bytes: usize| {
        let body = r#"{"request_ref":"limit","display_name":"Ada","phone":"491705550141"}"#;
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    site.operator.post_text("/v1/accounts", &padded((64 << 10) + 1)).await.refused(413, "payload_too_large");
    let small = r#"{"request_ref":"a","display_name":"Ada","phone":"491705550142"}"#;
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""] {
        let request = site.operator.request("POST", "/v1/accounts").header("content-type", media_type);
        site.operator.send(request.body(small)).await.refused(415, "unsupported_media_type");
    }
    let request = site.operator.request("POST", "/v1/accounts").body(small);
    site.operator.send(request).await.refused(415, "unsupported_media_type");
    assert_eq!(site.content(), before, "nothing was written");
    site.operator.post_text("/v1/accounts", &padded(64 << 10)).await.ok(201);
    // A media type with a parameter is JSON all the same.
    let request = site.operator.request("POST", "/v1/accounts");
    let request = request.header("content-type", "application/json; charset=utf-8").body(small);
    site.operator.send(request).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_header_is_refused_aloud() {
    let site = TestSite::start().await;
    let before = site.content();
    let body = json!({ "request_ref": "a", "display_name": "Ada", "phone": "491705550142" });
    let request = site.operator.request("POST", "/v1/accounts").header("idempotency-key", "abc");
    let request = request.header("content-type", "application/json").body(body.to_string());
    site.operator.send(request).await.refused(400, "idempotency_key_not_supported");
    assert_eq!(site.content(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_methods_ids_and_queries_are_refused() {
    let site = TestSite::start().await;
    site.operator.get("/v1/nothing").await.refused(404, "route_not_found");
    site.operator.get("/").await.refused(404, "route_not_found");
    site.operator.get("/v1/accounts").await.refused(405, "method_not_allowed");
    site.operator.get("/v1/accounts/pay_00000000000000000000000000").await.refused(400, "wrong_id_kind");
    site.operator.get("/v1/accounts/..%2f..%2fetc").await.refused(400, "wrong_id_kind");
    site.operator.get("/v1/accounts/%ff").await.refused(404, "route_not_found");
    site.operator.get("/v1/attempts?limit=0").await.refused(400, "invalid_request");
    site.operator.get("/v1/attempts?limit=101").await.refused(400, "invalid_request");
    site.operator.get("/v1/attempts?limit=many").await.refused(400, "invalid_request");
    site.operator.get("/v1/attempts?limit=1&page=2").await.refused(400, "invalid_request");
    site.merchant.get("/v1/payments").await.refused(400, "invalid_request");
    site.merchant.get("/v1/payments?order_ref=").await.refused(400, "invalid_request");
    site.merchant.get("/v1/payments?order_ref=a%20b").await.refused(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_whether_it_is_alive_and_ready() {
    let site = TestSite::start().await;
    assert_eq!(site.nobody.get("/livez").await.status, 204);
    let ready = site.nobody.get("/readyz").await.ok(200);
    assert_eq!(
        (&ready["store"], &ready["matcher"], &ready["mode"]),
        (&json!(true), &json!(true), &json!("test"))
    );
    site.stop_matcher().await;
    assert_eq!(site.nobody.get("/readyz").await.ok(200)["matcher"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_test_site_can_be_moved() {
    let site = TestSite::start().await;
    let moved = site.operator.post("/v1/test-clock/advance", &json!({ "seconds": 3_600 })).await.ok(200);
    let now: selfsame_domain::time::Timestamp =
        moved["now"].as_str().expect("a time").parse().expect("a time");
    assert!(now <= site.till.now());
    // The till's clock is the same one, so its signatures fit the moved clock.
    let nobody = json!({ "kind": "member_number", "value": "NOBODY" });
    site.till.post("/v1/verifications", &site.verification_body(&nobody)).await.ok(201);
}
