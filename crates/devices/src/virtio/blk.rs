//! Block device (5.2): requests run on the disk's threads, as many at once as those are.

use super::{Core, Kind, Request, VirtioDevice};
use block::{Access, Disk, Image, Space};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Feature bits (5.2.3).
mod feature {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WCE: u64 = 1 << 11;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Request types (5.2.6).
mod kind {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
}

const STATUS_OK: u8 = 0;
const STATUS_IOERR: u8 = 1;
const STATUS_UNSUPP: u8 = 2;

const SECTOR: u64 = 512;
const HEADER: u64 = 16;
const ID_BYTES: usize = 20;
const QUEUE_SIZE: u16 = 256;
/// Bytes that are moved at once: what fits into a processor's second cache, since data pass through it twice.
const CHUNK: u64 = 1 << 18;
/// Ranges of a DISCARD or WRITE_ZEROES, and sectors of each.
const RANGES: u32 = 64;
const RANGE_SECTORS: u32 = 1 << 22;
/// Flag of a range: its space may go.
const UNMAP: u32 = 1;
const CONFIG_BYTES: usize = 60;
const CONFIG_WRITEBACK: usize = 32;

/// The device.
pub struct Blk {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    disk: Arc<Disk>,
    /// Whether writes may stay in caches until a FLUSH (5.2.6.2).
    writeback: AtomicBool,
    /// Whether a job waits for a thread: it sees to all that was offered until it starts, so that one is enough, however often a driver
    /// notifies.
    queued: AtomicBool,
}

impl Blk {
    /// A block device for `disk`.
    pub fn new(core: Arc<Core>, disk: Arc<Disk>) -> Self {
        Self {
            shared: Arc::new(Shared {
                core,
                disk,
                writeback: AtomicBool::new(true),
                queued: AtomicBool::new(false),
            }),
        }
    }

    fn config(&self) -> [u8; CONFIG_BYTES] {
        let mut c = [0; CONFIG_BYTES];
        let mut set = |at: usize, bytes: &[u8]| {
            if let Some(place) = c.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        let sectors = self.shared.disk.image().size() / SECTOR;
        set(0, &sectors.to_le_bytes());
        // A header and a status stand beside the data.
        set(12, &(u32::from(QUEUE_SIZE) - 2).to_le_bytes());
        set(20, &(SECTOR as u32).to_le_bytes());
        // Physical blocks of 4 KiB; optimal are 64 KiB.
        set(24, &[3, 0, 8, 0]);
        set(28, &128u32.to_le_bytes());
        set(
            CONFIG_WRITEBACK,
            &[self.shared.writeback.load(Ordering::SeqCst).into()],
        );
        set(34, &1u16.to_le_bytes());
        for at in [36, 48] {
            set(at, &RANGE_SECTORS.to_le_bytes());
            set(at + 4, &RANGES.to_le_bytes());
        }
        set(44, &8u32.to_le_bytes());
        set(56, &[1]);
        c
    }
}

impl VirtioDevice for Blk {
    const KIND: Kind = Kind {
        id: 2,
        transitional: Some(0x1001),
        class: 0x01_0000,
        queues: &[QUEUE_SIZE],
    };

    fn features(&self) -> u64 {
        use feature::*;
        let always = SEG_MAX | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE;
        match self.shared.disk.image().access() {
            Access::ReadOnly => always | RO,
            Access::ReadWrite => always | DISCARD | WRITE_ZEROES,
        }
    }

    fn config_read(&self, offset: usize, into: &mut [u8]) {
        let config = self.config();
        let found = config.get(offset..).unwrap_or_default();
        for (place, b) in into.iter_mut().zip(found) {
            *place = *b;
        }
    }

    fn config_write(&mut self, offset: usize, from: &[u8]) {
        if let (CONFIG_WRITEBACK, [value, ..]) = (offset, from)
            && self.shared.core.has(feature::CONFIG_WCE)
        {
            self.shared
                .writeback
                .store(value & 1 != 0, Ordering::SeqCst);
        }
    }

    fn activate(&mut self) {
        // A driver that cannot flush expects writes to be there when they end.
        let writeback = self.shared.core.has(feature::FLUSH);
        self.shared.writeback.store(writeback, Ordering::SeqCst);
    }

    fn notify(&mut self, queue: usize) {
        if queue == 0 {
            submit(&self.shared);
        }
    }

    fn drain(&self) {
        self.shared.disk.drain();
    }

    fn reset(&mut self) {
        self.shared.writeback.store(true, Ordering::SeqCst);
    }

    fn save(&self) -> Vec<u8> {
        vec![1, self.shared.writeback.load(Ordering::SeqCst).into()]
    }

