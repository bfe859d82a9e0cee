//! The guest cache: what is fetched from Debian and what is made of it.
//!
//! Invariant: a file under its final name is whole. So a complete cache needs neither apt nor a network.

use std::cell::{OnceCell, RefCell};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::grub::{self, Grub, Platform};
use super::{Kind, bzimage, disk, initramfs, modules, ssh};
use crate::{apt, host};

/// The folder `guest` of the cache, locked while open.
pub struct Cache {
    dir: PathBuf,
    apt: [OnceCell<apt::Apt>; 2],
    lock: RefCell<Option<File>>,
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

/// When a file was made.
fn age(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// Is there an image at `path` that was made by this recipe?
fn is_made(path: &Path, recipe: &str) -> bool {
    path.exists() && fs::read_to_string(path.with_extension("recipe")).is_ok_and(|r| r == recipe)
}

/// Notes beside an image what it was made by.
fn keep_recipe(path: &Path, recipe: &str) -> Result<()> {
    host::write_whole(&path.with_extension("recipe"), recipe.as_bytes())
}

/// A kernel of Debian's.
struct Kernel {
    /// Its image.
    kind: Kind,
    arch: Arch,
    /// The package that depends on the one with the newest version.
    meta_package: &'static str,
}

const CLOUD: Kernel = Kernel {
    kind: Kind::Vmlinuz,
    arch: Arch::Amd64,
    meta_package: "linux-image-cloud-amd64",
};
const GENERIC: Kernel = Kernel {
    kind: Kind::VmlinuzGeneric,
    arch: Arch::Amd64,
    meta_package: "linux-image-amd64",
};
const I386: Kernel = Kernel {
    kind: Kind::VmlinuzI386,
    arch: Arch::I386,
    meta_package: "linux-image-686",
};

impl Cache {
    pub fn open() -> Result<Cache> {
        let dir = host::cache()?.join("guest");
        host::make_dir(&dir)?;
        Ok(Cache {
            lock: RefCell::new(Some(host::lock(&dir)?)),
            apt: Default::default(),
            dir,
        })
    }

    /// Makes the next [`Cache::path`] ask Debian again; downloaded packages that are still current stay.
    pub fn forget(&self) -> Result<()> {
        let files = [
            "vmlinuz",
            "vmlinuz-generic",
            "vmlinux",
            "vmlinuz-i386",
            "busybox-amd64",
            "busybox-i386",
            "bios-256k.bin",
            "vgabios-stdvga.bin",
            "OVMF_CODE_4M.fd",
            "OVMF_VARS_4M.fd",
            "grub.iso",
            "grub-efi.iso",
            "memtest86+x64.iso",
            "installer.iso",
            "debian-12.raw",
            "ssh.cpio",
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
            Kind::Vmlinuz if !path.exists() => self.fetch_kernel(&CLOUD)?,
            Kind::VmlinuzGeneric if !path.exists() => self.fetch_kernel(&GENERIC)?,
            Kind::VmlinuzI386 if !path.exists() => self.fetch_kernel(&I386)?,
            Kind::Vmlinux if !path.exists() => {
                let image = fs::read(self.path(Kind::Vmlinuz)?)?;
                host::say("unpacking vmlinux from vmlinuz");
                host::write_whole(&path, &bzimage::vmlinux(&image)?)?;
            }
            Kind::Seabios | Kind::Vgabios if !path.exists() => {
                self.fetch_file(kind, "seabios", "./usr/share/seabios")?
            }
            Kind::Ovmf | Kind::OvmfVars if !path.exists() => {
                self.fetch_file(kind, "ovmf", "./usr/share/OVMF")?
            }
            Kind::Ssh if !path.exists() => self.build_ssh(&path)?,
            Kind::Initrd => self.build_initramfs(&path, Arch::Amd64)?,
            Kind::InitrdI386 => self.build_initramfs(&path, Arch::I386)?,
            Kind::Modules => self.build_modules(&path, &CLOUD)?,
            Kind::ModulesGeneric => self.build_modules(&path, &GENERIC)?,
            Kind::ModulesI386 => self.build_modules(&path, &I386)?,
            Kind::GrubIso => self.build_grub(&path, Platform::Bios)?,
            Kind::GrubEfiIso => self.build_grub(&path, Platform::Uefi)?,
            Kind::MemtestIso if !path.exists() => {
                self.fetch_file(kind, "memtest86+", "./usr/lib/memtest86+")?
            }
            Kind::InstallerIso if !is_made(&path, grub::INSTALLER) => {
                self.build_installer(&path)?
            }
            Kind::DebianDisk if !is_made(&path, &disk::recipe()) => self.build_disk(&path)?,
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

    fn fetch_kernel(&self, kernel: &Kernel) -> Result<()> {
        let apt = self.apt(kernel.arch)?;
        let package = apt.dependency(kernel.meta_package, "linux-image-")?;
        let deb = apt.download(&self.dir.join("debs"), &package)?;
        host::say(&format!("unpacking the kernel of {package}"));
        host::write_whole(
            &self.dir.join(kernel.kind.file_name()),
            &apt::file_of(&deb, "./boot/vmlinuz-*")?,
        )
    }

    /// The archive of the kernel's modules. It is kept with the kernel that it belongs to.
    fn build_modules(&self, path: &Path, kernel: &Kernel) -> Result<()> {
        let image = self.path(kernel.kind)?;
        let recipe = modules::WANTED.join("\n");
        if is_made(path, &recipe) && age(path) >= age(&image) {
            return Ok(());
        }
        let apt = self.apt(kernel.arch)?;
        let package = apt.dependency(kernel.meta_package, "linux-image-")?;
        let deb = apt.download(&self.dir.join("debs"), &package)?;
        let unpacked = self.dir.join("unpacked");
        host::say(&format!("taking the modules of {package}"));
        apt::unpack(&deb, &unpacked)?;
        let archive = modules::archive(&unpacked.join("lib/modules"));
        fs::remove_dir_all(&unpacked)?;
        host::write_whole(path, &archive?)?;
        keep_recipe(path, &recipe)
    }

    fn build_ssh(&self, path: &Path) -> Result<()> {
        let unpacked = self.dir.join("unpacked");
        for package in ssh::PACKAGES {
            let deb = self
                .apt(Arch::Amd64)?
                .download(&self.dir.join("debs"), package)?;
            apt::unpack(&deb, &unpacked)?;
        }
        let archive = ssh::archive(&unpacked);
        fs::remove_dir_all(&unpacked)?;
        host::write_whole(path, &archive?)
    }

    fn fetch_file(&self, kind: Kind, package: &str, folder: &str) -> Result<()> {
        let name = kind.file_name();
        let deb = self
            .apt(Arch::Amd64)?
            .download(&self.dir.join("debs"), package)?;
        host::say(&format!("unpacking {name} of {package}"));
        let bytes = apt::file_of(&deb, &format!("{folder}/{name}"))?;
        host::write_whole(&self.dir.join(name), &bytes)
    }

    /// A package, unpacked into the cache.
    fn unpacked(&self, package: &str) -> Result<PathBuf> {
        let tree = self.dir.join(package);
        if !tree.exists() {
            let deb = self
                .apt(Arch::Amd64)?
                .download(&self.dir.join("debs"), package)?;
            let part = tree.with_extension("part");
            let _ = fs::remove_dir_all(&part);
            apt::unpack(&deb, &part)?;
            fs::rename(&part, &tree)?;
        }
        Ok(tree)
    }

    fn grub(&self) -> Result<Grub> {
        let tree = self.dir.join("grub");
        match tree.exists() {
            true => Ok(Grub::at(tree)),
            false => Grub::unpack(self.apt(Arch::Amd64)?, &self.dir.join("debs"), tree),
        }
    }

    /// A disk with Debian. That takes long, so the cache is left to others meanwhile.
    fn build_disk(&self, path: &Path) -> Result<()> {
        let (package, grub) = (self.unpacked("debootstrap")?, self.grub()?);
        let held = self.lock.take();
        drop(held);
        let folder = self.dir.join("debian");
        host::make_dir(&folder)?;
        let _lock = host::lock(&folder)?;
        let recipe = disk::recipe();
        if is_made(path, &recipe) {
            return Ok(());
        }
        disk::build(path, &folder, &package, &grub)?;
        keep_recipe(path, &recipe)
    }

    /// A CD with GRUB, the amd64 kernel and its userland; made anew when one of them is.
    fn build_grub(&self, path: &Path, platform: Platform) -> Result<()> {
        let files = [
            ("vmlinuz", self.path(Kind::Vmlinuz)?),
            ("initrd.cpio", self.path(Kind::Initrd)?),
        ];
        let is_new = |(_, file): &(&str, PathBuf)| age(path) >= age(file);
        if is_made(path, grub::RESCUE) && files.iter().all(is_new) {
            return Ok(());
        }
        host::say(&format!("making {}", path.display()));
        self.grub()?.rescue(path, platform, grub::RESCUE, &files)?;
        keep_recipe(path, grub::RESCUE)
    }

    /// A CD with Debian's installer: the package has only kernel and initramfs.
    fn build_installer(&self, path: &Path) -> Result<()> {
        let package = "debian-installer-12-netboot-amd64";
        let deb = self
            .apt(Arch::Amd64)?
            .download(&self.dir.join("debs"), package)?;
        let scratch = self.dir.join("installer");
        host::make_dir(&scratch)?;
        let files = [
            ("linux", "text/debian-installer/amd64/linux"),
            ("initrd.gz", "text/debian-installer/amd64/initrd.gz"),
            ("gtk.gz", "gtk/debian-installer/amd64/initrd.gz"),
        ]
        .map(|(name, of)| (name, of, scratch.join(name)));
        for (_, of, file) in &files {
            let of = format!("./usr/lib/debian-installer/images/12/amd64/{of}");
            fs::write(file, apt::file_of(&deb, &of)?)?;
        }
        let files = files.map(|(name, _, file)| (name, file));
        let made = self
            .grub()?
            .rescue(path, Platform::Bios, grub::INSTALLER, &files);
        fs::remove_dir_all(&scratch)?;
        made?;
        keep_recipe(path, grub::INSTALLER)
    }

    /// The initramfs is cheap to make, so it is made anew each time and replaced when it differs: no stale `/init`.
    fn build_initramfs(&self, path: &Path, arch: Arch) -> Result<()> {
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
