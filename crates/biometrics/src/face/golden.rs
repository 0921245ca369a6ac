//! The networks against values computed once with the original preparation (Python, onnxruntime 1.x, OpenCV), and the
//! traps of that preparation. They need the files of the packs, which are not in this repository; the pictures are
//! drawn in code, and of the two published photos only scores are written down here.

use std::path::PathBuf;
use std::{env, fs};

use super::networks::{AttackDetection, Embedding};
use super::runtime::Threads;
use super::*;
use crate::color_image::{Limits, decode, encode_jpeg_within};
use crate::model_pack::{Manifest, built_in_manifest};
use crate::score::Score;

/// A folder beside the workspace, or named by a variable. `None` (with a line that says so) if it is not there,
/// except in CI, where that is a failure.
fn folder(variable: &str, beside: &str) -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(beside);
    let folder = env::var_os(variable).map_or_else(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(env::var_os("CI").is_none(), "`{}` is missing: set {variable}", folder.display());
    println!("not checked: `{}` is missing, set {variable}", folder.display());
    None
}

fn verified(folder: &std::path::Path, name: &str, change: impl Fn(&str) -> String) -> ModelPack {
    let manifest = Manifest::parse(&change(built_in_manifest(name).unwrap())).unwrap();
    ModelPack::verify(manifest, |file, _| fs::read(folder.join(name).join(file))).unwrap()
}

fn pack(name: &str, change: impl Fn(&str) -> String) -> Option<ModelPack> {
    let folder = folder("SELFSAME_MODELS", "models")?;
    let pack = verified(&folder, name, change);
    let base = pack.manifest().base().map(str::to_owned);
    Some(match base {
        Some(base) => pack.with_base(verified(&folder, &base, str::to_owned)),
        None => pack,
    })
}

fn photo(name: &str) -> Option<ColorImage> {
    let file = folder("SELFSAME_FACES", "faces")?.join("pad").join(name);
    Some(decode(&fs::read(file).unwrap(), Limits::FRAME).unwrap())
}

fn drawing(width_px: u32, height_px: u32) -> ColorImage {
    let color = |x: u32, y: u32| [(x * 3) as u8, (y * 5) as u8, (x * y / 4) as u8];
    ColorImage::draw(width_px, height_px, color).unwrap()
}

/// The first numbers of the embedding of a drawing that lies where the network wants it, at length 1.
fn embedded(pack: &ModelPack, side_px: u32) -> Vec<f32> {
    let file = pack.files(Role::Embedding).unwrap()[0];
    let network = Embedding::load(file, &Threads::one()).unwrap();
    let points = file.facts.points_px.unwrap();
    let vector = network.vector(&drawing(side_px, side_px), &points).unwrap().unwrap();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().take(6).map(|value| value / length).collect()
}

fn assert_near(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let near = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-3);
    assert!(near, "{got:?} instead of {expected:?}");
}

/// What attack detection says of a drawing with a face box in it, after a change of the manifest.
fn drawn_liveness(change: impl Fn(&str) -> String) -> Option<f32> {
    let pack = pack("face-default", change)?;
    let networks = AttackDetection::load(&pack.files(Role::Attack).unwrap(), &Threads::one()).unwrap();
    let face = Rectangle { left: 300.0, top: 170.0, width: 90.0, height: 120.0 };
    Some(networks.score(&drawing(640, 480), &face).unwrap())
}

#[test]
fn the_default_embedding_takes_raw_blue_green_red() {
    let Some(right) = pack("face-default", str::to_owned) else { return };
    let expected = [0.05736, 0.01363, -0.03981, -0.06289, 0.00909, -0.00267];
    assert_near(&embedded(&right, 128), &expected);
    let swapped = |text: &str| text.replace("\"bgr\"", "\"rgb\"");
    let wrong = embedded(&pack("face-default", swapped).unwrap(), 128);
    assert_near(&wrong, &[0.05191, 0.04194, -0.08441, -0.08532, -0.04886, 0.01141]);
}

#[test]
fn the_second_embedding_takes_normalised_red_green_blue() {
    let Some(pack) = pack("face-mobilefacenet", str::to_owned) else { return };
    assert_near(&embedded(&pack, 112), &[-0.00157, -0.1345, -0.0168, -0.08928, 0.06331, 0.11937]);
}

#[test]
fn each_attack_network_has_its_own_crop() {
    let Some(right) = drawn_liveness(str::to_owned) else { return };
    assert!((right - 0.0156).abs() < 0.005, "{right}");
    let exchange = |text: &str| {
        text.replace("crop_scale = 2.7", "crop_scale = x")
            .replace("crop_scale = 4.0", "crop_scale = 2.7")
            .replace("crop_scale = x", "crop_scale = 4.0")
    };
    let exchanged = drawn_liveness(exchange).unwrap();
    assert!((exchanged - 0.805).abs() < 0.05, "{exchanged}");
}

