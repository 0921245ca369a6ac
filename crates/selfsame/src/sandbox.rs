//! The cage of the two processes that meet pictures from outside: verifier and matcher. A picture that takes one of them
//! over finds no files but the model pack and the run folder, no network but the way to the payment server (verifier) or
//! none at all (matcher), and cannot start programs, look into other processes or load anything into the kernel.
//!
//! Landlock keeps files and TCP, seccomp keeps system calls; both come with the kernel and need no rights. Where a kernel
//! has less, what it has is used, and the log says so. Entered before the first thread starts, so that all inherit it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use selfsame_terminal::device::DeviceIdentity;
use serde::Serialize;

use crate::models::models_folder;
use crate::site::{CameraSourceKind, Site};

/// What of Landlock is asked for: files (Linux 5.13 and later) and TCP (6.7). Older kernels give less.
const LANDLOCK: ABI = ABI::V5;

/// What name look-ups and the C library read.
const SYSTEM_FILES: [&str; 10] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/lib",
    "/lib",
    "/lib64",
];

/// What threads and the allocator look at.
const KERNEL_FILES: [&str; 5] =
    ["/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom"];

/// System calls that neither process has any use for.
const REFUSED_CALLS: [libc::c_long; 27] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_personality,
    libc::SYS_open_by_handle_at,
];

/// Whose cage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The verification program.
    Verifier,
    /// The matcher.
    Matcher,
}

/// How much of the cage this kernel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// All of it.
    Full,
    /// Some of it: an older kernel.
    Partial,
    /// Nothing.
    None,
}

/// What was entered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sandbox {
    /// Files and TCP.
    pub landlock: Strength,
    /// System calls.
    pub seccomp: Strength,
}

static ENTERED: OnceLock<Sandbox> = OnceLock::new();

/// What a role may use.
#[derive(Default)]
struct Allowed {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    connect: Vec<u16>,
    bind: Vec<u16>,
}

impl Allowed {
    fn of(role: Role, site: &Site) -> anyhow::Result<Self> {
        let settings = site.settings()?;
        let folder = site.folder();
        let mut allowed = Self::default();
        allowed.read.extend(SYSTEM_FILES.iter().chain(&KERNEL_FILES).map(PathBuf::from));
        allowed.read.extend([folder.join("selfsame.toml"), models_folder(site, &settings)]);
        // The runtime that the feature `ort` loads.
        allowed.read.extend(std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
        allowed.write.push(folder.join("run"));
        match role {
            Role::Matcher => allowed.read.push(folder.join("secrets")),
            Role::Verifier => {
                let identity = DeviceIdentity::load(&site.device())?;
                let device =
                    identity.files().context("failed to make the files beside the device identity")?;
                allowed.read.extend(device.read);
                allowed.write.extend(device.write);
                allowed.write.extend(settings.identity.pkcs11_paths);
                allowed.read.extend(settings.capture.path);
                allowed.read.extend(settings.camera.path);
                if settings.camera.source == CameraSourceKind::V4l2 {
                    // Of a device file this includes its own commands (ioctl) and mapping its memory.
                    allowed.write.push(settings.camera.device);
                }
                allowed.connect.push(port_of(&identity.server)?);
                allowed.bind.extend(settings.camera.listen.map(|address| address.port()));
            }
        }
        Ok(allowed)
    }
}

/// The port of `http://host:port`.
fn port_of(url: &str) -> anyhow::Result<u16> {
    let (scheme, rest) = url.split_once("://").context("the server's address has no scheme")?;
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some((_, port)) => port.parse().with_context(|| format!("`{port}` is no port")),
        None => Ok(if scheme == "https" { 443 } else { 80 }),
    }
}

/// Puts this process, and every thread that it starts from now on, into the cage of a role.
pub fn enter(role: Role, site: &Site) -> anyhow::Result<Sandbox> {
    let allowed = Allowed::of(role, site)?;
    // Made here, because nothing outside of it can be made inside.
    site.create_run_folder()?;
    let landlock = restrict_files(&allowed).context("failed to restrict files and network")?;
    let seccomp = match refuse_calls() {
        Ok(()) => Strength::Full,
        Err(error) => {
            tracing::warn!(%error, "system calls are not restricted");
            Strength::None
        }
    };
    Ok(*ENTERED.get_or_init(|| Sandbox { landlock, seccomp }))
}

/// What this process has entered.
pub fn entered() -> Option<Sandbox> {
    ENTERED.get().copied()
}

