//! Paying by face, with the development photos and packs beside the checkout. They are not part of this repository: CI
//! has to have them, and elsewhere these tests say in one line that they did not run.

use std::path::PathBuf;

use selfsame_api::enrolment::Enrolment;
use selfsame_biometrics::color_image::{Affine, Border, ColorImage, Limits, decode, encode_jpeg};
use selfsame_biometrics::face::FaceFinder;
use selfsame_biometrics::image::{GrayImage, encode_png};
use selfsame_biometrics::model_pack::{Manifest, ModelPack, built_in_manifest};
use selfsame_domain::sensor::{Modality, SensorGrade};
use selfsame_terminal::capture::SampleFrame;
use selfsame_terminal::enrolment::{EnrolError, submit_enrolment};
use serde_json::{Value, json};

use crate::caller::Reply;
use crate::leak::{keep_log, logged};
use crate::payer::{Payer, Sealing, seal_frames_of};
use crate::site::{Setup, TestSite, contains};

/// Photos of an enrolment.
const ENROLLED: usize = 3;

/// A folder beside the checkout, or where the variable says.
pub fn beside(variable: &str, name: &str) -> PathBuf {
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    std::env::var_os(variable).map_or_else(|| PathBuf::from(checkout).join(name), PathBuf::from)
}

/// Whether photos and packs are there.
pub fn is_ready() -> bool {
    let there = beside("SELFSAME_FACES", "faces").is_dir() && beside("SELFSAME_MODELS", "models").is_dir();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "CI needs the photos and model packs beside the checkout");
        eprintln!("not tested: there are no photos and model packs beside the checkout");
    }
    there
}

/// A pack as the executable loads it.
pub fn pack(name: &str) -> ModelPack {
    let folder = beside("SELFSAME_MODELS", "models").join(name);
    let manifest = Manifest::parse(built_in_manifest(name).expect("a known pack")).expect("a manifest");
    let base = manifest.base().map(pack);
    let verified =
        ModelPack::verify(manifest, |file, _| std::fs::read(folder.join(file))).expect("a whole pack");
    match base {
        Some(base) => verified.with_base(base),
        None => verified,
    }
}

