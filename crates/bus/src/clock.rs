//! The one door to time: the machine's virtual clock and its alarms.
//!
//! Invariant: no other module of Ferry reads the host's clock. Virtual time counts nanoseconds from power-on and never goes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Guest TSC ticks a second.
pub const TSC_HZ: u64 = 1_000_000_000;

/// How virtual time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// With the host's monotonic clock.
    Host,
    /// One nanosecond per retired guest instruction, times the factor: runs repeat bit for bit.
    Instructions { ns_per_1024: u64 },
}

/// The host's calendar time in seconds since 1970 (UTC): what a real-time clock shows at power-on.
pub fn wall_seconds() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => d.as_secs() as i64,
        Err(e) => -(e.duration().as_secs() as i64),
    }
}

/// How long our own work takes, for counters: never seen by a guest.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
    /// Nanoseconds since.
    pub fn elapsed_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

#[derive(Debug)]
struct Alarms {
    /// Deadline per alarm; `u64::MAX` is off. The owner (a device index of the bus) stands beside it.
    slots: Vec<(u64, usize)>,
}

/// The machine's clock.
#[derive(Debug)]
pub struct Clock {
    pace: Pace,
    start: Instant,
    /// Instruction pace: the virtual time in nanoseconds. Host pace: the time spent paused.
    offset: AtomicU64,
    alarms: Mutex<Alarms>,
    next: AtomicU64,
    changed: Condvar,
    /// Host pace: the virtual time at which the clock was stopped, or `u64::MAX`.
    stopped: AtomicU64,
}

impl Clock {
    /// A clock that starts at zero.
    pub fn new(pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            pace,
            start: Instant::now(),
            offset: AtomicU64::new(0),
            alarms: Mutex::new(Alarms { slots: Vec::new() }),
            next: AtomicU64::new(u64::MAX),
            changed: Condvar::new(),
            stopped: AtomicU64::new(u64::MAX),
        })
    }

    /// How time passes.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Virtual nanoseconds since power-on.
    pub fn now(&self) -> u64 {
        match self.pace {
            Pace::Host => match self.stopped.load(Ordering::Acquire) {
                u64::MAX => {
                    let lost = self.offset.load(Ordering::Relaxed);
                    (self.start.elapsed().as_nanos() as u64).saturating_sub(lost)
                }
                at => at,
            },
            Pace::Instructions { .. } => self.offset.load(Ordering::Relaxed),
        }
    }

    /// Host pace: time stands still until [`Clock::resume`]. Nothing under instruction pace.
    pub fn pause(&self) {
        if self.pace == Pace::Host {
            self.stopped.store(self.now(), Ordering::Release);
        }
    }

    /// Time goes on from where it was stopped.
    pub fn resume(&self) {
        let at = self.stopped.load(Ordering::Acquire);
        if self.pace != Pace::Host || at == u64::MAX {
            return;
        }
        let guard = self.lock();
        let elapsed = self.start.elapsed().as_nanos() as u64;
        self.offset
            .store(elapsed.saturating_sub(at), Ordering::Relaxed);
        self.stopped.store(u64::MAX, Ordering::Release);
        drop(guard);
        self.changed.notify_all();
    }

    /// The guest's time-stamp counter, before IA32_TSC_ADJUST.
    pub fn tsc(&self) -> u64 {
        (self.now() as u128 * TSC_HZ as u128 / 1_000_000_000) as u64
    }

    /// Instruction pace: `count` instructions have retired. Nothing under host pace.
    pub fn retire(&self, count: u64) {
        if let Pace::Instructions { ns_per_1024 } = self.pace {
            self.offset
                .fetch_add(count.saturating_mul(ns_per_1024) >> 10, Ordering::Relaxed);
        }
    }

    /// Instruction pace: a halted machine skips to `deadline`. Nothing under host pace.
    pub fn skip_to(&self, deadline: u64) {
        if let Pace::Instructions { .. } = self.pace {
            self.offset.fetch_max(deadline, Ordering::Relaxed);
        }
    }

    /// The earliest deadline, `u64::MAX` if there is none.
    pub fn next_deadline(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Whether an alarm is due.
    pub fn is_due(&self) -> bool {
        let next = self.next_deadline();
        next != u64::MAX && self.now() >= next
    }

    /// A new alarm for the device with index `owner` on the bus.
    pub fn alarm(self: &Arc<Self>, owner: usize) -> Alarm {
        let mut a = self.lock();
        a.slots.push((u64::MAX, owner));
        Alarm {
            clock: Some(self.clone()),
            slot: a.slots.len() - 1,
        }
    }

    /// Switches off all alarms that are due and tells their owners.
    pub fn take_due(&self, now: u64) -> Vec<usize> {
        let mut a = self.lock();
        let mut due = Vec::new();
        for (deadline, owner) in &mut a.slots {
            if *deadline <= now {
                *deadline = u64::MAX;
                due.push(*owner);
            }
        }
        self.refresh(&a);
        due
    }

    /// Host pace: sleeps until an alarm is due, `limit` has passed, or the earliest deadline changed; tells whether one is due.
    pub fn sleep(&self, limit: Duration) -> bool {
        let guard = self.lock();
        let next = self.next_deadline();
        let now = self.now();
        if next <= now {
            return true;
        }
        let span = match self.stopped.load(Ordering::Acquire) {
            u64::MAX => Duration::from_nanos(next - now).min(limit),
            // Nothing comes due before the clock goes on, which is told.
            _ => limit,
        };
        drop(self.changed.wait_timeout(guard, span));
        self.is_due()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, a: &Alarms) {
        let next = a.slots.iter().map(|s| s.0).min().unwrap_or(u64::MAX);
        if self.next.swap(next, Ordering::Relaxed) > next {
            self.changed.notify_all();
        }
    }
}

/// A device's right to be called at a deadline: [`Device::expire`](crate::Device::expire).
#[derive(Clone, Debug)]
pub struct Alarm {
    clock: Option<Arc<Clock>>,
    slot: usize,
}

impl Alarm {
    /// An alarm that never rings.
    pub fn unconnected() -> Self {
        Self {
            clock: None,
            slot: 0,
        }
    }
    /// Rings once virtual time reaches `deadline` nanoseconds; replaces an earlier setting.
    pub fn set(&self, deadline: u64) {
        if let Some(c) = &self.clock {
            let mut a = c.lock();
            a.slots[self.slot].0 = deadline;
            c.refresh(&a);
        }
    }
    /// Does not ring.
    pub fn cancel(&self) {
        self.set(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_goes_on_where_it_stood() {
        let c = Clock::new(Pace::Host);
        c.resume();
        c.pause();
        let at = c.now();
        let alarm = c.alarm(0);
        alarm.set(at + 1);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(c.now(), at);
        assert!(!c.sleep(Duration::from_millis(5)));
        c.resume();
        assert!(c.now() < at + 150_000_000, "{} {at}", c.now());
        assert!(c.sleep(Duration::from_secs(10)));
    }
}
