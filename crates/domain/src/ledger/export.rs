//! The ledger as a file that an auditor can check without us: JSON lines, documented in `docs/audit.md`.
//!
//! The first line is the header, then come the rows of each slot in order of sequence, then one line for each
//! wallet, then one for each slot's head. Numbers are integers, hashes are lower-case hexadecimal, absent fields are
//! absent.

use serde::{Deserialize, Serialize};

use crate::id::{
    AccountId, KeyId, MerchantId, PaymentCodeId, PaymentId, StoreId, TerminalId, VerificationId, WalletId,
};
use crate::ledger::{Caller, ChainedRow, Kind, LedgerAccount, Part, Row, RowHash, RowState};
use crate::money::Currency;
use crate::reference::Reference;
use crate::sensor::SensorGrade;
use crate::time::Timestamp;

/// Name and version of the format. A change of meaning gets a new number.
pub const FORMAT: &str = "selfsame-ledger/1";

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line.
    Header {
        /// [`FORMAT`].
        format: String,
        /// When the snapshot was taken.
        exported_at: Timestamp,
    },
    /// A row of the ledger.
    Row(Box<ExportedRow>),
    /// A wallet as the site keeps it: must be the sum of its rows.
    Wallet {
        /// The wallet.
        wallet: WalletId,
        /// Its currency.
        currency: Currency,
        /// Minor units.
        balance_minor: i64,
        /// Minor units claimed by open charges.
        held_minor: i64,
    },
    /// The last row of a slot as the site keeps it.
    Head {
        /// The slot.
        slot: u32,
        /// Sequence of its last row; 0 if it has none.
        sequence: u64,
        /// Hash of that row.
        hash: HexHash,
    },
}

/// A hash as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HexHash(pub RowHash);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct HexHashError;

impl std::fmt::Display for HexHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for HexHash {
    type Err = HexHashError;
    fn from_str(text: &str) -> Result<Self, HexHashError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(HexHashError),
        };
        let pairs = text.as_bytes().as_chunks::<2>();
        let mut hash = [0; 32];
        if pairs.0.len() != hash.len() || !pairs.1.is_empty() {
            return Err(HexHashError);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs.0) {
            *byte = (digit(*high)? << 4) | digit(*low)?;
        }
        Ok(Self(hash))
    }
}

crate::text::serde_as_text!(HexHash);

macro_rules! exported_row {
    ($($field:ident: $type:ty,)* ; $($optional:ident: $optional_type:ty,)*) => {
        /// A row with its hash; the fields of [`Row`], times in milliseconds since 1970.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "the fields are those of `Row`, which documents them")]
        pub struct ExportedRow {
            $(pub $field: $type,)*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $optional: Option<$optional_type>,)*
            pub created_at_ms: i64,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub expires_at_ms: Option<i64>,
            pub hash: HexHash,
        }

        impl From<&ChainedRow> for ExportedRow {
            fn from(chained: &ChainedRow) -> Self {
                let row = chained.row.clone();
                Self {
                    $($field: row.$field,)*
                    $($optional: row.$optional,)*
                    created_at_ms: row.created_at.as_millis(),
                    expires_at_ms: row.expires_at.map(Timestamp::as_millis),
                    hash: HexHash(chained.hash),
                }
            }
        }

        impl From<ExportedRow> for ChainedRow {
            fn from(exported: ExportedRow) -> Self {
                let row = Row {
                    $($field: exported.$field,)*
                    $($optional: exported.$optional,)*
                    created_at: Timestamp::from_millis(exported.created_at_ms),
                    expires_at: exported.expires_at_ms.map(Timestamp::from_millis),
                };
                ChainedRow { row, hash: exported.hash.0 }
            }
        }
    };
}

exported_row! {
    slot: u32,
    sequence: u64,
    payment: PaymentId,
    leg: u8,
    kind: Kind,
    state: RowState,
    debit: LedgerAccount,
    credit: LedgerAccount,
    amount_minor: i64,
    currency: Currency,
    caller: Caller,
    ;
    part: Part,
    parent: PaymentId,
    account: AccountId,
    actor: KeyId,
    reference: Reference,
    code: PaymentCodeId,
    verification: VerificationId,
    sensor_grade: SensorGrade,
    merchant: MerchantId,
    store: StoreId,
    terminal: TerminalId,
}
