//! The network device, driven as a driver does.

use super::*;
use crate::cable::{self, Cable};
use crate::rig::{B, D, MEMORY, PORTS, Q, Rig, W};
use crate::testing::{Fuzz, rounds};
use std::num::NonZeroU16;
use std::sync::Arc;

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const BAR: u64 = MEMORY + 0x4_0000;
/// Entries of each queue; their parts for queue 0, those of queue 1 are 64 KiB further.
const SIZE: u16 = 16;
const DESC: u64 = 0x1_0000;
const AVAIL: u64 = 0x1_4000;
const USED: u64 = 0x1_8000;
const FURTHER: u64 = 0x1_0000;

const V1: u64 = feature::VERSION_1;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const MRG_RXBUF: u64 = 1 << 15;

struct Bench {
    rig: Rig,
    cable: Arc<Cable>,
    available: [std::cell::Cell<u16>; 2],
}

fn bench(offloads: bool) -> Bench {
    let cable = Arc::new(Cable::new(offloads));
    let other = cable.clone();
    let rig = Rig::new(VirtioPci::<Net>::config(), |wires| {
        VirtioPci::new("net", wires, |core| Net::new(core, other, MAC))
    });
    rig.place();
    Bench {
        rig,
        cable,
        available: Default::default(),
    }
}

impl Bench {
    fn offered(&self) -> u64 {
        (0..2).fold(0, |all, half| {
            self.rig.store(BAR, D, half);
            all | self.rig.load(BAR + 4, D) << (32 * half)
        })
    }
    fn start(&self, features: u64) {
        for status in [0, 1, 3] {
            self.rig.store(BAR + 0x14, B, status);
        }
        for half in 0..2 {
            self.rig.store(BAR + 8, D, half);
            self.rig
                .store(BAR + 12, D, features >> (32 * half) & 0xffff_ffff);
        }
        self.rig.store(BAR + 0x14, B, 11);
        assert_eq!(self.rig.load(BAR + 0x14, B), 11);
        for n in 0..2 {
            let on = FURTHER * n;
            self.rig.store(BAR + 0x16, W, n);
            self.rig.store(BAR + 0x18, W, SIZE.into());
            for (register, at) in [(0x20, DESC), (0x28, AVAIL), (0x30, USED)] {
                self.rig.set_ram(at + on, &[0; 4096]);
                self.rig.store(BAR + register, Q, at + on);
            }
            self.rig.store(BAR + 0x1c, W, 1);
            self.available[n as usize].set(0);
        }
        self.rig.store(BAR + 0x14, B, 15);
    }
    /// Offers one buffer.
    fn offer(&self, queue: u64, at: u64, bytes: u32, write: bool) {
        let on = FURTHER * queue;
        let index = self.available[queue as usize].get();
        let n = u64::from(index % SIZE);
        let mut d = at.to_le_bytes().to_vec();
        d.extend(bytes.to_le_bytes());
        d.extend((u16::from(write) << 1).to_le_bytes());
        d.extend([0; 2]);
        self.rig.set_ram(DESC + on + 16 * n, &d);
        self.rig
            .set_ram(AVAIL + on + 4 + 2 * n, &(n as u16).to_le_bytes());
        let next = index.wrapping_add(1);
        self.rig.set_ram(AVAIL + on + 2, &next.to_le_bytes());
        self.available[queue as usize].set(next);
    }
    fn notify(&self, queue: u64) {
        self.rig.store(BAR + 0x3000 + 4 * queue, W, queue);
    }
    /// The used ring: (head, bytes) of all so far.
    fn used(&self, queue: u64) -> Vec<(u32, u32)> {
        let at = USED + FURTHER * queue;
        let index = u16::from_le_bytes(self.rig.ram(at + 2, 2).try_into().unwrap());
        (0..u64::from(index))
            .map(|n| {
                let e = self.rig.ram(at + 4 + 8 * (n % u64::from(SIZE)), 8);
                let word = |k: usize| u32::from_le_bytes(e[k..k + 4].try_into().unwrap());
                (word(0), word(4))
            })
            .collect()
    }
}

#[test]
fn what_is_offered_depends_on_the_network() {
    let all = bench(true);
    assert_eq!(all.offered() & 0x1_8883, 0x1_8883);
    let cable = bench(false);
    assert_eq!(
        cable.offered() & 0x1_8883,
        0x1_8082,
        "no CSUM, no HOST_TSO4"
    );
    let mac: Vec<u8> = (0..6)
        .map(|n| cable.rig.load(BAR + 0x2000 + n, B) as u8)
        .collect();
    assert_eq!(mac, MAC);
    assert_eq!(cable.rig.load(BAR + 0x2006, W), 1, "link up");
}

#[test]
fn frames_are_sent() {
    let b = bench(true);
    b.start(V1);
    b.cable.kicks();
    let frame = cable::frame([0xff; 6], 100);
    b.rig.set_ram(0x8000, &[&[0; 12][..], &frame].concat());
    b.offer(1, 0x8000, 12 + frame.len() as u32, false);
    b.notify(1);
    assert_eq!(b.cable.kicks(), 1);
    assert_eq!(b.cable.sent(), [frame]);
    assert_eq!(b.used(1), [(0, 0)]);
    // Less than a header is no frame.
    b.offer(1, 0x8000, 5, false);
    assert_eq!(b.cable.sent(), [vec![]]);
    let nic = b.cable.nic();
    assert!(!nic.arm(false));
    b.offer(1, 0x8000, 50, false);
    assert!(nic.arm(false), "it came while the network fell asleep");
}

