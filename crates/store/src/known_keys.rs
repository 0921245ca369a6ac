//! API keys that were in force a moment ago. Every request of a till begins with the same look-up; here it is spared for
//! a second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use selfsame_domain::time::Timestamp;

use crate::api_key::ApiKey;

/// How long a key counts as known. This process forgets a key at once when it revokes it; this is how long a key lives
/// on here that somebody else revoked in the file.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Keys that are known at a time: more than one site has. All are forgotten when there are more.
const KEYS_MAX: usize = 1_024;

#[derive(Default)]
pub(crate) struct KnownKeys(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By SHA-256, with the time of the look-up.
    keys: HashMap<[u8; 32], (ApiKey, Timestamp)>,
    /// How often everything was forgotten.
    generation: u64,
}

/// When a look-up began.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    at: Timestamp,
    generation: u64,
}

impl KnownKeys {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The key, or where a look-up in the file begins.
    pub(crate) fn get(&self, hash: &[u8; 32], now: Timestamp) -> Result<ApiKey, Begun> {
        let known = self.lock();
        match known.keys.get(hash) {
            Some((key, since)) if *since <= now && now < *since + KNOWN_FOR => Ok(*key),
            _ => Err(Begun { at: now, generation: known.generation }),
        }
    }

    /// Keeps what a look-up found, unless a key was revoked since it began: it may have read the time before.
    pub(crate) fn keep(&self, hash: [u8; 32], key: ApiKey, begun: Begun) {
        let mut known = self.lock();
        if known.generation != begun.generation {
            return;
        }
        if known.keys.len() >= KEYS_MAX {
            known.keys.clear();
        }
        known.keys.insert(hash, (key, begun.at));
    }

    pub(crate) fn forget(&self) {
        let mut known = self.lock();
        known.keys.clear();
        known.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use selfsame_domain::id::KeyId;
    use selfsame_domain::ledger::Caller;

    use super::*;

    const HASH: [u8; 32] = [7; 32];

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn key() -> ApiKey {
        ApiKey { id: KeyId::new(at(0), [1; 10]), role: Caller::Operator }
    }

    fn get(keys: &KnownKeys, millis: i64) -> Option<ApiKey> {
        keys.get(&HASH, at(millis)).ok()
    }

    fn begin(keys: &KnownKeys, millis: i64) -> Begun {
        keys.get(&HASH, at(millis)).err().unwrap()
    }

    #[test]
    fn a_key_is_known_for_a_second_and_not_by_a_clock_that_went_back() {
        let keys = KnownKeys::default();
        keys.keep(HASH, key(), begin(&keys, 5_000));
        assert_eq!(get(&keys, 5_000), Some(key()));
        assert_eq!(get(&keys, 5_999), Some(key()));
        assert_eq!(get(&keys, 6_000), None);
        assert_eq!(get(&keys, 4_999), None);
    }

    #[test]
    fn a_look_up_from_before_a_revocation_is_not_kept_after_it() {
        let keys = KnownKeys::default();
        let begun = begin(&keys, 5_000);
        keys.forget();
        keys.keep(HASH, key(), begun);
        assert_eq!(get(&keys, 5_000), None);
    }

    #[test]
    fn there_is_a_limit_to_what_is_known() {
        let keys = KnownKeys::default();
        for number in 0..3 * KEYS_MAX {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            keys.keep(hash, key(), begin(&keys, 5_000));
        }
        assert_eq!(keys.lock().keys.len(), KEYS_MAX);
    }
}
