//! Sign-in at the pages: what a browser sends, with and without what only our own pages can send.

use reqwest::Method;
use serde_json::{Value, json};

use crate::site::Site;

/// A browser at one page, which keeps the page's cookie as browsers do.
struct Browser {
    http: reqwest::Client,
    base: String,
    page: &'static str,
    cookie: Option<String>,
}

/// What a browser adds to a request.
#[derive(Clone, Copy)]
struct From<'a> {
    page: Option<&'a str>,
    origin: Option<&'a str>,
    fetch_site: Option<&'a str>,
}

impl Browser {
    fn at(site: &Site, page: &'static str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base: site.base.clone(), page, cookie: None }
    }

    /// A second tab, or somebody who copied the cookie.
    fn again(&self) -> Self {
        Self {
            http: self.http.clone(),
            base: self.base.clone(),
            page: self.page,
            cookie: self.cookie.clone(),
        }
    }

    async fn send_from(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        from: From<'_>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in
            [("selfsame-page", from.page), ("origin", from.origin), ("sec-fetch-site", from.fetch_site)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap();
            self.cookie = (!set.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let (page, origin) = (self.page, self.base.clone());
        let from = From { page: Some(page), origin: Some(&origin), fetch_site: Some("same-origin") };
        self.send_from(method, path, body, from).await
    }

    async fn sign_in(&mut self, key: &str) -> (u16, Value) {
        self.send(Method::POST, "/v1/sign-in", Some(json!({ "key": key }))).await
    }

    async fn who(&mut self) -> u16 {
        self.send(Method::GET, "/v1/sign-in", None).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_the_page_has_its_rights_until_it_signs_out() {
    let site = Site::start().await;
    let mut till = Browser::at(&site, "till");
    assert_eq!(till.who().await, 401);
    // Pasted with the end of its line.
    let (status, signed_in) = till.sign_in(&format!(" {}\n", site.keys[1])).await;
    assert_eq!((status, &signed_in["merchant_name"]), (201, &json!("North Canteen")), "{signed_in}");
    assert_eq!((&signed_in["page"], &signed_in["currency_decimals"]), (&json!("till"), &json!(2)));
    assert!(till.cookie.as_ref().unwrap().starts_with("selfsame-till="), "no TLS here");
    assert!(!till.cookie.as_ref().unwrap().contains(&site.keys[1]), "the key is not in the cookie");

    let payer = site.payer("ada", 500).await;
    let code = site.code(payer).await;
    let order = json!({ "order_ref": "T1", "code": code, "amount": { "minor": 200, "currency": "EUR" } });
    assert_eq!(till.send(Method::POST, "/v1/payments", Some(order)).await.0, 201);
    assert_eq!(till.send(Method::GET, "/v1/payments?order_ref=T1", None).await.1["status"], "succeeded");
    // What the key may not, the page may not.
    let top_up =
        json!({ "top_up_ref": "t", "account": payer, "amount": { "minor": 200, "currency": "EUR" } });
    assert_eq!(till.send(Method::POST, "/v1/top-ups", Some(top_up)).await.1["code"], "forbidden");

    let mut copied = till.again();
    assert_eq!(till.send(Method::DELETE, "/v1/sign-in", None).await.0, 204);
    assert_eq!((till.cookie.is_none(), till.who().await), (true, 401));
    assert_eq!(copied.who().await, 401, "a copy of the cookie is worth nothing after it");
    assert_eq!(till.send(Method::DELETE, "/v1/sign-in", None).await.0, 204, "can be repeated");
    site.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_wants_its_own_kind_of_key_and_both_can_be_open_in_one_browser() {
    let site = Site::start().await;
    let (mut till, mut desk) = (Browser::at(&site, "till"), Browser::at(&site, "desk"));
    assert_eq!(till.sign_in(&site.keys[0]).await.1["code"], "forbidden");
    assert_eq!(desk.sign_in(&site.keys[1]).await.1["code"], "forbidden");
    assert_eq!(till.sign_in(&site.keys[1]).await.0, 201);
    assert_eq!(desk.sign_in(&site.keys[0]).await.0, 201);
    // A browser sends all cookies of the host; the page says which counts.
    let both = format!("{}; other=1; {}", till.cookie.clone().unwrap(), desk.cookie.clone().unwrap());
    (till.cookie, desk.cookie) = (Some(both.clone()), Some(both));
    assert_eq!(till.send(Method::GET, "/v1/balance", None).await.0, 200);
    assert_eq!(desk.send(Method::GET, "/v1/balance", None).await.1["code"], "forbidden");
    assert_eq!(desk.send(Method::GET, "/v1/consent-texts", None).await.0, 200);
    assert_eq!(till.send(Method::GET, "/v1/consent-texts", None).await.1["code"], "forbidden");
    assert_eq!(till.send(Method::GET, "/v1/undos", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_cannot_use_a_sign_in() {
    let site = Site::start().await;
    let mut till = Browser::at(&site, "till");
    till.sign_in(&site.keys[1]).await;
    let own = site.base.clone();
    let reversal = Some(json!({ "order_ref": "T1" }));
    let good = From { page: Some("till"), origin: Some(&own), fetch_site: None };
    let elsewhere = [
        From { origin: Some("http://127.0.0.1:1"), ..good },
        From { origin: Some("null"), ..good },
        From { origin: None, ..good },
        From { fetch_site: Some("same-site"), ..good },
        From { fetch_site: Some("cross-site"), ..good },
        From { fetch_site: Some("none"), ..good },
    ];
    for from in elsewhere {
        let (status, problem) = till.send_from(Method::POST, "/v1/reversals", reversal.clone(), from).await;
        assert_eq!((status, &problem["code"]), (403, &json!("foreign_origin")));
    }
    // A form of another page can send the cookie at most, and no header.
    let (status, _) =
        till.send_from(Method::POST, "/v1/reversals", reversal.clone(), From { page: None, ..good }).await;
    assert_eq!(status, 401);
    assert_eq!(till.send_from(Method::POST, "/v1/reversals", reversal, good).await.0, 201);
    // Nor does a page from elsewhere hear that it might.
    let asks = till.http.request(Method::OPTIONS, format!("{own}/v1/reversals"));
    let asks = asks.header("origin", "http://evil.example").header("access-control-request-method", "POST");
    let answer = asks.header("access-control-request-headers", "selfsame-page").send().await.unwrap();
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_ends_when_nobody_uses_it_and_after_a_shift_in_any_case() {
    let site = Site::start().await;
    let (mut till, mut desk) = (Browser::at(&site, "till"), Browser::at(&site, "desk"));
    assert_eq!(till.sign_in(&site.keys[1]).await.1["idle_seconds"], 1_800);
    assert_eq!(desk.sign_in(&site.keys[0]).await.1["idle_seconds"], 600);
    site.advance(599).await;
    assert_eq!((till.who().await, desk.who().await), (200, 200));
    site.advance(600).await;
    assert_eq!((till.who().await, desk.who().await), (200, 401));
    site.advance(1_799).await;
    assert_eq!(till.who().await, 200);
    site.advance(1_800).await;
    assert_eq!(till.who().await, 401);

    till.sign_in(&site.keys[1]).await;
    for _ in 0..27 {
        site.advance(1_500).await;
        assert_eq!(till.who().await, 200);
    }
    site.advance(1_500).await;
    assert_eq!(till.who().await, 200, "eleven hours and forty minutes");
    site.advance(1_200).await;
    assert_eq!(till.who().await, 401, "twelve hours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_outlives_the_server_and_not_its_key() {
    let site = Site::start().await;
    let mut till = Browser::at(&site, "till");
    till.sign_in(&site.keys[1]).await;
    let site = site.another_server(10).await;
    till.base = site.base.clone();
    assert_eq!(till.who().await, 200);
    let merchant = site
        .operator
        .post("/v1/merchants", json!({ "request_ref": "m", "name": "South", "store_name": "S" }));
    let merchant = merchant.await.expect(201);
    let mut other = Browser::at(&site, "till");
    assert_eq!(other.sign_in(merchant["key"].as_str().unwrap()).await.1["merchant_name"], "South");
    let key = merchant["key_id"].as_str().unwrap().parse().unwrap();
    assert!(site.store.revoke_api_key(key, selfsame_domain::time::Timestamp::from_millis(1)).await.unwrap());
    assert_eq!((other.who().await, till.who().await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused_and_soon_no_more_looked_at() {
    let site = Site::start().await;
    let mut till = Browser::at(&site, "till");
    let wrong = site.keys[1].replace("sk_test_", "sk_test_x");
    for _ in 0..10 {
        assert_eq!(till.sign_in(&wrong).await.1["code"], "unauthenticated");
    }
    let (status, problem) = till.sign_in(&site.keys[1]).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too_many_attempts")));
    let wait_ms = problem["retry_after_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&wait_ms), "{wait_ms}");
    // Keys of tills that send them with each request go on meanwhile.
    site.merchant.get("/v1/balance").await.expect(200);
    site.advance(60).await;
    assert_eq!(till.sign_in(&site.keys[1]).await.0, 201);
    for hostile in [json!({}), json!({ "key": 7 }), json!({ "key": "k", "page": "till" }), json!([])] {
        let (status, problem) = till.send(Method::POST, "/v1/sign-in", Some(hostile)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_signed_in_at_so_many_tills_at_most() {
    let site = Site::start().await;
    let mut tills = Vec::new();
    for _ in 0..=selfsame_domain::sign_in::SIGN_INS_PER_KEY_MAX {
        let mut till = Browser::at(&site, "till");
        assert_eq!(till.sign_in(&site.keys[1]).await.0, 201);
        site.advance(1).await;
        tills.push(till);
    }
    assert_eq!(tills[0].who().await, 401, "the one unused for longest made room");
    assert_eq!((tills[1].who().await, tills.last_mut().unwrap().who().await), (200, 200));
    // Signing in again in the same browser takes the place of the one before.
    let before = tills[1].again();
    assert_eq!(tills[1].sign_in(&site.keys[1]).await.0, 201);
    assert_eq!({ before }.who().await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_finds_people_and_what_they_agreed_to() {
    let site = Site::start().await;
    for (number, phone) in
        [("M-1", "+44 20 7946 0142"), ("M-2", "+49 170 555 0142"), ("M-3", "+44 20 7946 0199")]
    {
        let name = format!("<img src=x onerror=alert(1)> {number}");
        let body =
            json!({ "request_ref": number, "display_name": name, "phone": phone, "member_number": number });
        site.operator.post("/v1/accounts", body).await.expect(201);
    }
    let search = async |kind: &str, value: &str| {
        site.operator.post("/v1/accounts/search", json!({ "kind": kind, "value": value })).await
    };
    let found = search("phone_last4", "0142").await.expect(200);
    assert_eq!((found["data"].as_array().unwrap().len(), &found["has_more"]), (2, &json!(false)));
    let found = search("member_number", "m-3").await.expect(200);
    assert_eq!(found["data"][0]["display_name"], "<img src=x onerror=alert(1)> M-3");
    let account = found["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(search("phone", "+442079460199").await.expect(200)["data"][0]["id"], json!(account));
    assert_eq!(search("member_number", "M-4").await.expect(200)["data"], json!([]));
    assert_eq!(search("phone_last4", "12").await.refusal(), (400, "invalid_request"));
    let refused =
        site.merchant.post("/v1/accounts/search", json!({ "kind": "phone_last4", "value": "0142" })).await;
    assert_eq!(refused.refusal(), (403, "forbidden"));

    let texts = site.operator.get("/v1/consent-texts").await.expect(200);
    let languages: Vec<_> = texts["data"].as_array().unwrap().iter().map(|text| &text["language"]).collect();
    assert_eq!(languages, [&json!("en"), &json!("zh-CN")]);
    let path = format!("/v1/accounts/{account}/consents");
    assert_eq!(site.operator.get(&path).await.expect(200)["data"], json!([]));
    let consent =
        json!({ "account": account, "text_version": texts["data"][0]["version"], "language": "en" });
    let consent = site.operator.post("/v1/consents", consent).await.expect(201);
    assert_eq!(site.operator.get(&path).await.expect(200)["data"], json!([consent]));
    let enrolments = format!("/v1/accounts/{account}/enrolments");
    assert_eq!(site.operator.get(&enrolments).await.expect(200)["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_with_their_policy_and_nothing_may_be_inline_or_framed() {
    let site = Site::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for page in ["till", "desk"] {
        let answer = http.get(format!("{}/{page}", site.base)).send().await.unwrap();
        // A build without pages says so under the same policy.
        assert!([200, 503].contains(&answer.status().as_u16()));
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{page}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{page}: {policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
}
