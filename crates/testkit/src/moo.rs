//! Reader of MOO files: single-instruction vectors recorded from real chips (SingleStepTests by Daniel Balsom, MIT licence).
//!
//! A file is a run of chunks: a 4-byte tag, a 32-bit little-endian length, the body. Tags that are not known are passed over.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Register order of a `REGS` chunk.
pub const REGISTERS: [&str; 14] = [
    "ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags",
];

/// Registers and memory at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Values in the order of [`REGISTERS`]; `None` where the file says nothing (after: unchanged).
    pub regs: [Option<u16>; 14],
    /// Address and value.
    pub ram: Vec<(u32, u8)>,
}

/// The exception that a test took.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Vector.
    pub number: u8,
    /// Linear address of the FLAGS image that it pushed.
    pub flags_address: u32,
}

/// One test.
#[derive(Clone, Debug, Default)]
pub struct Test {
    /// Number in the file.
    pub index: u32,
    /// Disassembly.
    pub name: String,
    /// Instruction bytes with the closing HLT.
    pub bytes: Vec<u8>,
    /// Before.
    pub initial: Snapshot,
    /// After: only what changed.
    pub last: Snapshot,
    /// Exception taken.
    pub exception: Option<Exception>,
}

/// Where the vectors are: `$FERRY_VECTORS`, or `../shared/vectors` beside the repository. `None` if neither is there.
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("FERRY_VECTORS").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = named.unwrap_or_else(beside);
    folder.is_dir().then_some(folder)
}

/// Read the gzipped file at `path`.
pub fn read(path: &Path) -> io::Result<Vec<Test>> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Read an unpacked file.
pub fn parse(bytes: &[u8]) -> io::Result<Vec<Test>> {
    let mut tests = Vec::new();
    for (tag, body) in chunks(bytes) {
        if &tag == b"TEST" {
            tests.push(test(body).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("test {} is cut short", tests.len()),
                )
            })?);
        }
    }
    Ok(tests)
}

/// The chunks of `bytes`; ends where one is cut short.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(8)?;
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (body, rest) = rest.split_at_checked(len)?;
        bytes = rest;
        Some(([head[0], head[1], head[2], head[3]], body))
    })
}

fn test(body: &[u8]) -> Option<Test> {
    let mut t = Test {
        index: u32_at(body, 0)?,
        ..Test::default()
    };
    for (tag, body) in chunks(body.get(4..)?) {
        match &tag {
            b"NAME" => t.name = String::from_utf8_lossy(counted(body)?).into_owned(),
            b"BYTS" => t.bytes = counted(body)?.to_vec(),
            b"INIT" => t.initial = snapshot(body)?,
            b"FINA" => t.last = snapshot(body)?,
            b"EXCP" => {
                t.exception = Some(Exception {
                    number: *body.first()?,
                    flags_address: u32_at(body, 1)?,
                })
            }
            _ => {}
        }
    }
    Some(t)
}

fn counted(body: &[u8]) -> Option<&[u8]> {
    body.get(4..4 + u32_at(body, 0)? as usize)
}

fn snapshot(body: &[u8]) -> Option<Snapshot> {
    let mut s = Snapshot::default();
    for (tag, body) in chunks(body) {
        match &tag {
            b"REGS" => {
                let mask = u16_at(body, 0)?;
                let mut at = 2;
                for (bit, slot) in s.regs.iter_mut().enumerate() {
                    if mask & 1 << bit != 0 {
                        *slot = Some(u16_at(body, at)?);
                        at += 2;
                    }
                }
            }
            b"RAM " => {
                let count = u32_at(body, 0)? as usize;
                s.ram = (0..count)
                    .map(|n| Some((u32_at(body, 4 + 5 * n)?, *body.get(8 + 5 * n)?)))
                    .collect::<Option<_>>()?;
            }
            _ => {}
        }
    }
    Some(s)
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_read() {
        let Some(folder) = folder() else {
            println!("skipped: no vectors beside the repository");
            return;
        };
        let mut count = 0;
        for entry in std::fs::read_dir(folder.join("80286")).expect("the folder lists") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "gz") {
                let tests = read(&path).expect("a readable file");
                assert!(
                    tests
                        .iter()
                        .all(|t| t.initial.regs.iter().all(Option::is_some) && !t.bytes.is_empty()),
                    "{}",
                    path.display()
                );
                count += tests.len();
            }
        }
        assert_eq!(count, 97_500);
    }

    #[test]
    fn a_short_file_is_refused_or_ends() {
        assert!(parse(b"TEST\x02\0\0\0ab").is_err());
        assert!(parse(b"TEST\xff\0\0\0ab").expect("ends").is_empty());
    }
}