/// Writes to the log what protects this process.
pub fn tell() {
    match ENTERED.get() {
        Some(Sandbox { landlock: Strength::Full, seccomp: Strength::Full }) => {
            tracing::info!("this process is in its sandbox: files, network and system calls are restricted");
        }
        Some(sandbox) => tracing::warn!(
            landlock = ?sandbox.landlock,
            seccomp = ?sandbox.seccomp,
            "this kernel gives only a part of the sandbox"
        ),
        None => tracing::warn!("this process runs without a sandbox"),
    }
}

fn restrict_files(allowed: &Allowed) -> anyhow::Result<Strength> {
    let (read, all) = (AccessFs::from_read(LANDLOCK) & !AccessFs::Execute, AccessFs::from_all(LANDLOCK));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .create()?;
    let writable = all & !AccessFs::Execute;
    let paths =
        allowed.read.iter().map(|path| (path, read)).chain(allowed.write.iter().map(|path| (path, writable)));
    for (path, access) in paths {
        // What does not exist needs no permission.
        let Ok(opened) = PathFd::new(path) else { continue };
        let of_files = AccessFs::from_file(LANDLOCK);
        let access =
            if fs::metadata(path).is_ok_and(|found| found.is_dir()) { access } else { access & of_files };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    for port in &allowed.connect {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for port in &allowed.bind {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Strength::Full,
        RulesetStatus::PartiallyEnforced => Strength::Partial,
        RulesetStatus::NotEnforced => Strength::None,
    })
}

fn refuse_calls() -> anyhow::Result<()> {
    let refused: BTreeMap<i64, Vec<_>> = REFUSED_CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().context("seccomp does not know this processor")?;
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refuse, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

/// The camera's file, if the settings say that the verification program opens one.
fn own_camera(site: &Site) -> Option<PathBuf> {
    let camera = site.settings().ok()?.camera;
    (camera.source == CameraSourceKind::V4l2).then_some(camera.device)
}

/// Whether a device file can be opened, and a command (ioctl) reaches its driver, which does not know this one.
fn takes_commands(device: &Path) -> bool {
    let opened = fs::OpenOptions::new().read(true).write(true).open(device);
    opened.is_ok_and(|file| rustix::termios::tcgetattr(file).err() == Some(rustix::io::Errno::NOTTY))
}

/// What a process in the cage can and cannot do, tried out.
#[derive(Debug, Serialize)]
pub struct Attempt {
    /// In words.
    pub what: &'static str,
    /// Whether it must work.
    pub allowed: bool,
    /// Whether it did.
    pub worked: bool,
}

/// Tries what must work in a cage and what must not. `listener` is a port of this machine that somebody listens on.
pub fn try_out(role: Role, site: &Site, listener: u16) -> Vec<Attempt> {
    let connects = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let writes = |path: &Path| {
        let written = fs::write(path, b"").is_ok();
        let _ = fs::remove_file(path);
        written
    };
    let attempt = |what, allowed, worked| Attempt { what, allowed, worked };
    let mut attempts = vec![
        attempt("reading the settings", true, fs::read(site.folder().join("selfsame.toml")).is_ok()),
        attempt("writing into the run folder", true, writes(&site.run("sandbox-probe"))),
        attempt("reading the site's database", false, fs::read(site.site_database()).is_ok()),
        attempt("reading a file of the system", false, fs::read("/etc/passwd").is_ok()),
        attempt("writing into the site's data", false, writes(&site.folder().join("data/sandbox-probe"))),
        attempt(
            "writing a temporary file",
            false,
            writes(&std::env::temp_dir().join("selfsame-sandbox-probe")),
        ),
        attempt("connecting to another port", false, connects(listener)),
        attempt("listening on a port", false, std::net::TcpListener::bind("127.0.0.1:0").is_ok()),
        attempt("starting a program", false, std::process::Command::new("/bin/true").status().is_ok()),
    ];
    if let Some(device) = own_camera(site).filter(|device| role == Role::Verifier && device.exists()) {
        attempts.push(attempt("using the camera's file", true, takes_commands(&device)));
    }
    let secrets = fs::read_dir(site.folder().join("secrets")).is_ok();
    attempts.push(attempt("reading the site's secrets", role == Role::Matcher, secrets));
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_port_is_read_from_its_address() {
        assert_eq!(port_of("http://127.0.0.1:8700").unwrap(), 8700);
        assert_eq!(port_of("https://pay.example/base").unwrap(), 443);
        assert_eq!(port_of("http://[::1]:81/").unwrap(), 81);
        assert!(port_of("pay.example:80").is_err());
        assert!(port_of("http://pay.example:99999").is_err());
    }
}
