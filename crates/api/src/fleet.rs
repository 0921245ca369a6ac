//! The fleet: what terminals say of themselves, and what the operator sees of it. No person, identifier or code is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use selfsame_domain::id::{MerchantId, StoreId, TerminalId};
use selfsame_domain::sensor::Modality;
use selfsame_domain::terminal::{Lifecycle, Purpose};
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::configuration::Configuration;
use crate::failure::FailureCode;
use crate::interface::{Outcome, RegisterKind, TerminalState};
use crate::terminal::TerminalKey;

/// How often a terminal reports, news or not.
pub const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A terminal whose last report is older counts as away: two may be lost.
pub const REPORT_FRESH: Duration = Duration::from_secs(150);

/// Largest report, in bytes. A real one has 500.
pub const REPORT_BYTES_MAX: usize = 4096;

macro_rules! reasons {
    // `$text` is a token and not a literal, so that the OpenAPI document sees through it.
    ($($name:ident = $text:tt, $meaning:literal;)*) => {
        /// What keeps a terminal from its work.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Reason { $(#[doc = $meaning] #[serde(rename = $text)] $name,)* }

        impl Reason {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The stable code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// What is the matter and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $meaning,)* }
            }
        }
    };
}

reasons! {
    VerifierUnavailable = "verifier_unavailable", "The verification program does not answer; it is being started again.";
    CaptureUnavailable = "capture_unavailable", "The verification program has neither reader nor camera: see `selfsame.toml`.";
    CameraUnavailable = "camera_unavailable", "The camera is missing, in use by another program, or gives nothing: see `selfsame doctor`. Who needs no camera can be verified.";
    DiskFull = "disk_full", "There is no room for the journal: make some.";
    ClockSkew = "clock_skew", "This machine's clock is too far from the server's to be corrected: set it.";
    RegisterUnavailable = "register_unavailable", "The way to the register by default is not there: payers can be verified, and their codes go out when it is plugged in.";
    ServerUnreachable = "server_unreachable", "The payment server does not answer.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `POST /v1/terminal-health` (signed by the terminal, which may be locked): how it fares. Replaces the report before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Software version.
    pub version: String,
    /// How long its process runs, in seconds.
    pub uptime_seconds: u64,
    /// Whether it would take a request.
    pub state: TerminalState,
    /// What keeps it from its work.
    pub reasons: Vec<Reason>,
    /// How far its clock is ahead of the server's, in milliseconds, as measured last; absent: not measured yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// What it can capture; empty while its verification program does not answer.
    #[schema(value_type = Vec<String>)]
    pub modalities: Vec<Modality>,
    /// Ways to the register.
    pub registers: Vec<RegisterKind>,
    /// How its last verification ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<LastOutcome>,
    /// Verifications since it started, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Room where its journal is, in bytes; absent: the operating system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_free_bytes: Option<u64>,
    /// The configuration in force there.
    pub configuration: Configuration,
}

/// How a terminal's last verification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LastOutcome {
    /// How.
    pub outcome: Outcome,
    /// Why it was not concluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureCode>,
    /// When; of a run before the terminal was started again: when it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// A report was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthReceived {
    /// The server's time, by which the terminal measures its clock.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Timestamp,
}

/// `GET /v1/terminals/{id}`: a terminal as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetTerminal {
    /// The terminal.
    #[schema(value_type = String)]
    pub id: TerminalId,
    /// Its name.
    #[schema(example = "Till 1")]
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub store: StoreId,
    /// Name of the store.
    pub store_name: String,
    /// Whose it is.
    #[schema(value_type = String)]
    pub merchant: MerchantId,
    /// Name of the merchant.
    pub merchant_name: String,
    /// What it is for.
    #[schema(value_type = String, example = "till")]
    pub purpose: Purpose,
    /// `unactivated`, `active`, `locked` or `retired`.
    #[schema(value_type = String, example = "active")]
    pub state: Lifecycle,
    /// Since when it has been locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_at: Option<Timestamp>,
    /// When its key was last used in a way that a copy of the key would explain. Goes with a new key, or by
    /// `POST /v1/terminals/{id}/dismiss-clone-warning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clone_suspected_at: Option<Timestamp>,
    /// Its key in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<TerminalKey>,
    /// Its channel is open and its last report fresh.
    pub online: bool,
    /// When it reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
    /// What it reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The configuration that is in force for it.
    pub configuration: Configuration,
    /// It has reported that this configuration is in force.
    pub configured: bool,
}

/// Terminals, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FleetTerminals {
    /// A page of them.
    pub data: Vec<FleetTerminal>,
    /// Whether there are more.
    pub has_more: bool,
    /// `before` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<TerminalId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct_and_read_as_they_are_written() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.as_str()), "{reason} twice");
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{reason}\""));
        }
    }
}
