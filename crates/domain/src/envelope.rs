//! Envelope encryption of what belongs to a person: AES-256-GCM under a key of that person, which is itself wrapped
//! by a key-encryption key of the process that may read it. Destroying the wrapped key erases the person's data
//! wherever copies of it are.
//!
//! Sealed bytes are the 12-byte nonce, then ciphertext and tag. The associated text names owner and purpose, so that
//! sealed values cannot be swapped between people or uses. Nonces are random and come in as arguments.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::Zeroizing;

/// Random bytes of a nonce (NIST SP 800-38D: 96 bits).
pub const NONCE_BYTES: usize = 12;

/// A key of one person, for one purpose.
pub struct SubjectKey(Zeroizing<[u8; 32]>);

/// The key that wraps subject keys. Lives in the site's secrets, apart from the database.
pub struct KeyEncryptionKey(Zeroizing<[u8; 32]>);

/// The bytes were sealed by another key, for another owner or purpose, or were altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open: wrong key, wrong owner, or altered")]
pub struct EnvelopeError;

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(***)")
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(***)")
    }
}

fn seal(key: &[u8; 32], plaintext: &[u8], purpose: &str, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let payload = Payload { msg: plaintext, aad: purpose.as_bytes() };
    let ciphertext =
        cipher.encrypt(&Nonce::from(nonce), payload).expect("AES-GCM seals anything below 64 GiB");
    [nonce.as_slice(), &ciphertext].concat()
}

fn open(key: &[u8; 32], sealed: &[u8], purpose: &str) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(EnvelopeError)?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let payload = Payload { msg: ciphertext, aad: purpose.as_bytes() };
    cipher.decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| EnvelopeError)
}

impl SubjectKey {
    /// From 32 random bytes.
    pub fn new(random: Zeroizing<[u8; 32]>) -> Self {
        Self(random)
    }

    /// Seals; `purpose` names owner and use.
    pub fn seal(&self, plaintext: &[u8], purpose: &str, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        seal(&self.0, plaintext, purpose, nonce)
    }

    /// Opens what was sealed for the same purpose.
    pub fn open(&self, sealed: &[u8], purpose: &str) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        open(&self.0, sealed, purpose)
    }
}

impl KeyEncryptionKey {
    /// From 32 random bytes.
    pub fn new(random: Zeroizing<[u8; 32]>) -> Self {
        Self(random)
    }

    /// Wraps a subject key; `owner` names person and purpose.
    pub fn wrap(&self, key: &SubjectKey, owner: &str, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        seal(&self.0, key.0.as_slice(), owner, nonce)
    }

    /// Unwraps the key of the same owner.
    pub fn unwrap(&self, wrapped: &[u8], owner: &str) -> Result<SubjectKey, EnvelopeError> {
        let bytes = open(&self.0, wrapped, owner)?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| EnvelopeError)?;
        Ok(SubjectKey(Zeroizing::new(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SubjectKey {
        SubjectKey::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn only_the_same_key_and_purpose_open() {
        let sealed = key(1).seal(b"ridges", "acct_1 template", [3; NONCE_BYTES]);
        assert_eq!(key(1).open(&sealed, "acct_1 template").unwrap().as_slice(), b"ridges");
        assert_eq!(key(2).open(&sealed, "acct_1 template"), Err(EnvelopeError));
        assert_eq!(key(1).open(&sealed, "acct_2 template"), Err(EnvelopeError));
    }

    #[test]
    fn altered_and_truncated_values_do_not_open() {
        let sealed = key(1).seal(b"ridges", "p", [3; NONCE_BYTES]);
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(key(1).open(&altered, "p"), Err(EnvelopeError));
            assert_eq!(key(1).open(&sealed[..index], "p"), Err(EnvelopeError));
        }
    }

    #[test]
    fn a_wrapped_key_unwraps_for_its_owner_only() {
        let kek = KeyEncryptionKey::new(Zeroizing::new([9; 32]));
        let wrapped = kek.wrap(&key(1), "acct_1", [4; NONCE_BYTES]);
        let sealed = key(1).seal(b"x", "p", [5; NONCE_BYTES]);
        assert_eq!(kek.unwrap(&wrapped, "acct_1").unwrap().open(&sealed, "p").unwrap().as_slice(), b"x");
        assert!(kek.unwrap(&wrapped, "acct_2").is_err());
    }
}
