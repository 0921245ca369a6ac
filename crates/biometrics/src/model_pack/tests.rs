use super::*;

/// A manifest whose every file has this content.
pub(crate) fn manifest_for(text: &str, content: &[u8]) -> String {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = |line: &str| match line.split_once(" = ") {
        Some(("bytes", _)) => format!("bytes = {}", content.len()),
        Some(("sha256", _)) => format!("sha256 = \"{sha256}\""),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

const CONTENT: &[u8] = b"weights";

fn text() -> String {
    manifest_for(built_in_manifest("face-default").unwrap(), CONTENT)
}

fn verify(read: impl FnMut(&str, u64) -> io::Result<Vec<u8>>) -> Result<ModelPack, PackError> {
    ModelPack::verify(Manifest::parse(&text()).unwrap(), read)
}

#[test]
fn built_in_manifests_are_good_and_their_models_differ() {
    for name in built_in_packs() {
        let manifest = Manifest::parse(built_in_manifest(name).unwrap()).unwrap();
        assert_eq!(manifest.name(), name);
        let points = &manifest.calibration;
        assert!(points.iter().any(|point| point.fmr_ppb <= 100_000), "{name} has no 1:1 threshold");
    }
    assert!(matches!(built_in_manifest("face-other"), Err(PackError::Unknown(_))));
}

#[test]
fn a_pack_loads_when_every_file_is_right() {
    let pack = verify(|_, bytes_max| {
        assert_eq!(bytes_max, CONTENT.len() as u64 + 1);
        Ok(CONTENT.to_vec())
    });
    let pack = pack.unwrap();
    assert_eq!(pack.files(Role::Attack).unwrap().len(), 2);
    assert_eq!(pack.model_id().unwrap(), pack.model_id().unwrap());
    assert!(!pack.calibration().is_empty());
}

#[test]
fn wrong_files_are_refused_by_name_with_what_to_do() {
    let victim = "minifasnet_v2_2.7_80.onnx";
    let with = |answer: fn() -> io::Result<Vec<u8>>| {
        let read = move |name: &str, _| if name == victim { answer() } else { Ok(CONTENT.to_vec()) };
        verify(read).unwrap_err().to_string()
    };
    let refusals = [
        (with(|| Err(io::ErrorKind::NotFound.into())), "missing"),
        (with(|| Err(io::ErrorKind::PermissionDenied.into())), "failed to read"),
        (with(|| Ok(b"weight".to_vec())), "6 bytes instead of 7"),
        (with(|| Ok(b"weights!".to_vec())), "8 bytes instead of 7"),
        (with(|| Ok(b"Weights".to_vec())), "altered"),
        (with(|| Ok(Vec::new())), "0 bytes"),
    ];
    for (message, expected) in refusals {
        assert!(message.contains(victim) && message.contains(expected), "{message}");
    }
}

#[test]
fn manifests_with_mistakes_are_refused() {
    let good = text();
    let mistakes = [
        ("format = 1", "format = 2"),
        ("role = \"landmarks\"", "role = \"gender\""),
        ("role = \"landmarks\"", "role = \"detection\""),
        ("modality = \"face\"", "modality = \"palm\""),
        ("name = \"minifasnet_v2_2.7_80.onnx\"", "name = \"../minifasnet.onnx\""),
        ("name = \"minifasnet_v2_2.7_80.onnx\"", "name = \"minifasnet_v1se_4.0_80.onnx\""),
        ("bytes = 7", "bytes = 0"),
        ("bytes = 7", "bytes = 7000000000"),
        ("crop_scale = 2.7", "crop_scale = 0.1"),
        ("dimensions = 256", "dimensions = 1"),
        ("width_px = 128", "width_px = 100000"),
        ("fmr_ppb = 100000\n", "fmr_ppb = 3000000000\n"),
        ("version = 1", "version = 1\nunknown = 1"),
    ];
    for (from, to) in mistakes {
        assert!(good.contains(from), "{from}");
        assert!(matches!(Manifest::parse(&good.replacen(from, to, 1)), Err(PackError::Manifest(_))), "{to}");
    }
    assert!(Manifest::parse(&" ".repeat(MANIFEST_BYTES_MAX + 1)).is_err());
}

#[test]
fn the_base_pack_fills_the_gaps_and_an_exchanged_file_is_another_model() {
    let second = manifest_for(built_in_manifest("face-mobilefacenet").unwrap(), b"other");
    let load = || ModelPack::verify(Manifest::parse(&second).unwrap(), |_, _| Ok(b"other".to_vec())).unwrap();
    assert!(matches!(load().files(Role::Detection), Err(PackError::Role { .. })));
    let base = || verify(|_, _| Ok(CONTENT.to_vec())).unwrap();
    let complete = load().with_base(base());
    assert_eq!(complete.files(Role::Detection).unwrap()[0].bytes, CONTENT);
    assert_eq!(complete.files(Role::Embedding).unwrap()[0].bytes, b"other");
    assert_ne!(complete.model_id().unwrap(), base().model_id().unwrap());
    let exchanged = manifest_for(built_in_manifest("face-default").unwrap(), b"newer");
    let exchanged =
        ModelPack::verify(Manifest::parse(&exchanged).unwrap(), |_, _| Ok(b"newer".to_vec())).unwrap();
    assert_ne!(exchanged.model_id().unwrap(), base().model_id().unwrap());
}
