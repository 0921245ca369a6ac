//! Payments over HTTP: the real router on a fresh database. A passed verification and a device key are written
//! through the store's own transactions, so that no matcher is needed.

mod bad_input;
mod channel;
mod confirmation;
mod crash;
mod documents;
mod failure;
mod fleet;
mod hold;
mod ledger;
mod limit;
mod payment;
mod returning;
mod settlement;
mod sign_in;
mod site;
mod timing;
