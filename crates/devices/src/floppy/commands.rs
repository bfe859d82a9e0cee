//! The commands (5.0) and their phases (4.0).

use super::state::Phase;
use super::{Geometry, Inner, SECTOR, Shared};
use crate::lock;
use block::{Disk, Image};
use std::io;
use std::sync::Arc;

mod op {
    pub const SPECIFY: u8 = 0x03;
    pub const SENSE_DRIVE: u8 = 0x04;
    pub const WRITE: u8 = 0x05;
    pub const READ: u8 = 0x06;
    pub const RECALIBRATE: u8 = 0x07;
    pub const SENSE_INTERRUPT: u8 = 0x08;
    pub const READ_ID: u8 = 0x0a;
    pub const FORMAT: u8 = 0x0d;
    pub const DUMP: u8 = 0x0e;
    pub const SEEK: u8 = 0x0f;
    pub const VERSION: u8 = 0x10;
    pub const PERPENDICULAR: u8 = 0x12;
    pub const CONFIGURE: u8 = 0x13;
    pub const UNLOCK: u8 = 0x14;
    pub const VERIFY: u8 = 0x16;
    pub const LOCK: u8 = 0x94;
    pub const SEEK_OUT: u8 = 0x8f;
    pub const SEEK_IN: u8 = 0xcf;
}

/// Status register 0 (4.3.1): how it ended, and whether a seek did.
const ST0_ABNORMAL: u8 = 0x40;
const ST0_INVALID: u8 = 0x80;
const ST0_SEEK: u8 = 0x20;
const ST0_EQUIPMENT: u8 = 0x10;
/// Status register 1.
const ST1_END: u8 = 0x80;
const ST1_DATA: u8 = 0x20;
const ST1_NO_DATA: u8 = 0x04;
const ST1_PROTECTED: u8 = 0x02;
const ST1_NO_MARK: u8 = 0x01;
/// Multi-track.
const MT: u8 = 0x80;
/// Bytes of a sector: 128 << 2.
const SIZE_CODE: u8 = 2;

/// Bytes of a command, its first one included (table 5-1).
fn length(first: u8) -> usize {
    match first {
        op::SEEK_OUT | op::SEEK_IN => return 3,
        op::LOCK => return 1,
        _ => {}
    }
    match first & 0x1f {
        op::READ | op::WRITE | op::VERIFY => 9,
        op::FORMAT => 6,
        op::CONFIGURE => 4,
        op::SPECIFY | op::SEEK => 3,
        op::SENSE_DRIVE | op::RECALIBRATE | op::READ_ID | op::PERPENDICULAR => 2,
        _ => 1,
    }
}

/// A command that moves sectors.
#[derive(Clone, Copy)]
struct Span {
    cylinder: u8,
    head: u8,
    first: u8,
    /// The last sector of a track.
    end: u8,
    multi: bool,
    geometry: Geometry,
}

impl Span {
    /// Sectors from the first to the end of the track, or of the cylinder.
    fn sectors(&self) -> usize {
        let here = usize::from(self.end.saturating_sub(self.first)) + 1;
        match self.multi && self.head == 0 && self.geometry.heads > 1 {
            true => here + usize::from(self.end),
            false => here,
        }
    }

    /// Offset of sector `n` of the span in the image.
    fn offset(&self, n: usize) -> u64 {
        let g = self.geometry;
        let track = u64::from(self.cylinder) * u64::from(g.heads) + u64::from(self.head);
        let here = usize::from(self.end.saturating_sub(self.first)) + 1;
        let (track, sector) = match n < here {
            true => (track, usize::from(self.first) + n),
            false => (track + 1, n - here + 1),
        };
        (track * u64::from(g.sectors) + sector as u64 - 1) * SECTOR as u64
    }

