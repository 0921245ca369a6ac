//! People with generated fingers, from the desk to the till.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use selfsame_api::bytes::Bytes;
use selfsame_api::enrolment::Enrolment;
use selfsame_api::sealing::{Frame, FrameContext, SealedFrame, seal};
use selfsame_biometrics::synthetic::Master;
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_terminal::capture::SampleFrame;
use selfsame_terminal::capture::reader::synthetic_sample;
use selfsame_terminal::enrolment::submit_enrolment;
use serde_json::{Value, json};

use crate::caller::Reply;
use crate::device::Device;
use crate::site::{TestSite, eur};

/// Growing a finger takes some hundred milliseconds; each is grown once in a process.
static MASTERS: LazyLock<Mutex<HashMap<u64, Arc<Master>>>> = LazyLock::new(Mutex::default);

/// Presses from here on are for tills: enrolment and payment never share one.
const FIRST_TILL_PRESS: u64 = 1_000;

/// Samples of an enrolment.
const ENROLMENT_PRESSES: u64 = 3;

/// Tries of a desk before it gives up on a finger; one press in five is a careless one.
const DESK_TRIES: u64 = 5;

/// Presses of a payer before a test gives up on them; attempts run out before that, retries and faults do not.
const TILL_TRIES: usize = 10;

fn master(finger: u64) -> Arc<Master> {
    let mut masters = MASTERS.lock().expect("growing does not panic");
    masters.entry(finger).or_insert_with(|| Arc::new(Master::grow(finger))).clone()
}

/// A press of a finger as a reader brings it.
pub fn press(finger: u64, press: u64) -> SampleFrame {
    synthetic_sample(&master(finger), press).remove(0)
}

/// A picture with nothing on it.
pub fn blank() -> SampleFrame {
    let white = selfsame_biometrics::image::GrayImage::new(300, 360, 500, vec![255; 300 * 360]);
    let png = selfsame_biometrics::image::encode_png(&white.expect("a small picture"));
    SampleFrame::finger(png, 500)
}

/// Bytes that say they are a picture.
pub fn picture(png: &[u8]) -> SampleFrame {
    SampleFrame::finger(png.to_vec(), 500)
}

/// Somebody with an account.
#[derive(Clone, Debug)]
pub struct Payer {
    pub finger: u64,
    pub account: String,
    pub phone: String,
    pub member_number: String,
    pub consent: String,
}

impl Payer {
    pub fn by_phone(&self) -> Value {
        json!({ "kind": "phone", "value": self.phone })
    }

    pub fn by_last4(&self) -> Value {
        json!({ "kind": "phone_last4", "value": self.phone[self.phone.len() - 4..] })
    }

    pub fn by_member_number(&self) -> Value {
        json!({ "kind": "member_number", "value": self.member_number })
    }
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("`{field}` is text in {value}"))
}

/// The names and texts of a document, without its numbers: a measured time may hold anybody's four digits.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| [vec![name.as_str()], texts(value)].concat()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// What a frame is sealed for.
#[derive(Clone)]
pub struct Sealing {
    pub session: String,
    pub nonce: String,
    pub grade: SensorGrade,
}

impl Sealing {
    pub fn of(session: &Value, grade: SensorGrade) -> Self {
        Self { session: text(session, "id").to_owned(), nonce: text(session, "nonce").to_owned(), grade }
    }
}

pub fn seal_frames(device: &Device, sealing: &Sealing, samples: &[SampleFrame]) -> Vec<SealedFrame> {
    seal_frames_of(Modality::Finger, device, sealing, samples)
}

