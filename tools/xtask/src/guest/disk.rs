//! A disk with Debian 12: debootstrap's system on ext4 in the first partition, started by GRUB from a BIOS. Root logs in without password
//! on the serial port and on the screen.
//!
//! debootstrap runs programs of the new system in a changed root, so this wants root; the image itself is made without loop devices:
//! mke2fs copies the tree, and GRUB's image stands in the sectors behind the partition table, where its own defaults look for it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::grub::{Grub, Platform};
use crate::{apt, host};

const SUITE: &str = "bookworm";

/// Beside the minimal system: what starts it, and what people look at hardware with.
const PACKAGES: &str =
    "linux-image-amd64,systemd-sysv,udev,dbus,login,kmod,iproute2,e2fsprogs,pciutils,fdisk";

/// Bytes of the disk, of which the image's file has only what is used.
const DISK: u64 = 1536 << 20;
const SECTOR: u64 = 512;
/// The partition's first sector: GRUB has what is between it and the partition table.
const PARTITION: u64 = 2048;

/// The file system's name; `root=` goes by it, as device names differ by interface.
const UUID: &str = "66657272-7900-4000-8000-000000000012";

/// What finds the rest of GRUB.
const CORE: [&str; 4] = ["biosdisk", "part_msdos", "ext2", "normal"];

fn grub_config() -> String {
    format!(
        "set timeout=1\n\
         menuentry 'Debian GNU/Linux' {{\n\
         \tlinux /vmlinuz root=UUID={UUID} ro console=tty0 console=ttyS0 net.ifnames=0\n\
         \tinitrd /initrd.img\n\
         }}\n"
    )
}

/// What goes into the disk: it is made anew when this changes.
pub fn recipe() -> String {
    [SUITE, PACKAGES, &grub_config(), PATIENCE].join("\n")
}

/// The partition table, of which GRUB's boot sector leaves room: one bootable partition of Linux.
fn partition_table() -> [u8; 66] {
    let mut table = [0; 66];
    let sectors = (DISK / SECTOR - PARTITION) as u32;
    // Cylinders, heads and sectors say that logical block addresses are meant.
    table[..8].copy_from_slice(&[0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
    table[8..12].copy_from_slice(&(PARTITION as u32).to_le_bytes());
    table[12..16].copy_from_slice(&sectors.to_le_bytes());
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    table
}

/// Makes the image `path`, with `folder` for what is needed meanwhile; `debootstrap` is that package, unpacked.
pub fn build(path: &Path, folder: &Path, debootstrap: &Path, grub: &Grub) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a Debian disk can only be made by root (debootstrap changes the root directory)"
    );
    let tree = folder.join("tree");
    remove_tree(&tree)?;
    host::make_dir(&tree)?;
    host::say("making a Debian system with debootstrap (some minutes)");
    let mirror = apt::mirror()?;
    let script = debootstrap.join("usr/sbin/debootstrap");
    // In a mount namespace of its own, so that nothing stays mounted in the tree, whatever happens.
    let mut command = host::command("unshare");
    command
        .args(["--mount", "--", "sh"])
        .arg(script)
        .args([
            "--arch=amd64",
            "--variant=minbase",
            "--include",
            PACKAGES,
            SUITE,
        ])
        .arg(&tree)
        .arg(mirror)
        .env("DEBOOTSTRAP_DIR", debootstrap.join("usr/share/debootstrap"))
        .env("DEBIAN_FRONTEND", "noninteractive");
    host::run(&mut command)?;
    configure(&tree, grub)?;
    host::say("making the disk");
    let part = folder.join("disk.part");
    let made = write(&part, &tree, grub);
    remove_tree(&tree)?;
    made?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

fn remove_tree(tree: &Path) -> Result<()> {
    match fs::remove_dir_all(tree) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", tree.display()))
        }
        _ => Ok(()),
    }
}

