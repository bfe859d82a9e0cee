//! A channel: registers, interrupts, and the data register (ATA/ATAPI-7 Volume 2, clauses 5 and 9).

use super::Drive;
use super::state::{Direction, Protocol, State, Transfer};
use crate::ata::{SIGNATURE_PACKET, status};
use crate::lock;
use crate::pci::Dma;
use block::Disk;
use bus::{AccessSize, IrqLine};
use std::sync::{Arc, Mutex};

/// Bytes that are read or written at once for the data register: a multiple of all DRQ blocks of disks.
const CHUNK: u64 = 64 << 10;

/// Device control register.
const CONTROL_NIEN: u8 = 1 << 1;
const CONTROL_SRST: u8 = 1 << 2;
const CONTROL_HOB: u8 = 1 << 7;

/// Bus master registers (1.0, 2.1-2.3).
pub(super) mod master {
    pub const COMMAND: u16 = 0;
    pub const STATUS: u16 = 2;
    pub const START: u8 = 1 << 0;
    /// The transfer goes to memory.
    pub const TO_MEMORY: u8 = 1 << 3;
    pub const ACTIVE: u8 = 1 << 0;
    pub const ERROR: u8 = 1 << 1;
    pub const INTERRUPT: u8 = 1 << 2;
    pub const CAPABLE: u8 = 0x60;
}

/// Sector count register of a packet device (SFF-8020i, 5.6): interrupt reason.
pub(super) mod reason {
    pub const COMMAND: u8 = 1;
    pub const TO_HOST: u8 = 2;
    pub const DONE: u8 = 3;
}

pub(super) struct Channel {
    pub(super) inner: Mutex<Inner>,
    line: IrqLine,
    pub(super) dma: Dma,
}

pub(super) struct Inner {
    pub s: State,
    pub drives: [Option<Drive>; 2],
    /// Moves on when what is under way stops counting.
    pub generation: u64,
}

impl Inner {
    /// Which device the host talks to.
    pub fn selected(&self) -> usize {
        usize::from(self.s.select >> 4 & 1)
    }

    pub fn drive(&self) -> Option<&Drive> {
        self.drives.get(self.selected())?.as_ref()
    }

    /// The selected device's registers.
    pub fn device(&mut self) -> &mut super::state::Device {
        let [first, second] = &mut self.s.devices;
        if self.s.select & 0x10 == 0 {
            first
        } else {
            second
        }
    }

    /// The medium of the selected drive.
    pub fn disk(&self) -> Option<Arc<Disk>> {
        match self.drive()? {
            Drive::Disk(d) => Some(d.clone()),
            Drive::CdRom(d) => d.clone(),
        }
    }

    /// Signature and defaults of both devices (9.12); modes survive a software reset.
    fn reset_devices(&mut self, power_on: bool) {
        self.generation += 1;
        self.s.transfer = None;
        self.s.select = 0;
        for (device, drive) in self.s.devices.iter_mut().zip(&self.drives) {
            if power_on {
                *device = super::state::Device {
                    heads: 16,
                    per_track: 63,
                    ..Default::default()
                };
            }
            device.error = 1;
            device.file = [[0; 2]; 5];
            let packet = matches!(drive, Some(Drive::CdRom(_)));
            set_signature(device, packet);
            if packet && power_on {
                device.unit.reset();
            }
        }
    }
}

/// What the registers hold after a reset and after a packet device was asked as if it were a disk.
pub(super) fn set_signature(device: &mut super::state::Device, packet: bool) {
    let [mid, high] = if packet { SIGNATURE_PACKET } else { [0; 2] };
    for (register, value) in device.file.iter_mut().skip(1).zip([1, 1, mid, high]) {
        *register = [value, 0];
    }
    device.status = match packet {
        true => 0,
        false => status::DRDY | status::DSC,
    };
}

impl Channel {
    pub(super) fn new(line: IrqLine, dma: Dma, drives: [Option<Drive>; 2]) -> Self {
        let mut inner = Inner {
            s: State::default(),
            drives,
            generation: 0,
        };
        inner.reset_devices(true);
        Self {
            inner: Mutex::new(inner),
            line,
            dma,
        }
    }

    pub(super) fn reset(&self) {
        let mut c = lock(&self.inner);
        c.s = State::default();
        c.reset_devices(true);
        self.drive_line(&c);
    }

    pub(super) fn restore(&self, s: State) {
        let mut c = lock(&self.inner);
        c.generation += 1;
        c.s = s;
        self.drive_line(&c);
    }

