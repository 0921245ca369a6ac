//! Verification interface, verification program and hand-over to the register.
