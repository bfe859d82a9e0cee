//! The guest cache: what is fetched from Debian and what is made of it.
//!
//! Invariant: a file under its final name is whole. So a complete cache needs neither apt nor a network.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Kind, bzimage, initramfs, modules};
use crate::{apt, host};

/// The folder `guest` of the cache, locked while open.
pub struct Cache {
    dir: PathBuf,
    apt: [OnceCell<apt::Apt>; 2],
    _lock: File,
}

/// The architecture of a guest's userland.
#[derive(Clone, Copy)]
enum Arch {
    Amd64,
    I386,
}

impl Arch {
    fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::I386 => "i386",
        }
    }
}

impl Cache {
    pub fn open() -> Result<Cache> {
        let dir = host::cache()?.join("guest");
        host::make_dir(&dir)?;
        Ok(Cache {
            _lock: host::lock(&dir)?,
            apt: Default::default(),
            dir,
        })
    }

    /// Makes the next [`Cache::path`] ask Debian again; downloaded packages that are still current stay.
    pub fn forget(&self) -> Result<()> {
        let files = [
            "vmlinuz",
            "vmlinux",
            "vmlinuz-i386",
            "busybox-amd64",
            "busybox-i386",
            "bios-256k.bin",
            "vgabios-stdvga.bin",
            "OVMF_CODE_4M.fd",
            "OVMF_VARS_4M.fd",
        ];
        let lists = ["apt-amd64/updated", "apt-i386/updated"];
        for name in files.iter().chain(&lists) {
            match fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| {
                        format!("cannot remove {name} from {}", self.dir.display())
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The path of a file, fetched or made if it is missing.
    pub fn path(&self, kind: Kind) -> Result<PathBuf> {
        let path = self.dir.join(kind.file_name());
        match kind {
            Kind::Vmlinuz if !path.exists() => {
                self.fetch_kernel(kind, Arch::Amd64, "linux-image-cloud-amd64")?
            }
            Kind::VmlinuzI386 if !path.exists() => {
                self.fetch_kernel(kind, Arch::I386, "linux-image-686")?
            }
            Kind::Vmlinux if !path.exists() => {
                let image = fs::read(self.path(Kind::Vmlinuz)?)?;
                host::say("unpacking vmlinux from vmlinuz");
                host::write_whole(&path, &bzimage::vmlinux(&image)?)?;
            }
            Kind::Seabios | Kind::Vgabios if !path.exists() => {
                self.fetch_firmware(kind, "seabios", "./usr/share/seabios")?
            }
            Kind::Ovmf | Kind::OvmfVars if !path.exists() => {
                self.fetch_firmware(kind, "ovmf", "./usr/share/OVMF")?
            }
            Kind::Initrd => self.build_initramfs(&path, Arch::Amd64)?,
            Kind::InitrdI386 => self.build_initramfs(&path, Arch::I386)?,
            Kind::Modules => self.build_modules(&path, Arch::Amd64, "linux-image-cloud-amd64")?,
            Kind::ModulesI386 => self.build_modules(&path, Arch::I386, "linux-image-686")?,
            _ => {}
        }
        Ok(path)
    }

    /// The private apt root of `arch`, opened when the first file is missing. One each, since a mirror that lacks
    /// a list of one architecture costs the other nothing then.
    fn apt(&self, arch: Arch) -> Result<&apt::Apt> {
        let cell = &self.apt[arch as usize];
        if let Some(apt) = cell.get() {
            return Ok(apt);
        }
        let apt = apt::Apt::open(
            &self.dir.join(format!("apt-{}", arch.name())),
            &[arch.name()],
        )?;
        Ok(cell.get_or_init(|| apt))
    }

    fn fetch_kernel(&self, kind: Kind, arch: Arch, meta_package: &str) -> Result<()> {
        let apt = self.apt(arch)?;
        let package = apt.dependency(meta_package, "linux-image-")?;
        let deb = apt.download(&self.dir.join("debs"), &package)?;
        host::say(&format!("unpacking the kernel of {package}"));
        host::write_whole(
            &self.dir.join(kind.file_name()),
            &apt::file_of(&deb, "./boot/vmlinuz-*")?,
        )
    }

    /// The archive of the kernel's modules. It is kept with the kernel that it belongs to.
    fn build_modules(&self, path: &std::path::Path, arch: Arch, meta_package: &str) -> Result<()> {
        let kernel = match arch {
            Arch::Amd64 => Kind::Vmlinuz,
            Arch::I386 => Kind::VmlinuzI386,
        };
        let kernel = self.path(kernel)?;
        let age = |p: &std::path::Path| fs::metadata(p).and_then(|m| m.modified()).ok();
        if path.exists() && age(path) >= age(&kernel) {
            return Ok(());
        }
        let apt = self.apt(arch)?;
        let package = apt.dependency(meta_package, "linux-image-")?;
        let deb = apt.download(&self.dir.join("debs"), &package)?;
        let unpacked = self.dir.join("unpacked");
        host::say(&format!("taking the modules of {package}"));
        apt::unpack(&deb, &unpacked)?;
        let archive = modules::archive(&unpacked.join("lib/modules"));
        fs::remove_dir_all(&unpacked)?;
        host::write_whole(path, &archive?)
    }

    fn fetch_firmware(&self, kind: Kind, package: &str, folder: &str) -> Result<()> {
        let name = kind.file_name();
        let deb = self
            .apt(Arch::Amd64)?
            .download(&self.dir.join("debs"), package)?;
        host::say(&format!("unpacking {name} of {package}"));
        let bytes = apt::file_of(&deb, &format!("{folder}/{name}"))?;
        host::write_whole(&self.dir.join(name), &bytes)
    }

    /// The initramfs is cheap to make, so it is made anew each time and replaced when it differs: no stale `/init`.
    fn build_initramfs(&self, path: &std::path::Path, arch: Arch) -> Result<()> {
        let busybox = self.dir.join(format!("busybox-{}", arch.name()));
        if !busybox.exists() {
            let deb = self
                .apt(arch)?
                .download(&self.dir.join("debs"), "busybox-static")?;
            // Debian 13 moved the program to /usr/bin.
            let bytes = apt::file_of(&deb, "./bin/busybox")
                .or_else(|_| apt::file_of(&deb, "./usr/bin/busybox"))?;
            host::write_whole(&busybox, &bytes)?;
        }
        let archive = initramfs::build(&fs::read(&busybox)?);
        if fs::read(path).ok().as_deref() != Some(&archive) {
            host::write_whole(path, &archive)?;
        }
        Ok(())
    }
}
