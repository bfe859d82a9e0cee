//! Bus mastering (Programming Interface for Bus Master IDE Controller, 1.0): physical region descriptors.

use super::channel::{Channel, Inner, master};
use super::state::{Direction, Protocol, Transfer};
use crate::ata::packet::Sense;
use crate::ata::{SECTOR, error, status};
use crate::lock;
use crate::pci::{Dma, DmaError, Pieces};
use block::Image;
use std::sync::Arc;

/// Bytes that are moved at once.
const CHUNK: u64 = 1 << 18;
/// Entries of a table: it must not cross 64 KiB (1.2).
const ENTRIES: u32 = 8192;

/// Goes through a table of physical region descriptors.
struct Table<'a> {
    dma: &'a Dma,
    at: u32,
    entries: u32,
    region: (u64, u64),
    last: bool,
}

/// Why a transfer ended before its time.
enum Trouble {
    /// The table or the memory it names.
    Table,
    Medium,
    /// The guest stopped it.
    Stopped,
}

impl From<DmaError> for Trouble {
    fn from(_: DmaError) -> Self {
        Self::Table
    }
}

impl From<std::io::Error> for Trouble {
    fn from(_: std::io::Error) -> Self {
        Self::Medium
    }
}

impl<'a> Table<'a> {
    fn new(dma: &'a Dma, at: u32) -> Self {
        Self {
            dma,
            at,
            entries: 0,
            region: (0, 0),
            last: false,
        }
    }

    /// Whether there is nothing left: if so, the engine is not active after the transfer.
    fn is_exhausted(&self) -> bool {
        self.last && self.region.1 == 0
    }
}

impl Pieces for Table<'_> {
    type Trouble = Trouble;

    fn dma(&self) -> &Dma {
        self.dma
    }

    fn next(&mut self, most: u64) -> Result<(u64, u64), Trouble> {
        if self.region.1 == 0 {
            if self.last || self.entries >= ENTRIES {
                return Err(Trouble::Table);
            }
            let entry: u64 = self.dma.load(self.at.into())?;
            self.at = self.at.wrapping_add(8);
            self.entries += 1;
            self.last = entry >> 63 != 0;
            let bytes = match entry >> 32 & 0xfffe {
                0 => 0x1_0000,
                n => n,
            };
            self.region = (entry & 0xffff_fffe, bytes);
        }
        let n = self.region.1.min(most);
        let piece = (self.region.0, n);
        self.region = (self.region.0 + n, self.region.1 - n);
        Ok(piece)
    }
}

impl Channel {
    /// Begins once a command waits for it and the start bit is set.
    pub(super) fn start_dma(self: &Arc<Self>, c: &mut Inner) {
        let waits = |t: &Transfer| {
            matches!(
                t.protocol,
                Protocol::Dma | Protocol::Trim | Protocol::PacketDma
            )
        };
        let Some(t) = c.s.transfer.as_ref().filter(|t| waits(t)) else {
            return;
        };
        if c.s.master.command & master::START == 0 {
            return;
        }
        let transfer = t.clone();
        let Some(disk) = c.disk() else {
            // Answers of an empty CD-ROM drive need no thread.
            let mut table = Table::new(&self.dma, c.s.master.table);
            let result = table.scatter(&transfer.data);
            let exhausted = table.is_exhausted();
            return self.finish(c, &transfer, result, exhausted);
        };
        let to_memory = c.s.master.command & master::TO_MEMORY != 0;
        let (channel, generation, table) = (self.clone(), c.generation, c.s.master.table);
        let through = c.device().no_write_cache;
        disk.submit(Box::new(move |image, buffer| {
            let mut table = Table::new(&channel.dma, table);
            let right_way = to_memory == (transfer.direction == Direction::In);
            let mut result = match right_way {
                true => channel.run(&mut table, &transfer, generation, image, buffer),
                false => Err(Trouble::Table),
            };
            if through && transfer.direction == Direction::Out && result.is_ok() {
                result = image.flush().map_err(|_| Trouble::Medium);
            }
            let mut c = lock(&channel.inner);
            if c.generation == generation {
                channel.finish(&mut c, &transfer, result, table.is_exhausted());
            }
        }));
    }

    /// Moves the data, on a thread of the disk.
    fn run(
        &self,
        table: &mut Table,
        t: &Transfer,
        generation: u64,
        image: &dyn Image,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        if !t.data.is_empty() {
            return table.scatter(&t.data);
        }
        let (mut at, mut left) = (t.at, t.left);
        while left > 0 {
            if lock(&self.inner).generation != generation {
                return Err(Trouble::Stopped);
            }
            let n = left.min(CHUNK);
            if t.direction == Direction::In {
                table.read_image(image, buffer, at, n)?;
            } else {
                buffer.resize(n as usize, 0);
                table.gather(buffer)?;
                match t.protocol {
                    Protocol::Trim => trim(image, buffer)?,
                    _ => image.write(at, buffer)?,
                }
            }
            at += n;
            left -= n;
        }
        Ok(())
    }

    /// Status of the engine and of the device (1.0, 2.2 and 3.1).
    fn finish(&self, c: &mut Inner, t: &Transfer, result: Result<(), Trouble>, exhausted: bool) {
        let packet = t.protocol == Protocol::PacketDma;
        match &result {
            // More regions than data: the engine stays active.
            Ok(()) if !exhausted => {}
            Err(Trouble::Table) => {
                c.s.master.status &= !master::ACTIVE;
                c.s.master.status |= master::ERROR;
            }
            _ => c.s.master.status &= !master::ACTIVE,
        }
        match (result, packet) {
            (Ok(()), true) => self.packet_done(c),
            (Ok(()), false) => {
                c.s.transfer = None;
                c.device().status = status::DRDY | status::DSC;
                self.raise(c);
            }
            (Err(_), true) => self.packet_failed(c, Sense::READ_ERROR),
            (Err(Trouble::Medium), false) => match t.direction {
                Direction::In => self.fail(c, error::UNC),
                Direction::Out => {
                    self.fail(c, error::ABRT);
                    c.device().status |= status::DF;
                }
            },
            (Err(_), false) => self.fail(c, error::ABRT),
        }
    }
}

/// DATA SET MANAGEMENT's ranges (ACS-2, 7.5.3): 48 bits of LBA, 16 of count.
pub(crate) fn trim(image: &dyn Image, ranges: &[u8]) -> std::io::Result<()> {
    let (ranges, _) = ranges.as_chunks::<8>();
    for range in ranges {
        let range = u64::from_le_bytes(*range);
        let (lba, count) = (range & 0xffff_ffff_ffff, range >> 48);
        if count > 0 && (lba + count) * SECTOR <= image.size() {
            image.discard(lba * SECTOR, count * SECTOR)?;
        }
    }
    Ok(())
}