/// All photos of the `number`th person of whom there are at least four.
pub fn photos(number: usize) -> Vec<Vec<u8>> {
    let folder = beside("SELFSAME_FACES", "faces").join("images");
    let mut people: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("photos").map(|entry| entry.unwrap().path()).collect();
    people.sort();
    let files = |person: &PathBuf| {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(person).expect("photos").map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let mut several = people.iter().map(files).filter(|files| files.len() > ENROLLED);
    let chosen = several.nth(number).expect("enough people");
    chosen.iter().map(|file| std::fs::read(file).expect("a photo")).collect()
}

fn pad(name: &str) -> Vec<u8> {
    std::fs::read(beside("SELFSAME_FACES", "faces").join("pad").join(name)).expect("a photo")
}

fn frame(jpeg: &[u8]) -> SampleFrame {
    SampleFrame::face(jpeg.to_vec(), 0)
}

async fn face_site() -> TestSite {
    TestSite::start_with(Setup { face_pack: Some("face-default"), ..Setup::default() }).await
}

/// Somebody enrolled by face, with the photos that were not enrolled.
struct Faced {
    payer: Payer,
    unused: Vec<Vec<u8>>,
    first: usize,
}

impl TestSite {
    async fn submit_face_enrolment(
        &self,
        payer: &Payer,
        photos: &[Vec<u8>],
    ) -> Result<Enrolment, EnrolError> {
        let new = json!({ "account": payer.account, "consent": payer.consent, "terminal": self.desk.terminal(),
            "modality": "face", "instance": 0 });
        let opened = self.operator.post("/v1/enrolments", &new).await.ok(201);
        let opened: Enrolment = serde_json::from_value(opened).expect("an enrolment");
        let frames: Vec<_> = photos.iter().map(|photo| frame(photo)).collect();
        submit_enrolment(&self.desk.identity, &self.desk.link(), &opened, SensorGrade::Simulated, &frames)
            .await
    }

    /// Enrols the first person from `number` on whose photos the quality gate takes, as a desk would ask for others.
    async fn faced(&self, number: usize) -> Faced {
        let person = self.person(u64::try_from(number).expect("small")).await;
        let payer = Payer { consent: self.consent(&person.account).await, ..person };
        for first in number..number + 20 {
            let mut photos = photos(first);
            let unused = photos.split_off(ENROLLED);
            match self.submit_face_enrolment(&payer, &photos).await {
                Ok(enrolment) => {
                    assert_eq!(enrolment.templates as usize, ENROLLED);
                    return Faced { payer, unused, first };
                }
                Err(error) => assert!(error.to_string().contains("sample_rejected"), "{error}"),
            }
        }
        panic!("twenty people in a row cannot be enrolled");
    }

    async fn open_face(&self, identifier: &Value, grade: &str) -> Value {
        let new = json!({ "request_ref": self.reference(), "modality": "face", "sensor_grade": grade,
            "identifier": identifier });
        let opened = self.till.post("/v1/verifications", &new).await.ok(201);
        assert_eq!(opened["state"], "capturing", "{opened}");
        opened
    }

    async fn submit_face(&self, opened: &Value, grade: SensorGrade, frames: &[SampleFrame]) -> Reply {
        let sealing = Sealing::of(opened, grade);
        let body = json!({
            "nonce": sealing.nonce,
            "modality": "face",
            "sensor_grade": grade,
            "frames": seal_frames_of(Modality::Face, &self.till, &sealing, frames),
        });
        self.submit_body(&sealing.session, &body).await
    }

    /// One photo of whoever against one identifier, on a fresh verification.
    async fn look(&self, identifier: &Value, photo: &[u8]) -> Value {
        let opened = self.open_face(identifier, "simulated").await;
        self.submit_face(&opened, SensorGrade::Simulated, &[frame(photo)]).await.ok(200)
    }
}

#[tokio::test]
async fn a_face_pays_by_a_photo_that_was_not_enrolled_and_nobody_elses_does() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let one = site.faced(0).await;
    let other = site.faced(one.first + 1).await;
    // One photo in ten is refused at the first try; the second one is there for that.
    let mut passed = 0;
    for person in [&one, &other] {
        for photo in &person.unused {
            let verdict = site.look(&person.payer.by_phone(), photo).await;
            passed += usize::from(verdict["state"] == "passed");
            assert_ne!(verdict["ending"]["decision"], "ambiguous", "{verdict}");
            assert!(
                verdict["timings"]["detection"].is_u64() && verdict["timings"]["attack_detection"].is_u64()
            );
        }
    }
    assert!(passed >= 1, "no unused photo of two people was recognised");
    for (photo, identifier) in
        [(&other.unused[0], one.payer.by_phone()), (&one.unused[0], other.payer.by_phone())]
    {
        let verdict = site.look(&identifier, photo).await;
        assert_eq!(verdict["state"], "capturing", "somebody else passed: {verdict}");
    }
    let stranger = photos(other.first + 1);
    for photo in &stranger {
        assert_ne!(site.look(&one.payer.by_phone(), photo).await["state"], "passed");
    }
}

#[tokio::test]
async fn two_pictures_are_too_few_to_enrol_a_face() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.person(1).await;
    let payer = Payer { consent: site.consent(&person.account).await, ..person };
    let refused = site.submit_face_enrolment(&payer, &photos(0)[..2]).await.expect_err("two are too few");
    assert!(refused.to_string().contains("invalid_request"), "{refused}");
}

/// The photo as if the head had turned: what stands out moves further. A bowl for the head, with a nose on it.
fn turned(photo: &[u8], yaw_deg: f32, pitch_deg: f32) -> Vec<u8> {
    let image = decode(photo, Limits::FILE).expect("a photo");
    let finder = FaceFinder::new(&pack("face-default")).expect("the networks run");
    let [left, right, nose, mouth, _] =
        finder.locate(&image).expect("no fault").expect("a photo that can be used").points;
    let eyes = (right[0] - left[0]).hypot(right[1] - left[1]);
    let middle = [(left[0] + right[0]) / 2.0, (left[1] + mouth[1]) / 2.0];
    let (last_x, last_y) = ((image.width_px() - 2) as f32, (image.height_px() - 2) as f32);
    let color = |x: u32, y: u32| {
        let (x, y) = (x as f32, y as f32);
        let [across, down] = [(x - middle[0]) / (1.3 * eyes), (y - middle[1]) / (1.7 * eyes)];
        let bowl = (1.0 - across * across - down * down).max(0.0).sqrt();
        let tip = (x - nose[0]).hypot(y - nose[1]) / (0.45 * eyes);
        let depth = (0.9 * bowl + 0.35 * (-tip * tip).exp()) * eyes;
        let x = (x - depth * yaw_deg.to_radians().tan()).clamp(0.0, last_x);
        let y = (y + depth * pitch_deg.to_radians().tan()).clamp(0.0, last_y);
        let at = |x: u32, y: u32, channel: usize| {
            f32::from(image.rgb()[(y * image.width_px() + x) as usize * 3 + channel])
        };
        let (column, row) = (x as u32, y as u32);
        let (right, below) = (x.fract(), y.fract());
        std::array::from_fn(|channel| {
            let line = |row| at(column, row, channel) * (1.0 - right) + at(column + 1, row, channel) * right;
            (line(row) * (1.0 - below) + line(row + 1) * below) as u8
        })
    };
    encode_jpeg(&ColorImage::draw(image.width_px(), image.height_px(), color).expect("as large"), 90)
}

