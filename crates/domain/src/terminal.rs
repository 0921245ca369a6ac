//! Terminals: what they are for.

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
