//! Nothing personal and no secret in logs or files: a whole payment with marked values, and a search for them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use selfsame_domain::sensor::SensorGrade;
use serde_json::json;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::payer::{Payer, charge_body, press, text};
use crate::site::{TestSite, contains, eur};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The one log of this process, from the first call on; tests that run beside it write to it as well.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let ours = ["api", "domain", "matcher", "server", "store", "terminal", "biometrics"];
        let filter: Vec<String> = ours.iter().map(|name| format!("selfsame_{name}=trace")).collect();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter.join(",")))
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the one log of this process");
        log
    })
}

/// Begins to keep the log.
pub fn keep_log() {
    log();
}

/// What was logged so far.
pub fn logged() -> Vec<u8> {
    log().0.lock().expect("no writer panics").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_leaves_nothing_personal_in_logs_and_files() {
    keep_log();
    let site = TestSite::start().await;
    let (name, phone, member_number) = ("Zephyrine Quagmire", "498811223344556", "ZQ-77001");
    let new = json!({ "request_ref": "leak-1", "display_name": name, "phone": phone, "member_number": member_number });
    let account = site.operator.post("/v1/accounts", &new).await.ok(201);
    let account = text(&account, "id").to_owned();
    let consent = site.consent(&account).await;
    let payer = Payer {
        finger: 7,
        account,
        phone: phone.to_owned(),
        member_number: member_number.to_owned(),
        consent,
    };
    site.enrol(&payer, SensorGrade::Simulated).await;
    site.top_up(&payer.account, 1_000).await;
    for identifier in [payer.by_phone(), payer.by_last4(), payer.by_member_number()] {
        let opened = site.open_capturing(&identifier).await;
        site.submit(&opened, &[press(8, 2_000 + site.next())]).await.ok(200);
    }
    let (pin, wrong_pin) = ("830917465028", "830917465029");
    let set = site.operator.put(&format!("/v1/accounts/{}/pin", payer.account), &json!({ "pin": pin })).await;
    assert_eq!(set.status, 204);
    for (identifier, typed) in
        [(payer.by_phone(), wrong_pin), (payer.by_member_number(), pin), (payer.by_last4(), pin)]
    {
        let body = json!({ "request_ref": site.reference(), "instead_of": "finger", "identifier": identifier, "pin": typed });
        site.till.post("/v1/pin-verifications", &body).await;
    }
    let passed = site.pass(&payer).await;
    let digits = [site.digits(&passed).await, site.digits(&passed).await];
    site.charge("o-1", 2_000, &digits[1]).await.refused(402, "payment_declined");
    site.charge("o-1", 100, &digits[0]).await.refused(422, "code_revoked");
    site.charge("o-1", 100, &digits[1]).await.ok(201);
    site.charge("o-1", 100, &digits[1]).await.ok(200);
    // Refusals quote what they refuse less readily than one thinks.
    site.merchant
        .post("/v1/payments", &charge_body("o-2", 1, &digits[1][..17]))
        .await
        .refused(422, "code_malformed");
    let twice = json!({ "request_ref": "leak-2", "display_name": name, "phone": phone });
    site.operator.post("/v1/accounts", &twice).await.refused(409, "duplicate_identifier");
    let conflict = json!({ "request_ref": "leak-1", "display_name": name, "phone": phone });
    site.operator.post("/v1/accounts", &conflict).await.refused(409, "reference_conflict");
    site.operator.get(&format!("/v1/accounts/{}", payer.account)).await.ok(200);
    site.stop_matcher().await;
    let opened = site.open_capturing(&payer.by_phone()).await;
    site.submit(&opened, &[site.fresh_press(7)]).await.ok(200);
    let unknown = json!({ "top_up_ref": "t", "account": payer.account, "amount": eur(1) });
    site.operator.post("/v1/top-ups", &unknown).await.ok(201);
    site.flush().await;

    let secrets = &site.created;
    let png = press(7, 1).image;
    let mut planted: Vec<(&str, Vec<u8>)> = vec![
        ("name", name.into()),
        ("first name", "Zephyrine".into()),
        ("phone", phone.into()),
        ("member number", member_number.into()),
        ("PIN", pin.into()),
        ("wrong PIN", wrong_pin.into()),
        ("operator key", secrets.operator_key.0.clone().into()),
        ("merchant key", secrets.merchant_key.0.clone().into()),
        ("activation code", secrets.till.activation_code.0.clone().into()),
        ("activation code without dashes", secrets.till.activation_code.0.replace('-', "").into()),
        ("code pepper", vec![1; 32]),
        ("identifier pepper", vec![2; 32]),
        ("profile key", vec![3; 32]),
        ("matcher seed", vec![4; 32]),
        ("template key", vec![5; 32]),
        ("picture", png[png.len() / 2..png.len() / 2 + 24].to_vec()),
        ("picture's signature", b"\x89PNG\r\n".to_vec()),
    ];
    for digits in &digits {
        planted.push(("digits", digits.as_bytes().to_vec()));
        planted.push(("digits without the check digit", digits.as_bytes()[..17].to_vec()));
        planted.push(("random digits", digits.as_bytes()[2..17].to_vec()));
    }
    let logged = logged();
    let logged_text = String::from_utf8_lossy(&logged).into_owned();
    for line in
        ["answered a request", "issued a payment code", "concluded a sample", "enrolled", "does not answer"]
    {
        assert!(logged_text.contains(line), "the log is taken at all: {line}");
    }
    // The devices' own files hold their private keys, and those are all they may hold.
    let mut places = site.files();
    assert!(
        ["site.db", "site.db-wal", "keys.db"].iter().all(|file| places.iter().any(|(name, _)| name == file))
    );
    places.push(("the log".to_owned(), logged));
    for (place, bytes) in &places {
        for (what, value) in &planted {
            assert!(!contains(bytes, value), "{what} in {place}");
        }
    }
    // The last four digits of the phone number are an index, but in the clear they are nowhere.
    let last4 = format!("\"{}\"", &phone[phone.len() - 4..]);
    assert!(!logged_text.contains(&last4));
}
