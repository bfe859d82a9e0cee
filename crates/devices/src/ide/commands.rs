//! What the command register starts (ATA/ATAPI-7, clause 6).

use super::Drive;
use super::channel::{Channel, Inner, reason, set_count, set_signature};
use super::state::{Direction, Protocol, Transfer};
use crate::ata::command::*;
use crate::ata::identify::{self, Facts};
use crate::ata::packet::{Reply, Sense};
use crate::ata::{BLOCK, MULTIPLE_MAX, SECTOR, error, sectors, status};
use crate::lock;
use block::Disk;
use std::sync::Arc;

/// Device register: addresses are LBAs.
const LBA: u8 = 1 << 6;
const PACKET_BYTES: usize = 12;

/// How a command gives its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wide {
    Bits28,
    Bits48,
}

impl Channel {
    /// A write of the command register.
    pub(super) fn command(self: &Arc<Self>, c: &mut Inner, code: u8) {
        self.lower(c);
        let Some(drive) = c.drive().cloned() else {
            // EXECUTE DEVICE DIAGNOSTIC goes to both devices, whichever is selected.
            if code == EXECUTE_DIAGNOSTIC && c.drives.iter().any(Option::is_some) {
                self.diagnose(c);
            }
            return;
        };
        let packet = matches!(drive, Drive::CdRom(_));
        if code == DEVICE_RESET && packet {
            c.generation += 1;
            c.s.transfer = None;
            let device = c.device();
            device.error = 1;
            set_signature(device, true);
            return;
        }
        if c.device().status & status::BSY != 0 {
            return;
        }
        c.s.transfer = None;
        let device = c.device();
        device.error = 0;
        device.status = status::DRDY | status::DSC;
        match (code, &drive) {
            (EXECUTE_DIAGNOSTIC, _) => self.diagnose(c),
            (SET_FEATURES, _) => self.set_features(c),
            (CHECK_POWER, _) => {
                set_register(c, 1, 0xff);
                self.raise(c);
            }
            // Standby, idle, sleep; the old codes too.
            (0x94..=0x99 | 0xe0..=0xe3 | 0xe6, _) => self.raise(c),
            (_, Drive::Disk(disk)) => self.disk_command(c, code, disk),
            (_, Drive::CdRom(disc)) => self.packet_command(c, code, disc.as_ref()),
        }
    }

