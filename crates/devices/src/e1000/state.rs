//! What the controller remembers.

use super::regs::*;
use super::{eeprom, transmit};
use crate::microwire::Microwire;
use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 1;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub general: General,
    pub interrupt: Interrupt,
    pub receive: Receive,
    pub transmit: Transmit,
    /// The registers of [`PLAIN`], in its order.
    pub plain: Vec<u32>,
    /// From [`STATISTICS`] on.
    pub statistics: Vec<u32>,
    pub phy: Phy,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct General {
    pub ctrl: u32,
    /// The bits of EECD that are the host's.
    pub eecd: u32,
    pub eerd: u32,
    pub mdic: u32,
    pub microwire: Microwire,
    /// The address that the next access to IODATA reaches.
    pub io_address: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Interrupt {
    pub cause: u32,
    pub mask: u32,
}

/// A ring of descriptors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ring {
    pub base: u64,
    /// In bytes.
    pub length: u32,
    pub head: u32,
    pub tail: u32,
}

impl Ring {
    pub fn count(&self) -> u32 {
        self.length / 16
    }

    /// Descriptors that are the controller's. A head or tail beyond the ring's end stops it.
    pub fn owned(&self) -> u32 {
        let n = self.count();
        match self.head < n && self.tail < n {
            true if self.tail >= self.head => self.tail - self.head,
            true => self.tail + n - self.head,
            false => 0,
        }
    }

    /// Where the descriptor at the head is.
    pub fn at(&self) -> u64 {
        self.base.wrapping_add(16 * u64::from(self.head))
    }

    pub fn advance(&mut self) {
        self.head = match self.head + 1 {
            n if n >= self.count() => 0,
            n => n,
        };
    }

    /// A register of the ring, counted from its base register.
    pub fn load(&self, register: u32) -> u32 {
        match register {
            0x00 => self.base as u32,
            0x04 => (self.base >> 32) as u32,
            0x08 => self.length,
            0x10 => self.head,
            0x18 => self.tail,
            _ => 0,
        }
    }

    pub fn store(&mut self, register: u32, value: u32) {
        match register {
            0x00 => self.base = self.base >> 32 << 32 | u64::from(value & !15),
            0x04 => self.base = self.base & 0xffff_ffff | u64::from(value) << 32,
            0x08 => self.length = value & 0xf_ff80,
            0x10 => self.head = value & 0xffff,
            0x18 => self.tail = value & 0xffff,
            _ => {}
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Receive {
    pub rctl: u32,
    pub ring: Ring,
    pub rxcsum: u32,
    /// RAL and RAH of 16 addresses, in turn.
    pub addresses: Vec<u32>,
    /// MTA.
    pub groups: Vec<u32>,
    /// VFTA.
    pub vlans: Vec<u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Transmit {
    pub tctl: u32,
    pub ring: Ring,
    /// The contexts of checksums and of segmentation (3.3.6).
    pub contexts: [transmit::Context; 2],
    pub packet: transmit::Packet,
    pub going: Option<transmit::Going>,
}

/// The PHY's registers that can be written, by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Phy {
    pub registers: Vec<u16>,
}

impl State {
    /// After power-on or RST, with the address that is read from the EEPROM.
    pub fn reset(&mut self, mac: [u8; 6]) {
        let statistics = vec![0; statistic::BYTES as usize / 4];
        let mut receive = Receive {
            addresses: vec![0; 32],
            groups: vec![0; 128],
            vlans: vec![0; 128],
            ..Receive::default()
        };
        let [a, b, c, d, e, f] = mac;
        if let [low, high, ..] = &mut receive.addresses[..] {
            *low = u32::from_le_bytes([a, b, c, d]);
            *high = u32::from(u16::from_le_bytes([e, f])) | RAH_AV;
        }
        *self = Self {
            general: General {
                ctrl: ctrl::FD | ctrl::SPEED_1000,
                ..General::default()
            },
            receive,
            plain: vec![0; PLAIN.len()],
            statistics,
            phy: Phy {
                registers: super::phy::power_on(),
            },
            ..Self::default()
        };
    }

    /// Whether the tables have their sizes, in a state from elsewhere.
    pub fn is_sound(&self) -> bool {
        self.plain.len() == PLAIN.len()
            && self.statistics.len() == statistic::BYTES as usize / 4
            && self.receive.addresses.len() == 32
            && self.receive.groups.len() == 128
            && self.receive.vlans.len() == 128
            && self.phy.registers.len() == 32
            && self.transmit.packet.is_sound()
    }

    /// Adds to a statistic; it stays at its maximum (13.7).
    pub fn count(&mut self, statistic: u32, n: u32) {
        if let Some(s) = self.statistics.get_mut(statistic as usize / 4) {
            *s = s.saturating_add(n);
        }
    }

    /// The same for one of 64 bits.
    pub fn count_bytes(&mut self, statistic: u32, n: usize) {
        let at = statistic as usize / 4;
        if let Some([low, high]) = self.statistics.get_mut(at..at + 2) {
            let sum = u64::from(*low) | u64::from(*high) << 32;
            let sum = sum.saturating_add(n as u64);
            (*low, *high) = (sum as u32, (sum >> 32) as u32);
        }
    }

    /// Reads a statistic, which is zero then. The low half of one of 64 bits is read first.
    pub fn take_statistic(&mut self, offset: u32) -> u32 {
        self.statistics
            .get_mut(offset as usize / 4)
            .map_or(0, std::mem::take)
    }

    /// The words of the EEPROM that go with this address.
    pub fn words(mac: [u8; 6]) -> [u16; crate::microwire::WORDS] {
        eeprom::words(mac)
    }
}