/// The same picture with other light, coded anew: no other pose.
fn copied(photo: &[u8], percent: u32, jpeg_quality: u8) -> Vec<u8> {
    let image = decode(photo, Limits::FILE).expect("a photo");
    let lit = |value: &u8| u8::try_from((u32::from(*value) * percent / 100).min(255)).expect("a byte");
    let pixels = image.rgb().iter().map(lit).collect();
    let image = ColorImage::new(image.width_px(), image.height_px(), pixels).expect("as large as before");
    encode_jpeg(&image, jpeg_quality)
}

#[tokio::test]
async fn a_face_is_enrolled_in_several_poses_and_never_by_one_picture() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.person(1).await;
    let payer = Payer { consent: site.consent(&person.account).await, ..person };
    let photo = photos(0).remove(0);
    let (left, right) = (turned(&photo, 18.0, 0.0), turned(&photo, -18.0, 0.0));
    let alike: [(&str, Vec<Vec<u8>>); 4] = [
        ("three times the same", vec![photo.clone(); 3]),
        ("five times the same", vec![photo.clone(); 5]),
        ("near copies", vec![photo.clone(), copied(&photo, 90, 60), copied(&photo, 105, 80)]),
        ("two poses", vec![photo.clone(), left.clone(), copied(&left, 95, 80), photo.clone()]),
    ];
    for (name, photos) in alike {
        let refused = site.submit_face_enrolment(&payer, &photos).await.expect_err(name);
        let EnrolError::Server(error) = &refused else { panic!("{name}: {refused}") };
        let problem = error.problem().expect("an answer");
        let poses = if name == "two poses" { 2 } else { 1 };
        let detail = format!("turn_head: the pictures show {poses} of 3 poses of the head");
        assert_eq!(
            (problem.code.as_str(), problem.detail.as_ref()),
            ("sample_rejected", Some(&detail)),
            "{name}"
        );
        assert_eq!(site.count("templates"), 0, "{name}");
        assert_eq!(site.count("enrolments where state <> 'capturing'"), 0, "{name}");
    }
    let enrolled = site.submit_face_enrolment(&payer, &[photo.clone(), left, right]).await;
    assert_eq!(enrolled.expect("three poses").templates, 3);
    assert_eq!(site.count("templates"), 3);
    assert_eq!(site.look(&payer.by_phone(), &photo).await["state"], "passed");
}

#[tokio::test]
async fn an_attack_is_one_and_its_evidence_is_kept() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.faced(0).await;
    let verdict = site.look(&person.payer.by_phone(), &pad("image_F1.jpg")).await;
    assert_eq!(
        (&verdict["state"], &verdict["ending"]["decision"]),
        (&json!("failed"), &json!("attack")),
        "{verdict}"
    );
    assert_eq!(site.count("verifications where attack is not null and reason = 'attack'"), 1);
    let living = site.look(&person.payer.by_phone(), &pad("image_T1.jpg")).await;
    assert_eq!(living["ending"]["decision"], "no_match", "a living stranger is no attack: {living}");
}

#[tokio::test]
async fn a_camera_sends_several_frames_and_a_frozen_one_is_an_attack() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.faced(0).await;
    let photo = &person.unused[0];
    let opened = site.open_face(&person.payer.by_phone(), "rgb").await;
    let too_few = [frame(photo), frame(photo)];
    site.submit_face(&opened, SensorGrade::Rgb, &too_few).await.refused(400, "invalid_request");
    let frozen: Vec<_> = (0..3u32).map(|n| SampleFrame::face(photo.clone(), n * 100)).collect();
    let verdict = site.submit_face(&opened, SensorGrade::Rgb, &frozen).await.ok(200);
    assert_eq!(verdict["ending"]["decision"], "attack", "{verdict}");
}

