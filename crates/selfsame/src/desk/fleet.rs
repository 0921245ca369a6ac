//! The operator's terminals: how they fare, and what is set for them.

use clap::{Args, Subcommand, ValueEnum};
use console::{Alignment, StyledObject, measure_text_width, pad_str, style};
use selfsame_api::configuration::{ConfigurationLayer, Language, Maintenance};
use selfsame_api::fleet::{FleetTerminal, FleetTerminals};
use selfsame_api::interface::{HandoverMode, RegisterKind, TerminalState};
use selfsame_domain::id::TerminalId;
use selfsame_domain::terminal::Lifecycle;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::{TIMEOUT, explain};
use crate::desk::{Counter, place};
use crate::output;

/// Clocks that are off by more are shown as a matter to look into, in milliseconds: half of what a signature bears.
const SKEW_SHOWN_MS: i64 = 15_000;

/// Terminals of one question to the server.
const PAGE: u32 = 100;

/// All terminals: which are there, and how they fare
#[derive(Args, Debug)]
pub struct Terminals {
    /// Also those that are retired
    #[arg(long)]
    all: bool,
}

/// One terminal.
#[derive(Subcommand, Debug)]
pub enum Terminal {
    Create(place::NewTerminalArguments),
    /// Show how a terminal fares
    Show {
        /// Which one
        terminal: TerminalId,
    },
    /// Let a terminal verify nobody until it is unlocked
    Lock {
        /// Which one
        terminal: TerminalId,
    },
    /// Let a locked terminal work again
    Unlock {
        /// Which one
        terminal: TerminalId,
    },
    /// Take a terminal and its key out of use for good
    Retire {
        /// Which one
        terminal: TerminalId,
    },
    Configure(Configure),
    /// A further activation code, for a terminal whose machine or key was lost, or whose code ran out
    ActivationCode {
        /// Which one
        terminal: TerminalId,
    },
    /// Take back the warning that a terminal's key is used on two machines: you know why it looked so
    DismissCloneWarning {
        /// Which one
        terminal: TerminalId,
    },
}

/// Set how one terminal works, or all of them; it is in force at once. Without options: show what is set
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  selfsame desk terminal configure all --maintenance 'back at 14:00'
  selfsame desk terminal configure all --no-maintenance
  selfsame desk terminal configure trm_... --register screen --deadline-seconds 30
  selfsame desk terminal configure trm_... --unset register")]
pub struct Configure {
    /// A terminal, or `all`
    which: Which,
    /// Take no requests; the text is what the cashier reads
    #[arg(long, value_name = "TEXT", num_args = 0..=1)]
    maintenance: Option<Option<String>>,
    /// Take requests again
    #[arg(long, conflicts_with = "maintenance")]
    no_maintenance: bool,
    /// Where codes go unless the request says so: return, screen, keyboard, serial, tcp or websocket
    #[arg(long, value_parser = parse::<RegisterKind>)]
    register: Option<RegisterKind>,
    /// When codes are handed over unless the request says so: immediate or on_request
    #[arg(long, value_name = "MODE", value_parser = parse::<HandoverMode>)]
    handover_mode: Option<HandoverMode>,
    /// How long a verification may take unless the request says so
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=180))]
    deadline_seconds: Option<u64>,
    /// In which language the payer is guided: en or zh-CN
    #[arg(long, value_parser = parse::<Language>)]
    language: Option<Language>,
    /// Leave this to what is set for all, or to the terminal
    #[arg(long, value_name = "FIELD")]
    unset: Vec<Field>,
}

/// What can be left to others.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Field {
    Maintenance,
    Register,
    HandoverMode,
    Deadline,
    Language,
}

/// Whose configuration.
#[derive(Clone, Debug)]
enum Which {
    All,
    One(TerminalId),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Which::All),
            _ => {
                text.parse().map(Which::One).map_err(|error| format!("neither `all` nor a terminal: {error}"))
            }
        }
    }
}

/// A value as it is on the wire.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

impl Terminals {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let mut fleet = Vec::new();
        let mut path = format!("/v1/terminals?limit={PAGE}");
        loop {
            let page: FleetTerminals = counter.client.get(&path, TIMEOUT).await.map_err(explain)?;
            fleet.extend(page.data);
            let Some(before) = page.next_cursor else { break };
            path = format!("/v1/terminals?limit={PAGE}&before={before}");
        }
        fleet.retain(|terminal| self.all || terminal.state != Lifecycle::Retired);
        if counter.json {
            return output::json(&fleet);
        }
        let head = ["", "NAME", "STORE", "STATE", "VERSION", "CLOCK", "LAST OUTCOME", "REMARKS", "TERMINAL"];
        let head = head.map(|title| style(title.to_owned()).bold());
        table(std::iter::once(head).chain(fleet.iter().map(columns)).collect())
    }
}

