//! What is done with hostile bytes. The fuzz targets and a plain test, which runs the kept corpus, share these.

use selfsame_api::sealing::FrameContext;
use selfsame_api::sealing::OpeningKey;
use selfsame_api::serve::parse_json;
use selfsame_api::verification::Samples;
use selfsame_biometrics::model_pack::ModelId;
use selfsame_biometrics::{color_image, face, finger, image};
use zeroize::Zeroizing;

/// A file that is said to be a picture, of a face or of a finger.
pub fn picture(bytes: &[u8]) {
    if let Ok(picture) = color_image::decode(bytes, color_image::Limits::FRAME) {
        let pixels = picture.width_px() as usize * picture.height_px() as usize;
        assert!(pixels > 0 && picture.rgb().len() == 3 * pixels);
    }
    if let Ok(picture) = image::decode_png(bytes, 500) {
        assert_eq!(picture.pixels().len(), picture.width_px() as usize * picture.height_px() as usize);
    }
}

/// A submission of sealed frames. Nobody can seal for a key that they do not know, so none may open.
pub fn frame(bytes: &[u8]) {
    let Ok(samples) = parse_json::<Samples>(bytes) else { return };
    let key = OpeningKey::from_seed(&Zeroizing::new([7; 32]));
    let context = FrameContext {
        terminal: "trm_00000000000000000000000000".parse().expect("a well-formed id"),
        session: "fuzz".to_owned(),
        nonce: samples.nonce.clone(),
        modality: samples.modality,
        sensor_grade: samples.sensor_grade,
    };
    for (index, frame) in samples.frames.iter().enumerate() {
        assert!(key.open(&context, index, frame).is_err());
    }
}

/// A template as it comes out of the store. Whatever is read writes the same bytes again.
pub fn template(bytes: &[u8]) {
    if let Ok(template) = finger::Template::from_bytes(bytes) {
        assert_eq!(template.to_bytes(), bytes);
        let _ = finger::Prepared::new(vec![template.clone()]).score(&template);
    }
    let model = ModelId([7; 8]);
    if let Ok(template) = face::Template::from_bytes(bytes, model) {
        assert_eq!(template.to_bytes(), bytes);
        let _ = face::Prepared::new(vec![template.clone()]).score(&template);
    }
}
