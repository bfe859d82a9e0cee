//! Where a user sits: screen, keyboard, mouse.

use crate::keys::Pressed;
use devices::I8042;
use devices::Vga;
use devices::i8042::Key;
use devices::vga::{Frame, Snapshot};
use std::time::{Duration, Instant};

/// Handles to a machine's screen and input. Clones are the same seat.
#[derive(Clone)]
pub struct Seat {
    pub screen: Vga,
    pub input: I8042,
}

impl Seat {
    pub(crate) fn press(&self, held: &mut Pressed, key: Key) {
        held.press(key);
        self.input.press(key);
    }

    pub(crate) fn release(&self, held: &mut Pressed, key: Key) {
        held.release(key);
        self.input.release(key);
    }

    /// The user is gone: no key stays down.
    pub(crate) fn release_all(&self, held: &mut Pressed) {
        for key in held.take() {
            self.input.release(key);
        }
    }
}

/// Between looks at a picture that changes without the adapter being told, or blinks.
const PERIOD: Duration = Duration::from_millis(40);

/// Tells when to look at the screen again.
pub struct Watch {
    changes: Option<u64>,
    looked: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            changes: None,
            looked: Instant::now(),
        }
    }
}

impl Watch {
    /// A snapshot if the picture may be another than at the last one.
    pub fn look(&mut self, seat: &Seat) -> Option<Snapshot> {
        let changes = Some(seat.screen.changes());
        if changes == self.changes && self.looked.elapsed() < PERIOD {
            return None;
        }
        self.changes = changes;
        self.looked = Instant::now();
        Some(seat.screen.snapshot())
    }

    /// A picture, even if it is the same as the last.
    pub fn frame(seat: &Seat) -> Frame {
        seat.screen.snapshot().frame()
    }
}
