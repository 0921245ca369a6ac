//! Ways to the cash register (step 5 of the method, the terminal's side): the code is shown on the screen for the
//! till's scanner, or given back to the caller of the interface. It is held in memory until it expires or is replaced.

mod screen;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

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