    fn restore(&mut self, bytes: &[u8]) {
        if let [1, writeback] = bytes {
            self.shared
                .writeback
                .store(*writeback != 0, Ordering::SeqCst);
        }
    }
}

/// One of the disk's threads empties the queue.
fn submit(shared: &Arc<Shared>) {
    if shared.queued.swap(true, Ordering::SeqCst) {
        return;
    }
    let job = shared.clone();
    shared.disk.submit(Box::new(move |image, buffer| {
        job.queued.store(false, Ordering::SeqCst);
        serve(&job, image, buffer);
    }));
}

fn serve(shared: &Arc<Shared>, image: &dyn Image, buffer: &mut Vec<u8>) {
    let core = &shared.core;
    loop {
        core.disarm(0);
        while let Some(request) = core.pop(0) {
            // While this thread is at work the others see to the rest.
            if shared.disk.has_idle_thread() && (core.has_more(0) || core.rearm(0)) {
                submit(shared);
            }
            let (written, status) = execute(shared, image, buffer, &request);
            finish(request, written, status);
        }
        if !core.rearm(0) {
            return;
        }
    }
}

/// The status byte is the last that the device writes.
fn finish(request: Request, written: u64, status: u8) {
    let Some(at) = Request::bytes(request.writable()).checked_sub(1) else {
        // Without a place for the status there is nothing to tell.
        return request.complete(0);
    };
    request.write(at, &[status]);
    request.complete((written + 1).min(u32::MAX.into()) as u32);
}

/// Does a request; tells how many bytes of data were written to the driver, and the status.
fn execute(
    shared: &Shared,
    image: &dyn Image,
    buffer: &mut Vec<u8>,
    request: &Request,
) -> (u64, u8) {
    let mut header = [0; HEADER as usize];
    if request.read(0, &mut header) < header.len() {
        return (0, STATUS_IOERR);
    }
    let kind = u32::from_le_bytes(super::queue::part(&header, 0));
    let sector = u64::from_le_bytes(super::queue::part(&header, 8));
    let room = Request::bytes(request.writable()).saturating_sub(1);
    let given = Request::bytes(request.readable()).saturating_sub(HEADER);
    let through = !shared.writeback.load(Ordering::SeqCst);
    let flushed = |result: io::Result<()>| match (result, through) {
        (Ok(()), true) => image.flush(),
        (result, _) => result,
    };
    let result = match kind {
        kind::IN => match read(image, buffer, request, sector, room) {
            Ok(()) => return (room, STATUS_OK),
            Err(e) => Err(e),
        },
        kind::OUT => flushed(write(image, buffer, request, sector, given)),
        kind::FLUSH => image.flush(),
        kind::GET_ID => {
            let mut id = [0; ID_BYTES];
            for (place, b) in id.iter_mut().zip(shared.disk.serial().bytes()) {
                *place = b;
            }
            let n = room.min(ID_BYTES as u64) as usize;
            let written = request.write(0, id.get(..n).unwrap_or_default());
            return (written as u64, STATUS_OK);
        }
        kind::DISCARD | kind::WRITE_ZEROES => {
            match ranges(image, request, given, kind == kind::WRITE_ZEROES) {
                Some(result) => flushed(result),
                None => return (0, STATUS_UNSUPP),
            }
        }
        _ => return (0, STATUS_UNSUPP),
    };
    match result {
        Ok(()) => (0, STATUS_OK),
        Err(error) => {
            tracing::debug!(target: "devices::virtio", kind, sector, %error, "request failed");
            (0, STATUS_IOERR)
        }
    }
}

fn bad() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

/// Where `bytes` from `sector` on are, if they are whole sectors of the disk.
fn place(image: &dyn Image, sector: u64, bytes: u64) -> io::Result<u64> {
    let at = sector.checked_mul(SECTOR).ok_or_else(bad)?;
    let end = at.checked_add(bytes).ok_or_else(bad)?;
    // The guest does not know of a tail of less than a sector.
    let limit = image.size() / SECTOR * SECTOR;
    match bytes.is_multiple_of(SECTOR) && end <= limit {
        true => Ok(at),
        false => Err(bad()),
    }
}

fn read(
    image: &dyn Image,
    buffer: &mut Vec<u8>,
    request: &Request,
    sector: u64,
    bytes: u64,
) -> io::Result<()> {
    let at = place(image, sector, bytes)?;
    if let Some((file, offset)) = image.plain(at, bytes)
        && request.stays_through_reset()
    {
        return request.read_file(bytes, file, offset);
    }
    let mut done = 0;
    while done < bytes {
        let n = (bytes - done).min(CHUNK) as usize;
        let part = block::room(buffer, n);
        image.read(at + done, part)?;
        if request.write(done, part) < n {
            return Err(bad());
        }
        done += n as u64;
    }
    Ok(())
}

fn write(
    image: &dyn Image,
    buffer: &mut Vec<u8>,
    request: &Request,
    sector: u64,
    bytes: u64,
) -> io::Result<()> {
    let at = place(image, sector, bytes)?;
    let mut done = 0;
    while done < bytes {
        let n = (bytes - done).min(CHUNK) as usize;
        let part = block::room(buffer, n);
        // A reset may have given the memory another use.
        if request.read(HEADER + done, part) < n || request.is_void() {
            return Err(bad());
        }
        image.write(at + done, part)?;
        done += n as u64;
    }
    Ok(())
}

/// DISCARD and WRITE_ZEROES (5.2.6.1); `None` if a range asks for what is not there.
fn ranges(
    image: &dyn Image,
    request: &Request,
    bytes: u64,
    zeroes: bool,
) -> Option<io::Result<()>> {
    if !bytes.is_multiple_of(16) || bytes / 16 > RANGES.into() {
        return Some(Err(bad()));
    }
    let mut table = vec![0; bytes as usize];
    if request.read(HEADER, &mut table) < table.len() {
        return Some(Err(bad()));
    }
    let (table, _) = table.as_chunks::<16>();
    for range in table {
        let sector = u64::from_le_bytes(super::queue::part(range, 0));
        let sectors = u32::from_le_bytes(super::queue::part(range, 8));
        let flags = u32::from_le_bytes(super::queue::part(range, 12));
        if flags & !UNMAP != 0 || (flags != 0 && !zeroes) {
            return None;
        }
        let bytes = u64::from(sectors) * SECTOR;
        let done = match place(image, sector, bytes) {
            Ok(at) if zeroes => {
                let space = match flags & UNMAP {
                    0 => Space::Keep,
                    _ => Space::Free,
                };
                image.zero(at, bytes, space)
            }
            Ok(at) => image.discard(at, bytes),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            return Some(Err(e));
        }
    }
    Some(Ok(()))
}
