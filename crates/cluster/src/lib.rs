//! PostgreSQL for as long as a test lasts, and a network between it and its client that fails when it is told to.
//!
//! Serves no step of a payment: tests, torture and benchmarks call it, the product never does. It must never know what is
//! stored in a database, and imports none of ours ([ADR 0033](../../../docs/adr/0033-clusters-that-end-with-their-owner.md)).

mod cluster;
mod error;
mod guard;
mod processes;
mod programs;
mod proxy;
mod shared;
mod standby;
mod template;

pub use cluster::{Cluster, Options};
pub use error::ClusterError;
pub use programs::is_installed_or_skip;
pub use proxy::{Proxy, Toward};
pub use shared::SharedDatabase;
pub use standby::Replication;
