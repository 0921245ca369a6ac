//! A site is one folder: settings, data, secrets, sockets. Of a terminal on a machine of its own it holds only the
//! terminal's part.

mod database;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use selfsame_domain::payment_code::Prefix;
use selfsame_domain::terminal::KeyAlgorithm;
use selfsame_domain::time::Timestamp;
use selfsame_domain::verification::{AttackPolicy, Policy};
use selfsame_server::authority::Authority;
use selfsame_terminal::Budgets;
use selfsame_terminal::register::RegisterSettings;
use serde::Deserialize;
use zeroize::Zeroizing;

pub use self::database::{DATABASE_VARIABLE, DatabaseOption};

/// The commented settings that a new site gets; also the defaults for what a site leaves out.
pub const DEFAULT_SETTINGS: &str = include_str!("../selfsame.default.toml");

/// Bytes of every secret.
const SECRET_BYTES: usize = 32;

/// The line of the settings that is replaced when a site is made in PostgreSQL.
const DATABASE_LINE: &str = "# database = \"postgres://selfsame@localhost/selfsame\"";

/// How long payers may be given, in seconds.
const PAYER_SECONDS: std::ops::RangeInclusive<u16> = 1..=120;

/// Longest path of a Unix socket in bytes, on the strictest system (macOS: 104 with the end mark; Linux: 108).
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// A site's folder.
#[derive(Clone, Debug)]
pub struct Site {
    folder: PathBuf,
    /// PostgreSQL database that goes before the one of the settings.
    database: Option<String>,
}

/// Settings, `selfsame.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The payment server.
    #[serde(default)]
    pub server: ServerSettings,
    /// When a comparison is a match.
    #[serde(default)]
    pub verification: VerificationSettings,
    /// Where fingers come from.
    #[serde(default)]
    pub capture: CaptureSettings,
    /// Where faces come from.
    #[serde(default)]
    pub camera: CameraSettings,
    /// The terminal, and how cash registers reach it.
    #[serde(default)]
    pub terminal: TerminalSettings,
    /// The payer's page.
    #[serde(default)]
    pub kiosk: KioskSettings,
    /// The key of this machine.
    #[serde(default)]
    pub identity: IdentitySettings,
    /// Ways to the register.
    #[serde(default)]
    pub register: RegisterSettings,
    /// Model packs.
    #[serde(default)]
    pub models: ModelSettings,
}

macro_rules! settings {
    ($(#[$doc:meta])* $name:ident, $section:ident { $($field:ident: $type:ty,)* } optional { $($optional:ident: $optional_type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(#[doc = "See the commented defaults."] pub $field: $type,)*
            $(#[doc = "See the commented defaults."] pub $optional: Option<$optional_type>,)*
        }

        impl Default for $name {
            fn default() -> Self {
                /// The defaults are the file that operators read, so that the two can never differ.
                #[derive(Deserialize)]
                struct Complete { $section: Values }
                #[derive(Deserialize)]
                struct Values { $($field: $type,)* $($optional: Option<$optional_type>,)* }
                let Complete { $section: values } =
                    toml::from_str(DEFAULT_SETTINGS).expect("the embedded settings are complete");
                Self { $($field: values.$field,)* $($optional: values.$optional,)* }
            }
        }
    };
}

settings! {
    /// Settings of the payment server.
    ServerSettings, server {
        listen: SocketAddr,
        code_lifetime_seconds: u32,
        amount_minor_max: i64,
        pass_lifetime_seconds: u32,
        clone_policy: ClonePolicyKind,
        terminals: Vec<String>,
        writers: usize,
    } optional { code_prefix: Prefix, database: String, }
}

settings! {
    /// Settings of the decision.
    VerificationSettings, verification {
        false_accept_ppb: u32,
        score_margin: u16,
        candidates_max: usize,
        attempts_max: u32,
        live_score_min: u16,
        frame_difference_min: u16,
        colour_flash: bool,
    } optional {}
}

settings! {
    /// Settings of the capture.
    CaptureSettings, capture {
        source: CaptureSourceKind,
        resolution_dpi: u16,
    } optional { path: PathBuf, }
}

settings! {
    /// Settings of the camera.
    CameraSettings, camera {
        source: CameraSourceKind,
        device: PathBuf,
        policy: CameraPolicyKind,
    } optional { path: PathBuf, listen: SocketAddr, }
}

settings! {
    /// Settings of the terminal.
    TerminalSettings, terminal {
        identifier_seconds: u16,
        capture_seconds: u16,
        names: Vec<String>,
        origins: Vec<String>,
    } optional { listen: SocketAddr, listen_lan: SocketAddr, }
}

impl TerminalSettings {
    /// As the terminal takes it.
    pub fn budgets(&self) -> anyhow::Result<Budgets> {
        let seconds = |name: &str, value: u16| {
            ensure!(
                PAYER_SECONDS.contains(&value),
                "`{name}` in section [terminal] must be within {PAYER_SECONDS:?}"
            );
            Ok(Duration::from_secs(value.into()))
        };
        Ok(Budgets {
            identifier: seconds("identifier_seconds", self.identifier_seconds)?,
            capture: seconds("capture_seconds", self.capture_seconds)?,
        })
    }
}

settings! {
    /// Settings of the payer's page.
    KioskSettings, kiosk {} optional { listen: SocketAddr, }
}

settings! {
    /// Settings of the machine's key.
    IdentitySettings, identity {
        source: KeySourceKind,
        pkcs11_key_label: String,
        pkcs11_paths: Vec<PathBuf>,
        rotate_after_days: u32,
    } optional {
        pkcs11_module: PathBuf,
        pkcs11_token: String,
        pkcs11_pin_file: PathBuf,
        pkcs11_algorithm: KeyAlgorithm,
    }
}

settings! {
    /// Settings of the model packs.
    ModelSettings, models {
        folder: PathBuf,
    } optional { face: String, release_url: String, }
}

impl VerificationSettings {
    /// As the domain takes it.
    pub fn policy(&self) -> Policy {
        Policy {
            false_accept_ppb: self.false_accept_ppb,
            margin: self.score_margin,
            candidates_max: self.candidates_max,
            attempts_max: self.attempts_max,
            attack: AttackPolicy {
                live_score_min: self.live_score_min,
                frame_difference_min: self.frame_difference_min,
            },
        }
    }
}

/// Where the key of this machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySourceKind {
    /// In the identity's file.
    File,
    /// In a security module.
    Pkcs11,
}

