//! The identity of this machine: a key made here, activated once with a code. The key is in a file that only its owner
//! can read, or inside a security module (PKCS#11). Nothing outside this module sees it.

mod link;
mod rotation;
mod token;
mod uses;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use selfsame_api::bytes::Bytes;
use selfsame_api::client::ClientError;
use selfsame_api::device_key::DeviceSigner;
use selfsame_api::merchant::Secret;
use selfsame_api::terminal::{ActivatedTerminal, Activation};
use selfsame_domain::clock::Clock;
use selfsame_domain::id::TerminalId;
use selfsame_domain::key_use::KeyUse;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use link::SKEW_MAX_MS;
pub use link::ServerLink;
pub use rotation::{keep_key_fresh, rotate_key};
pub use token::{PIN_VARIABLE, Token, TokenError};

use crate::{random, write_private};
use token::{TokenKey, TokenSigner};
use uses::MachineUses;

/// Longest wait for the activation's answer.
const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a key is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// In this program; kept in the identity's file. Ed25519.
    #[default]
    File,
    /// Inside a security module.
    Token(Token),
}

/// Who this machine is.
#[derive(Clone)]
pub struct DeviceIdentity {
    /// What the server said at activation.
    pub terminal: ActivatedTerminal,
    /// Where the server is.
    pub server: String,
    path: PathBuf,
    signer: Arc<dyn DeviceSigner>,
    token: Option<Token>,
    uses: Arc<MachineUses>,
}

/// Files and folders of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFiles {
    /// What is read.
    pub read: Vec<PathBuf>,
    /// What is written as well.
    pub write: Vec<PathBuf>,
}

/// Opens a file that only its owner can read, and makes it if it is not there.
fn open_private(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The file.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    server: String,
    terminal: ActivatedTerminal,
    #[serde(flatten)]
    key: StoredKey,
    /// The key of a rotation that the server has not confirmed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<StoredKey>,
}