    fn disk_command(self: &Arc<Self>, c: &mut Inner, code: u8, disk: &Arc<Disk>) {
        use Direction::{In, Out};
        use Wide::{Bits28, Bits48};
        match code {
            IDENTIFY => {
                let d = c.device();
                let facts = Facts {
                    sectors: sectors(disk),
                    serial: disk.serial(),
                    heads: d.heads,
                    per_track: d.per_track,
                    multiple: d.multiple,
                    write_cache: !d.no_write_cache,
                    mode: d.mode,
                    sata: false,
                };
                self.offer(c, identify::disk(&facts), 512, Protocol::Pio);
            }
            READ_SECTORS | READ_SECTORS_NO_RETRY => {
                self.move_data(c, disk, In, Protocol::Pio, Bits28, 1)
            }
            READ_SECTORS_EXT => self.move_data(c, disk, In, Protocol::Pio, Bits48, 1),
            WRITE_SECTORS | WRITE_SECTORS_NO_RETRY => {
                self.move_data(c, disk, Out, Protocol::Pio, Bits28, 1);
            }
            WRITE_SECTORS_EXT => self.move_data(c, disk, Out, Protocol::Pio, Bits48, 1),
            READ_MULTIPLE | READ_MULTIPLE_EXT | WRITE_MULTIPLE | WRITE_MULTIPLE_EXT => {
                let multiple = c.device().multiple;
                if multiple == 0 {
                    return self.abort(c);
                }
                let (direction, wide) = match code {
                    READ_MULTIPLE => (In, Bits28),
                    READ_MULTIPLE_EXT => (In, Bits48),
                    WRITE_MULTIPLE => (Out, Bits28),
                    _ => (Out, Bits48),
                };
                self.move_data(c, disk, direction, Protocol::Pio, wide, multiple);
            }
            READ_DMA | READ_DMA_NO_RETRY => self.move_data(c, disk, In, Protocol::Dma, Bits28, 1),
            READ_DMA_EXT => self.move_data(c, disk, In, Protocol::Dma, Bits48, 1),
            WRITE_DMA | WRITE_DMA_NO_RETRY => {
                self.move_data(c, disk, Out, Protocol::Dma, Bits28, 1)
            }
            WRITE_DMA_EXT | WRITE_DMA_FUA_EXT => {
                self.move_data(c, disk, Out, Protocol::Dma, Bits48, 1);
            }
            READ_VERIFY | READ_VERIFY_NO_RETRY | READ_VERIFY_EXT => {
                let wide = if code == READ_VERIFY_EXT {
                    Bits48
                } else {
                    Bits28
                };
                match address(c, disk, wide) {
                    Some(_) => self.raise(c),
                    None => self.fail(c, error::IDNF | error::ABRT),
                }
            }
            DATA_SET_MANAGEMENT => self.trim(c),
            FLUSH_CACHE | FLUSH_CACHE_EXT => {
                c.device().status = status::BSY | status::DRDY;
                let (channel, generation) = (self.clone(), c.generation);
                disk.submit(Box::new(move |image, _| {
                    let result = image.flush();
                    channel.end(generation, result.map_err(|_| error::ABRT));
                }));
            }
            SET_MULTIPLE => {
                let [_, [count, _], ..] = c.device().file;
                if count > MULTIPLE_MAX || (count != 0 && !count.is_power_of_two()) {
                    return self.abort(c);
                }
                c.device().multiple = count;
                self.raise(c);
            }
            INITIALIZE_PARAMETERS => {
                let heads = (c.s.select & 0xf) + 1;
                let [_, [per_track, _], ..] = c.device().file;
                let d = c.device();
                (d.heads, d.per_track) = (heads, per_track);
                self.raise(c);
            }
            READ_NATIVE_MAX | READ_NATIVE_MAX_EXT => {
                let last = sectors(disk).saturating_sub(1);
                let last = match code {
                    READ_NATIVE_MAX => last.min(0x0fff_ffff),
                    _ => last,
                };
                set_address(c, last, code == READ_NATIVE_MAX_EXT);
                self.raise(c);
            }
            // RECALIBRATE and SEEK.
            0x10..=0x1f | 0x70..=0x7f | SECURITY_FREEZE => self.raise(c),
            _ => self.abort(c),
        }
    }

    fn packet_command(self: &Arc<Self>, c: &mut Inner, code: u8, disc: Option<&Arc<Disk>>) {
        match code {
            PACKET => {
                let [[features, _], _, _, [mid, _], [high, _]] = c.device().file;
                let limit = match u16::from_le_bytes([mid, high]) {
                    0 | 0xffff => 0xfffe,
                    // An odd limit only makes sense for the whole of an odd answer.
                    n => (n & !1).max(2),
                };
                c.s.transfer = Some(Transfer {
                    direction: Direction::Out,
                    protocol: Protocol::Packet,
                    block: limit.into(),
                    data: vec![0; PACKET_BYTES],
                    position: 0,
                    end: PACKET_BYTES,
                    at: u64::from(features & 1),
                    left: 0,
                });
                let device = c.device();
                device.status = status::DRDY | status::DSC | status::DRQ;
                if let Some(r) = device.file.get_mut(1) {
                    *r = [reason::COMMAND, 0];
                }
            }
            IDENTIFY_PACKET => {
                let serial = disc.map_or("", |d| d.serial());
                let mode = c.device().mode;
                let answer = identify::cdrom(serial, mode, false);
                self.offer(c, answer, 512, Protocol::Pio);
            }
            // Drives that do packets say so this way (9.12, 6.17).
            IDENTIFY | READ_SECTORS => {
                set_signature(c.device(), true);
                self.abort(c);
            }
            FLUSH_CACHE => self.raise(c),
            _ => self.abort(c),
        }
    }

