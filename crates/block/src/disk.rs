//! An image with the threads that work on it.
//!
//! A device hands over jobs; each runs on one of the disk's threads, several at once, in no order that a device may rely on. A job
//! holds no lock of the disk while it runs, so that it may submit others.

use crate::{Error, Image};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// What a thread does for a device: with the image, and a buffer that keeps its memory and whatever is in it from job to
/// job: see [`room`].
pub type Job = Box<dyn FnOnce(&dyn Image, &mut Vec<u8>) + Send>;

/// `bytes` bytes of a thread's buffer, with anything in them.
pub fn room(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    buffer.get_mut(..bytes).unwrap_or_default()
}

/// Threads of a disk: as many requests are in flight.
const THREADS: usize = 4;
/// What a thread's buffer keeps between jobs.
const KEPT: usize = 4 << 20;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    idle: usize,
    closed: bool,
}

struct Shared {
    image: Box<dyn Image>,
    queue: Mutex<Queue>,
    work: Condvar,
    quiet: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut buffer = Vec::new();
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.running += 1;
                drop(queue);
                job(&*self.image, &mut buffer);
                buffer.truncate(KEPT);
                buffer.shrink_to(KEPT);
                queue = self.queue();
                queue.running -= 1;
                if queue.running == 0 && queue.jobs.is_empty() {
                    self.quiet.notify_all();
                }
            } else if queue.closed {
                return;
            } else {
                queue.idle += 1;
                queue = self
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

/// A disk drive's medium. Dropping it ends what is queued, flushes and closes the image.
pub struct Disk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    serial: String,
}

impl Disk {
    /// Starts the threads.
    pub fn new(image: Box<dyn Image>, serial: &str) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            image,
            queue: Mutex::default(),
            work: Condvar::new(),
            quiet: Condvar::new(),
        });
        let mut disk = Self {
            shared: shared.clone(),
            threads: Vec::new(),
            serial: serial.to_owned(),
        };
        for _ in 0..THREADS {
            let shared = shared.clone();
            let thread = thread::Builder::new()
                .name("disk".into())
                .spawn(move || shared.serve())
                .map_err(Error::Thread)?;
            disk.threads.push(thread);
        }
        Ok(disk)
    }

    /// The image, for what needs no thread.
    pub fn image(&self) -> &dyn Image {
        &*self.shared.image
    }

    /// The serial number that the user gave, or nothing.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Queues a job.
    pub fn submit(&self, job: Job) {
        let mut queue = self.shared.queue();
        queue.jobs.push_back(job);
        let wake = queue.idle > 0;
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Whether a thread waits for work: worth splitting what one could do alone.
    pub fn has_idle_thread(&self) -> bool {
        let queue = self.shared.queue();
        queue.idle > queue.jobs.len()
    }

    /// Waits until nothing is queued and nothing runs. Not for a job, and not while holding what a job needs.
    pub fn drain(&self) {
        let mut queue = self.shared.queue();
        while queue.running > 0 || !queue.jobs.is_empty() {
            queue = self
                .shared
                .quiet
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A job may hold the last handle of its device, and with it this disk: a thread does not wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A panic of the thread has been reported by the panic hook.
                let _ = thread.join();
            }
        }
        if let Err(error) = self.shared.image.flush() {
            tracing::warn!(target: "block", %error, "the last flush of a disk failed");
        }
    }
}
