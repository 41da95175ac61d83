//! Debian's Rust compiler with core for BPF, unpacked into a folder of its own: nothing is installed system-wide.
//!
//! The packages are those that Debian builds its browsers with (`rustc-web`), which is why they are recent. Which
//! versions go together is asked of apt rather than written down here.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::tools::tools_folder;

const COMPILER: &str = "rustc-web";
const CORE_FOR_BPF: &str = "libstd-rust-web-dev-bpf";
const CORE_FOR_HOST: &str = "libstd-rust-web-dev";
/// Starts of the names of packages that carry a version in theirs.
const DRIVER_PREFIX: &str = "libstd-rust-web-";
const LLVM_PREFIX: &str = "libllvm";

const FOLDER_PREFIX: &str = "debian-rustc-";
/// Written last into a folder: what it holds, and that it is whole.
const IDENTITY_FILE: &str = "identity";

/// The compiler's packages in the versions that apt would install.
pub(super) struct Packages {
    compiler_version: String,
    llvm: String,
    llvm_version: String,
    /// `libstd-rust-web-1.xx`: the compiler itself, as a library.
    driver: String,
}

/// What apt would install; `None` where there is no apt, or no such compiler.
pub(super) fn candidate() -> Result<Option<Packages>> {
    if Command::new("apt-cache").arg("--version").output().is_err() {
        return Ok(None);
    }
    if candidate_version(CORE_FOR_BPF)?.is_none() {
        // A fresh machine has no package lists. Only root can fetch them; anyone else gets the final answer below.
        let _ = command::output(Command::new("apt-get").arg("update"));
    }
    let (Some(compiler_version), Some(core_version)) = (candidate_version(COMPILER)?, candidate_version(CORE_FOR_BPF)?)
    else {
        return Ok(None);
    };
    ensure!(
        compiler_version == core_version,
        "Debian's {COMPILER} ({compiler_version}) and {CORE_FOR_BPF} ({core_version}) do not match: run `apt-get update`"
    );
    let driver = dependency(CORE_FOR_HOST, DRIVER_PREFIX)?;
    let llvm = dependency(&driver, LLVM_PREFIX)?;
    let llvm_version = candidate_version(&llvm)?.with_context(|| format!("apt knows no version of {llvm}"))?;
    Ok(Some(Packages {
        compiler_version,
        llvm,
        llvm_version,
        driver,
    }))
}

/// The compilers unpacked earlier, with their identities. Older ones are still good for checking what they built.
pub(super) fn installed() -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(tools_folder()?) else {
        return Ok(found);
    };
    for entry in entries {
        let folder = entry?.path();
        if let Ok(identity) = fs::read_to_string(folder.join(IDENTITY_FILE)) {
            found.push((identity, folder));
        }
    }
    Ok(found)
}

impl Packages {
    /// Compiler and LLVM, exactly: another revision of either may make other code.
    pub(super) fn identity(&self) -> String {
        let Self {
            compiler_version,
            llvm,
            llvm_version,
            ..
        } = self;
        format!("Debian {COMPILER} {compiler_version}, {llvm} {llvm_version}")
    }

    /// Fetches and unpacks the packages unless that was done before; returns the compiler's folder.
    pub(super) fn install(&self) -> Result<PathBuf> {
        let tools = tools_folder()?;
        let name = format!(
            "{FOLDER_PREFIX}{}-{}-{}",
            self.compiler_version, self.llvm, self.llvm_version
        );
        // Colons separate entries of search paths, and the compiler's folder becomes part of one.
        let folder = tools.join(name.replace(':', "-"));
        if folder.join(IDENTITY_FILE).exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&tools).with_context(|| format!("creating {}", tools.display()))?;
        let scratch = tempfile::tempdir_in(&tools).context("creating a folder to unpack packages in")?;
        self.download(scratch.path())?;
        let laid_out = lay_out(scratch.path())?;
        fs::write(laid_out.join(IDENTITY_FILE), self.identity())?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&laid_out, &folder).with_context(|| format!("moving the compiler to {}", folder.display()))?;
        Ok(folder)
    }

    fn download(&self, folder: &Path) -> Result<()> {
        let mut packages = vec![
            format!("{COMPILER}={}", self.compiler_version),
            format!("{CORE_FOR_BPF}={}", self.compiler_version),
            format!("{CORE_FOR_HOST}={}", self.compiler_version),
            format!("{}={}", self.driver, self.compiler_version),
            format!("{}={}", self.llvm, self.llvm_version),
        ];
        packages.extend(missing_libraries(&self.llvm)?);
        println!("fetching {}", packages.join(" "));
        command::output(
            Command::new("apt-get")
                .arg("download")
                .args(&packages)
                .current_dir(folder),
        )
        .context("fetching Debian's Rust compiler")?;
        Ok(())
    }
}

/// The libraries that a package needs and that this machine lacks.
fn missing_libraries(package: &str) -> Result<Vec<String>> {
    let listing = command::output(Command::new("apt-cache").args(["depends", "--recurse", "--important", package]))?;
    let installed = command::output(Command::new("dpkg-query").args(["--show", "--showformat=${Package}\n"]))?;
    let installed: HashSet<_> = installed.lines().collect();
    Ok(listing
        .lines()
        .filter(|line| !line.starts_with([' ', '<', '|']))
        .filter(|name| *name != package && !installed.contains(name))
        .map(str::to_owned)
        .collect())
}

/// Unpacks every package in `folder` and makes of them what rustc takes for its home: `bin/rustc`, `lib/*.so`,
/// `lib/rustlib`.
fn lay_out(folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("unpacked");
    let laid_out = folder.join("toolchain");
    for entry in fs::read_dir(folder)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            command::output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
        }
    }
    fs::create_dir_all(laid_out.join("bin"))?;
    fs::create_dir_all(laid_out.join("lib"))?;
    fs::rename(unpacked.join("usr/bin/rustc"), laid_out.join("bin/rustc"))?;
    fs::rename(unpacked.join("usr/lib/rustlib"), laid_out.join("lib/rustlib"))?;
    for libraries in [unpacked.join("lib"), unpacked.join("usr/lib")] {
        move_libraries(&libraries, &laid_out.join("lib"))?;
    }
    Ok(laid_out)
}

/// Moves the shared libraries of `folder`'s machine-specific folders (`x86_64-linux-gnu`).
fn move_libraries(folder: &Path, to: &Path) -> Result<()> {
    let Ok(machines) = fs::read_dir(folder) else {
        return Ok(());
    };
    for machine in machines {
        let machine = machine?.path();
        if !machine.is_dir() {
            continue;
        }
        for entry in fs::read_dir(machine)? {
            let library = entry?.path();
            let name = library.file_name().context("a library has no name")?;
            if name.to_string_lossy().contains(".so") {
                fs::rename(&library, to.join(name))?;
            }
        }
    }
    Ok(())
}

fn candidate_version(package: &str) -> Result<Option<String>> {
    let policy = command::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?;
    Ok(policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned))
}

/// The one package that `package` depends on and whose name starts so.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let depends = command::output(Command::new("apt-cache").args(["depends", package]).env("LC_ALL", "C"))?;
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("Debian's {package} depends on no {prefix}…"))
}