/// A terminal as a line of the table.
fn columns(terminal: &FleetTerminal) -> [StyledObject<String>; 9] {
    let plain = |text: &dyn ToString| style(text.to_string());
    let health = terminal.health.as_ref();
    // What a terminal said before it went away is shown pale.
    let said = |text: String| if terminal.online { style(text) } else { style(text).dim() };
    let mark = match (terminal.online, terminal.state) {
        (true, _) => style("●".to_owned()).green(),
        (false, Lifecycle::Active | Lifecycle::Locked) => style("○".to_owned()).red(),
        (false, _) => style("-".to_owned()).dim(),
    };
    let state = match (terminal.state, health.filter(|_| terminal.online)) {
        (Lifecycle::Active, Some(health)) => match health.state {
            TerminalState::Ready | TerminalState::Busy => plain(&health.state.as_str()).green(),
            state => plain(&state.as_str()).yellow(),
        },
        (Lifecycle::Active, None) => plain(&"offline").red(),
        (state, _) => plain(&state).yellow(),
    };
    let skew = health.and_then(|health| health.clock_skew_ms);
    let clock = skew.map(|skew_ms| said(format!("{skew_ms:+} ms"))).unwrap_or_else(|| plain(&""));
    let clock =
        if skew.is_some_and(|skew_ms| skew_ms.abs() > SKEW_SHOWN_MS) { clock.yellow() } else { clock };
    let last = health.and_then(|health| health.last_outcome).map(|last| {
        let why = last.error.map(|error| format!(" ({error})")).unwrap_or_default();
        said(format!("{}{why} {}", last.outcome, last.at))
    });
    let remarks = style(remarks(terminal).join(", ")).yellow();
    [
        mark,
        plain(&terminal.name),
        plain(&format_args!("{} / {}", terminal.merchant_name, terminal.store_name)),
        state,
        said(health.map(|health| health.version.clone()).unwrap_or_default()),
        clock,
        last.unwrap_or_else(|| plain(&"")),
        remarks,
        plain(&terminal.id),
    ]
}

/// What somebody may have to do something about.
fn remarks(terminal: &FleetTerminal) -> Vec<String> {
    let mut remarks: Vec<String> = Vec::new();
    if let Some(health) = terminal.health.as_ref().filter(|_| terminal.online) {
        remarks.extend(health.reasons.iter().map(ToString::to_string));
        if !terminal.configured {
            remarks.push("configuration not in force yet".to_owned());
        }
    }
    match (&terminal.configuration.maintenance, terminal.state) {
        (Some(Maintenance { text: Some(text) }), Lifecycle::Active) => {
            remarks.push(format!("maintenance: {text}"))
        }
        (Some(_), Lifecycle::Active) => remarks.push("maintenance".to_owned()),
        _ => {}
    }
    if let Some(at) = terminal.clone_suspected_at {
        remarks.push(format!("key on two machines? ({at}, see docs/identity.md)"));
    }
    if let Some(at) = terminal.last_seen_at.filter(|_| !terminal.online) {
        remarks.push(format!("last seen {at}"));
    }
    remarks
}

/// Columns as wide as what they hold.
fn table<const N: usize>(lines: Vec<[StyledObject<String>; N]>) -> anyhow::Result<()> {
    let lines: Vec<[String; N]> = lines.into_iter().map(|line| line.map(|cell| cell.to_string())).collect();
    let width = |column: usize| lines.iter().map(|line| measure_text_width(&line[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for line in &lines {
        let cells =
            line.iter().zip(&widths).map(|(cell, width)| pad_str(cell, *width, Alignment::Left, None));
        output::line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

impl Terminal {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let (terminal, action, done) = match self {
            Terminal::Create(new) => return new.run(counter).await,
            Terminal::Show { terminal } => return show(counter, terminal).await,
            Terminal::Configure(configure) => return configure.run(counter).await,
            Terminal::ActivationCode { terminal } => return place::activation_code(counter, terminal).await,
            Terminal::DismissCloneWarning { terminal } => {
                return place::dismiss_clone_warning(counter, terminal).await;
            }
            Terminal::Lock { terminal } => (terminal, "lock", "locked"),
            Terminal::Unlock { terminal } => (terminal, "unlock", "unlocked"),
            Terminal::Retire { terminal } => (terminal, "retire", "retired"),
        };
        let path = format!("/v1/terminals/{terminal}/{action}");
        let () = counter.client.post(&path, &json!({}), TIMEOUT).await.map_err(explain)?;
        counter.print(&json!({ "id": terminal, "done": done }), format_args!("{terminal}  {done}"))
    }
}

async fn show(counter: &Counter<'_>, terminal: TerminalId) -> anyhow::Result<()> {
    let path = format!("/v1/terminals/{terminal}");
    let found: FleetTerminal = counter.client.get(&path, TIMEOUT).await.map_err(explain)?;
    // All of it is only readable as it is: a terminal has more to say than a line holds.
    output::json(&found)
}

impl Configure {
    pub async fn run(self, counter: &Counter<'_>) -> anyhow::Result<()> {
        let path = match &self.which {
            Which::All => "/v1/terminal-configuration".to_owned(),
            Which::One(terminal) => format!("/v1/terminals/{terminal}/configuration"),
        };
        let before: ConfigurationLayer = counter.client.get(&path, TIMEOUT).await.map_err(explain)?;
        let after = self.applied_to(before.clone());
        if after == before {
            return output::json(&before);
        }
        let set: ConfigurationLayer = counter.client.put(&path, &after, TIMEOUT).await.map_err(explain)?;
        output::json(&set)
    }

    fn applied_to(self, before: ConfigurationLayer) -> ConfigurationLayer {
        let mut layer = before;
        if self.no_maintenance {
            layer.maintenance = None;
        }
        for field in self.unset {
            match field {
                Field::Maintenance => layer.maintenance = None,
                Field::Register => layer.register = None,
                Field::HandoverMode => layer.handover_mode = None,
                Field::Deadline => layer.deadline_ms = None,
                Field::Language => layer.language = None,
            }
        }
        ConfigurationLayer {
            maintenance: self.maintenance.map(|text| Maintenance { text }).or(layer.maintenance),
            register: self.register.or(layer.register),
            handover_mode: self.handover_mode.or(layer.handover_mode),
            deadline_ms: self.deadline_seconds.map(|seconds| seconds * 1000).or(layer.deadline_ms),
            language: self.language.or(layer.language),
        }
    }
}