#[test]
fn the_living_sample_lives_and_the_attack_is_one() {
    let Some(pack) = pack("face-default", str::to_owned) else { return };
    let (Some(live), Some(attack)) = (photo("image_T1.jpg"), photo("image_F1.jpg")) else { return };
    let pipeline = FacePipeline::new(&pack).unwrap();
    let judged = |image: &ColorImage| {
        let located = pipeline.locate(image).unwrap().unwrap();
        let template = pipeline.template(image, &located).unwrap().unwrap();
        (pipeline.liveness(image, &located.face).unwrap(), template, located.face)
    };
    let ((live_score, live_template, face), (attack_score, attack_template, _)) =
        (judged(&live), judged(&attack));
    assert!(live_score > 0.99, "{live_score}");
    assert!(attack_score < 0.15, "{attack_score}");
    // The coarse look at a further frame finds the same face, and it lives there too.
    let followed = pipeline.finder().follow(&live).unwrap().unwrap();
    assert!(followed.overlap(&face) > 0.7, "{followed:?} instead of {face:?}");
    assert!(pipeline.liveness(&live, &followed).unwrap() > 0.99);
    // Two people: far apart. The same photo: the same template.
    let prepared = Prepared::new(vec![live_template.clone()]);
    assert_eq!(prepared.score(&live_template), Score::MAX);
    assert!(prepared.score(&attack_template) < Score(4_000));
}

#[test]
fn divided_by_255_everybody_is_an_attack_and_in_red_green_blue_the_attack_lives() {
    let (Some(live), Some(attack)) = (photo("image_T1.jpg"), photo("image_F1.jpg")) else { return };
    let judged = |image: &ColorImage, input: &str| {
        let change = |text: &str| {
            let (head, tail) = text.split_once("minifasnet_v2").unwrap();
            format!("{head}minifasnet_v2{}", tail.replace("channels = \"bgr\"", input))
        };
        let pipeline = FacePipeline::new(&pack("face-default", change)?).unwrap();
        let located = pipeline.locate(image).unwrap().unwrap();
        Some(pipeline.liveness(image, &located.face).unwrap())
    };
    let divided = "channels = \"bgr\", deviation = [255.0, 255.0, 255.0]";
    let Some(divided) = judged(&live, divided) else { return };
    assert!(divided < 0.05, "{divided}");
    let red_first = judged(&attack, "channels = \"rgb\"").unwrap();
    assert!(red_first > 0.5, "{red_first}");
}

#[test]
fn faces_side_by_side_are_never_told_apart_by_size() {
    let Some(pack) = pack("face-default", str::to_owned) else { return };
    let Some(one) = photo("image_T1.jpg") else { return };
    let finder = FaceFinder::new(&pack).unwrap();
    let width = one.width_px();
    let row = |count: u32, scale: f32| {
        // The last copy is scaled about the middle of its place.
        let at = |x: u32, y: u32| {
            let (copy, x) = (x / width, x % width);
            let scale = if copy + 1 == count { scale } else { 1.0 };
            let place = |value: u32, side: u32| {
                let middle = side as f32 / 2.0;
                ((value as f32 - middle) / scale + middle).clamp(0.0, side as f32 - 1.0) as usize
            };
            let index = (place(y, one.height_px()) * width as usize + place(x, width)) * 3;
            [one.rgb()[index], one.rgb()[index + 1], one.rgb()[index + 2]]
        };
        ColorImage::draw(width * count, one.height_px(), at).unwrap()
    };
    assert!(finder.locate(&row(1, 1.0)).unwrap().is_ok());
    for image in [row(2, 1.0), row(2, 0.8), row(3, 1.0)] {
        assert_eq!(finder.locate(&image).unwrap().err(), Some(Retry::SeveralFaces));
    }
}

#[test]
fn pictures_without_a_usable_face_are_refused_with_the_reason() {
    let Some(pack) = pack("face-default", str::to_owned) else { return };
    let finder = FaceFinder::new(&pack).unwrap();
    let plain = |value: u8| ColorImage::draw(320, 240, move |_, _| [value; 3]).unwrap();
    for image in [plain(0), plain(255), drawing(320, 240), ColorImage::draw(1, 1, |_, _| [9; 3]).unwrap()] {
        assert_eq!(finder.locate(&image).unwrap().err(), Some(Retry::NoFace));
    }
    let long = ColorImage::draw(4096, 1, |_, _| [9; 3]).unwrap();
    assert_eq!(finder.locate(&long).unwrap().err(), Some(Retry::NoFace));
    let Some(live) = photo("image_T1.jpg") else { return };
    let changed = |change: &dyn Fn(u8) -> u8| {
        let bytes = live.rgb().iter().map(|value| change(*value)).collect();
        ColorImage::new(live.width_px(), live.height_px(), bytes).unwrap()
    };
    assert_eq!(finder.locate(&changed(&|value| value / 6)).unwrap().err(), Some(Retry::TooDark));
    let glare = finder.locate(&changed(&|value| value.saturating_add(150))).unwrap().err();
    assert_eq!(glare, Some(Retry::TooBright));
}