/// What happens when a terminal's key seems to be used on two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClonePolicyKind {
    /// The operator is warned.
    Warn,
    /// The terminal is locked as well.
    Lock,
}

/// Where fingers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CaptureSourceKind {
    /// A reader's driver posts pictures.
    External,
    /// Generated fingers.
    Synthetic,
    /// Pictures from files.
    File,
}

/// Where faces come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CameraSourceKind {
    /// Nowhere.
    None,
    /// A page posts frames of its camera.
    Browser,
    /// A camera of this machine, without a browser.
    V4l2,
    /// A test program posts pictures.
    Posted,
    /// Pictures from files.
    File,
}

/// When a camera is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraPolicyKind {
    /// While it is needed.
    Cold,
    /// Always.
    Warm,
}

/// One of the site's secrets: 32 random bytes in a file that only its owner can read.
#[derive(Clone, Copy, Debug)]
pub enum SecretName {
    /// Keys the hashes of payment codes.
    CodePepper,
    /// Keys the hashes of identifiers.
    IdentifierPepper,
    /// Wraps the keys of profiles.
    ProfileKey,
    /// The matcher's opening key grows from it.
    MatcherSeed,
    /// Wraps the keys of templates.
    TemplateKey,
    /// Signs the daily anchor of the ledger.
    AnchorKey,
}

impl SecretName {
    /// All of them.
    pub const ALL: [SecretName; 6] = [
        SecretName::CodePepper,
        SecretName::IdentifierPepper,
        SecretName::ProfileKey,
        SecretName::MatcherSeed,
        SecretName::TemplateKey,
        SecretName::AnchorKey,
    ];

    fn file(self) -> &'static str {
        match self {
            SecretName::CodePepper => "code_pepper",
            SecretName::IdentifierPepper => "identifier_pepper",
            SecretName::ProfileKey => "profile_key",
            SecretName::MatcherSeed => "matcher_seed",
            SecretName::TemplateKey => "template_key",
            SecretName::AnchorKey => "anchor_key",
        }
    }
}

impl Site {
    /// The site in a folder, which need not exist yet. The path is made absolute, because child processes use it.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder =
            std::path::absolute(folder).with_context(|| format!("no usable path: `{}`", folder.display()))?;
        Ok(Self { folder, database: None })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The site's database file, where there is one.
    pub fn site_database(&self) -> PathBuf {
        self.folder.join("data/site.db")
    }

