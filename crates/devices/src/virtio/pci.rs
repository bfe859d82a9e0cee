//! The PCI transport (4.1): capabilities that say where the structures are in one base address register, MSI-X, and the legacy registers.

use super::core::{Common, Core, status};
use super::legacy;
use super::queue::{Queue, SIZE_LIMIT};
use super::{VirtioDevice, feature};
use crate::lock;
use crate::pci::{Bar, Config, Identity, PciFunction, Pin, Wires};
use bus::AccessSize;
use snapshot::{Error, Section};
use std::sync::Arc;

/// Base address registers: legacy registers, MSI-X, structures.
const LEGACY_BAR: u8 = 0;
const MSIX_BAR: u8 = 1;
const BAR: u8 = 4;

/// The structures in the base address register, a page each.
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const DEVICE: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const BAR_BYTES: u64 = 0x4000;
/// Bytes from one queue's notification address to the next.
const NOTIFY_STRIDE: u32 = 4;

/// Kinds of capabilities (4.1.4).
const CAP_COMMON: u8 = 1;
const CAP_NOTIFY: u8 = 2;
const CAP_ISR: u8 = 3;
const CAP_DEVICE: u8 = 4;
const CAP_PCI: u8 = 5;
const VENDOR_SPECIFIC: u8 = 0x09;
/// The window of configuration access: where its capability stands, which is put first.
const WINDOW: u8 = 0x40;

/// Common configuration (4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_VECTOR: u64 = 0x10;
    pub const NUM_QUEUES: u64 = 0x12;
    pub const STATUS: u64 = 0x14;
    pub const GENERATION: u64 = 0x15;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
    pub const END: u64 = 0x38;
}

/// A virtio device as a PCI function.
pub struct VirtioPci<D> {
    name: String,
    pub(super) core: Arc<Core>,
    pub(super) device: D,
    device_feature_select: u32,
    driver_feature_select: u32,
    pub(super) queue_select: u16,
    pub(super) vectors: u16,
    resetting: bool,
}

