//! Terminals: what they are for, how they stand, and how they sign.

use crate::text::text_enum;

text_enum! {
    /// What a terminal is for.
    Purpose {
        /// At a till: verifies payers.
        Till = "till",
        /// At a staffed desk: enrols people.
        Desk = "desk",
    }
}

text_enum! {
    /// Where a terminal stands in its life.
    Lifecycle {
        /// Made, and not activated on any machine yet.
        Unactivated = "unactivated",
        /// May work.
        Active = "active",
        /// Not until the operator unlocks it.
        Locked = "locked",
        /// Never again.
        Retired = "retired",
    }
}

text_enum! {
    /// Whether a terminal may work.
    Standing {
        /// Yes.
        Active = "active",
        /// Not until the operator unlocks it.
        Locked = "locked",
        /// Never again.
        Retired = "retired",
    }
}

text_enum! {
    /// How a device key signs. The names are those of RFC 9421.
    KeyAlgorithm {
        /// Ed25519 (RFC 8032); the public key is 32 bytes.
        Ed25519 = "ed25519",
        /// ECDSA over P-256 with SHA-256, for chips without Ed25519; the public key is a compressed point of 33 bytes,
        /// the signature `r` and `s` of 32 bytes each.
        EcdsaP256Sha256 = "ecdsa-p256-sha256",
    }
}
