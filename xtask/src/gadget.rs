//! `cargo xtask gadget`: the registers that type and write, on a real kernel's USB gadget, and the camera that is opened
//! without a browser, in an emulated machine.
//!
//! No kernel of a developer's machine or of CI has a USB device controller. Debian's has an emulated one, `dummy_hcd`,
//! whose host side is the same kernel: what the terminal writes into `/dev/hidg0` comes out as key presses of a USB
//! keyboard. Its camera is `vivid`, which shows a test picture. QEMU runs it by emulating the processor (never KVM: a guest
//! that hangs in the hypervisor looks like a defect of ours). The checks are `crates/terminal/examples/gadget_guest`; what
//! is fetched and built lies in target/gadget and is used again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::step::{Steps, answers, cargo, command, root};

/// Everything that is fetched and built. Delete it to begin anew.
const FOLDER: &str = "target/gadget";

/// The guest's first process.
const INIT: &str = "xtask/gadget/init.sh";

/// The guest's checks: an example of this package.
const PACKAGE: &str = "selfsame-terminal";
const GUEST: &str = "gadget_guest";
const FEATURES: &str = "v4l2";

/// Naming the target keeps `+crt-static` away from build scripts and procedural macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Debian's package that depends on the present kernel.
const KERNEL: &str = "linux-image-amd64";

/// What the guest needs of the kernel beyond what is built in; `modprobe` knows what these need.
const MODULES: &[&str] = &[
    "configfs",
    "dummy_hcd",
    "libcomposite",
    "usb_f_hid",
    "usb_f_acm",
    "usbhid",
    "hid_generic",
    "cdc_acm",
    "evdev",
    "uinput",
    "vivid",
];

/// Programs, and the Debian packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("cpio", "cpio"),
    ("gzip", "gzip"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// Longest time without a line from the guest, which boots in seconds and tells every step; a loaded machine is slow.
const SILENCE_MAX: Duration = Duration::from_secs(180);

/// The guest's memory.
const MEMORY_MIB: &str = "512";

/// Fetches, builds, boots, and prints what was checked. Fails if a check does.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let setup = match arguments {
        [] => false,
        ["--setup"] => true,
        other => bail!("`gadget` has no argument `{}`: see `cargo xtask help`", other.join(" ")),
    };
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("`gadget` boots a kernel of Debian for x86-64, from Debian or one of its kin on x86-64");
    }
    let mut steps = Steps::default();
    let result = run_steps(setup, &mut steps);
    steps.print_table();
    result
}

fn run_steps(setup: bool, steps: &mut Steps) -> Result<()> {
    find_programs(setup, steps)?;
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {FOLDER}"))?;
    let kernel = kernel(&folder, steps)?;
    let guest = build_guest(steps)?;
    let initramfs = initramfs(&folder, &kernel, &guest, steps)?;
    println!("==> boot: {} in QEMU, every instruction emulated", kernel.version);
    let started = Instant::now();
    let report = boot(&kernel.image, &initramfs)?;
    println!("<== boot: {:.1} s\n", started.elapsed().as_secs_f64());
    report.print();
    report.verdict()
}

/// `modprobe` and its kin lie where only root's path leads.
fn system(program: &str) -> Command {
    let mut command = command(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn find_programs(setup: bool, steps: &mut Steps) -> Result<()> {
    let is_there = |program: &str| {
        let flag = if program == "busybox" { "--help" } else { "--version" };
        answers(system(program), flag)
    };
    let missing = || -> BTreeSet<&str> {
        let missing = PROGRAMS.iter().filter(|(program, _)| !is_there(program));
        missing.map(|(_, package)| *package).collect()
    };
    let mut packages = missing();
    if setup && !packages.is_empty() {
        crate::test::install_packages(steps, &packages.iter().copied().collect::<Vec<_>>())?;
        packages = missing();
    }
    if !packages.is_empty() {
        let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
        bail!("programs are missing: `cargo xtask gadget --setup`, or `sudo apt-get install {packages}`");
    }
    Ok(())
}

/// A kernel with its modules, unpacked and not installed.
struct Kernel {
    version: String,
    image: PathBuf,
    /// The folder in which `lib/modules` lies.
    modules: PathBuf,
}

impl Kernel {
    fn unpacked(folder: &Path) -> Option<Self> {
        let entries = fs::read_dir(folder.join("boot")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let version = names.filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned())).max()?;
        let image = folder.join("boot").join(format!("vmlinuz-{version}"));
        Some(Self { version, image, modules: folder.to_owned() })
    }
}

/// Debian's kernel: the one that was unpacked before, else the present one.
fn kernel(folder: &Path, steps: &mut Steps) -> Result<Kernel> {
    let unpacked = folder.join("kernel");
    if let Some(kernel) = Kernel::unpacked(&unpacked) {
        return Ok(kernel);
    }
    let archive = match archive(folder) {
        Some(archive) => archive,
        None => {
            fetch(folder, steps).with_context(|| {
                format!(
                    "Debian's kernel could not be fetched. With a network: `sudo apt-get update`, and again. Without: \
                     put the file linux-image-6.*-amd64_*.deb of any Debian into {FOLDER}"
                )
            })?;
            archive(folder).context("apt-get fetched no kernel")?
        }
    };
    // Into another folder first, so that half a kernel is never taken for one.
    let half = folder.join("kernel.half");
    let _ = fs::remove_dir_all(&half);
    steps.run("unpack the kernel", system("dpkg-deb").arg("-x").arg(&archive).arg(&half))?;
    let kernel = Kernel::unpacked(&half).context("the package has no /boot/vmlinuz-*")?;
    steps.run("list its modules", system("depmod").arg("-b").arg(&half).arg(&kernel.version))?;
    fs::rename(&half, &unpacked).context("failed to put the kernel in its place")?;
    Kernel::unpacked(&unpacked).context("the kernel that was just unpacked is gone")
}

/// A kernel's package that lies in the folder.
fn archive(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let is_kernel = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("linux-image-") && name.ends_with(".deb")
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_kernel).max()
}

