//! Compiles the eBPF binaries with cargo, in a folder of their own, with nothing of this machine left in them.

use crate::{Kind, Toolchain, environment};
use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

const TARGET: &str = "bpfel-unknown-none";
/// BTF names the tables' fields for bpftool. The x86 and arm64 kernels read packets at any alignment, which the compiler
/// must be told, or it loads every header byte by byte. Version 3 of the instruction set (Linux 5.1) has 32-bit
/// arithmetic and jumps.
const FLAGS: [&str; 4] =
    ["-Clink-arg=--btf", "-Cdebuginfo=2", "-Ctarget-cpu=v3", "-Ctarget-feature=+allows-misaligned-mem-access"];
const WRAPPER: &str = include_str!("stable-metadata.sh");

/// What to compile, and where.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The folder of the eBPF crate's manifest.
    pub manifest_dir: PathBuf,
    /// The folder that holds everything the crate is made of; its name is kept out of the object.
    pub workspace_root: PathBuf,
    /// A target folder that no outer cargo has locked.
    pub target_dir: PathBuf,
    /// Where the objects are put, each as `<binary>.o`.
    pub out_dir: PathBuf,
    /// The binaries of the crate.
    pub bins: Vec<String>,
}

/// An object that was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltObject {
    /// The binary's name.
    pub name: String,
    /// The ELF file.
    pub path: PathBuf,
}

/// Why there is no object.
#[derive(Debug)]
pub enum BuildError {
    /// A file or folder could not be used.
    File(PathBuf, io::Error),
    /// Cargo could not be started.
    Start(PathBuf, io::Error),
    /// Cargo ran, said why on stderr, and ended like this.
    Cargo(ExitStatus),
}

impl fmt::Display for BuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(out, "cannot use {}: {error}", path.display()),
            Self::Start(cargo, error) => write!(out, "cannot start {}: {error}", cargo.display()),
            Self::Cargo(status) => write!(out, "the eBPF program does not compile (cargo ended with {status})"),
        }
    }
}

impl std::error::Error for BuildError {}

impl Toolchain {
    /// Compiles the binaries of an eBPF crate.
    ///
    /// Builds that share a target folder wait for each other, and each copies its objects out before
    /// the next may replace them.
    ///
    /// # Errors
    /// When cargo fails (its own words are on stderr) or a folder cannot be written.
    pub fn build(&self, request: &BuildRequest) -> Result<Vec<BuiltObject>, BuildError> {
        for folder in [&request.target_dir, &request.out_dir] {
            fs::create_dir_all(folder).map_err(|error| BuildError::File(folder.clone(), error))?;
        }
        let lock_path = request.target_dir.join(".build-lock");
        let lock = fs::File::create(&lock_path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| BuildError::File(lock_path, error))?;
        let wrapper = write_wrapper(&request.target_dir)?;
        let mut command = self.command(request, &wrapper);
        let status =
            command.status().map_err(|error| BuildError::Start(PathBuf::from(command.get_program()), error))?;
        if !status.success() {
            return Err(BuildError::Cargo(status));
        }
        let objects = request.bins.iter().map(|name| copy_object(request, name)).collect();
        drop(lock);
        objects
    }

    fn command(&self, request: &BuildRequest, wrapper: &Path) -> Command {
        let mut command = Command::new(self.cargo());
        environment::scrub(&mut command);
        command.current_dir(&request.manifest_dir).stdin(Stdio::null()).stdout(Stdio::null());
        command.args(["build", "--release", "-Z", "build-std=core", "--target", TARGET, "--target-dir"]);
        command.arg(&request.target_dir);
        for name in &request.bins {
            command.args(["--bin", name]);
        }
        command.env("RUSTC", &self.compiler.rustc);
        command.env("RUSTC_WRAPPER", wrapper);
        // Set although empty: it also overrides what a cargo configuration file says.
        command.env("RUSTC_WORKSPACE_WRAPPER", "");
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags(request));
        if self.compiler.kind == Kind::Debian {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// A nightly comes with its cargo; Debian's compiler is driven by the cargo that runs us.
    fn cargo(&self) -> PathBuf {
        let beside = self.compiler.rustc.with_file_name("cargo");
        match self.compiler.kind {
            Kind::Nightly if beside.is_file() => beside,
            Kind::Nightly | Kind::Debian => env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
        }
    }

    /// The flags of every crate of the build, separated as cargo wants them.
    fn flags(&self, request: &BuildRequest) -> OsString {
        let mut flags: Vec<OsString> = FLAGS.map(OsString::from).to_vec();
        flags.push(format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH).into());
        flags.push(join("-Clinker=", &self.linker.program, ""));
        // The last prefix that fits wins, so the target folder inside the workspace comes after it.
        flags.push(join("--remap-path-prefix=", &cargo_home().join("registry/src"), "=/registry"));
        for folder in self.source_folders() {
            flags.push(join("--remap-path-prefix=", &folder, "=/rust"));
        }
        flags.push(join("--remap-path-prefix=", &request.workspace_root, "=/dispatcher"));
        flags.push(join("--remap-path-prefix=", &request.target_dir, "=/target"));
        flags.join("\u{1f}".as_ref())
    }
}

fn join(before: &str, path: &Path, after: &str) -> OsString {
    let mut joined = OsString::from(before);
    joined.push(path);
    joined.push(after);
    joined
}

fn cargo_home() -> PathBuf {
    crate::Places::from_env().cargo_home
}

/// Writes the wrapper only when it differs: a file that is open for writing cannot be executed by a neighbour.
fn write_wrapper(folder: &Path) -> Result<PathBuf, BuildError> {
    let path = folder.join("stable-metadata.sh");
    let write = || {
        if fs::read_to_string(&path).is_ok_and(|content| content == WRAPPER) {
            return Ok(());
        }
        fs::write(&path, WRAPPER)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| BuildError::File(path.clone(), error))?;
    Ok(path)
}

fn copy_object(request: &BuildRequest, name: &str) -> Result<BuiltObject, BuildError> {
    let built = request.target_dir.join(TARGET).join("release").join(name);
    let path = request.out_dir.join(format!("{name}.o"));
    fs::copy(&built, &path).map_err(|error| BuildError::File(built, error))?;
    Ok(BuiltObject { name: name.to_owned(), path })
}
