//! 9P transport (device ID 9; QEMU's and Linux's `virtio_9p.h`, since the specification has no section on it): each request is a message of
//! 9P2000.L, each answer another. They are worked on by the share's thread, one after the other.
//!
//! What a guest has open is forgotten by a reset and not saved: after a restore it is told that its files are none.

use super::{Core, Kind, Request, VirtioDevice};
use share::{Session, Share};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Feature bits.
mod feature {
    pub const MOUNT_TAG: u64 = 1 << 0;
}

const QUEUE_SIZE: u16 = 128;
/// Bytes of a mount tag at most: Linux takes no more.
pub const TAG_LIMIT: usize = 31;

/// The device.
pub struct P9 {
    share: Arc<Share>,
    tag: String,
    work: Arc<Work>,
}

/// What the share's thread works with.
struct Work {
    core: Arc<Core>,
    /// Whether a job waits for the thread: it sees to all that was offered until it starts, so that one is enough, however often a driver
    /// notifies.
    queued: AtomicBool,
    /// A reset came: what the guest had open is to be forgotten before the next request.
    stale: AtomicBool,
}

impl P9 {
    /// A device that a guest mounts by `tag`, of which the first [`TAG_LIMIT`] bytes count.
    pub fn new(core: Arc<Core>, share: Arc<Share>, tag: &str) -> Self {
        let tag = tag.get(..TAG_LIMIT).unwrap_or(tag).to_owned();
        let work = Arc::new(Work {
            core,
            queued: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        });
        Self { share, tag, work }
    }

    fn submit(&self) {
        if !self.work.queued.swap(true, Ordering::SeqCst) {
            let work = self.work.clone();
            self.share
                .submit(Box::new(move |session| work.run(session)));
        }
    }
}

impl VirtioDevice for P9 {
    const KIND: Kind = Kind {
        id: 9,
        transitional: Some(0x1009),
        class: 0x00_0200,
        queues: &[QUEUE_SIZE],
    };

    fn features(&self) -> u64 {
        feature::MOUNT_TAG
    }

    /// The length of the tag and the tag.
    fn config_read(&self, offset: usize, into: &mut [u8]) {
        let mut config = (self.tag.len() as u16).to_le_bytes().to_vec();
        config.extend(self.tag.bytes());
        let found = config.get(offset..).unwrap_or_default();
        for (place, b) in into.iter_mut().zip(found) {
            *place = *b;
        }
    }

    fn notify(&mut self, queue: usize) {
        if queue == 0 {
            self.submit();
        }
    }

    fn drain(&self) {
        self.share.drain();
    }

    fn reset(&mut self) {
        self.work.stale.store(true, Ordering::SeqCst);
        self.submit();
    }

    fn restore(&mut self, _: &[u8]) {
        self.reset();
    }
}

impl Work {
    fn run(&self, session: &mut Session) {
        self.queued.store(false, Ordering::SeqCst);
        self.forget(session);
        loop {
            self.core.disarm(0);
            while let Some(request) = self.core.pop(0) {
                self.forget(session);
                answer(session, request);
            }
            if !self.core.rearm(0) {
                return;
            }
        }
    }

    fn forget(&self, session: &mut Session) {
        if self.stale.swap(false, Ordering::SeqCst) {
            session.reset();
        }
    }
}

fn answer(session: &mut Session, request: Request) {
    let wanted = Request::bytes(request.readable()).min(session.largest() as u64);
    let mut message = vec![0; wanted as usize];
    let read = request.read(0, &mut message);
    message.truncate(read);
    // A reset may have given the memory another use.
    if request.is_void() {
        return;
    }
    let answer = session.answer(&message).unwrap_or_default();
    // An answer that does not fit is none.
    let room = Request::bytes(request.writable());
    let written = match answer.len() as u64 <= room {
        true => request.write(0, &answer),
        false => 0,
    };
    request.complete(written as u32);
}
