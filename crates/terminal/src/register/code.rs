//! The digits of a code while they are of use.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::screen;

/// The digits of a code for as long as they are of use. Wiped when dropped; never printed.
pub(crate) struct LiveCode {
    digits: Zeroizing<String>,
    received: Instant,
    life: Duration,
}

impl LiveCode {
    /// `life` is what the server said is left, so that this machine's clock does not matter.
    pub(crate) fn new(digits: String, life: Duration) -> Self {
        Self { digits: Zeroizing::new(digits), received: Instant::now(), life }
    }

    /// The digits, while they can be charged.
    pub(crate) fn digits(&self) -> Option<&str> {
        (self.received.elapsed() < self.life).then_some(self.digits.as_str())
    }

    /// The picture of the screen: Code 128 above, QR below, as PNG. `None` once the code has expired.
    pub(crate) fn screen_png(&self) -> Option<Vec<u8>> {
        self.digits().map(screen::png)
    }
}