    /// The twelve bytes are there.
    pub(super) fn packet_complete(self: &Arc<Self>, c: &mut Inner) {
        let Some(t) = c.s.transfer.take() else {
            return;
        };
        let by_dma = t.at & 1 != 0;
        let mut cdb = [0; PACKET_BYTES];
        cdb.copy_from_slice(t.data.get(..PACKET_BYTES).unwrap_or(&[0; PACKET_BYTES]));
        let disc = c.disk();
        let blocks = disc
            .as_ref()
            .map(|d| (d.image().size() / BLOCK).min(u32::MAX.into()) as u32);
        let reply = c.device().unit.packet(&cdb, blocks);
        tracing::trace!(target: "devices::ide", ?cdb, ?reply, "packet");
        let protocol = match by_dma {
            true => Protocol::PacketDma,
            false => Protocol::PacketPio,
        };
        match reply {
            Reply::Failed(sense) => self.packet_failed(c, sense),
            Reply::Eject => {
                let device = c.selected();
                if let Some(Some(Drive::CdRom(d))) = c.drives.get_mut(device) {
                    *d = None;
                }
                c.device().unit.medium_changed(false);
                self.packet_done(c);
            }
            Reply::Done => self.packet_done(c),
            Reply::Data(data) if data.is_empty() => self.packet_done(c),
            Reply::Data(data) => self.offer(c, data, t.block, protocol),
            Reply::Read { at, bytes } => {
                c.s.transfer = Some(Transfer {
                    direction: Direction::In,
                    protocol,
                    at,
                    left: bytes,
                    data: Vec::new(),
                    position: 0,
                    end: 0,
                    ..t
                });
                match by_dma {
                    true => {
                        c.device().status = status::BSY | status::DRDY;
                        self.start_dma(c);
                    }
                    false => self.next_block_in(c),
                }
            }
        }
    }

    pub(super) fn packet_done(&self, c: &mut Inner) {
        c.s.transfer = None;
        let device = c.device();
        device.status = status::DRDY | status::DSC;
        set_count(device, reason::DONE, 0);
        self.raise(c);
    }

    pub(super) fn packet_failed(&self, c: &mut Inner, sense: Sense) {
        c.s.transfer = None;
        let device = c.device();
        device.unit.sense = sense;
        device.error = sense.key << 4 | error::ABRT;
        device.status = status::DRDY | status::ERR;
        set_count(device, reason::DONE, 0);
        self.raise(c);
    }

    /// Data that are there already, for the host to read.
    fn offer(self: &Arc<Self>, c: &mut Inner, data: Vec<u8>, block: u32, protocol: Protocol) {
        c.s.transfer = Some(Transfer {
            direction: Direction::In,
            protocol,
            block,
            data,
            position: 0,
            end: 0,
            at: 0,
            left: 0,
        });
        match protocol {
            Protocol::PacketDma => {
                c.device().status = status::BSY | status::DRDY;
                self.start_dma(c);
            }
            _ => self.next_block_in(c),
        }
    }

    /// A command that reads or writes sectors.
    fn move_data(
        self: &Arc<Self>,
        c: &mut Inner,
        disk: &Arc<Disk>,
        direction: Direction,
        protocol: Protocol,
        wide: Wide,
        per_block: u8,
    ) {
        let Some((lba, count)) = address(c, disk, wide) else {
            return self.fail(c, error::IDNF | error::ABRT);
        };
        if direction == Direction::Out && disk.image().access() == block::Access::ReadOnly {
            return self.abort(c);
        }
        let mut t = Transfer {
            direction,
            protocol,
            block: SECTOR as u32 * u32::from(per_block.max(1)),
            data: Vec::new(),
            position: 0,
            end: 0,
            at: lba * SECTOR,
            left: count * SECTOR,
        };
        match (protocol, direction) {
            (Protocol::Pio, Direction::In) => {
                c.s.transfer = Some(t);
                self.next_block_in(c);
            }
            (Protocol::Pio, Direction::Out) => {
                self.begin_out(&mut t);
                c.s.transfer = Some(t);
                c.device().status = status::DRDY | status::DSC | status::DRQ;
            }
            _ => {
                c.s.transfer = Some(t);
                c.device().status = status::BSY | status::DRDY;
                self.start_dma(c);
            }
        }
    }

