//! `ferry disk`, and what `ferry run` says of disks that it cannot have.

use std::path::Path;
use std::process::{Command, Output};

fn ferry(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferry"))
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn works(dir: &Path, args: &[&str]) -> String {
    let output = ferry(dir, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    said(&output)
}

#[test]
fn images_are_made_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = works(dir, &["disk", "create", "a.qcow2", "64M"]);
    assert_eq!(text, "a.qcow2: qcow2, 67108864 bytes (64.0 MiB)\n");
    works(dir, &["disk", "create", "b.img", "1M"]);
    works(dir, &["disk", "snapshot", "a.qcow2", "c.qcow2"]);
    let text = works(dir, &["disk", "info", "c.qcow2"]);
    assert!(text.contains("backing    a.qcow2 (qcow2)"), "{text}");
    let text = works(dir, &["disk", "info", "--json", "b.img"]);
    assert!(
        text.contains("\"format\":\"raw\"") && text.contains("\"size\":1048576"),
        "{text}"
    );
    works(dir, &["disk", "convert", "c.qcow2", "d.raw"]);
    assert_eq!(
        std::fs::metadata(dir.join("d.raw")).unwrap().len(),
        64 << 20
    );
    works(dir, &["disk", "resize", "a.qcow2", "96M"]);
    works(dir, &["disk", "resize", "--shrink", "d.raw", "32M"]);
    let text = works(dir, &["disk", "check", "a.qcow2"]);
    assert!(text.contains("0 errors, 0 leaked clusters"), "{text}");
    works(dir, &["disk", "check", "d.raw"]);
    // Damage: the reference count of the first cluster becomes zero.
    let path = dir.join("a.qcow2");
    let mut bytes = std::fs::read(&path).unwrap();
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(bytes[table..table + 8].try_into().unwrap()) as usize;
    bytes[block..block + 2].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let output = ferry(dir, &["disk", "check", "a.qcow2"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("cluster 0 is used 1 times and counted 0 times"),
        "{}",
        said(&output)
    );
}

/// A flat multiboot kernel: the disks are looked at after it.
fn kernel() -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    const FLAGS: u32 = 1 << 16;
    let start = 0x10_0000u32;
    let sum = 0u32.wrapping_sub(MAGIC).wrapping_sub(FLAGS);
    let words = [MAGIC, FLAGS, sum, start, start, 0, 0, start + 32];
    let mut kernel: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    kernel.extend([0xf4; 32]);
    kernel
}

#[test]
fn refusals_name_what_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(
        dir.join("x.vmdk"),
        [&b"KDMV\x01\0\0\0"[..], &[0; 504]].concat(),
    )
    .unwrap();
    std::fs::write(dir.join("k"), kernel()).unwrap();
    std::fs::write(dir.join("empty"), []).unwrap();
    works(dir, &["disk", "create", "r.img", "1M"]);
    let run = |disk: &'static str| vec!["run", "--kernel", "k", "--disk", disk];
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (
            vec!["disk", "create", "n.raw"],
            "SIZE: a new disk needs a size",
        ),
        (vec!["disk", "create", "n.raw", "5"], "has no unit"),
        (
            vec!["disk", "create", "n.vmdk", "5M"],
            "vmdk images cannot be made",
        ),
        (
            vec!["disk", "create", "n.raw", "5M", "--format", "vdi"],
            "accepted are raw, qcow2, vmdk and vhdx",
        ),
        (vec!["disk", "create", "r.img", "5M"], "cannot create r.img"),
        (
            vec!["disk", "create", "n.raw", "--backing", "r.img"],
            "accepted is qcow2",
        ),
        (
            vec!["disk", "info", "none.qcow2"],
            "cannot open the disk image none.qcow2",
        ),
        (vec!["disk", "info", "."], "is a directory"),
        (vec!["disk", "info", "x.vmdk"], "is no vmdk image"),
        (
            vec!["disk", "resize", "r.img", "512K"],
            "accepted with --shrink",
        ),
        (vec!["disk", "resize", "x.vmdk", "512K"], "vmdk"),
        (run("none.img"), "cannot open the disk image none.img"),
        (
            run("r.img,if=scsi"),
            "--disk: if: 'scsi' is not known; accepted are virtio, ide, sata and floppy",
        ),
        (
            run("x.vmdk"),
            "vmdk images cannot be written in this version; accepted are readonly=on and snapshot=on",
        ),
        (run("x.vmdk,readonly=on"), "is no vmdk image"),
        (run("empty"), "empty has 0 bytes; accepted are images of"),
        (
            run("empty,if=floppy"),
            "empty has 0 bytes; accepted for a floppy are",
        ),
        (run("r.img,format=qcow2"), "r.img is no qcow2 image"),
    ];
    for (args, want) in cases {
        let output = ferry(dir, &args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(want), "{args:?}: {text}");
    }
}
