//! Staff before a page of the payment server: who has shown a key, and for how long that counts.

use std::time::Duration;

use crate::text::text_enum;

text_enum! {
    /// A page of the payment server that wants a key.
    Page {
        /// The cashier's till: a merchant's key.
        Till = "till",
        /// The desk of the operator's staff: the operator's key.
        Desk = "desk",
    }
}

/// Longest time that anybody stays signed in, used or not: a long shift.
pub const SIGN_IN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Sign-ins of one key and page at a time. A merchant gives one key to all its tills; the one unused for longest ends
/// when there are more.
pub const SIGN_INS_PER_KEY_MAX: usize = 64;

impl Page {
    /// How long nobody may have used the page before the key is wanted again. A till stands in front of a cashier and
    /// can take money in only; a desk can do everything.
    pub fn idle_life(self) -> Duration {
        match self {
            Page::Till => Duration::from_secs(30 * 60),
            Page::Desk => Duration::from_secs(10 * 60),
        }
    }
}
