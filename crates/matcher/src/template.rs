//! Stored templates: encrypted under a key of their account, which this process alone can unwrap.

use std::collections::HashMap;

use selfsame_api::matcher::{SealedTemplate, WrappedKey};
use selfsame_domain::envelope::{EnvelopeError, KeyEncryptionKey, SubjectKey};
use selfsame_domain::id::{AccountId, TemplateId};
use zeroize::Zeroizing;

use crate::random;

fn owner(account: AccountId) -> String {
    format!("{account} template key")
}

/// All clear facts about a template, so that none of them can be changed without notice.
fn purpose(template: TemplateId, account: AccountId, instance: u8, algorithm: &str, version: u16) -> String {
    format!("{template} {account} {instance} {algorithm} {version}")
}

/// Makes a key for an account's templates.
pub(crate) fn new_key(kek: &KeyEncryptionKey, account: AccountId) -> (SubjectKey, WrappedKey) {
    let key = SubjectKey::new(Zeroizing::new(random()));
    let wrapped = kek.wrap(&key, &owner(account), random());
    (key, WrappedKey { account, wrapped: wrapped.into() })
}

/// Opens the key of an account's templates.
pub(crate) fn unwrap_key(kek: &KeyEncryptionKey, key: &WrappedKey) -> Result<SubjectKey, EnvelopeError> {
    kek.unwrap(&key.wrapped.0, &owner(key.account))
}

/// Encrypts a template.
pub(crate) fn seal(
    key: &SubjectKey,
    template: TemplateId,
    account: AccountId,
    instance: u8,
    algorithm: (&str, u16),
    bytes: &[u8],
) -> SealedTemplate {
    let (algorithm, version) = algorithm;
    let purpose = purpose(template, account, instance, algorithm, version);
    SealedTemplate {
        template,
        account,
        instance,
        algorithm: algorithm.to_owned(),
        version,
        sealed: key.seal(bytes, &purpose, random()).into(),
    }
}

/// The keys of a request, opened once each.
pub(crate) struct Keyring(HashMap<AccountId, SubjectKey>);

impl Keyring {
    pub(crate) fn open(kek: &KeyEncryptionKey, keys: &[WrappedKey]) -> Result<Self, EnvelopeError> {
        let open = |key: &WrappedKey| Ok((key.account, unwrap_key(kek, key)?));
        keys.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Decrypts a template; the bytes are wiped when dropped.
    pub(crate) fn decrypt(&self, template: &SealedTemplate) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let key = self.0.get(&template.account).ok_or(EnvelopeError)?;
        let purpose = purpose(
            template.template,
            template.account,
            template.instance,
            &template.algorithm,
            template.version,
        );
        key.open(&template.sealed.0, &purpose)
    }
}
