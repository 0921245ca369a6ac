//! What the operator sets for terminals: for all of the site, and for one. A terminal hears what is in force for it over
//! its channel, applies it at once, and keeps it in a file for when the server is away.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::interface::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, DEADLINE_MS_MIN, HandoverMode, RegisterKind};

/// Longest text about a maintenance, in characters: one line of a register's display.
pub const MAINTENANCE_TEXT_CHARS_MAX: usize = 120;

/// The terminal takes no requests, on the operator's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// What the cashier reads, at most 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "back at 14:00")]
    pub text: Option<String>,
}

/// Language of the guidance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    En,
    /// Chinese, simplified.
    #[serde(rename = "zh-CN")]
    ZhCn,
}

/// `PUT /v1/terminals/{id}/configuration`, and `PUT /v1/terminal-configuration` for all of the site: replaces what is set
/// there. What a terminal's own leaves out comes from the site's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationLayer {
    /// Present: no requests are taken. In force when it is set here or there; the terminal's own text comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Where codes go unless the request says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterKind>,
    /// When codes are handed over unless the request says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_mode: Option<HandoverMode>,
    /// How long a verification may take unless the request says so, 1,000 to 180,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1000, maximum = 180_000)]
    pub deadline_ms: Option<u64>,
    /// In which language the payer is guided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

impl ConfigurationLayer {
    /// What is wrong with it, if something is.
    pub fn check(&self) -> Result<(), String> {
        let deadlines = DEADLINE_MS_MIN..=DEADLINE_MS_MAX;
        if self.deadline_ms.is_some_and(|deadline_ms| !deadlines.contains(&deadline_ms)) {
            return Err(format!("`deadline_ms` must be {DEADLINE_MS_MIN} to {DEADLINE_MS_MAX}"));
        }
        let text = self.maintenance.as_ref().and_then(|maintenance| maintenance.text.as_deref());
        let fits = |text: &str| {
            (1..=MAINTENANCE_TEXT_CHARS_MAX).contains(&text.chars().count())
                && !text.chars().any(char::is_control)
        };
        if text.is_some_and(|text| !fits(text)) {
            return Err(format!("the text is one line of at most {MAINTENANCE_TEXT_CHARS_MAX} characters"));
        }
        Ok(())
    }
}

/// What is in force for a terminal. Unlike what the operator sends, it is read by terminals that may be older than the
/// server: they pass over what they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Configuration {
    /// Present: no requests are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Where codes go unless the request says so; absent: what the terminal does by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterKind>,
    /// When codes are handed over unless the request says so.
    pub handover_mode: HandoverMode,
    /// How long a verification may take unless the request says so, in milliseconds.
    pub deadline_ms: u64,
    /// In which language the payer is guided.
    pub language: Language,
}

impl Default for Configuration {
    fn default() -> Self {
        Self::of(ConfigurationLayer::default(), ConfigurationLayer::default())
    }
}

impl Configuration {
    /// What comes of what is set for the site and for the terminal.
    pub fn of(site: ConfigurationLayer, own: ConfigurationLayer) -> Self {
        let maintenance = match (site.maintenance, own.maintenance) {
            (Some(site), Some(own)) => Some(Maintenance { text: own.text.or(site.text) }),
            (site, own) => own.or(site),
        };
        Self {
            maintenance,
            register: own.register.or(site.register),
            handover_mode: own.handover_mode.or(site.handover_mode).unwrap_or_default(),
            deadline_ms: own.deadline_ms.or(site.deadline_ms).unwrap_or(DEADLINE_MS_DEFAULT),
            language: own.language.or(site.language).unwrap_or_default(),
        }
    }
}

/// Whence a terminal has its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigurationSource {
    /// The server says so now.
    Server,
    /// The server said so last, and is away.
    Kept,
    /// Nobody has said anything yet.
    #[default]
    Default,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer(value: serde_json::Value) -> ConfigurationLayer {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_terminals_own_comes_before_the_sites_field_by_field() {
        let site = layer(json!({ "deadline_ms": 20_000, "register": "screen", "language": "zh-CN" }));
        let own = layer(json!({ "deadline_ms": 30_000 }));
        let made = Configuration::of(site, own);
        assert_eq!((made.deadline_ms, made.register), (30_000, Some(RegisterKind::Screen)));
        assert_eq!((made.language, made.handover_mode), (Language::ZhCn, HandoverMode::OnRequest));
        assert_eq!(made.maintenance, None);
    }

    #[test]
    fn a_maintenance_is_in_force_wherever_it_is_set() {
        let text = |text: &str| layer(json!({ "maintenance": { "text": text } }));
        let (nothing, bare) = (ConfigurationLayer::default, || layer(json!({ "maintenance": {} })));
        let of = |site, own| Configuration::of(site, own).maintenance.map(|maintenance| maintenance.text);
        assert_eq!(of(text("site"), nothing()), Some(Some("site".to_owned())));
        assert_eq!(of(nothing(), text("own")), Some(Some("own".to_owned())));
        assert_eq!(of(text("site"), text("own")), Some(Some("own".to_owned())));
        assert_eq!(of(text("site"), bare()), Some(Some("site".to_owned())));
        assert_eq!(of(nothing(), bare()), Some(None));
    }

    #[test]
    fn what_cannot_be_is_refused_from_the_operator_and_passed_over_by_terminals() {
        for wrong in [
            json!({ "deadline_ms": 999 }),
            json!({ "deadline_ms": 180_001 }),
            json!({ "maintenance": { "text": "" } }),
            json!({ "maintenance": { "text": "a\nb" } }),
            json!({ "maintenance": { "text": "x".repeat(121) } }),
        ] {
            assert!(layer(wrong.clone()).check().is_err(), "{wrong}");
        }
        for unknown in
            [json!({ "volume": 3 }), json!({ "maintenance": { "until": 1 } }), json!({ "language": "xx" })]
        {
            assert!(serde_json::from_value::<ConfigurationLayer>(unknown.clone()).is_err(), "{unknown}");
        }
        let newer = json!({ "deadline_ms": 5_000, "volume": 3 });
        assert_eq!(serde_json::from_value::<Configuration>(newer).unwrap().deadline_ms, 5_000);
    }
}
