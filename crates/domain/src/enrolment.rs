//! Enrolment: from consent to templates in use.

use crate::text::text_enum;

text_enum! {
    /// Where an enrolment stands.
    EnrolmentState {
        /// Samples are awaited.
        Capturing = "capturing",
        /// Somebody enrolled looks much alike: the templates are kept but not used until staff have looked.
        Review = "review",
        /// The templates are in use.
        Active = "active",
        /// Withdrawn or replaced: the templates are destroyed.
        Revoked = "revoked",
    }
}