/// Frames of any modality.
pub fn seal_frames_of(
    modality: Modality,
    device: &Device,
    sealing: &Sealing,
    samples: &[SampleFrame],
) -> Vec<SealedFrame> {
    let context = FrameContext {
        terminal: device.terminal(),
        session: sealing.session.clone(),
        nonce: Bytes::decode(&sealing.nonce).expect("base64"),
        modality,
        sensor_grade: sealing.grade,
    };
    let key = &device.identity.terminal.matcher_key;
    let seal = |(index, sample): (usize, &SampleFrame)| {
        let frame = Frame {
            format: sample.format,
            resolution_dpi: sample.resolution_dpi,
            offset_ms: sample.offset_ms,
            image: &sample.image,
        };
        seal(key, &context, index, frame).expect("it seals")
    };
    samples.iter().enumerate().map(seal).collect()
}

/// The body of a submission.
pub fn samples_body(device: &Device, sealing: &Sealing, samples: &[SampleFrame]) -> Value {
    json!({
        "nonce": sealing.nonce,
        "modality": "finger",
        "sensor_grade": sealing.grade,
        "frames": seal_frames(device, sealing, samples),
        "timings": { "capture": 1000, "seal": 10 },
    })
}

impl TestSite {
    /// An account without anything else. Identifiers follow from the number, so that they are known.
    pub async fn person(&self, finger: u64) -> Payer {
        self.person_with(finger, &format!("M-{finger}")).await
    }

    async fn person_with(&self, finger: u64, member_number: &str) -> Payer {
        let (phone, member_number) = (format!("4917055{finger:05}"), member_number.to_owned());
        let new = json!({ "request_ref": self.reference(), "display_name": "Ada Example",
            "phone": phone, "member_number": member_number });
        let account = self.operator.post("/v1/accounts", &new).await.ok(201);
        let account = text(&account, "id").to_owned();
        Payer { finger, account, phone, member_number, consent: String::new() }
    }

    pub async fn consent(&self, account: &str) -> String {
        let new = json!({ "account": account, "text_version": "2026-11", "language": "en" });
        text(&self.operator.post("/v1/consents", &new).await.ok(201), "id").to_owned()
    }

    pub async fn withdraw(&self, consent: &str) -> Value {
        self.operator.post(&format!("/v1/consents/{consent}/withdraw"), &json!({})).await.ok(200)
    }

    /// Opens an enrolment at the desk.
    pub async fn open_enrolment(&self, account: &str, consent: &str) -> Value {
        let new = json!({ "account": account, "consent": consent, "terminal": self.desk.terminal(),
            "modality": "finger", "instance": 2 });
        self.operator.post("/v1/enrolments", &new).await.ok(201)
    }

