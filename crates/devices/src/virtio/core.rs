//! What a device and its transport share: status, features, queues, interrupts (2.1-2.3).

use super::queue::{Chain, Queue, Segment};
use super::{Kind, feature};
use crate::lock;
use crate::pci::{Dma, Interrupts};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Device status bits (2.1).
pub(super) mod status {
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
}

/// Interrupt status bits (4.1.4.5).
pub(super) const ISR_QUEUE: u8 = 1;
pub(super) const ISR_CONFIG: u8 = 2;

/// The vector that is none (4.1.4.3).
pub(super) const NO_VECTOR: u16 = 0xffff;

/// What all of a device's queues have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Common {
    pub status: u8,
    pub offered: u64,
    /// What the driver accepted.
    pub accepted: u64,
    pub config_vector: u16,
    pub isr: u8,
    pub generation: u8,
}

/// A device's half of the transport. Shared by all of its threads.
pub struct Core {
    queues: Vec<Mutex<Queue>>,
    pub(super) common: Mutex<Common>,
    dma: Dma,
    interrupts: Interrupts,
    /// Moves on with every reset: requests of another epoch are dropped.
    epoch: AtomicU64,
    /// Requests that were popped and are not given back.
    in_flight: AtomicU32,
}

impl Core {
    pub(super) fn new(kind: &Kind, dma: Dma, interrupts: Interrupts) -> Arc<Self> {
        let queues = kind.queues.iter().map(|&size| Mutex::new(Queue::new(size)));
        Arc::new(Self {
            queues: queues.collect(),
            common: Mutex::new(Common {
                status: 0,
                offered: 0,
                accepted: 0,
                config_vector: NO_VECTOR,
                isr: 0,
                generation: 0,
            }),
            dma,
            interrupts,
            epoch: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
        })
    }

    /// The way to RAM.
    pub fn dma(&self) -> &Dma {
        &self.dma
    }

    /// Whether the driver accepted all of these features.
    pub fn has(&self, features: u64) -> bool {
        lock(&self.common).accepted & features == features
    }

    /// Whether the driver is at work and did not break the device.
    pub fn is_running(&self) -> bool {
        let s = lock(&self.common).status;
        s & status::DRIVER_OK != 0 && s & status::NEEDS_RESET == 0
    }

    /// The next request of a queue.
    pub fn pop(self: &Arc<Self>, queue: usize) -> Option<Request> {
        if !self.is_running() {
            return None;
        }
        let mut q = lock(self.queues.get(queue)?);
        // Under the queue's lock, which a reset takes too.
        let epoch = self.epoch.load(Ordering::SeqCst);
        match q.pop(&self.dma) {
            Ok(chain) => {
                let chain = chain?;
                self.in_flight.fetch_add(1, Ordering::SeqCst);
                Some(Request {
                    core: self.clone(),
                    queue,
                    epoch,
                    chain,
                })
            }
            Err(_) => {
                drop(q);
                self.break_epoch(epoch);
                None
            }
        }
    }

    /// Whether a queue holds more than was popped.
    pub fn has_more(&self, queue: usize) -> bool {
        self.queues
            .get(queue)
            .is_some_and(|q| lock(q).has_more(&self.dma))
    }

    /// Asks for a notification for the next buffer; tells whether buffers came meanwhile.
    pub fn rearm(&self, queue: usize) -> bool {
        self.on_queue(queue, |q, dma| q.rearm(dma))
    }

    /// Tells the driver to spare its notifications until [`Core::rearm`].
    pub fn disarm(&self, queue: usize) {
        self.on_queue(queue, |q, dma| q.disarm(dma).map(|()| false));
    }

    fn on_queue(
        &self,
        queue: usize,
        work: impl FnOnce(&mut Queue, &Dma) -> Result<bool, super::queue::Broken>,
    ) -> bool {
        let Some(q) = self.queues.get(queue) else {
            return false;
        };
        let mut q = lock(q);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let done = work(&mut q, &self.dma);
        drop(q);
        match done {
            Ok(answer) => answer && self.is_running(),
            Err(_) => {
                self.break_epoch(epoch);
                false
            }
        }
    }

