//! A process that writes and flushes is killed at random moments: no write that a flush acknowledged is lost, and qcow2 stays consistent.
//!
//! The writer is this test binary again. Before each write it tells which block gets which number, and after each flush that it is done.

mod common;

use block::{Access, Format, Options, manage, open};
use common::{Random, qemu_img};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const BLOCKS: u64 = 2048;
const BLOCK: usize = 4096;
/// Blocks lie apart, so that most writes allocate.
const STRIDE: u64 = 48 << 10;
const WRITER: &str = "FERRY_KILL_WRITER";

/// The content of block `block` after write `n`.
fn content(block: u64, n: u64) -> Vec<u8> {
    let mut r = Random::new(block << 32 ^ n);
    let mut bytes = Vec::with_capacity(BLOCK);
    bytes.extend(n.to_le_bytes());
    while bytes.len() < BLOCK {
        bytes.extend(r.next().to_le_bytes());
    }
    bytes
}

/// The writing process: never ends by itself.
#[test]
fn writer() {
    let Ok(path) = std::env::var(WRITER) else {
        return;
    };
    let seed: u64 = std::env::var("FERRY_KILL_SEED").unwrap().parse().unwrap();
    let first: u64 = std::env::var("FERRY_KILL_FIRST").unwrap().parse().unwrap();
    let image = open(Path::new(&path), &Options::default()).unwrap();
    let mut r = Random::new(seed);
    let mut out = std::io::stdout();
    for n in first.. {
        let block = r.below(BLOCKS);
        writeln!(out, "w {block} {n}").unwrap();
        image.write(block * STRIDE, &content(block, n)).unwrap();
        if r.below(8) == 0 {
            image.flush().unwrap();
            writeln!(out, "f {n}").unwrap();
        }
    }
}

fn rounds(format: Format, rounds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("k.{format}"));
    manage::create(&path, format, Some(BLOCKS * STRIDE), None).unwrap();
    // What each block holds at least, and all that was written since.
    let mut sure = vec![0u64; BLOCKS as usize];
    let mut since: Vec<Vec<u64>> = vec![Vec::new(); BLOCKS as usize];
    let mut r = Random::new(format as u64 + 5);
    let (mut first, mut flushes, mut leaks) = (1, 0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(WRITER, &path)
            .env("FERRY_KILL_SEED", round.to_string())
            .env("FERRY_KILL_FIRST", first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn({
            let delay = Duration::from_micros(20_000 + r.below(150_000));
            move || {
                std::thread::sleep(delay);
                child.kill().unwrap();
                child.wait().unwrap();
            }
        });
        for line in output.split(b'\n') {
            let line = line.unwrap();
            let line = String::from_utf8_lossy(&line);
            let words: Vec<&str> = line.split_whitespace().collect();
            // The last line may be cut off in the middle of a number: it is a write of which nothing is known then.
            match words[..] {
                ["w", block, n] => {
                    let (block, n): (usize, u64) = (block.parse().unwrap(), n.parse().unwrap());
                    since[block.min(BLOCKS as usize - 1)].push(n);
                    first = first.max(n + 1);
                }
                ["f", _] => {
                    flushes += 1;
                    for (sure, since) in sure.iter_mut().zip(&mut since) {
                        if let Some(last) = since.last() {
                            *sure = *last;
                        }
                        since.clear();
                    }
                }
                _ => {}
            }
        }
        killer.join().unwrap();
        if format == Format::Qcow2 {
            let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
            assert_eq!(report.errors, 0, "round {round}: {report:?}");
            // A writer that is killed between counting a cluster and using it loses space, which opening the image for writing takes back.
            leaks += u64::from(report.leaked > 0);
            assert!(report.leaked < 64, "round {round}: {report:?}");
            if report.leaked > 0 {
                eprintln!("round {round}: {} clusters leaked", report.leaked);
            }
        }
        let read_only = Options {
            access: Access::ReadOnly,
            ..Options::default()
        };
        let image = open(&path, &read_only).unwrap();
        let mut bytes = vec![0; BLOCK];
        for block in 0..BLOCKS {
            image.read(block * STRIDE, &mut bytes).unwrap();
            let n = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let (sure, since) = (sure[block as usize], &mut since[block as usize]);
            // A write that no flush followed may be there or not, or in part.
            if n != sure && since.is_empty() {
                panic!("round {round}: block {block} holds write {n}, acknowledged was {sure}");
            }
            if since.is_empty() {
                let want = if sure == 0 {
                    vec![0; BLOCK]
                } else {
                    content(block, sure)
                };
                assert!(bytes == want, "round {round}: block {block}, write {sure}");
            }
        }
        drop(image);
        // What is not known becomes known again.
        let image = open(&path, &Options::default()).unwrap();
        for (block, since) in since.iter_mut().enumerate() {
            if !since.is_empty() {
                image
                    .write(block as u64 * STRIDE, &content(block as u64, first))
                    .unwrap();
                sure[block] = first;
                since.clear();
            }
        }
        first += 1;
        image.flush().unwrap();
    }
    assert!(flushes > rounds, "{flushes} flushes in {rounds} rounds");
    if format == Format::Qcow2 {
        let report = block::qcow2_check::check(&path, |_, _| ()).unwrap();
        assert_eq!((report.errors, report.leaked), (0, 0), "{report:?}");
        qemu_img(&["check", path.to_str().unwrap()]);
    }
    eprintln!("{format}: {first} writes, {flushes} flushes, {leaks} rounds with leaks");
}

#[test]
fn raw_keeps_what_was_flushed() {
    rounds(Format::Raw, 50);
}

#[test]
fn qcow2_keeps_what_was_flushed() {
    rounds(Format::Qcow2, 50);
}
