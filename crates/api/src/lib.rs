//! Wire types of both interfaces, problem codes, request signatures and sealing.