    /// The driver broke the rules: nothing goes on before a reset (2.1.2).
    pub fn break_device(&self) {
        self.break_epoch(self.epoch.load(Ordering::SeqCst));
    }

    /// The same for what was found in a queue of `epoch`: after a reset it is of no consequence.
    fn break_epoch(&self, epoch: u64) {
        let mut c = lock(&self.common);
        if self.epoch.load(Ordering::SeqCst) != epoch {
            return;
        }
        if c.status & status::NEEDS_RESET == 0 {
            tracing::debug!(target: "devices::virtio", "the driver broke a queue");
        }
        c.status |= status::NEEDS_RESET;
        if c.status & status::DRIVER_OK != 0 {
            self.interrupt(&mut c, ISR_CONFIG, None);
        }
    }

    /// The device configuration changed by itself (2.5).
    pub fn config_changed(&self) {
        let mut c = lock(&self.common);
        c.generation = c.generation.wrapping_add(1);
        if c.status & status::DRIVER_OK != 0 {
            self.interrupt(&mut c, ISR_CONFIG, None);
        }
    }

    /// Puts requests of `epoch` into the used ring of their queue, and interrupts if the driver wants that.
    fn give_back(&self, queue: usize, epoch: u64, done: &[(u16, u32)]) {
        let Some(q) = self.queues.get(queue) else {
            return;
        };
        let mut q = lock(q);
        if self.epoch.load(Ordering::SeqCst) != epoch {
            return;
        }
        let pushed = q.push(&self.dma, done);
        let vector = q.vector;
        drop(q);
        match pushed {
            Ok(true) => self.interrupt(&mut lock(&self.common), ISR_QUEUE, Some(vector)),
            Ok(false) => {}
            Err(_) => self.break_epoch(epoch),
        }
    }

    /// By the queue's vector or that of configuration changes, or by the pin.
    fn interrupt(&self, c: &mut Common, bit: u8, vector: Option<u16>) {
        let vector = vector.unwrap_or(c.config_vector);
        if self.interrupts.mode() == crate::pci::Mode::Intx {
            c.isr |= bit;
            self.interrupts.set_level(true);
        } else if vector != NO_VECTOR {
            self.interrupts.signal(vector);
        }
    }

    /// Whether MSI-X is on: then the legacy registers have the vectors, too.
    pub(super) fn uses_msix(&self) -> bool {
        self.interrupts.mode() == crate::pci::Mode::MsiX
    }

    /// Reads the interrupt status and lowers the pin (4.1.4.5).
    pub(super) fn take_isr(&self) -> u8 {
        let mut c = lock(&self.common);
        self.interrupts.set_level(false);
        std::mem::take(&mut c.isr)
    }

    /// Calls `f` with queue `n`.
    pub(super) fn queue<R>(&self, n: u16, f: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        Some(f(&mut lock(self.queues.get(usize::from(n))?)))
    }

    pub(super) fn queue_count(&self) -> u16 {
        self.queues.len() as u16
    }

    /// FEATURES_OK or, for a legacy driver, DRIVER_OK: what the queues need to know.
    pub(super) fn apply_features(&self, accepted: u64) {
        for q in &self.queues {
            let mut q = lock(q);
            q.event_index = accepted & feature::EVENT_IDX != 0;
            q.indirect = accepted & feature::INDIRECT_DESC != 0;
        }
    }

    pub(super) fn reset(&self) {
        for q in &self.queues {
            let mut q = lock(q);
            self.epoch.fetch_add(1, Ordering::SeqCst);
            *q = Queue::new(q.limit);
        }
        let mut c = lock(&self.common);
        c.status = 0;
        c.accepted = 0;
        c.config_vector = NO_VECTOR;
        c.isr = 0;
        self.interrupts.set_level(false);
    }