fn capability(kind: u8, offset: u64, bytes: u32, more: &[u8]) -> Vec<u8> {
    let mut body = vec![16 + more.len() as u8, kind, BAR, 0, 0, 0];
    body.extend((offset as u32).to_le_bytes());
    body.extend(bytes.to_le_bytes());
    body.extend(more);
    body
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// The function's configuration header.
    pub fn config() -> Config {
        let kind = D::KIND;
        let modern = 0x1040 + kind.id;
        let id = Identity {
            vendor: 0x1af4,
            device: kind.transitional.unwrap_or(modern),
            revision: u8::from(kind.transitional.is_none()),
            class: kind.class,
        };
        let mut config = Config::new(id)
            .subsystem(
                0x1af4,
                if kind.transitional.is_some() {
                    kind.id
                } else {
                    0x1100
                },
            )
            .pin(Pin::A);
        if kind.transitional.is_some() {
            config = config.bar(LEGACY_BAR, Bar::Io { size: 64 });
        }
        let vectors = kind.queues.len() as u16 + 1;
        // bar, offset and length of the window, and its data, are the guest's to write.
        let mut window = [0; 18];
        window[2] = 0xff;
        window[6..].fill(0xff);
        config
            .bar(
                MSIX_BAR,
                Bar::Memory32 {
                    size: 0x1000,
                    prefetchable: false,
                },
            )
            .bar(
                BAR,
                Bar::Memory64 {
                    size: BAR_BYTES,
                    prefetchable: true,
                },
            )
            .capability(
                VENDOR_SPECIFIC,
                &capability(CAP_PCI, 0, 0, &[0; 4]),
                &window,
            )
            .capability(
                VENDOR_SPECIFIC,
                &capability(CAP_COMMON, COMMON, 0x1000, &[]),
                &[],
            )
            .capability(VENDOR_SPECIFIC, &capability(CAP_ISR, ISR, 0x1000, &[]), &[])
            .capability(
                VENDOR_SPECIFIC,
                &capability(CAP_DEVICE, DEVICE, 0x1000, &[]),
                &[],
            )
            .capability(
                VENDOR_SPECIFIC,
                &capability(CAP_NOTIFY, NOTIFY, 0x1000, &NOTIFY_STRIDE.to_le_bytes()),
                &[],
            )
            .msix(vectors, MSIX_BAR, 0, 0x800)
    }

    /// The device that `make` makes, behind its transport.
    pub fn new(name: &str, wires: Wires, make: impl FnOnce(Arc<Core>) -> D) -> Self {
        let core = Core::new(&D::KIND, wires.dma, wires.interrupts);
        let device = make(core.clone());
        let all =
            feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1 | feature::ANY_LAYOUT;
        lock(&core.common).offered = all | device.features();
        Self {
            name: name.to_owned(),
            core,
            device,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            vectors: D::KIND.queues.len() as u16 + 1,
            resetting: false,
        }
    }

    /// A register of the common configuration, in its own width.
    fn common_read(&mut self, offset: u64) -> u64 {
        use common::*;
        match offset {
            DEVICE_FEATURE_SELECT => return self.device_feature_select.into(),
            DRIVER_FEATURE_SELECT => return self.driver_feature_select.into(),
            QUEUE_SELECT => return self.queue_select.into(),
            NUM_QUEUES => return self.core.queue_count().into(),
            QUEUE_NOTIFY_OFF => return self.queue_select.into(),
            STATUS => return self.status().into(),
            _ => {}
        }
        let half = |features: u64, select: u32| match select {
            0 => features & 0xffff_ffff,
            1 => features >> 32,
            _ => 0,
        };
        {
            let c = lock(&self.core.common);
            match offset {
                DEVICE_FEATURE => {
                    return half(c.offered & !feature::ANY_LAYOUT, self.device_feature_select);
                }
                DRIVER_FEATURE => return half(c.accepted, self.driver_feature_select),
                CONFIG_VECTOR => return c.config_vector.into(),
                GENERATION => return c.generation.into(),
                _ => {}
            }
        }
        let of_queue = |q: &mut Queue| match offset {
            QUEUE_SIZE => q.size.into(),
            QUEUE_VECTOR => q.vector.into(),
            QUEUE_ENABLE => q.ready.into(),
            QUEUE_DESC => q.descriptors,
            QUEUE_DRIVER => q.available,
            QUEUE_DEVICE => q.used,
            _ => 0,
        };
        self.core.queue(self.queue_select, of_queue).unwrap_or(0)
    }

    /// A store to the common configuration: `bytes` of the register that begins at `start`, from byte `within` on.
    fn common_write(&mut self, start: u64, within: u64, bytes: &[u8]) {
        use common::*;
        // A register is written as a whole, or in aligned parts (64-bit addresses).
        let old = self.common_read(start);
        let mut image = old.to_le_bytes();
        for (place, b) in image.iter_mut().skip(within as usize).zip(bytes) {
            *place = *b;
        }
        let value = u64::from_le_bytes(image);
        let valid = |v: u16| {
            if v < self.vectors {
                v
            } else {
                super::core::NO_VECTOR
            }
        };
        match start {
            DEVICE_FEATURE_SELECT => self.device_feature_select = value as u32,
            DRIVER_FEATURE_SELECT => self.driver_feature_select = value as u32,
            DRIVER_FEATURE => {
                let mut c = lock(&self.core.common);
                if c.status & status::FEATURES_OK == 0 {
                    match self.driver_feature_select {
                        0 => c.accepted = c.accepted & !0xffff_ffff | value & 0xffff_ffff,
                        1 => c.accepted = c.accepted & 0xffff_ffff | value << 32,
                        _ => {}
                    }
                }
            }
            CONFIG_VECTOR => lock(&self.core.common).config_vector = valid(value as u16),
            STATUS => self.set_status(value as u8, false),
            QUEUE_SELECT => self.queue_select = value as u16,
            _ => {
                let vector = valid(value as u16);
                self.core.queue(self.queue_select, |q| {
                    // Where a queue is must not change once it is enabled (4.1.4.3.2).
                    match start {
                        QUEUE_VECTOR => q.vector = vector,
                        _ if q.ready => {}
                        QUEUE_SIZE => {
                            let size = value as u16;
                            if size.is_power_of_two() && size <= q.limit.min(SIZE_LIMIT) {
                                q.size = size;
                            }
                        }
                        QUEUE_ENABLE => q.ready = value & 1 != 0,
                        QUEUE_DESC => q.descriptors = value,
                        QUEUE_DRIVER => q.available = value,
                        QUEUE_DEVICE => q.used = value,
                        _ => {}
                    }
                });
            }
        }
    }

    /// The status, not zero before what a reset interrupted has ended (2.4.2 lets the driver wait).
    pub(super) fn status(&mut self) -> u8 {
        if self.resetting && self.core.is_busy() {
            return status::NEEDS_RESET;
        }
        self.resetting = false;
        lock(&self.core.common).status
    }

    pub(super) fn set_status(&mut self, value: u8, legacy: bool) {
        if value == 0 {
            self.reset_device();
            return;
        }
        let started = {
            let mut c = lock(&self.core.common);
            let mut new = value | c.status & status::NEEDS_RESET;
            if new & status::FEATURES_OK != 0 && c.status & status::FEATURES_OK == 0 {
                // Only what was offered, and not without VERSION_1 (6.1).
                let fine = c.accepted & !c.offered == 0 && c.accepted & feature::VERSION_1 != 0;
                if !fine {
                    new &= !status::FEATURES_OK;
                }
            }
            let ok = |s: u8| s & status::DRIVER_OK != 0;
            let started = ok(new) && !ok(c.status) && (legacy || new & status::FEATURES_OK != 0);
            if legacy {
                c.accepted &= c.offered & 0xffff_ffff;
            }
            c.status = new;
            started.then_some(c.accepted)
        };
        if let Some(accepted) = started {
            self.core.apply_features(accepted);
            self.device.activate();
        }
    }

    fn reset_device(&mut self) {
        self.core.reset();
        self.device.reset();
        self.queue_select = 0;
        self.device_feature_select = 0;
        self.driver_feature_select = 0;
        self.resetting = true;
    }

    fn load(&mut self, offset: u64, bytes: usize) -> u64 {
        let mut image = [0; 8];
        let within = offset & 0xfff;
        match offset & !0xfff {
            COMMON => {
                for (n, b) in image.iter_mut().take(bytes).enumerate() {
                    let at = within + n as u64;
                    if let Some((start, _)) = register(at) {
                        let value = self.common_read(start);
                        *b = crate::bytes::of(value, (at - start) as u16);
                    }
                }
            }
            ISR => image[0] = self.core.take_isr(),
            DEVICE => {
                let part = image.get_mut(..bytes).unwrap_or_default();
                self.device.config_read(within as usize, part);
            }
            _ => {}
        }
        u64::from_le_bytes(image)
    }

    fn store(&mut self, offset: u64, bytes: usize, value: u64) {
        let within = offset & 0xfff;
        let image = value.to_le_bytes();
        let image = image.get(..bytes).unwrap_or_default();
        match offset & !0xfff {
            COMMON => {
                let mut at = within;
                let mut rest = image;
                while let (Some((start, width)), false) = (register(at), rest.is_empty()) {
                    let n = ((start + width - at) as usize).min(rest.len());
                    let (part, tail) = rest.split_at(n);
                    self.common_write(start, at - start, part);
                    at += n as u64;
                    rest = tail;
                }
            }
            DEVICE => self.device.config_write(within as usize, image),
            NOTIFY => self.notify((within / u64::from(NOTIFY_STRIDE)) as usize),
            _ => {}
        }
    }

    pub(super) fn notify(&mut self, queue: usize) {
        if self.core.is_running() {
            self.device.notify(queue);
        }
    }
}

