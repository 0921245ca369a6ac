//! `cargo xtask openapi`: the interfaces' documents, and the tables of their page, written from the code.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::step::{answers, cargo, command, root};

const FOLDER: &str = "docs/openapi";

/// The pages whose tables are made from the code. Each table is in one of them.
const PAGES: [&str; 2] = ["docs/interface.md", "docs/conformance.md"];

/// Writes the document of each interface, and the page's tables.
pub(crate) fn run() -> Result<()> {
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("failed to make `{FOLDER}`"))?;
    for interface in ["server", "terminal", "kiosk", "desk"] {
        let document = printed(interface)?;
        write(&format!("{FOLDER}/{interface}.json"), &document)?;
    }
    let tables = String::from_utf8(printed("tables")?).context("the tables are no text")?;
    let mut pages = Vec::new();
    for path in PAGES {
        let page =
            fs::read_to_string(root().join(path)).with_context(|| format!("failed to read `{path}`"))?;
        pages.push((path, page));
    }
    for table in tables.split_inclusive(END).map(str::trim_start).filter(|table| table.ends_with(END)) {
        let begin = table.lines().next().unwrap_or_default();
        let page = pages.iter_mut().find(|(_, page)| page.contains(begin));
        let (path, page) = page.with_context(|| format!("no page has `{begin}`"))?;
        replace(page, begin, table).with_context(|| format!("`{path}` does not end `{begin}`"))?;
    }
    pages.iter().try_for_each(|(path, page)| write(path, page.as_bytes()))?;
    write_types()
}

/// Writes the types that the web pages have of the interfaces.
fn write_types() -> Result<()> {
    if !answers(command("node"), "--version") {
        println!(
            "web/src/api: not written, there is no `node` here; do `npm run types` in web/ where there is"
        );
        return Ok(());
    }
    let status = command("node").arg("web/scripts/api-types.mjs").status().context("failed to start node")?;
    if !status.success() {
        bail!("web/scripts/api-types.mjs failed ({status})");
    }
    println!("web/src/api: written");
    Ok(())
}

fn printed(what: &str) -> Result<Vec<u8>> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "selfsame", "--", "openapi", what]);
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().context("failed to start cargo")?;
    if !output.status.success() {
        bail!("`selfsame openapi {what}` failed ({})", output.status);
    }
    Ok(output.stdout)
}

fn write(path: &str, content: &[u8]) -> Result<()> {
    let file = root().join(path);
    let changed = fs::read(&file).ok().as_deref() != Some(content);
    if changed {
        fs::write(&file, content).with_context(|| format!("failed to write `{path}`"))?;
    }
    println!("{path}: {}", if changed { "written" } else { "unchanged" });
    Ok(())
}

/// Where a table ends.
const END: &str = "<!-- end generated -->";

/// Puts a table into its page, between its marks.
fn replace(page: &mut String, begin: &str, table: &str) -> Option<()> {
    let start = page.find(begin)?;
    let length = page[start..].find(END)?;
    page.replace_range(start..start + length + END.len(), table);
    Some(())
}
