//! A clock that asks, while the vCPU works, where it is.
//!
//! Once a millisecond it raises [`Attention::SAMPLE`], and generated code comes back at the next edge back or indirect jump: the hotter a
//! loop, the more often at its head. A vCPU that rests is left alone: the clock stops until it works again.

use bus::Attention;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(1);
/// Periods without work after which the clock stops.
const REST: u32 = 20;

#[derive(Default)]
struct Shared {
    /// The vCPU worked since the clock looked last.
    works: AtomicBool,
    /// The clock stands.
    stands: AtomicBool,
    ended: AtomicBool,
}

/// The clock; it ends with this.
pub(crate) struct Sampler {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Sampler {
    /// A clock that raises attention in `attention`; `None` if the host has no thread for it.
    pub(crate) fn start(attention: Arc<Attention>) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let handle = thread::Builder::new()
            .name("sampler".into())
            .spawn(move || run(&own, &attention))
            .ok()?;
        Some(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// The vCPU works.
    #[inline]
    pub(crate) fn tell(&self) {
        if !self.shared.works.load(Ordering::Relaxed) {
            self.shared.works.store(true, Ordering::Relaxed);
            if self.shared.stands.load(Ordering::SeqCst) {
                self.shared.stands.store(false, Ordering::SeqCst);
                self.thread.unpark();
            }
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.stands.store(false, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn run(shared: &Shared, attention: &Attention) {
    let mut idle = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        thread::sleep(PERIOD);
        if shared.works.swap(false, Ordering::SeqCst) {
            idle = 0;
            attention.raise(Attention::SAMPLE);
            continue;
        }
        idle += 1;
        if idle > REST {
            idle = 0;
            shared.stands.store(true, Ordering::SeqCst);
            while shared.stands.load(Ordering::SeqCst)
                && !shared.works.load(Ordering::SeqCst)
                && !shared.ended.load(Ordering::SeqCst)
            {
                thread::park();
            }
            shared.stands.store(false, Ordering::SeqCst);
        }
    }
}
