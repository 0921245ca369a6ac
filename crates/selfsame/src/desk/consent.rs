//! Consents: shown, given, withdrawn.

use anyhow::Context;
use clap::Subcommand;
use selfsame_api::consent::{Consent as ApiConsent, NewConsent};
use selfsame_domain::consent::{CONSENT_TEXTS, ConsentText};
use selfsame_domain::id::{AccountId, ConsentId};

use crate::connection::{TIMEOUT, explain};
use crate::desk::Counter;
use crate::output;

#[derive(Subcommand, Debug)]
pub enum Consent {
    /// Show the text that a person agrees to
    Text {
        /// Language of the text
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// Record that a person read the text and agreed to it, in front of you
    Give {
        /// Who agreed
        account: AccountId,
        /// Language in which the text was shown
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// Withdraw a consent: its templates are destroyed at once
    Withdraw {
        /// Which one
        consent: ConsentId,
    },
}

/// The newest text in a language.
pub fn text_in(language: &str) -> anyhow::Result<&'static ConsentText> {
    let found = CONSENT_TEXTS.iter().rev().find(|text| text.language == language);
    let languages: Vec<_> = CONSENT_TEXTS.iter().map(|text| text.language).collect();
    found.with_context(|| {
        format!("there is no consent text in `{language}`, only in {}", languages.join(", "))
    })
}

/// Prints the text.
pub fn print_text(language: &str) -> anyhow::Result<()> {
    let text = text_in(language)?;
    output::line(format_args!("version {}, {}", text.version, text.language))?;
    output::line(text.text)
}

impl Consent {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let client = &counter.client;
        match self {
            Consent::Text { language } => print_text(&language),
            Consent::Give { account, language } => {
                let text = text_in(&language)?;
                let new = NewConsent { account, text_version: text.version.to_owned(), language };
                let consent: ApiConsent =
                    client.post("/v1/consents", &new, TIMEOUT).await.map_err(explain)?;
                counter.print(&consent, format_args!("{}  to text {}", consent.id, consent.text_version))
            }
            Consent::Withdraw { consent } => {
                let path = format!("/v1/consents/{consent}/withdraw");
                let nothing = serde_json::json!({});
                let consent: ApiConsent = client.post(&path, &nothing, TIMEOUT).await.map_err(explain)?;
                counter.print(&consent, format_args!("{}  withdrawn, templates destroyed", consent.id))
            }
        }
    }
}
