//! The fleet: reports of terminals, the operator's list, and configuration that is pushed.

use std::time::Duration;

use selfsame_api::channel::Situation;
use selfsame_api::client::Events;
use selfsame_api::configuration::{Configuration, Language};
use selfsame_api::interface::{HandoverMode, RegisterKind};
use serde_json::{Value, json};

use crate::site::Site;

/// Longer than the server ever takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A report as terminals send it.
fn report() -> Value {
    json!({
        "version": "1.2.3",
        "uptime_seconds": 7,
        "state": "degraded",
        "reasons": ["verifier_unavailable"],
        "clock_skew_ms": -12,
        "modalities": ["finger"],
        "registers": ["return", "screen"],
        "last_outcome": { "outcome": "failed", "error": "verifier_lost", "at": "2026-11-24T15:38:15.007Z" },
        "outcomes": { "failed": 1 },
        "journal_free_bytes": 1_000_000,
        "configuration": Configuration::default(),
    })
}

async fn channel(site: &Site) -> Events {
    site.till.0.events("/v1/channel", PATIENCE, PATIENCE).await.unwrap()
}

async fn until(channel: &mut Events, wanted: impl Fn(&Configuration) -> bool) -> Configuration {
    loop {
        let situation: Situation = channel.next().await.expect("a situation").expect("the channel is open");
        let configuration = situation.configuration.expect("a server always says it");
        if wanted(&configuration) {
            return configuration;
        }
    }
}

