//! The legacy registers of a transitional device (4.1.4.8): ports, and queues by page number.

use super::VirtioDevice;
use super::core::NO_VECTOR;
use super::feature;
use super::pci::VirtioPci;
use crate::lock;
use bus::AccessSize;

mod regs {
    pub const DEVICE_FEATURES: u16 = 0;
    pub const DRIVER_FEATURES: u16 = 4;
    pub const QUEUE_ADDRESS: u16 = 8;
    pub const QUEUE_SIZE: u16 = 12;
    pub const QUEUE_SELECT: u16 = 14;
    pub const QUEUE_NOTIFY: u16 = 16;
    pub const STATUS: u16 = 18;
    pub const ISR: u16 = 19;
    pub const CONFIG_VECTOR: u16 = 20;
    pub const QUEUE_VECTOR: u16 = 22;
}
use regs::*;

/// The alignment of a legacy queue's used ring, and the unit of its address.
const PAGE: u64 = 4096;

/// Where the device configuration begins.
fn config_start(msix: bool) -> u16 {
    if msix { 24 } else { 20 }
}

pub(super) fn read<D: VirtioDevice>(
    v: &mut VirtioPci<D>,
    offset: u16,
    size: AccessSize,
    msix: bool,
) -> u32 {
    let start = config_start(msix);
    if offset >= start {
        let mut image = [0; 4];
        let n = size.bytes().min(4) as usize;
        let part = image.get_mut(..n).unwrap_or_default();
        v.device.config_read(usize::from(offset - start), part);
        return u32::from_le_bytes(image);
    }
    let queue = v.queue_select;
    match offset {
        DEVICE_FEATURES => lock(&v.core.common).offered as u32,
        DRIVER_FEATURES => lock(&v.core.common).accepted as u32,
        QUEUE_ADDRESS => v
            .core
            .queue(queue, |q| (q.descriptors / PAGE) as u32)
            .unwrap_or(0),
        QUEUE_SIZE => v.core.queue(queue, |q| q.limit.into()).unwrap_or(0),
        QUEUE_SELECT => queue.into(),
        STATUS => v.status().into(),
        ISR => v.core.take_isr().into(),
        CONFIG_VECTOR => lock(&v.core.common).config_vector.into(),
        QUEUE_VECTOR => v
            .core
            .queue(queue, |q| q.vector.into())
            .unwrap_or(NO_VECTOR.into()),
        _ => 0,
    }
}

pub(super) fn write<D: VirtioDevice>(
    v: &mut VirtioPci<D>,
    offset: u16,
    size: AccessSize,
    value: u32,
    msix: bool,
) {
    let start = config_start(msix);
    if offset >= start {
        let image = value.to_le_bytes();
        let n = size.bytes().min(4) as usize;
        let part = image.get(..n).unwrap_or_default();
        v.device.config_write(usize::from(offset - start), part);
        return;
    }
    let queue = v.queue_select;
    let vector = match value as u16 {
        n if n < v.vectors => n,
        _ => NO_VECTOR,
    };
    match offset {
        DRIVER_FEATURES => {
            let mut c = lock(&v.core.common);
            c.accepted = u64::from(value) & c.offered & !feature::VERSION_1;
        }
        QUEUE_ADDRESS => {
            let at = u64::from(value) * PAGE;
            v.core.queue(queue, |q| {
                // Descriptors, available ring, and from the next page on the used ring (2.7.2).
                let size = u64::from(q.limit);
                q.size = q.limit;
                q.descriptors = at;
                q.available = at + 16 * size;
                q.used = (q.available + 6 + 2 * size).next_multiple_of(PAGE);
                q.ready = value != 0;
            });
        }
        QUEUE_SELECT => v.queue_select = value as u16,
        QUEUE_NOTIFY => v.notify((value & 0xffff) as usize),
        STATUS => v.set_status(value as u8, true),
        CONFIG_VECTOR => lock(&v.core.common).config_vector = vector,
        QUEUE_VECTOR => {
            v.core.queue(queue, |q| q.vector = vector);
        }
        _ => {}
    }
}
