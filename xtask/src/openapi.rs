//! `cargo xtask openapi`: the interfaces' documents, written from the code.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::step::{cargo, root};

const FOLDER: &str = "docs/openapi";

/// Writes the document of each interface.
pub(crate) fn run() -> Result<()> {
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("failed to make `{FOLDER}`"))?;
    for interface in ["server", "terminal"] {
        let mut command = cargo();
        command.args(["run", "--quiet", "--package", "selfsame", "--", "openapi", interface]);
        command.stderr(std::process::Stdio::inherit());
        let output = command.output().context("failed to start cargo")?;
        if !output.status.success() {
            bail!("`selfsame openapi {interface}` failed ({})", output.status);
        }
        let path = folder.join(interface).with_extension("json");
        let changed = fs::read(&path).ok().as_ref() != Some(&output.stdout);
        if changed {
            fs::write(&path, &output.stdout)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        println!("{FOLDER}/{interface}.json: {}", if changed { "written" } else { "unchanged" });
    }
    Ok(())
}