    /// Which browser is the payer's page of this machine's terminal.
    pub fn kiosk(&self) -> PathBuf {
        self.folder.join("data/kiosk.json")
    }

    /// The subject keys' file, where there is one.
    pub fn keys_database(&self) -> PathBuf {
        self.folder.join("data/keys.db")
    }

    /// The device identity of this machine's terminal.
    pub fn device(&self) -> PathBuf {
        let (path, before) =
            (self.folder.join("data/device/identity.json"), self.folder.join("data/device.json"));
        // Where terminals were activated that have not been since.
        if before.exists() && !path.exists() { before } else { path }
    }

    /// Accepted requests of this machine's terminal and how they ended.
    pub fn journal(&self) -> PathBuf {
        self.folder.join("data/terminal-journal.jsonl")
    }

    /// What the operator has set for this machine's terminal, as heard last.
    pub fn terminal_configuration(&self) -> PathBuf {
        self.folder.join("data/terminal-configuration.json")
    }

    /// The registers that are paired with this machine's terminal.
    pub fn registers(&self) -> PathBuf {
        self.folder.join("data/registers.json")
    }

    /// Key and certificate of this machine's terminal for registers on the LAN.
    pub fn terminal_certificate(&self) -> PathBuf {
        self.folder.join("data/terminal-certificate.json")
    }

    /// The certificate of the site's authority, which registers install.
    pub fn authority_certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The site's certificate authority. Made, for some `domains` besides the usual ones, if there is none yet.
    pub fn authority(&self, domains: &[String], now: Timestamp) -> anyhow::Result<Authority> {
        let path = self.folder.join("secrets/authority.json");
        let authority = match fs::read(&path).map(Zeroizing::new) {
            Ok(json) => {
                Authority::from_json(&json).with_context(|| format!("failed to read `{}`", path.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let authority = Authority::make(domains, now)?;
                write_private(&path, &authority.to_json())?;
                authority
            }
            Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", path.display())),
        };
        let public = self.authority_certificate();
        fs::write(&public, authority.certificate_pem())
            .with_context(|| format!("failed to write `{}`", public.display()))?;
        Ok(authority)
    }

    /// Signed heads of the ledger, one a day.
    pub fn anchors(&self) -> PathBuf {
        self.folder.join("data/anchors.jsonl")
    }

    /// What lives as long as a process: `server.url`, `matcher.pid`.
    pub fn run(&self, name: &str) -> PathBuf {
        self.folder.join("run").join(name)
    }

    /// Writes such a thing, so that readers see all of it or none.
    pub fn write_run(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write_whole(&self.run(name), text.as_bytes())
    }

    /// The same, readable by its owner only.
    pub fn write_run_private(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.run(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to replace `{}`", path.display()))
            }
            _ => write_private(&path, text.as_bytes()),
        }
    }

    /// A Unix socket of the site. Its path is relative to where we are if the absolute one is too long.
    pub fn socket(&self, name: &str) -> anyhow::Result<PathBuf> {
        let absolute = self.run(name);
        let here = std::env::current_dir().unwrap_or_default();
        let relative = absolute.strip_prefix(here).map(Path::to_owned).ok();
        let fits = |path: &PathBuf| path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX;
        let path = [Some(absolute.clone()), relative].into_iter().flatten().find(fits);
        path.with_context(|| {
            format!(
                "the path of the socket `{}` is longer than the {SOCKET_PATH_BYTES_MAX} bytes that the operating \
                 system allows: put the site into a folder with a shorter path",
                absolute.display()
            )
        })
    }

    /// Makes the folders.
    pub fn create_folders(&self) -> anyhow::Result<()> {
        for name in ["", "data", "data/device", "secrets", "run"] {
            let folder = self.folder.join(name);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder
                .create(&folder)
                .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
        }
        Ok(())
    }

    /// Makes the folder of what lives as long as a process.
    pub fn create_run_folder(&self) -> anyhow::Result<()> {
        let folder = self.folder.join("run");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("failed to make the folder `{}`", folder.display()))
    }

    /// Writes the commented default settings, unless there are some.
    pub fn create_settings(&self, database: Option<&str>) -> anyhow::Result<()> {
        let path = self.folder.join("selfsame.toml");
        if path.exists() {
            return Ok(());
        }
        let Some(url) = database else {
            return fs::write(&path, DEFAULT_SETTINGS)
                .with_context(|| format!("failed to write `{}`", path.display()));
        };
        ensure!(DEFAULT_SETTINGS.contains(DATABASE_LINE), "the embedded settings name the database");
        let line = format!("database = {}", toml::Value::from(url));
        // For the owner only: the address may hold a password.
        write_private(&path, DEFAULT_SETTINGS.replacen(DATABASE_LINE, &line, 1).as_bytes())
    }

