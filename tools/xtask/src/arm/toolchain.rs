//! The cross toolchain: rustc and the aarch64 standard library, a linker with its C library, and an emulator.
//!
//! All of it are Debian packages, unpacked side by side into `.cache/arm/tree`; nothing is installed on the host:
//!
//! - `rustc-web` and `libstd-rust-web-dev` of amd64 (for build scripts and procedural macros) and of arm64. Debian
//!   keeps this newer rustc in bookworm-security for its browsers. Cargo is the host's own.
//! - `gcc-aarch64-linux-gnu` as the linker, and `libc6-dev-arm64-cross`.
//! - `qemu-user` of the backports: version 7.2 of plain bookworm runs stale code after a program rewrites its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, host};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Changes whenever the tree's content must be made anew.
const TREE_VERSION: &str = "1";

/// Packages that the host always has in its own, possibly newer, version.
const HOSTS_OWN: [&str; 3] = ["libc6:amd64", "libgcc-s1:amd64", "gcc-12-base:amd64"];

pub enum Toolchain {
    /// An aarch64 host.
    Native,
    /// An x86-64 host; the folder `.cache/arm`.
    Cross(PathBuf),
}

/// Makes the next [`Toolchain::open`] fetch everything again.
pub fn forget() -> Result<()> {
    let dir = host::cache()?.join("arm");
    for name in ["version", "apt/updated"] {
        let _ = fs::remove_file(dir.join(name));
    }
    Ok(())
}

impl Toolchain {
    /// The toolchain, fetched and unpacked (about 200 MB, 850 MB) if the cache has none.
    pub fn open() -> Result<Toolchain> {
        match std::env::consts::ARCH {
            "aarch64" => return Ok(Toolchain::Native),
            "x86_64" => {}
            other => bail!("the cross toolchain runs on x86-64 hosts only, this one is {other}"),
        }
        let dir = host::cache()?.join("arm");
        host::make_dir(&dir)?;
        let _lock = host::lock(&dir)?;
        let version = dir.join("version");
        if fs::read_to_string(&version).ok().as_deref() != Some(TREE_VERSION) {
            make_tree(&dir)?;
            host::write_whole(&version, TREE_VERSION.as_bytes())?;
        }
        write_wrappers(&dir)?;
        Ok(Toolchain::Cross(dir))
    }

    pub fn describe(&self) -> String {
        match self {
            Toolchain::Native => "the host's own toolchain".to_owned(),
            Toolchain::Cross(dir) => format!("{}", dir.display()),
        }
    }

    /// `cargo ACTION` for the target, with its own target folder `target/arm`.
    pub fn cargo(&self, action: &str) -> Result<Command> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(host::repo()?).arg(action);
        if let Toolchain::Cross(dir) = self {
            let bin = dir.join("bin");
            cargo.args(["--target", TARGET]);
            cargo.env("CARGO_TARGET_DIR", target_dir()?);
            cargo.env("RUSTC", bin.join("rustc"));
            cargo.env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                bin.join("aarch64-linux-gnu-gcc"),
            );
            cargo.env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
                bin.join("run"),
            );
            // For C code of dependencies, should there be any (the `cc` crate).
            cargo.env(
                "CC_aarch64_unknown_linux_gnu",
                bin.join("aarch64-linux-gnu-gcc"),
            );
            // A test that starts ferry itself puts this before the command: under the emulator the kernel
            // would refuse the program of another architecture.
            cargo.env("FERRY_RUNNER", bin.join("run"));
            // A test that needs an xtask takes this one: cargo would build it with the toolchain named here.
            cargo.env(
                "FERRY_XTASK",
                std::env::current_exe().context("cannot tell where xtask is")?,
            );
            for variable in ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTC"] {
                cargo.env_remove(variable);
            }
        }
        Ok(cargo)
    }

    /// The release build of ferry, ready to take arguments.
    pub fn ferry(&self) -> Result<Command> {
        let (program, binary) = match self {
            Toolchain::Native => (None, host::repo()?.join("target/release/ferry")),
            Toolchain::Cross(dir) => (
                Some(dir.join("bin/run")),
                target_dir()?.join(TARGET).join("release/ferry"),
            ),
        };
        if !binary.exists() {
            bail!("{} is not built: cargo xtask arm build", binary.display());
        }
        Ok(match program {
            None => Command::new(binary),
            Some(program) => {
                let mut command = Command::new(program);
                command.arg(binary);
                command
            }
        })
    }
}