#[test]
fn a_frame_fills_as_many_buffers_as_it_needs() {
    let b = bench(true);
    b.start(V1 | MRG_RXBUF | GUEST_CSUM | GUEST_TSO4);
    let nic = b.cable.nic();
    assert!(nic.takes_gso());
    for n in 0..3 {
        b.offer(0, 0x8000 + 0x1000 * n, 100, true);
    }
    let frame = cable::tcp(MAC, 250);
    let gso = ::net::Gso {
        size: NonZeroU16::new(100).unwrap(),
        transport: 34,
        data: 54,
    };
    // Three buffers of 100 bytes hold less than the header and 304 bytes: nothing is used before it all fits.
    assert!(!nic.give(&frame, Some(gso)));
    assert!(b.used(0).is_empty());
    b.offer(0, 0xb000, 100, true);
    assert!(nic.arm(true));
    assert!(nic.give(&frame, Some(gso)));
    assert_eq!(b.used(0), [(0, 100), (1, 100), (2, 100), (3, 16)]);
    let mut got = Vec::new();
    for (n, bytes) in [(0, 100), (1, 100), (2, 100), (3, 16)] {
        got.extend(b.rig.ram(0x8000 + 0x1000 * n, bytes));
    }
    let (header, data) = got.split_at(12);
    // NEEDS_CSUM, TCPV4, header's bytes, piece, where the sum starts, and where it is from there, four buffers.
    assert_eq!(header, [1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 4, 0]);
    assert_eq!(data, frame);
}

/// The driver may look at any time: it must never see only some of a frame's buffers (5.1.6.4).
#[test]
fn the_driver_sees_all_of_a_frame_or_nothing() {
    let b = bench(false);
    b.start(V1 | MRG_RXBUF);
    let nic = b.cable.nic();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (ram, stop) = (b.rig.ram.clone(), &ended);
    let frame = cable::frame(MAC, 386);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let mut odd = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let index = ram.load::<u16>(arch::GuestPhys(USED + 2)).unwrap();
                odd += u32::from(index % 4 != 0);
            }
            odd
        });
        for _ in 0..4000 {
            for n in 0..4 {
                b.offer(0, 0x8000 + 0x1000 * n, 103, true);
            }
            assert!(nic.give(&frame, None));
        }
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(watcher.join().unwrap(), 0);
    });
}

#[test]
fn a_legacy_driver_has_a_short_header() {
    let b = bench(false);
    let port = |at: u16, size, value: u32| b.rig.bus.port_write(PORTS + at, size, value);
    port(0x12, B, 3);
    port(4, D, 0);
    port(0xe, W, 0);
    port(8, D, (DESC >> 12) as u32);
    port(0x12, B, 7);
    // A legacy queue has all its 256 entries: the available ring is behind 4 KiB of descriptors.
    let mut d = 0x8000u64.to_le_bytes().to_vec();
    d.extend(1526u32.to_le_bytes());
    d.extend([2, 0, 0, 0]);
    b.rig.set_ram(DESC, &d);
    b.rig.set_ram(DESC + 4096, &[0, 0, 1, 0, 0, 0]);
    let frame = cable::frame(MAC, 60);
    assert!(b.cable.nic().give(&frame, None));
    let got = b.rig.ram(0x8000, 10 + frame.len());
    assert_eq!(got, [&[0; 10][..], &frame].concat());
}

/// Registers, rings and frames at random: no panic, no hang, and the card works afterwards.
#[test]
fn hostile_drivers_do_no_harm() {
    let b = bench(true);
    let mut f = Fuzz::new(0x4e7);
    let features = [V1, V1 | MRG_RXBUF, V1 | MRG_RXBUF | GUEST_CSUM | GUEST_TSO4];
    b.start(features[1]);
    for round in rounds(20_000) {
        match f.below(8) {
            0 => b.start(features[f.below(3) as usize] | f.value() & (3 << 28)),
            1 => b.rig.store(BAR + (f.value() & 0x3f), f.size(), f.value()),
            2 => {
                let table = DESC + FURTHER * f.below(2);
                b.rig
                    .set_ram(table + (f.value() & 0xff), &f.value().to_le_bytes());
            }
            3 => {
                let ring = AVAIL + FURTHER * f.below(2);
                b.rig
                    .set_ram(ring + (f.value() & 0x3f), &(f.value() as u16).to_le_bytes());
            }
            4 => {
                let queue = f.below(2);
                b.offer(queue, 0x8000, f.value() as u32 & 0xfff, queue == 0);
                b.notify(queue);
            }
            5 => b.notify(f.below(3)),
            _ => b.cable.stir(&mut f, MAC),
        }
        if round % 4096 == 0 {
            let saved = b.rig.bus.save().unwrap();
            b.rig.bus.restore(&saved).unwrap();
        }
    }
    b.rig.bus.reset();
    b.rig.place();
    b.start(V1);
    b.offer(0, 0x8000, 2000, true);
    assert!(b.cable.nic().give(&cable::frame(MAC, 60), None));
    assert_eq!(b.used(0), [(0, 86)]);
}