    /// Cylinder, head and sector after `n` sectors (table 5-5).
    fn after(&self, n: usize) -> [u8; 3] {
        let here = usize::from(self.end.saturating_sub(self.first)) + 1;
        if n < here {
            return [self.cylinder, self.head, self.first.wrapping_add(n as u8)];
        }
        let both = self.multi && self.head == 0;
        match (n - here, both) {
            (0, true) => [self.cylinder, self.head ^ 1, 1],
            (m, true) if m < usize::from(self.end) => [self.cylinder, self.head ^ 1, 1 + m as u8],
            (_, true) => [self.cylinder.wrapping_add(1), self.head, 1],
            (_, false) if self.multi => [self.cylinder.wrapping_add(1), self.head ^ 1, 1],
            _ => [self.cylinder.wrapping_add(1), self.head, 1],
        }
    }
}

fn byte(bytes: &[u8], n: usize) -> u8 {
    bytes.get(n).copied().unwrap_or(0)
}

impl Shared {
    pub(super) fn fifo_read(self: &Arc<Self>, c: &mut Inner) -> u8 {
        match c.s.phase {
            Phase::Result => {
                self.lower(c);
                let value = byte(&c.s.fifo, c.s.position);
                c.s.position += 1;
                if c.s.position >= c.s.fifo.len() {
                    self.idle(c);
                }
                value
            }
            Phase::ToHost => {
                let value = byte(&c.s.fifo, c.s.position);
                c.s.position += 1;
                if c.s.position >= c.s.fifo.len() {
                    // Without a terminal count the end of the cylinder ends it.
                    let moved = c.s.fifo.len() / SECTOR;
                    self.sectors_done(c, moved, ST0_ABNORMAL, ST1_END);
                }
                value
            }
            _ => 0xff,
        }
    }

    pub(super) fn fifo_write(self: &Arc<Self>, c: &mut Inner, value: u8) {
        match c.s.phase {
            Phase::Command => {
                c.s.fifo.push(value);
                let first = byte(&c.s.fifo, 0);
                if c.s.fifo.len() >= length(first) {
                    c.s.command = std::mem::take(&mut c.s.fifo);
                    self.execute(c);
                }
            }
            Phase::FromHost => {
                if let Some(place) = c.s.fifo.get_mut(c.s.position) {
                    *place = value;
                }
                c.s.position += 1;
                if c.s.position >= c.s.fifo.len() {
                    let data = std::mem::take(&mut c.s.fifo);
                    self.write_sectors(c, data, ST0_ABNORMAL, ST1_END);
                }
            }
            _ => {}
        }
    }

    fn idle(&self, c: &mut Inner) {
        c.s.phase = Phase::Command;
        c.s.fifo.clear();
        c.s.position = 0;
    }

    fn result(&self, c: &mut Inner, bytes: &[u8]) {
        c.s.phase = Phase::Result;
        c.s.fifo = bytes.to_vec();
        c.s.position = 0;
    }

    fn execute(self: &Arc<Self>, c: &mut Inner) {
        let command = c.s.command.clone();
        let (first, second, third) = (byte(&command, 0), byte(&command, 1), byte(&command, 2));
        tracing::trace!(target: "devices::floppy", ?command);
        match (first, first & 0x1f) {
            (op::LOCK | op::UNLOCK, _) => {
                c.s.locked = first & 0x80 != 0;
                let lock = u8::from(c.s.locked) << 4;
                self.result(c, &[lock]);
            }
            (op::SEEK_OUT | op::SEEK_IN, _) => {
                let drive = second & 3;
                let now = c.s.cylinders.get(usize::from(drive)).copied().unwrap_or(0);
                let to = match first {
                    op::SEEK_IN => now.saturating_add(third),
                    _ => now.saturating_sub(third),
                };
                self.seek(c, second, to);
            }
            (op::SPECIFY, _) => {
                c.s.timing = [second, third];
                c.s.non_dma = third & 1 != 0;
                self.idle(c);
            }
            (op::SENSE_DRIVE, _) => {
                let status = self.drive_status(c, second);
                self.result(c, &[status]);
            }
            (op::RECALIBRATE, _) => self.seek(c, second & 3, 0),
            (op::SEEK, _) => self.seek(c, second, third),
            (op::SENSE_INTERRUPT, _) => self.sense_interrupt(c),
            (op::DUMP, _) => {
                let s = &c.s;
                let lock = u8::from(s.locked) << 7;
                let bytes = [
                    s.cylinders[0],
                    s.cylinders[1],
                    s.cylinders[2],
                    s.cylinders[3],
                    s.timing[0],
                    s.timing[1],
                    0,
                    lock | s.perpendicular,
                    s.configuration,
                    s.precompensation,
                ];
                self.result(c, &bytes);
            }
            (op::VERSION, _) => self.result(c, &[0x90]),
            (op::PERPENDICULAR, _) => {
                c.s.perpendicular = second & 0x3f;
                self.idle(c);
            }
            (op::CONFIGURE, _) => {
                c.s.configuration = third;
                c.s.precompensation = byte(&command, 3);
                self.idle(c);
            }
            // MFM only.
            (0x40.., op::READ | op::WRITE | op::VERIFY | op::READ_ID | op::FORMAT)
                if first & 0x40 != 0 =>
            {
                self.on_medium(c, first & 0x1f);
            }
            _ => self.result(c, &[ST0_INVALID]),
        }
    }

