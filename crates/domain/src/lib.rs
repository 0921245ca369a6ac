//! The nouns of a biometric payment and their pure rules.
