//! GRUB, with the programs that make media of it: Debian's packages, unpacked into the cache and run there; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, host};

/// What makes images, with the libraries that a small Debian lacks.
const PACKAGES: [&str; 5] = [
    "grub-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "xorriso",
    "mtools",
];

/// Packages that the host always has in its own, possibly newer, version.
const HOSTS_OWN: [&str; 3] = ["libc6:amd64", "libgcc-s1:amd64", "gcc-12-base:amd64"];

/// The menu of the rescue CD. The firmware shows it on the serial line as well.
pub const RESCUE: &str = "\
set timeout=10
menuentry 'Ferry: Linux' {
\tlinux /vmlinuz console=ttyS0 panic=-1 loglevel=4
\tinitrd /initrd.cpio
}
menuentry 'Ferry: halt' {
\thalt
}
menuentry 'Ferry: Linux, its messages on the screen' {
\tlinux /vmlinuz console=tty0 console=ttyS0 panic=-1 loglevel=7
\tinitrd /initrd.cpio
}
";

/// The installer with its dialogs on the screen, or on the serial line.
pub const INSTALLER: &str = "\
set timeout=30
menuentry 'Install on the screen' {
\tlinux /linux vga=normal nomodeset
\tinitrd /initrd.gz
}
menuentry 'Install on the serial line' {
\tlinux /linux console=ttyS0
\tinitrd /initrd.gz
}
menuentry 'Graphical install' {
\tlinux /linux vga=788
\tinitrd /gtk.gz
}
";

/// What starts GRUB.
#[derive(Clone, Copy)]
pub enum Platform {
    Bios,
    Uefi,
}

impl Platform {
    /// GRUB's name for it.
    fn name(self) -> &'static str {
        match self {
            Platform::Bios => "i386-pc",
            Platform::Uefi => "x86_64-efi",
        }
    }
}

/// The unpacked packages.
pub struct Grub {
    tree: PathBuf,
}

impl Grub {
    /// What was unpacked into `tree` before.
    pub fn at(tree: PathBuf) -> Self {
        Self { tree }
    }

    /// Unpacks the packages of `apt`, which are kept in `debs`, into `tree`.
    pub fn unpack(apt: &apt::Apt, debs: &Path, tree: PathBuf) -> Result<Self> {
        let mut packages = apt.closure(&PACKAGES)?;
        packages.retain(|package| !HOSTS_OWN.contains(&package.as_str()));
        let part = tree.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        for package in &packages {
            apt::unpack(&apt.download(debs, package)?, &part)?;
        }
        fs::rename(&part, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
        Ok(Self { tree })
    }

    /// A program of the tree.
    fn command(&self, name: &str) -> Command {
        let at = |part: &str| self.tree.join(part);
        let mut command = host::command(at("usr/bin").join(name));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let join = |dirs: Vec<PathBuf>| std::env::join_paths(dirs).unwrap_or_default();
        command.env("LD_LIBRARY_PATH", join(libraries.map(at).to_vec()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs = vec![at("usr/bin")];
        dirs.extend(std::env::split_paths(&path));
        command.env("PATH", join(dirs));
        command
    }

    /// Where GRUB's modules are.
    pub fn modules(&self, platform: Platform) -> PathBuf {
        self.tree.join("usr/lib/grub").join(platform.name())
    }

    /// A CD image (grub-mkrescue): GRUB with `config`, and `files` by their names on the CD.
    pub fn rescue(
        &self,
        image: &Path,
        platform: Platform,
        config: &str,
        files: &[(&str, PathBuf)],
    ) -> Result<()> {
        let root = image.with_extension("tree");
        let _ = fs::remove_dir_all(&root);
        host::make_dir(&root.join("boot/grub"))?;
        fs::write(root.join("boot/grub/grub.cfg"), config)?;
        for (name, file) in files {
            fs::copy(file, root.join(name))
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
        let part = image.with_extension("part");
        let mut command = self.command("grub-mkrescue");
        // Themes, fonts and translations would be those of the host.
        command
            .arg("--xorriso")
            .arg(self.tree.join("usr/bin/xorriso"))
            .args(["--themes=", "--fonts=", "--locales=", "--directory"])
            .arg(self.modules(platform))
            .arg("-o")
            .args([&part, &root]);
        let made = host::run(&mut command);
        fs::remove_dir_all(&root)?;
        made?;
        fs::rename(&part, image).with_context(|| format!("cannot write {}", image.display()))
    }

    /// GRUB for a BIOS, to be written behind a disk's partition table: `modules` and what they need, which find the rest in `prefix`.
    pub fn core(&self, prefix: &str, modules: &[&str], scratch: &Path) -> Result<Vec<u8>> {
        let image = scratch.join("core.img");
        host::run(
            self.command("grub-mkimage")
                .args(["--format=i386-pc", "--prefix", prefix, "--directory"])
                .arg(self.modules(Platform::Bios))
                .arg("--output")
                .arg(&image)
                .args(modules),
        )?;
        fs::read(&image).context("grub-mkimage wrote nothing")
    }
}
