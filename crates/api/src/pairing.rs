//! Pairing: how a cash register on the LAN, or a program on a loopback port, gets its token for the verification
//! interface.
//!
//! Somebody at the terminal opens the pairing; the register asks; the terminal's own screen shows a code; the register
//! brings the code and gets a token, this once.

use std::fmt;

use selfsame_domain::id::{PairingId, RegisterId, TerminalId};
use selfsame_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::merchant::Secret;

/// Longest name of a register, in characters.
pub const NAME_CHARS_MAX: usize = 40;

/// `POST /v1/pairings`: a register wants to be let in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPairing {
    /// What the people at the terminal call this register, 1 to 40 characters.
    #[schema(example = "Till 4")]
    pub name: String,
}

/// A pairing that waits for its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pairing {
    /// The pairing.
    #[schema(value_type = String)]
    pub id: PairingId,
    /// How long the code on the terminal's screen is good, in milliseconds.
    pub expires_in_ms: u64,
    /// Wrong codes that are left.
    pub tries_left: u32,
}

/// `POST /v1/pairings/{id}/complete`: the code from the terminal's screen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairingCode {
    /// Eight digits; spaces and dashes do not matter.
    #[schema(value_type = String, example = "4711 0815")]
    pub code: Secret,
}

/// A register that was let in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Paired {
    /// The register.
    #[schema(value_type = String)]
    pub id: RegisterId,
    /// Sent as `Authorization: Bearer TOKEN` from now on. Shown this once.
    #[schema(value_type = String)]
    pub token: Secret,
    /// The terminal to which it belongs.
    #[schema(value_type = String)]
    pub terminal: TerminalId,
}

/// A paired register, as the terminal lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Register {
    /// The register.
    #[schema(value_type = String)]
    pub id: RegisterId,
    /// Its name.
    pub name: String,
    /// When it was paired.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// `GET /v1/registers`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Registers {
    /// All of them, oldest first.
    pub data: Vec<Register>,
}

/// What the terminal's own screen shows of the pairing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PairingWindow {
    /// How long registers may still ask, in milliseconds; 0 when the window is closed.
    pub closes_in_ms: u64,
    /// The register that asks now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asking: Option<AskingRegister>,
    /// The register that was let in through this window, which closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paired: Option<Register>,
}

/// A register that asks to be let in. The code is for the screen only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskingRegister {
    /// What it calls itself.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// The eight digits that whoever stands here types into the register.
    pub code: String,
    /// How long the code is good, in milliseconds.
    pub expires_in_ms: u64,
    /// Wrong codes that are left.
    pub tries_left: u32,
}

impl fmt::Debug for AskingRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskingRegister({}, {}, ***)", self.name, self.address)
    }
}