fn fetch(folder: &Path, steps: &mut Steps) -> Result<()> {
    let listed =
        command("apt-cache").args(["depends", KERNEL]).output().context("failed to start apt-cache")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let package = listed.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let package = package.with_context(|| format!("apt knows no package {KERNEL}"))?;
    let package = format!("linux-image-{package}");
    println!("{package} is fetched, about 70 MB; it is not installed.");
    steps.run("fetch the kernel", system("apt-get").args(["download", &package]).current_dir(folder))
}

/// The checks as one static executable: there is no library in the guest.
fn build_guest(steps: &mut Steps) -> Result<PathBuf> {
    let mut build = cargo();
    build.args([
        "build",
        "--package",
        PACKAGE,
        "--example",
        GUEST,
        "--features",
        FEATURES,
        "--target",
        TARGET,
    ]);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    steps.run("build the checks, static", &mut build)?;
    // Cargo's target folder, wherever it is: we lie in <target>/<profile>.
    let ours = std::env::current_exe().context("failed to find our own executable")?;
    let target = ours.ancestors().nth(2).context("cargo's target folder has no parent")?;
    Ok(target.join(TARGET).join("debug/examples").join(GUEST))
}

/// Files of the modules in the order in which they go in.
fn modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for module in MODULES {
        let mut modprobe = system("modprobe");
        modprobe.arg("-S").arg(&kernel.version).arg("-d").arg(&kernel.modules);
        let listed =
            modprobe.args(["--show-depends", module]).output().context("failed to start modprobe")?;
        if !listed.status.success() {
            let complaint = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
            bail!("the kernel {} has no module {module}: {complaint}", kernel.version);
        }
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        // `insmod FILE PARAMETERS`, or `builtin NAME`.
        let named = listed.lines().filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next());
        for file in named.map(PathBuf::from) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The guest's whole file system: busybox, the modules, the checks.
fn initramfs(folder: &Path, kernel: &Kernel, guest: &Path, steps: &mut Steps) -> Result<PathBuf> {
    let tree = folder.join("initramfs");
    let _ = fs::remove_dir_all(&tree);
    for below in ["bin", "dev", "proc", "sys", "modules"] {
        fs::create_dir_all(tree.join(below)).context("failed to make the guest's folders")?;
    }
    let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("busybox"))
        .find(|file| file.is_file())
        .context("busybox answers and is in no folder of PATH")?;
    let copy = |from: &Path, to: &str| {
        fs::copy(from, tree.join(to)).with_context(|| format!("failed to copy `{}`", from.display()))
    };
    copy(&busybox, "bin/busybox")?;
    copy(guest, "guest")?;
    copy(&root().join(INIT), "init")?;
    steps.run("make init a program", command("chmod").arg("755").arg(tree.join("init")))?;
    let mut order = String::new();
    for file in modules(kernel)? {
        let name = file.file_name().context("a module is a file")?.to_string_lossy().into_owned();
        copy(&file, &format!("modules/{name}"))?;
        order.push_str(&name);
        order.push('\n');
    }
    fs::write(tree.join("modules/order"), order).context("failed to write the order of the modules")?;
    let image = folder.join("initramfs.gz");
    let pack = "find . | cpio --quiet --create --format=newc --owner=0:0 | gzip -1 > ../initramfs.gz";
    steps.run("pack the guest", command("sh").args(["-ec", pack]).current_dir(&tree))?;
    Ok(image)
}