/// Systemd gives devices and services 90 s, by the clock: a guest on a busy host needs more.
const PATIENCE: &str = "[Manager]\nDefaultDeviceTimeoutSec=900\nDefaultTimeoutStartSec=900\n";

/// What an installer would ask for.
fn configure(tree: &Path, grub: &Grub) -> Result<()> {
    let write = |name: &str, text: &str| {
        fs::write(tree.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write("etc/hostname", "ferry\n")?;
    write("etc/hosts", "127.0.0.1 localhost ferry\n")?;
    write("etc/fstab", &format!("UUID={UUID} / ext4 defaults 0 1\n"))?;
    host::make_dir(&tree.join("etc/systemd/system.conf.d"))?;
    write("etc/systemd/system.conf.d/patience.conf", PATIENCE)?;
    let passwords = fs::read_to_string(tree.join("etc/shadow"))?;
    let root = passwords.lines().next().unwrap_or_default();
    let rest = root.splitn(3, ':').nth(2).unwrap_or_default();
    write(
        "etc/shadow",
        &passwords.replacen(root, &format!("root::{rest}"), 1),
    )?;
    let folder = tree.join("boot/grub");
    host::make_dir(&folder.join("i386-pc"))?;
    write("boot/grub/grub.cfg", &grub_config())?;
    for file in fs::read_dir(grub.modules(Platform::Bios))? {
        let file = file?.path();
        let wanted = file.extension().is_some_and(|e| e == "mod" || e == "lst");
        if let (true, Some(name)) = (wanted, file.file_name()) {
            fs::copy(&file, folder.join("i386-pc").join(name))?;
        }
    }
    // Packages and lists that the image need not carry.
    let archives = tree.join("var/cache/apt/archives");
    for file in fs::read_dir(archives)? {
        let file = file?.path();
        if file.extension().is_some_and(|e| e == "deb") {
            fs::remove_file(file)?;
        }
    }
    let lists = tree.join("var/lib/apt/lists");
    fs::remove_dir_all(&lists)?;
    Ok(fs::create_dir_all(lists)?)
}

fn write(image: &Path, tree: &Path, grub: &Grub) -> Result<()> {
    let _ = fs::remove_file(image);
    let file =
        fs::File::create(image).with_context(|| format!("cannot create {}", image.display()))?;
    file.set_len(DISK)?;
    let start = PARTITION * SECTOR;
    let mut command = host::command(find_mke2fs()?);
    command
        .args(["-q", "-F", "-t", "ext4", "-U", UUID, "-L", "ferry", "-d"])
        .arg(tree)
        .arg("-E")
        .arg(format!("offset={start}"))
        .arg(image)
        .arg(format!("{}K", (DISK - start) / 1024));
    host::run(&mut command)?;

    let scratch = image.with_extension("grub");
    host::make_dir(&scratch)?;
    let core = grub.core("(hd0,msdos1)/boot/grub", &CORE, &scratch);
    fs::remove_dir_all(&scratch)?;
    let core = core?;
    ensure!(
        core.len() as u64 <= (PARTITION - 1) * SECTOR,
        "GRUB's image does not fit before the partition"
    );
    // The boot sector reads the sector behind it, and that the ones that follow, unless told otherwise.
    let mut boot = fs::read(grub.modules(Platform::Bios).join("boot.img"))?;
    ensure!(boot.len() == SECTOR as usize, "boot.img is no sector");
    boot[446..].copy_from_slice(&partition_table());
    file.write_all_at(&boot, 0)?;
    file.write_all_at(&core, SECTOR)?;
    Ok(file.sync_all()?)
}

/// mke2fs, which ordinary users have not on their search path.
fn find_mke2fs() -> Result<PathBuf> {
    let found = ["/usr/sbin/mke2fs", "/sbin/mke2fs"].map(PathBuf::from);
    found
        .into_iter()
        .find(|p| p.is_file())
        .context("there is no mke2fs (Debian: e2fsprogs)")
}