    /// Whether requests from before a reset have not ended.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) > 0
    }

    pub(super) fn save(&self) -> (Common, Vec<Queue>) {
        let queues = self.queues.iter().map(|q| lock(q).clone()).collect();
        (lock(&self.common).clone(), queues)
    }

    pub(super) fn restore(&self, common: Common, queues: &[Queue]) {
        for (q, saved) in self.queues.iter().zip(queues) {
            let mut q = lock(q);
            self.epoch.fetch_add(1, Ordering::SeqCst);
            let limit = q.limit;
            *q = saved.clone();
            // A size that is none would break the rings' arithmetic.
            if !q.size.is_power_of_two() || q.size > limit {
                *q = Queue::new(limit);
            }
        }
        *lock(&self.common) = common;
    }
}

/// Buffers of a driver, to be given back.
pub struct Request {
    core: Arc<Core>,
    queue: usize,
    epoch: u64,
    chain: Chain,
}

impl Request {
    /// What the device reads.
    pub fn readable(&self) -> &[Segment] {
        &self.chain.readable
    }

    /// What the device writes.
    pub fn writable(&self) -> &[Segment] {
        &self.chain.writable
    }

    /// Bytes of all segments.
    pub fn bytes(segments: &[Segment]) -> u64 {
        segments.iter().map(|s| u64::from(s.bytes)).sum()
    }

    /// Whether a reset made the request void.
    pub fn is_void(&self) -> bool {
        self.core.epoch.load(Ordering::SeqCst) != self.epoch
    }

    /// Copies from what the device reads, from `offset` on; tells how many bytes there were.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        each(&self.chain.readable, offset, into.len() as u64, |at, n| {
            let part = into.get_mut(done..done + n as usize).unwrap_or_default();
            let ok = self.core.dma.read(at, part).is_ok();
            done += if ok { n as usize } else { 0 };
            ok
        });
        done
    }

    /// Whether the buffers stay the device's until the request ends: a modern driver waits for that after a reset (2.4.2), a legacy one
    /// does not.
    pub fn stays_through_reset(&self) -> bool {
        self.core.has(feature::VERSION_1)
    }

    /// Fills the first `bytes` bytes of what the device writes from a file of the host, with no copy in between; zeroes beyond its end.
    pub fn read_file(&self, bytes: u64, file: BorrowedFd<'_>, offset: u64) -> io::Result<()> {
        let (mut pieces, mut room) = (Vec::new(), 0);
        each(&self.chain.writable, 0, bytes, |at, n| {
            pieces.push((at, n));
            room += n;
            true
        });
        if self.is_void() || room < bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let read = self.core.dma.read_file(&pieces, file, offset);
        read.unwrap_or_else(|_| Err(io::ErrorKind::InvalidInput.into()))
    }

    /// Copies to what the device writes, from `offset` on; tells how many bytes fitted.
    pub fn write(&self, offset: u64, from: &[u8]) -> usize {
        if self.is_void() {
            return 0;
        }
        let mut done = 0;
        each(&self.chain.writable, offset, from.len() as u64, |at, n| {
            let part = from.get(done..done + n as usize).unwrap_or_default();
            let ok = self.core.dma.write(at, part).is_ok();
            done += if ok { n as usize } else { 0 };
            ok
        });
        done
    }

    /// Gives the buffers back, `written` bytes of them written, and interrupts if the driver wants that.
    pub fn complete(self, written: u32) {
        self.core
            .give_back(self.queue, self.epoch, &[(self.chain.head, written)]);
    }

    /// The same for several requests of one queue, which the driver sees at once: buffers that one frame is spread over (5.1.6.4).
    pub fn complete_together(requests: Vec<(Self, u32)>) {
        let heads: Vec<_> = requests.iter().map(|(r, n)| (r.chain.head, *n)).collect();
        if let Some((first, _)) = requests.first() {
            first.core.give_back(first.queue, first.epoch, &heads);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.core.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls `f` with (address, bytes) of each piece of `bytes` bytes from `offset` on, until it says no.
fn each(segments: &[Segment], offset: u64, bytes: u64, mut f: impl FnMut(u64, u64) -> bool) {
    let (mut skip, mut left) = (offset, bytes);
    for s in segments {
        let here = u64::from(s.bytes);
        if skip >= here {
            skip -= here;
            continue;
        }
        let n = (here - skip).min(left);
        if n == 0 {
            break;
        }
        if !f(s.at.wrapping_add(skip), n) {
            break;
        }
        skip = 0;
        left -= n;
    }
}