/// One check as the guest told it.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    name: String,
    passed: bool,
    detail: String,
}

/// What the guest told, line by line.
#[derive(Debug, Default)]
struct Report {
    checks: Vec<Check>,
    exit: Option<String>,
    /// The last lines of the console, for a guest that comes to no end.
    tail: Vec<String>,
}

impl Report {
    /// Lines of the console that are kept.
    const TAIL_LINES: usize = 20;

    /// Takes a line of the console; answers what a person should see of it.
    fn take(&mut self, line: &str) -> Option<String> {
        let line = line.trim_end();
        if self.tail.len() == Self::TAIL_LINES {
            self.tail.remove(0);
        }
        self.tail.push(line.to_owned());
        // The kernel may have begun the line with something of its own.
        let (_, told) = line.split_once('@')?;
        let (kind, rest) = told.split_once(' ')?;
        match kind {
            "step" => Some(rest.to_owned()),
            "pass" | "fail" => {
                let (name, detail) = rest.split_once(" | ").unwrap_or((rest, ""));
                let check =
                    Check { name: name.to_owned(), passed: kind == "pass", detail: detail.to_owned() };
                let seen = format!("{} {name}", if check.passed { "passed" } else { "FAILED" });
                self.checks.push(check);
                Some(seen)
            }
            "exit" => {
                self.exit = Some(rest.to_owned());
                None
            }
            _ => None,
        }
    }

    fn print(&self) {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
        println!("{:width$}  result  found", "check");
        for Check { name, passed, detail } in &self.checks {
            println!("{name:width$}  {}  {detail}", if *passed { "passed" } else { "FAILED" });
        }
    }

    fn verdict(&self) -> Result<()> {
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        match self.exit.as_deref() {
            Some("0") if failed == 0 && !self.checks.is_empty() => {
                println!("\nall {} checks passed", self.checks.len());
                Ok(())
            }
            Some(exit) => {
                bail!("{failed} of {} checks failed; the guest ended with {exit}", self.checks.len())
            }
            None => bail!("the guest came to no end; its last lines:\n{}", self.tail.join("\n")),
        }
    }
}

/// Ends QEMU however we end.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot(kernel: &Path, initramfs: &Path) -> Result<Report> {
    let mut qemu = system("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", MEMORY_MIB, "-no-reboot", "-nic", "none"]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 loglevel=4 panic=1"]);
    let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("failed to start QEMU")?;
    let mut machine = Machine(qemu);
    let console = machine.0.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let started = Instant::now();
    let mut report = Report::default();
    loop {
        match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => {
                if let Some(seen) = report.take(&line) {
                    println!("    {:5.1} s  {seen}", started.elapsed().as_secs_f64());
                }
            }
            // The guest has switched itself off, or died.
            Err(RecvTimeoutError::Disconnected) => return Ok(report),
            Err(RecvTimeoutError::Timeout) => {
                println!("the guest has said nothing for {} s and is stopped", SILENCE_MAX.as_secs());
                return Ok(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(console: &[&str]) -> Report {
        let mut report = Report::default();
        for line in console {
            report.take(line);
        }
        report
    }

    #[test]
    fn the_table_is_read_from_the_console_between_lines_of_the_kernel() {
        let report = report(&[
            "[    0.000000] Linux version\r",
            "@step making the gadget\r",
            "[    5.1] usb 1-1: new device@pass row, CR | 19 keys in 160 ms\r",
            "@pass serial | 20 bytes\r",
            "@exit 0\r",
        ]);
        let check = |name: &str, detail: &str| Check {
            name: name.to_owned(),
            passed: true,
            detail: detail.to_owned(),
        };
        assert_eq!(report.checks, [check("row, CR", "19 keys in 160 ms"), check("serial", "20 bytes")]);
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn a_failed_check_a_guest_without_checks_and_one_without_an_end_fail() {
        assert!(report(&["@pass a | b", "@fail c | d", "@exit 1"]).verdict().is_err());
        assert!(report(&["@pass a | b", "@fail c | d", "@exit 0"]).verdict().is_err());
        assert!(report(&["@pass a | b", "@exit 101"]).verdict().is_err());
        assert!(report(&["@exit 0"]).verdict().is_err());
        let endless = report(&["@pass a | b", "Kernel panic - not syncing"]).verdict();
        assert!(endless.unwrap_err().to_string().contains("Kernel panic"));
    }
}