#[test]
fn faces_upside_down_or_cut_by_the_edge_are_refused() {
    let Some(pack) = pack("face-default", str::to_owned) else { return };
    let Some(live) = photo("image_T1.jpg") else { return };
    let finder = FaceFinder::new(&pack).unwrap();
    let (width, height) = (live.width_px(), live.height_px());
    let pixel = |x: u32, y: u32| {
        let index = (y * width + x) as usize * 3;
        [live.rgb()[index], live.rgb()[index + 1], live.rgb()[index + 2]]
    };
    let turned = ColorImage::draw(width, height, |x, y| pixel(width - 1 - x, height - 1 - y)).unwrap();
    let refused = finder.locate(&turned).unwrap().err();
    assert!(matches!(refused, Some(Retry::NoFace | Retry::HoldHeadUpright)), "{refused:?}");
    // The right eye and everything beyond it is outside.
    let area = crate::color_image::Area { left: 0, top: 0, width_px: 250, height_px: height };
    let refused = finder.locate(&live.cut(area).unwrap()).unwrap();
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn templates_of_two_packs_are_never_compared() {
    let (Some(first), Some(second)) =
        (pack("face-default", str::to_owned), pack("face-mobilefacenet", str::to_owned))
    else {
        return;
    };
    let Some(image) = photo("image_T1.jpg") else { return };
    let (first, second) = (FacePipeline::new(&first).unwrap(), FacePipeline::new(&second).unwrap());
    assert_ne!(first.model(), second.model());
    let template = |pipeline: &FacePipeline| {
        let located = pipeline.locate(&image).unwrap().unwrap();
        pipeline.template(&image, &located).unwrap().unwrap()
    };
    let (a, b) = (template(&first), template(&second));
    assert_eq!(Prepared::new(vec![a.clone()]).score(&b), Score(0));
    let refused = Template::from_bytes(&a.to_bytes(), second.model());
    assert!(matches!(refused, Err(TemplateError::Model { .. })));
}

#[test]
fn a_file_that_agrees_with_its_manifest_and_is_no_network_is_refused_by_name() {
    let nonsense = b"no network at all".to_vec();
    let text = built_in_manifest("face-default").unwrap();
    let manifest = crate::model_pack::tests::manifest_for(text, &nonsense);
    let pack = ModelPack::verify(Manifest::parse(&manifest).unwrap(), |_, _| Ok(nonsense.clone())).unwrap();
    let refused = FacePipeline::new(&pack).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("face_detection_yunet_2026may.onnx"), "{refused}");
}

/// The picture with normal noise of one grey level (sum of six draws), as a camera in good light adds it.
fn with_noise(image: &ColorImage, state: &mut u64) -> ColorImage {
    let mut uniform = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1u64 << 24) as f32
    };
    let values = image.rgb().iter().map(|value| {
        let noise = ((0..6).map(|_| uniform()).sum::<f32>() - 3.0) / 0.5f32.sqrt();
        (f32::from(*value) + noise).round().clamp(0.0, 255.0) as u8
    });
    ColorImage::new(image.width_px(), image.height_px(), values.collect()).unwrap()
}

#[test]
fn a_head_that_keeps_still_differs_by_the_noise_of_the_camera() {
    let (Some(pack), Some(photo)) = (pack("face-default", str::to_owned), photo("image_T1.jpg")) else {
        return;
    };
    let finder = FaceFinder::new(&pack).unwrap();
    let mut state = 1;
    let mut sent = |noisy: bool| {
        let frame = if noisy { with_noise(&photo, &mut state) } else { photo.clone() };
        let face = finder.locate(&frame).unwrap().unwrap().face;
        let jpeg = encode_jpeg_within(&wide_frame(&frame, &face), 100 << 10);
        Thumbprint::of(&decode(&jpeg, Limits::FRAME).unwrap())
    };
    // The policy of a site refuses less than 0.01 % of the range of luminance.
    let still = sent(true).difference(&sent(true));
    assert!(still > 0.000_15 * 255.0, "{still}");
    assert!(sent(false).difference(&sent(false)) < f32::EPSILON);
}
