//! What is personal of an account: sealed under a key of the account, found by keyed hashes only.

use hmac::{Hmac, KeyInit, Mac};
use selfsame_api::problem::{Problem, ProblemCode};
use selfsame_domain::account::Identifier;
use selfsame_domain::envelope::SubjectKey;
use selfsame_domain::id::AccountId;
use selfsame_store::{Account, Lookup};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Secrets, random};

/// Name and identifiers, before sealing.
#[derive(Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    pub(crate) phone: Option<String>,
    pub(crate) member_number: Option<String>,
}

/// A sealed profile and its wrapped key.
pub(crate) struct SealedProfile {
    pub(crate) profile: Vec<u8>,
    pub(crate) wrapped_key: Vec<u8>,
}

fn owner(account: AccountId) -> String {
    format!("{account} profile")
}

/// HMAC-SHA-256 over the parts, each closed by a byte that none of them contains.
pub(crate) fn mac(pepper: &[u8; 32], parts: &[&str]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part.as_bytes());
        mac.update(&[0xff]);
    }
    mac.finalize().into_bytes().into()
}

/// How an identifier is looked up.
pub(crate) fn lookup(secrets: &Secrets, identifier: &Identifier) -> Lookup {
    let kind = identifier.kind();
    Lookup { kind, mac: mac(&secrets.identifier_pepper, &[kind.as_str(), identifier.expose()]) }
}

impl Profile {
    pub(crate) fn seal(&self, secrets: &Secrets, account: AccountId) -> SealedProfile {
        let key = SubjectKey::new(Zeroizing::new(random()));
        let plaintext = Zeroizing::new(serde_json::to_vec(self).expect("a profile always serializes"));
        SealedProfile {
            profile: key.seal(&plaintext, &owner(account), random()),
            wrapped_key: secrets.profile_key.wrap(&key, &owner(account), random()),
        }
    }

    /// Opens the profile of a stored account; `None` once the person is erased.
    pub(crate) fn open(secrets: &Secrets, account: &Account) -> Result<Option<Self>, Problem> {
        let Some(wrapped_key) = &account.wrapped_profile_key else { return Ok(None) };
        let owner = owner(account.account);
        let broken = || {
            tracing::error!(account.id = %account.account, "a profile does not open: wrong key file or altered data");
            Problem::new(ProblemCode::Internal)
        };
        let key = secrets.profile_key.unwrap(wrapped_key, &owner).map_err(|_| broken())?;
        let plaintext = key.open(&account.profile, &owner).map_err(|_| broken())?;
        serde_json::from_slice(&plaintext).map(Some).map_err(|_| broken())
    }

    /// First character of the name and stars: enough for the payer to see that it is them, too little for the queue.
    pub(crate) fn masked_name(&self) -> String {
        let first = self.display_name.chars().next().unwrap_or('*');
        format!("{first}***")
    }
}
