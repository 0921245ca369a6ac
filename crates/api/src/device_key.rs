//! Device keys: the public half as it travels and is stored, and whoever can sign with the private half.

use ed25519_dalek::Signer;
use p256::ecdsa;
use selfsame_domain::terminal::KeyAlgorithm;

/// Bytes of a signature, with either algorithm.
pub const SIGNATURE_BYTES: usize = 64;

/// Why nothing was signed: the file or the token that holds the key does not work.
#[derive(Debug, thiserror::Error)]
#[error("failed to sign with the device key: {0}")]
pub struct SignerError(pub String);

/// Signs with a device key that nobody else sees: a file's, or one inside a security module (PKCS#11).
///
/// A call may take as long as a slow chip needs, so it belongs on a thread that may wait.
pub trait DeviceSigner: Send + Sync + 'static {
    /// The public half.
    fn public_key(&self) -> DevicePublicKey;

    /// Signs a message.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerError>;
}

/// The public half of a device key, known to be a point of its curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePublicKey(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(Box<ecdsa::VerifyingKey>),
}

impl DevicePublicKey {
    /// Reads a key: 32 bytes of Ed25519, or the 33 bytes of a compressed point of P-256. `None` if it is none, or one
    /// of the Ed25519 keys for which anybody can sign.
    pub fn from_bytes(algorithm: KeyAlgorithm, bytes: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            KeyAlgorithm::Ed25519 => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
                Kind::Ed25519(Some(key).filter(|key| !key.is_weak())?)
            }
            // One form only, so that a key has one name.
            KeyAlgorithm::EcdsaP256Sha256 if bytes.len() == 33 => {
                Kind::P256(Box::new(ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?))
            }
            KeyAlgorithm::EcdsaP256Sha256 => return None,
        }))
    }

    /// Reads a point of P-256 as security modules give it: compressed or not.
    pub fn from_p256_point(point: &[u8]) -> Option<Self> {
        Some(Self(Kind::P256(Box::new(ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?))))
    }

    /// How its private half signs.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match self.0 {
            Kind::Ed25519(_) => KeyAlgorithm::Ed25519,
            Kind::P256(_) => KeyAlgorithm::EcdsaP256Sha256,
        }
    }

    /// The form that [`DevicePublicKey::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Ed25519(key) => key.to_bytes().to_vec(),
            Kind::P256(key) => key.to_sec1_point(true).as_bytes().to_vec(),
        }
    }

    /// Whether a signature fits a message.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        match &self.0 {
            Kind::Ed25519(key) => {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
            }
            Kind::P256(key) => {
                let signature = ecdsa::Signature::from_slice(signature);
                signature.is_ok_and(|signature| {
                    ecdsa::signature::Verifier::verify(&**key, message, &signature).is_ok()
                })
            }
        }
    }
}

/// A key in this program's memory, where a file keeps it.
impl DeviceSigner for ed25519_dalek::SigningKey {
    fn public_key(&self) -> DevicePublicKey {
        DevicePublicKey(Kind::Ed25519(self.verifying_key()))
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerError> {
        Ok(Signer::sign(self, message).to_bytes())
    }
}

#[cfg(test)]
impl DeviceSigner for ecdsa::SigningKey {
    fn public_key(&self) -> DevicePublicKey {
        DevicePublicKey(Kind::P256(Box::new(*self.verifying_key())))
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignerError> {
        let signature: ecdsa::Signature = Signer::sign(self, message);
        Ok(signature.to_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_were_written_in_one_form_only() {
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[5; 32]).public_key();
        let p256 = ecdsa::SigningKey::from_slice(&[7; 32]).unwrap().public_key();
        for key in [ed25519, p256.clone()] {
            assert_eq!(DevicePublicKey::from_bytes(key.algorithm(), &key.to_bytes()), Some(key));
        }
        let Kind::P256(point) = &p256.0 else { panic!("a key of P-256") };
        let long = point.to_sec1_point(false);
        assert_eq!(DevicePublicKey::from_bytes(KeyAlgorithm::EcdsaP256Sha256, long.as_bytes()), None);
        assert_eq!(DevicePublicKey::from_p256_point(long.as_bytes()), Some(p256));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP256Sha256] {
            for bytes in [&[][..], &[2; 31], &[0xff; 33], &[4; 65]] {
                assert_eq!(DevicePublicKey::from_bytes(algorithm, bytes), None, "{algorithm} {bytes:?}");
            }
        }
        // The neutral point, for which anybody can sign anything.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert_eq!(DevicePublicKey::from_bytes(KeyAlgorithm::Ed25519, &weak), None);
    }
}
