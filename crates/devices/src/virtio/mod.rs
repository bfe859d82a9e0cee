//! Virtio (OASIS, Virtual I/O Device Version 1.2): split virtqueues, the PCI transport, and the devices.
//!
//! A device implements [`VirtioDevice`] and holds the [`Core`] that it is made with: features, queues, and the way to RAM and to the
//! interrupts. [`VirtioPci`] is its transport: a PCI function with the modern capabilities and the legacy registers (section 4.1).
//!
//! ```text
//! pci.plug(bus, at, VirtioPci::<Rng>::config(), |wires| VirtioPci::new("rng0", wires, Rng::new))
//! ```
//!
//! Any thread may [`Core::pop`] a [`Request`] and [`Request::complete`] it: no lock of the transport is needed. A driver that breaks
//! the rules of a queue (a circle of descriptors, more of them than the queue has, memory that is none) breaks the device until it resets
//! it (2.1.2); it cannot make it loop or read outside RAM. A reset while requests are under way is over, as the driver sees it, once they
//! have ended; what they would still have written is dropped.
//!
//! Absent: packed virtqueues, shared memory regions, queue reset, MMIO and channel transports.

mod blk;
mod core;
mod legacy;
mod net;
#[cfg(test)]
mod net_tests;
mod p9;
mod pci;
mod queue;
mod rng;
#[cfg(test)]
mod tests;

pub use self::core::{Core, Request};
pub use blk::Blk;
pub use net::Net;
pub use p9::{P9, TAG_LIMIT};
pub use pci::VirtioPci;
pub use queue::Segment;
pub use rng::Rng;

/// Feature bits of every device (section 6).
pub mod feature {
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
}

/// What a kind of device is to PCI (4.1.2).
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Device type (section 5).
    pub id: u16,
    /// Transitional PCI device ID (4.1.2.1), where there is one.
    pub transitional: Option<u16>,
    /// PCI class code.
    pub class: u32,
    /// Entries of each virtqueue, powers of two.
    pub queues: &'static [u16],
}

/// A device without its transport. The rules of [`bus::Device`] hold: nothing blocks, nothing panics.
pub trait VirtioDevice: Send {
    const KIND: Kind;
    /// What the device offers beside what every device has.
    fn features(&self) -> u64;
    /// The device configuration from `offset` on; what is beyond it stays as it is.
    fn config_read(&self, offset: usize, into: &mut [u8]);
    /// A store to the device configuration.
    fn config_write(&mut self, offset: usize, from: &[u8]) {
        let _ = (offset, from);
    }
    /// The driver negotiated features and set DRIVER_OK.
    fn activate(&mut self) {}
    /// The driver put buffers into a queue.
    fn notify(&mut self, queue: usize);
    /// Waits for what is under way, before a save and at RST#: the one method that may block.
    fn drain(&self) {}
    /// Back to what it was before the driver came.
    fn reset(&mut self);
    /// The device's own state, versioned by itself.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Takes over a saved state; bytes of another version are ignored.
    fn restore(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
}
