//! The address map: which device answers at a port or a guest-physical address.

use crate::space::{Space, Window};
use crate::{AccessSize, Clock, Device};
use arch::GuestPhys;
use snapshot::{Error, Section};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::trace;

/// A device as the bus holds it.
pub type Shared = Arc<Mutex<dyn Device>>;

/// All devices of a machine and where they answer. The board adds devices before the bus is shared; windows move afterwards too.
pub struct Bus {
    clock: Arc<Clock>,
    devices: Vec<Shared>,
    ports: Space,
    mmio: Space,
}

/// A range that overlaps one placed before.
#[derive(Debug, thiserror::Error)]
#[error("{first:#x}-{last:#x} of {name} overlaps {other}")]
pub struct Overlap {
    name: String,
    other: String,
    first: u64,
    last: u64,
}

fn lock(d: &Shared) -> MutexGuard<'_, dyn Device + 'static> {
    d.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// An empty bus.
    pub fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            devices: Vec::new(),
            ports: Space::default(),
            mmio: Space::default(),
        }
    }

    /// The machine's clock.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The index that the next added device will get: what its alarms are made with.
    pub fn next_index(&self) -> usize {
        self.devices.len()
    }

    /// Adds a device; tells its index.
    pub fn add(&mut self, device: Shared) -> usize {
        self.devices.push(device);
        self.devices.len() - 1
    }

    /// Places region `region` of `device` at `ports` for good.
    pub fn map_ports(
        &mut self,
        device: usize,
        region: usize,
        ports: RangeInclusive<u16>,
    ) -> Result<(), Overlap> {
        let (first, last) = ((*ports.start()).into(), (*ports.end()).into());
        let placed = self.ports.fix(device, region, first, last);
        placed.map_err(|other| self.overlap(device, other, first, last))
    }

    /// Places region `region` of `device` at guest-physical addresses for good.
    pub fn map_mmio(
        &mut self,
        device: usize,
        region: usize,
        addrs: RangeInclusive<u64>,
    ) -> Result<(), Overlap> {
        let (first, last) = (*addrs.start(), *addrs.end());
        let placed = self.mmio.fix(device, region, first, last);
        placed.map_err(|other| self.overlap(device, other, first, last))
    }

    /// A window for region `region` of `device` among the ports: nowhere until it is placed.
    pub fn port_window(&mut self, device: usize, region: usize) -> Window {
        self.ports.window(device, region)
    }

    /// The same among guest-physical addresses.
    pub fn mmio_window(&mut self, device: usize, region: usize) -> Window {
        self.mmio.window(device, region)
    }

    fn overlap(&self, device: usize, other: usize, first: u64, last: u64) -> Overlap {
        let name = |i: usize| {
            let device = self.devices.get(i);
            device.map_or_else(String::new, |d| lock(d).name().to_string())
        };
        Overlap {
            name: name(device),
            other: name(other),
            first,
            last,
        }
    }

    /// IN. A port that nobody decodes reads as ones; an access over the end of a range is split into bytes.
    pub fn port_read(&self, port: u16, size: AccessSize) -> u32 {
        match self.ports.find(port.into()) {
            Some(r) if u64::from(port) + size.bytes() - 1 <= r.last => {
                let mut d = lock(&self.devices[r.device]);
                let value = d.port_read(r.region, port.wrapping_sub(r.origin as u16), size);
                let value = value & size.mask() as u32;
                trace!(target: "bus::port", device = d.name(), ?size, port, value, "in");
                value
            }
            None if size == AccessSize::Byte => {
                trace!(target: "bus::port", port, "in from a port that nobody decodes");
                0xff
            }
            Some(_) | None => (0..size as u16).fold(0, |v, i| {
                v | self.port_read(port.wrapping_add(i), AccessSize::Byte) << (8 * i)
            }),
        }
    }

    /// OUT. Split like [`Bus::port_read`].
    pub fn port_write(&self, port: u16, size: AccessSize, value: u32) {
        match self.ports.find(port.into()) {
            Some(r) if u64::from(port) + size.bytes() - 1 <= r.last => {
                let value = value & size.mask() as u32;
                let mut d = lock(&self.devices[r.device]);
                trace!(target: "bus::port", device = d.name(), ?size, port, value, "out");
                d.port_write(r.region, port.wrapping_sub(r.origin as u16), size, value);
            }
            None if size == AccessSize::Byte => {
                trace!(target: "bus::port", port, value, "out to a port that nobody decodes");
            }
            Some(_) | None => {
                for i in 0..size as u16 {
                    self.port_write(
                        port.wrapping_add(i),
                        AccessSize::Byte,
                        value >> (8 * i) & 0xff,
                    );
                }
            }
        }
    }

    /// A load that did not hit RAM. Open bus reads as ones.
    pub fn mmio_read(&self, addr: GuestPhys, size: AccessSize) -> u64 {
        match self.mmio.find(addr.0) {
            Some(r) => {
                let mut d = lock(&self.devices[r.device]);
                let value =
                    d.mmio_read(r.region, addr.0.wrapping_sub(r.origin), size) & size.mask();
                trace!(target: "bus::mmio", device = d.name(), ?size, addr = addr.0, value, "load");
                value
            }
            None => {
                trace!(target: "bus::mmio", ?size, addr = addr.0, "load from where nothing is");
                size.mask()
            }
        }
    }

    /// A store that did not hit RAM.
    pub fn mmio_write(&self, addr: GuestPhys, size: AccessSize, value: u64) {
        let value = value & size.mask();
        match self.mmio.find(addr.0) {
            Some(r) => {
                let mut d = lock(&self.devices[r.device]);
                trace!(target: "bus::mmio", device = d.name(), ?size, addr = addr.0, value, "store");
                d.mmio_write(r.region, addr.0.wrapping_sub(r.origin), size, value);
            }
            None => {
                trace!(target: "bus::mmio", ?size, addr = addr.0, value, "store to where nothing is");
            }
        }
    }

    /// The devices' names, by index.
    pub fn names(&self) -> Vec<String> {
        let names = self.devices.iter().map(|d| lock(d).name().to_string());
        names.collect()
    }

    /// Which device answers at which ports: index, first, last.
    pub fn port_ranges(&self) -> Vec<(usize, u64, u64)> {
        self.ports.seen()
    }

    /// The same of guest-physical addresses.
    pub fn mmio_ranges(&self) -> Vec<(usize, u64, u64)> {
        self.mmio.seen()
    }

    /// Calls the devices whose alarms are due.
    pub fn run_due(&self) {
        let now = self.clock.now();
        for i in self.clock.take_due(now) {
            if let Some(d) = self.devices.get(i) {
                lock(d).expire(now);
            }
        }
    }

    /// RESET# to every device.
    pub fn reset(&self) {
        for d in &self.devices {
            lock(d).reset();
        }
    }

    /// The state of every device, in order of placement.
    pub fn save(&self) -> Result<Vec<Section>, Error> {
        self.devices.iter().map(|d| lock(d).save()).collect()
    }

    /// Gives each device its section back.
    pub fn restore(&self, sections: &[Section]) -> Result<(), Error> {
        for d in &self.devices {
            let mut d = lock(d);
            if let Some(s) = sections.iter().find(|s| s.name == d.name()) {
                d.restore(s)?;
            }
        }
        Ok(())
    }
}