/// A clip of somebody before a screen whose light is a tenth of the room's: one frame for each colour, at its end.
fn clip(photo: &[u8], colours: &[&str], step_ms: u32) -> Vec<SampleFrame> {
    let image = decode(photo, Limits::FILE).expect("a photo");
    let frame = |(step, colour): (usize, &&str)| {
        let channel = ["red", "green", "blue"].iter().position(|known| known == colour);
        let lit = |(index, value): (usize, &u8)| {
            let gain = if Some(index % 3) == channel { 110 } else { 100 };
            u8::try_from((u32::from(*value) * gain / 100).min(255)).expect("a byte")
        };
        let pixels = image.rgb().iter().enumerate().map(lit).collect();
        let image = ColorImage::new(image.width_px(), image.height_px(), pixels).expect("as large as before");
        let step = u32::try_from(step).expect("small");
        // Every frame differs a little, as a camera's do, also where the light is the same.
        let jpeg = encode_jpeg(&image, 80 + u8::try_from(step).expect("small"));
        SampleFrame::face(jpeg, step * step_ms + step_ms - 50)
    };
    colours.iter().enumerate().map(frame).collect()
}

#[tokio::test]
async fn a_challenge_is_answered_by_its_own_colours_and_no_others() {
    if !is_ready() {
        return;
    }
    let setup = Setup { face_pack: Some("face-default"), colour_flash: true, ..Setup::default() };
    let site = TestSite::start_with(setup).await;
    let person = site.faced(0).await;
    let mut photos = photos(person.first);
    photos.truncate(ENROLLED);
    // Turned by one place the colours are another order, and those of an unlit clip are none.
    type Shown = fn(&mut Vec<&str>);
    let as_asked: Shown = |_| {};
    let late: Shown = |colours| colours.rotate_right(1);
    let unlit: Shown = |colours| colours.fill("none");
    for (shown, decision) in [(as_asked, "match"), (late, "attack"), (unlit, "attack")] {
        let opened = site.open_face(&person.payer.by_phone(), "rgb").await;
        assert_eq!(opened["sensor_grade"], "rgb_challenge");
        let asked = opened["challenge"]["colours"].as_array().expect("colours");
        let mut colours: Vec<&str> = asked.iter().map(|colour| colour.as_str().expect("a name")).collect();
        shown(&mut colours);
        let step_ms = opened["challenge"]["step_ms"].as_u64().expect("a length");
        let frames = clip(&photos[0], &colours, u32::try_from(step_ms).expect("small"));
        let early = site.submit_face(&opened, SensorGrade::RgbChallenge, &frames).await;
        early.refused(400, "invalid_request");
        site.advance(5);
        let verdict = site.submit_face(&opened, SensorGrade::RgbChallenge, &frames).await.ok(200);
        assert_eq!(verdict["ending"]["decision"], decision, "{colours:?}: {verdict}");
    }
    let stored = "verifications where reason is null and attack like '%\"challenge_answered\":true%'";
    assert_eq!(site.count(stored), 1);
}

fn plain(value: u8) -> Vec<u8> {
    let image = ColorImage::new(400, 400, vec![value; 400 * 400 * 3]).expect("a small picture");
    encode_jpeg(&image, 90)
}

/// Two photos side by side.
fn group(left: &[u8], right: &[u8]) -> Vec<u8> {
    let [left, right] = [left, right].map(|photo| decode(photo, Limits::FILE).expect("a photo"));
    let (width, height) = (left.width_px(), left.height_px().min(right.height_px()));
    let row = |image: &ColorImage, y: u32| {
        let bytes = image.width_px() as usize * 3;
        image.rgb()[y as usize * bytes..][..width as usize * 3].to_vec()
    };
    let pixels = (0..height).flat_map(|y| [row(&left, y), row(&right, y)].concat()).collect();
    encode_jpeg(&ColorImage::new(2 * width, height, pixels).expect("a group"), 90)
}

