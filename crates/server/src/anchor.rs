//! Signed anchors: once a day the heads of all slots, signed with a key of the site, appended to a file that is
//! copied elsewhere. Somebody who can rewrite the whole chain cannot rewrite a head that was anchored outside.

use std::io::Write;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use selfsame_domain::ledger::export::HexHash;
use selfsame_domain::time::Timestamp;
use selfsame_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

/// Name and version of the format.
const FORMAT: &str = "selfsame-anchor/1";

/// Where anchors go, and what signs them.
pub struct Anchoring {
    /// The key, from the site's secrets.
    pub key: SigningKey,
    /// The file that anchors are appended to. Copy it away daily.
    pub file: PathBuf,
}

/// One line of the file of anchors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// `selfsame-anchor/1`.
    pub format: String,
    /// When it was made.
    pub at: Timestamp,
    /// The last row of each slot.
    pub heads: Vec<AnchoredHead>,
    /// Public half of the key, 32 bytes in hexadecimal.
    pub public_key: HexHash,
    /// Ed25519 over [`Anchor::signed_text`], 64 bytes in hexadecimal as two halves.
    pub signature: [HexHash; 2],
}

/// The last row of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredHead {
    /// The slot.
    pub slot: u32,
    /// Sequence of its last row.
    pub sequence: u64,
    /// Hash of that row.
    pub hash: HexHash,
}

/// Why no anchor was made.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The heads could not be read.
    #[error("failed to read the heads of the ledger")]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("failed to append to the file of anchors `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Anchor {
    /// What is signed: format, time and heads, one a line.
    pub fn signed_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.format, self.at);
        for head in &self.heads {
            text.push_str(&format!("{} {} {}\n", head.slot, head.sequence, head.hash));
        }
        text
    }

    /// Whether the signature is of this key over these heads.
    pub fn verify(&self, key: &VerifyingKey) -> bool {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.signature[0].0);
        bytes[32..].copy_from_slice(&self.signature[1].0);
        key.verify(self.signed_text().as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
    }
}

/// Signs the heads as they are now and appends them to a file, synced.
pub async fn append(
    store: &Store,
    key: &SigningKey,
    path: &Path,
    now: Timestamp,
) -> Result<Anchor, AnchorError> {
    let heads = store.ledger_heads().await?;
    let head = |(slot, sequence, hash)| AnchoredHead { slot, sequence, hash: HexHash(hash) };
    let mut anchor = Anchor {
        format: FORMAT.to_owned(),
        at: now,
        heads: heads.into_iter().map(head).collect(),
        public_key: HexHash(key.verifying_key().to_bytes()),
        signature: [HexHash([0; 32]); 2],
    };
    let signature = key.sign(anchor.signed_text().as_bytes()).to_bytes();
    for (half, bytes) in anchor.signature.iter_mut().zip(signature.as_chunks::<32>().0) {
        half.0 = *bytes;
    }
    let mut line = serde_json::to_vec(&anchor).expect("an anchor always serializes");
    line.push(b'\n');
    let write = || {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&line)?;
        file.sync_all()
    };
    write().map_err(|source| AnchorError::Write { path: path.to_owned(), source })?;
    Ok(anchor)
}
