//! The process that opens sealed frames, extracts templates and compares them.
