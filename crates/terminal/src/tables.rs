//! The tables of docs/interface.md and docs/conformance.md, made from the code so that they cannot differ from it.

use selfsame_api::failure::FailureCode;
use selfsame_api::fleet::Reason;
use selfsame_api::guidance::GUIDANCE;
use selfsame_api::interface::{
    DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, DEADLINE_MS_MIN, LEASE_MS_MAX, LEASE_MS_MIN, WAIT_MS_MAX,
};
use selfsame_api::register::HANDOVER_WORDS;
use selfsame_api::simulator::{ExpectedHandover, Scenario};

use crate::handover::CODE_TIMEOUT;
use crate::register::HANDOVER_DEADLINE;
use crate::state;
use crate::verification::{CANCEL_TIMEOUT, DEADLINE_GRACE, WAKE_BUDGET};
use crate::verifier::CALL_TIMEOUT;

/// Each table's name with its Markdown.
pub fn interface_tables() -> Vec<(&'static str, String)> {
    vec![
        ("states", state::table()),
        ("reasons", reasons()),
        ("failures", failures()),
        ("guidance", guidance()),
        ("handover", handover()),
        ("budgets", budgets()),
        ("scenarios", scenarios()),
    ]
}

fn scenarios() -> String {
    let mut table = String::from(
        "| scenario | what happens | `outcome` | `error.code` | hand-over | a good register |\n|---|---|---|---|---|---|\n",
    );
    for scenario in Scenario::ALL {
        let described = scenario.describe();
        let error = described.error.map_or_else(|| "-".to_owned(), |error| format!("`{error}`"));
        let handover = match described.handover {
            ExpectedHandover::None => "none",
            ExpectedHandover::Code => "a code",
            ExpectedHandover::CodeOnSecondTry => "fails once, then a code",
            ExpectedHandover::UncertainThenCode => "`uncertain` once, then a code",
        };
        let (outcome, happens, register) = (described.outcome, described.happens, described.register);
        table.push_str(&format!(
            "| `{scenario}` | {happens} | `{outcome}` | {error} | {handover} | {register} |\n"
        ));
    }
    table
}

fn reasons() -> String {
    let mut table = String::from("| code | what it means, what to do |\n|---|---|\n");
    Reason::ALL.iter().for_each(|reason| table.push_str(&format!("| `{reason}` | {} |\n", reason.meaning())));
    table
}

fn failures() -> String {
    let mut table =
        String::from("| code | class | again? | what it means, what to do |\n|---|---|---|---|\n");
    for code in FailureCode::ALL {
        let again = if code.is_retryable() { "yes" } else { "no" };
        let (class, meaning) = (code.class().as_str(), code.meaning());
        table.push_str(&format!("| `{code}` | {class} | {again} | {meaning} |\n"));
    }
    table
}

fn guidance() -> String {
    let mut table = String::from("| code | en | zh-CN |\n|---|---|---|\n");
    for guidance in GUIDANCE {
        table.push_str(&format!("| `{}` | {} | {} |\n", guidance.code, guidance.en, guidance.zh));
    }
    table
}

fn handover() -> String {
    let mut table = String::from("| state | en | zh-CN |\n|---|---|---|\n");
    for words in HANDOVER_WORDS {
        table.push_str(&format!("| `{}` | {} | {} |\n", words.state.as_str(), words.en, words.zh));
    }
    table
}

fn budgets() -> String {
    let ms = |duration: std::time::Duration| duration.as_millis().to_string();
    let rows = [
        (
            "a whole verification (`deadline_ms`)",
            format!(
                "{DEADLINE_MS_MIN} to {DEADLINE_MS_MAX}, {DEADLINE_MS_DEFAULT} unless asked for or set by the operator"
            ),
        ),
        (
            "ended by the terminal itself, should the verification program not do it, so much later",
            ms(DEADLINE_GRACE),
        ),
        ("waking the verification program", ms(WAKE_BUDGET)),
        ("the payer's identifier", "`identifier_seconds` of `selfsame.toml`".to_owned()),
        ("a usable sample, anew for each try", "`capture_seconds` of `selfsame.toml`".to_owned()),
        ("a call of the payment server while verifying; asked twice", ms(CALL_TIMEOUT)),
        ("a payment code; asked for twice", ms(CODE_TIMEOUT)),
        ("bringing it to the register; never tried twice", ms(HANDOVER_DEADLINE)),
        ("freeing the reader after a cancel, and telling the server", ms(CANCEL_TIMEOUT)),
        ("a lease (`lease_ms`)", format!("{LEASE_MS_MIN} to {LEASE_MS_MAX}, none unless asked for")),
        ("one long poll (`wait_ms`)", format!("at most {WAIT_MS_MAX}")),
    ];
    let mut table = String::from("| what | milliseconds |\n|---|---|\n");
    rows.iter().for_each(|(what, how_long)| table.push_str(&format!("| {what} | {how_long} |\n")));
    table
}
