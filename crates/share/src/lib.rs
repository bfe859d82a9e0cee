//! A folder of the host, shared with a guest by 9P2000.L (the protocol of Linux's v9fs): requests in, answers out, whatever carries them.
//!
//! The crate `p9` serves the files; it relies on its user to confine it. [`guard`] does: a name that could lead out of the folder does not
//! reach it, nor does a request to open what is neither a file nor a directory, nor, when the folder is shared read-only, one that would
//! write. Names are looked up one at a time below an open directory, and symbolic links are never followed on the host: the guest follows
//! them in its own tree.
//!
//! A [`Share`] has one thread, to which a device hands jobs: no processor waits for the host's files.
//!
//! Absent: symbolic links and device nodes made by the guest, extended attributes, locks between host and guest.

mod guard;

pub use guard::Session;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Whether the guest may change the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// Why a folder cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot share {} (accepted is a folder that can be read)", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot start the thread of a shared folder")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Whether another request would not help.
    pub fn blames_host(&self) -> bool {
        matches!(self, Self::Thread(_))
    }
}

/// What the thread does for a device.
pub type Job = Box<dyn FnOnce(&mut Session) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    quiet: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut session: Session) {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.running = true;
                drop(queue);
                job(&mut session);
                queue = self.queue();
                queue.running = false;
                if queue.jobs.is_empty() {
                    self.quiet.notify_all();
                }
            } else if queue.closed {
                return;
            } else {
                let woken = self.work.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// A shared folder with its thread. Dropping it ends what is queued.
pub struct Share {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Share {
    /// Shares `folder`.
    pub fn new(folder: &Path, access: Access) -> Result<Self, Error> {
        let open = |source| Error::Open {
            path: folder.to_owned(),
            source,
        };
        let session = Session::new(folder, access).map_err(open)?;
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("share".into())
            .spawn(move || own.serve(session))
            .map_err(Error::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a job; jobs run in order.
    pub fn submit(&self, job: Job) {
        self.shared.queue().jobs.push_back(job);
        self.shared.work.notify_one();
    }

    /// Waits until nothing is queued and nothing runs. Not for a job, and not while holding what a job needs.
    pub fn drain(&self) {
        let mut queue = self.shared.queue();
        while queue.running || !queue.jobs.is_empty() {
            let woken = self.shared.quiet.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
        // A job may hold the last handle of its device, and with it this: a thread does not wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
