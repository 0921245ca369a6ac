use serde_json::Value;

use crate::site::Site;

fn stage<'a>(timings: &'a Value, name: &str) -> Option<&'a Value> {
    timings["data"].as_array().expect("a list").iter().find(|timing| timing["stage"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_payments_are_counted_without_saying_whose_they_were() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let before = site.operator.get("/v1/stage-timings").await.expect(200);
    let counted =
        |timings: &Value, name| stage(timings, name).map_or(0, |timing| timing["count"].as_u64().unwrap());
    for number in 0..3 {
        let code = site.code(payer).await;
        site.charge(&code, &format!("o{number}"), 100).await.expect(201);
        // Answered from before: not measured again.
        site.charge(&code, &format!("o{number}"), 100).await.expect(200);
    }
    let after = site.operator.get("/v1/stage-timings").await.expect(200);
    for name in ["queue", "load", "decide", "commit", "charge"] {
        assert_eq!(counted(&after, name) - counted(&before, name), 3, "{name}");
    }
    let charge = stage(&after, "charge").unwrap();
    assert!(charge["p50_us"].as_u64() <= charge["p95_us"].as_u64(), "{charge}");
    assert!(charge["budget_us"].as_u64().is_some());
    let text = after.to_string();
    for secret in [payer.to_string(), "ada".to_owned(), "o1".to_owned()] {
        assert!(!text.contains(&secret), "{secret} is in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_keeps_its_stages_and_its_whole_time_at_the_server_as_they_were_answered() {
    let site = Site::start().await;
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    let answered = site.charge(&code, "o1", 100).await.expect(201);
    // What is recorded of a payment is written with the next one, if that comes at once.
    let code = site.code(payer).await;
    site.charge(&code, "o2", 100).await.expect(201);
    let path = format!("/v1/payments/{}", answered["id"].as_str().expect("an id"));
    let kept = site.merchant.get(&path).await.expect(200);
    assert_eq!(kept["timings"], answered["timings"]);
    let us = |stage: &str| kept["timings"][stage].as_u64().unwrap_or_else(|| panic!("{stage} in {kept}"));
    let parts: u64 = ["queue", "load", "decide", "commit"].into_iter().map(us).sum();
    assert!(us("charge") >= parts, "the parts are within the whole: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stage_timings_are_the_operators() {
    let site = Site::start().await;
    for path in ["/v1/stage-timings", "/metrics"] {
        assert_eq!(site.merchant.get(path).await.refusal(), (403, "forbidden"), "{path}");
        assert_eq!(
            site.bearer("ok_test_nobody").get(path).await.refusal(),
            (401, "unauthenticated"),
            "{path}"
        );
    }
    let payer = site.payer("ada", 1_000).await;
    let code = site.code(payer).await;
    site.charge(&code, "o1", 100).await.expect(201);
    let metrics = site.operator.text("/metrics").await;
    assert!(metrics.contains("\nselfsame_stage_seconds{stage=\"charge\",quantile=\"0.95\"} "), "{metrics}");
    assert!(metrics.contains("\nselfsame_stage_over_budget{stage=\"charge\"} 0\n"), "{metrics}");
    site.advance(3_600).await;
    let later = site.operator.get("/v1/stage-timings").await.expect(200);
    assert!(later["data"].as_array().unwrap().iter().all(|timing| timing["recent"] == 0), "{later}");
}
