//! A site is one installation: live, or a test site that can never become live.

use serde::{Deserialize, Serialize};

/// Whether money on this site is real. Fixed when the site is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Real money; simulated samples are refused, the clock cannot be advanced.
    Live,
    /// Play money; simulated samples and the advancing clock are allowed.
    Test,
}

impl Mode {
    /// `live` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Test => "test",
        }
    }
}