    /// Waits until nothing is under way.
    pub(super) fn drain(&self) {
        let drives = lock(&self.inner).drives.clone();
        for drive in drives.into_iter().flatten() {
            if let Drive::Disk(d) | Drive::CdRom(Some(d)) = drive {
                d.drain();
            }
        }
    }

    pub(super) fn change_disc(&self, device: usize, disc: Option<Arc<Disk>>) {
        let mut c = lock(&self.inner);
        if let Some(Some(Drive::CdRom(d))) = c.drives.get_mut(device) {
            let present = disc.is_some();
            let old = std::mem::replace(d, disc);
            if let Some(device) = c.s.devices.get_mut(device) {
                device.unit.medium_changed(present);
            }
            drop(c);
            drop(old);
        }
    }

    fn drive_line(&self, c: &Inner) {
        self.line
            .set(c.s.interrupt && c.s.control & CONTROL_NIEN == 0);
    }

    /// INTRQ.
    pub(super) fn raise(&self, c: &mut Inner) {
        c.s.interrupt = true;
        c.s.master.status |= master::INTERRUPT;
        self.drive_line(c);
    }

    pub(super) fn lower(&self, c: &mut Inner) {
        c.s.interrupt = false;
        self.drive_line(c);
    }

    /// A register of the command block but data.
    pub(super) fn register_read(&self, offset: u16) -> u8 {
        let mut c = lock(&self.inner);
        if c.drive().is_none() {
            // Nobody drives the bus; a pull-down makes BSY seem clear (5.2.10).
            return 0;
        }
        let hob = usize::from(c.s.control & CONTROL_HOB != 0);
        match offset {
            1 => c.device().error,
            2..=5 => {
                let register = c.device().file.get(usize::from(offset) - 1);
                register.and_then(|r| r.get(hob)).copied().unwrap_or(0)
            }
            6 => c.s.select | 0xa0,
            _ => {
                self.lower(&mut c);
                c.device().status
            }
        }
    }

    pub(super) fn alternate_status(&self) -> u8 {
        let mut c = lock(&self.inner);
        match c.drive() {
            Some(_) => c.device().status,
            None => 0,
        }
    }

    /// The command block's registers are written to both devices (5.2.9); not while one is busy.
    pub(super) fn register_write(self: &Arc<Self>, offset: u16, value: u8) {
        let mut c = lock(&self.inner);
        c.s.control &= !CONTROL_HOB;
        let busy = c.device().status & (status::BSY | status::DRQ) != 0;
        match offset {
            7 => self.command(&mut c, value),
            _ if busy => {}
            1..=5 => {
                for device in &mut c.s.devices {
                    if let Some(r) = device.file.get_mut(usize::from(offset) - 1) {
                        let [last, _] = *r;
                        *r = [value, last];
                    }
                }
            }
            6 => c.s.select = value,
            _ => {}
        }
    }

    /// The device control register; SRST resets both devices as it falls.
    pub(super) fn control_write(&self, value: u8) {
        let mut c = lock(&self.inner);
        let old = std::mem::replace(&mut c.s.control, value);
        if value & CONTROL_SRST != 0 {
            c.generation += 1;
            c.s.transfer = None;
            c.s.interrupt = false;
            for device in &mut c.s.devices {
                device.status = status::BSY;
            }
        } else if old & CONTROL_SRST != 0 {
            c.reset_devices(false);
        }
        self.drive_line(&c);
    }

    /// The data register in the host's width.
    pub(super) fn data_read(self: &Arc<Self>, size: AccessSize) -> u32 {
        let mut c = lock(&self.inner);
        let Some(t) = c.s.transfer.as_mut().filter(|t| {
            t.direction == Direction::In
                && matches!(t.protocol, Protocol::Pio | Protocol::PacketPio)
        }) else {
            return 0;
        };
        let (mut value, n) = (0, size.bytes().min(4) as usize);
        let from = t.position..t.end.min(t.position + n);
        for (i, b) in t.data.get(from).unwrap_or_default().iter().enumerate() {
            value |= u32::from(*b) << (8 * i);
        }
        if t.position >= t.end {
            return 0;
        }
        t.position = t.end.min(t.position + n);
        if t.position == t.end {
            self.next_block_in(&mut c);
        }
        value
    }

