use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;
use selfsame_domain::clock::{Clock, SystemClock};
use selfsame_domain::ledger::audit::{AuditError, Broken, ExportVerifier};
use selfsame_server::anchor::{Anchor, append};
use serde_json::json;

use crate::site::{Site, eur, random};

async fn export(site: &Site) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let write = move |line: &_| {
        sink.lock().unwrap().push(serde_json::to_string(line)?);
        Ok(())
    };
    site.store.export_ledger(write, SystemClock.now()).await.unwrap();
    let lines = lines.lock().unwrap();
    lines.clone()
}

fn verify(lines: &[String]) -> Result<u64, AuditError> {
    let mut verifier = ExportVerifier::default();
    lines.iter().try_for_each(|line| verifier.push_line(line))?;
    Ok(verifier.finish()?.rows)
}

async fn busy_site() -> Site {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    let id = site.paid(payer, "o1", 100).await;
    let refund = json!({ "refund_ref": "r1", "payment": id, "amount": eur(30) });
    site.merchant.post("/v1/refunds", refund).await.expect(201);
    let code = site.code(payer).await;
    let hold = json!({ "order_ref": "o2", "code": code, "amount": eur(500), "hold_seconds": 600 });
    site.merchant.post("/v1/payments", hold).await.expect(202);
    site.merchant.post("/v1/reversals", json!({ "order_ref": "never" })).await.expect(201);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_verifies_from_the_file_alone() {
    let site = busy_site().await;
    let lines = export(&site).await;
    assert_eq!(verify(&lines), Ok(5));
    let page = site.operator.get("/v1/ledger/rows?after=1&limit=2").await.expect(200);
    assert_eq!((page["data"][0]["sequence"].as_u64(), &page["next_cursor"]), (Some(2), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_wrong_row_of_an_export_is_named() {
    let site = busy_site().await;
    let lines = export(&site).await;
    let changed = |index: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[index].contains(from), "{}", lines[index]);
        lines[index] = lines[index].replace(from, to);
        verify(&lines).unwrap_err()
    };
    let error = changed(2, "\"amount_minor\":100", "\"amount_minor\":10");
    assert_eq!(error, AuditError::Row { line: 3, slot: 0, sequence: 2, broken: Broken::Hash });
    let mut missing = lines.clone();
    missing.remove(3);
    let error = AuditError::Row { line: 4, slot: 0, sequence: 4, broken: Broken::Gap };
    assert_eq!(verify(&missing), Err(error));
    let wallet = lines.iter().position(|line| line.contains("\"line\":\"wallet\"")).unwrap();
    assert!(matches!(changed(wallet, "\"held_minor\":500", "\"held_minor\":0"), AuditError::Balance { .. }));
    assert!(matches!(verify(&lines[..lines.len() - 1]), Err(AuditError::Incomplete(_))));
    assert!(matches!(changed(0, "ledger/1", "ledger/9"), AuditError::Line { line: 1, .. }));
    assert!(matches!(changed(1, "\"leg\":0", "\"leg\":0.5"), AuditError::Line { line: 2, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_signed_and_covers_the_heads() {
    let site = busy_site().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors.jsonl");
    let key = SigningKey::from_bytes(&random());
    let first = append(&site.store, &key, &path, SystemClock.now()).await.unwrap();
    let payer = site.payer("bob", 10).await;
    site.paid(payer, "o9", 10).await;
    append(&site.store, &key, &path, SystemClock.now()).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let anchors: Vec<Anchor> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((anchors.len(), anchors[0].heads[0].sequence), (2, 5));
    assert_eq!(anchors[0], first);
    assert!(anchors.iter().all(|anchor| anchor.verify(&key.verifying_key())));
    let mut forged = anchors[1].clone();
    forged.heads[0].sequence -= 1;
    assert!(!forged.verify(&key.verifying_key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rolled_up_balances_are_the_sum_of_the_rows() {
    let site = Site::start().await;
    let payer = site.payer("ada", 10_000).await;
    let currency = "EUR".parse().unwrap();
    let owed = || async { site.store.merchant_balance(site.merchant_id, currency).await.unwrap() };
    for number in 0..3 {
        site.paid(payer, &format!("a{number}"), 100).await;
        site.paid(payer, &format!("b{number}"), 100).await;
        let before = owed().await;
        assert_eq!(before, 200 * (number + 1));
        assert_eq!(site.store.roll_up_merchants(currency).await.unwrap(), 1);
        assert_eq!(owed().await, before);
    }
    assert_eq!(site.store.roll_up_merchants(currency).await.unwrap(), 0);
    assert_eq!(site.store.cursor("webhooks", 0).await.unwrap(), 0);
    assert!(site.store.advance_cursor("webhooks", 0, 4).await.unwrap());
    assert!(!site.store.advance_cursor("webhooks", 0, 3).await.unwrap());
    assert_eq!(site.store.cursor("webhooks", 0).await.unwrap(), 4);
}
