//! `ferry run` is killed while its guest writes blocks and flushes: no write whose fsync ended in the guest is lost, and qcow2 stays sound.
//!
//! The guest is Debian's kernel with busybox. It tells each write on the serial line once it is on the disk. Nightly, since it boots fifty
//! times; skipped by name where the guest's files cannot be had.

#[expect(dead_code, reason = "other tests make files and kernels with it")]
mod common;
#[path = "../../../guest-tests/tests/guest/mod.rs"]
#[expect(dead_code, reason = "other tests choose an engine with it")]
mod guest;
#[path = "../../../guest-tests/tests/modules/mod.rs"]
mod modules;

use block::{Format, Options, manage, open};
use common::{Running, program};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 256;
/// Blocks lie apart, so that most writes allocate.
const STRIDE: u64 = 17;
const ROUNDS: u64 = 25;

/// Writes number after number, as 4096 digits, to blocks here and there.
fn script(first: u64) -> String {
    format!(
        "for m in /ferry/modules/*; do insmod $m; done; while [ ! -b /dev/vda ]; do sleep 1; done; n={first}; while :; do n=$((n + 1)); \
         s=$((RANDOM % {BLOCKS} * {STRIDE})); printf '%0{BLOCK}d' $n >/tmp/b; dd if=/tmp/b of=/dev/vda bs={BLOCK} seek=$s count=1 \
         conv=fsync,notrunc 2>/dev/null && echo \"kept $n $s\"; done"
    )
}

/// The number in a block; `None` if it is not the same throughout.
fn number(block: &[u8]) -> Option<u64> {
    if block.iter().all(|b| *b == 0) {
        return Some(0);
    }
    let text = std::str::from_utf8(block).ok()?;
    text.trim_start_matches('0').parse().ok()
}

/// Boots, and kills some moments after the first write was kept; tells what was.
fn round(
    files: &[std::path::PathBuf; 2],
    disk: &str,
    first: u64,
    after: Duration,
) -> Vec<(u64, u64)> {
    let [kernel, initrd] = files;
    let hex: String = script(first).bytes().map(|b| format!("{b:02x}")).collect();
    let line = format!("console=ttyS0 panic=-1 quiet ferry.token=kill ferry.command={hex}");
    let mut command = program();
    command.args(["run", "--memory", "256M", "--append", &line, "--disk", disk]);
    command
        .arg("--kernel")
        .arg(kernel)
        .arg("--initrd")
        .arg(initrd);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let mut serial = BufReader::new(child.0.stdout.take().unwrap());
    let (to, kept) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A line without its end was cut off by the kill: its numbers may be, too.
        while serial.read_until(b'\n', &mut bytes).is_ok() && bytes.ends_with(b"\n") {
            let line = String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned();
            let mut words = line.split_whitespace();
            if let (Some("kept"), Some(n), Some(s)) = (words.next(), words.next(), words.next())
                && let (Ok(n), Ok(s)) = (n.parse(), s.parse())
                && to.send((n, s)).is_err()
            {
                break;
            }
        }
    });
    let mut all = vec![
        kept.recv_timeout(Duration::from_secs(300))
            .expect("a first write"),
    ];
    std::thread::sleep(after);
    // SIGKILL: nothing of the process runs after it.
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    all.extend(kept.iter());
    reader.join().unwrap();
    all
}

fn rounds(name: &str, format: Format) {
    let dir = tempfile::tempdir().unwrap();
    let files = match modules::files(dir.path(), "vmlinuz", "initrd", "modules") {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let path = dir.path().join(format!("disk.{format}"));
    let bytes = BLOCKS * STRIDE * BLOCK as u64;
    manage::create(&path, format, Some(bytes), None).unwrap();
    let disk = path.to_str().unwrap();
    let mut sure: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut x, mut total, mut places) = (88_172_645_463_325_252u64, 0, BTreeSet::new());
    for n in 0..ROUNDS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let kept = round(
            &files,
            disk,
            (n + 1) * 1_000_000,
            Duration::from_millis(x % 1500),
        );
        total += kept.len();
        let last = kept.last().map_or(0, |k| k.0);
        for &(number, place) in &kept {
            sure.insert(place, number);
            places.insert(place);
        }
        let image = open(&path, &Options::default()).unwrap();
        let mut block = vec![0; BLOCK];
        for place in (0..BLOCKS).map(|b| b * STRIDE) {
            image.read(place * BLOCK as u64, &mut block).unwrap();
            let found = number(&block);
            let wanted = sure.get(&place).copied().unwrap_or(0);
            // The write that was under way may be there.
            let fine = found == Some(wanted) || found == Some(last + 1);
            assert!(
                fine,
                "{name}, round {n}: block {place} has {found:?}, kept was {wanted}, last {last}"
            );
            sure.insert(place, found.unwrap_or(0));
        }
        drop(image);
        if format == Format::Qcow2 {
            match Command::new("qemu-img").args(["check", disk]).output() {
                Ok(o) => assert!(
                    o.status.success(),
                    "{name}, round {n}: {}",
                    String::from_utf8_lossy(&o.stdout)
                ),
                Err(_) => {
                    eprintln!("{name}: not checked, there is no qemu-img (Debian: qemu-utils)")
                }
            }
            let report = block::qcow2_check::check(Path::new(disk), |_, _| ()).unwrap();
            assert_eq!((report.errors, report.leaked), (0, 0), "{report:?}");
        }
    }
    assert!(
        places.len() > 5 && total > ROUNDS as usize,
        "{total} writes to {} places",
        places.len()
    );
    eprintln!(
        "{name}: {ROUNDS} kills, {total} writes kept, in {} places",
        places.len()
    );
}

#[test]
#[ignore = "nightly: boots Debian's kernel 25 times"]
fn a_killed_ferry_keeps_what_its_guest_flushed_raw() {
    rounds(
        "a_killed_ferry_keeps_what_its_guest_flushed_raw",
        Format::Raw,
    );
}

#[test]
#[ignore = "nightly: boots Debian's kernel 25 times"]
fn a_killed_ferry_keeps_what_its_guest_flushed_qcow2() {
    rounds(
        "a_killed_ferry_keeps_what_its_guest_flushed_qcow2",
        Format::Qcow2,
    );
}
