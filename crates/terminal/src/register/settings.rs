//! The section `[register]` of a site's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use selfsame_api::interface::RegisterKind;
use serde::Deserialize;

use super::keys::DigitKeys;
use super::profile::Suffix;

/// Which ways to the register there are. A way without its section does not exist.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegisterSettings {
    /// The way of requests that name none.
    pub default: RegisterKind,
    /// Typing.
    pub keyboard: Option<KeyboardSettings>,
    /// A serial line.
    pub serial: Option<SerialSettings>,
    /// A line over TCP.
    pub tcp: Option<TcpSettings>,
    /// A page of a browser on this machine.
    pub websocket: Option<WebSocketSettings>,
}

/// Where keys come out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyboardOutput {
    /// At the till, whose USB keyboard this machine is.
    #[default]
    Gadget,
    /// On this machine.
    Uinput,
}

/// `[register.keyboard]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyboardSettings {
    /// Where keys come out.
    pub output: KeyboardOutput,
    /// The file of the gadget; of no meaning for `uinput`.
    pub device: PathBuf,
    /// Before the code: printable ASCII as on a US keyboard.
    pub prefix: String,
    /// After the code.
    pub suffix: Suffix,
    /// Pause after each character.
    pub delay_ms: u16,
    /// Which keys.
    pub digits: DigitKeys,
}

impl Default for KeyboardSettings {
    fn default() -> Self {
        Self {
            output: KeyboardOutput::Gadget,
            device: PathBuf::from("/dev/hidg0"),
            prefix: String::new(),
            suffix: Suffix::Cr,
            delay_ms: 8,
            digits: DigitKeys::Row,
        }
    }
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineParity {
    /// No parity bit.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// `[register.serial]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SerialSettings {
    /// The port.
    pub device: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// 7 or 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: LineParity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Before the code.
    pub prefix: String,
    /// After the code.
    pub suffix: Suffix,
    /// Pause after each character.
    pub delay_ms: u16,
    /// The byte by which the till asks for the code.
    pub trigger_byte: Option<u8>,
}

impl Default for SerialSettings {
    fn default() -> Self {
        Self {
            device: PathBuf::from("/dev/ttyUSB0"),
            baud: 9_600,
            data_bits: 8,
            parity: LineParity::None,
            stop_bits: 1,
            prefix: String::new(),
            suffix: Suffix::Cr,
            delay_ms: 0,
            trigger_byte: None,
        }
    }
}

/// `[register.tcp]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpSettings {
    /// Where the till's program listens.
    pub address: SocketAddr,
    /// Before the code.
    pub prefix: String,
    /// After the code.
    pub suffix: Suffix,
}

impl Default for TcpSettings {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_100);
        Self { address, prefix: String::new(), suffix: Suffix::Crlf }
    }
}

/// `[register.websocket]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketSettings {
    /// Where pages connect to; loopback.
    pub listen: SocketAddr,
    /// Which pages: `https://host`, `http://host:port`.
    pub origins: Vec<String>,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_704);
        Self { listen, origins: Vec::new() }
    }
}