async fn till(site: &Site) -> Value {
    site.operator.get(&format!("/v1/terminals/{}", site.terminal)).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_what_a_terminal_said_last_and_whether_it_is_there() {
    let site = Site::start().await;
    let before = till(&site).await;
    assert_eq!((&before["state"], &before["online"]), (&json!("active"), &json!(false)));
    assert_eq!(before["key"]["algorithm"], "ed25519");
    assert!(before["clone_suspected_at"].is_null() && before["locked_at"].is_null());
    assert!(before["health"].is_null() && before["last_seen_at"].is_null());

    let mut open = channel(&site).await;
    until(&mut open, |_| true).await;
    assert_eq!(till(&site).await["online"], false, "a terminal that has said nothing is not there yet");
    let answer = site.till.post("/v1/terminal-health", report()).await.expect(200);
    assert!(answer["server_time"].is_string());
    let told = till(&site).await;
    assert_eq!(told["health"], report());
    assert_eq!((&told["online"], &told["configured"]), (&json!(true), &json!(true)));
    assert_eq!(told["last_seen_at"], answer["server_time"]);
    for (name, value) in
        [("store_name", "Main hall"), ("merchant_name", "North Canteen"), ("purpose", "till")]
    {
        assert_eq!(told[name], value);
    }
    // The next report takes the place of the one before.
    let mut well = report();
    well["state"] = json!("ready");
    well["reasons"] = json!([]);
    site.till.post("/v1/terminal-health", &well).await.expect(200);
    assert_eq!(till(&site).await["health"], well);

    // A machine that lost its power leaves its connection open for long, and says nothing.
    site.advance(145).await;
    assert_eq!(till(&site).await["online"], true);
    site.advance(6).await;
    let gone = till(&site).await;
    assert_eq!((&gone["online"], &gone["health"]), (&json!(false), &well), "what it said last is still told");

    site.till.post("/v1/terminal-health", report()).await.expect(200);
    assert_eq!(till(&site).await["online"], true);
    drop(open);
    // The server notices the end of the connection by itself.
    let noticed = async { while till(&site).await["online"] == true {} };
    tokio::time::timeout(PATIENCE, noticed).await.expect("a terminal that went away is offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_terminals_report_and_only_what_is_documented() {
    let site = Site::start().await;
    assert_eq!(
        site.operator.post("/v1/terminal-health", report()).await.refusal(),
        (401, "signature_invalid")
    );
    let wrong = |name: &str, value: Value| {
        let mut report = report();
        report[name] = value;
        report
    };
    for report in [
        wrong("phone", json!("0142")),
        wrong("reasons", json!(["tired"])),
        wrong("state", json!(1)),
        wrong("version", json!("x".repeat(5_000))),
    ] {
        assert_eq!(site.till.post("/v1/terminal-health", report).await.refusal(), (400, "invalid_request"));
    }
    assert!(till(&site).await["health"].is_null());
    // A locked terminal is still seen; a retired one is not heard any more.
    let path = |action: &str| format!("/v1/terminals/{}/{action}", site.terminal);
    site.operator.post(&path("lock"), json!({})).await.expect(204);
    site.till.post("/v1/terminal-health", report()).await.expect(200);
    let locked = till(&site).await;
    assert!(locked["state"] == "locked" && locked["locked_at"].is_string());
    site.operator.post(&path("retire"), json!({})).await.expect(204);
    assert_eq!(site.till.post("/v1/terminal-health", report()).await.refusal(), (403, "terminal_retired"));
    assert_eq!(till(&site).await["state"], "retired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_every_terminal_once_newest_first() {
    let site = Site::start().await;
    let first = site.operator.get("/v1/terminals").await.expect(200);
    let there = first["data"].as_array().unwrap().len();
    for number in 0..3 {
        let new = json!({ "store": site.store_id, "name": format!("Till {number}"), "purpose": "till" });
        site.operator.post("/v1/terminals", new).await.expect(201);
        site.advance(1).await;
    }
    let (mut names, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = site.operator.get(&format!("/v1/terminals{query}")).await.expect(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        names.extend(data.iter().map(|terminal| terminal["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(page["has_more"], false);
            break;
        };
        query = format!("?limit=2&before={cursor}");
    }
    assert_eq!(names.len(), there + 3);
    assert_eq!(names[..3], ["Till 2", "Till 1", "Till 0"]);
    let newest = &site.operator.get("/v1/terminals?limit=1").await.expect(200)["data"][0];
    assert_eq!((&newest["state"], &newest["online"]), (&json!("unactivated"), &json!(false)));
    for (caller, path, refusal) in [
        (&site.operator, "/v1/terminals?limit=101", (400, "invalid_request")),
        (&site.operator, "/v1/terminals?limit=0", (400, "invalid_request")),
        (&site.operator, "/v1/terminals?since=1", (400, "invalid_request")),
        (&site.merchant, "/v1/terminals", (403, "forbidden")),
    ] {
        assert_eq!(caller.get(path).await.refusal(), refusal, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_reaches_the_terminal_over_its_channel_and_the_operator_sees_that_it_did() {
    let site = Site::start().await;
    let own = format!("/v1/terminals/{}/configuration", site.terminal);
    let mut open = channel(&site).await;
    assert_eq!(until(&mut open, |_| true).await, Configuration::default());
    site.till.post("/v1/terminal-health", report()).await.expect(200);

    let all =
        json!({ "maintenance": { "text": "back at 14:00" }, "language": "zh-CN", "deadline_ms": 20_000 });
    assert_eq!(site.operator.put("/v1/terminal-configuration", all.clone()).await.expect(200), all);
    let heard = until(&mut open, |configuration| configuration.maintenance.is_some()).await;
    assert_eq!(heard.maintenance.unwrap().text.as_deref(), Some("back at 14:00"));
    assert_eq!((heard.language, heard.deadline_ms), (Language::ZhCn, 20_000));
    assert_eq!(till(&site).await["configured"], false);

    let mine = json!({ "register": "screen", "handover_mode": "immediate", "deadline_ms": 5_000 });
    site.operator.put(&own, mine.clone()).await.expect(200);
    let heard = until(&mut open, |configuration| configuration.register.is_some()).await;
    assert_eq!((heard.register, heard.handover_mode), (Some(RegisterKind::Screen), HandoverMode::Immediate));
    assert_eq!((heard.language, heard.deadline_ms), (Language::ZhCn, 5_000));
    assert!(heard.maintenance.is_some(), "a terminal does not opt out of the site's maintenance");
    let mut applied = report();
    applied["configuration"] = serde_json::to_value(&heard).unwrap();
    site.till.post("/v1/terminal-health", applied).await.expect(200);
    let told = till(&site).await;
    assert_eq!((&told["configured"], &told["configuration"]["deadline_ms"]), (&json!(true), &json!(5_000)));
    assert_eq!(site.operator.get(&own).await.expect(200), mine);
    assert_eq!(site.operator.get("/v1/terminal-configuration").await.expect(200), all);

    // Whoever was away hears it when the channel opens.
    let mut later = channel(&site).await;
    assert_eq!(until(&mut later, |_| true).await, heard);
    site.operator.put("/v1/terminal-configuration", json!({})).await.expect(200);
    let heard = until(&mut later, |configuration| configuration.maintenance.is_none()).await;
    assert_eq!((heard.language, heard.deadline_ms), (Language::En, 5_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_configured_is_refused() {
    let site = Site::start().await;
    let own = format!("/v1/terminals/{}/configuration", site.terminal);
    for path in ["/v1/terminal-configuration", &own] {
        for wrong in [
            json!({ "volume": 3 }),
            json!({ "maintenance": { "until": "14:00" } }),
            json!({ "maintenance": { "text": "" } }),
            json!({ "deadline_ms": 999 }),
            json!({ "deadline_ms": 180_001 }),
            json!({ "language": "tlh" }),
            json!({ "register": "pigeon" }),
        ] {
            let refused = site.operator.put(path, wrong.clone()).await;
            assert_eq!(refused.refusal(), (400, "invalid_request"), "{wrong}");
        }
        assert_eq!(site.operator.get(path).await.expect(200), json!({}));
        for caller in [&site.merchant, &site.till] {
            let refused = caller.put(path, json!({})).await;
            assert!(matches!(refused.refusal(), (401, "unauthenticated") | (403, "forbidden")));
        }
    }
    site.operator.post(&format!("/v1/terminals/{}/retire", site.terminal), json!({})).await.expect(204);
    assert_eq!(site.operator.put(&own, json!({})).await.refusal(), (404, "not_found"));
    let nobody = "/v1/terminals/trm_00000000000000000000000000/configuration";
    assert_eq!(site.operator.put(nobody, json!({})).await.refusal(), (404, "not_found"));
}
