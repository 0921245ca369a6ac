//! The payment server and the matcher as their callers meet them: real processes' code over real sockets, real
//! databases, generated fingers. One file per noun; what they share is in `site`, `caller`, `device` and `payer`.

mod caller;
mod device;
mod endurance;
mod payer;
mod site;

mod account;
mod audit;
mod authentication;
mod bench;
mod c_interface;
mod camera;
mod certificate;
mod consent;
mod enrolment;
mod environment;
mod face;
mod fleet;
mod fuzz;
mod identity;
mod image;
mod interface;
mod kiosk;
mod leak;
mod ledger;
mod openapi;
#[cfg(all(feature = "v4l2", target_os = "linux"))]
mod own_camera;
mod pages;
mod payment;
mod payment_code;
mod pin_verification;
mod processes;
mod race;
mod reach;
mod refusal;
mod register;
mod simulator;
mod standing;
mod store;
mod terminal;
mod token;
mod top_up;
mod verification;
