//! A cable to something else that takes and gives frames: the thread between the card and a [`Line`].

use crate::worker::{Seat, Worker};
use crate::{Error, Nic};
use rustix::event::PollFd;
use std::sync::Arc;
use std::time::Duration;

/// Frames that are moved before the other direction gets its turn.
const BATCH: usize = 64;
/// The longest sleep.
const NAP: Duration = Duration::from_secs(5);

/// The far end of the cable. Nothing blocks, but for establishing a connection.
pub(crate) trait Line: Send + 'static {
    /// Takes a frame of the guest. A cable that leads nowhere swallows it.
    fn send(&mut self, frame: &[u8]);
    /// Whether frames should stay in the card for now.
    fn is_full(&self) -> bool;
    /// A frame for the guest, in place of what `frame` held; `false` if there is none.
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool;
    /// All frames were handed over. Also the time to establish what is not connected.
    fn flush(&mut self);
    /// What to wait for: one entry at most; with `starved` no frames are wanted.
    fn interest(&self, starved: bool) -> Option<PollFd<'_>>;
    /// That came.
    fn ready(&mut self);
    /// When [`Line::flush`] wants to be called even if nothing happens.
    fn wait(&self) -> Option<Duration> {
        None
    }
}

/// Connects cards to `line`.
pub(crate) fn start(name: &str, line: impl Line) -> Result<Worker, Error> {
    let wire = Wire {
        line,
        frame: Vec::new(),
        stalled: None,
    };
    Worker::start(name, |seat| wire.run(&seat))
}

struct Wire<L> {
    line: L,
    frame: Vec<u8>,
    /// What the card had no room for.
    stalled: Option<Vec<u8>>,
}

impl<L: Line> Wire<L> {
    fn run(mut self, seat: &Seat) {
        while !seat.is_closed() {
            let nic = seat.nic();
            let mut busy = self.turn(nic.as_ref());
            if let (false, Some(nic)) = (busy, &nic) {
                busy = nic.arm(self.stalled.is_some()) && !self.line.is_full();
            }
            let nap = match busy {
                true => Duration::ZERO,
                false => self.line.wait().map_or(NAP, |w| w.min(NAP)),
            };
            let ready = seat.sleep(nap, |fds| {
                fds.extend(self.line.interest(self.stalled.is_some()));
            });
            if ready.contains(&true) {
                self.line.ready();
            }
        }
    }

    /// Moves what can be moved; tells whether there may be more.
    fn turn(&mut self, nic: Option<&Arc<dyn Nic>>) -> bool {
        let Some(nic) = nic else {
            self.line.flush();
            return false;
        };
        nic.disarm();
        let mut taken = 0;
        while taken < BATCH && !self.line.is_full() && nic.take(&mut self.frame) {
            taken += 1;
            self.line.send(&self.frame);
        }
        self.line.flush();
        if let Some(frame) = self.stalled.take()
            && !nic.give(&frame, None)
        {
            self.stalled = Some(frame);
        }
        let mut given = 0;
        while given < BATCH && self.stalled.is_none() && self.line.receive(&mut self.frame) {
            given += 1;
            if !nic.give(&self.frame, None) {
                self.stalled = Some(std::mem::take(&mut self.frame));
            }
        }
        taken == BATCH || given == BATCH
    }
}
