//! Entropy device (5.4): fills what the driver offers with random bytes of the host.

use super::{Core, Kind, VirtioDevice};
use std::sync::Arc;

/// Bytes for one request; a driver that wants more asks again.
const MOST: u64 = 4096;

/// The device.
pub struct Rng {
    core: Arc<Core>,
}

impl Rng {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl VirtioDevice for Rng {
    const KIND: Kind = Kind {
        id: 4,
        transitional: Some(0x1005),
        class: 0x00_ff00,
        queues: &[64],
    };

    fn features(&self) -> u64 {
        0
    }

    fn config_read(&self, _: usize, _: &mut [u8]) {}

    fn notify(&mut self, queue: usize) {
        let mut bytes = [0; MOST as usize];
        loop {
            while let Some(request) = self.core.pop(queue) {
                let wanted = super::Request::bytes(request.writable()).min(MOST) as usize;
                let part = bytes.get_mut(..wanted).unwrap_or_default();
                // The host's source does not block once it is seeded, which it is before anything runs.
                let written = match getrandom::fill(part) {
                    Ok(()) => request.write(0, part),
                    Err(_) => 0,
                };
                request.complete(written as u32);
            }
            if !self.core.rearm(queue) {
                break;
            }
        }
    }

    fn reset(&mut self) {}
}
