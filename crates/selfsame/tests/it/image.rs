//! Hostile pictures: a typed answer each, no attempt lost, and the verification goes on.

use serde_json::{Value, json};

use crate::payer::{picture, press};
use crate::site::TestSite;

/// CRC-32 as PNG files carry it (ISO/IEC 15948, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The picture with another size in its header, and a check sum that agrees.
fn with_size(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

fn cut(png: &[u8], length: usize) -> Vec<u8> {
    png[..length].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_pictures_are_faults_and_the_verification_goes_on() {
    let site = TestSite::start().await;
    let payer = site.payer(1, 0).await;
    let good = press(1, 500).image.to_vec();
    assert_eq!(with_size(&good, 300, 360), good, "the check sum is the right one");
    let large = with_size(&cut(&good, 4_000), 40_000, 40_000);
    assert!(large.len() < 5_000);
    let pictures = [
        ("empty", Vec::new()),
        ("cut in the signature", cut(&good, 7)),
        ("cut in the header", cut(&good, 20)),
        ("cut in the pixels", cut(&good, good.len() / 2)),
        ("cut at the end", cut(&good, good.len() - 13)),
        ("40,000 x 40,000 in a few kilobytes", large),
        ("no width", with_size(&good, 0, 360)),
        ("more rows than there are", with_size(&good, 300, 4_000)),
        ("the largest size there is", with_size(&good, u32::MAX, u32::MAX)),
        ("text", b"GIF89a, they said".to_vec()),
        ("zeros", vec![0; 4_096]),
        (
            "1 MB of noise",
            (0..1u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ),
    ];
    let mut verification = site.open_capturing(&payer.by_phone()).await;
    for (what, png) in &pictures {
        let fault = site.submit(&verification, &[picture(png)]).await.ok(200);
        assert_eq!(fault["ending"], json!({ "kind": "fault", "fault": "image_invalid" }), "{what}");
        assert_eq!((&fault["state"], &fault["attempts_left"]), (&json!("capturing"), &json!(3)), "{what}");
        verification = fault;
    }
    // A hostile picture beside a good one spoils the submission, not the verification.
    let mixed = [press(1, 501), picture(&pictures[5].1)];
    verification = site.submit(&verification, &mixed).await.ok(200);
    assert_eq!(verification["ending"]["kind"], "fault");
    for dpi in [0, 199, 1_201, u16::MAX] {
        let mut odd = press(1, 502);
        odd.resolution_dpi = dpi;
        verification = site.submit(&verification, &[odd]).await.ok(200);
        assert_eq!(verification["ending"]["fault"], "image_invalid", "{dpi} dpi");
    }
    assert_eq!(site.attempts().await, [], "a fault is no attempt");
    site.press_until_passed(verification, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_pictures_at_the_desk_leave_the_enrolment_open() {
    let site = TestSite::start().await;
    let person = site.person(1).await;
    let consent = site.consent(&person.account).await;
    let opened = site.open_enrolment(&person.account, &consent).await;
    let path = format!("/v1/enrolments/{}", opened["id"].as_str().expect("an id"));
    let good = press(1, 1).image.to_vec();
    for png in [Vec::new(), cut(&good, 4_000), with_size(&good, 40_000, 40_000)] {
        let opened: Value = site.operator.get(&path).await.ok(200);
        let sealing = crate::payer::Sealing::of(&opened, selfsame_domain::sensor::SensorGrade::Simulated);
        let samples = [press(1, 1), picture(&png)];
        let body = crate::payer::samples_body(&site.desk, &sealing, &samples);
        let refused = site.desk.post(&format!("{path}/samples"), &body).await.refused(422, "sample_rejected");
        assert_eq!(refused["detail"], "image_invalid");
    }
    assert_eq!(site.operator.get(&path).await.ok(200)["state"], "capturing");
    assert_eq!(site.count("templates"), 0);
}
