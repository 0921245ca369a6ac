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
