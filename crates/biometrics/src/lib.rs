//! From pictures to templates to comparison scores, and how accurate that is.
//!
//! Pure: bytes and pictures in, values out. No clock, no files, and no randomness but that of the seeds of
//! [`synthetic`] fingers. Called by the matcher (step 2 of the method), by the evaluation command and, for pictures
//! only, by the verification program. Must never know accounts, money or networks.

pub mod accuracy;
pub mod color_image;
mod elementary;
pub mod face;
pub mod finger;
pub mod image;
pub mod model_pack;
mod oriented;
pub mod score;
pub mod synthetic;
