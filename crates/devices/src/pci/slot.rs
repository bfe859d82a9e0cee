//! A function in its place on the bus: what all functions have in common.

use super::config::{self, Bar, Command, Config, ROM_REGION};
use super::{Dma, Interrupts, PciFunction, interrupts};
use crate::lock;
use bus::{AccessSize, Device, Window};
use snapshot::{Error, Section};
use std::sync::Mutex;

/// A [`PciFunction`] with its configuration space.
pub struct Slot<F> {
    function: F,
    config: Config,
    dma: Dma,
    interrupts: Interrupts,
    windows: Vec<(usize, Window)>,
}

impl<F: PciFunction> Slot<F> {
    /// A slot in reset state.
    pub(super) fn new(
        mut function: F,
        mut config: Config,
        dma: Dma,
        interrupts: Interrupts,
        windows: Vec<(usize, Window)>,
    ) -> Self {
        config.seal();
        function.reset(&mut config);
        let mut slot = Self {
            function,
            config,
            dma,
            interrupts,
            windows,
        };
        slot.settle();
        slot
    }

    /// Makes windows, bus mastering and interrupts what the configuration space says.
    fn settle(&mut self) {
        for (region, window) in &self.windows {
            window.place(self.config.placement(*region));
        }
        self.dma
            .enable(self.config.command().contains(Command::MASTER));
        self.interrupts.sync(&self.config);
    }
}

impl<F: PciFunction> Device for Slot<F> {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        self.function.port_read(region, offset, size)
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        self.function.port_write(region, offset, size, value);
    }

    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        if region == ROM_REGION {
            return (0..size.bytes()).fold(0, |v, i| {
                v | u64::from(self.config.rom_byte(offset.wrapping_add(i))) << (8 * i)
            });
        }
        match self.interrupts.msix_place(region, offset) {
            Some(at) => self.interrupts.msix_read(at, size),
            None => self.function.mmio_read(region, offset, size),
        }
    }

    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        if region == ROM_REGION {
            return;
        }
        match self.interrupts.msix_place(region, offset) {
            Some(at) => self.interrupts.msix_write(at, size, value),
            None => self.function.mmio_write(region, offset, size, value),
        }
    }

    fn expire(&mut self, now: u64) {
        self.function.expire(now);
    }

    fn reset(&mut self) {
        self.config.reset();
        self.interrupts.reset();
        self.function.reset(&mut self.config);
        self.settle();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            function,
            config,
            dma: _,
            interrupts,
            windows: _,
        } = self;
        let parts = (config.save(), interrupts.save(), function.save()?);
        Section::new(self.name(), 1, &parts)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let (config, interrupts, function): (config::State, interrupts::State, Section) =
            section.read(self.name(), 1)?;
        self.config.restore(&config);
        self.interrupts.restore(interrupts);
        self.function.restore(&function, &mut self.config)?;
        self.settle();
        Ok(())
    }
}

/// A slot as the configuration ports see it.
pub(super) trait Access: Send + Sync {
    fn config_read(&self, offset: u8, size: AccessSize) -> u32;
    fn config_write(&self, offset: u8, size: AccessSize, value: u32);
    fn bars(&self) -> Vec<(u8, Bar)>;
    fn pin(&self) -> Option<u8>;
}

impl<F: PciFunction> Access for Mutex<Slot<F>> {
    fn config_read(&self, offset: u8, size: AccessSize) -> u32 {
        let s = &mut *lock(self);
        s.interrupts.show(&mut s.config);
        s.function.config_read(&mut s.config, offset);
        s.config.read(offset, size)
    }

    fn config_write(&self, offset: u8, size: AccessSize, value: u32) {
        let s = &mut *lock(self);
        s.config.write(offset, size, value);
        let bytes = size.bytes().min(4) as u8;
        s.function.config_written(&mut s.config, offset, bytes);
        s.settle();
    }

    fn bars(&self) -> Vec<(u8, Bar)> {
        lock(self).config.bars().collect()
    }

    fn pin(&self) -> Option<u8> {
        lock(self).config.pin_number()
    }
}
