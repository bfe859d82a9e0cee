//! `cargo xtask guest`: Debian kernels, a busybox userland, and running a command in a guest.

mod bzimage;
pub mod cpio;
mod disk;
mod fetch;
mod filter;
mod grub;
pub mod initramfs;
mod modules;
mod run;
mod ssh;

pub use initramfs::command_overlay;
pub use run::RemoveOnDrop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

/// Guest kernels and userland
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch the kernels, busybox, firmware and GRUB from Debian, build what is made of them; what the cache has is kept
    Fetch {
        /// Ask Debian for newer packages even though the cache is complete
        #[arg(long)]
        update: bool,
    },
    /// Print the path of one file, fetching what is missing
    Path { kind: Kind },
    /// Boot a guest to a shell, or run one command in it
    Run(run::Args),
}

/// The release build of ferry.
pub fn ferry() -> Result<PathBuf> {
    run::ferry("ferry")
}

/// The ferry that was asked for, or the release build.
pub fn ferry_or(asked: &Option<PathBuf>) -> Result<PathBuf> {
    asked.clone().map_or_else(ferry, Ok)
}

/// The peer of a comparison.
pub const QEMU: &str = "qemu-system-x86_64";

/// Tells what to install where the peer is missing.
pub fn need_qemu() -> Result<()> {
    anyhow::ensure!(
        crate::host::has_program(QEMU),
        "there is no {QEMU} (Debian: apt-get install qemu-system-x86)"
    );
    Ok(())
}

/// The path of a file of the guest cache, fetched or made if it is missing.
pub fn path(kind: Kind) -> Result<PathBuf> {
    fetch::Cache::open()?.path(kind)
}

/// The files of the guest cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Kind {
    /// Debian's cloud kernel for amd64, a bzImage
    Vmlinuz,
    /// Debian's general kernel for amd64, a bzImage: it has drivers for real PCs, as AHCI's
    #[value(name = "vmlinuz-generic")]
    VmlinuzGeneric,
    /// The cloud kernel, unpacked: an ELF file with a PVH note
    Vmlinux,
    /// Debian's 686 kernel of i386, a bzImage
    #[value(name = "vmlinuz-i386")]
    VmlinuzI386,
    /// The busybox initramfs for amd64 kernels
    Initrd,
    /// The busybox initramfs for i386 kernels
    #[value(name = "initrd-i386")]
    InitrdI386,
    /// Modules for disks, CD-ROMs and virtio of the amd64 kernel, to be appended to its initramfs
    Modules,
    /// Modules for disks, CD-ROMs, floppies, network cards and virtio of the general kernel, to be appended to the initramfs for amd64
    #[value(name = "modules-generic")]
    ModulesGeneric,
    /// Modules for disks, CD-ROMs, floppies and virtio of the 686 kernel, to be appended to its initramfs
    #[value(name = "modules-i386")]
    ModulesI386,
    /// An SSH server, to be appended to the initramfs for amd64 kernels
    Ssh,
    /// SeaBIOS, 256 KiB
    Seabios,
    /// The VGA's BIOS for SeaBIOS
    Vgabios,
    /// OVMF's code
    Ovmf,
    /// OVMF's empty variable store
    OvmfVars,
    /// GRUB for a BIOS on a CD, with the kernel and its userland
    GrubIso,
    /// The same for UEFI
    GrubEfiIso,
    /// memtest86+ on a CD
    MemtestIso,
    /// Debian's installer on a CD, started by GRUB
    InstallerIso,
    /// A disk with Debian 12, made by debootstrap; wants root
    DebianDisk,
}

impl Kind {
    /// What tests outside of the nightly set boot.
    const ORDINARY: [Kind; 14] = [
        Kind::Vmlinuz,
        Kind::Vmlinux,
        Kind::VmlinuzI386,
        Kind::Initrd,
        Kind::InitrdI386,
        Kind::Modules,
        Kind::ModulesI386,
        Kind::Ssh,
        Kind::Seabios,
        Kind::Vgabios,
        Kind::Ovmf,
        Kind::OvmfVars,
        Kind::GrubIso,
        Kind::GrubEfiIso,
    ];

    fn file_name(self) -> &'static str {
        match self {
            Kind::Vmlinuz => "vmlinuz",
            Kind::VmlinuzGeneric => "vmlinuz-generic",
            Kind::Vmlinux => "vmlinux",
            Kind::VmlinuzI386 => "vmlinuz-i386",
            Kind::Initrd => "initrd.cpio",
            Kind::InitrdI386 => "initrd-i386.cpio",
            Kind::Modules => "modules.cpio",
            Kind::ModulesGeneric => "modules-generic.cpio",
            Kind::ModulesI386 => "modules-i386.cpio",
            Kind::Ssh => "ssh.cpio",
            Kind::Seabios => "bios-256k.bin",
            Kind::Vgabios => "vgabios-stdvga.bin",
            Kind::Ovmf => "OVMF_CODE_4M.fd",
            Kind::OvmfVars => "OVMF_VARS_4M.fd",
            Kind::GrubIso => "grub.iso",
            Kind::GrubEfiIso => "grub-efi.iso",
            Kind::MemtestIso => "memtest86+x64.iso",
            Kind::InstallerIso => "installer.iso",
            Kind::DebianDisk => "debian-12.raw",
        }
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    match args.action {
        Action::Fetch { update } => {
            let cache = fetch::Cache::open()?;
            if update {
                cache.forget()?;
            }
            for kind in Kind::ORDINARY {
                let path = cache.path(kind)?;
                println!(
                    "{:>10} KiB  {}",
                    std::fs::metadata(&path)?.len() / 1024,
                    path.display()
                );
            }
        }
        Action::Path { kind } => println!("{}", path(kind)?.display()),
        Action::Run(args) => return run::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}
