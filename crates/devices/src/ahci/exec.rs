//! Commands: from a slot of the list (4.2.2) to the medium and back.

use super::port::{BUS_ERROR, TASK_FILE_ERROR};
use super::{Inner, Shared};
use crate::ata::command::*;
use crate::ata::identify::{self, Facts};
use crate::ata::packet::{Reply, Sense};
use crate::ata::{BLOCK, SECTOR, error, sectors, status};
use crate::ide::{Drive, trim};
use crate::lock;
use crate::pci::{Dma, DmaError, Pieces};
use block::{Disk, Image};
use std::sync::Arc;

/// Bytes that are moved at once.
const CHUNK: u64 = 1 << 18;
/// Command header: ATAPI, bytes of the command frame.
const ATAPI: u32 = 1 << 5;

/// A command as the host put it into a slot.
#[derive(Clone)]
struct Command {
    slot: usize,
    header: u64,
    table: u64,
    regions: u32,
    packet: Option<[u8; 12]>,
    frame: [u8; 20],
}

/// Why it failed.
enum Trouble {
    Memory,
    Medium,
    Stopped,
}

impl From<std::io::Error> for Trouble {
    fn from(_: std::io::Error) -> Self {
        Self::Medium
    }
}

impl From<DmaError> for Trouble {
    fn from(_: DmaError) -> Self {
        Self::Memory
    }
}

/// How its end is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Register,
    PioIn,
    Queued,
}

impl Command {
    fn lba(&self) -> u64 {
        let f = |n: usize| u64::from(self.frame.get(n).copied().unwrap_or(0));
        f(4) | f(5) << 8 | f(6) << 16 | f(8) << 24 | f(9) << 32 | f(10) << 40
    }

    fn byte(&self, n: usize) -> u8 {
        self.frame.get(n).copied().unwrap_or(0)
    }
}

/// Goes through the physical regions of a command (4.2.3.3).
struct Regions<'a> {
    dma: &'a Dma,
    at: u64,
    left: u32,
    region: (u64, u64),
    moved: u64,
}

impl<'a> Regions<'a> {
    fn new(dma: &'a Dma, command: &Command) -> Self {
        Self {
            dma,
            at: command.table.wrapping_add(0x80),
            left: command.regions,
            region: (0, 0),
            moved: 0,
        }
    }
}

impl Pieces for Regions<'_> {
    type Trouble = Trouble;

    fn dma(&self) -> &Dma {
        self.dma
    }

    fn next(&mut self, most: u64) -> Result<(u64, u64), Trouble> {
        while self.region.1 == 0 {
            self.left = self.left.checked_sub(1).ok_or(Trouble::Memory)?;
            let place: u64 = self.dma.load(self.at)?;
            let count: u32 = self.dma.load(self.at.wrapping_add(12))?;
            self.at = self.at.wrapping_add(16);
            self.region = (place & !1, u64::from(count & 0x3f_ffff | 1) + 1);
        }
        let n = self.region.1.min(most);
        let piece = (self.region.0, n);
        self.region = (self.region.0.wrapping_add(n), self.region.1 - n);
        self.moved += n;
        Ok(piece)
    }
}

/// What a job on the disk does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Write,
    Flush,
    Trim,
}

impl Shared {
    /// Gives slots that are set in PxCI to the device: one at a time, those of a queue at once.
    pub(super) fn issue(self: &Arc<Self>, c: &mut Inner, n: usize) {
        for slot in 0..32usize {
            let Some(p) = c.s.ports.get_mut(n) else {
                return;
            };
            let bit = 1u32 << slot;
            if p.ci & bit == 0 || p.issued & bit != 0 || p.stopped {
                continue;
            }
            // While one without a queue is under way the device is busy.
            if p.tfd & u32::from(status::BSY) != 0 && p.issued != 0 {
                continue;
            }
            p.issued |= bit;
            p.cmd = p.cmd & !0x1f00 | (slot as u32) << 8;
            let header = p.clb.wrapping_add(32 * slot as u64);
            match self.fetch(header, slot) {
                Ok(command) => self.execute(c, n, command),
                Err(_) => {
                    p.is |= BUS_ERROR;
                    p.stopped = true;
                }
            }
        }
    }

