//! Lists the built pages for embedding. Without any the crate builds all the same, and says so when it is asked for one.
//!
//! Own lines instead of a crate: an embedding macro does not notice files that are new, and the usual ones fail or need a
//! feature where there is nothing to embed.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let folder = |variable: &str| PathBuf::from(env::var_os(variable).expect("cargo sets it"));
    let dist = folder("CARGO_MANIFEST_DIR").join("../../web/dist");
    // The folder is always there, its `pages` only once they were built.
    println!("cargo::rerun-if-changed={}", dist.display());
    let pages = dist.join("pages");
    let mut files = Vec::new();
    if pages.is_dir() {
        list(&pages.canonicalize()?, &mut files)?;
    }
    files.sort();
    let mut source = String::from("static FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file.strip_prefix(pages.canonicalize()?).expect("it was found there");
        let name = name.to_str().expect("names of built files are ASCII");
        let path = file.to_str().expect("the checkout's path is UTF-8");
        // For the build only.
        if name != "manifest.json" {
            writeln!(source, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes everything");
        }
    }
    source.push_str("];\n");
    fs::write(folder("OUT_DIR").join("files.rs"), source)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