/// A key, or where it is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKey {
    /// Ed25519.
    PrivateKey(Bytes),
    /// In a token.
    Pkcs11(TokenKey),
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file is absent or cannot be read or written.
    #[error(
        "failed to read or write the device identity `{path}`: activate this terminal with `selfsame activate`"
    )]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the device identity `{0}` is damaged: activate this terminal again")]
    Damaged(PathBuf),
    /// The security module does not work.
    #[error("the security module that holds the device key does not work")]
    Token(#[from] TokenError),
    /// The server did not activate it.
    #[error("the payment server did not activate this terminal")]
    Activation(#[from] ClientError),
    /// The server did not take the next key. Trying again goes on with the same key.
    #[error("the payment server did not change this terminal's key")]
    Rotation(#[source] ClientError),
    /// Another program is changing the key and does not come to an end.
    #[error("another program is changing the device key `{0}`")]
    Busy(PathBuf),
}

impl KeySource {
    /// Makes a key. May wait for the security module.
    fn make(&self) -> Result<StoredKey, TokenError> {
        Ok(match self {
            KeySource::File => {
                let seed = Zeroizing::new(random::<32>());
                StoredKey::PrivateKey(Bytes::from(*seed))
            }
            KeySource::Token(token) => StoredKey::Pkcs11(token.make_key()?),
        })
    }
}

impl StoredKey {
    /// Where further keys of this kind are made.
    fn source(&self) -> KeySource {
        match self {
            StoredKey::PrivateKey(_) => KeySource::File,
            StoredKey::Pkcs11(key) => KeySource::Token(key.token().clone()),
        }
    }

    /// `None` if it is malformed.
    fn signer(&self) -> Option<Arc<dyn DeviceSigner>> {
        Some(match self {
            StoredKey::PrivateKey(seed) => {
                let seed = Zeroizing::new(seed.to_array::<32>()?);
                Arc::new(SigningKey::from_bytes(&seed))
            }
            StoredKey::Pkcs11(key) => Arc::new(TokenSigner::new(key.clone())?),
        })
    }

    /// Takes a key that is good for nothing out of its token. A failure costs a little room there and no more.
    fn destroy(&self) {
        if let StoredKey::Pkcs11(key) = self
            && let Err(error) = key.destroy()
        {
            tracing::warn!(%error, "a key that is not used any more was left in its token");
        }
    }
}

impl Stored {
    fn read(path: &Path) -> Result<Self, DeviceError> {
        let read = fs::read(path).map(Zeroizing::new);
        let bytes = read.map_err(|source| DeviceError::File { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes).map_err(|_| DeviceError::Damaged(path.to_owned()))
    }

    fn write(&self, path: &Path) -> Result<(), DeviceError> {
        let write = || {
            let bytes = Zeroizing::new(serde_json::to_vec_pretty(self).map_err(io::Error::other)?);
            write_private(path, &bytes)?;
            // The new name is on the disk when its folder is: a key that the server knows must not be lost.
            fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| DeviceError::File { path: path.to_owned(), source })
    }

    fn identity(&self, path: &Path) -> Result<DeviceIdentity, DeviceError> {
        Ok(DeviceIdentity {
            terminal: self.terminal.clone(),
            server: self.server.clone(),
            path: path.to_owned(),
            signer: self.key.signer().ok_or_else(|| DeviceError::Damaged(path.to_owned()))?,
            token: match self.key.source() {
                KeySource::File => None,
                KeySource::Token(token) => Some(token),
            },
            uses: Arc::new(MachineUses::beside(path)),
        })
    }
}

impl DeviceIdentity {
    /// Reads the identity of this machine.
    pub fn load(path: &Path) -> Result<Self, DeviceError> {
        Stored::read(path)?.identity(path)
    }

    /// Makes a key on this machine, has it activated with the one-time code, and keeps it in a new file.
    pub async fn activate(
        server: &str,
        terminal: TerminalId,
        activation_code: &str,
        source: KeySource,
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let key = waiting(move || source.make()).await?;
        let signer = key.signer().ok_or_else(|| DeviceError::Damaged(path.to_owned()))?;
        let public_key = signer.public_key();
        let wire_key = Bytes(public_key.to_bytes());
        let uses = Arc::new(MachineUses::beside(path));
        let link = ServerLink::new(server, wire_key.encode(), signer, uses, clock, None);
        let activation = Activation {
            terminal,
            activation_code: Secret(activation_code.to_owned()),
            algorithm: public_key.algorithm(),
            public_key: wire_key,
        };
        match link.post("/v1/terminals/activate", &activation, ACTIVATION_TIMEOUT).await {
            Ok(terminal) => {
                let stored = Stored { server: server.to_owned(), terminal, key, next: None };
                stored.write(path)?;
                stored.identity(path)
            }
            Err(error) => {
                waiting(move || key.destroy()).await;
                Err(error.into())
            }
        }
    }

    /// What a program needs to sign, for whoever restricts it to that. Makes the files that are written if they are not
    /// there: inside, nothing can be made.
    pub fn files(&self) -> io::Result<DeviceFiles> {
        // The folder, because a changed key is another file.
        let mut read: Vec<PathBuf> = self.path.parent().map(Path::to_owned).into_iter().collect();
        if read.iter().any(|folder| !folder.ends_with("device")) {
            read = vec![self.path.clone()];
        }
        if let Some(token) = &self.token {
            read.push(token.module.clone());
            read.extend(token.pin_file.clone());
        }
        let write: Vec<PathBuf> =
            [uses::USES, uses::ALIVE, rotation::TURN].map(|name| self.path.with_extension(name)).into();
        for path in &write {
            open_private(path)?;
        }
        Ok(DeviceFiles { read, write })
    }

    /// The next use of the key on this machine, for whoever signs in another way than by [`DeviceIdentity::link`].
    pub fn next_use(&self) -> io::Result<KeyUse> {
        self.uses.next()
    }

    /// The way to the payment server, every request signed.
    pub fn link(&self, clock: Arc<dyn Clock>) -> ServerLink {
        let (key_id, path) = (self.terminal.key_id.to_string(), self.path.clone());
        ServerLink::new(&self.server, key_id, self.signer.clone(), self.uses.clone(), clock, Some(path))
    }
}

/// Does what may wait for a file or a security module on a thread of its own.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("such work does not panic")
}
