//! The guest's userland: busybox and four small files of our own (`rootfs/`).

use super::cpio::Archive;

/// What the command line of the kernel may say to `rootfs/init`; see there.
pub mod option {
    pub const COMMAND: &str = "ferry.command";
    pub const TOKEN: &str = "ferry.token";
    pub const TERM: &str = "ferry.term";
    pub const SIZE: &str = "ferry.size";
}

/// The whole initramfs around the static `busybox`.
pub fn build(busybox: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for dir in [
        "bin", "sbin", "usr", "usr/bin", "usr/sbin", "dev", "proc", "sys", "etc", "ferry", "run",
        "root", "mnt",
    ] {
        archive.dir(dir, 0o755);
    }
    archive.dir("tmp", 0o1777);
    // The kernel opens /dev/console for /init before devtmpfs is mounted.
    archive.char_device("dev/console", 0o600, 5, 1);
    archive.char_device("dev/null", 0o666, 1, 3);
    archive.file("bin/busybox", 0o755, busybox);
    archive.symlink("bin/sh", "busybox");
    archive.file("init", 0o755, include_bytes!("rootfs/init"));
    archive.file("ferry/session", 0o755, include_bytes!("rootfs/session"));
    archive.file("ferry/report", 0o755, include_bytes!("rootfs/report"));
    archive.file("etc/inittab", 0o644, include_bytes!("rootfs/inittab"));
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost ferry\n");
    archive.file("etc/profile", 0o644, include_bytes!("rootfs/profile"));
    archive.finish()
}

/// A second archive, to be appended to [`build`]'s: a command too long for the kernel's command line.
pub fn command_overlay(command: &str) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.file("ferry/command", 0o644, command.as_bytes());
    archive.finish()
}

/// Lower-case hexadecimal, as `xxd -r -p` in `rootfs/init` reads it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