    /// DATA SET MANAGEMENT with TRIM (ACS-2, 7.5): blocks of ranges come by DMA.
    fn trim(self: &Arc<Self>, c: &mut Inner) {
        let [[features, _], [count, count_high], ..] = c.device().file;
        let blocks = u64::from(u16::from_le_bytes([count, count_high]));
        if features & 1 == 0 || blocks == 0 || blocks > 8 {
            return self.abort(c);
        }
        c.s.transfer = Some(Transfer {
            direction: Direction::Out,
            protocol: Protocol::Trim,
            block: 512,
            data: Vec::new(),
            position: 0,
            end: 0,
            at: 0,
            left: blocks * SECTOR,
        });
        c.device().status = status::BSY | status::DRDY;
        self.start_dma(c);
    }

    fn set_features(&self, c: &mut Inner) {
        let [[features, _], [count, _], ..] = c.device().file;
        match features {
            // PIO default and flow control, multiword DMA 0-2, Ultra DMA 0-5.
            0x03 => match count >> 3 {
                0 | 1 => {}
                4 if count & 7 <= 2 => c.device().mode = count,
                8 if count & 7 <= 5 => c.device().mode = count,
                _ => return self.abort(c),
            },
            0x02 => c.device().no_write_cache = false,
            0x82 => c.device().no_write_cache = true,
            // Read look-ahead, power-on defaults, advanced power and acoustic management.
            0xaa | 0x55 | 0xcc | 0x66 | 0x05 | 0x85 | 0x42 | 0xc2 => {}
            _ => return self.abort(c),
        }
        self.raise(c);
    }

    /// EXECUTE DEVICE DIAGNOSTIC: both devices passed.
    fn diagnose(&self, c: &mut Inner) {
        c.s.select &= !0x10;
        for (device, drive) in c.s.devices.iter_mut().zip(&c.drives) {
            device.error = 1;
            set_signature(device, matches!(drive, Some(Drive::CdRom(_))));
        }
        self.raise(c);
    }

    /// The command is not one, or not with these parameters.
    fn abort(&self, c: &mut Inner) {
        self.fail(c, error::ABRT);
    }

    pub(super) fn fail(&self, c: &mut Inner, error: u8) {
        c.s.transfer = None;
        let device = c.device();
        device.error = error;
        device.status = status::DRDY | status::DSC | status::ERR;
        self.raise(c);
    }

    /// What a thread of the disk did for a command without data is done.
    fn end(&self, generation: u64, result: Result<(), u8>) {
        let mut c = lock(&self.inner);
        if c.generation != generation {
            return;
        }
        match result {
            Ok(()) => {
                c.device().status = status::DRDY | status::DSC;
                self.raise(&mut c);
            }
            Err(error) => {
                self.fail(&mut c, error);
                c.device().status |= status::DF;
            }
        }
    }

