//! From where a client's pointer is to how a PS/2 mouse moves.

use devices::I8042;

/// What one packet of the mouse can say, and how many are sent at once at most.
const STEP: u32 = 127;
const STEPS: i32 = 64;

/// A client's pointer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pointer {
    last: Option<(i32, i32)>,
    buttons: u8,
}

impl Pointer {
    /// The pointer is at (x, y), in pixels from the upper left corner.
    pub(crate) fn absolute(&mut self, input: &I8042, x: i32, y: i32, buttons: u8, wheel: i32) {
        let (dx, dy) = self.last.map_or((0, 0), |(lx, ly)| (x - lx, y - ly));
        self.last = Some((x, y));
        self.relative(input, dx, dy, buttons, wheel);
    }

    /// The pointer moved right and down.
    pub(crate) fn relative(&mut self, input: &I8042, dx: i32, dy: i32, buttons: u8, wheel: i32) {
        let buttons = buttons & 7;
        let farther = dx.unsigned_abs().max(dy.unsigned_abs());
        let steps = farther.div_ceil(STEP).clamp(1, STEPS as u32) as i32;
        if dx == 0 && dy == 0 && wheel == 0 && buttons == self.buttons {
            return;
        }
        self.buttons = buttons;
        let part = |d: i32, n: i32| d * (n + 1) / steps - d * n / steps;
        for n in 0..steps {
            let wheel = if n == 0 { wheel } else { 0 };
            input.move_mouse(part(dx, n), -part(dy, n), wheel, buttons);
        }
    }

    /// The client is gone: no button stays down.
    pub(crate) fn release(&mut self, input: &I8042) {
        if std::mem::take(&mut self.buttons) != 0 {
            input.move_mouse(0, 0, 0, 0);
        }
    }
}

/// Buttons as RFB and browsers' clients count them (1 left, 2 middle, 4 right, 8 wheel up, 16 wheel down): as the mouse does, with the
/// wheel's motion.
pub(crate) fn rfb_buttons(mask: u8, before: u8) -> (u8, i32) {
    let pressed = mask & !before;
    let wheel = i32::from(pressed >> 4 & 1) - i32::from(pressed >> 3 & 1);
    (mask & 1 | (mask & 2) << 1 | (mask & 4) >> 1, wheel)
}
