//! Certificates of terminals: for active terminals, and for names of this site only.

use selfsame_api::bytes::Bytes;
use serde_json::{Value, json};

use crate::site::TestSite;

const PATH: &str = "/v1/certificates";

/// The generator of P-256 (SEC 2, 2.4.2), a public key whose private half everybody knows.
const POINT: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                     4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

fn body(names: &[&str]) -> Value {
    let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    let point: Vec<u8> = POINT.as_bytes().chunks(2).map(hex).collect();
    json!({ "algorithm": "ecdsa-p256", "public_key": Bytes::from(point).encode(), "names": names })
}

#[tokio::test(flavor = "multi_thread")]
async fn active_terminals_are_certified_for_names_of_the_site() {
    let site = TestSite::start().await;
    let certified = site.till.post(PATH, &body(&["till-1.local", "192.168.1.20"])).await.ok(200);
    assert!(certified["authority"].as_str().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE")));
    let der = Bytes::decode(certified["certificate"].as_str().expect("a certificate")).expect("base64").0;
    let holds = |bytes: &[u8]| der.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(b"till-1.local") && holds(&[192, 168, 1, 20]));

    for name in ["bank.example", "8.8.8.8", "*.local", ""] {
        site.till.post(PATH, &body(&[name])).await.refused(422, "certificate_name_refused");
    }
    site.till.post(PATH, &body(&[])).await.refused(400, "invalid_request");
    site.till.post(PATH, &body(&["a.local"; 9])).await.refused(400, "invalid_request");
    for (field, value) in [("algorithm", "rsa"), ("public_key", "AAAA")] {
        let mut wrong = body(&["till-1.local"]);
        wrong[field] = json!(value);
        site.till.post(PATH, &wrong).await.refused(400, "invalid_request");
    }
    site.nobody.post(PATH, &body(&["till-1.local"])).await.refused(401, "signature_invalid");
    site.operator.post(PATH, &body(&["till-1.local"])).await.refused(401, "signature_invalid");
    site.operator.post(&format!("/v1/terminals/{}/retire", site.till.terminal()), &json!({})).await;
    site.till.post(PATH, &body(&["till-1.local"])).await.refused(403, "terminal_retired");
}
