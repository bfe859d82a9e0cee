//! VHDX, for reading ([MS-VHDX] 7.0): dynamic and fixed disks that were closed cleanly.
//!
//! Absent: differencing disks, the replay of a log (an image that needs one is refused), writing.

use crate::bytes::{array, le16, le32, le64, read_padded};
use crate::lock::{self, Direct};
use crate::{Access, Error, Format, Image, check_range};
use std::fs::File;
use std::io;
use std::path::Path;

const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
const HEADER_BYTES: usize = 4096;
const TABLE_BYTES: usize = 64 << 10;
/// Largest disk (2.1).
const SIZE_LIMIT: u64 = 64 << 40;
/// Sectors that one sector bitmap block describes (2.5).
const CHUNK_SECTORS: u64 = 1 << 23;

/// GUIDs as they stand in the file (2.2.3.2, 2.6.2).
mod guid {
    pub const BAT: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
    pub const METADATA: [u8; 16] =
        *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
    pub const FILE_PARAMETERS: [u8; 16] =
        *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
    pub const DISK_SIZE: [u8; 16] =
        *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
    pub const SECTOR_SIZE: [u8; 16] =
        *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
}

/// Where a block is: the states of 2.5.1.1 that a disk without parent can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Zero,
    At(u64),
}

pub(crate) struct Vhdx {
    file: File,
    size: u64,
    block_size: u64,
    blocks: Vec<Block>,
}

/// What is wrong with a file, before its name is known.
enum Trouble {
    Malformed(String),
    Unsupported(String),
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

fn malformed<T>(reason: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Malformed(reason.into()))
}

impl Vhdx {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = lock::open(path, Access::ReadOnly, Direct::No)?;
        Self::parse(file).map_err(|trouble| match trouble {
            Trouble::Malformed(reason) => Error::Malformed {
                path: path.to_owned(),
                format: Format::Vhdx,
                reason,
            },
            Trouble::Unsupported(reason) => Error::Unsupported {
                path: path.to_owned(),
                format: Format::Vhdx,
                reason,
            },
            Trouble::Io(source) => Error::Open {
                path: path.to_owned(),
                wanted: "read",
                source,
            },
        })
    }

    fn parse(file: File) -> Result<Self, Trouble> {
        let mut signature = [0; 8];
        read_padded(&file, 0, &mut signature)?;
        if &signature != b"vhdxfile" {
            return malformed("its signature is missing");
        }
        let header = current_header(&file)?;
        if array::<16>(&header, 48) != [0; 16] {
            return Err(Trouble::Unsupported(
                "it was not closed cleanly and its log must be replayed first; accepted is an image that its last user closed"
                    .into(),
            ));
        }
        let regions = region_table(&file)?;
        let (bat_at, bat_bytes) = region(&regions, &guid::BAT, "block allocation table")?;
        let (metadata_at, _) = region(&regions, &guid::METADATA, "metadata")?;
        let metadata = Metadata::read(&file, metadata_at)?;
        let blocks = bat(&file, bat_at, bat_bytes, &metadata)?;
        Ok(Self {
            file,
            size: metadata.size,
            block_size: metadata.block_size,
            blocks,
        })
    }
}

/// The valid header with the higher sequence number (2.2.2).
fn current_header(file: &File) -> Result<Vec<u8>, Trouble> {
    let mut best: Option<(u64, Vec<u8>)> = None;
    for at in HEADERS {
        let mut header = vec![0; HEADER_BYTES];
        read_padded(file, at, &mut header)?;
        let sequence = le64(&header, 8);
        if header.starts_with(b"head")
            && checksum_holds(&header)
            && best.as_ref().is_none_or(|b| b.0 < sequence)
        {
            best = Some((sequence, header));
        }
    }
    let Some((_, header)) = best else {
        return malformed("neither of its headers is valid");
    };
    match le16(&header, 66) {
        1 => Ok(header),
        version => Err(Trouble::Unsupported(format!(
            "it has version {version}; accepted is version 1"
        ))),
    }
}

/// A valid region table (2.2.3).
fn region_table(file: &File) -> Result<Vec<u8>, Trouble> {
    for at in REGION_TABLES {
        let mut table = vec![0; TABLE_BYTES];
        read_padded(file, at, &mut table)?;
        if table.starts_with(b"regi") && checksum_holds(&table) {
            return Ok(table);
        }
    }
    malformed("neither of its region tables is valid")
}