/// The register of the common configuration that holds a byte: where it begins and how wide it is.
fn register(at: u64) -> Option<(u64, u64)> {
    use common::*;
    Some(match at {
        0..CONFIG_VECTOR => (at & !3, 4),
        STATUS | GENERATION => (at, 1),
        CONFIG_VECTOR..QUEUE_DESC => (at & !1, 2),
        QUEUE_DESC..END => (at & !7, 8),
        _ => return None,
    })
}

impl<D: VirtioDevice> PciFunction for VirtioPci<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        let msix = self.core.uses_msix();
        legacy::read(self, offset, size, msix)
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        let msix = self.core.uses_msix();
        legacy::write(self, offset, size, value, msix);
    }

    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        match region == usize::from(BAR) {
            true => self.load(offset, size.bytes() as usize),
            false => 0,
        }
    }

    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        if region == usize::from(BAR) {
            self.store(offset, size.bytes() as usize, value);
        }
    }

    /// The window of the configuration access capability (4.1.4.9): reading its data reads the structure that it points to.
    fn config_read(&mut self, config: &mut Config, offset: u8) {
        if offset & !3 == WINDOW + 16
            && let Some((at, bytes)) = window(config)
        {
            let value = self.load(at, bytes);
            config.set_u32(WINDOW + 16, value as u32);
        }
    }

    fn config_written(&mut self, config: &mut Config, offset: u8, _: u8) {
        if offset & !3 == WINDOW + 16
            && let Some((at, bytes)) = window(config)
        {
            let value = config.get_u32(WINDOW + 16).into();
            self.store(at, bytes, value);
        }
    }

    fn reset(&mut self, _: &mut Config) {
        self.reset_device();
        // What was under way must not come to memory that has another use.
        self.device.drain();
    }

    fn save(&self) -> Result<Section, Error> {
        self.device.drain();
        let selects = (
            self.device_feature_select,
            self.driver_feature_select,
            self.queue_select,
        );
        let state = (selects, self.core.save(), self.device.save());
        Section::new(self.name(), 1, &state)
    }

    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        type State = ((u32, u32, u16), (Common, Vec<Queue>), Vec<u8>);
        let (selects, (common, queues), own): State = section.read(self.name(), 1)?;
        self.device.drain();
        (
            self.device_feature_select,
            self.driver_feature_select,
            self.queue_select,
        ) = selects;
        self.core.restore(common, &queues);
        self.device.restore(&own);
        self.resetting = false;
        // Buffers that were offered before the save may wait for a notification that came already.
        for queue in 0..usize::from(self.core.queue_count()) {
            self.notify(queue);
        }
        Ok(())
    }
}

/// What the window points to: an offset in the structures' base address register, and 1, 2 or 4 bytes.
fn window(config: &Config) -> Option<(u64, usize)> {
    let at = u64::from(config.get_u32(WINDOW + 8));
    let bytes = config.get_u32(WINDOW + 12);
    let fine = config.get_u8(WINDOW + 4) == BAR
        && matches!(bytes, 1 | 2 | 4)
        && at.is_multiple_of(bytes.into())
        && at < BAR_BYTES;
    fine.then_some((at, bytes as usize))
}
