//! What the payer is asked to do while a sample is taken: stable codes with a short text in each language of the screens.

use crate::configuration::Language;

/// A code of guidance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guidance {
    /// The code on the wire.
    pub code: &'static str,
    /// At most four words.
    pub en: &'static str,
    /// At most eight characters.
    pub zh: &'static str,
}

const fn guidance(code: &'static str, en: &'static str, zh: &'static str) -> Guidance {
    Guidance { code, en, zh }
}

/// All of it. A code that a screen does not know reads "try again".
pub const GUIDANCE: &[Guidance] = &[
    guidance("more_digits", "Type the whole number", "请输入完整号码"),
    guidance("number_or_pin_wrong", "Number or PIN wrong", "号码或密码错误"),
    guidance("not_recognised", "Once more, please", "请再试一次"),
    guidance("no_face", "Look into the camera", "请看摄像头"),
    guidance("several_faces", "One person only", "请一人操作"),
    guidance("too_far", "Come closer", "请靠近一点"),
    guidance("too_close", "Move back a little", "请后退一点"),
    guidance("off_center", "Move to the middle", "请移到中间"),
    guidance("turn_to_camera", "Face the camera", "请正对摄像头"),
    guidance("hold_head_upright", "Hold your head upright", "请保持头部端正"),
    guidance("too_dark", "More light, please", "光线太暗"),
    guidance("too_bright", "Less light, please", "光线太亮"),
    guidance("uneven_light", "Light from one side", "光线不均匀"),
    guidance("blurred", "Hold still", "请保持不动"),
    guidance("turn_left", "Turn a little left", "请向左转一点"),
    guidance("turn_right", "Turn a little right", "请向右转一点"),
    guidance("look_up", "Look up a little", "请抬头一点"),
    guidance("turn_head", "Turn your head", "请转动头部"),
    guidance("start_again", "Keep looking, once more", "请继续注视"),
    guidance("no_finger", "Touch the reader", "请按压指纹器"),
    guidance("one_finger_only", "One finger only", "请用一根手指"),
    guidance("cover_the_reader", "Cover the reader", "请按满指纹区"),
    guidance("clean_and_press_again", "Wipe, press again", "请擦净后再按"),
    guidance("press_harder", "Press harder", "请用力按压"),
    guidance("different_finger", "Use the same finger", "请用同一手指"),
];

impl Guidance {
    /// In the words of a language.
    pub fn text(&self, language: Language) -> &'static str {
        match language {
            Language::En => self.en,
            Language::ZhCn => self.zh,
        }
    }
}

/// The guidance of a code.
pub fn guidance_of(code: &str) -> Option<&'static Guidance> {
    GUIDANCE.iter().find(|guidance| guidance.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_texts_short() {
        let mut seen = std::collections::HashSet::new();
        for Guidance { code, en, zh } in GUIDANCE {
            assert!(seen.insert(*code), "{code} twice");
            assert!(en.split(' ').count() <= 4, "{en}");
            assert!(zh.chars().count() <= 8, "{zh}");
        }
        let blurred = guidance_of("blurred").unwrap();
        assert_eq!(blurred.text(Language::En), "Hold still");
        assert_eq!(blurred.text(Language::ZhCn), "请保持不动");
        assert_eq!(guidance_of("nothing"), None);
    }
}