    fn fetch(&self, header: u64, slot: usize) -> Result<Command, Trouble> {
        let bad = |_| Trouble::Memory;
        let first: u32 = self.dma.load(header).map_err(bad)?;
        let table: u64 = self.dma.load(header.wrapping_add(8)).map_err(bad)?;
        let table = table & !0x7f;
        let mut frame = [0; 20];
        self.dma.read(table, &mut frame).map_err(bad)?;
        let packet = match first & ATAPI {
            0 => None,
            _ => {
                let mut cdb = [0; 12];
                self.dma
                    .read(table.wrapping_add(0x40), &mut cdb)
                    .map_err(bad)?;
                Some(cdb)
            }
        };
        Ok(Command {
            slot,
            header,
            table,
            regions: first >> 16,
            packet,
            frame,
        })
    }

    fn execute(self: &Arc<Self>, c: &mut Inner, n: usize, command: Command) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        if command.byte(0) != 0x27 {
            return self.fail(c, n, &command, error::ABRT);
        }
        if command.byte(1) & 0x80 == 0 {
            // The control register: SRST resets as it falls (9.12).
            let reset = command.byte(15) & 4 != 0;
            let falls = p.soft_reset && !reset;
            p.soft_reset = reset;
            p.ci &= !(1 << command.slot);
            p.issued &= !(1 << command.slot);
            if falls {
                self.signature(c, n);
            }
            return;
        }
        let Some(drive) = c.drives.get(n).cloned().flatten() else {
            return;
        };
        match drive {
            Drive::Disk(disk) => self.disk_command(c, n, command, &disk),
            Drive::CdRom(disc) => self.cdrom_command(c, n, command, disc),
        }
    }

    fn disk_command(self: &Arc<Self>, c: &mut Inner, n: usize, command: Command, disk: &Arc<Disk>) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let code = command.byte(2);
        let (features, count) = (
            u64::from(command.byte(3)) | u64::from(command.byte(11)) << 8,
            u64::from(command.byte(12)) | u64::from(command.byte(13)) << 8,
        );
        let whole = |count: u64, all: u64| if count == 0 { all } else { count };
        let narrow = (
            command.lba() & 0xff_ffff | u64::from(command.byte(7) & 15) << 24,
            whole(count & 0xff, 256),
        );
        let wide = (command.lba(), whole(count, 65536));
        let (work, (lba, count), end) = match code {
            READ_FPDMA_QUEUED => (
                Work::Read,
                (command.lba(), whole(features, 65536)),
                End::Queued,
            ),
            WRITE_FPDMA_QUEUED => (
                Work::Write,
                (command.lba(), whole(features, 65536)),
                End::Queued,
            ),
            READ_DMA | READ_DMA_NO_RETRY => (Work::Read, narrow, End::Register),
            READ_DMA_EXT => (Work::Read, wide, End::Register),
            WRITE_DMA | WRITE_DMA_NO_RETRY => (Work::Write, narrow, End::Register),
            WRITE_DMA_EXT | WRITE_DMA_FUA_EXT => (Work::Write, wide, End::Register),
            READ_SECTORS | READ_SECTORS_NO_RETRY | READ_MULTIPLE => {
                (Work::Read, narrow, End::PioIn)
            }
            READ_SECTORS_EXT | READ_MULTIPLE_EXT => (Work::Read, wide, End::PioIn),
            WRITE_SECTORS | WRITE_SECTORS_NO_RETRY | WRITE_MULTIPLE => {
                (Work::Write, narrow, End::Register)
            }
            WRITE_SECTORS_EXT | WRITE_MULTIPLE_EXT => (Work::Write, wide, End::Register),
            FLUSH_CACHE | FLUSH_CACHE_EXT => (Work::Flush, (0, 0), End::Register),
            DATA_SET_MANAGEMENT if features & 1 != 0 && (1..=8).contains(&count) => {
                (Work::Trim, (0, count), End::Register)
            }
            IDENTIFY => {
                let facts = Facts {
                    sectors: sectors(disk),
                    serial: disk.serial(),
                    heads: 16,
                    per_track: 63,
                    multiple: 0,
                    write_cache: !p.no_write_cache,
                    mode: p.mode,
                    sata: true,
                };
                let data = identify::disk(&facts);
                return self.answer(c, n, &command, &data, End::PioIn);
            }
            READ_VERIFY
            | READ_VERIFY_NO_RETRY
            | READ_VERIFY_EXT
            | CHECK_POWER
            | INITIALIZE_PARAMETERS
            | SET_MULTIPLE
            | SECURITY_FREEZE => {
                return self.done(c, n, &command, End::Register, 0);
            }
            0x94..=0x99 | 0xe0..=0xe3 | 0xe6 => return self.done(c, n, &command, End::Register, 0),
            READ_NATIVE_MAX_EXT | READ_NATIVE_MAX => {
                let last = sectors(disk).saturating_sub(1);
                return self.done(c, n, &command, End::Register, last);
            }
            SET_FEATURES => return self.set_features(c, n, &command),
            _ => return self.fail(c, n, &command, error::ABRT),
        };
        let inside = lba
            .checked_add(count)
            .is_some_and(|end| end <= sectors(disk));
        if !inside && work != Work::Trim {
            return self.fail(c, n, &command, error::IDNF | error::ABRT);
        }
        let writes = matches!(work, Work::Write | Work::Trim);
        if writes && disk.image().access() == block::Access::ReadOnly {
            return self.fail(c, n, &command, error::ABRT);
        }
        if end == End::Queued {
            // Accepted: the slot is free for the host's eyes, the tag is not (5.5.1).
            p.ci &= !(1 << command.slot);
        } else {
            p.tfd = u32::from(status::BSY | status::DRDY);
        }
        let through = p.no_write_cache && work == Work::Write
            || code == WRITE_DMA_FUA_EXT
            || code == WRITE_FPDMA_QUEUED && command.byte(7) & 0x80 != 0;
        self.submit(
            c,
            n,
            command,
            disk,
            work,
            lba * SECTOR,
            count * SECTOR,
            end,
            through,
        );
    }

    fn submit(
        self: &Arc<Self>,
        c: &Inner,
        n: usize,
        command: Command,
        disk: &Disk,
        work: Work,
        at: u64,
        bytes: u64,
        end: End,
        through: bool,
    ) {
        let generation = c.generations.get(n).copied().unwrap_or(0);
        let shared = self.clone();
        disk.submit(Box::new(move |image, buffer| {
            let mut regions = Regions::new(&shared.dma, &command);
            let alive = || lock(&shared.inner).generations.get(n) == Some(&generation);
            let mut result = run(image, buffer, &mut regions, work, at, bytes, alive);
            if through && result.is_ok() {
                result = image.flush().map_err(|_| Trouble::Medium);
            }
            let moved = regions.moved;
            let mut c = lock(&shared.inner);
            if c.generations.get(n) != Some(&generation) {
                return;
            }
            // PRDBC (4.2.2); of a queue's commands it is not kept.
            let _ = shared
                .dma
                .store(command.header.wrapping_add(4), moved as u32);
            match result {
                Ok(()) => shared.done(&mut c, n, &command, end, 0),
                Err(Trouble::Memory) => {
                    if let Some(p) = c.s.ports.get_mut(n) {
                        p.is |= BUS_ERROR;
                    }
                    shared.fail(&mut c, n, &command, error::ABRT);
                }
                Err(_) if command.packet.is_some() => {
                    shared.packet_failed(&mut c, n, &command, Sense::READ_ERROR);
                }
                Err(_) => shared.fail(&mut c, n, &command, error::UNC),
            }
            shared.issue(&mut c, n);
            shared.update(&mut c);
        }));
    }

    fn set_features(&self, c: &mut Inner, n: usize, command: &Command) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        match command.byte(3) {
            0x03 => p.mode = command.byte(12),
            0x02 => p.no_write_cache = false,
            0x82 => p.no_write_cache = true,
            0x05 | 0x85 | 0x10 | 0x90 | 0x42 | 0xc2 | 0x55 | 0xaa | 0x66 | 0xcc => {}
            _ => return self.fail(c, n, command, error::ABRT),
        }
        self.done(c, n, command, End::Register, 0);
    }

    fn cdrom_command(
        self: &Arc<Self>,
        c: &mut Inner,
        n: usize,
        command: Command,
        disc: Option<Arc<Disk>>,
    ) {
        match (command.byte(2), command.packet) {
            (PACKET, Some(cdb)) => self.packet(c, n, command, &cdb, disc),
            (IDENTIFY_PACKET, _) => {
                let serial = disc.as_ref().map_or("", |d| d.serial());
                let mode = c.s.ports.get(n).map_or(0, |p| p.mode);
                let data = identify::cdrom(serial, mode, true);
                self.answer(c, n, &command, &data, End::PioIn);
            }
            (SET_FEATURES, _) => self.set_features(c, n, &command),
            (CHECK_POWER | 0xe0..=0xe3 | 0xe6 | DEVICE_RESET, _) => {
                self.done(c, n, &command, End::Register, 0);
            }
            _ => self.fail(c, n, &command, error::ABRT),
        }
    }

    fn packet(
        self: &Arc<Self>,
        c: &mut Inner,
        n: usize,
        command: Command,
        cdb: &[u8; 12],
        disc: Option<Arc<Disk>>,
    ) {
        let blocks = disc
            .as_ref()
            .map(|d| (d.image().size() / BLOCK).min(u32::MAX.into()) as u32);
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        match (p.unit.packet(cdb, blocks), disc) {
            (Reply::Failed(sense), _) => self.packet_failed(c, n, &command, sense),
            (Reply::Data(data), _) => self.answer(c, n, &command, &data, End::Register),
            (Reply::Read { at, bytes }, Some(disc)) => {
                p.tfd = u32::from(status::BSY | status::DRDY);
                self.submit(
                    c,
                    n,
                    command,
                    &disc,
                    Work::Read,
                    at,
                    bytes,
                    End::Register,
                    false,
                );
            }
            (Reply::Eject, _) => {
                p.unit.medium_changed(false);
                if let Some(Some(Drive::CdRom(d))) = c.drives.get_mut(n) {
                    *d = None;
                }
                self.done(c, n, &command, End::Register, 0);
            }
            _ => self.done(c, n, &command, End::Register, 0),
        }
    }

    fn packet_failed(&self, c: &mut Inner, n: usize, command: &Command, sense: Sense) {
        if let Some(p) = c.s.ports.get_mut(n) {
            p.unit.sense = sense;
        }
        self.fail(c, n, command, sense.key << 4 | error::ABRT);
    }

    /// Data that are there already; the host may want fewer.
    fn answer(&self, c: &mut Inner, n: usize, command: &Command, data: &[u8], end: End) {
        let mut regions = Regions::new(&self.dma, command);
        let mut rest = data;
        while !rest.is_empty() {
            let Ok((at, bytes)) = regions.next(rest.len() as u64) else {
                break;
            };
            let (part, tail) = rest.split_at(bytes as usize);
            if self.dma.write(at, part).is_err() {
                if let Some(p) = c.s.ports.get_mut(n) {
                    p.is |= BUS_ERROR;
                }
                return self.fail(c, n, command, error::ABRT);
            }
            rest = tail;
        }
        let _ = self
            .dma
            .store(command.header.wrapping_add(4), regions.moved as u32);
        self.done(c, n, command, end, 0);
    }

    fn done(&self, c: &mut Inner, n: usize, command: &Command, end: End, lba: u64) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let bit = 1 << command.slot;
        p.issued &= !bit;
        p.ci &= !bit;
        let old = p.tfd;
        p.tfd = u32::from(status::DRDY | status::DSC);
        let [a, b, d, e, f, g, ..] = lba.to_le_bytes();
        match end {
            End::Queued => {
                p.tfd = old;
                self.set_bits(c, n, bit);
            }
            End::PioIn => self.pio_setup(c, n, 512),
            // A packet device tells the reason; a disk the state of its power.
            End::Register => {
                let count = if command.byte(2) == CHECK_POWER {
                    0xff
                } else {
                    3
                };
                self.device_to_host(c, n, [a, b, d, e, f, g], count);
            }
        }
    }

    fn fail(&self, c: &mut Inner, n: usize, command: &Command, error: u8) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        p.tfd = u32::from(error) << 8 | u32::from(status::DRDY | status::DSC | status::ERR);
        p.is |= TASK_FILE_ERROR;
        // The slot stays for the host to see; nothing else is taken (6.2.2).
        p.stopped = true;
        let lba = command.lba().to_le_bytes();
        let [a, b, d, e, f, g, ..] = lba;
        self.device_to_host(c, n, [a, b, d, e, f, g], 3);
    }
}

/// Moves the data of a command, on a thread of the disk.
fn run(
    image: &dyn Image,
    buffer: &mut Vec<u8>,
    regions: &mut Regions,
    work: Work,
    at: u64,
    bytes: u64,
    alive: impl Fn() -> bool,
) -> Result<(), Trouble> {
    if work == Work::Flush {
        return image.flush().map_err(|_| Trouble::Medium);
    }
    let mut done = 0;
    while done < bytes {
        if !alive() {
            return Err(Trouble::Stopped);
        }
        let n = (bytes - done).min(CHUNK);
        if work == Work::Read {
            regions.read_image(image, buffer, at + done, n)?;
        } else {
            buffer.resize(n as usize, 0);
            regions.gather(buffer)?;
            match work {
                Work::Trim => trim(image, buffer)?,
                _ => image.write(at + done, buffer)?,
            }
        }
        done += n;
    }
    Ok(())
}
