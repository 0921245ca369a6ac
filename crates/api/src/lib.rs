//! What goes over the wires: the payment server's interface, the terminal's local verification interface, and the
//! two inner ones (server to matcher, terminal to verifier), with problem documents, request signatures and the
//! sealing of frames.
//!
//! One file per noun, the same name as in `domain`, `store` and `server`. Requests refuse unknown fields; answers
//! may gain fields, which clients ignore. Feature `client` adds the HTTP client that all our own callers use, feature
//! `serve` what our HTTP services have in common.

pub mod account;
pub mod adjustment;
pub mod bytes;
pub mod capture;
pub mod certificate;
pub mod channel;
#[cfg(feature = "client")]
pub mod client;
pub mod configuration;
pub mod confirmation;
pub mod consent;
pub mod device_key;
pub mod diagnostics;
pub mod enrolment;
pub mod failure;
pub mod fleet;
pub mod guidance;
pub mod interface;
pub mod kiosk;
pub mod ledger;
pub mod limit;
pub mod matcher;
pub mod merchant;
pub mod pairing;
pub mod payment;
pub mod payment_code;
pub mod pin;
pub mod problem;
pub mod receipt;
pub mod refund;
pub mod register;
pub mod reversal;
pub mod sealing;
#[cfg(feature = "serve")]
pub mod serve;
pub mod settlement;
pub mod sign_in;
pub mod signature;
pub mod simulator;
pub mod terminal;
pub mod top_up;
pub mod verification;
pub mod verifier;
