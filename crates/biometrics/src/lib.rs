//! Image to template to comparison score.
