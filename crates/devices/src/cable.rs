//! For tests of network cards: a network that is a test.

use crate::lock;
use crate::testing::Fuzz;
use net::{Backend, Nic};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Cable {
    nic: Mutex<Option<Arc<dyn Nic>>>,
    kicks: AtomicU32,
    offloads: bool,
}

impl Cable {
    /// One that takes offloads, or not.
    pub fn new(offloads: bool) -> Self {
        Self {
            offloads,
            ..Self::default()
        }
    }
    pub fn nic(&self) -> Arc<dyn Nic> {
        lock(&self.nic).clone().expect("a card")
    }
    /// Kicks since the last call.
    pub fn kicks(&self) -> u32 {
        self.kicks.swap(0, Ordering::SeqCst)
    }
    /// All frames that the guest sends, up to a number that no ring has.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        let (nic, mut all, mut frame) = (self.nic(), Vec::new(), Vec::new());
        while nic.take(&mut frame) {
            all.push(frame.clone());
            assert!(all.len() < 1 << 20, "frames without an end");
        }
        all
    }
    /// What a network does, at random.
    pub fn stir(&self, f: &mut Fuzz, mac: [u8; 6]) {
        let nic = self.nic();
        match f.below(4) {
            0 => {
                nic.arm(f.flip());
            }
            1 => {
                let mut frame = Vec::new();
                for _ in 0..f.below(8) {
                    nic.take(&mut frame);
                    // What the largest descriptors make, with a tag.
                    assert!(frame.len() <= (1 << 17) + 4);
                }
            }
            _ => {
                let to = [mac, [0xff; 6], [1, 0, 0x5e, 0, 0, 1]][f.below(3) as usize];
                let body = f.below(2000) as usize;
                nic.give(&frame(to, body), None);
            }
        }
    }
}

impl Backend for Cable {
    fn attach(&self, nic: Arc<dyn Nic>) {
        *lock(&self.nic) = Some(nic);
    }
    fn kick(&self) {
        self.kicks.fetch_add(1, Ordering::SeqCst);
    }
    fn takes_offloads(&self) -> bool {
        self.offloads
    }
}

/// A frame for `to` with so many bytes behind its header.
pub fn frame(to: [u8; 6], body: usize) -> Vec<u8> {
    let mut all = to.to_vec();
    all.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    all.extend((0..body).map(|n| (n * 7 >> 2) as u8));
    all
}

/// An IPv4 packet with TCP of `body` bytes in a frame for `to`, the sums zero.
pub fn tcp(to: [u8; 6], body: usize) -> Vec<u8> {
    let mut all = frame(to, 40 + body);
    all[12..14].copy_from_slice(&[8, 0]);
    let total = (40 + body) as u16;
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    // Ports, sequence and acknowledgement numbers, ACK PSH FIN, window, sum, urgent.
    header.extend([
        0x80, 0, 0, 80, 0, 0, 0, 100, 0, 0, 0, 7, 0x50, 0x19, 1, 0, 0, 0, 0, 0,
    ]);
    all[14..54].copy_from_slice(&header);
    all
}

/// The sums of an IPv4 packet with TCP: zero where they are right.
pub fn sums(frame: &[u8]) -> [u16; 2] {
    let add = |bytes: &[u8], start: u32| {
        let mut s = start;
        for pair in bytes.chunks(2) {
            s += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        while s > 0xffff {
            s = (s & 0xffff) + (s >> 16);
        }
        !s as u16
    };
    let total = usize::from(frame[16]) << 8 | usize::from(frame[17]);
    let packet = &frame[14..14 + total];
    let pseudo = !add(&packet[12..20], 6 + total as u32 - 20);
    [add(&packet[..20], 0), add(&packet[20..], pseudo.into())]
}
