//! Shared folders under Debian's 686 kernel: what is there can be read, what the guest writes is on the host, and nothing outside is reached.
//!
//! Skipped by name where the guest's files cannot be had.

mod common;
mod guest;
mod modules;

use bus::StopReason;
use machine::ShareAccess;
use machine::shares::Folder;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const PROMPT: &str = "root@ferry:/root# ";

/// The answers must not be in what is typed.
const SCRIPT: &str = "for m in /ferry/modules/*; do insmod $m; done; mkdir /mnt/a /mnt/b; o=trans=virtio,version=9p2000.L; \
mount -t 9p -o $o work /mnt/a && mount -t 9p -o $o,ro share1 /mnt/b && echo mounted-$((6 * 7)); cmp /mnt/a/numbers /mnt/b/numbers && echo \
same-$((6 * 7)); seq 1 200000 >/mnt/a/made; mkdir /mnt/a/dir; cp /mnt/a/numbers /mnt/a/dir/copy; mv /mnt/a/dir/copy /mnt/a/dir/moved; ln \
/mnt/a/dir/moved /mnt/a/linked; rm /mnt/a/goes; ls /mnt/a | wc -l | sed s/^/count-/; umount /mnt/b; mount -t 9p -o $o share1 /mnt/b; touch \
/mnt/b/no || echo refused-$((6 * 7)); cat /mnt/a/out /mnt/a/up/secret /mnt/b/out; cat /mnt/a/../secret; umount /mnt/a; poweroff -f\n";

#[test]
fn a_folder_is_shared_and_nothing_else() {
    let name = "a_folder_is_shared_and_nothing_else";
    let dir = tempfile::tempdir().expect("a directory");
    let files = modules::files(dir.path(), "vmlinuz-i386", "initrd-i386", "modules-i386");
    let [kernel, initrd] = match files {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let work = dir.path().join("work");
    let numbers: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7 % 251) as u8).collect();
    std::fs::create_dir(&work).expect("a folder");
    std::fs::write(work.join("numbers"), &numbers).expect("a file");
    std::fs::write(work.join("goes"), "away").expect("a file");
    std::fs::write(dir.path().join("secret"), "the-host's-secret").expect("a file");
    std::os::unix::fs::symlink("../secret", work.join("out")).expect("a link");
    std::os::unix::fs::symlink("..", work.join("up")).expect("a link");

    let mut config = common::config(kernel, "x86-64-v2", guest::fastest());
    config.memory = 256 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    let folder = |tag: &str, access| Folder {
        path: work.clone(),
        access,
        tag: tag.into(),
    };
    config.shares = vec![
        folder("work", ShareAccess::ReadWrite),
        folder("share1", ShareAccess::ReadOnly),
    ];
    let outcome = common::converse(&config, LIMIT, Some((PROMPT, SCRIPT)));
    let output = &outcome.output;
    // numbers, out, up, made, dir, linked.
    for line in ["mounted-42", "same-42", "count-6", "refused-42"] {
        assert!(
            output.lines().any(|l| l.trim() == line),
            "no {line} in\n{output}"
        );
    }
    assert!(!output.contains("the-host's-secret"), "{output}");
    assert_eq!(outcome.reason, Some(StopReason::PowerOff), "{output}");

    let made: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(std::fs::read(work.join("made")).expect("the guest's file") == made.as_bytes());
    assert!(std::fs::read(work.join("dir/moved")).expect("the copy") == numbers);
    assert!(std::fs::read(work.join("linked")).expect("the link") == numbers);
    assert!(!work.join("goes").exists() && !work.join("no").exists());
}
