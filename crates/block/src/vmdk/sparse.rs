//! A sparse extent: grains behind a directory of tables, as they are or deflated.

use super::{Header, SECTOR, Trouble};
use crate::bytes::{le32, le64, read_padded};
use flate2::read::ZlibDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// Header flag: an entry of 1 is a grain of zeroes.
const ZEROED_GRAINS: u32 = 1 << 2;
/// Header flag: grains are compressed.
const COMPRESSED: u32 = 1 << 16;
/// Directory offset that sends the reader to the footer.
const AT_END: u64 = u64::MAX;
/// Largest grain directory: 4 Mi tables.
const TABLE_LIMIT: u64 = 1 << 22;
/// Tables that are kept.
const KEPT_TABLES: usize = 1024;

type Grain = Option<(u64, Arc<Vec<u8>>)>;

pub(super) struct Sparse {
    file: File,
    header: Header,
    /// Sector of each table.
    directory: Vec<u32>,
    tables: Mutex<HashMap<u64, Arc<Vec<u32>>>>,
    /// The grain that was inflated last: readers come back for its other sectors.
    last: Mutex<Grain>,
}

impl Sparse {
    pub(super) fn new(file: File) -> Result<Self, Trouble> {
        let mut bytes = [0; 512];
        read_padded(&file, 0, &mut bytes)?;
        let mut header = Header::parse(&bytes)?;
        if header.directory == AT_END {
            // The footer is the last but one sector ("Stream-Optimized Compressed Sparse Extents").
            let end = file.metadata()?.len();
            read_padded(&file, end.saturating_sub(2 * SECTOR), &mut bytes)?;
            header = Header::parse(&bytes)?;
        }
        let Header {
            capacity,
            grain,
            entries,
            ..
        } = header;
        if !grain.is_power_of_two() || !(8..=1 << 16).contains(&grain) {
            return Err(Trouble::Malformed(format!(
                "its grains have {grain} sectors"
            )));
        }
        if entries == 0 || entries > 1 << 16 || capacity == 0 || capacity > 1 << 40 {
            return Err(Trouble::Malformed(format!(
                "it has {capacity} sectors and {entries} entries a table"
            )));
        }
        if header.flags & COMPRESSED != 0 && header.compression != 1 {
            return Err(Trouble::Unsupported(format!(
                "its grains are compressed by algorithm {}; accepted is 1 (deflate)",
                header.compression
            )));
        }
        let tables = capacity.div_ceil(grain * u64::from(entries));
        if tables > TABLE_LIMIT {
            return Err(Trouble::Malformed(format!("it has {tables} grain tables")));
        }
        let mut bytes = vec![0; tables as usize * 4];
        read_padded(&file, header.directory.saturating_mul(SECTOR), &mut bytes)?;
        let directory = (0..tables as usize).map(|n| le32(&bytes, n * 4)).collect();
        Ok(Self {
            file,
            header,
            directory,
            tables: Mutex::default(),
            last: Mutex::default(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.header.capacity * SECTOR
    }

    /// Sector of a grain; 0 if there is none.
    fn entry(&self, grain: u64) -> io::Result<u32> {
        let entries = u64::from(self.header.entries);
        let (number, index) = (grain / entries, (grain % entries) as usize);
        let sector = self.directory.get(number as usize).copied().unwrap_or(0);
        if sector == 0 {
            return Ok(0);
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&number) {
            return Ok(table.get(index).copied().unwrap_or(0));
        }
        let mut bytes = vec![0; entries as usize * 4];
        read_padded(&self.file, u64::from(sector) * SECTOR, &mut bytes)?;
        let table: Vec<u32> = (0..entries as usize).map(|n| le32(&bytes, n * 4)).collect();
        let entry = table.get(index).copied().unwrap_or(0);
        if tables.len() >= KEPT_TABLES {
            tables.clear();
        }
        tables.insert(number, Arc::new(table));
        Ok(entry)
    }

    /// The content of a compressed grain whose marker is at `sector`.
    fn inflate(&self, grain: u64, sector: u32) -> io::Result<Arc<Vec<u8>>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, content)) = &*last
            && *number == grain
        {
            return Ok(content.clone());
        }
        let bytes = (self.header.grain * SECTOR) as usize;
        let at = u64::from(sector) * SECTOR;
        let mut marker = [0; 12];
        read_padded(&self.file, at, &mut marker)?;
        let stored = le32(&marker, 8) as usize;
        if le64(&marker, 0) != grain * self.header.grain || stored > 2 * bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("grain {grain} of the VMDK has the wrong marker"),
            ));
        }
        let mut deflated = vec![0; stored];
        read_padded(&self.file, at + 12, &mut deflated)?;
        let mut content = Vec::with_capacity(bytes);
        ZlibDecoder::new(&*deflated)
            .take(bytes as u64)
            .read_to_end(&mut content)?;
        content.resize(bytes, 0);
        let content = Arc::new(content);
        *last = Some((grain, content.clone()));
        Ok(content)
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let grain_bytes = self.header.grain * SECTOR;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (grain, within) = (at / grain_bytes, at % grain_bytes);
            let n = (grain_bytes - within).min(rest.len() as u64);
            let (part, tail) = rest.split_at_mut(n as usize);
            match self.entry(grain)? {
                0 => part.fill(0),
                1 if self.header.flags & ZEROED_GRAINS != 0 => part.fill(0),
                sector if self.header.flags & COMPRESSED != 0 => {
                    let content = self.inflate(grain, sector)?;
                    let from = within as usize..(within + n) as usize;
                    part.copy_from_slice(content.get(from).unwrap_or_default());
                }
                sector => read_padded(&self.file, u64::from(sector) * SECTOR + within, part)?,
            }
            at += n;
            rest = tail;
        }
        Ok(())
    }
}
