//! The payment server.
