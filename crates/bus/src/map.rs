//! The address map: which device answers at a port or a guest-physical address.

use crate::{AccessSize, Clock, Device};
use arch::GuestPhys;
use snapshot::{Error, Section};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::trace;

/// A device as the bus holds it.
pub type Shared = Arc<Mutex<dyn Device>>;

#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    last: u64,
    device: usize,
    region: usize,
}

/// All devices of a machine and where they answer. Built once by the board, then shared read-only.
pub struct Bus {
    clock: Arc<Clock>,
    devices: Vec<Shared>,
    ports: Vec<Range>,
    mmio: Vec<Range>,
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

fn find(ranges: &[Range], at: u64) -> Option<&Range> {
    let i = ranges.partition_point(|r| r.last < at);
    ranges.get(i).filter(|r| r.first <= at)
}

impl Bus {
    /// An empty bus.
    pub fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            devices: Vec::new(),
            ports: Vec::new(),
            mmio: Vec::new(),
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

    /// Places region `region` of `device` at `ports`.
    pub fn map_ports(
        &mut self,
        device: usize,
        region: usize,
        ports: RangeInclusive<u16>,
    ) -> Result<(), Overlap> {
        let r = Range {
            first: (*ports.start()).into(),
            last: (*ports.end()).into(),
            device,
            region,
        };
        Self::place(&self.devices, &mut self.ports, r)
    }

    /// Places region `region` of `device` at guest-physical addresses.
    pub fn map_mmio(
        &mut self,
        device: usize,
        region: usize,
        addrs: RangeInclusive<u64>,
    ) -> Result<(), Overlap> {
        let r = Range {
            first: *addrs.start(),
            last: *addrs.end(),
            device,
            region,
        };
        Self::place(&self.devices, &mut self.mmio, r)
    }

    fn place(devices: &[Shared], ranges: &mut Vec<Range>, r: Range) -> Result<(), Overlap> {
        if let Some(o) = ranges
            .iter()
            .find(|o| o.first <= r.last && r.first <= o.last)
        {
            let name = |i: usize| {
                devices
                    .get(i)
                    .map_or_else(String::new, |d| lock(d).name().to_string())
            };
            return Err(Overlap {
                name: name(r.device),
                other: name(o.device),
                first: r.first,
                last: r.last,
            });
        }
        let at = ranges.partition_point(|o| o.first < r.first);
        ranges.insert(at, r);
        Ok(())
    }

    /// IN. A port that nobody decodes reads as ones; an access over the end of a range is split into bytes.
    pub fn port_read(&self, port: u16, size: AccessSize) -> u32 {
        match find(&self.ports, port.into()) {
            Some(r) if u64::from(port) + size.bytes() - 1 <= r.last => {
                let mut d = lock(&self.devices[r.device]);
                let value = d.port_read(r.region, port - r.first as u16, size);
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
        match find(&self.ports, port.into()) {
            Some(r) if u64::from(port) + size.bytes() - 1 <= r.last => {
                let value = value & size.mask() as u32;
                let mut d = lock(&self.devices[r.device]);
                trace!(target: "bus::port", device = d.name(), ?size, port, value, "out");
                d.port_write(r.region, port - r.first as u16, size, value);
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
        match find(&self.mmio, addr.0) {
            Some(r) => {
                let mut d = lock(&self.devices[r.device]);
                let value = d.mmio_read(r.region, addr.0 - r.first, size) & size.mask();
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
        match find(&self.mmio, addr.0) {
            Some(r) => {
                let mut d = lock(&self.devices[r.device]);
                trace!(target: "bus::mmio", device = d.name(), ?size, addr = addr.0, value, "store");
                d.mmio_write(r.region, addr.0 - r.first, size, value);
            }
            None => {
                trace!(target: "bus::mmio", ?size, addr = addr.0, value, "store to where nothing is");
            }
        }
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