    /// Reads the settings; what the file leaves out has its default.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let path = self.folder.join("selfsame.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", path.display())),
        };
        toml::from_str(&text).with_context(|| format!("`{}` is not valid", path.display()))
    }

    /// Where a secret is kept.
    pub fn secret_path(&self, name: SecretName) -> PathBuf {
        self.folder.join("secrets").join(name.file())
    }

    /// Makes the secrets that are not there yet. One that is there is kept: something may be sealed with it.
    pub fn create_secrets(&self) -> anyhow::Result<()> {
        for name in SecretName::ALL {
            if self.secret_path(name).exists() {
                self.secret(name)?;
                continue;
            }
            let mut secret = Zeroizing::new([0u8; SECRET_BYTES]);
            getrandom::fill(secret.as_mut())
                .context("the operating system's random generator does not answer")?;
            write_private(&self.secret_path(name), secret.as_slice())?;
        }
        Ok(())
    }

    /// Reads a secret.
    pub fn secret(&self, name: SecretName) -> anyhow::Result<Zeroizing<[u8; SECRET_BYTES]>> {
        let path = self.secret_path(name);
        let bytes = fs::read(&path).map(Zeroizing::new);
        let bytes = bytes.with_context(|| {
            format!(
                "failed to read `{}`: make a site with `selfsame init`, or give its folder",
                path.display()
            )
        })?;
        let Ok(bytes) = <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()) else {
            bail!("`{}` does not have {SECRET_BYTES} bytes", path.display());
        };
        Ok(Zeroizing::new(bytes))
    }
}

/// Writes a file, so that readers see all of the old one or all of the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_added_extension("new");
    let write = || fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    write().with_context(|| format!("failed to write `{}`", path.display()))
}

/// Writes a new file that only its owner can read.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("failed to write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use selfsame_terminal::register::{KeyboardSettings, SerialSettings, TcpSettings, WebSocketSettings};

    use super::*;

    #[test]
    fn an_empty_file_means_the_commented_defaults() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!(settings.server.code_lifetime_seconds, 60);
        assert_eq!(settings.verification.policy(), Policy::DEFAULT);
        assert_eq!(settings.capture.source, CaptureSourceKind::External);
        toml::from_str::<Settings>(DEFAULT_SETTINGS).unwrap();
    }

    #[test]
    fn the_commented_ways_to_the_register_are_their_defaults() {
        let (_, section) = DEFAULT_SETTINGS.split_once("\n[register]\n").unwrap();
        let (section, _) = section.split_once("\n[models]\n").unwrap();
        let is_setting = |line: &&str| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        };
        let lines = section.lines().filter(is_setting).map(|line| line.strip_prefix("# ").unwrap_or(line));
        let text = format!("[register]\n{}", lines.collect::<Vec<_>>().join("\n"));
        let settings = toml::from_str::<Settings>(&text).unwrap().register;
        assert_eq!(settings.default, RegisterSettings::default().default);
        assert_eq!(settings.keyboard, Some(KeyboardSettings::default()));
        let serial = SerialSettings { trigger_byte: Some(22), ..Default::default() };
        assert_eq!(settings.serial, Some(serial));
        assert_eq!(settings.tcp, Some(TcpSettings::default()));
        let origins = vec!["https://till.example".to_owned()];
        assert_eq!(settings.websocket, Some(WebSocketSettings { origins, ..Default::default() }));
    }

    #[test]
    fn one_setting_changes_one_setting() {
        let settings: Settings = toml::from_str("[server]\ncode_lifetime_seconds = 30\n").unwrap();
        assert_eq!((settings.server.code_lifetime_seconds, settings.server.amount_minor_max), (30, 5000));
    }

    #[test]
    fn unknown_settings_are_refused() {
        for text in [
            "[server]\nlisten_address = \"x\"",
            "[sever]",
            "[capture]\nsource = \"guess\"",
            "[register]\ndefault = \"fax\"",
            "[register.fax]",
            "[register.serial]\nbauds = 1",
            "[register.keyboard]\ndigits = \"roman\"",
        ] {
            assert!(toml::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
