//! Intel 82371SB (PIIX3), function 1: the IDE controller (datasheet, order 290550, 2.4 and 3.2): two channels with two drives each, at the
//! AT's addresses, and bus mastering (Programming Interface for Bus Master IDE Controller, 1.0).
//!
//! A drive is a disk (ATA) or a CD-ROM (ATAPI). Commands that reach the medium run on the disk's threads and end by locking the channel
//! again: one command a channel at a time, as the bus has it. A reset makes what is under way of no consequence by moving the
//! channel's generation on.
//!
//! Absent: timing (the registers read back), native mode, the audio side of CD-ROMs.

mod channel;
mod commands;
mod dma;
mod state;
#[cfg(test)]
mod tests;

use crate::lock;
use crate::pci::{Bar, Config, Identity, LEGACY, PciFunction, Wires};
use block::Disk;
use bus::{AccessSize, IrqLine};
use channel::Channel;
pub(crate) use dma::trim;
use snapshot::{Error, Section};
use std::sync::Arc;

/// Region of channel `n`'s eight command block ports (0x1F0, 0x170).
pub const fn region_command(n: usize) -> usize {
    LEGACY + 2 * n
}
/// Region of channel `n`'s control block port (0x3F6, 0x376).
pub const fn region_control(n: usize) -> usize {
    LEGACY + 2 * n + 1
}
/// Region of the bus master registers.
const BUS_MASTER: usize = 4;

/// What is on a cable.
#[derive(Clone)]
pub enum Drive {
    Disk(Arc<Disk>),
    /// With or without a disc.
    CdRom(Option<Arc<Disk>>),
}

/// Where a drive sits: channel 0 or 1, device 0 (master) or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub channel: usize,
    pub device: usize,
}

impl Place {
    /// In the order in which systems count them.
    pub const ALL: [Self; 4] = [
        Self::new(0, 0),
        Self::new(0, 1),
        Self::new(1, 0),
        Self::new(1, 1),
    ];
    pub const fn new(channel: usize, device: usize) -> Self {
        Self { channel, device }
    }
}

/// The controller. Clones are handles to the same one.
#[derive(Clone)]
pub struct Ide {
    channels: [Arc<Channel>; 2],
}

impl Ide {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: 0x8086,
            device: 0x7010,
            revision: 0x00,
            class: 0x01_0180,
        };
        Config::new(id)
            .register(0x06, &[0x80, 0x02], &[0, 0])
            .bar(BUS_MASTER as u8, Bar::Io { size: 16 })
            // IDETIM: both channels decoded, as firmware leaves them; SIDETIM.
            .register(0x40, &[0x00, 0x80, 0x00, 0x80], &[0xff; 4])
            .register(0x44, &[0], &[0xff])
    }

    /// A controller with these drives; channel `n` interrupts on `lines[n]`.
    pub fn new(wires: &Wires, lines: [IrqLine; 2], drives: &[(Place, Drive)]) -> Self {
        let mut number = 0;
        let channels = lines.map(|line| {
            let n = number;
            number += 1;
            let on = |device| {
                let here = Place::new(n, device);
                let found = drives.iter().find(|(place, _)| *place == here);
                found.map(|(_, drive)| drive.clone())
            };
            Arc::new(Channel::new(line, wires.dma.clone(), [on(0), on(1)]))
        });
        Self { channels }
    }

    /// Puts a disc into a CD-ROM drive, or takes it out.
    pub fn change_disc(&self, place: Place, disc: Option<Arc<Disk>>) {
        if let Some(channel) = self.channels.get(place.channel) {
            channel.change_disc(place.device, disc);
        }
    }

    fn channel(&self, n: usize) -> &Arc<Channel> {
        let [first, second] = &self.channels;
        if n == 0 { first } else { second }
    }
}

impl PciFunction for Ide {
    fn name(&self) -> &str {
        "ide"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        if region == BUS_MASTER {
            let channel = self.channel(usize::from(offset >> 3 & 1));
            return crate::bytes::read(offset & 7, size, |o| channel.master_read(o));
        }
        let Some(n) = region.checked_sub(LEGACY) else {
            return size.mask() as u32;
        };
        let channel = self.channel(n / 2);
        match (n % 2, offset) {
            (0, 0) => channel.data_read(size),
            (0, _) => crate::bytes::read(offset, size, |o| channel.register_read(o & 7)),
            _ => channel.alternate_status().into(),
        }
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        if region == BUS_MASTER {
            let channel = self.channel(usize::from(offset >> 3 & 1));
            crate::bytes::write(offset & 7, size, value, |o, v| channel.master_write(o, v));
            return;
        }
        let Some(n) = region.checked_sub(LEGACY) else {
            return;
        };
        let channel = self.channel(n / 2);
        match (n % 2, offset) {
            (0, 0) => channel.data_write(size, value),
            (0, _) => crate::bytes::write(offset, size, value, |o, v| {
                channel.register_write(o & 7, v);
            }),
            _ => channel.control_write(value as u8),
        }
    }

    fn reset(&mut self, _: &mut Config) {
        for channel in &self.channels {
            channel.reset();
        }
        // What was under way must not come to memory that has another use.
        for channel in &self.channels {
            channel.drain();
        }
    }

    fn save(&self) -> Result<Section, Error> {
        let Self { channels } = self;
        for channel in channels {
            channel.drain();
        }
        let [first, second] = channels;
        let (first, second) = (lock(&first.inner), lock(&second.inner));
        Section::new(self.name(), state::VERSION, &(&first.s, &second.s))
    }

    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        let (first, second): (state::State, state::State) =
            section.read(self.name(), state::VERSION)?;
        for (channel, s) in self.channels.iter().zip([first, second]) {
            channel.drain();
            channel.restore(s);
        }
        Ok(())
    }
}
