//! The thread that rings the alarms of a host-paced clock.
//!
//! It sleeps until the earliest deadline and then calls the devices that are due itself: their interrupts raise the attention of
//! processors, so that a busy one looks up and a halted one wakes. Without deadlines it sleeps for good: an idle machine costs nothing.

use crate::Error;
use bus::{Alarm, Bus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Upper bound of one sleep; no more than a bound for the host's timer arithmetic.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// The running thread; dropping it ends the thread.
pub(crate) struct Ticker {
    ended: Arc<AtomicBool>,
    wake: Alarm,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// `wake` is an alarm of no device.
    pub(crate) fn start(bus: Arc<Bus>, wake: Alarm) -> Result<Self, Error> {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let work = move || {
            while !seen.load(Ordering::SeqCst) {
                if bus.clock().sleep(LONGEST_SLEEP) {
                    bus.run_due();
                }
            }
        };
        let thread = thread::Builder::new()
            .name("ticker".into())
            .spawn(work)
            .map_err(Error::Thread)?;
        Ok(Self {
            ended,
            wake,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake.set(0);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
        self.wake.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Device;
    use bus::clock::{Clock, Pace};
    use snapshot::{Error as SnapshotError, Section};
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    struct Bell(Sender<u64>);

    impl Device for Bell {
        fn name(&self) -> &str {
            "bell"
        }
        fn expire(&mut self, now: u64) {
            self.0.send(now).unwrap();
        }
        fn reset(&mut self) {}
        fn save(&self) -> Result<Section, SnapshotError> {
            Section::new("bell", 1, &())
        }
        fn restore(&mut self, _: &Section) -> Result<(), SnapshotError> {
            Ok(())
        }
    }

    #[test]
    fn alarms_ring_and_the_thread_ends() {
        let clock = Clock::new(Pace::Host);
        let mut bus = Bus::new(clock.clone());
        let (bell, heard) = channel();
        let alarm = clock.alarm(bus.next_index());
        bus.add(Arc::new(Mutex::new(Bell(bell))));
        let ticker = Ticker::start(Arc::new(bus), clock.alarm(usize::MAX)).unwrap();
        for _ in 0..3 {
            let deadline = clock.now() + 2_000_000;
            alarm.set(deadline);
            let rang = heard.recv_timeout(Duration::from_secs(10)).unwrap();
            assert!(rang >= deadline);
        }
        drop(ticker);
        assert_eq!(clock.next_deadline(), u64::MAX);
    }
}