    /// ST3 (4.3.4).
    fn drive_status(&self, c: &Inner, select: u8) -> u8 {
        let drive = c.drives.get(usize::from(select & 3));
        let protected = drive
            .and_then(|d| d.disk.as_ref())
            .is_some_and(|d| d.0.image().access() == block::Access::ReadOnly);
        let at_zero = c.s.cylinders.get(usize::from(select & 3)) == Some(&0);
        0x28 | u8::from(protected) << 6
            | u8::from(at_zero && drive.is_some_and(|d| d.present)) << 4
            | select & 7
    }

    /// SEEK and RECALIBRATE end with an interrupt; steps clear the disk change line if there is a disk.
    fn seek(&self, c: &mut Inner, select: u8, to: u8) {
        let drive = usize::from(select & 3);
        let present = c.drives.get(drive).is_some_and(|d| d.present);
        let has_disk = c.drives.get(drive).is_some_and(|d| d.disk.is_some());
        if let (true, Some(changed)) = (has_disk, c.s.changed.get_mut(drive)) {
            *changed = false;
        }
        if let Some(cylinder) = c.s.cylinders.get_mut(drive) {
            *cylinder = to;
        }
        let equipment = match present {
            true => 0,
            // Track 0 was never found (4.3.1).
            false => ST0_ABNORMAL | ST0_EQUIPMENT,
        };
        c.s.sense = vec![ST0_SEEK | equipment | select & 7];
        self.idle(c);
        self.raise(c);
    }

    fn sense_interrupt(&self, c: &mut Inner) {
        self.lower(c);
        if c.s.sense.is_empty() {
            return self.result(c, &[ST0_INVALID]);
        }
        let status = c.s.sense.remove(0);
        let cylinder = c.s.cylinders.get(usize::from(status & 3)).copied();
        self.result(c, &[status, cylinder.unwrap_or(0)]);
    }

    /// The result of a command that works on sectors, with an interrupt.
    fn end(&self, c: &mut Inner, st0: u8, st1: u8, [cylinder, head, sector]: [u8; 3]) {
        let select = byte(&c.s.command, 1) & 7;
        let result = [st0 | select, st1, 0, cylinder, head, sector, SIZE_CODE];
        self.result(c, &result);
        self.raise(c);
    }