    /// Enrols a finger, with further presses if some cannot be used, as a desk does.
    pub async fn enrol(&self, payer: &Payer, grade: SensorGrade) -> Enrolment {
        let opened = self.open_enrolment(&payer.account, &payer.consent).await;
        let path = format!("/v1/enrolments/{}", text(&opened, "id"));
        let link = self.desk.link();
        for attempt in 0..DESK_TRIES {
            let opened = self.operator.get(&path).await.ok(200);
            let opened: Enrolment = serde_json::from_value(opened).expect("an enrolment");
            let first = 1 + attempt * ENROLMENT_PRESSES;
            let samples: Vec<_> =
                (first..first + ENROLMENT_PRESSES).map(|number| press(payer.finger, number)).collect();
            match submit_enrolment(&self.desk.identity, &link, &opened, grade, &samples).await {
                Ok(enrolled) => return enrolled,
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("sample_rejected"), "finger {}: {text}", payer.finger);
                }
            }
        }
        panic!("finger {} cannot be enrolled", payer.finger);
    }

    /// Account, consent, enrolled finger and money.
    pub async fn payer(&self, finger: u64, balance_minor: i64) -> Payer {
        self.payer_with_grade(finger, balance_minor, SensorGrade::Simulated).await
    }

    pub async fn payer_with_grade(&self, finger: u64, balance_minor: i64, grade: SensorGrade) -> Payer {
        let person = self.person(finger).await;
        self.enrolled(person, balance_minor, grade).await
    }

    /// The same, with a member number of its own.
    pub async fn payer_with_number(&self, finger: u64, member_number: &str, grade: SensorGrade) -> Payer {
        let person = self.person_with(finger, member_number).await;
        self.enrolled(person, 0, grade).await
    }

    async fn enrolled(&self, person: Payer, balance_minor: i64, grade: SensorGrade) -> Payer {
        let consent = self.consent(&person.account).await;
        let payer = Payer { consent, ..person };
        self.enrol(&payer, grade).await;
        if balance_minor > 0 {
            self.top_up(&payer.account, balance_minor).await;
        }
        payer
    }

    pub async fn top_up(&self, account: &str, minor: i64) {
        let new = json!({ "top_up_ref": self.reference(), "account": account, "amount": eur(minor) });
        self.operator.post("/v1/top-ups", &new).await.ok(201);
    }

    pub async fn balance_minor(&self, account: &str) -> i64 {
        let account = self.operator.get(&format!("/v1/accounts/{account}")).await.ok(200);
        account["wallets"][0]["balance_minor"].as_i64().expect("a number")
    }

    pub fn verification_body(&self, identifier: &Value) -> Value {
        json!({ "request_ref": self.reference(), "modality": "finger", "sensor_grade": "simulated",
            "identifier": identifier })
    }

    /// Opens a verification at the till.
    pub async fn open(&self, identifier: &Value) -> Value {
        self.till.post("/v1/verifications", &self.verification_body(identifier)).await.ok(201)
    }

    /// Opens a verification that awaits samples.
    pub async fn open_capturing(&self, identifier: &Value) -> Value {
        let opened = self.open(identifier).await;
        assert_eq!(opened["state"], "capturing", "{opened}");
        opened
    }

    /// Sends samples from the till.
    pub async fn submit(&self, verification: &Value, samples: &[SampleFrame]) -> Reply {
        let sealing = Sealing::of(verification, SensorGrade::Simulated);
        self.submit_body(&sealing.session, &samples_body(&self.till, &sealing, samples)).await
    }

    pub async fn submit_body(&self, verification: &str, body: &Value) -> Reply {
        self.till.post(&format!("/v1/verifications/{verification}/samples"), body).await
    }

    /// A press that no test on this site used before.
    pub fn fresh_press(&self, finger: u64) -> SampleFrame {
        press(finger, FIRST_TILL_PRESS + self.next())
    }

    /// Presses until it matches, as people do.
    pub async fn press_until_passed(&self, opened: Value, finger: u64) -> Value {
        let mut verification = opened;
        for _ in 0..TILL_TRIES {
            if verification["state"] != "capturing" {
                break;
            }
            verification = self.submit(&verification, &[self.fresh_press(finger)]).await.ok(200);
        }
        assert_eq!(verification["state"], "passed", "{verification}");
        verification
    }

    /// A pass of a payer at the till.
    pub async fn pass(&self, payer: &Payer) -> Value {
        let opened = self.open_capturing(&payer.by_member_number()).await;
        self.press_until_passed(opened, payer.finger).await
    }

    pub fn code_body(&self, verification: &Value) -> Value {
        json!({ "request_ref": self.reference(), "verification": verification["id"],
            "device": { "kind": "selfsame-terminal", "version": "0.1.0", "register": "screen" } })
    }

    /// Asks for the code of a pass.
    pub async fn ask_code(&self, verification: &Value) -> Reply {
        self.till.post("/v1/payment-codes", &self.code_body(verification)).await
    }

    /// The digits of a pass.
    pub async fn digits(&self, verification: &Value) -> String {
        text(&self.ask_code(verification).await.ok(201), "digits").to_owned()
    }

    /// A pass and its digits.
    pub async fn code_of(&self, payer: &Payer) -> String {
        self.digits(&self.pass(payer).await).await
    }

    pub async fn charge(&self, order_ref: &str, minor: i64, digits: &str) -> Reply {
        self.merchant.post("/v1/payments", &charge_body(order_ref, minor, digits)).await
    }
}

pub fn charge_body(order_ref: &str, minor: i64, digits: &str) -> Value {
    json!({ "order_ref": order_ref, "amount": eur(minor), "code": digits })
}