    /// Gets data for the data register.
    pub(super) fn read_medium(self: &Arc<Self>, c: &mut Inner, at: u64, bytes: usize) {
        let Some(disk) = c.disk() else {
            return self.packet_failed(c, Sense::NO_MEDIUM);
        };
        let (channel, generation) = (self.clone(), c.generation);
        disk.submit(Box::new(move |image, buffer| {
            buffer.resize(bytes, 0);
            let result = image.read(at, buffer);
            let mut c = lock(&channel.inner);
            if c.generation != generation {
                return;
            }
            let packet = match (&result, c.s.transfer.as_mut()) {
                (Ok(()), Some(t)) => {
                    t.at += bytes as u64;
                    t.left -= (bytes as u64).min(t.left);
                    t.data.clear();
                    t.data.extend_from_slice(buffer);
                    t.position = 0;
                    return channel.next_block_in(&mut c);
                }
                (_, t) => t.is_some_and(|t| t.protocol == Protocol::PacketPio),
            };
            match packet {
                true => channel.packet_failed(&mut c, Sense::READ_ERROR),
                false => {
                    channel.fail(&mut c, error::UNC);
                    set_address(&mut c, at / SECTOR, true);
                }
            }
        }));
    }

    /// Writes what came through the data register.
    pub(super) fn write_medium(self: &Arc<Self>, c: &mut Inner, at: u64, data: Vec<u8>) {
        let Some(disk) = c.disk() else {
            return self.abort(c);
        };
        let through = c.device().no_write_cache;
        let (channel, generation) = (self.clone(), c.generation);
        disk.submit(Box::new(move |image, _| {
            let mut result = image.write(at, &data);
            if through {
                result = result.and_then(|()| image.flush());
            }
            let mut c = lock(&channel.inner);
            if c.generation != generation {
                return;
            }
            if result.is_err() {
                channel.fail(&mut c, error::ABRT);
                c.device().status |= status::DF;
                return set_address(&mut c, at / SECTOR, true);
            }
            let more = match c.s.transfer.as_mut() {
                Some(t) if t.left > 0 => {
                    channel.begin_out(t);
                    true
                }
                _ => false,
            };
            if !more {
                c.s.transfer = None;
            }
            let drq = if more { status::DRQ } else { 0 };
            c.device().status = status::DRDY | status::DSC | drq;
            channel.raise(&mut c);
        }));
    }
}

fn set_register(c: &mut Inner, n: usize, value: u8) {
    if let Some(r) = c.device().file.get_mut(n) {
        *r = [value, 0];
    }
}

/// The address registers as an error or READ NATIVE MAX ADDRESS leaves them.
fn set_address(c: &mut Inner, lba: u64, wide: bool) {
    let [a, b, d, e, f, g, ..] = lba.to_le_bytes();
    let device = c.device();
    let [_, _, low, mid, high] = &mut device.file;
    (*low, *mid, *high) = ([a, e], [b, f], [d, g]);
    if !wide {
        c.s.select = c.s.select & 0xf0 | e & 0xf;
    }
}

/// First sector and number of sectors, if they are on the disk (6.2.2 of clause 6's addressing rules).
fn address(c: &mut Inner, disk: &Disk, wide: Wide) -> Option<(u64, u64)> {
    let select = c.s.select;
    let d = c.device();
    let [_, count, low, mid, high] = d.file.map(|r| r.map(u64::from));
    let (lba, count) = match wide {
        Wide::Bits48 => {
            let lba =
                low[0] | mid[0] << 8 | high[0] << 16 | low[1] << 24 | mid[1] << 32 | high[1] << 40;
            (lba, (count[0] | count[1] << 8, 0x1_0000))
        }
        Wide::Bits28 => {
            let head = u64::from(select & 0xf);
            let lba = match select & LBA {
                0 => {
                    let (heads, per_track) = (u64::from(d.heads), u64::from(d.per_track));
                    let cylinder = mid[0] | high[0] << 8;
                    if head >= heads || low[0] == 0 || low[0] > per_track {
                        return None;
                    }
                    (cylinder * heads + head) * per_track + low[0] - 1
                }
                _ => low[0] | mid[0] << 8 | high[0] << 16 | head << 24,
            };
            (lba, (count[0], 0x100))
        }
    };
    let count = if count.0 == 0 { count.1 } else { count.0 };
    (lba.checked_add(count)? <= sectors(disk)).then_some((lba, count))
}