/// Where a region is and how long.
fn region(table: &[u8], wanted: &[u8; 16], name: &str) -> Result<(u64, u64), Trouble> {
    let count = le32(table, 8).min(2047) as usize;
    for entry in (0..count).map(|n| 16 + 32 * n) {
        if array::<16>(table, entry) == *wanted {
            let (at, bytes) = (le64(table, entry + 16), u64::from(le32(table, entry + 24)));
            if at < 1 << 20 || at.checked_add(bytes).is_none() {
                return malformed(format!("its {name} is at the impossible place {at:#x}"));
            }
            return Ok((at, bytes));
        }
        let known = [guid::BAT, guid::METADATA].contains(&array::<16>(table, entry));
        if !known && le32(table, entry + 28) & 1 != 0 {
            return Err(Trouble::Unsupported(
                "it needs a region that is not in the specification".into(),
            ));
        }
    }
    malformed(format!("it has no {name}"))
}

/// What the metadata say (2.6).
struct Metadata {
    size: u64,
    block_size: u64,
    sector_size: u64,
}

impl Metadata {
    fn read(file: &File, at: u64) -> Result<Self, Trouble> {
        let mut table = vec![0; TABLE_BYTES];
        read_padded(file, at, &mut table)?;
        if !table.starts_with(b"metadata") {
            return malformed("its metadata table has no signature");
        }
        let count = usize::from(le16(&table, 10)).min(2047);
        let item = |wanted: &[u8; 16], name: &str| -> Result<[u8; 8], Trouble> {
            for entry in (0..count).map(|n| 32 + 32 * n) {
                if array::<16>(&table, entry) == *wanted {
                    let mut value = [0; 8];
                    let place = at.saturating_add(le32(&table, entry + 16).into());
                    read_padded(file, place, &mut value)?;
                    return Ok(value);
                }
            }
            malformed(format!("its metadata lack the {name}"))
        };
        let parameters = item(&guid::FILE_PARAMETERS, "file parameters")?;
        let block_size = u64::from(le32(&parameters, 0));
        if le32(&parameters, 4) & 2 != 0 {
            return Err(Trouble::Unsupported(
                "it is a differencing disk; accepted is a disk without parent".into(),
            ));
        }
        if !block_size.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block_size) {
            return malformed(format!("its blocks have {block_size} bytes"));
        }
        let size = u64::from_le_bytes(item(&guid::DISK_SIZE, "disk size")?);
        let sector_size = u64::from(le32(&item(&guid::SECTOR_SIZE, "sector size")?, 0));
        if ![512, 4096].contains(&sector_size) {
            return malformed(format!("its sectors have {sector_size} bytes"));
        }
        if size == 0 || size > SIZE_LIMIT || size % sector_size != 0 {
            return malformed(format!("its disk has {size} bytes"));
        }
        Ok(Self {
            size,
            block_size,
            sector_size,
        })
    }
}

/// The block allocation table without its sector bitmap entries (2.5).
fn bat(file: &File, at: u64, bytes: u64, m: &Metadata) -> Result<Vec<Block>, Trouble> {
    let count = m.size.div_ceil(m.block_size);
    let ratio = CHUNK_SECTORS * m.sector_size / m.block_size;
    let entries = count + (count - 1) / ratio;
    if entries.saturating_mul(8) > bytes {
        return malformed(format!(
            "its block allocation table has {bytes} bytes, too few for {count} blocks"
        ));
    }
    let mut table = vec![0; (entries * 8) as usize];
    read_padded(file, at, &mut table)?;
    let mut blocks = Vec::with_capacity(count as usize);
    for n in 0..count {
        let entry = le64(&table, ((n + n / ratio) * 8) as usize);
        blocks.push(match entry & 7 {
            0..=3 => Block::Zero,
            6 if entry >> 20 == 0 => return malformed(format!("block {n} lies in its header")),
            6 => Block::At(entry & !0xf_ffff),
            state => return malformed(format!("block {n} has the state {state}")),
        });
    }
    Ok(blocks)
}

impl Image for Vhdx {
    fn size(&self) -> u64 {
        self.size
    }
    fn access(&self) -> Access {
        Access::ReadOnly
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        check_range(self.size, at, into.len() as u64)?;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let within = at % self.block_size;
            let n = (self.block_size - within).min(rest.len() as u64);
            let (part, tail) = rest.split_at_mut(n as usize);
            match self.blocks.get((at / self.block_size) as usize) {
                Some(Block::At(place)) => {
                    read_padded(&self.file, place.saturating_add(within), part)?
                }
                _ => part.fill(0),
            }
            at += n;
            rest = tail;
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the CRC-32C in bytes 4 to 7 is that of the structure with zeroes there (2.2.2).
fn checksum_holds(bytes: &[u8]) -> bool {
    let sum = bytes.iter().enumerate().fold(!0u32, |crc, (n, &b)| {
        let b = if (4..8).contains(&n) { 0 } else { b };
        (0..8).fold(crc ^ u32::from(b), |c, _| {
            c >> 1 ^ if c & 1 != 0 { 0x82f6_3b78 } else { 0 }
        })
    });
    !sum == le32(bytes, 4)
}