fn target_dir() -> Result<PathBuf> {
    Ok(host::repo()?.join("target/arm"))
}

fn make_tree(dir: &Path) -> Result<()> {
    let apt = apt::Apt::open(&dir.join("apt"), &["amd64", "arm64"])?;
    let debs = dir.join("debs");
    let _ = fs::remove_dir_all(&debs);
    let mut packages = apt.closure(&[
        "libstd-rust-web-dev",
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
    ])?;
    packages.retain(|package| !HOSTS_OWN.contains(&package.as_str()));
    packages.extend([
        "rustc-web:amd64".to_owned(),
        "libstd-rust-web-dev:arm64".to_owned(),
    ]);
    host::say(&format!(
        "downloading the aarch64 cross toolchain, {} packages (about 200 MB)",
        packages.len()
    ));
    apt.download_all(&debs, &packages, None)?;
    host::say("downloading qemu-user");
    apt.download_all(
        &debs.join("qemu"),
        &["qemu-user:amd64".to_owned()],
        Some(&apt.backports()?),
    )?;

    let part = dir.join("tree.part");
    let _ = fs::remove_dir_all(&part);
    for deb in debs_in(&debs)? {
        host::say(&format!(
            "unpacking {}",
            deb.file_name().unwrap_or_default().to_string_lossy()
        ));
        apt::unpack(&deb, &part)?;
    }
    for deb in debs_in(&debs.join("qemu"))? {
        let program = apt::file_of(&deb, "./usr/bin/qemu-aarch64")?;
        write_program(&part.join("usr/bin/qemu-aarch64"), &program)?;
    }
    let tree = dir.join("tree");
    let _ = fs::remove_dir_all(&tree);
    fs::rename(&part, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
    let _ = fs::remove_dir_all(&debs);
    Ok(())
}

fn debs_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "deb"));
    files.sort();
    Ok(files)
}

/// Small scripts that start the tree's programs with the tree's libraries. Written at each use, so that a cache
/// that moved still works.
fn write_wrappers(dir: &Path) -> Result<()> {
    let tree = dir.join("tree");
    let tree = tree
        .to_str()
        .filter(|tree| !tree.contains('\''))
        .context("the cache's path has odd characters")?;
    let script = |command: &str| {
        format!(
            "#!/bin/sh\nt='{tree}'\nexport LD_LIBRARY_PATH=\"$t/usr/lib/x86_64-linux-gnu\"\nexec {command} \"$@\"\n"
        )
    };
    let bin = dir.join("bin");
    host::make_dir(&bin)?;
    for (name, command) in [
        ("rustc", r#""$t/usr/bin/rustc" --sysroot "$t/usr""#),
        // rustc tells from the name that this is a compiler driver, not a bare linker.
        (
            "aarch64-linux-gnu-gcc",
            r#""$t/usr/bin/aarch64-linux-gnu-gcc" --sysroot="$t""#,
        ),
    ] {
        write_program(&bin.join(name), script(command).as_bytes())?;
    }
    let run = format!(
        "#!/bin/sh\nt='{tree}'\nexec \"$t/usr/bin/qemu-aarch64\" -L \"$t/usr/aarch64-linux-gnu\" \"$@\"\n"
    );
    write_program(&bin.join("run"), run.as_bytes())
}

/// Writes an executable file, unless it is there already: a script may be running.
fn write_program(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() == Some(content) {
        return Ok(());
    }
    host::write_whole(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
