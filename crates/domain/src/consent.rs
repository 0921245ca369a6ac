//! Consent to biometric payment: no capture without a live one.

use sha2::{Digest, Sha256};

/// The text that a payer agrees to at the desk, by version. The hash of the text that was shown is recorded with
/// the consent, so that it can be proved later what the payer read.
#[derive(Debug, Clone, Copy)]
pub struct ConsentText {
    /// Version of the text; a changed text gets a new one.
    pub version: &'static str,
    /// Language tag (BCP 47).
    pub language: &'static str,
    /// What is shown.
    pub text: &'static str,
}

impl ConsentText {
    /// SHA-256 of the text as shown.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// The texts in force. Operators will bring their own; these are complete enough to start with.
pub const CONSENT_TEXTS: &[ConsentText] = &[
    ConsentText {
        version: "2026-11",
        language: "en",
        text: "I agree that this operator stores an encrypted description (template) of my finger or face and \
               compares it with what the terminal sees when I pay. No picture is kept. I can pay with my member \
               number and PIN instead, at the same price and in the same queue. I can withdraw this consent at the \
               desk at any time; the template is then destroyed at once.",
    },
    ConsentText {
        version: "2026-11",
        language: "zh-CN",
        text: "我同意本运营方加密保存我的指纹或人脸特征模板，并在我付款时与终端采集的信息进行比对。不保存任何图像。\
               我也可以使用会员号和密码付款，价格和排队不受影响。我可以随时在服务台撤回同意，届时模板立即销毁。",
    },
];

/// The text of a version in a language, if there is one.
pub fn consent_text(version: &str, language: &str) -> Option<&'static ConsentText> {
    CONSENT_TEXTS.iter().find(|text| text.version == version && text.language == language)
}