    /// What a command asks for, if the disk has it; else the command has ended.
    fn span(&self, c: &mut Inner) -> Option<(Arc<Disk>, Span)> {
        let command = c.s.command.clone();
        let select = byte(&command, 1);
        let here = [byte(&command, 2), byte(&command, 3), byte(&command, 4)];
        let drive = c
            .drives
            .get(usize::from(select & 3))
            .cloned()
            .unwrap_or_default();
        let Some((disk, geometry)) = drive.disk.filter(|d| d.1.reads_at(c.s.rate)) else {
            // Nothing turns, or nothing can be made out at this rate.
            self.end(c, ST0_ABNORMAL, ST1_NO_MARK, here);
            return None;
        };
        let [cylinder, head, first] = here;
        let end = byte(&command, 6).min(geometry.sectors);
        let physical = c.s.cylinders.get(usize::from(select & 3)).copied();
        let fine = physical == Some(cylinder)
            && cylinder < geometry.cylinders
            && head == select >> 2 & 1
            && head < geometry.heads
            && (1..=end).contains(&first)
            && byte(&command, 5) == SIZE_CODE;
        if !fine {
            self.end(c, ST0_ABNORMAL, ST1_NO_DATA, here);
            return None;
        }
        let span = Span {
            cylinder,
            head,
            first,
            end,
            multi: byte(&command, 0) & MT != 0,
            geometry,
        };
        Some((disk, span))
    }

    fn on_medium(self: &Arc<Self>, c: &mut Inner, operation: u8) {
        match operation {
            op::READ_ID => return self.read_id(c),
            op::FORMAT => return self.format(c),
            _ => {}
        }
        let Some((disk, span)) = self.span(c) else {
            return;
        };
        c.s.phase = Phase::Busy;
        if operation != op::WRITE {
            let (shared, generation) = (self.clone(), c.generation);
            let verify = operation == op::VERIFY;
            disk.submit(Box::new(move |image, buffer| {
                buffer.resize(span.sectors() * SECTOR, 0);
                let result = read(image, &span, buffer);
                let mut c = lock(&shared.inner);
                if c.generation == generation {
                    shared.read_done(&mut c, &span, result, buffer, verify);
                }
            }));
            return;
        }
        if disk.image().access() == block::Access::ReadOnly {
            return self.end(c, ST0_ABNORMAL, ST1_PROTECTED, span.after(0));
        }
        let mut data = vec![0; span.sectors() * SECTOR];
        if c.s.non_dma {
            c.s.fifo = data;
            c.s.position = 0;
            c.s.phase = Phase::FromHost;
            return self.raise(c);
        }
        let moved = self.dma.from_memory(&mut data);
        // The rest of a sector that was begun is zeroes.
        data.truncate(moved.bytes);
        data.resize(moved.bytes.next_multiple_of(SECTOR), 0);
        let (st0, st1) = match moved.terminal_count {
            true => (0, 0),
            false => (ST0_ABNORMAL, ST1_END),
        };
        self.write_sectors(c, data, st0, st1);
    }

    fn read_done(
        self: &Arc<Self>,
        c: &mut Inner,
        span: &Span,
        result: io::Result<()>,
        data: &[u8],
        verify: bool,
    ) {
        if result.is_err() {
            return self.end(c, ST0_ABNORMAL, ST1_DATA | ST1_NO_DATA, span.after(0));
        }
        if verify {
            return self.end(c, 0, 0, span.after(span.sectors()));
        }
        if c.s.non_dma {
            c.s.fifo = data.to_vec();
            c.s.position = 0;
            c.s.phase = Phase::ToHost;
            return self.raise(c);
        }
        let moved = self.dma.to_memory(data);
        let (st0, st1) = match moved.terminal_count {
            true => (0, 0),
            false => (ST0_ABNORMAL, ST1_END),
        };
        self.sectors_done(c, moved.bytes.div_ceil(SECTOR), st0, st1);
    }

    /// The end of a transfer of `n` sectors.
    fn sectors_done(&self, c: &mut Inner, n: usize, st0: u8, st1: u8) {
        let geometry = c
            .drives
            .get(usize::from(byte(&c.s.command, 1) & 3))
            .and_then(|d| d.disk.as_ref())
            .map_or(super::GEOMETRIES[0], |d| d.1);
        let command = &c.s.command;
        let span = Span {
            cylinder: byte(command, 2),
            head: byte(command, 3),
            first: byte(command, 4),
            end: byte(command, 6).min(geometry.sectors),
            multi: byte(command, 0) & MT != 0,
            geometry,
        };
        let next = span.after(n);
        self.end(c, st0, st1, next);
    }

