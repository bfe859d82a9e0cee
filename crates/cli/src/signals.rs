//! SIGINT and its kin end the run in order; a second one ends it at once.

use crate::terminal::Terminal;
use anyhow::Context;
use machine::{StopReason, StopRequest};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};

/// The thread that waits for signals; dropping it ends the thread.
pub struct Watch {
    caught: Arc<AtomicI32>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(stop: StopRequest, terminal: Option<Terminal>) -> anyhow::Result<Self> {
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).context("cannot catch signals")?;
        let (handle, caught) = (signals.handle(), Arc::new(AtomicI32::new(0)));
        let first = caught.clone();
        let watch = move || {
            for signal in signals.forever() {
                if first.swap(signal, Ordering::SeqCst) != 0 {
                    if let Some(terminal) = &terminal {
                        terminal.restore();
                    }
                    std::process::exit(status(signal).into());
                }
                stop.request(StopReason::User);
            }
        };
        let thread = thread::Builder::new()
            .name("signals".into())
            .spawn(watch)
            .context("cannot start the signal thread")?;
        Ok(Self {
            caught,
            handle,
            thread: Some(thread),
        })
    }

    /// The exit status of the signal that ended the run, if one did.
    pub fn status(&self) -> Option<u8> {
        match self.caught.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(status(signal)),
        }
    }
}

/// 128 + signal, as shells report it.
fn status(signal: i32) -> u8 {
    128u8.wrapping_add(signal as u8)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
