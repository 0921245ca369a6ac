//! The nouns of a biometric payment and the rules that decide about them.
//!
//! Everything here is pure: no input or output, no clock, no randomness. Time and random bytes come in as
//! arguments, so the same inputs replay the same day (`sim`, property tests, auditors). Step 2 of the method is
//! decided in [`verification`], steps 3 and 4 in [`payment_code`], step 5 in [`payment`] and [`ledger`].
//!
//! This crate must never know SQL, HTTP, images or processes.

pub mod account;
pub mod challenge;
pub mod clock;
pub mod consent;
pub mod enrolment;
pub mod envelope;
pub mod id;
pub mod key_use;
pub mod ledger;
pub mod limit;
pub mod money;
pub mod payment;
pub mod payment_code;
pub mod pin;
pub mod reference;
pub mod sensor;
pub mod settlement;
pub mod sign_in;
pub mod site;
pub mod terminal;
pub mod text;
pub mod time;
pub mod timing;
pub mod verification;
