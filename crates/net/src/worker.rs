//! A back end's thread: how it finds the card, how it is woken, and how it ends.

use crate::{Backend, Error, Nic};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

struct Shared {
    nic: Mutex<Option<Arc<dyn Nic>>>,
    closed: AtomicBool,
    /// A kick is on its way.
    kicked: AtomicBool,
    waker: UnixStream,
}

/// The thread, from outside. It ends when this is dropped.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The same from inside.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    woken: UnixStream,
}

impl Worker {
    /// Starts `work`, which returns soon after [`Seat::is_closed`] says so.
    pub fn start(name: &str, work: impl FnOnce(Seat) + Send + 'static) -> Result<Self, Error> {
        let (waker, woken) = UnixStream::pair().map_err(Error::Thread)?;
        for end in [&waker, &woken] {
            end.set_nonblocking(true).map_err(Error::Thread)?;
        }
        let shared = Arc::new(Shared {
            nic: Mutex::new(None),
            closed: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            waker,
        });
        let seat = Seat {
            shared: shared.clone(),
            woken,
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(seat))
            .map_err(Error::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    #[cfg(test)]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(|t| t.is_finished())
    }
}

impl Shared {
    fn kick(&self) {
        if !self.kicked.swap(true, Ordering::SeqCst) {
            // A full pipe wakes, too.
            let _ = (&self.waker).write(&[0]);
        }
    }
}

impl Backend for Worker {
    fn attach(&self, nic: Arc<dyn Nic>) {
        *self
            .shared
            .nic
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(nic);
        self.shared.kick();
    }

    fn kick(&self) {
        self.shared.kick();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.kicked.store(false, Ordering::SeqCst);
        self.shared.kick();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Seat {
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// The card. What it does after this call wakes the next [`Seat::sleep`].
    pub fn nic(&self) -> Option<Arc<dyn Nic>> {
        self.shared.kicked.store(false, Ordering::SeqCst);
        self.shared
            .nic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a kick, for the descriptors that `interests` adds, or until `nap` is over; tells in their order which are ready.
    pub fn sleep<'a>(
        &'a self,
        nap: Duration,
        interests: impl FnOnce(&mut Vec<PollFd<'a>>),
    ) -> Vec<bool> {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        interests(&mut fds);
        let limit = Timespec {
            tv_sec: nap.as_secs() as i64,
            tv_nsec: nap.subsec_nanos().into(),
        };
        // Interrupted or out of memory: everything is tried.
        let failed = poll(&mut fds, Some(&limit)).is_err();
        let kicked = fds.first().is_none_or(|f| !f.revents().is_empty());
        let ready = fds.iter().skip(1);
        let ready = ready.map(|f| failed || !f.revents().is_empty()).collect();
        let mut bytes = [0; 16];
        while kicked && matches!((&self.woken).read(&mut bytes), Ok(n) if n > 0) {}
        ready
    }
}
