//! A device key inside a security module, reached over PKCS#11. The module is a library that is loaded when it is needed;
//! the key is made inside and cannot be taken out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use selfsame_api::bytes::Bytes;
use selfsame_api::device_key::{DevicePublicKey, DeviceSigner, SIGNATURE_BYTES, SignerError};
use selfsame_domain::terminal::KeyAlgorithm;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{lock, random};

/// Variable that holds the token's PIN.
pub const PIN_VARIABLE: &str = "SELFSAME_PKCS11_PIN";

/// Longest PIN file that is read, in bytes.
const PIN_BYTES_MAX: u64 = 256;

/// DER of the curve's name `edwards25519`, the form that modules of PKCS#11 2.40 and 3.0 both take.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

/// DER of the object identifier of P-256, 1.2.840.10045.3.1.7.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

/// Which security module, and how to log in to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The module's library, for example `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// Label of the token.
    pub label: String,
    /// Label of keys that are made in it.
    pub key_label: String,
    /// File with the PIN, mode 0600; the variable `SELFSAME_PKCS11_PIN` goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_file: Option<PathBuf>,
    /// How keys are made; absent: Ed25519 if the module knows it, else P-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<KeyAlgorithm>,
}

/// A key in a token, as the identity names it. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenKey {
    token: Token,
    /// The key's `CKA_ID`.
    id: Bytes,
    algorithm: KeyAlgorithm,
    public_key: Bytes,
}

/// Why a token does not work.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The library cannot be loaded, or the module refuses.
    #[error("failed to {operation} with the PKCS#11 module `{module}`")]
    Module {
        /// What was tried.
        operation: &'static str,
        /// Which library.
        module: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// No such token is plugged in.
    #[error("there is no token `{label}` in the PKCS#11 module `{module}`")]
    NoToken {
        /// Which token.
        label: String,
        /// Which library.
        module: PathBuf,
    },
    /// The module signs with none of our algorithms, or not with the one that is wanted.
    #[error("the token `{0}` makes no keys of Ed25519 or P-256")]
    NoAlgorithm(String),
    /// The PIN's file cannot be read.
    #[error("failed to read the PIN of the token from `{path}`")]
    PinFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the PIN's file.
    #[error("`{0}` can be read by others: set its mode to 0600")]
    PinFileOpen(PathBuf),
    /// No PIN was given.
    #[error("the token needs a PIN: name a file that holds it, or set {PIN_VARIABLE}")]
    NoPin,
    /// The key is not in the token any more.
    #[error("the token `{0}` does not hold the device key: activate this terminal again")]
    NoKey(String),
    /// The module gave something that is no key or no signature.
    #[error("the PKCS#11 module `{module}` gave a malformed {what}")]
    Malformed {
        /// Which library.
        module: PathBuf,
        /// What it was to be.
        what: &'static str,
    },
}