/// The same photo that says in its frame header (ISO/IEC 10918-1, B.2.2) to have another size.
fn with_size(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let mut at = 2;
    while !matches!(jpeg[at + 1], 0xc0..=0xc2) {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// Another kind of picture in a frame that says it is a JPEG.
fn png() -> Vec<u8> {
    encode_png(&GrayImage::new(400, 400, 500, vec![128; 400 * 400]).expect("a small picture"))
}

fn upside_down(photo: &[u8]) -> Vec<u8> {
    let image = decode(photo, Limits::FILE).expect("a photo");
    let pixels = image.rgb().chunks_exact(3).rev().flatten().copied().collect();
    let turned = ColorImage::new(image.width_px(), image.height_px(), pixels).expect("as large as before");
    encode_jpeg(&turned, 90)
}

/// A hundred small copies of a photo, ten in a row.
fn crowd(photo: &[u8]) -> Vec<u8> {
    const SIDE: u32 = 100;
    let image = decode(photo, Limits::FILE).expect("a photo");
    let whole = [0.0, 0.0, image.width_px() as f32, image.height_px() as f32];
    let small = image.warp_smooth(&Affine::scale(whole, SIDE, SIDE), SIDE, SIDE, Border::Nearest);
    let row = |y: u32| small.rgb()[(y % SIDE * SIDE * 3) as usize..][..(SIDE * 3) as usize].repeat(10);
    let pixels = (0..10 * SIDE).flat_map(row).collect();
    encode_jpeg(&ColorImage::new(10 * SIDE, 10 * SIDE, pixels).expect("a crowd"), 90)
}

/// The photo with black glasses over both eyes.
fn with_sunglasses(photo: &[u8]) -> Vec<u8> {
    let image = decode(photo, Limits::FILE).expect("a photo");
    let finder = FaceFinder::new(&pack("face-default")).expect("the networks run");
    let points = finder.locate(&image).expect("no fault").expect("a photo that can be used").points;
    let [left, right] = [points[0], points[1]];
    let radius = (right[0] - left[0]).hypot(right[1] - left[1]) * 0.4;
    let width = image.width_px() as usize;
    let mut pixels = image.rgb().to_vec();
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((index % width) as f32, (index / width) as f32);
        if [left, right].iter().any(|eye| (x - eye[0]).hypot(y - eye[1]) < radius) {
            pixel.fill(8);
        }
    }
    encode_jpeg(&ColorImage::new(image.width_px(), image.height_px(), pixels).expect("as large"), 90)
}

/// Eyes are much of a face: whoever hides them may be asked to look again or not be recognised, but is nobody else.
#[tokio::test]
async fn sunglasses_make_nobody_somebody_else() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let one = site.faced(0).await;
    let other = site.faced(one.first + 1).await;
    let hidden = with_sunglasses(&photos(one.first)[0]);
    for person in [&one, &other] {
        let verdict = site.look(&person.payer.by_phone(), &hidden).await;
        assert_ne!(verdict["ending"]["kind"], "fault", "{verdict}");
        if person.first == other.first {
            assert_ne!(verdict["state"], "passed", "{verdict}");
        }
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_used_cost_the_payer_nothing() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.faced(0).await;
    let good = person.unused[0].clone();
    let other = photos(person.first + 1).remove(0);
    let mut opened = site.open_face(&person.payer.by_phone(), "simulated").await;
    let unusable = [
        ("empty", Vec::new(), "image_invalid"),
        ("truncated", good[..good.len() / 2].to_vec(), "image_invalid"),
        ("no picture", b"GIF89a".to_vec(), "image_invalid"),
        ("40,000 pixels a side", with_size(&good, 40_000, 40_000), "image_invalid"),
        ("no pixels", with_size(&good, 0, 0), "image_invalid"),
        ("an empty PNG that is called JPEG", png(), "no_face"),
        ("black", plain(0), "no_face"),
        ("white", plain(255), "no_face"),
        ("a group", group(&good, &other), "several_faces"),
        ("a hundred faces", crowd(&good), "several_faces"),
        ("upside down", upside_down(&good), "hold_head_upright"),
    ];
    for (name, jpeg, why) in unusable {
        opened = site.submit_face(&opened, SensorGrade::Simulated, &[frame(&jpeg)]).await.ok(200);
        assert_eq!(
            (&opened["state"], &opened["attempts_left"]),
            (&json!("capturing"), &json!(3)),
            "{name}: {opened}"
        );
        let ending = &opened["ending"];
        assert!(ending["reason"] == why || ending["fault"] == why, "{name}: {ending}");
    }
    site.submit_face(&opened, SensorGrade::Simulated, &[frame(&good)]).await.ok(200);
}

#[tokio::test]
async fn templates_of_another_model_are_never_compared_and_enrolling_anew_helps() {
    if !is_ready() {
        return;
    }
    for (before, after) in [("face-default", "face-mobilefacenet"), ("face-mobilefacenet", "face-default")] {
        let site = TestSite::start_with(Setup { face_pack: Some(before), ..Setup::default() }).await;
        let (mut number, mut enrolled_anew) = (0, false);
        while !enrolled_anew {
            let person = site.faced(number).await;
            number = person.first + 1;
            let mut photos = photos(person.first);
            photos.truncate(ENROLLED);
            // An enrolled photo would match itself, if it were compared.
            assert_eq!(site.look(&person.payer.by_phone(), &photos[0]).await["state"], "passed", "{before}");
            site.stop_matcher().await;
            site.start_matcher_with(Some(after)).await;
            let verdict = site.look(&person.payer.by_phone(), &photos[0]).await;
            assert_eq!(verdict["ending"]["decision"], "no_match", "{after}: {verdict}");
            // The other model may find that these photos do not show one face; then the next person's have to do.
            enrolled_anew = site.submit_face_enrolment(&person.payer, &photos).await.is_ok();
            if enrolled_anew {
                let verdict = site.look(&person.payer.by_phone(), &photos[0]).await;
                assert_eq!(verdict["state"], "passed", "{after}: {verdict}");
            } else {
                site.stop_matcher().await;
                site.start_matcher_with(Some(before)).await;
            }
        }
    }
}

#[tokio::test]
async fn without_a_pack_faces_are_a_fault_and_fingers_go_on() {
    if !is_ready() {
        return;
    }
    let site = face_site().await;
    let person = site.faced(0).await;
    site.stop_matcher().await;
    site.start_matcher_with(None).await;
    let verdict = site.look(&person.payer.by_phone(), &person.unused[0]).await;
    assert_eq!(verdict["ending"]["fault"], "matcher_unavailable", "{verdict}");
    let finger = site.payer(77, 0).await;
    site.pass(&finger).await;
}

/// The photo with a comment (marker COM) behind its signature.
fn marked(photo: &[u8], mark: &[u8]) -> Vec<u8> {
    let length = u16::try_from(mark.len() + 2).expect("a short mark").to_be_bytes();
    [&photo[..2], &[0xff, 0xfe], &length, mark, &photo[2..]].concat()
}

#[tokio::test]
async fn no_picture_of_a_face_is_left_in_any_file_or_log() {
    const MARK: &[u8] = b"marked-picture-of-a-payer-51c7e0";
    if !is_ready() {
        return;
    }
    keep_log();
    let site = face_site().await;
    let person = site.faced(0).await;
    let mut photos = photos(person.first);
    photos.truncate(ENROLLED);
    let photos: Vec<_> = photos.iter().map(|photo| marked(photo, MARK)).collect();
    site.submit_face_enrolment(&person.payer, &photos).await.expect("a comment changes no face");
    let by_phone = person.payer.by_phone();
    let passed = site.look(&by_phone, &photos[0]).await;
    assert_eq!(passed["state"], "passed", "{passed}");
    site.digits(&passed).await;
    // What is refused is kept no more than what passes.
    let attack = marked(&pad("image_F1.jpg"), MARK);
    assert_eq!(site.look(&by_phone, &attack).await["ending"]["decision"], "attack");
    let half = &photos[1][..photos[1].len() / 2];
    assert!(contains(half, MARK));
    assert_eq!(site.look(&by_phone, half).await["ending"]["fault"], "image_invalid");
    site.flush().await;

    let log = logged();
    assert!(contains(&log, b"concluded a sample"), "the log is taken at all");
    let mut places = site.files();
    assert!(places.iter().any(|(name, _)| name == "site.db"));
    places.push(("the log".to_owned(), log));
    for (name, bytes) in places {
        assert!(!contains(&bytes, MARK), "{name} holds the mark");
        for photo in photos.iter().chain([&attack]) {
            let middle = &photo[photo.len() / 2..photo.len() / 2 + 24];
            assert!(!contains(&bytes, middle), "{name} holds a piece of a photo");
        }
        for after in [0xc0, 0xdb, 0xe0, 0xe1, 0xee, 0xfe] {
            assert!(!contains(&bytes, &[0xff, 0xd8, 0xff, after]), "{name} holds a JPEG");
        }
    }
}