    /// Writes what the host gave, from the command's first sector on.
    fn write_sectors(self: &Arc<Self>, c: &mut Inner, data: Vec<u8>, st0: u8, st1: u8) {
        let Some((disk, span)) = self.span(c) else {
            return;
        };
        c.s.phase = Phase::Busy;
        let (shared, generation) = (self.clone(), c.generation);
        disk.submit(Box::new(move |image, _| {
            let result = write(image, &span, &data);
            let mut c = lock(&shared.inner);
            if c.generation != generation {
                return;
            }
            match result {
                Ok(()) => shared.sectors_done(&mut c, data.len() / SECTOR, st0, st1),
                Err(_) => shared.end(&mut c, ST0_ABNORMAL, ST1_DATA, span.after(0)),
            }
        }));
    }

    /// READ ID: the first sector that comes along.
    fn read_id(&self, c: &mut Inner) {
        let select = byte(&c.s.command, 1);
        let drive = usize::from(select & 3);
        let cylinder = c.s.cylinders.get(drive).copied().unwrap_or(0);
        let head = select >> 2 & 1;
        let geometry = c
            .drives
            .get(drive)
            .and_then(|d| d.disk.as_ref())
            .map(|d| d.1)
            .filter(|g| g.reads_at(c.s.rate) && cylinder < g.cylinders && head < g.heads);
        match geometry {
            Some(_) => self.end(c, 0, 0, [cylinder, head, 1]),
            None => self.end(c, ST0_ABNORMAL, ST1_NO_MARK, [cylinder, head, 1]),
        }
    }

    /// FORMAT TRACK: takes the sectors' identifiers and fills the track.
    fn format(self: &Arc<Self>, c: &mut Inner) {
        let command = c.s.command.clone();
        let select = byte(&command, 1);
        let drive = usize::from(select & 3);
        let cylinder = c.s.cylinders.get(drive).copied().unwrap_or(0);
        let (head, filler) = (select >> 2 & 1, byte(&command, 5));
        let here = [cylinder, head, 1];
        let disk = c.drives.get(drive).and_then(|d| d.disk.clone());
        let Some((disk, geometry)) = disk.filter(|d| d.1.reads_at(c.s.rate)) else {
            return self.end(c, ST0_ABNORMAL, ST1_NO_MARK, here);
        };
        if disk.image().access() == block::Access::ReadOnly {
            return self.end(c, ST0_ABNORMAL, ST1_PROTECTED, here);
        }
        // The image keeps one layout: other ones cannot be made.
        let fits = cylinder < geometry.cylinders
            && head < geometry.heads
            && byte(&command, 2) == SIZE_CODE
            && byte(&command, 3) == geometry.sectors;
        if !fits || c.s.non_dma {
            return self.end(c, ST0_ABNORMAL, ST1_NO_DATA, here);
        }
        let mut identifiers = vec![0; usize::from(geometry.sectors) * 4];
        self.dma.from_memory(&mut identifiers);
        c.s.phase = Phase::Busy;
        let span = Span {
            cylinder,
            head,
            first: 1,
            end: geometry.sectors,
            multi: false,
            geometry,
        };
        let (shared, generation) = (self.clone(), c.generation);
        disk.submit(Box::new(move |image, buffer| {
            buffer.clear();
            buffer.resize(span.sectors() * SECTOR, filler);
            let result = write(image, &span, buffer);
            let mut c = lock(&shared.inner);
            if c.generation == generation {
                match result {
                    Ok(()) => shared.end(&mut c, 0, 0, here),
                    Err(_) => shared.end(&mut c, ST0_ABNORMAL, ST1_DATA, here),
                }
            }
        }));
    }
}

fn read(image: &dyn Image, span: &Span, into: &mut [u8]) -> io::Result<()> {
    into.chunks_mut(SECTOR)
        .enumerate()
        .try_for_each(|(n, sector)| image.read(span.offset(n), sector))
}

fn write(image: &dyn Image, span: &Span, from: &[u8]) -> io::Result<()> {
    from.chunks(SECTOR)
        .enumerate()
        .try_for_each(|(n, sector)| image.write(span.offset(n), sector))
}