/// Reads a PIN: from the environment, else from the file.
fn pin(file: Option<&Path>) -> Result<AuthPin, TokenError> {
    if let Ok(pin) = std::env::var(PIN_VARIABLE) {
        return Ok(AuthPin::from(pin));
    }
    let path = file.ok_or(TokenError::NoPin)?;
    let failed = |source| TokenError::PinFile { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(failed)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(TokenError::PinFileOpen(path.to_owned()));
    }
    if about.len() > PIN_BYTES_MAX {
        return Err(failed(io::Error::other("it is too long for a PIN")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    Ok(AuthPin::from(text.trim().to_owned()))
}

impl Token {
    fn failed(&self, operation: &'static str) -> impl Fn(Error) -> TokenError {
        let module = self.module.clone();
        move |source| TokenError::Module { operation, module: module.clone(), source: Box::new(source) }
    }

    fn malformed(&self, what: &'static str) -> TokenError {
        TokenError::Malformed { module: self.module.clone(), what }
    }

    /// Loads the module, once for as long as the program runs: others in it may use it too, and few libraries bear to be
    /// taken away and loaded again.
    fn load(&self) -> Result<Pkcs11, TokenError> {
        static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
        let mut loaded = lock(&LOADED);
        if let Some(context) = loaded.get(&self.module) {
            return Ok(context.clone());
        }
        let context = Pkcs11::new(&self.module).map_err(self.failed("load the library"))?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => {}
            Err(error) => return Err(self.failed("begin")(error)),
        }
        loaded.insert(self.module.clone(), context.clone());
        Ok(context)
    }

    /// Finds the token and logs in.
    fn open(&self) -> Result<(Session, Vec<MechanismType>), TokenError> {
        let context = self.load()?;
        let failed = self.failed("find the token");
        let mut found = None;
        for slot in context.get_slots_with_token().map_err(&failed)? {
            if context.get_token_info(slot).map_err(&failed)?.label() == self.label {
                found = Some(slot);
            }
        }
        let no_token = || TokenError::NoToken { label: self.label.clone(), module: self.module.clone() };
        let slot = found.ok_or_else(no_token)?;
        let mechanisms = context.get_mechanism_list(slot).map_err(&failed)?;
        let session = context.open_rw_session(slot).map_err(self.failed("open a session"))?;
        // Log-in is per program, so another session of ours may have done it.
        match session.login(UserType::User, Some(&pin(self.pin_file.as_deref())?)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok((session, mechanisms)),
            Err(error) => Err(self.failed("log in")(error)),
        }
    }

    fn choose(&self, mechanisms: &[MechanismType]) -> Result<KeyAlgorithm, TokenError> {
        let can = |algorithm| match algorithm {
            KeyAlgorithm::Ed25519 => {
                [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA].as_slice()
            }
            KeyAlgorithm::EcdsaP256Sha256 => {
                [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA].as_slice()
            }
        };
        let wanted = match self.algorithm {
            Some(algorithm) => vec![algorithm],
            None => vec![KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP256Sha256],
        };
        let chosen =
            wanted.into_iter().find(|wanted| can(*wanted).iter().all(|one| mechanisms.contains(one)));
        chosen.ok_or_else(|| TokenError::NoAlgorithm(self.label.clone()))
    }

    /// Makes a key inside the token: sensitive and not extractable.
    pub(crate) fn make_key(&self) -> Result<TokenKey, TokenError> {
        let (session, mechanisms) = self.open()?;
        let algorithm = self.choose(&mechanisms)?;
        let (mechanism, curve) = match algorithm {
            KeyAlgorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, EDWARDS25519),
            KeyAlgorithm::EcdsaP256Sha256 => (Mechanism::EccKeyPairGen, P256),
        };
        let id = random::<8>().to_vec();
        let named = [
            Attribute::Token(true),
            Attribute::Id(id.clone()),
            Attribute::Label(self.key_label.clone().into_bytes()),
        ];
        let public = [
            &named[..],
            &[Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(curve.to_vec())],
        ]
        .concat();
        let private = [
            &named[..],
            &[
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ],
        ]
        .concat();
        let failed = self.failed("make a key");
        let (public, _) = session.generate_key_pair(&mechanism, &public, &private).map_err(&failed)?;
        let attributes = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(&failed)?;
        let Some(Attribute::EcPoint(point)) = attributes.first() else {
            return Err(self.malformed("public key"));
        };
        let public_key = read_point(algorithm, point).ok_or_else(|| self.malformed("public key"))?;
        Ok(TokenKey {
            token: self.clone(),
            id: Bytes(id),
            algorithm,
            public_key: Bytes(public_key.to_bytes()),
        })
    }
}

/// The point as the standard has it, inside a DER octet string, or bare as some modules give it.
fn read_point(algorithm: KeyAlgorithm, point: &[u8]) -> Option<DevicePublicKey> {
    let inner = match point {
        [0x04, length, inner @ ..] if usize::from(*length) == inner.len() => inner,
        bare => bare,
    };
    match algorithm {
        KeyAlgorithm::Ed25519 => DevicePublicKey::from_bytes(algorithm, inner),
        KeyAlgorithm::EcdsaP256Sha256 => DevicePublicKey::from_p256_point(inner),
    }
}

impl TokenKey {
    /// Where it is kept.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Takes the key out of the token for good.
    pub(crate) fn destroy(&self) -> Result<(), TokenError> {
        let (session, _) = self.token.open()?;
        let failed = self.token.failed("destroy a key");
        for object in session.find_objects(&[Attribute::Id(self.id.0.clone())]).map_err(&failed)? {
            session.destroy_object(object).map_err(&failed)?;
        }
        Ok(())
    }

    fn find(&self) -> Result<(Session, ObjectHandle), TokenError> {
        let (session, _) = self.token.open()?;
        let kind = match self.algorithm {
            KeyAlgorithm::Ed25519 => KeyType::EC_EDWARDS,
            KeyAlgorithm::EcdsaP256Sha256 => KeyType::EC,
        };
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(kind),
            Attribute::Id(self.id.0.clone()),
        ];
        let found = session.find_objects(&template).map_err(self.token.failed("find the key"))?;
        let key = found.first().copied().ok_or_else(|| TokenError::NoKey(self.token.label.clone()))?;
        Ok((session, key))
    }
}

/// Signs inside the token. The session is opened by the first signature, and again when the token was away.
pub(crate) struct TokenSigner {
    key: TokenKey,
    public_key: DevicePublicKey,
    session: Mutex<Option<(Session, ObjectHandle)>>,
}

impl TokenSigner {
    /// `None` if what the identity says of the key is malformed.
    pub(crate) fn new(key: TokenKey) -> Option<Self> {
        let public_key = DevicePublicKey::from_bytes(key.algorithm, &key.public_key.0)?;
        Some(Self { key, public_key, session: Mutex::new(None) })
    }

    fn sign_in(&self, session: &(Session, ObjectHandle), message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (session, key) = session;
        let signed = match self.key.algorithm {
            KeyAlgorithm::Ed25519 => {
                let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                session.sign(&mechanism, *key, message)
            }
            KeyAlgorithm::EcdsaP256Sha256 => session.sign(&Mechanism::Ecdsa, *key, &Sha256::digest(message)),
        };
        signed.map_err(self.key.token.failed("sign"))
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], TokenError> {
        // One after another: a session does one thing at a time.
        let mut session = lock(&self.session);
        let first = session.as_ref().and_then(|session| self.sign_in(session, message).ok());
        let signature = match first {
            Some(signature) => signature,
            None => {
                // The old one goes first: with its last session a program is logged out.
                *session = None;
                let opened = session.insert(self.key.find()?);
                self.sign_in(opened, message)?
            }
        };
        signature.try_into().map_err(|_| self.key.token.malformed("signature"))
    }
}

impl DeviceSigner for TokenSigner {
    fn public_key(&self) -> DevicePublicKey {
        self.public_key.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerError> {
        self.try_sign(message).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            SignerError(format!("{error}{}", cause.unwrap_or_default()))
        })
    }
}
