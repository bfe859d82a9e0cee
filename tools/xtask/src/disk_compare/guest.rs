//! What runs in the guest of `cargo xtask disk-compare`: `disk-io DEVICE WORK[:COUNT]...`. It reads and writes past the guest's page cache
//! and prints a line before and after each work. Compiled by itself, statically, for the guest.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// O_DIRECT of x86-64.
const DIRECT: i32 = 0o40000;
const PAGE: usize = 4096;

/// Bytes at once, and how many times as a rule.
fn shape(work: &str) -> Option<(usize, u64, bool, bool)> {
    Some(match work {
        "seq-read" => (1 << 20, 1024, false, false),
        "seq-write" => (1 << 20, 256, true, false),
        "rand-read" => (PAGE, 20_000, false, true),
        "rand-write" => (PAGE, 10_000, true, true),
        _ => return None,
    })
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let device = args.next().expect("a device");
    let sectors = std::fs::read_to_string(format!("/sys/class/block/{device}/size"))?;
    let size = sectors.trim().parse::<u64>().expect("a number of sectors") * 512;
    let path = format!("/dev/{device}");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(DIRECT).open(path)?;
    for word in args {
        let (work, count) = word.split_once(':').unwrap_or((&word, ""));
        let (bytes, usual, write, random) = shape(work).expect("a work that there is");
        let count = count.parse().unwrap_or(usual);
        println!("START {work}");
        let sum = run(&file, size, bytes, count, write, random)?;
        println!("BENCH {work} {sum:016x}");
    }
    Ok(())
}

/// Does it; the sum of what was read shows that both emulators read the same.
fn run(
    file: &File,
    size: u64,
    bytes: usize,
    count: u64,
    write: bool,
    random: bool,
) -> std::io::Result<u64> {
    let mut room = vec![0u8; bytes + PAGE];
    let start = room.as_ptr().align_offset(PAGE);
    let buffer = &mut room[start..start + bytes];
    let (blocks, mut x, mut sum) = (size / bytes as u64, 88_172_645_463_325_252u64, 0u64);
    for n in 0..count {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let block = if random { x % blocks } else { n % blocks };
        let at = block * bytes as u64;
        if write {
            buffer[..8].copy_from_slice(&x.to_le_bytes());
            file.write_all_at(buffer, at)?;
        } else {
            file.read_exact_at(buffer, at)?;
            // A word of each sector: the processor should not be what is measured.
            for word in buffer.chunks_exact(512) {
                let word = u64::from_le_bytes([
                    word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
                ]);
                sum = sum.rotate_left(5) ^ word;
            }
        }
    }
    if write {
        file.sync_data()?;
    }
    Ok(sum)
}
