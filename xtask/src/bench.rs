//! `cargo xtask bench`: how fast the web pages are in a real browser, against their budgets. Everything else is measured by
//! the product itself, `selfsame bench`.

use anyhow::{Result, bail};

use crate::step::{Steps, cargo};
use crate::web;

/// The measurement: a test that is left out of the others, because a busy machine would fail it.
const MEASUREMENT: &str = "pages::pages_keep_their_budgets";

/// Builds what is measured, as the tests do, and measures.
pub(crate) fn run() -> Result<()> {
    if let Some(missing) = web::missing() {
        bail!("{missing}");
    }
    let mut steps = Steps::default();
    let result = web::build(&mut steps).and_then(|()| {
        let mut measure = cargo();
        measure.args(["test", "--quiet", "--workspace", "--all-features", "--test", "it", "--"]);
        steps.run("pages", measure.args(["--ignored", "--nocapture", "--exact", MEASUREMENT]))
    });
    steps.print_table();
    result
}
