//! `cargo xtask models`: the face model packs, made from the files that their authors published.
//!
//! Python does the work (`xtask/models`), because the checks need onnxruntime; this module finds it, gives it its
//! packages and says what is missing. Weights are never committed: see docs/models.md.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step::{Steps, answers, command, root};

/// The program and the data that it goes by.
const SCRIPTS: &str = "xtask/models";

/// Manifests of the packs: which files they have, with size and hash.
const MANIFESTS: &str = "crates/biometrics/packs";

/// Where the Python packages go. Delete it to begin anew.
const VENV: &str = "target/models-venv";

/// Where the packs go, unless told otherwise.
const OUT: &str = "target/models";

/// Where a developer's checkout finds upstream files, relative to it: those that are converted, then those that are
/// taken unchanged.
const UPSTREAM: [&str; 3] = [
    "../shared/models/face-default/upstream",
    "../shared/models/face-default",
    "../shared/models/face-mobilefacenet",
];

/// What the caller wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options<'a> {
    upstream: Vec<&'a str>,
    out: Option<&'a str>,
    packs: Vec<&'a str>,
    setup: bool,
    write_reference: bool,
}

fn parse<'a>(arguments: &[&'a str]) -> Result<Options<'a>> {
    let mut options = Options::default();
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{argument}` needs a value behind it"));
        match argument {
            "--upstream" => options.upstream.push(value()?),
            "--out" => options.out = Some(value()?),
            "--pack" => options.packs.push(value()?),
            "--setup" => options.setup = true,
            "--write-reference" => options.write_reference = true,
            other => bail!("`models` has no argument `{other}`: see `cargo xtask help`"),
        }
    }
    Ok(options)
}

/// Folders in which upstream files are looked for, those of the caller first.
fn folders(options: &Options) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for folder in &options.upstream {
        let path = std::path::absolute(folder).with_context(|| format!("`{folder}` is no path"))?;
        if !path.is_dir() {
            bail!(
                "the folder `{folder}` does not exist: put the upstream files of {SCRIPTS}/sources.toml there"
            );
        }
        folders.push(path);
    }
    folders.extend(UPSTREAM.iter().map(|folder| root().join(folder)).filter(|folder| folder.is_dir()));
    if folders.is_empty() {
        bail!(
            "there are no upstream files: fetch those of {SCRIPTS}/sources.toml into a folder and name it with \
             `--upstream`"
        );
    }
    Ok(folders)
}

/// Makes the packs.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = parse(arguments)?;
    let mut steps = Steps::default();
    if options.setup {
        install(&mut steps)?;
    }
    let folders = folders(&options)?;
    let out = match options.out {
        Some(out) => std::path::absolute(out).with_context(|| format!("`{out}` is no path"))?,
        None => root().join(OUT),
    };
    let python = root().join(VENV).join("bin/python");
    if !python.is_file() {
        bail!(
            "the Python packages are not installed: `cargo xtask models --setup` does it, which needs network once"
        );
    }
    let mut rebuild = script(&python);
    rebuild.arg(format!("{SCRIPTS}/rebuild.py"));
    folders.iter().for_each(|folder| {
        rebuild.arg("--upstream").arg(folder);
    });
    rebuild.arg("--out").arg(out).args(["--manifests", MANIFESTS]);
    options.packs.iter().for_each(|pack| {
        rebuild.args(["--pack", pack]);
    });
    if options.write_reference {
        rebuild.arg("--write-reference");
    }
    steps.run("models", &mut rebuild)
}

/// A Python that leaves no compiled files in the checkout and takes no modules from elsewhere.
fn script(python: &Path) -> Command {
    let mut command = command(&python.to_string_lossy());
    command.arg("-B").env_remove("PYTHONPATH").env_remove("PYTHONHOME").env("PYTHONUTF8", "1");
    command
}

/// The Python of the machine: `PYTHON`, else `python3`.
fn system_python() -> PathBuf {
    PathBuf::from(std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

/// Whether a Python is there and new enough (3.11, for TOML).
fn is_new_enough(python: &Path) -> bool {
    let mut question = script(python);
    question.arg("-c");
    answers(question, "import sys; sys.exit(sys.version_info < (3, 11))")
}

/// Installs the pinned packages into a folder of their own. Nothing happens to what is installed already.
fn install(steps: &mut Steps) -> Result<()> {
    let venv = root().join(VENV);
    let python = venv.join("bin/python");
    let mut pip = script(&python);
    pip.args(["-m", "pip"]);
    if !is_new_enough(&python) || !answers(pip, "--version") {
        let system = system_python();
        if !is_new_enough(&system) {
            bail!(
                "`{}` is missing or older than Python 3.11: install a newer one, or name it in PYTHON",
                system.display()
            );
        }
        let mut make = script(&system);
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        steps.run("set-up: venv", &mut make).context(
            "failed to make a Python environment; on Debian and Ubuntu: `sudo apt-get install python3-venv`",
        )?;
    }
    let pip = |requirements: &str| {
        let mut pip = script(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]);
        pip.arg("--requirement").arg(format!("{SCRIPTS}/{requirements}"));
        pip
    };
    steps.run("set-up: packages", &mut pip("requirements.txt"))?;
    if let Err(error) = steps.run("set-up: OpenVINO", &mut pip("requirements-openvino.txt")) {
        println!("warning: {error:#}; going on without the comparison with the OpenVINO runtime");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Options, is_new_enough, parse, script, system_python};

    #[test]
    fn arguments_are_read_and_unknown_ones_refused() {
        let options = parse(&["--upstream", "a", "--upstream", "b", "--out", "c", "--pack", "d", "--setup"]);
        let expected = Options {
            upstream: vec!["a", "b"],
            out: Some("c"),
            packs: vec!["d"],
            setup: true,
            write_reference: false,
        };
        assert_eq!(options.unwrap(), expected);
        assert_eq!(parse(&[]).unwrap(), Options::default());
        assert!(parse(&["--out"]).unwrap_err().to_string().contains("`--out` needs a value"));
        assert!(parse(&["--download"]).unwrap_err().to_string().contains("`--download`"));
    }

    /// The parts that meet files from elsewhere, with the standard library only: no packages, models or network.
    #[test]
    fn python_refuses_altered_files_and_foreign_names_in_checkpoints() {
        let python = system_python();
        if !is_new_enough(&python) {
            assert!(std::env::var_os("CI").is_none(), "CI needs Python 3.11 for the tests of xtask/models");
            eprintln!("not run: `{}` is missing or older than Python 3.11", python.display());
            return;
        }
        let mut tests = script(&python);
        tests.args(["-W", "error", "-m", "unittest", "discover", "--start-directory", "xtask/models"]);
        let output = tests.output().expect("Python answered a moment ago");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("Ran 0 tests"), "{text}");
    }
}
