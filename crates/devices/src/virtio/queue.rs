//! A split virtqueue (2.7).
//!
//! Invariant: the work for one request is bounded by the queue's size, whatever the driver's memory holds.

use crate::pci::{Dma, DmaError};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{Ordering, fence};

/// Descriptor flags (2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Available ring flag (2.7.6): no interrupts, please.
const NO_INTERRUPT: u16 = 1;
/// Used ring flag (2.7.8): no notifications, please.
const NO_NOTIFY: u16 = 1;
/// Largest queue (2.7).
pub(super) const SIZE_LIMIT: u16 = 32768;
/// Most bytes of one request (2.7.4).
const BYTES_LIMIT: u64 = 1 << 32;

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub at: u64,
    pub bytes: u32,
}

/// The driver broke the rules, or the queue is not in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl From<DmaError> for Broken {
    fn from(_: DmaError) -> Self {
        Self
    }
}

/// What the driver offered: first what the device reads, then what it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub head: u16,
    pub readable: Vec<Segment>,
    pub writable: Vec<Segment>,
}

/// A queue as the driver set it up, and how far both sides are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    /// Entries that the device offers.
    pub limit: u16,
    pub size: u16,
    pub ready: bool,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    /// MSI-X vector; 0xffff is none.
    pub vector: u16,
    /// Next entry of the available ring that the device looks at.
    next_available: u16,
    /// Next entry of the used ring.
    next_used: u16,
    /// The used index at the last interrupt.
    signalled: u16,
    signalled_valid: bool,
    pub event_index: bool,
    pub indirect: bool,
}

impl Queue {
    pub(super) fn new(limit: u16) -> Self {
        Self {
            limit,
            size: limit,
            vector: 0xffff,
            ..Self::default()
        }
    }

    fn available_index(&self, dma: &Dma) -> Result<u16, Broken> {
        let index = dma.load(self.available.wrapping_add(2))?;
        // What the index covers is read after it.
        fence(Ordering::Acquire);
        Ok(index)
    }

    /// Whether the driver offered more than was popped.
    pub(super) fn has_more(&self, dma: &Dma) -> bool {
        self.ready
            && self
                .available_index(dma)
                .is_ok_and(|i| i != self.next_available)
    }

    /// The next request.
    pub(super) fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if !self.ready {
            return Ok(None);
        }
        let index = self.available_index(dma)?;
        let waiting = index.wrapping_sub(self.next_available);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.size {
            return Err(Broken);
        }
        let slot = self.next_available & (self.size - 1);
        let head: u16 = dma.load(self.available.wrapping_add(4 + 2 * u64::from(slot)))?;
        self.next_available = self.next_available.wrapping_add(1);
        self.chain(dma, head).map(Some)
    }

    /// Follows the descriptors from `head` on (2.7.5).
    fn chain(&self, dma: &Dma, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain {
            head,
            ..Chain::default()
        };
        if head >= self.size {
            return Err(Broken);
        }
        let (mut table, mut entries, mut next) = (self.descriptors, self.size, head);
        let mut inside_indirect = false;
        let mut total = 0u64;
        // A longer chain must have a circle.
        let mut left = u32::from(self.size) * 2;
        loop {
            if next >= entries || left == 0 {
                return Err(Broken);
            }
            left -= 1;
            let mut d = [0; 16];
            dma.read(table.wrapping_add(16 * u64::from(next)), &mut d)?;
            let at = u64::from_le_bytes(part(&d, 0));
            let bytes = u32::from_le_bytes(part(&d, 8));
            let flags = u16::from_le_bytes(part(&d, 12));
            if flags & INDIRECT != 0 {
                // One level, and the last of its chain (2.7.5.3).
                let count = bytes / 16;
                let wrong = !self.indirect
                    || inside_indirect
                    || flags & NEXT != 0
                    || bytes % 16 != 0
                    || count == 0
                    || count > u32::from(self.size);
                if wrong {
                    return Err(Broken);
                }
                inside_indirect = true;
                (table, entries, next) = (at, count as u16, 0);
                continue;
            }
            total += u64::from(bytes);
            if total > BYTES_LIMIT {
                return Err(Broken);
            }
            let segment = Segment { at, bytes };
            if flags & WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.is_empty() {
                chain.readable.push(segment);
            } else {
                // What the device reads comes first (2.7.4.2).
                return Err(Broken);
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            next = u16::from_le_bytes(part(&d, 14));
        }
    }

    /// Gives requests back, each a head and the bytes written, all at once; tells whether the driver wants an interrupt.
    pub(super) fn push(&mut self, dma: &Dma, done: &[(u16, u32)]) -> Result<bool, Broken> {
        if !self.ready || done.is_empty() {
            return Ok(false);
        }
        let old = self.next_used;
        for (head, written) in done {
            let slot = u64::from(self.next_used & (self.size - 1));
            let entry = u64::from(*written) << 32 | u64::from(*head);
            dma.store(self.used.wrapping_add(4 + 8 * slot), entry)?;
            self.next_used = self.next_used.wrapping_add(1);
        }
        // The entries are there before the index says so, the index before we look whether the driver sleeps (2.7.7.1).
        fence(Ordering::Release);
        dma.store(self.used.wrapping_add(2), self.next_used)?;
        fence(Ordering::SeqCst);
        if !self.event_index {
            let flags: u16 = dma.load(self.available)?;
            return Ok(flags & NO_INTERRUPT == 0);
        }
        let event: u16 = dma.load(self.available.wrapping_add(4 + 2 * u64::from(self.size)))?;
        let since = match std::mem::replace(&mut self.signalled_valid, true) {
            true => self.signalled,
            false => old,
        };
        // vring_need_event: has the index passed the event since the last interrupt?
        let passed = self.next_used.wrapping_sub(event).wrapping_sub(1);
        let wanted = passed < self.next_used.wrapping_sub(since);
        self.signalled = self.next_used;
        Ok(wanted)
    }

    /// Asks for a notification for the next buffer; tells whether buffers came meanwhile.
    pub(super) fn rearm(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if !self.ready {
            return Ok(false);
        }
        if self.event_index {
            let event = self.used.wrapping_add(4 + 8 * u64::from(self.size));
            dma.store(event, self.next_available)?;
        } else {
            dma.store(self.used, 0u16)?;
        }
        fence(Ordering::SeqCst);
        Ok(self.available_index(dma)? != self.next_available)
    }

    /// Notifications are of no use for now.
    pub(super) fn disarm(&mut self, dma: &Dma) -> Result<(), Broken> {
        if self.ready && !self.event_index {
            dma.store(self.used, NO_NOTIFY)?;
        }
        Ok(())
    }
}

/// `N` bytes of a descriptor.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut a = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        a.copy_from_slice(found);
    }
    a
}
