//! The ways to the register that a terminal has.

use std::collections::BTreeMap;
use std::sync::Arc;

use selfsame_api::interface::{HandoverMode, RegisterKind};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_api::register::{RegisterOffer, RegisterState};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::profile::OutputProfile;
use super::settings::{KeyboardOutput, KeyboardSettings, RegisterSettings, TcpSettings, WebSocketSettings};
use super::{
    BrowserRegister, GadgetKeyboard, HANDOVER_DEADLINE, Register, SerialLine, TcpLine, Trigger, Undelivered,
    UnusableSetting,
};

/// Pages that may be the register, at most.
const ORIGINS_MAX: usize = 8;

/// Why the ways to the register are not there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot be.
    #[error("section [register.{section}]: {source}")]
    Setting {
        /// Which section.
        section: &'static str,
        /// What is wrong.
        source: UnusableSetting,
    },
    /// The default has no section.
    #[error("`default = \"{0}\"` in section [register] has no section [register.{0}]")]
    Default(&'static str),
    /// A port or a thread could not be had.
    #[error("section [register.{section}]: failed to start")]
    Start {
        /// Which section.
        section: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// The ways to the register that a terminal has. `return` and `screen` are always there.
pub struct Registers {
    default: RegisterKind,
    channels: BTreeMap<RegisterKind, Arc<dyn Register>>,
    asked: Option<mpsc::Receiver<RegisterKind>>,
}

impl Default for Registers {
    /// `return` and `screen`.
    fn default() -> Self {
        Self { default: RegisterKind::Return, channels: BTreeMap::new(), asked: None }
    }
}

impl Registers {
    /// Reads the settings and opens what is to be open all the time. A device that is not there yet is no error.
    pub async fn open(settings: &RegisterSettings) -> Result<Self, OpenError> {
        // One is enough: whoever asks twice before it was heard asks once.
        let (ask, asked) = mpsc::channel(1);
        let trigger = |kind| -> Trigger {
            let ask: mpsc::Sender<RegisterKind> = ask.clone();
            Arc::new(move || {
                // Somebody has asked already.
                let _ = ask.try_send(kind);
            })
        };
        let mut channels: BTreeMap<RegisterKind, Arc<dyn Register>> = BTreeMap::new();
        if let Some(keyboard) = &settings.keyboard {
            let section = "keyboard";
            let opened = open_keyboard(keyboard).map_err(|source| OpenError::Setting { section, source })?;
            channels.insert(RegisterKind::Keyboard, opened);
        }
        if let Some(serial) = &settings.serial {
            let opened = SerialLine::open(serial, trigger(RegisterKind::Serial))?;
            channels.insert(RegisterKind::Serial, Arc::new(opened));
        }
        if let Some(TcpSettings { address, prefix, suffix }) = &settings.tcp {
            let section = "tcp";
            let profile = OutputProfile::line(prefix, *suffix, 0);
            let profile = profile.map_err(|source| OpenError::Setting { section, source })?;
            channels.insert(RegisterKind::Tcp, Arc::new(TcpLine::new(*address, profile)));
        }
        if let Some(websocket) = &settings.websocket {
            let opened = open_websocket(websocket, trigger(RegisterKind::Websocket)).await?;
            channels.insert(RegisterKind::Websocket, opened);
        }
        let registers = Self { default: settings.default, channels, asked: Some(asked) };
        match registers.has(settings.default) {
            true => Ok(registers),
            false => Err(OpenError::Default(settings.default.as_str())),
        }
    }

    fn has(&self, kind: RegisterKind) -> bool {
        matches!(kind, RegisterKind::Return | RegisterKind::Screen) || self.channels.contains_key(&kind)
    }

    fn all(&self) -> impl Iterator<Item = RegisterKind> {
        [RegisterKind::Return, RegisterKind::Screen].into_iter().chain(self.channels.keys().copied())
    }

    /// The default of this terminal's settings.
    pub(crate) fn default_kind(&self) -> RegisterKind {
        self.default
    }

    /// The way that is meant: the one that is named, else the default. One that is not configured is refused by name.
    pub fn choose(&self, named: Option<RegisterKind>) -> Result<RegisterKind, Problem> {
        let kind = named.unwrap_or(self.default);
        if self.has(kind) {
            return Ok(kind);
        }
        let known: Vec<_> = self.all().map(RegisterKind::as_str).collect();
        Err(Problem::new(ProblemCode::RegisterNotConfigured).detail(format!(
            "`{}` is not configured at this terminal, which has {}",
            kind.as_str(),
            known.join(", ")
        )))
    }

    /// What there is, and whether it is plugged in.
    pub fn offers(&self) -> Vec<RegisterOffer> {
        let offer = |register| RegisterOffer {
            register,
            is_default: register == self.default,
            mode: HandoverMode::default(),
            state: match self.channels.get(&register) {
                Some(channel) if !channel.is_there() => RegisterState::Missing,
                _ => RegisterState::Ready,
            },
        };
        self.all().map(offer).collect()
    }

    /// Brings a code to the till. What goes back to the caller or to the screen is there already.
    pub async fn deliver(&self, kind: RegisterKind, digits: &str) -> Result<(), Undelivered> {
        let Some(channel) = self.channels.get(&kind).cloned() else { return Ok(()) };
        let digits = Zeroizing::new(digits.to_owned());
        let delivered =
            tokio::task::spawn_blocking(move || channel.deliver(&digits, HANDOVER_DEADLINE)).await;
        delivered.unwrap_or_else(|error| {
            tracing::error!(register = kind.as_str(), %error, "a way to the register broke down");
            let source = std::io::Error::other("a defect of the terminal; see its log");
            let whole = super::CODE_CHARACTERS;
            Err(Undelivered::Uncertain { way: kind.as_str().to_owned(), sent: whole, whole, source })
        })
    }

    /// What tills ask by themselves, by a trigger byte or from a page: the way that the code should go. To be taken once.
    pub fn take_asked(&mut self) -> Option<mpsc::Receiver<RegisterKind>> {
        self.asked.take()
    }
}

fn open_keyboard(settings: &KeyboardSettings) -> Result<Arc<dyn Register>, UnusableSetting> {
    let KeyboardSettings { output, device, prefix, suffix, delay_ms, digits } = settings;
    let profile = OutputProfile::keyboard(prefix, *suffix, *delay_ms, *digits)?;
    match output {
        KeyboardOutput::Gadget => Ok(Arc::new(GadgetKeyboard::new(device, profile, *digits))),
        #[cfg(target_os = "linux")]
        KeyboardOutput::Uinput => Ok(Arc::new(super::VirtualKeyboard::new(profile, *digits))),
        #[cfg(not(target_os = "linux"))]
        KeyboardOutput::Uinput => Err(UnusableSetting("`output = \"uinput\"` needs Linux".to_owned())),
    }
}

async fn open_websocket(
    settings: &WebSocketSettings,
    trigger: Trigger,
) -> Result<Arc<dyn Register>, OpenError> {
    let section = "websocket";
    let wrong = |text: String| OpenError::Setting { section, source: UnusableSetting(text) };
    let WebSocketSettings { listen, origins } = settings;
    if !listen.ip().is_loopback() {
        return Err(wrong(format!("`listen = \"{listen}\"` is no loopback address")));
    }
    if origins.is_empty() || origins.len() > ORIGINS_MAX {
        return Err(wrong(format!("`origins` must name 1 to {ORIGINS_MAX} origins of pages")));
    }
    for origin in origins {
        let host =
            origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
        if host.is_empty() || host.contains(['/', ' ', '*']) {
            return Err(wrong(format!("`{origin}` is no origin: it looks like https://till.example")));
        }
    }
    let bound = BrowserRegister::bind(*listen, origins, trigger).await;
    let register = bound.map_err(|source| OpenError::Start { section, source })?;
    tracing::info!(url = register.url(), "pages of the till connect here");
    Ok(Arc::new(register))
}
