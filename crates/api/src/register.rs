//! Ways to the register: what a terminal offers, and what it says to a till's page.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::interface::{HandoverMode, RegisterKind};

/// A way to the register that a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegisterOffer {
    /// Which.
    pub register: RegisterKind,
    /// Whether requests that name no way mean this one.
    pub is_default: bool,
    /// When codes are handed over unless a request says so.
    pub mode: HandoverMode,
    /// Whether a till seems to be there.
    pub state: RegisterState,
}

/// Whether a till seems to be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegisterState {
    /// As far as can be seen without sending anything.
    Ready,
    /// Its device, port or page is not there.
    Missing,
}

/// Where a hand-over stands. Whether the code was charged is told by the session's `payment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoverState {
    /// The code is on its way.
    Sending,
    /// All of it went out: wait for the till.
    Sent,
    /// The till may have got a part, or all of it.
    Uncertain,
    /// Nothing went out.
    Failed,
}

/// A hand-over's state in the words of our own screens.
#[derive(Clone, Copy, Debug)]
pub struct HandoverWords {
    /// What it is about.
    pub state: HandoverState,
    /// English.
    pub en: &'static str,
    /// Chinese.
    pub zh: &'static str,
}

/// All states, in the order in which they come.
pub const HANDOVER_WORDS: &[HandoverWords] = &[
    HandoverWords { state: HandoverState::Sending, en: "Sending the code", zh: "正在发送付款码" },
    HandoverWords {
        state: HandoverState::Sent,
        en: "Code sent, waiting for the till",
        zh: "付款码已发送，等待收银机",
    },
    HandoverWords {
        state: HandoverState::Uncertain,
        en: "Look at the till: clear the field, then send again",
        zh: "请查看收银机：清空输入框后重新发送",
    },
    HandoverWords {
        state: HandoverState::Failed,
        en: "The till got nothing: check the cable, then send again",
        zh: "收银机未收到：请检查连接后重新发送",
    },
];

impl HandoverState {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            HandoverState::Sending => "sending",
            HandoverState::Sent => "sent",
            HandoverState::Uncertain => "uncertain",
            HandoverState::Failed => "failed",
        }
    }
}

/// What a terminal says to a till's page over the WebSocket. Not printed: it holds a code.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToPage {
    /// A code to be charged. The page answers [`FromPage::Received`] at once.
    PaymentCode {
        /// Numbers this delivery.
        delivery: u64,
        /// The 18 digits.
        digits: String,
    },
}

/// What a till's page says to the terminal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromPage {
    /// The page has the code.
    Received {
        /// Of that delivery.
        delivery: u64,
    },
    /// The till asks for the code of the payer who has passed.
    HandOver {},
}