    pub(super) fn data_write(self: &Arc<Self>, size: AccessSize, value: u32) {
        let mut c = lock(&self.inner);
        let Some(t) = c.s.transfer.as_mut().filter(|t| {
            t.direction == Direction::Out && matches!(t.protocol, Protocol::Pio | Protocol::Packet)
        }) else {
            return;
        };
        if t.position >= t.end {
            return;
        }
        let bytes = value.to_le_bytes();
        for b in bytes.iter().take(size.bytes().min(4) as usize) {
            if let Some(place) = t.data.get_mut(t.position)
                && t.position < t.end
            {
                *place = *b;
                t.position += 1;
            }
        }
        if t.position == t.end {
            match t.protocol {
                Protocol::Packet => self.packet_complete(&mut c),
                _ => self.next_block_out(&mut c),
            }
        }
    }

    /// A DRQ block was read, or data arrived: offers the next one, gets more, or ends.
    pub(super) fn next_block_in(self: &Arc<Self>, c: &mut Inner) {
        let Some(t) = c.s.transfer.as_mut() else {
            return;
        };
        if t.position < t.data.len() {
            let n = (t.data.len() - t.position).min(t.block.max(2) as usize);
            t.end = t.position + n;
            let packet = t.protocol == Protocol::PacketPio;
            let device = c.device();
            device.status = status::DRDY | status::DSC | status::DRQ;
            if packet {
                set_count(device, reason::TO_HOST, n);
            }
            self.raise(c);
        } else if t.left > 0 {
            let n = t.left.min(CHUNK);
            let at = t.at;
            (t.position, t.end) = (0, 0);
            c.device().status = status::BSY | status::DRDY;
            self.read_medium(c, at, n as usize);
        } else {
            let packet = t.protocol == Protocol::PacketPio;
            c.s.transfer = None;
            let device = c.device();
            device.status = status::DRDY | status::DSC;
            if packet {
                set_count(device, reason::DONE, 0);
                self.raise(c);
            }
        }
    }

    /// A DRQ block was written: asks for the next one, or writes what there is.
    fn next_block_out(self: &Arc<Self>, c: &mut Inner) {
        let Some(t) = c.s.transfer.as_mut() else {
            return;
        };
        if t.position < t.data.len() {
            t.end = (t.position + t.block as usize).min(t.data.len());
            c.device().status = status::DRDY | status::DSC | status::DRQ;
            self.raise(c);
        } else {
            let at = t.at;
            let data = std::mem::take(&mut t.data);
            t.at += data.len() as u64;
            t.left -= (data.len() as u64).min(t.left);
            c.device().status = status::BSY | status::DRDY;
            self.write_medium(c, at, data);
        }
    }

    /// Room for the next part of a PIO write.
    pub(super) fn begin_out(&self, t: &mut Transfer) {
        t.data = vec![0; t.left.min(CHUNK) as usize];
        t.position = 0;
        t.end = t.data.len().min(t.block as usize);
    }

    pub(super) fn master_read(&self, offset: u16) -> u8 {
        let c = lock(&self.inner);
        match offset {
            master::COMMAND => c.s.master.command,
            master::STATUS => c.s.master.status | master::CAPABLE,
            4..8 => crate::bytes::of(c.s.master.table.into(), offset - 4),
            _ => 0,
        }
    }

    pub(super) fn master_write(self: &Arc<Self>, offset: u16, value: u8) {
        let mut c = lock(&self.inner);
        match offset {
            master::COMMAND => {
                let old = c.s.master.command;
                c.s.master.command = value & (master::START | master::TO_MEMORY);
                match (old & master::START, value & master::START) {
                    (0, 1) => {
                        c.s.master.status |= master::ACTIVE;
                        self.start_dma(&mut c);
                    }
                    (1, 0) => {
                        // Stopping a transfer loses it; the device waits for a reset (2.1).
                        if c.s.master.status & master::ACTIVE != 0 && c.s.transfer.is_some() {
                            c.generation += 1;
                        }
                        c.s.master.status &= !master::ACTIVE;
                    }
                    _ => {}
                }
            }
            master::STATUS => {
                let clear = value & (master::ERROR | master::INTERRUPT);
                c.s.master.status &= !clear;
            }
            4..8 => {
                let shift = 8 * u32::from(offset - 4);
                let kept = c.s.master.table & !(0xff << shift);
                c.s.master.table = (kept | u32::from(value) << shift) & !3;
            }
            _ => {}
        }
    }
}

/// Interrupt reason and byte count of a packet device.
pub(super) fn set_count(device: &mut super::state::Device, why: u8, bytes: usize) {
    let [low, high] = (bytes.min(0xffff) as u16).to_le_bytes();
    for (n, value) in [(1, why), (3, low), (4, high)] {
        if let Some(r) = device.file.get_mut(n) {
            *r = [value, 0];
        }
    }
}
